"""Leases that run out while nobody could renew them. By the server's own clock: set ones jump."""

from __future__ import annotations

import asyncio
import time

from frontier import keys
from frontier.client import Frontier
from frontier.model import CrawlRequest, HostState, Lease
from frontier.url import parse

URLS = [(parse(url), CrawlRequest(url)) for url in ("http://a.test/1", "http://a.test/2")]


async def lease(frontier: Frontier, worker: str, ttl: float) -> list[Lease]:
    partitions = range(frontier.partitions)
    return list((await frontier.lease(worker, ["j"], partitions, hosts=1, urls=8, ttl=ttl)).leases)


async def once_over(frontier: Frontier, ttl: float, *, looking: bool) -> Lease:
    """The next lease of a host after one that nobody renewed; ``looking``: asked for meanwhile."""
    await frontier.add("j", URLS)
    [lost] = await lease(frontier, "w1", ttl)
    deadline = time.monotonic() + ttl + 30
    over = time.monotonic() + ttl + 0.1
    while True:
        assert time.monotonic() < deadline
        if (looking or time.monotonic() > over) and (found := await lease(frontier, "w2", ttl)):
            assert found[0].token > lost.token
            return found[0]
        await asyncio.sleep(0.05)  # polling interval, bounded by the deadline


async def test_a_lease_that_nobody_could_renew_is_no_loss_of_its_urls(frontier: Frontier) -> None:
    held = await once_over(frontier, 1.0, looking=False)
    assert [leased.request.losses for leased in held.urls] == [0, 0]


async def test_a_lease_that_only_its_holder_did_not_renew_is_one(frontier: Frontier) -> None:
    held = await once_over(frontier, 4.0, looking=True)
    assert [leased.request.losses for leased in held.urls] == [1]  # alone from now on


async def away_at_the_deadline(frontier: Frontier, at: int) -> None:
    """The server was away until ``at``, ms: nobody could renew what ran out by then."""
    p, _ = frontier.place(URLS[0][0])
    await frontier.driver.command("HSET", keys.home(p), "back", at)
    frontier.now = str(at)


async def test_a_url_that_kills_whoever_takes_it_is_told_though_nobody_calls_meanwhile(
    frontier: Frontier,
) -> None:
    at, losses = 1_900_000_000_000, []
    frontier.now = str(at)
    await frontier.add("j", URLS[:1])
    for _ in range(8):
        [held] = await lease(frontier, "w", 60)
        losses.append(held.urls[0].request.losses)
        await frontier.begin(held)
        at += 60_000
        await away_at_the_deadline(frontier, at)
    assert losses == [0, 0, 0, 0, 1, 2, 3, 4]


async def test_a_host_that_is_given_back_is_excused_anew(frontier: Frontier) -> None:
    at = 1_900_000_000_000
    frontier.now = str(at)
    await frontier.add("j", URLS[:1])
    for _ in range(3):
        for _ in range(3):
            [held] = await lease(frontier, "w", 60)
            assert held.urls[0].request.losses == 0
            at += 60_000
            await away_at_the_deadline(frontier, at)
        [held] = await lease(frontier, "w", 60)
        assert held.urls[0].request.losses == 0
        await frontier.report(held, [], state=HostState(), wait=0, free=True)
