"""What an answer's headers say about other addresses: Link and Refresh. Pure; never raises.

Sources: RFC 8288 (Link); the shared declarative refresh steps of the HTML Standard (4.2.5.3), by
which a ``meta`` element and the ``Refresh`` header are read alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

_LONGEST: Final = 100_000  # characters of a header that are read
_NAME: Final = r"[\w!#$&+.^`|~*-]++"
_VALUE: Final = r"(?:\"(?P<quoted>[^\"]*+)\"|(?P<bare>[^\s;,\"]*+))"
_TARGET: Final = re.compile(r"\s*+,?\s*+<([^<>]*+)>")
_PARAMETER: Final = re.compile(rf"\s*+;\s*+(?P<name>{_NAME})(?:\s*+=\s*+{_VALUE})?+")
_REFRESH: Final = re.compile(
    r"\s*+([\d.]*+)\s*[;,\s]\s*+(?:url\s*+=\s*+)?(?:\"([^\"]*)|'([^']*)|(.*))", re.I | re.S
)


class Refresh(NamedTuple):
    """A page that sends its readers on."""

    target: str  # as written
    seconds: float  # after which


def refresh(value: str) -> Refresh | None:
    """What the value of a ``Refresh`` header or ``meta`` element says; None: nothing."""
    found = _REFRESH.match(value[:_LONGEST])
    target = next(filter(None, found.groups()[1:]), "") if found else ""
    if found is None or not target:
        return None
    whole = found[1].partition(".")[0].lstrip("0")
    return Refresh(target, float(whole or 0) if len(whole) < 10 else float("inf"))


def refresh_header(headers: Iterable[tuple[str, str]]) -> Refresh | None:
    """What the first ``Refresh`` header says."""
    return next((refresh(value) for name, value in headers if name.lower() == "refresh"), None)


def canonical_link(headers: Iterable[tuple[str, str]]) -> str:
    """The first target with the relation canonical in the ``Link`` headers, as written; "": none.

    A link with an ``anchor`` is about another resource (RFC 8288 3.2) and passed over.
    """
    for name, value in headers:
        if name.lower() == "link":
            for target, parameters in _links(value[:_LONGEST]):
                about_us = "anchor" not in parameters
                if about_us and "canonical" in parameters.get("rel", "").lower().split():
                    return target
    return ""


def _links(value: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Targets and their parameters, the first of each name; ends where the syntax does."""
    at = 0
    while (link := _TARGET.match(value, at)) is not None:
        at = link.end()
        parameters: dict[str, str] = {}
        while (found := _PARAMETER.match(value, at)) is not None:
            at = found.end()
            parameters.setdefault(found["name"].lower(), found["quoted"] or found["bare"] or "")
        yield link[1].strip(), parameters
