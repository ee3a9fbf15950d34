"""What a crawl is allowed and asked to do, as far as the ground truth depends on it. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl

from crawler.demo.model import PRODUCT, DemoError

SCOPES: Final = ("any", "host", "domain", "prefix")
CLOCKS: Final = ("host", "address", "domain")


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy that a ground truth is for."""

    depth: int | None = 6  # links from a seed; None: no limit (then traps must be 0)
    scope: str = "any"  # one of SCOPES, relative to the seeds
    traps: int = 1  # 1: endless parts are crawled to the depth limit; 0: recognised and left
    signals: str = "ignore"  # ignore | honour: nofollow on pages and on links, noindex and the like
    sitemaps: int = 0  # 0: none; 1: those that robots.txt lists; 2: /sitemap.xml of any host too
    clocks: tuple[str, ...] = ("host",)  # what the judge holds the delay against, of CLOCKS
    max_wait: float = 300.0  # seconds; a host blocked for longer is left unreached
    attempts: int = 3  # requests for a URL that keeps failing
    redirects: int = 10  # hops in a row
    agent: str = PRODUCT  # product token that robots.txt is read for
    seeds: tuple[str, ...] = ()  # URLs; none: the portal

    def as_json(self) -> dict[str, Any]:
        """The policy as JSON values."""
        return asdict(self) | {"clocks": list(self.clocks), "seeds": list(self.seeds)}


def parse(query: str) -> Policy:
    """A policy from a query string, e.g. ``depth=6&scope=any&seeds=URL&seeds=URL``.

    Commas separate clocks; ``depth=none`` lifts the limit; ``seed`` and ``seeds`` are the same.
    A ``policy`` key holds a whole query string of its own.

    Raises:
        DemoError: a key is unknown, or a value is not one that it can have.
    """
    values: dict[str, Any] = {}
    seeds: list[str] = []
    for key, text in _pairs(query):
        if key in ("seed", "seeds"):
            seeds.append(text)
        elif key in _READERS:
            try:
                values[key] = _READERS[key](text.strip())
            except ValueError as error:
                raise DemoError(f"policy: {key}={text!r}: {error}") from None
        else:
            raise DemoError(f"policy: unknown key {key!r}; known: {', '.join(_KEYS)}")
    policy = Policy(**values, seeds=tuple(seeds))
    if policy.depth is None and policy.traps:
        raise DemoError("policy: without a depth limit, traps must be 0: they have no end")
    return policy


def _pairs(query: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key == "policy":
            found.extend(parse_qsl(value, keep_blank_values=True))
        else:
            found.append((key, value))
    return found


def _integer(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high} is needed")
        return int(text)

    return read


def _depth(text: str) -> int | None:
    return None if text.lower() == "none" else _integer(0, 20)(text)


def _seconds(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError("a number of seconds, zero or more, is needed")
    return value


def _choice(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)} is needed")
        return text

    return read


def _clocks(text: str) -> tuple[str, ...]:
    return tuple(_choice(*CLOCKS)(part.strip()) for part in text.split(","))


def _token(text: str) -> str:
    if not text:
        raise ValueError("a product token is needed")
    return text


_READERS: Final[Mapping[str, Callable[[str], Any]]] = MappingProxyType(
    {
        "depth": _depth,
        "scope": _choice(*SCOPES),
        "traps": _integer(0, 1),
        "signals": _choice("ignore", "honour"),
        "sitemaps": _integer(0, 2),
        "clocks": _clocks,
        "max_wait": _seconds,
        "attempts": _integer(1, 20),
        "redirects": _integer(0, 20),
        "agent": _token,
    }
)
_KEYS: Final = tuple(field.name for field in fields(Policy))
