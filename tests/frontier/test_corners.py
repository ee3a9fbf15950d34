"""Small cases that random operations (`test_machine.py`) have shown to go wrong."""

from __future__ import annotations

import pytest

from frontier.client import FencedSegment, Frontier, Requeued
from frontier.model import CrawlRequest, FrontierStats, HostState, Lease, Limits, UrlResult
from frontier.url import parse

T0 = 1_900_000_000_000
URL = parse("http://x.test/")


@pytest.fixture(autouse=True)
def clock(frontier: Frontier) -> None:
    frontier.now = frontier.tails.now = str(T0)


def adds_up(stats: FrontierStats) -> bool:
    parts = stats.queued + stats.leased + stats.pending + stats.waiting + stats.spilled
    return stats.accepted == parts + stats.finished


async def offer(frontier: Frontier, *, force: bool = False) -> None:
    await frontier.add("j", [(URL, CrawlRequest(URL.url))], force=force)


async def lease(frontier: Frontier) -> Lease:
    [held] = (await frontier.lease("w", ["j"], range(4), hosts=1, urls=8, ttl=60)).leases
    return held


async def tell(
    frontier: Frontier, held: Lease, action: str, segment: str = "", wait: float = 0
) -> None:
    results = [UrlResult(u.fp, action, segment, wait=wait) for u in held.urls]
    await frontier.report(held, results, state=HostState(), wait=0, free=True)


@pytest.mark.parametrize("action", ["pending", "retry"])
async def test_a_url_that_is_forced_in_while_under_way_is_another(
    frontier: Frontier, action: str
) -> None:
    await offer(frontier)
    await offer(frontier, force=True)
    for _ in range(2):
        held = await lease(frontier)
        assert len(held.urls) == 1
        await tell(frontier, held, action, "seg", wait=1)
    stats = await frontier.stats("j")
    assert (stats.accepted, stats.pending + stats.waiting) == (2, 2)
    assert adds_up(stats)
    frontier.now = str(T0 + 1_000)
    for _ in range(2 * (action == "retry")):
        await tell(frontier, await lease(frontier), "pending", "seg")
    fps = await frontier.seal("seg", range(4))
    assert held.urls[0].fp in fps[held.partition]
    await frontier.settle("seg", range(4))
    assert (await frontier.stats("j")).done == 2


async def test_a_sealed_segment_is_closed_where_it_had_no_urls_too(frontier: Frontier) -> None:
    await offer(frontier)
    held = await lease(frontier)
    for _ in range(2):
        assert await frontier.seal("seg", range(4)) == {p: [] for p in range(4)}
    with pytest.raises(FencedSegment):
        await tell(frontier, held, "pending", "seg")
    await tell(frontier, held, "pending", "other")


async def test_a_settled_segment_stays_closed_for_what_comes_late(frontier: Frontier) -> None:
    await offer(frontier)
    held = await lease(frontier)
    await frontier.report(
        held, [UrlResult(held.urls[0].fp, "pending", "seg")], state=HostState(), wait=0, free=True
    )
    await offer(frontier, force=True)
    late = await lease(frontier)
    assert await frontier.seal("seg", range(4)) == await frontier.seal("seg", range(4))
    for _ in range(2):
        await frontier.settle("seg", [held.partition])
        assert await frontier.seal("seg", [held.partition]) == {held.partition: []}
    with pytest.raises(FencedSegment):
        await tell(frontier, late, "pending", "seg")
    assert await frontier.requeue("seg", aborted=False) == Requeued(0)
    stats = await frontier.stats("j")
    assert (stats.done, stats.pending, stats.leased) == (1, 0, 1)


async def test_ended_segments_are_forgotten_after_a_while(frontier: Frontier) -> None:
    """Settled ones after some leases, given up ones after some days: else they pile up."""
    p = frontier.place(URL)[0]

    async def marks() -> int:
        return int(await frontier.driver.command("HLEN", f"{{f{p}}}:g"))

    def later(seconds: int) -> None:
        frontier.now = str(int(frontier.now) + seconds * 1_000)

    for n in range(30):
        await offer(frontier, force=True)
        await tell(frontier, await lease(frontier), "pending", f"s{n}")
        found = await frontier.seal(f"s{n}", range(4))
        await frontier.settle(f"s{n}", [q for q, fps in found.items() if fps])
        await frontier.requeue(f"x{n}", aborted=False)
        later(60)
    assert await marks() < 45
    later(3 * 86_400)
    await frontier.requeue("last", aborted=False)
    assert await marks() == 1
    for q in range(4):  # also where they had no URLs
        assert await frontier.driver.command("HLEN", f"{{f{q}}}:g") == 1
        assert await frontier.driver.command("ZCARD", f"{{f{q}}}:ge") == 1


async def test_hosts_without_room_hold_up_no_other_host_that_lacks_urls(
    frontier: Frontier,
) -> None:
    limits, p = Limits(host_cap=10), frontier.place(parse("http://a.dom.com/"))[0]
    for host in ("a.dom.com", "b.dom.com"):
        for priority, n in ((2, 20), (0, 2)):
            urls = [parse(f"http://{host}/{priority}/{i}") for i in range(n)]
            requests = [CrawlRequest(url.url, priority=priority) for url in urls]
            await frontier.add("j", list(zip(urls, requests, strict=True)), limits=limits)
        held = await lease(frontier)  # so that it is called back
        if host == "a.dom.com":
            await frontier.report(held, [], state=HostState(), wait=60, free=True)  # all return
    wants = [await frontier.tails.refill_wanted("j", p, 1, cap=10) for _ in range(2)]
    assert [want.host for found in wants for want in found] == ["b.dom.com"]


async def test_a_host_left_without_urls_while_another_job_holds_it_is_not_ready(
    frontier: Frontier,
) -> None:
    limits, p = Limits(host_cap=1), frontier.place(URL)[0]
    urls = [parse(f"http://x.test/{i}") for i in range(2)]
    offers = [(url, CrawlRequest(url.url)) for url in urls]
    await frontier.add("j", offers, limits=limits)
    batch = await frontier.tails.spill_read("j", p)
    await frontier.tails.spill_done("j", p, batch.offset, 1, "s", [(2, "x.test", 1)])
    await tell(frontier, await lease(frontier), "pending", "seg")
    claimed, _ = await frontier.claim("w", "other", URL, ttl=60)
    assert claimed
    [want] = await frontier.tails.refill_wanted("j", p, cap=1)
    assert await frontier.tails.spill_quarantine("j", p, want) == 1
    assert (await frontier.stats("j")).next_ready is None
