"""A crawl goes on while its cluster fails: no host held twice, none contacted early, no URL lost.

Workers lease and report through the public API, each with connections of its own; a ledger has who
held which host when, and every contact, by CLOCK_MONOTONIC.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from redis.crc import key_slot

from frontier import keys
from frontier.client import Frontier
from frontier.model import CrawlRequest, FrontierError, HostState, Lease, UrlResult
from frontier.url import parse
from frontier.windows import boottime
from tests.cluster import Cluster, Server, caught_up, cluster, wait_until

JOB = "j"
PARTITIONS = 16
HOSTS, URLS = 72, 3
WORKERS, HOLD = 6, 6  # each holds so many hosts: at any time half of them are free
TTL = 6.0  # seconds of a lease
FETCH, DELAY = 1.5, 0.1  # seconds that a contact takes, and to the next one of the host
POLL = 0.05  # seconds between a worker's lease calls
MARGIN = 0.5  # seconds before a lease's end from which on no contact starts
CLOCKS = 0.002  # seconds by which the server's clock is coarser than ours
LONG = 90.0  # seconds for a crawl


@dataclass(slots=True)
class Span:
    """From when to when something was so."""

    worker: str
    start: float  # time.monotonic()
    end: float


@dataclass(slots=True)
class Ledger:
    """What the workers did."""

    held: dict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))
    contacts: dict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))
    fetched: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def since(self, start: float, hosts: set[str]) -> list[Span]:
        """When some hosts came to be held after a moment."""
        return [span for host in hosts for span in self.held.get(host, ()) if span.start > start]

    def overlaps(self) -> list[tuple[str, Span, Span]]:
        """Hosts that two held at a time."""
        return [
            (host, a, b)
            for host, spans in self.held.items()
            for a, b in pairwise(sorted(spans, key=lambda s: s.start))
            if b.start < a.end
        ]

    def early(self) -> list[tuple[str, float]]:
        """Contacts that came too soon after another one: (host, seconds after its end)."""
        return [
            (host, b.start - a.end)
            for host, spans in self.contacts.items()
            for a, b in pairwise(sorted(spans, key=lambda s: s.start))
            if b.start - a.end < DELAY - CLOCKS
        ]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path / "cluster") as running:
        yield running


@pytest.fixture
async def workers(nodes: Cluster) -> AsyncIterator[list[Frontier]]:
    """One frontier per worker, all of one deployment with all URLs queued and replicated."""
    opened = [await Frontier.open(nodes.url, partitions=PARTITIONS) for _ in range(WORKERS)]
    parsed = [parse(url) for url in all_urls()]
    await opened[0].add(JOB, [(url, CrawlRequest(url.url)) for url in parsed])
    for master in nodes.masters():
        await asyncio.to_thread(wait_until, "the replica", partial(_follows, nodes, master))
    yield opened
    for each in opened:
        await each.close()


def _follows(nodes: Cluster, master: Server) -> bool:
    return caught_up(master, nodes.replica_of(master))


def all_urls() -> set[str]:
    return {f"http://h{host}.test/{n}" for host in range(HOSTS) for n in range(URLS)}


async def hold(frontier: Frontier, ledger: Ledger, name: str, lease: Lease) -> None:
    """Contact a host for each URL of a lease, then give it back."""
    span = Span(name, time.monotonic(), time.monotonic() + lease.expires - boottime())
    ledger.held[lease.host].append(span)
    for n, url in enumerate(lease.urls):
        if boottime() + FETCH + MARGIN > lease.expires:
            return  # too late: the server takes the rest back
        contact = Span(name, time.monotonic(), time.monotonic())
        ledger.contacts[lease.host].append(contact)
        await asyncio.sleep(FETCH)
        contact.end = time.monotonic()
        ledger.fetched[url.request.url] += 1
        last = n == len(lease.urls) - 1
        if last:
            span.end = time.monotonic()
        result = UrlResult(url.fp, "pending", f"segment-{name}")
        state = HostState(delay=DELAY)
        try:
            await frontier.report(lease, [result], state=state, wait=DELAY, free=last)
        except FrontierError:
            span.end = time.monotonic()
            return  # lost, or nobody knows: no more contacts
        if not last:
            await asyncio.sleep(DELAY)


async def work(frontier: Frontier, ledger: Ledger, name: str, holding: asyncio.TaskGroup) -> None:
    """Lease and contact until every URL was fetched by somebody."""
    held: set[asyncio.Task[None]] = set()
    turn = 0
    while len(ledger.fetched) < HOSTS * URLS:
        turn += 1
        asked = [(turn * 2 + n) % PARTITIONS for n in range(2)]
        if len(held) < HOLD:
            try:
                grant = await frontier.lease(name, [JOB], asked, hosts=1, urls=2, ttl=TTL)
                # Nothing here has rows, of which a promoted replica would have to be told.
                await frontier.losses.done(JOB, {p: n for p, n in grant.losses.items() if n})
            except FrontierError:
                continue  # bounded by the driver's own pauses and the test's deadline
            for lease in grant.leases:
                task = holding.create_task(hold(frontier, ledger, name, lease))
                held.add(task)
                task.add_done_callback(held.discard)
        await asyncio.sleep(POLL)


async def crawl(workers: list[Frontier], ledger: Ledger) -> None:
    async with asyncio.timeout(LONG), asyncio.TaskGroup() as group:
        for frontier in workers:
            group.create_task(work(frontier, ledger, f"w{id(frontier)}", group))


async def under_way(ledger: Ledger) -> None:
    """Until a good part has been fetched."""
    async with asyncio.timeout(LONG):
        while len(ledger.fetched) < HOSTS * URLS // 6:
            await asyncio.sleep(0.01)  # polling interval, bounded by the deadline


async def outcome(workers: list[Frontier], ledger: Ledger) -> None:
    assert set(ledger.fetched) == all_urls()
    assert not ledger.overlaps()
    assert not ledger.early()
    stats = await workers[0].stats(JOB)
    assert stats.accepted == HOSTS * URLS
    parts = stats.queued + stats.leased + stats.pending + stats.waiting + stats.done
    assert parts == stats.accepted


def busiest(nodes: Cluster) -> tuple[Server, list[int]]:
    """The master that has most partitions, and which."""
    by_master: dict[int, list[int]] = defaultdict(list)
    for p in range(PARTITIONS):
        by_master[nodes.master_of(keys.tag(p)).port].append(p)
    port = max(by_master, key=lambda each: len(by_master[each]))
    return next(s for s in nodes.servers if s.port == port), by_master[port]


async def test_a_crawl_without_harm(workers: list[Frontier]) -> None:
    ledger = Ledger()
    await crawl(workers, ledger)
    await outcome(workers, ledger)
    assert set(ledger.fetched.values()) == {1}


async def test_slots_move_to_another_node(nodes: Cluster, workers: list[Frontier]) -> None:
    source, mine = busiest(nodes)
    target = next(s for s in nodes.masters() if s is not source)
    slots = [key_slot(keys.tag(p).encode()) for p in mine]
    ledger = Ledger()
    crawling = asyncio.create_task(crawl(workers, ledger))
    await under_way(ledger)
    await asyncio.to_thread(nodes.migrate, source, target, slots)
    await crawling
    assert {nodes.master_of(keys.tag(p)).port for p in mine} == {target.port}
    await outcome(workers, ledger)


async def test_a_frozen_master_comes_back_after_its_replica_was_promoted(
    nodes: Cluster, workers: list[Frontier]
) -> None:
    """What waits in its sockets is run when it wakes, before it hears that it is no master."""
    master, _ = busiest(nodes)
    replica = nodes.replica_of(master)
    ledger = Ledger()
    crawling = asyncio.create_task(crawl(workers[:3], ledger))
    await under_way(ledger)
    master.freeze()
    nodes.lost.append(master)
    await asyncio.to_thread(nodes.wait_promoted, replica)
    late = asyncio.create_task(crawl(workers[3:], ledger))  # these had not leased before
    start = time.monotonic()
    async with asyncio.timeout(LONG):
        while not ledger.since(start, set(ledger.held)):
            await asyncio.sleep(0.01)  # polling interval, bounded by the deadline
    master.thaw()
    nodes.lost.remove(master)
    await asyncio.gather(crawling, late)
    await outcome(workers, ledger)


async def test_a_master_is_cut_off_from_its_replica_and_killed(
    nodes: Cluster, workers: list[Frontier]
) -> None:
    """The leases that it granted last are unknown to the one that takes over."""
    master, mine = busiest(nodes)
    ledger = Ledger()
    crawling = asyncio.create_task(crawl(workers, ledger))
    await under_way(ledger)
    replica = await asyncio.to_thread(nodes.cut, master)
    # Long enough for leases that the replica does not know of, if any are granted.
    place = workers[0].place
    there = {url.host for url in map(parse, all_urls()) if place(url)[0] in mine}
    start = time.monotonic()
    while time.monotonic() < start + TTL and len(ledger.since(start, there)) < 10:
        await asyncio.sleep(0.01)  # polling interval, bounded by the deadline
    await asyncio.to_thread(nodes.lose, master, replica)
    await crawling
    await outcome(workers, ledger)
