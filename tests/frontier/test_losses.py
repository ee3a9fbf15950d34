"""What a server is told that may have lost writes: each URL counts once, wherever it is."""

from __future__ import annotations

import pytest

from frontier import inspect, keys
from frontier.client import Frontier
from frontier.model import CrawlRequest, HostState, Lease, UrlResult
from frontier.url import parse

JOB = "j"
URL = parse("http://a.test/1")


async def tell(frontier: Frontier, reason: str = "") -> None:
    p, fp = frontier.place(URL)
    await frontier.losses.tell(JOB, [(p, fp, reason)])


async def add(frontier: Frontier, *, force: bool = False) -> int:
    return (await frontier.add(JOB, [(URL, CrawlRequest(URL.url))], force=force)).accepted


async def lease(frontier: Frontier) -> tuple[Lease, ...]:
    p, _ = frontier.place(URL)
    return (await frontier.lease("w", [JOB], [p], hosts=1, urls=8, ttl=60)).leases


async def pend(frontier: Frontier) -> None:
    [held] = await lease(frontier)
    results = [UrlResult(held.urls[0].fp, "pending", "s")]
    await frontier.report(held, results, state=HostState(), wait=0, free=True)


async def finished(frontier: Frontier) -> bool:
    stats = await frontier.stats(JOB)
    assert list(inspect.problems(await inspect.check(frontier, [JOB], repair=False))) == []
    return stats.accepted == stats.finished == 1


async def test_a_url_that_is_unknown_is_finished_once(frontier: Frontier) -> None:
    await tell(frontier, "http-404")
    await tell(frontier, "http-404")
    assert await finished(frontier)
    assert (await frontier.stats(JOB)).dropped == {"http-404": 1}
    assert await add(frontier) == 0
    assert await lease(frontier) == ()


async def test_a_queued_url_is_struck_off_when_its_turn_comes(frontier: Frontier) -> None:
    assert await add(frontier)
    await tell(frontier)
    assert not await finished(frontier)
    assert await lease(frontier) == ()
    assert await finished(frontier)


async def test_a_url_is_struck_off_once(frontier: Frontier) -> None:
    """What is offered again after that, past the seen-filter, is another."""
    assert await add(frontier)
    await tell(frontier)
    assert await lease(frontier) == ()
    p, fp = frontier.place(URL)
    assert not await frontier.driver.command("HEXISTS", f"{keys.tag(p)}:x:{JOB}", fp)
    assert await add(frontier, force=True)
    assert len(await lease(frontier)) == 1


async def test_a_mark_of_a_url_that_had_ended_strikes_off_no_later_one(frontier: Frontier) -> None:
    assert await add(frontier)
    await pend(frontier)
    await frontier.seal("s", range(4))
    await frontier.settle("s", range(4))
    await tell(frontier)
    assert await finished(frontier)
    assert await add(frontier, force=True)
    assert len(await lease(frontier)) == 1


@pytest.mark.parametrize("told", [(0,), (1,), (0, 2)])
async def test_what_is_left_of_a_struck_lease_is_sealed_and_settled(
    frontier: Frontier, told: tuple[int, ...]
) -> None:
    urls = [parse(f"http://a.test/{n}") for n in range(4)]
    await frontier.add(JOB, [(url, CrawlRequest(url.url)) for url in urls])
    [held] = await lease(frontier)
    results = [UrlResult(leased.fp, "pending", "s", "timeout") for leased in held.urls]
    await frontier.report(held, results, state=HostState(), wait=0, free=True)
    places = [frontier.place(url) for url in urls]
    await frontier.losses.tell(JOB, [(*places[n], "") for n in told])
    left = [fp for n, (_, fp) in enumerate(places) if n not in told]
    for _ in range(2):
        assert await frontier.seal("s", [held.partition]) == {held.partition: left}
    assert await frontier.losses.held("s", {held.partition: len(left)})
    await frontier.settle("s", [held.partition])
    stats = await frontier.stats(JOB)
    assert (stats.done, stats.dropped, stats.pending) == (len(told), {"timeout": len(left)}, 0)
    assert stats.accepted == stats.finished == 4


async def test_a_pending_url_does_not_become_a_second_row(frontier: Frontier) -> None:
    assert await add(frontier)
    await pend(frontier)
    await tell(frontier)
    p, _ = frontier.place(URL)
    assert await frontier.seal("s", [p]) == {p: []}
    assert await finished(frontier)


async def test_a_segment_is_held_while_it_is_sealed_and_its_urls_are_its_own(
    frontier: Frontier,
) -> None:
    assert await add(frontier)
    await pend(frontier)
    p, fp = frontier.place(URL)
    held = frontier.losses.held
    assert not await held("s", {p: 1})
    assert await frontier.seal("s", [p]) == {p: [fp]}
    assert await held("s", {p: 1})
    assert not await held("s", {p: 2})
    await tell(frontier)
    assert not await held("s", {p: 1})
    await frontier.requeue("s", aborted=True, partitions=[p])
    assert not await held("s", {p: 1})
    assert await lease(frontier) == ()
    assert await finished(frontier)
