"""The simulator: its ledger sees what is wrong, its web is what it says, a small run is sound."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from benchmarks.ledger import Ledger, Service, jain
from benchmarks.private_redis import VALKEY, private_redis
from benchmarks.simulate import simulate
from benchmarks.web import PowerLawWeb
from benchmarks.world import Job, World
from frontier.client import Frontier
from frontier.model import FrontierStats
from frontier.url import parse


def crawled(book: Ledger) -> None:
    """One URL's way, as it should be."""
    book.accepted("j", ["1", "2"])
    book.leased("h", "w")
    book.started("h", "w", 1_000)
    book.ended("h", 1_200, 1.0)
    book.fetched("j", "1")
    book.freed("h")
    book.done("j", ["1"])


FAULTS: dict[str, Callable[[Ledger], None]] = {
    "while w holds it": lambda b: (b.leased("h", "w"), b.leased("h", "v"))[0],
    "which does not hold it": lambda b: b.started("h", "w", 9_000),
    "is at it": lambda b: (b.started("g", "w", 0), b.started("g", "w", 1))[0],
    "contacted 1 ms early": lambda b: (b.leased("h", "w"), b.started("h", "w", 2_199))[0],
    "accepted twice": lambda b: b.accepted("j", ["2"]),
    "never accepted": lambda b: b.known("j", ["3"]),
    "comes to state 1 from 2": lambda b: b.fetched("j", "1"),
    "comes to state 2 from 0": lambda b: b.done("j", ["2"]),
    "comes to state 1 from None": lambda b: b.fetched("j", "3"),
    "finished is 1 by the ledger, 2": lambda b: b.balance(
        "j", FrontierStats(accepted=2, done=2, finished=2)
    ),
    "parts is 2 by the ledger, 1": lambda b: b.balance(
        "j", FrontierStats(accepted=2, done=1, finished=1)
    ),
}


def test_the_ledger_finds_no_fault_where_there_is_none() -> None:
    book = Ledger()
    crawled(book)
    book.leased("h", "v")
    book.started("h", "v", 2_200)
    book.balance("j", FrontierStats(accepted=2, leased=1, done=1, finished=1))
    assert book.examples == []


@pytest.mark.parametrize("fault", FAULTS)
def test_the_ledger_finds(fault: str) -> None:
    book = Ledger()
    crawled(book)
    FAULTS[fault](book)
    assert book.violations > 0
    assert any(fault in text for text in book.examples)


def test_the_share_of_hosts_served_in_time() -> None:
    service = Service()
    for host in ("a", "b", "c", "d"):
        service.more(host, 2, 0)
    service.leased("a", 2, 500)
    service.leased("b", 1, 2_000)  # late
    service.freed("b", 0, 3_000)
    service.leased("b", 1, 3_100)
    assert service.share(1_000) == 2 / 3
    assert service.share(1_001) == 2 / 5  # c and d still wait


def test_the_index_of_fairness() -> None:
    assert jain([3.0, 3.0, 3.0]) == 1.0
    assert jain([1.0, 0.0]) == 0.5


def test_a_web_is_a_power_law_and_the_same_for_all() -> None:
    web, again = PowerLawWeb(2_000, seed=3), PowerLawWeb(2_000, seed=3)
    sizes = [web.size(host) for host in range(2_000)]
    assert sum(sizes) == web.pages
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 100 * sizes[1_000] > 0
    late = web.visit(web.url(5, 3).url, 1, 0.0)
    assert late == again.visit(again.url(5, 3).url, 1, 9.0)
    for made in (*late.links, web.url(39, 0)):
        assert parse(made.url) == made
        assert parse(made.url).domain == made.domain


async def test_links_lead_to_every_page() -> None:
    web = PowerLawWeb(50, mean=20.0)
    left, found = [web.url(0, 0).url], {web.url(0, 0).url}
    while left:
        url = left.pop()
        visits = (web.visit(url, attempts, 0.0) for attempts in range(1, 200))
        links = next((v.links for v in visits if not v.outcome.reason), ())
        left += [link.url for link in links if link.url not in found]
        found.update(link.url for link in links)
    assert len(found) >= 0.9 * web.pages  # what only dead hosts lead to is not found


async def test_a_small_run_is_sound_and_says_what_it_cost() -> None:
    options = argparse.Namespace(urls=1_500, hours=1.0, cap=20, partitions=8, seed=1)
    with private_redis(VALKEY, persist=False) as server:
        said = await simulate(server, 150, 3, options)
    assert said["violations"] == 0, said["examples"]
    assert said["findings"] == []
    assert said["fetched"] >= 1_500
    assert said["spilled_share"] > 0
    assert said["server_cpu_us"] > 0
    assert len(said["stages"]) == 10


async def test_a_frontier_that_grants_a_host_too_early_is_found_out() -> None:
    with private_redis(VALKEY, persist=False) as server:
        frontier = await Frontier.open(server.url, partitions=2)
        web = PowerLawWeb(20)
        world = World(frontier, web, [Job("j")])
        await world.seed("j", [web.url(host, 0) for host in range(20)])

        def rush() -> bool:
            for key in server.commands.scan_iter(match="{f*}:h:*"):
                server.commands.hset(key, "t", 0)
            for key in server.commands.scan_iter(match="{f*}:r:*"):
                for host in server.commands.zrange(key, 0, -1):
                    server.commands.zadd(key, {host: 0}, xx=True)
            return world.fetched >= 200

        await world.run(rush)
        await frontier.close()
    assert any("ms early" in text for text in world.ledger.examples)
