"""What a page and its robots.txt say about the use of the content. Pure; never raises.

Each statement is recorded with where it stood and as it was written; what is in force, and what
follows from it, is ``crawler/consent.py``. Statements made to other robots by name are left out.
Kept here: a statement that can be read is read, however badly the rest of its line is written. The
drafts would have a whole malformed field ignored; then a slip of the pen would give consent.

Sources: Google's "Robots meta tag and X-Robots-Tag" specification; draft-ietf-aipref-vocab-08
(Content-Usage), with the labels of its earlier versions; contentsignals.org (Content-Signal);
W3C TDMRep (CG final report, 2024); RSL 1.0 (License).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from crawler.tdmrep import Reservations
from frontier.robots import UsageLine
from frontier.usage import applying

AGENT: Final = "comity"  # the product token that sites may address, unless the job has its own

_DIRECTIVES: Final = frozenset(
    [
        *("noindex", "nofollow", "noarchive", "nosnippet", "noimageindex", "notranslate"),
        *("noai", "noimageai", "nositelinkssearchbox"),
    ]
)
_MEANS: Final = {"none": ("noindex", "nofollow"), "nocache": ("noarchive",)}
_DATED: Final = "unavailable_after"
_WITH_VALUE: Final = frozenset(
    ["max-snippet", "max-image-preview", "max-video-preview", _DATED]
)  # never the name of a robot
# Labels of Content-Usage (current and former ones) and Content-Signal, by what they mean here.
_CATEGORIES: Final = {
    "train-ai": ("train-ai", "ai-train", "train-genai", "ai", "genai"),
    "ai-use": ("ai-use", "ai-input", "ai-output", "inference"),
    "search": ("search",),
    "bots": ("bots", "all", "tdm"),  # any automated processing
}
_LABELS: Final = {label: name for name, labels in _CATEGORIES.items() for label in labels}
_YES: Final = frozenset({"y", "yes", "1", "?1", "true", "allow"})
_NO: Final = frozenset({"n", "no", "0", "?0", "false", "disallow"})
_TDM: Final = frozenset({"tdm-reservation", "tdm-policy"})  # as header and as meta element
_LONGEST: Final = 100_000  # characters of a value that are read
_RAW: Final = 1_000  # characters of a statement that are kept

# A weekday's comma belongs to the date, the next one ends it.
_DATE: Final = re.compile(rf"{_DATED}\s*:\s*((?:(?:mon|tue|wed|thu|fri|sat|sun)\w*,)?[^,;]*)", re.I)
_AROUND: Final = re.compile(r" ?([:=]) ?")
_BETWEEN: Final = re.compile(r"[,;\s]+")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement about use."""

    name: str  # noindex, noai, train-ai, tdm-reservation, license ...; see crawler/consent.py
    value: str  # y | n, 0 | 1, a date or a URL, as the name has it; "" for a bare directive
    source: str  # header X-Robots-Tag | meta robots | robots.txt line 3 Content-Usage | ...
    raw: str  # what it was read from, as written, white space trimmed


def from_headers(headers: Iterable[tuple[str, str]], agent: str = AGENT) -> Iterator[Statement]:
    """The statements in a response's headers, in their order, to all robots or to ``agent``."""
    for name, value in headers:
        lower, value = name.lower(), value.strip()
        source = f"header {name.strip()}"
        if lower == "x-robots-tag":
            yield from _robots(value, source, agent)
        elif lower == "content-usage":
            yield from _usage(value, source, lower)
        elif lower in _TDM:
            yield from _reservation(lower, value, source)


def from_meta(name: str, content: str, agent: str = AGENT) -> Iterator[Statement]:
    """The statements in ``<meta name= content=>``."""
    lower, value = name.strip().lower(), content.strip()
    if lower in ("robots", agent):
        yield from _robots(value, f"meta {lower}", agent)
    elif lower in _TDM:
        yield from _reservation(lower, value, f"meta {lower}")


def from_robots_txt(lines: Iterable[UsageLine], path: str) -> Iterator[Statement]:
    """The statements of an agent's usage lines that hold for a path."""
    for line, statement in applying(lines, path):
        source = f"robots.txt line {line.line} {line.name.title()}"
        if line.name == "license":
            yield Statement("license", statement[:_RAW], source, statement[:_RAW])
        else:
            for found in _usage(statement, source, line.name):
                yield Statement(found.name, found.value, source, line.value[:_RAW])


def from_tdmrep(file: Reservations, path: str) -> Iterator[Statement]:
    """The statements of a host's TDM file for a path."""
    if file.unreadable:
        yield Statement("tdm-reservation", "", "tdmrep.json", file.unreadable)
    if (rule := file.of(path)) is None:
        return
    pairs = (("tdm-reservation", rule.reservation), ("tdm-policy", rule.policy))
    for name, value in pairs:
        for said in _reservation(name, value or "", f"tdmrep.json rule {rule.number}"):
            yield replace(said, raw=rule.raw)


def date_of(text: str) -> float | None:
    """The unix time of a date as RFC 822, RFC 850 or ISO 8601 has it; None for anything else."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            when = read(text)
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _robots(value: str, source: str, agent: str) -> Iterator[Statement]:
    """Directives; those after ``name:`` are for the robot of that name, up to the next name."""
    raw, dates = value[:_RAW], list[str]()

    def keep(found: re.Match[str]) -> str:
        dates.append(found[1].strip())
        return f"{_DATED}:{len(dates) - 1}"

    plain = _joined(_DATE.sub(keep, value[:_LONGEST]))
    ours, seen = True, set[str]()
    for token in _BETWEEN.split(plain):
        head, colon, rest = token.rpartition(":")
        if colon and head == _DATED and rest.isdecimal():
            if ours:
                yield Statement(_DATED, dates[int(rest)][:_RAW], source, raw)
            continue
        if colon and head not in _WITH_VALUE:
            ours = head in ("*", agent)
        for name in _MEANS.get(rest, (rest,)):
            if ours and name in _DIRECTIVES and name not in seen:
                seen.add(name)
                yield Statement(name, "", source, raw)


def _usage(value: str, source: str, field: str) -> Iterator[Statement]:
    """Preferences ``label=y``; what holds none that is known is recorded under its field's name."""
    found: dict[tuple[str, str], None] = {}
    for token in _BETWEEN.split(_joined(value[:_LONGEST])):
        label, _, said = token.partition("=")
        said = said.strip("\"'")
        if label in _LABELS and said in _YES | _NO:
            found[_LABELS[label], "y" if said in _YES else "n"] = None
    for name, preference in found or ({(field, ""): None} if value else {}):
        yield Statement(name, preference, source, value[:_RAW])


def _joined(text: str) -> str:
    """Lower case, without white space around colons and equals signs; in time linear in it."""
    return _AROUND.sub(r"\1", " ".join(text.lower().split()))


def _reservation(name: str, value: str, source: str) -> Iterator[Statement]:
    raw = value[:_RAW]
    if name == "tdm-policy":
        said = raw
    else:
        lower = value.lower()
        said = "1" if lower in _YES else "0" if lower in _NO else ""
    if raw:
        yield Statement(name, said, source, raw)
