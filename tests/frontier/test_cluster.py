"""What happens to a cluster while it is in use: slots move, masters freeze, nodes go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from frontier import attempts, keys
from frontier.client import Frontier
from frontier.driver import Driver, absent
from frontier.model import CrawlRequest, FrontierBusy, FrontierError
from frontier.nodes import CONNECTIONS, SHARED_SECONDS
from frontier.url import parse, partition
from frontier.windows import UNSURE, SharedClock, TurnedAway
from tests.cluster import NODE_TIMEOUT_MS, Cluster, Server, caught_up, cluster, wait_until

JOB = "j"
PARTITIONS = 16


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, to do harm to."""
    with cluster(tmp_path / "cluster") as running:
        yield running


@pytest.fixture
async def crawl(nodes: Cluster) -> AsyncIterator[Frontier]:
    opened = await Frontier.open(nodes.url, partitions=PARTITIONS)
    yield opened
    await opened.close()


async def add(frontier: Frontier, *urls: str) -> tuple[int, int]:
    offers = [(parse(u), CrawlRequest(parse(u).url)) for u in urls]
    added = await frontier.add(JOB, offers)
    return added.accepted, added.known


def urls(count: int) -> list[str]:
    """One URL each of many hosts, so that all partitions have some."""
    return [f"http://h{n}.test/" for n in range(count)]


def busiest(nodes: Cluster) -> tuple[Server, list[int]]:
    """The master that has most partitions, and which."""
    by_master: dict[int, list[int]] = {}
    for p in range(PARTITIONS):
        by_master.setdefault(nodes.master_of(keys.tag(p)).port, []).append(p)
    port = max(by_master, key=lambda each: len(by_master[each]))
    return next(s for s in nodes.servers if s.port == port), by_master[port]


# -- one for all tests


async def test_any_node_leads_to_the_cluster(shared_cluster: Cluster) -> None:
    for server in shared_cluster.servers:  # replicas too
        driver = await Driver.connect(server.url)
        assert driver.cluster
        assert len(await driver.nodes()) == 3
        await driver.close()
    [dead, *_] = sorted(s.port for s in shared_cluster.servers)
    driver = await Driver.connect(f"redis://127.0.0.1:1,127.0.0.1:{dead}/0")
    assert driver.cluster
    await driver.close()


async def test_a_cluster_has_one_database(shared_cluster: Cluster) -> None:
    with pytest.raises(FrontierError, match=r"out of range|not allowed in cluster mode"):
        await Frontier.open(shared_cluster.url.replace("/0", "/3"))


async def test_the_partitions_are_on_several_nodes(shared_cluster: Cluster) -> None:
    assert len({shared_cluster.master_of(keys.tag(p)).port for p in range(4)}) > 1
    assert key_slot(absent("{f7}:m").encode()) == key_slot(b"{f7}")


async def test_hundreds_of_callers_share_few_connections(shared_cluster: Cluster) -> None:
    driver = await Driver.connect(shared_cluster.url + "?client_name=crowd")
    calls = (driver.script("lock", f"{{g}}:lock:{n % 7}", ["me", 60_000]) for n in range(500))
    assert await asyncio.gather(*calls) == [1] * 500
    server = shared_cluster.master_of("{g}")
    assert 1 < server.command("CLIENT", "LIST").count(b" name=crowd ") <= CONNECTIONS
    await driver.command("FLUSHALL")
    await driver.close()


async def test_memory_is_told_per_node(shared_cluster: Cluster) -> None:
    driver = await Driver.connect(shared_cluster.url)
    server = shared_cluster.master_of(keys.tag(1))
    server.command("CONFIG", "SET", "maxmemory", "77mb")
    try:
        assert driver.memory(keys.tag(1)).limit in (0, 77 << 20)  # as of a second ago
        fresh = await Driver.connect(shared_cluster.url)
        assert fresh.memory(keys.tag(1)).limit == 77 << 20
        limits = {name: info.limit for name, info in (await fresh.nodes()).items()}
        assert sorted(limits.values()) == [0, 0, 77 << 20]
        assert limits[f"127.0.0.1:{server.port}"] == 77 << 20
        await fresh.close()
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")
    await driver.close()


# -- slots on their way


async def test_slots_that_have_moved_are_found(nodes: Cluster, crawl: Frontier) -> None:
    assert await add(crawl, *urls(64)) == (64, 0)
    source, mine = busiest(nodes)
    target = next(s for s in nodes.masters() if s is not source)
    slots = [key_slot(keys.tag(p).encode()) for p in mine]
    assert await asyncio.to_thread(nodes.migrate, source, target, slots) > 0
    assert {nodes.master_of(keys.tag(p)).port for p in mine} == {target.port}
    assert await add(crawl, *urls(70)) == (6, 64)
    stats = await crawl.stats(JOB)
    assert (stats.accepted, stats.queued) == (70, 70)


async def test_a_partition_on_its_way_is_left_alone(
    nodes: Cluster, crawl: Frontier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No script runs on a part of a partition, on neither node; the others go on meanwhile."""
    assert await add(crawl, *urls(64)) == (64, 0)
    source, mine = busiest(nodes)
    target = next(s for s in nodes.masters() if s is not source)
    slot = key_slot(keys.tag(mine[0]).encode())
    robots = parse(next(u for u in urls(64) if crawl.place(parse(u))[0] == mine[0]))
    await crawl.put_robots(robots, b"copy", 600)
    nodes.begin_migration(source, target, [slot])
    monkeypatch.setattr(attempts, "PATIENCE", 0.3)
    args = ["", JOB]
    total = source.command("CLUSTER", "COUNTKEYSINSLOT", slot)
    for _ in range(total + 1):  # none moved yet, then one more each time
        here = source.command("CLUSTER", "COUNTKEYSINSLOT", slot)
        with pytest.raises(FrontierBusy, match="is moving a part of its keys") as caught:
            await crawl.driver.script("status", keys.home(mine[0]), args)
        assert caught.value.retry_after > 0
        assert await crawl.robots(robots) == b"copy"  # one key alone is at one node or the other
        assert source.command("CLUSTER", "COUNTKEYSINSLOT", slot) == here
        assert target.command("CLUSTER", "COUNTKEYSINSLOT", slot) == total - here
        nodes.migrate_keys(source, target, slot, 1)
    calls = [("status", keys.home(p), args) for p in range(PARTITIONS)]
    replies = await crawl.driver.each(calls)
    assert [p for p, reply in enumerate(replies) if reply.error] == [mine[0]]
    nodes.end_migration(source, target, [slot])
    assert await add(crawl, *urls(70)) == (6, 64)


async def test_callers_wait_for_a_partition_on_its_way(nodes: Cluster, crawl: Frontier) -> None:
    assert await add(crawl, *urls(64)) == (64, 0)
    source, mine = busiest(nodes)
    target = next(s for s in nodes.masters() if s is not source)
    slots = [key_slot(keys.tag(p).encode()) for p in mine]
    nodes.begin_migration(source, target, slots)
    adding = asyncio.create_task(add(crawl, *urls(70)))
    for slot in slots:
        await asyncio.to_thread(nodes.migrate_keys, source, target, slot)
    assert not adding.done()
    await asyncio.to_thread(nodes.end_migration, source, target, slots)
    assert await adding == (6, 64)


# -- failover


async def test_a_master_that_dies_is_replaced(nodes: Cluster, crawl: Frontier) -> None:
    assert await add(crawl, *urls(64)) == (64, 0)
    master, _ = busiest(nodes)
    replica = nodes.replica_of(master)
    await asyncio.to_thread(wait_until, "the replica", lambda: caught_up(master, replica))
    master.kill()
    nodes.lost.append(master)
    assert await add(crawl, *urls(70)) == (6, 64)
    assert replica in nodes.masters()


async def test_a_frozen_master_holds_nobody_for_long(nodes: Cluster, crawl: Frontier) -> None:
    assert await add(crawl, *urls(64)) == (64, 0)
    master, _ = busiest(nodes)
    replica = nodes.replica_of(master)
    await asyncio.to_thread(wait_until, "the replica", lambda: caught_up(master, replica))
    master.freeze()
    nodes.lost.append(master)
    since = time.monotonic()
    calls = (crawl.stats(JOB) for _ in range(100))
    assert {stats.accepted for stats in await asyncio.gather(*calls)} == {64}
    assert time.monotonic() - since < 2 * SHARED_SECONDS + NODE_TIMEOUT_MS / 1000 + 5
    assert replica in nodes.masters()
    master.thaw()
    nodes.lost.remove(master)
    assert await add(crawl, *urls(70)) == (6, 64)
    await asyncio.to_thread(
        wait_until, "the old master to follow", lambda: master.command("ROLE")[0] == b"slave"
    )


async def test_writes_of_a_master_that_was_cut_off_are_not_safe(
    nodes: Cluster, crawl: Frontier
) -> None:
    master, mine = busiest(nodes)
    call = ("claim", keys.home(mine[0]), ["", "w", 60_000, JOB, "a.test"])
    assert (await crawl.driver.each([call], replicated=True, wait=30))[0].safe
    replica = nodes.cut(master)
    again = ("claim", keys.home(mine[0]), ["", "w", 60_000, JOB, "b.test"])
    [reply] = await crawl.driver.each([again], replicated=True, wait=0.2)
    assert (bool(reply.value[0]), reply.safe) == (True, False)
    await asyncio.to_thread(nodes.lose, master, replica)
    found = await crawl.driver.command("ZRANGE", f"{keys.tag(mine[0])}:l", 0, -1)
    assert found == [b"a.test"]  # b.test's lease is gone, as had been said
    [reply] = await crawl.driver.each([again], replicated=True)
    assert reply.safe  # the new master has no replica


async def test_windows_that_a_failover_forgets_are_kept_to(nodes: Cluster, crawl: Frontier) -> None:
    master, mine = busiest(nodes)
    names = (f"192.0.2.{n}" for n in range(256))
    clock = SharedClock(next(n for n in names if partition(n, PARTITIONS) in mine), 0.5)
    async with asyncio.timeout(60):
        while isinstance(await crawl.windows.reserve(clock, "a", ttl=60), TurnedAway):
            pass  # the replica was slow
    replica = nodes.cut(master)
    unsure = await crawl.windows.reserve(clock, "a", ttl=60)
    assert isinstance(unsure, TurnedAway)
    assert unsure.wait == UNSURE
    await asyncio.to_thread(nodes.lose, master, replica)
    later = await crawl.windows.reserve(clock, "b", ttl=60)
    assert isinstance(later, TurnedAway)
    assert later.wait > 60 + clock.delay


async def test_what_no_replica_has_is_handed_back_unharmed(nodes: Cluster, crawl: Frontier) -> None:
    """A slow replica costs time, never a URL: a grant that was not used is no loss of its URLs."""
    master, mine = busiest(nodes)
    await add(crawl, *urls(64))
    replica = nodes.replica_of(master)
    replica.freeze()
    grant = await crawl.lease("w", [JOB], mine, hosts=1, urls=8, ttl=60)
    assert grant.leases == ()
    replica.thaw()
    async with asyncio.timeout(60):
        while not (grant := await crawl.lease("w", [JOB], mine, hosts=1, urls=8, ttl=60)).leases:
            await asyncio.sleep(0.1)
    assert {u.request.losses for held in grant.leases for u in held.urls} == {0}


async def test_a_cluster_that_is_down_says_so(
    nodes: Cluster, crawl: Frontier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "PATIENCE", 1.0)
    master, mine = busiest(nodes)
    nodes.replica_of(master).kill()
    master.kill()
    other = next(p for p in range(PARTITIONS) if p not in mine)

    async def failure() -> str:
        try:
            await crawl.driver.script("status", keys.home(other), ["", JOB])
        except FrontierError as error:
            return str(error)
        return ""

    async with asyncio.timeout(60):
        while "is a cluster that is down" not in (said := await failure()):
            pass
    assert "\n" not in said
