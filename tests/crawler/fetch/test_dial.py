"""Clocks that hosts share, as the fetcher waits for them: in time, and for the right address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from crawler.fetch.client import Client
from crawler.fetch.dns import Resolver
from crawler.fetch.exchange import FetchError, LeaseError
from crawler.fetch.wire import Limits

from .conftest import MakeClient
from .servers import DnsServer, Server, answer

Step = Callable[[str], Awaitable[None]]


async def _nothing(address: str) -> None:
    pass


@dataclass
class Log:
    """Clocks that let everybody pass, and note when they were asked."""

    events: list[str] = field(default_factory=list)
    step: Step = _nothing  # what a reservation waits for

    async def admit(self, seconds: float) -> None:
        self.events.append("admit")

    async def reserve(self, address: str, seconds: float) -> None:
        self.events.append(address)
        await self.step(address)


def turned_away(*addresses: str) -> Step:
    async def step(address: str) -> None:
        if address in addresses:
            raise LeaseError("in line")

    return step


async def fetch(client: Client, url: str, log: Log, gates: bool = True) -> str:
    def gate() -> bool:
        log.events.append("gate")
        return gates

    return (await client.fetch(url, gate=gate, clocks=log)).ip


async def test_the_domain_is_asked_before_the_name_server_and_the_address_before_contact(
    make_client: MakeClient,
) -> None:
    log = Log()
    async with (
        DnsServer({"a.test": [["127.0.0.2"]]}, ttl=60) as dns,
        Server(answer(), host="127.0.0.2") as server,
    ):

        async def step(address: str) -> None:
            log.events.append(f"{dns.count('a.test')} queries, {server.connections} connections")

        log.step = step
        client = make_client(dns_server=dns.address)
        assert await fetch(client, server.url(host="a.test"), log) == "127.0.0.2"
    assert log.events == [
        "admit",
        *("127.0.0.2", "1 queries, 0 connections"),
        *("127.0.0.2", "1 queries, 1 connections"),
        "gate",
    ]


async def test_a_known_name_needs_no_leave(make_client: MakeClient) -> None:
    async with (
        DnsServer({"a.test": [["127.0.0.2"]]}, ttl=60) as dns,
        Server(answer(b"ok", "Connection: close"), host="127.0.0.2") as server,
    ):
        client = make_client(dns_server=dns.address)
        for asked in (1, 0):
            log = Log()
            await fetch(client, server.url(host="a.test"), log)
            assert log.events.count("admit") == asked


async def test_a_kept_connection_is_reserved_for_by_its_own_address(
    make_client: MakeClient,
) -> None:
    zone: dict[str, list[list[str] | str]] = {"a.test": [["127.0.0.2"], ["127.0.0.3"]]}
    async with DnsServer(zone) as dns, Server(answer(), host="127.0.0.2") as server:
        client = make_client(dns_server=dns.address)
        await fetch(client, server.url(host="a.test"), Log())
        log = Log()
        await fetch(client, server.url(host="a.test"), log)
    assert log.events == ["127.0.0.2", "gate"]


async def test_who_is_turned_away_contacts_nobody(make_client: MakeClient) -> None:
    async with (
        DnsServer({"a.test": [["127.0.0.2"]]}) as dns,
        Server(answer(), host="127.0.0.2") as server,
    ):
        client = make_client(dns_server=dns.address)
        log = Log(step=turned_away("127.0.0.2"))
        with pytest.raises(LeaseError, match="in line"):
            await fetch(client, server.url(host="a.test"), log)
        assert server.connections == 0
        log.step = _nothing
        await fetch(client, server.url(host="a.test"), log)
        log.step = turned_away("127.0.0.2")
        with pytest.raises(LeaseError, match="in line"):
            await fetch(client, server.url(host="a.test"), log)
        log.step = _nothing
        await fetch(client, server.url(host="a.test"), log)
        assert (len(server.visits), server.connections) == (2, 1)  # it was kept meanwhile


async def test_a_refusal_at_the_domain_comes_before_the_name_server(
    make_client: MakeClient,
) -> None:
    class Crowded(Log):
        async def admit(self, seconds: float) -> None:
            raise LeaseError("in line")

    async with DnsServer({}) as dns:
        with pytest.raises(LeaseError, match="in line"):
            await fetch(make_client(dns_server=dns.address), "http://a.test/", Crowded())
        assert dns.queries == []


@contextlib.asynccontextmanager
async def two_addresses() -> AsyncIterator[Client]:
    """A client that will try 127.0.0.2 first for a.test, then 127.0.0.3."""
    zone: dict[str, list[list[str] | str]] = {"a.test": [["127.0.0.2", "127.0.0.3"]]}
    async with DnsServer(zone, ttl=60) as dns:
        resolver = Resolver(dns.address)
        client = Client(Limits(), resolver, allow_private=True)
        await resolver.lookup("a.test")
        resolver.demote("a.test", "127.0.0.3")
        try:
            yield client
        finally:
            await client.close()


async def test_each_address_is_reserved_and_only_then_contacted() -> None:
    closing = answer(b"ok", "Connection: close")
    async with two_addresses() as client, Server(closing, host="127.0.0.3") as server:
        logs = [Log(), Log()]
        for log in logs:
            assert await fetch(client, server.url(host="a.test"), log) == "127.0.0.3"
    assert logs[0].events == ["127.0.0.2", "127.0.0.3", "127.0.0.3", "gate"]
    assert logs[1].events == ["127.0.0.3", "127.0.0.3", "gate"]  # who refused comes last now


async def test_an_address_that_swallows_everything_costs_only_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crawler.fetch.dial._PATIENCE", 0.3)
    log = Log()
    async with two_addresses() as client, Server(answer(), host="127.0.0.3") as server:
        # A listener whose queue is full: further connections are neither taken nor refused.
        with (
            socket.create_server(("127.0.0.2", server.port), backlog=0),
            socket.create_connection(("127.0.0.2", server.port)),
        ):
            assert await fetch(client, server.url(host="a.test"), log) == "127.0.0.3"
    assert log.events == ["127.0.0.2", "127.0.0.3", "127.0.0.3", "gate"]


async def test_what_may_not_be_contacted_is_not_reserved(make_client: MakeClient) -> None:
    zone: dict[str, list[list[str] | str]] = {
        "inside.test": [["10.0.0.1", "192.168.1.1"]],
        "mixed.test": [["10.0.0.1", "127.0.0.2"]],
    }
    async with DnsServer(zone) as dns:
        strict = make_client(allow_private=False, dns_server=dns.address)
        for name in zone:
            log = Log()
            with pytest.raises(FetchError) as caught:
                await fetch(strict, f"http://{name}:1/", log)
            assert caught.value.reason == "blocked-address"
            assert log.events == ["admit"]


async def test_a_literal_has_no_name_to_ask_for(make_client: MakeClient) -> None:
    log = Log()
    async with Server(answer()) as server:
        await fetch(make_client(), server.url(), log)
    assert log.events == ["127.0.0.1", "127.0.0.1", "gate"]


async def test_waiting_does_not_count_as_connecting(make_client: MakeClient) -> None:
    async def wait(address: str) -> None:
        await asyncio.sleep(0.3)

    async with Server(answer()) as server:
        await fetch(make_client(connect=0.25), server.url(), Log(step=wait))
    assert len(server.visits) == 1


async def test_a_connection_that_died_while_it_waited_is_not_written_to(
    make_client: MakeClient,
) -> None:
    async with Server(answer()) as server:
        client = make_client()
        await fetch(client, server.url(), Log())

        async def hang_up(address: str) -> None:
            if server.connections == 1:
                server.visits[0].writer.close()
                await server.visits[0].writer.wait_closed()

        await fetch(client, server.url("/again"), Log(step=hang_up))
    assert [(v.path, v.connection) for v in server.visits] == [("/", 1), ("/again", 2)]


async def test_a_server_that_hangs_up_at_once_is_connected_to_once(
    make_client: MakeClient,
) -> None:
    async def late(address: str) -> None:
        await asyncio.sleep(0.2)

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        writer.close()

    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(FetchError) as caught:
            await fetch(make_client(), f"http://127.0.0.1:{port}/", Log(step=late))
    assert caught.value.reason == "reset"
    assert len(connections) == 1


async def test_the_time_to_connect_is_allowed_for(make_client: MakeClient) -> None:
    asked: list[float] = []

    class Timed(Log):
        async def reserve(self, address: str, seconds: float) -> None:
            asked.append(seconds)

    async with Server(answer(b"ok", "Connection: close")) as server:
        client = make_client()
        for _ in range(2):
            await fetch(client, server.url(), Timed())
    assert asked[0] == 0.0
    assert 0 < asked[2] <= 0.5
    assert asked[1] == asked[3] == 0.0


# -- addresses that are to be left alone


@dataclass
class List:
    """A block list that a test may change at any time."""

    addresses: set[str] = field(default_factory=set)

    def __call__(self, address: str) -> str | None:
        return f"{address} is listed" if address in self.addresses else None


async def opted_out(client: Client, url: str, listed: List, log: Log | None = None) -> str:
    with pytest.raises(FetchError) as caught:
        await client.fetch(url, clocks=log, forbids=listed)
    assert caught.value.reason == "opted-out"
    return caught.value.detail


@pytest.mark.parametrize("log", [Log(), None], ids=["in turn", "raced"])
async def test_a_name_is_contacted_only_where_it_may_be(log: Log | None) -> None:
    listed = List({"127.0.0.2"})
    async with two_addresses() as client, Server(answer(), host="127.0.0.3") as server:
        url = server.url(host="a.test")
        found = await client.fetch(url, clocks=log, forbids=listed)
        assert found.ip == "127.0.0.3"
        if log is not None:
            assert log.events == ["127.0.0.3", "127.0.0.3"]  # nobody's time there was taken
        listed.addresses.add("127.0.0.3")
        assert await opted_out(client, url, listed, log) == "127.0.0.2 is listed"
    assert len(server.visits) == 1


async def test_a_kept_connection_is_not_used_again(make_client: MakeClient) -> None:
    listed = List()
    async with Server(answer()) as server:
        client = make_client()
        for path in ("/one", "/two"):
            await client.fetch(server.url(path), forbids=listed)
        assert server.connections == 1
        listed.addresses.add("127.0.0.1")
        assert await opted_out(client, server.url("/three"), listed) == "127.0.0.1 is listed"
    assert [visit.path for visit in server.visits] == ["/one", "/two"]
    assert server.connections == 1


async def test_an_entry_made_while_the_clocks_are_waited_for_counts(
    make_client: MakeClient,
) -> None:
    listed = List()

    async def enter(address: str) -> None:
        listed.addresses.add(address)

    async with Server(answer()) as server:
        await opted_out(make_client(), server.url(), listed, Log(step=enter))
        assert server.visits == []
