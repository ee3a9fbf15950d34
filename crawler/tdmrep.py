"""The TDM file of a host, ``/.well-known/tdmrep.json``: what it reserves. Pure; never raises.

A rule has a pattern of paths, matched as robots.txt rules are, and the first one that matches
decides. What is badly written is read as far as it can be: nothing unreadable gives leave.

Source: W3C TDM Reservation Protocol (CG final report, 2024), TDM File on the Origin Server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from frontier.rules import Matcher, Rule

PATH: Final = "/.well-known/tdmrep.json"
MAX_BODY: Final = 500 * 1024  # bytes that are read
MOST: Final = 1_000  # rules that are read

_RAW: Final = 1_000  # characters of what cannot be read that are kept
_ORIGIN: Final = re.compile(r"https?://[^/]*", re.I)


@dataclass(frozen=True, slots=True)
class Reservation:
    """One rule."""

    matcher: Matcher  # of the paths it is about
    number: int  # in the file, from 1
    reservation: str | None  # as written; None: not there
    policy: str | None  # URL of terms
    raw: str  # the rule as JSON


@dataclass(frozen=True, slots=True)
class Reservations:
    """What a TDM file says; nothing by default."""

    rules: tuple[Reservation, ...] = ()
    unreadable: str = ""  # the beginning of what is meant to be such a file and is not

    def of(self, path: str) -> Reservation | None:
        """The rule for a path and query of a URL: the first that matches."""
        return next((r for r in self.rules if r.matcher.verdict(path).line is not None), None)


NONE: Final = Reservations()


def parse(body: bytes) -> Reservations:
    """The rules of a file; what is no JSON at all (a page that says "not found") has none."""
    body = body[:MAX_BODY].removeprefix(b"\xef\xbb\xbf").strip()
    if not body.startswith((b"[", b"{")):
        return NONE
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Reservations(unreadable=body.decode("utf-8", "replace")[:_RAW])
    return Reservations(tuple(_rules(found if isinstance(found, list) else [found])))


def _rules(found: list[Any]) -> Iterator[Reservation]:
    for number, each in enumerate(found[:MOST], 1):
        if not isinstance(each, dict):
            continue
        said = {name.lower(): value for name, value in each.items()}
        reservation, policy = said.get("tdm-reservation"), said.get("tdm-policy")
        yield Reservation(
            matcher=Matcher([Rule(_pattern(said.get("location")), False, number)]),
            number=number,
            reservation=None if reservation is None else str(reservation),
            policy=policy if isinstance(policy, str) else None,
            raw=orjson.dumps(each).decode()[:_RAW],
        )


def _pattern(location: object) -> bytes:
    """Where a rule holds; everywhere, when it does not say."""
    text = _ORIGIN.sub("", location.strip()) if isinstance(location, str) else ""
    if not text.startswith(("/", "*")):
        text = f"/{text}"
    return text.encode("utf-8", "replace")
