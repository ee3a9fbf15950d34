"""Traps: parts of the web without an end, and how they are told from what is merely large. Pure.

Two kinds of rule. What a path alone gives away is left out (``endless``). What only counting shows
may be wrong, so it loses nothing: such links go into the slow class (``Traps``), which a host's
other URLs go before. The counts are the fleet's (frontier/tally.py); here is what this worker has
yet to add to them, and what it remembers of the answers.

Invariant: bounded, however many hosts and URLs are met (design 7); what is forgotten is asked for
again.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, TypeVar

from crawler.job import JobSpec
from frontier.tally import Tally
from frontier.url import Url

LEVELS: Final = 6  # directories of a path that are told apart
NOTES: Final = 4_096  # counters with something to add; more are not counted
MEMORY: Final = 50_000  # answers remembered
_NUMBER: Final = re.compile(r"(?<!%)(?<!%[0-9A-F])[0-9]")  # a digit that is in no percent triplet

K = TypeVar("K")
V = TypeVar("V")
_Place = tuple[str, str]  # host, field


def endless(url: Url, spec: JobSpec) -> str | None:
    """``trap-depth`` or ``trap-repeats`` for a link that should be left out, else None."""
    slashes = url.path.count("/", 0, _end(url.path))
    deepest, most = spec.max_path_depth or slashes, spec.max_repeats or slashes
    if slashes <= min(deepest, most):  # as nearly all are
        return None
    segments = _segments(url.path)
    if len(segments) > deepest:
        return "trap-depth"
    return "trap-repeats" if _repeats(segments) > most else None


def _end(path: str) -> int:
    found = path.find("?")
    return len(path) if found < 0 else found


def _segments(path: str) -> list[str]:
    """What lies between the slashes of the path; one at its end begins nothing."""
    parts = path[1 : _end(path)].split("/")
    return parts if parts[-1] else parts[:-1]


def _repeats(segments: list[str]) -> int:
    """How often the most frequent segment occurs, or two in a row: single letters count in pairs.

    Numbers do not count, alone or in pairs: dates and sharded ids repeat them.
    """
    units = Counter(s for s in segments if len(s) > 1 and not s.isdecimal())
    units.update(f"{a}/{b}" for a, b in pairwise(segments) if not (a + b).isdecimal())
    return max(units.values(), default=0)


def patterns(path: str) -> list[str]:
    """What pages at ``path`` are counted under: its directories, and its own form if it may vary.

    A segment with a digit in it stands for all such: days, ids and sessions are one pattern. The
    root is none: a host that repeats itself everywhere has nothing that should go first.
    """
    path, query, _ = path.partition("?")
    *directories, leaf = (_plain(segment) for segment in path[1:].split("/"))
    found, prefix = [], "/"
    for directory in directories[:LEVELS]:
        prefix += directory + "/"
        found.append(prefix)
    if len(directories) <= LEVELS and (query or leaf == "#"):
        found.append(prefix + leaf + query)
    return found


def _plain(segment: str) -> str:
    return "#" if _NUMBER.search(segment) else segment


def kind_of_query(query: str) -> str:
    """4 characters for the set of keys in a query; what has no ``=`` is a value without a key."""
    parts = re.split("[&;]", query)
    keys = {part.partition("=")[0] for part in parts if "=" in part}
    return _short("&".join(sorted(keys)), 3)


def _short(text: str, octets: int = 6) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=octets).digest()
    return base64.urlsafe_b64encode(digest).decode()


class Traps:
    """What one worker knows of one job's traps, and has yet to tell."""

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._pages: dict[_Place, Tally] = {}  # to be added
        self._queries: dict[_Place, Tally] = {}  # to be added
        self._held: dict[tuple[str, str, str], bool] = {}  # host, path, kind of query -> one of
        # the first max_query_keys of its path
        self._full: dict[_Place, None] = {}  # paths with more than max_query_variants
        self._stale: dict[_Place, None] = {}  # patterns
        self._stale_hosts: Counter[str] = Counter()  # how many of their patterns are in _stale

    @property
    def window(self) -> int:
        """Pages after which those of a pattern count half."""
        return 2 * self._spec.stale_after

    def fetched(self, url: Url, *, new: bool) -> None:
        """Note a page that was fetched, and whether it held something new to the job."""
        if not (self._spec.stale_after and self._spec.stale_ratio):
            return
        for pattern in patterns(url.path):
            _note(self._pages, Tally("p", url, _short(pattern), 1, int(new)))

    def accepted(self, url: Url) -> None:
        """Note a URL that was new to the job."""
        if self._spec.max_query_variants and "?" in url.path:
            place = _path(url)
            if place not in self._full:
                _note(self._queries, Tally("q", url, place[1], 1))

    def take(self, urls: Iterable[Url]) -> list[Tally]:
        """What is to be added, and asked in order to judge these URLs; it is not noted any more."""
        items = [*self._pages.values(), *self._queries.values()]
        self._pages, self._queries = {}, {}
        if not (self._spec.max_query_keys or self._spec.max_query_variants):
            return items
        asked = set()
        for url in urls:
            if "?" in url.path:
                _, field, mark = kind = self._kind(url)
                if kind not in self._held and kind not in asked:
                    asked.add(kind)
                    items.append(Tally("q", url, field, mark=mark))
        return items

    def learn(self, items: Sequence[Tally], found: Sequence[tuple[int, int]]) -> None:
        """Remember what the counters came to."""
        for item, (a, b) in zip(items, found, strict=True):
            place = item.url.host, item.field
            if item.kind == "p":
                enough = a >= self._spec.stale_after
                self._remember_stale(place, enough and b < self._spec.stale_ratio * a)
                continue
            if self._spec.max_query_variants and a > self._spec.max_query_variants:
                _remember(self._full, place, None)
            if not item.a:
                _remember(self._held, (*place, item.mark), bool(b) or not item.mark)

    def verdict(self, url: Url) -> str:
        """Why a URL should wait in the slow class; "" when it need not."""
        queried = "?" in url.path
        if queried and (_path(url) in self._full or not self._held.get(self._kind(url), True)):
            return "trap-query"
        stale = url.host in self._stale_hosts and any(
            (url.host, _short(pattern)) in self._stale for pattern in patterns(url.path)
        )
        return "stale-prefix" if stale else ""

    def _kind(self, url: Url) -> tuple[str, str, str]:
        query = url.path[_end(url.path) + 1 :]
        return (*_path(url), kind_of_query(query) if self._spec.max_query_keys else "")

    def _remember_stale(self, place: _Place, stale: bool) -> None:
        if stale and place not in self._stale:
            self._stale[place] = None
            self._stale_hosts[place[0]] += 1
            if len(self._stale) > MEMORY:
                self._forget_stale(next(iter(self._stale)))
        elif not stale and place in self._stale:
            self._forget_stale(place)

    def _forget_stale(self, place: _Place) -> None:
        del self._stale[place]
        self._stale_hosts[place[0]] -= 1
        if not self._stale_hosts[place[0]]:
            del self._stale_hosts[place[0]]


def _path(url: Url) -> _Place:
    return url.host, _short(url.path[: _end(url.path)])


def _note(notes: dict[_Place, Tally], more: Tally) -> None:
    place = more.url.host, more.field
    known = notes.get(place)
    if known is not None:
        more = Tally(more.kind, more.url, more.field, known.a + more.a, known.b + more.b)
    elif len(notes) >= NOTES:
        return
    notes[place] = more


def _remember(memory: dict[K, V], key: K, value: V) -> None:
    memory[key] = value
    if len(memory) > MEMORY:
        del memory[next(iter(memory))]
