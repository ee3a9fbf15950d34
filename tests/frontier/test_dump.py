"""A frontier written to a file and read back is the same; a bad file is refused with one line."""

from __future__ import annotations

import asyncio
import io
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontier import dump, inspect, keys
from frontier.client import Frontier
from frontier.driver import Driver
from frontier.embedded import EmbeddedServer
from frontier.model import CrawlRequest, FrontierError, HostState, Limits, UrlResult
from frontier.url import parse

from .conftest import Served

JOB = "w/j"


async def contents(driver: Driver) -> dict[bytes, tuple[str, int, Any]]:
    """Every key: type, expiry, value."""
    out = {}
    async for name in driver.scan("*"):
        kind = (await driver.command("TYPE", name)).decode()
        value: Any = {
            "string": lambda n=name: driver.command("GET", n),
            "list": lambda n=name: driver.command("LRANGE", n, 0, -1),
            "set": lambda n=name: driver.command("SMEMBERS", n),
            "hash": lambda n=name: driver.command("HGETALL", n),
            "zset": lambda n=name: driver.command("ZRANGE", n, 0, -1, "WITHSCORES"),
        }[kind]
        ends = await driver.command("PEXPIRETIME", name)
        found = await value()
        out[name] = (kind, ends, set(found) if kind == "set" else found)
    return out


async def empty(driver: Driver) -> None:
    await driver.command("FLUSHALL")


async def fill(frontier: Frontier) -> None:
    """Some of everything, nothing leased."""
    await frontier.registry.create_job(JOB, b'{"a": 1}', b"[]", credit=7)
    for n in range(30):
        urls = [parse(f"http://h{n}.test/{i}") for i in range(60)]
        offers = [(u, CrawlRequest(u.url, priority=i % 4)) for i, u in enumerate(urls)]
        await frontier.add(JOB, offers, limits=Limits(host_cap=40))
    grant = await frontier.lease("w", [JOB], range(4), hosts=4, urls=3, ttl=60)
    for held in grant.leases:
        fps = [u.fp for u in held.urls]
        results = [UrlResult(fps[0], "pending", "s1"), UrlResult(fps[1], "retry", "", "reset", 60)]
        await frontier.report(held, results, state=HostState(delay=1.5), wait=9, free=True)
    await frontier.put_robots(parse("http://h1.test/"), b"\0\xffcopy", 3600)


@pytest.fixture
async def used(frontier: Frontier) -> Frontier:
    await fill(frontier)
    return frontier


async def loaded(driver: Driver, data: bytes) -> str:
    """Import; what was said against it."""
    try:
        await dump.load(driver, io.BytesIO(data))
    except FrontierError as error:
        return str(error)
    return ""


async def exported(frontier: Frontier) -> bytes:
    sink = io.BytesIO()
    await dump.export(frontier, sink)
    return sink.getvalue()


async def test_what_is_imported_is_what_was_exported(used: Frontier, server: Served) -> None:
    stats = await used.stats(JOB)
    before = await contents(used.driver)
    sink = io.BytesIO()
    moved = await dump.export(used, sink)
    assert moved.keys == len(before) - 1  # {g}:meta is in the head
    await empty(used.driver)
    told = await dump.load(used.driver, io.BytesIO(sink.getvalue()))
    assert (told.keys, told.items, told.partitions) == (moved.keys, moved.items, 4)
    after = await contents(used.driver)
    for p in range(4):  # the server of its leases is of no matter any more
        before[keys.home(p).encode()][2].pop(b"run", None)
    assert after == before
    again = await Frontier.open(server.url, partitions=4)
    assert await inspect.check(again, [JOB], repair=False) == []
    assert (await again.stats(JOB)).queued == stats.queued
    grant = await again.lease("w2", [JOB], range(4), hosts=4, urls=3, ttl=60)
    assert grant.leases  # at once: nothing was leased when it moved
    await again.close()


async def test_it_moves_from_one_kind_of_server_to_the_other(
    embedded: EmbeddedServer, shared_cluster: Served
) -> None:
    for source, target in ((embedded, shared_cluster), (shared_cluster, embedded)):
        for each in (source, target):
            driver = await Driver.connect(each.url)
            await empty(driver)
            await driver.close()
        frontier = await Frontier.open(source.url, partitions=4)
        await fill(frontier)
        data, stats = await exported(frontier), await frontier.stats(JOB)
        await frontier.close()
        driver = await Driver.connect(target.url)
        await dump.load(driver, io.BytesIO(data))
        await driver.close()
        there = await Frontier.open(target.url, partitions=4)
        assert await inspect.check(there, [JOB], repair=False) == []
        assert (await there.stats(JOB)).accepted == stats.accepted
        await there.close()


TEXT = st.binary(max_size=40)
VALUES = st.one_of(
    st.tuples(st.just("SET"), TEXT),
    st.tuples(st.just("RPUSH"), st.lists(TEXT, min_size=1, max_size=30)),
    st.tuples(st.just("SADD"), st.sets(TEXT, min_size=1, max_size=30)),
    st.tuples(st.just("HSET"), st.dictionaries(TEXT, TEXT, min_size=1, max_size=30)),
    st.tuples(
        st.just("ZADD"),
        st.dictionaries(TEXT, st.floats(allow_nan=False), min_size=1, max_size=30),
    ),
)


def written(name: str, command: str, value: Any, times: int) -> tuple[Any, ...]:
    """A command that makes a key; ``times`` makes large ones of some."""
    if command == "SET":
        return (command, name, value * times)
    if command in ("RPUSH", "SADD"):
        return (command, name, *(x + str(i).encode() for i in range(times) for x in value))
    flat = [(k + str(i).encode(), v) for i in range(times) for k, v in value.items()]
    pairs = flat if command == "HSET" else [(repr(v), k) for k, v in flat]
    return (command, name, *(x for pair in pairs for x in pair))


@settings(max_examples=25, deadline=None)
@given(
    made=st.lists(st.tuples(VALUES, st.sampled_from([1, 1, 90]), st.booleans()), max_size=12),
)
def test_any_contents_come_back(embedded: EmbeddedServer, made: list[Any]) -> None:
    async def run() -> None:
        driver = await Driver.connect(embedded.url)
        await empty(driver)
        await driver.close()
        frontier = await Frontier.open(embedded.url, partitions=2)
        driver = frontier.driver
        for n, ((command, value), times, passing) in enumerate(made):
            name = f"{{f{n % 2}}}:x{n}"
            await driver.command(*written(name, command, value, times))
            if passing:
                await driver.command("PEXPIRE", name, 3_600_000 + n)
        before = await contents(driver)
        data = await exported(frontier)
        await empty(driver)
        await dump.load(driver, io.BytesIO(data))
        assert await contents(driver) == before
        await frontier.close()

    asyncio.run(run())


# -- refused


async def test_a_frontier_in_use_is_not_exported(used: Frontier) -> None:
    await used.registry.beat("w7", 60)
    with pytest.raises(FrontierError, match="1 workers live"):
        await exported(used)
    await used.registry.leave("w7")
    await used.registry.lock(f"parent:{JOB}", "me", 60)
    with pytest.raises(FrontierError, match="a crawl of job w/j is running"):
        await exported(used)
    await used.registry.lock(f"parent:{JOB}", "me", 0)
    grant = await used.lease("w", [JOB], range(4), hosts=1, urls=1, ttl=60)
    with pytest.raises(FrontierError, match=f"has {len(grant.leases)} hosts leased"):
        await exported(used)


class Meddler(io.BytesIO):
    """A file during whose writing somebody else does something."""

    def __init__(self, deed: Any) -> None:
        super().__init__()
        self.deed = deed

    def write(self, data: Any) -> int:
        if self.deed is not None and len(data) > 100:
            self.deed, deed = None, self.deed
            deed()
        return super().write(data)


async def test_a_change_meanwhile_spoils_an_export(used: Frontier, server: Served) -> None:
    async def add() -> None:
        other = await Frontier.open(server.url, partitions=4)
        url = parse("http://late.test/")
        await other.add(JOB, [(url, CrawlRequest(url.url))])
        await other.close()

    def deed() -> None:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: asyncio.run(add())).result()

    # Incompressible, so that the file is written to before its end.
    noise = random.Random(4).randbytes(2_000_000)
    await used.driver.command("SET", "{f0}:b:http://noise.test", noise)
    sink = Meddler(deed)
    with pytest.raises(FrontierError, match="was used while it was exported"):
        await dump.export(used, sink)
    assert sink.deed is None
    await empty(used.driver)
    with pytest.raises(FrontierError, match="the export is damaged"):
        await dump.load(used.driver, io.BytesIO(sink.getvalue()))


async def test_only_an_empty_database_is_filled(used: Frontier) -> None:
    data, before = await exported(used), await contents(used.driver)
    with pytest.raises(FrontierError, match="is not empty"):
        await dump.load(used.driver, io.BytesIO(data))
    assert await contents(used.driver) == before


async def test_damaged_files_are_refused_and_leave_nothing_usable(
    used: Frontier, server: Served
) -> None:
    data = await exported(used)
    rng = random.Random(7)
    bad = [data[: rng.randrange(5, len(data))] for _ in range(8)]
    for _ in range(12):
        at = rng.randrange(5, len(data))
        bad.append(data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :])
    whole = await contents(used.driver)
    for p in range(4):
        whole[keys.home(p).encode()][2].pop(b"run", None)
    for each in bad:
        await empty(used.driver)
        refused = await loaded(used.driver, each)
        if not refused:  # a bit that says nothing, as that of the frame's own size
            assert await contents(used.driver) == whole
            continue
        assert "the export is damaged" in refused
        assert "\n" not in refused
        if await used.driver.command("DBSIZE"):
            with pytest.raises(FrontierError, match="an interrupted import left"):
                await Frontier.open(server.url, partitions=4)


async def test_other_files_and_versions_are_told_apart(
    used: Frontier, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = await exported(used)
    with monkeypatch.context() as patched:
        patched.setattr(keys, "SCHEMA", "1")
        await used.driver.command("HSET", keys.META, "schema", "1")
        older = await exported(used)
    await empty(used.driver)
    cases = {
        b"": "not an export of a frontier",
        b"{}\n": "not an export of a frontier",
        data[:4] + b"\2" + data[5:]: "has version 2; this program reads 1",
        older: "of a frontier of schema 1, not",
    }
    for each, message in cases.items():
        with pytest.raises(FrontierError, match=message):
            await dump.load(used.driver, io.BytesIO(each))
        assert not await used.driver.command("DBSIZE")
