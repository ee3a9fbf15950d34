"""URLs and servers of every kind, what they refuse, and what is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from frontier import attempts, nodes
from frontier.client import Frontier
from frontier.driver import Driver, redact
from frontier.model import CrawlRequest, FrontierBusy, FrontierError
from frontier.nodes import parse
from frontier.url import parse as parse_url
from tests.cluster import Server, Watched, caught_up, running, standalone, wait_until, watched
from tests.crawler.fetch.test_tls import Authority

JOB = "j"


async def add(frontier: Frontier, *urls: str) -> tuple[int, int]:
    offers = [(parse_url(u), CrawlRequest(parse_url(u).url)) for u in urls]
    added = await frontier.add(JOB, offers)
    return added.accepted, added.known


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Server]:
    """A server of its own for the test, which keeps an append-only file."""
    server = standalone(tmp_path / "alone", appendonly="yes", appendfsync="always")
    with running([server]):
        yield server


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as made:
        yield made


# -- URLs


def test_addresses_of_a_cluster() -> None:
    target = parse("rediss://me:p%40ss@a:7001,b,[::1]:7003/0?ssl_ca_certs=/ca.pem")
    assert target.hosts == (("a", 7001), ("b", 6379), ("::1", 7003))
    assert target.options["username"] == "me"
    assert target.options["password"] == "p@ss"
    assert target.options["ssl_ca_certs"] == "/ca.pem"
    assert not target.service


def test_addresses_of_sentinels() -> None:
    url = "rediss+sentinel://me:pw@a,b:26380/crawl/3?sentinel_password=s&ssl_ca_certs=/ca.pem"
    target = parse(url)
    assert target.hosts == (("a", 26379), ("b", 26380))
    assert (target.service, target.options["db"], target.options["password"]) == ("crawl", 3, "pw")
    assert target.sentinel["password"] == "s"
    assert target.sentinel["ssl_ca_certs"] == "/ca.pem"
    assert "username" not in target.sentinel
    assert "sentinel_password" not in target.options


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://a,,b", "empty"),
        ("redis+sentinel://a:1", "service"),
        ("redis://a:port", "Port could not be cast"),
        ("redis://127.0.0.1:1?socket_timeout=soon", "socket_timeout"),
        ("redis://127.0.0.1:1?colour=red", "colour"),
        ("redis://", "empty"),
        ("redis://a/crawl", "number"),
        ("a:6379", "write redis://"),
        ("memcached://a", "schemes"),
    ],
)
async def test_what_is_no_redis_url(url: str, why: str) -> None:
    with pytest.raises(FrontierError, match=rf"^not a Redis URL: .*{why}"):
        await Driver.connect(url)


def test_no_password_is_shown() -> None:
    url = "redis+sentinel://me:one@a,b/crawl?sentinel_password=two&password=three"
    shown = redact(url)
    assert not any(secret in shown for secret in ("one", "two", "three"))
    assert "a,b/crawl" in shown


# -- servers that are refused


async def test_a_replica_is_refused(pair: Watched) -> None:
    with pytest.raises(FrontierError, match=r"is a replica.*URL of its master"):
        await Frontier.open(pair.replica.url)


async def test_a_server_that_evicts_is_refused(alone: Server) -> None:
    alone.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    await (await Frontier.open(alone.url)).close()  # without a limit it never does
    alone.command("CONFIG", "SET", "maxmemory", "100mb")
    with pytest.raises(FrontierError, match=r"set its maxmemory-policy to noeviction"):
        await Frontier.open(alone.url)


async def test_several_addresses_that_are_no_cluster(alone: Server) -> None:
    url = f"redis://127.0.0.1:1,127.0.0.1:{alone.port}"
    with pytest.raises(FrontierError, match="no node of a cluster"):
        await Frontier.open(url)


async def test_an_unknown_service(pair: Watched) -> None:
    with pytest.raises(
        FrontierError, match="no Sentinel that answers knows a master named 'other'"
    ):
        await Frontier.open(pair.url.replace("/crawl", "/other"))


# -- servers in trouble


async def test_a_full_memory_is_no_loss(alone: Server) -> None:
    opened = await Frontier.open(alone.url, partitions=4)
    assert await add(opened, "http://a.test/1") == (1, 0)
    alone.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(FrontierBusy, match="out of memory") as caught:
        await add(opened, "http://a.test/2")
    assert caught.value.retry_after > 0
    grant = await opened.lease("w", [JOB], range(4), hosts=1, urls=1, ttl=60)
    assert len(grant.leases) == 1  # or memory could never fall
    alone.command("CONFIG", "SET", "maxmemory", "0")
    assert await add(opened, "http://a.test/2") == (1, 0)
    await opened.close()


async def test_memory_is_told(alone: Server) -> None:
    alone.command("CONFIG", "SET", "maxmemory", "64mb")
    driver = await Driver.connect(alone.url)
    memory = driver.memory("{f1}")
    assert memory.limit == 64 << 20
    assert 0 < memory.used < memory.limit
    assert [info.limit for info in (await driver.nodes()).values()] == [64 << 20]
    await driver.close()


async def test_scripts_survive_a_restart(alone: Server) -> None:
    opened = await Frontier.open(alone.url, partitions=4)
    assert await add(opened, "http://a.test/1", "http://b.test/1") == (2, 0)
    alone.kill()
    alone.start()
    await asyncio.to_thread(wait_until, "the server", alone.answers)
    assert await add(opened, "http://a.test/1", "http://b.test/1", "http://c.test/1") == (1, 2)
    await opened.close()


@contextlib.contextmanager
def slow_loader(directory: Path, seconds_per_key: float) -> Iterator[Server]:
    """A server that, started again, answers while it loads its hundred keys."""
    server = standalone(directory)
    with running([server]):
        for n in range(100):
            server.command("SET", f"{{f0}}:{n}", os.urandom(2_000))
        server.command("SAVE")
        server.options |= {
            "key-load-delay": str(int(seconds_per_key * 1_000_000)),
            "loading-process-events-interval-bytes": "1024",
        }
        yield server


def is_loading(server: Server) -> bool:
    return bool(server.info()["loading"])


async def test_a_server_that_loads_its_data_is_waited_for(tmp_path: Path) -> None:
    with slow_loader(tmp_path / "slow", 0.02) as server:
        driver = await Driver.connect(server.url)
        server.kill()
        server.start()
        await asyncio.to_thread(wait_until, "loading", lambda: is_loading(server))
        assert len(await driver.command("GET", "{f0}:99")) == 2_000
        await driver.close()


async def test_patience_with_a_loading_server_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "PATIENCE", 0.5)
    with slow_loader(tmp_path / "slow", 0.3) as server:
        driver = await Driver.connect(server.url)
        server.kill()
        server.start()
        await asyncio.to_thread(wait_until, "loading", lambda: is_loading(server))
        with pytest.raises(FrontierError, match="is still loading its data"):
            await driver.command("GET", "{f0}:99")
        await driver.close()


async def test_a_master_that_became_a_replica(pair: Watched) -> None:
    """The plain URL of a server that lost its role: a clear error, and no loss."""
    pair.sentinel.kill()
    opened = await Frontier.open(pair.master.url, partitions=4)
    assert await add(opened, "http://a.test/1") == (1, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempts, "PATIENCE", 0.5)
        pair.master.command("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(FrontierError, match="is a replica, which takes no writes"):
            await add(opened, "http://a.test/2")
    pair.master.command("REPLICAOF", "NO", "ONE")
    assert await add(opened, "http://a.test/1", "http://a.test/2") == (1, 1)
    await opened.close()


# -- Sentinel


async def test_a_master_behind_sentinels_that_dies(pair: Watched) -> None:
    opened = await Frontier.open(pair.url, partitions=4)
    assert await add(opened, "http://a.test/1") == (1, 0)
    await asyncio.to_thread(wait_until, "the replica", lambda: caught_up(pair.master, pair.replica))
    pair.master.kill()
    assert await add(opened, "http://a.test/1", "http://b.test/1") == (1, 1)
    assert pair.replica.command("ROLE")[0] == b"master"
    await opened.close()


async def test_a_master_behind_sentinels_that_freezes(pair: Watched) -> None:
    """Whoever waits for it is cut loose when another has taken over; so are those behind them."""
    opened = await Frontier.open(pair.url, partitions=4)
    assert await add(opened, "http://a.test/1") == (1, 0)
    await asyncio.to_thread(wait_until, "the replica", lambda: caught_up(pair.master, pair.replica))
    pair.master.freeze()
    await asyncio.to_thread(pair.wait_promoted)
    since = time.monotonic()
    many = (add(opened, f"http://a{n}.test/") for n in range(200))
    assert await asyncio.gather(*many) == [(1, 0)] * 200
    assert time.monotonic() - since < 3 * nodes.SHARED_SECONDS
    pair.master.thaw()
    assert await add(opened, "http://a.test/1", "http://a0.test/") == (0, 2)
    await opened.close()


# -- acknowledged by a replica


async def test_calls_are_safe_when_a_replica_has_them(pair: Watched) -> None:
    driver = await Driver.connect(pair.url)
    call = ("lock", "{g}:lock:x", ["me", 60_000])
    replies = await driver.each([call, call], replicated=True, wait=30)
    assert [(r.value, r.error, r.safe) for r in replies] == [(1, None, True)] * 2
    assert pair.replica.command("GET", "{g}:lock:x") == b"me"
    await driver.close()


async def test_calls_are_not_safe_while_the_replica_is_frozen(pair: Watched) -> None:
    driver = await Driver.connect(pair.master.url)
    pair.replica.freeze()
    since = time.monotonic()
    [reply] = await driver.each([("lock", "{g}:lock:x", ["me", 60_000])], replicated=True, wait=0.2)
    assert (reply.value, reply.safe) == (1, False)
    assert 0.2 <= time.monotonic() - since < 3
    pair.replica.thaw()
    [reply] = await driver.each([("lock", "{g}:lock:x", ["me", 60_000])], replicated=True, wait=30)
    assert reply.safe
    await driver.close()


async def test_a_master_that_lost_its_replica_is_not_trusted_for_a_while(
    pair: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A master that comes back after its replica was promoted sees the same."""
    driver = await Driver.connect(pair.master.url)
    call = ("lock", "{g}:lock:x", ["me", 60_000])
    assert (await driver.each([call], replicated=True, wait=30))[0].safe
    pair.replica.kill()
    await asyncio.to_thread(
        wait_until, "its end", lambda: not pair.master.info()["connected_slaves"]
    )
    assert not (await driver.each([call], replicated=True, wait=0.05))[0].safe
    monkeypatch.setattr(nodes, "HOLD_SECONDS", 1.0)
    monkeypatch.setattr(nodes, "FRESH_SECONDS", 0.2)
    async with asyncio.timeout(30):
        while not (await driver.each([call], replicated=True, wait=0.05))[0].safe:
            pass
    await driver.close()


async def test_without_replicas_nothing_is_waited_for(alone: Server) -> None:
    driver = await Driver.connect(alone.url)
    [reply] = await driver.each([("lock", "{g}:lock:x", ["me", 60_000])], replicated=True, wait=9)
    assert (reply.value, reply.safe) == (1, True)
    assert "wait" not in str(alone.command("INFO", "commandstats"))
    await driver.close()


async def test_an_error_of_one_call_leaves_the_others(alone: Server) -> None:
    driver = await Driver.connect(alone.url)
    await driver.command("RPUSH", "{g}:lock:list", "no string")
    calls = [("lock", f"{{g}}:lock:{name}", ["me", 60_000]) for name in ("a", "list", "b")]
    found = await driver.each(calls, replicated=True)
    assert [(reply.value, reply.error is None) for reply in found] == [
        (1, True),
        (None, False),
        (1, True),
    ]
    assert "WRONGTYPE" in str(found[1].error)
    assert not found[1].safe
    with pytest.raises(FrontierError, match="WRONGTYPE"):
        await driver.scripts(calls)
    await driver.close()


# -- TLS and users


@contextlib.asynccontextmanager
async def tls_front(authority: Authority, server: Server) -> AsyncIterator[int]:
    """TLS on a port in front of a server, whose build may know none; the port."""

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    context = authority.context("127.0.0.1")
    listening = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


async def test_tls_and_a_user_with_a_password(alone: Server, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    alone.command("ACL", "SETUSER", "crawler", "on", ">p@ss", "~{*", "+@all", "-@admin")
    async with tls_front(authority, alone) as port:
        at, query = f"127.0.0.1:{port}/0", f"?ssl_ca_certs={authority.file}"
        opened = await Frontier.open(f"rediss://crawler:p%40ss@{at}{query}", partitions=4)
        assert await add(opened, "http://a.test/1") == (1, 0)
        assert b"user=crawler" in alone.command("CLIENT", "LIST")
        await opened.close()
        with pytest.raises(FrontierError, match=r"refused the credentials") as caught:
            await Frontier.open(f"rediss://crawler:wrong@{at}{query}")
        assert "wrong" not in str(caught.value)
        with pytest.raises(FrontierError, match="certificate verify failed"):
            await Frontier.open(f"rediss://crawler:p%40ss@{at}")


async def test_a_user_who_may_not_write_there(alone: Server) -> None:
    alone.command("ACL", "SETUSER", "guest", "on", ">pw", "~other:*", "+@all")
    with pytest.raises(FrontierError, match=r"[Nn]o permissions"):
        await Frontier.open(f"redis://guest:pw@127.0.0.1:{alone.port}/0")
