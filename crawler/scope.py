"""Which URLs belong to a job: a region around its seeds, and include and exclude patterns.

Pure: built once from plain data, then one lookup per URL whatever the number of seeds. The answer
is a reason code, so every URL that is left out is counted with why (design: every drop has a
reason).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from frontier.rules import Glob
from frontier.url import Url, parse

ScopeKind = Literal["host", "domain", "prefix", "any"]
KINDS: Final[tuple[str, ...]] = get_args(ScopeKind)

_Matcher = Callable[[Url], bool]


@dataclass(frozen=True, slots=True)
class Scope:
    """The region and the patterns of a job; make one with ``build`` or ``from_strings``."""

    kind: ScopeKind  # host | domain | prefix | any
    region: frozenset[str]  # hosts, domains or host + directory prefixes of the seeds
    include: tuple[_Matcher, ...]  # one must match, if there are any
    exclude: tuple[_Matcher, ...]  # none may match

    @classmethod
    def build(
        cls,
        kind: str,
        seeds: Iterable[Url],
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Scope:
        """The scope around ``seeds``. Raises ValueError for an unknown kind or a bad pattern.

        - ``host``: the seeds' hosts and ports, http and https alike;
        - ``domain``: their registered domains;
        - ``prefix``: on their hosts, what lies in or below a seed's directory (up to its last "/");
        - ``any``: everything.
        """
        keys: dict[str, _Key] = {"host": _host, "domain": _domain, "prefix": _directory}
        if kind == "any":
            region: frozenset[str] = frozenset()
        elif kind in keys:
            region = frozenset(map(keys[kind], seeds))
        else:
            raise ValueError(f"unknown scope {kind!r}: one of {', '.join(KINDS)}")
        return cls(
            kind,  # type: ignore[arg-type]  # checked just above
            region,
            tuple(_pattern(text) for text in include),
            tuple(_pattern(text) for text in exclude),
        )

    @classmethod
    def from_strings(
        cls,
        kind: str,
        seeds: Iterable[str],
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Scope:
        """The same from URLs as text. Raises InvalidUrl (a ValueError) for a bad seed."""
        return cls.build(kind, map(parse, seeds), include, exclude)

    def check(self, url: Url, depth: int = 0, max_depth: int | None = None) -> str | None:
        """None when ``url``, found at ``depth``, is in the job; else the reason why not.

        Reasons, in this order: ``out-of-scope``, ``excluded``, ``too-deep``. A depth of
        ``max_depth`` is still in; None is no limit.
        """
        if not self._in_region(url):
            return "out-of-scope"
        if self.include and not any(matches(url) for matches in self.include):
            return "excluded"
        if any(matches(url) for matches in self.exclude):
            return "excluded"
        if max_depth is not None and depth > max_depth:
            return "too-deep"
        return None

    def _in_region(self, url: Url) -> bool:
        if self.kind == "host":
            return url.host in self.region
        if self.kind == "domain":
            return url.domain in self.region
        return self.kind == "any" or any(place in self.region for place in _directories(url))


_Key = Callable[[Url], str]


def _host(url: Url) -> str:
    return url.host


def _domain(url: Url) -> str:
    return url.domain


def _directory(url: Url) -> str:
    path = url.path.partition("?")[0]
    return url.host + path[: path.rfind("/") + 1]


def _directories(url: Url) -> Iterable[str]:
    """The directory of ``url`` and all above it, the deepest first."""
    place = _directory(url)
    root = len(url.host)
    end = len(place)
    while end > root:
        yield place[:end]
        end = place.rfind("/", 0, end - 1) + 1


def _pattern(text: str) -> _Matcher:
    """Compile an include or exclude pattern. Raises ValueError that names it.

    ``re:EXPRESSION`` is a Python regular expression searched for in the whole URL. Anything else is
    a glob that must match from start to end, in which only ``*`` is special ("?" is too common in
    URLs): against the path and query if it starts with "/", against the whole URL if it starts with
    "*" or has a scheme, else against the URL without scheme (``example.org/a/*``).
    """
    if not text.strip():
        raise ValueError("empty pattern")
    if text.startswith("re:"):
        try:
            search = re.compile(text[3:]).search
        except re.error as error:
            raise ValueError(f"pattern {text!r} is not a regular expression: {error}") from error
        return lambda url: search(url.url) is not None
    glob = Glob(text.split("*"), anchored=True)
    if text.startswith("/"):
        return lambda url: glob.matches(url.path)
    if text.startswith("*") or "://" in text:
        return lambda url: glob.matches(url.url)
    return lambda url: glob.matches(url.host + url.path)
