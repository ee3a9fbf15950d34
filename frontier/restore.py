"""Telling an empty frontier what the table of pages knows: the calls behind a rebuild."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from frontier import keys
from frontier.client import Frontier
from frontier.driver import Call
from frontier.model import HostState
from frontier.url import Url, partition

CHUNK: Final = 256  # visits per call: a script blocks the server while it runs


@dataclass(frozen=True, slots=True)
class Past:
    """A host, and visits of URLs of it that ended with a row."""

    url: Url  # any of the host's
    ready: float  # unix seconds before which it may not be contacted
    state: HostState
    visits: tuple[tuple[str, str], ...]  # (fingerprint, reason: "" done, else dropped)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a call came to."""

    visits: int  # that were not known before
    hosts: int  # that had no clock before


async def restore(
    frontier: Frontier, job: str, pasts: Iterable[Past], *, budgets: bool
) -> Restored:
    """Count visits as seen and finished, each once; set the clocks of their hosts.

    ``budgets``: the job counts URLs per host and domain (see Limits). Raises FrontierError.
    """
    groups: dict[int, list[Any]] = {}
    room: dict[int, int] = {}
    calls: list[Call] = []

    def send(p: int) -> None:
        calls.append(("restore", keys.home(p), [frontier.now, job, int(budgets), *groups.pop(p)]))

    for past in pasts:
        p = partition(past.url.domain, frontier.partitions)
        for visits in _chunks(past.visits):
            if p in groups and room[p] < len(visits):
                send(p)
            if p not in groups:
                groups[p], room[p] = [], CHUNK
            groups[p] += _arguments(past, visits)
            room[p] -= max(1, len(visits))
    for p in list(groups):
        send(p)
    replies = await frontier.driver.scripts(calls) if calls else []
    return Restored(sum(visits for visits, _ in replies), sum(hosts for _, hosts in replies))


async def hush(frontier: Frontier, seconds: float) -> None:
    """Let nothing be leased for so long: leases of a frontier that is lost may still run."""
    now, _ = await frontier.driver.command("TIME")
    until = (int(now) + 1) * 1000 + math.ceil(seconds * 1000)
    calls = [("HSET", keys.home(p), "quiet", until) for p in range(frontier.partitions)]
    await frontier.driver.commands(calls)


def _chunks(visits: tuple[tuple[str, str], ...]) -> Iterable[tuple[tuple[str, str], ...]]:
    return (visits[i : i + CHUNK] for i in range(0, max(1, len(visits)), CHUNK))


def _arguments(past: Past, visits: tuple[tuple[str, str], ...]) -> list[Any]:
    state = past.state
    return [
        past.url.host,
        past.url.domain,
        math.ceil(past.ready * 1000),
        round(state.delay * 1000),
        msgspec.msgpack.encode(state),
        state.blocked_reason,
        len(visits),
        *(x for visit in visits for x in visit),
    ]
