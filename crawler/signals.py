"""What a page says about the use of its content: robots meta, headers, TDMRep, AIPREF. Pure.

Each statement is recorded with where it stood and as it was written; what follows from it is the
job's policy. Statements made to other robots by name are left out.
Sources: Google's "Robots meta tag and X-Robots-Tag" specification, W3C TDMRep, IETF AIPREF.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

AGENT: Final = "comity"  # the product token that sites may address

_DIRECTIVES: Final = frozenset(
    [
        "noindex",
        "nofollow",
        "none",
        "noarchive",
        "nocache",
        "nosnippet",
        "noimageindex",
        "notranslate",
        "noai",
        "noimageai",
        "nositelinkssearchbox",
    ]
)
_WITH_VALUE: Final = frozenset(
    ["unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"]
)
_META: Final = frozenset({"robots", AGENT})
_STATED: Final = frozenset({"tdm-reservation", "tdm-policy"})  # as header and as meta element
_HEADERS: Final = _STATED | {"content-usage"}
_LONGEST: Final = 1_000  # characters of a statement that are kept


@dataclass(frozen=True, slots=True)
class Signal:
    """One statement about use."""

    name: str  # noindex, nofollow, noai, ..., content-usage, tdm-reservation, tdm-policy
    source: str  # header X-Robots-Tag | meta robots | meta comity | header Content-Usage | ...
    raw: str  # the statement as written, white space trimmed


def from_headers(headers: Iterable[tuple[str, str]]) -> Iterator[Signal]:
    """The signals in a response's headers, in their order."""
    for name, value in headers:
        lower = name.lower()
        raw = value.strip()[:_LONGEST]
        if lower == "x-robots-tag":
            yield from _robots(_addressed(raw), "header X-Robots-Tag", raw)
        elif lower in _HEADERS and raw:
            yield Signal(lower, f"header {name}", raw)


def from_meta(name: str, content: str) -> Iterator[Signal]:
    """The signals in ``<meta name= content=>``."""
    lower = name.strip().lower()
    raw = content.strip()[:_LONGEST]
    if lower in _META:
        yield from _robots(raw, f"meta {lower}", raw)
    elif lower in _STATED and raw:
        yield Signal(lower, f"meta {lower}", raw)


def directives(signals: Iterable[Signal]) -> frozenset[str]:
    """The names in force: every one stated anywhere (most restrictive wins), ``none`` spelt out."""
    names = {signal.name for signal in signals}
    return frozenset(names | ({"noindex", "nofollow"} if "none" in names else set()))


def _addressed(value: str) -> str:
    """The part of an X-Robots-Tag that is meant for us; "" when it names another robot."""
    agent, colon, rest = value.partition(":")
    agent = agent.strip().lower()
    if not colon or "," in agent or agent in _WITH_VALUE:
        return value
    return rest if agent in {AGENT, "*"} else ""


def _robots(content: str, source: str, raw: str) -> Iterator[Signal]:
    found = dict.fromkeys(part.strip().lower() for part in content.split(","))
    for name in found:
        if name in _DIRECTIVES:
            yield Signal(name, source, raw)
