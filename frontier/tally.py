"""Counters of what hosts are made of, shared by the fleet: what may be a trap is told from them.

Two tables per job and host, in the host's partition, each of bounded size (`lua/tally.lua`): of
pages by the pattern of their path (how many, how many with something new), and of queries by path
(how many, which kinds). They are statistics: losing them, or counting a page twice after a failed
call, moves a verdict a little and loses no URL.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from frontier import keys
from frontier.url import Url, partition

if TYPE_CHECKING:
    from frontier.client import Frontier
    from frontier.driver import Call

CHUNK: Final = 256  # items per call
KEEP: Final = 7 * 86_400  # seconds that the counters of an idle host are kept


@dataclass(frozen=True, slots=True)
class Tally:
    """What to add to one counter."""

    kind: str  # p: pages by pattern | q: queries by path
    url: Url  # any URL of the host
    field: str  # which counter; short, as it is stored
    a: int = 0  # p: pages; q: different queries
    b: int = 0  # p: pages with something new
    mark: str = ""  # q: 4 characters that stand for a kind of query; "": none


async def tally(
    frontier: Frontier, job: str, items: Sequence[Tally], *, window: int, marks: int
) -> list[tuple[int, int]]:
    """Add to counters; what each came to, in order.

    p: (pages, new pages), both halved whenever pages reach ``window``; q: (different queries, 1
    when the mark is among the first ``marks`` of its path, else 0). Raises FrontierError.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for i, item in enumerate(items):
        groups[partition(item.url.domain, frontier.partitions)].append(i)
    calls: list[Call] = []
    order: list[int] = []
    for p, members in groups.items():
        for start in range(0, len(members), CHUNK):
            args: list[str | int] = [frontier.now, job, KEEP, window, marks]
            for i in members[start : start + CHUNK]:
                t = items[i]
                args += [t.kind, t.url.host, t.field, t.a, t.b, t.mark]
            calls.append(("tally", keys.home(p), args))
        order += members
    found: list[tuple[int, int]] = [(0, 0)] * len(items)
    flat = [n for reply in await frontier.driver.scripts(calls) for n in reply] if calls else []
    for i, a, b in zip(order, flat[::2], flat[1::2], strict=True):
        found[i] = (a, b)
    return found
