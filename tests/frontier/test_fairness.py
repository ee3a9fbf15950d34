"""Jobs share workers and hosts, in virtual time: each worker has its pool of turns, as in a crawl.

What is timed is the frontier's and the worker's doing; a page takes as long as the test says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise

import pytest

from benchmarks.virtual import T0
from benchmarks.web import Visit
from benchmarks.world import Job, World
from crawler.worker.asking import MOST_TURNS
from frontier.client import Frontier
from frontier.driver import Driver
from frontier.embedded import EmbeddedServer
from frontier.model import Outcome
from frontier.url import Url, parse

Opener = Callable[..., Awaitable[Frontier]]
LARGE, SMALL = 10_000, 10  # hosts


class Pages:
    """A web of pages without links; what was contacted when, per host."""

    def __init__(self, seconds: Callable[[str], float]) -> None:
        self._seconds = seconds
        self.contacts: dict[str, list[tuple[float, str]]] = defaultdict(list)

    def visit(self, url: str, attempts: int, now: float) -> Visit:
        self.contacts[parse(url).host].append((now, url))
        return Visit(Outcome("", 200, self._seconds(url), attempts=attempts), ())


def quick(url: str) -> float:
    return 0.2


def uneven(url: str) -> float:
    """A large job's hosts take 0.2 to 30 s."""
    number = int(parse(url).host.strip("abcdefghijklmnopqrstuvwxyz-."))
    return 0.2 if "small" in url else (0.2, 0.2, 0.5, 1.0, 3.0, 10.0, 30.0)[number % 7]


def stuck(url: str) -> float:
    """A large job's hosts answer after half a minute, each of them."""
    return 0.2 if "small" in url else 30.0


def urls(name: str, hosts: int, each: int) -> list[Url]:
    return [parse(f"http://{name}-{i}.test/{k}") for k in range(each) for i in range(hosts)]


@pytest.fixture
async def open_fresh(embedded: EmbeddedServer) -> AsyncIterator[Opener]:
    """Opens a frontier on an emptied server."""
    opened: list[Frontier] = []

    async def fresh(partitions: int = 64) -> Frontier:
        driver = await Driver.connect(embedded.url)
        await driver.command("FLUSHALL")
        await driver.close()
        opened.append(await Frontier.open(embedded.url, partitions=partitions))
        return opened[-1]

    yield fresh
    for frontier in opened:
        await frontier.close()


async def small_job(world: World, each: int) -> float:
    """Give the world its small job, and run until that is done; the seconds it took."""
    began, job = world.clock.now, world.jobs["small"]
    await world.seed("small", urls("small", SMALL, each))
    await world.run(lambda: job.fetched == SMALL * each)
    assert job.fetched == SMALL * each
    return (job.ended - began) / 1000


async def sound(world: World) -> None:
    await world.close()
    await world.balance()
    assert world.ledger.examples == []


@pytest.mark.parametrize(("seconds", "weight"), [(quick, 1), (uneven, 4), (stuck, 1)])
async def test_a_job_of_10_hosts_takes_at_most_twice_its_time_beside_one_of_10000(
    open_fresh: Opener, seconds: Callable[[str], float], weight: int
) -> None:
    each = 24
    alone = World(await open_fresh(), Pages(seconds), [Job("small")])
    solo = await small_job(alone, each)
    await sound(alone)
    jobs = [Job("small"), Job("large", weight)]
    beside = World(await open_fresh(), Pages(seconds), jobs)
    await beside.seed("large", urls("large", LARGE, 2))
    await beside.run(lambda: beside.clock.now >= T0 + 10_000)
    assert len(beside.workers[0].turns) >= 0.9 * MOST_TURNS  # the other one has the turns
    took = await small_job(beside, each)
    left = await beside.frontier.stats("large")
    assert left.hosts_ready > MOST_TURNS  # and wanted them all the time
    assert took <= 2 * solo
    await sound(beside)


async def test_jobs_get_pages_by_weight_when_turns_are_scarce(open_fresh: Opener) -> None:
    jobs = [Job("one"), Job("three", 3)]
    # Shares are kept per partition, by whole turns: few partitions, or this takes long to show.
    world = World(await open_fresh(4), Pages(quick), jobs, turns=64)
    for job in jobs:
        await world.seed(job.name, urls(job.name, 500, 8))
    await world.run(lambda: world.clock.now >= T0 + 60_000)
    one, three = (job.fetched for job in jobs)
    assert one + three >= 0.9 * 64 * 60 / 1.2  # a page takes 0.2 s and then 1 s of peace
    assert 2.8 <= three / one <= 3.2
    await sound(world)


async def test_two_jobs_on_one_host_share_its_one_clock(open_fresh: Opener) -> None:
    pages = Pages(quick)
    jobs = [Job("a"), Job("b")]
    world = World(await open_fresh(), pages, jobs, workers=3)
    for name in ("a", "b"):
        await world.seed(name, [parse(f"http://x.test/{name}{k}") for k in range(80)])
        await world.seed(name, urls(name, 20, 4))  # and others of its own
    await world.run(lambda: False)
    await sound(world)  # the ledger: none overlaps, none is early
    contacts = pages.contacts["x.test"]
    starts = [when for when, _ in contacts]
    assert len(starts) == 160
    assert min(b - a for a, b in pairwise(starts)) >= 1.2 - 1e-6
    assert starts[-1] - starts[0] <= 1.1 * 159 * 1.2  # and hardly ever idle
    order = [url[len("http://x.test/")] for _, url in contacts]
    for i in range(16, 160, 16):  # a turn has up to 8 URLs
        assert abs(order[:i].count("a") - order[:i].count("b")) <= 8
