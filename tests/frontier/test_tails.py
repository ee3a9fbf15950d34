"""Spilling as the frontier sees it: bounded heads, fenced trims, refills in order."""

from __future__ import annotations

import pytest

from frontier.client import Frontier
from frontier.model import CrawlRequest, FrontierStats, HostState, Limits, RefillWant, UrlResult
from frontier.url import parse

JOB = "j"
LIMITS = Limits(host_cap=100, buffer=1_000)


@pytest.fixture(autouse=True)
def clock(frontier: Frontier) -> None:
    frontier.now = frontier.tails.now = "1900000000000"


def offers(n: int, host: str = "a.test", priority: int = 2, first: int = 0):
    urls = [parse(f"http://{host}/{i:05}") for i in range(first, first + n)]
    return [(url, CrawlRequest(url.url, priority=priority)) for url in urls]


def part(frontier: Frontier, host: str = "a.test") -> int:
    return frontier.place(parse(f"http://{host}/"))[0]


def adds_up(stats: FrontierStats) -> bool:
    parts = stats.queued + stats.leased + stats.pending + stats.waiting + stats.spilled
    return stats.accepted == parts + stats.done + sum(stats.dropped.values())


async def spill(frontier: Frontier, segment: str, count: int = 10_000) -> list[bytes]:
    """Put the front of the buffer into a segment, which the test keeps."""
    batch = await frontier.tails.spill_read(JOB, part(frontier))
    items = batch.items[:count]
    groups: dict[tuple[int, str], int] = {}
    for item in items:
        groups[item.cls, item.host] = groups.get((item.cls, item.host), 0) + 1
    flat = [(cls, host, n) for (cls, host), n in groups.items()]
    done = await frontier.tails.spill_done(
        JOB, part(frontier), batch.offset, len(items), segment, flat
    )
    assert done
    return [item.entry for item in items]


async def test_a_host_keeps_its_share_and_the_rest_is_spilled(frontier: Frontier) -> None:
    added = await frontier.add(JOB, offers(500), limits=LIMITS)
    assert (added.accepted, added.refused) == (500, ())
    stats = await frontier.stats(JOB)
    assert (stats.queued, stats.spilled) == (80, 420)
    assert adds_up(stats)
    # Classes 0 and 1 find room of their own.
    await frontier.add(JOB, offers(500, priority=1, first=500), limits=LIMITS)
    await frontier.add(JOB, offers(500, priority=0, first=1000), limits=LIMITS)
    stats = await frontier.stats(JOB)
    assert stats.queued == 100
    assert adds_up(stats)


async def test_a_full_buffer_refuses_and_loses_nothing(frontier: Frontier) -> None:
    added = await frontier.add(JOB, offers(1_500), limits=LIMITS)
    assert added.accepted == 1_080
    assert len(added.refused) == 420
    assert added.retry_after > 0
    await spill(frontier, "s1")
    again = await frontier.add(JOB, added.refused, limits=LIMITS)
    assert (again.accepted, again.known, again.refused) == (420, 0, ())
    assert adds_up(await frontier.stats(JOB))


async def test_spilled_urls_come_back_in_order(frontier: Frontier) -> None:
    p = part(frontier)
    await frontier.add(JOB, offers(300), limits=LIMITS)
    stored = {"s1": await spill(frontier, "s1", 100)}
    await frontier.add(JOB, offers(50, first=300), limits=LIMITS)
    stored["s2"] = await spill(frontier, "s2")
    got: list[str] = []
    while True:
        grant = await frontier.lease("w", [JOB], [p], hosts=1, urls=16, ttl=60)
        for held in grant.leases:
            got += [leased.request.url for leased in held.urls]
            results = [UrlResult(leased.fp, "pending", "seg") for leased in held.urls]
            await frontier.report(held, results, state=HostState(), wait=0, free=True)
        for want in await frontier.tails.refill_wanted(JOB, p, cap=100):
            last = want.consumed + min(want.room, want.total - want.consumed)
            entries = stored[want.segment][want.consumed : last]
            assert await frontier.tails.refill(JOB, p, want, entries)
        stats = await frontier.stats(JOB)
        assert adds_up(stats)
        assert stats.queued <= 100
        if not grant.leases and not stats.spilled:
            break
    assert got == [url.url for url, _ in offers(350)]
    assert await frontier.tails.spill_known(JOB, p) == {"s1", "s2"}
    assert await frontier.tails.spill_dead(JOB, p) == []
    frontier.tails.now = "1900003600001"
    assert await frontier.tails.spill_dead(JOB, p) == ["s1", "s2"]
    await frontier.tails.spill_forget(JOB, p, ["s1", "s2"])
    assert await frontier.tails.spill_known(JOB, p) == set()


async def test_two_spillers_and_two_refills_do_it_once(frontier: Frontier) -> None:
    p = part(frontier)
    await frontier.add(JOB, offers(200), limits=LIMITS)
    batch = await frontier.tails.spill_read(JOB, p)
    group = [(2, "a.test", len(batch.items))]
    args = (JOB, p, batch.offset, len(batch.items))
    assert await frontier.tails.spill_done(*args, "mine", group)
    assert not await frontier.tails.spill_done(*args, "theirs", group)
    assert await frontier.tails.spill_known(JOB, p) == {"mine"}
    await frontier.lease("w", [JOB], [p], hosts=1, urls=70, ttl=60)
    [want] = await frontier.tails.refill_wanted(JOB, p, cap=100)
    entries = [item.entry for item in batch.items[:20]]
    assert await frontier.tails.refill(JOB, p, want, entries)
    assert not await frontier.tails.refill(JOB, p, want, entries)
    stats = await frontier.stats(JOB)
    assert (stats.queued, stats.leased, stats.spilled) == (30, 70, 100)


async def test_what_cannot_be_read_is_set_aside_and_stays_counted(frontier: Frontier) -> None:
    p = part(frontier)
    await frontier.add(JOB, offers(90), limits=LIMITS)
    await spill(frontier, "broken")
    await frontier.lease("w", [JOB], [p], hosts=1, urls=80, ttl=60)
    [want] = await frontier.tails.refill_wanted(JOB, p, cap=100)
    assert await frontier.tails.spill_quarantine(JOB, p, want) == 10
    assert await frontier.tails.spill_quarantine(JOB, p, want) == 0
    stats = await frontier.stats(JOB)
    assert (stats.spilled, stats.quarantined) == (10, 10)
    assert adds_up(stats)
    assert (await frontier.unreached(JOB, "max-wait"))["spill-damaged"] == 10
    assert await frontier.tails.refill_wanted(JOB, p, cap=100) == []


async def test_a_host_whose_queue_ran_dry_is_looked_at_again(frontier: Frontier) -> None:
    p = part(frontier)
    await frontier.add(JOB, offers(90), limits=LIMITS)
    entries = await spill(frontier, "s")
    grant = await frontier.lease("w", [JOB], [p], hosts=1, urls=80, ttl=60)
    await frontier.report(
        grant.leases[0],
        [UrlResult(u.fp, "pending", "seg") for u in grant.leases[0].urls],
        state=HostState(),
        wait=0,
        free=True,
    )
    dry = await frontier.lease("w", [JOB], [p], hosts=1, urls=80, ttl=60)
    assert dry.leases == ()
    assert dry.due[p] == 0.5
    [want] = await frontier.tails.refill_wanted(JOB, p, cap=100)
    assert want == RefillWant("a.test", 2, "s", 10, 0, 100)
    assert await frontier.tails.refill(JOB, p, want, entries)
    full = await frontier.lease("w", [JOB], [p], hosts=1, urls=80, ttl=60)
    assert [u.request.url for u in full.leases[0].urls] == [u.url for u, _ in offers(10, first=80)]


async def test_newest_first_takes_the_last_link_first(frontier: Frontier) -> None:
    limits = Limits(newest_first=True)
    await frontier.add(JOB, offers(3), limits=limits)
    await frontier.add(JOB, offers(2, first=3), limits=limits)
    grant = await frontier.lease("w", [JOB], range(4), hosts=1, urls=8, ttl=60)
    got = [u.request.url[-1] for u in grant.leases[0].urls]
    assert got == ["4", "3", "2", "1", "0"]
