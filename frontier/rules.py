"""The allow and disallow rules of robots.txt, ready to match (RFC 9309 2.2.2 and 2.2.3).

Pure. Keeps:
- the longest matching rule decides and allow wins ties, whatever their order in the file;
- matching takes time linear in rule and path, whatever wildcards a site writes;
- paths and rules compare in one percent-encoding, so that no spelling slips past a rule.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class RobotsVerdict:
    """May this path be fetched, and which line says so."""

    allowed: bool
    rule: str | None = None  # the deciding line's value as written; None: no rule applies
    line: int | None = None  # its number in the file, from 1


ALLOWED: Final = RobotsVerdict(allowed=True)  # no rule applies


@dataclass(frozen=True, slots=True)
class Rule:
    """One allow or disallow line with a value."""

    value: bytes  # as written
    allow: bool
    line: int  # its number in the file, from 1


_Found = tuple[tuple[int, bool], RobotsVerdict]  # (octets, allow): the higher decides


class Matcher:
    """The rules of one agent, ready to match.

    Rules without wildcard are found by looking up each prefix of the path that has the length of
    some rule; only those with a wildcard or an end anchor are tried one by one, longest first.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._prefixes: dict[str, _Found] = {}
        self._patterns: dict[tuple[tuple[str, ...], bool], _Found] = {}
        for rule in rules:
            self._add(rule)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})
        # Stable: of rules of one rank the first in the file is named.
        ranked = sorted(self._patterns.items(), key=lambda entry: entry[1][0], reverse=True)
        self._globs = [(found, Glob(pieces, anchored=end)) for (pieces, end), found in ranked]

    def verdict(self, path: str) -> RobotsVerdict:
        best: _Found | None = None
        for spelling in _spellings(encode(_octets(path))):
            found = self._match(spelling)
            if found is not None and (best is None or found[0] > best[0]):
                best = found
        return ALLOWED if best is None else best[1]

    def _add(self, rule: Rule) -> None:
        verdict = RobotsVerdict(rule.allow, rule.value.decode("utf-8", "replace"), rule.line)
        pattern = rule.value.decode("latin-1")
        self._add_pattern(pattern, rule.allow, verdict)
        directory, slash, page = pattern.rpartition("/")
        if rule.allow and slash and page.startswith("index.htm"):
            # Google: allowing the index page allows the directory it is served for.
            self._add_pattern(f"{directory}/$", rule.allow, verdict)

    def _add_pattern(self, pattern: str, allow: bool, verdict: RobotsVerdict) -> None:
        anchored = pattern.endswith("$")
        pieces = [encode(piece) for piece in pattern.removesuffix("$").split("*")]
        # Octets of the rule in canonical encoding, wildcards and anchor included, as Google counts.
        rank = (sum(map(len, pieces)) + len(pieces) - 1 + anchored, allow)
        if len(pieces) == 1 and not anchored:
            known = self._prefixes.get(pieces[0])
            if known is None or rank > known[0]:
                self._prefixes[pieces[0]] = (rank, verdict)
        else:
            key = (tuple(pieces), anchored)
            known = self._patterns.get(key)
            if known is None or rank > known[0]:
                self._patterns[key] = (rank, verdict)

    def _match(self, path: str) -> _Found | None:
        best = None
        for length in reversed(self._lengths[: bisect_right(self._lengths, len(path))]):
            best = self._prefixes.get(path[:length])
            if best is not None:
                break
        for found, glob in self._globs:
            if best is not None and found[0] <= best[0]:
                break
            if glob.matches(path):
                return found
        return best


class Glob:
    """A pattern of literal pieces with ``*`` between them, matched from the start of a text.

    Taking the leftmost place for each piece in turn is enough when ``*`` is the only wildcard, and
    never goes back: no pattern can make it slow.
    """

    __slots__ = ("_anchored", "_first", "_last", "_middle")

    def __init__(self, pieces: Sequence[str], *, anchored: bool) -> None:
        self._anchored = anchored  # the last piece must be the end of the text
        self._first = pieces[0]
        last = pieces[-1] if anchored and len(pieces) > 1 else None
        self._last = last
        middle = pieces[1:] if last is None else pieces[1:-1]
        self._middle = tuple(piece for piece in middle if piece)

    def matches(self, text: str) -> bool:
        """Whether the pattern matches ``text``, in linear time."""
        if not text.startswith(self._first):
            return False
        position = len(self._first)
        for piece in self._middle:
            position = text.find(piece, position)
            if position < 0:
                return False
            position += len(piece)
        if not self._anchored:
            return True
        if self._last is None:
            return position == len(text)
        return len(text) - position >= len(self._last) and text.endswith(self._last)


# What may stand for itself in a path and query (RFC 3986 3.3, 3.4), less the specials * and $.
_UNRESERVED: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_ODD: Final = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~/?:@!&'()+,;=%]")
_DATA: Final = re.compile("[:/?@]|%3A|%2F|%3F|%40")
_DATA_PLAIN: Final = {"%3A": ":", "%2F": "/", "%3F": "?", "%40": "@"}
_DATA_ENCODED: Final = {plain: encoded for encoded, plain in _DATA_PLAIN.items()}


def encode(octets: str) -> str:
    """The one encoding in which rules and paths compare; ``octets`` has one character for each.

    Unreserved octets decoded, other triplets in upper case, what may not stand for itself encoded;
    ``*`` and ``$`` too: whoever calls has taken out those that are special.
    """
    return _ODD.sub(_canonical, octets)


def _canonical(match: re.Match[str]) -> str:
    found = match[0]
    if len(found) == 1:
        return f"%{ord(found):02X}"
    plain = chr(int(found[1:], 16))
    return plain if plain in _UNRESERVED else found.upper()


def _octets(text: str) -> str:
    """Text as one character per octet of its UTF-8 form."""
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("latin-1")


def _spellings(path: str) -> tuple[str, ...]:
    """The encoded path, and where its query holds reserved data the spellings a rule may use.

    RFC 9309 figure 4 compares ``?u=https://a`` and ``?u=https%3A%2F%2Fa`` as equal, Google as they
    stand; a rule in either spelling speaks of both URLs.
    """
    head, mark, query = path.partition("?")
    if not mark or not _DATA.search(query):
        return (path,)
    plain = _DATA.sub(lambda match: _DATA_PLAIN.get(match[0], match[0]), query)
    encoded = _DATA.sub(lambda match: _DATA_ENCODED.get(match[0], match[0]), query)
    return tuple(dict.fromkeys((path, f"{head}?{plain}", f"{head}?{encoded}")))
