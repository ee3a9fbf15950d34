"""The resolver against a DNS server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from crawler.fetch.dns import DnsPolicy, Resolver
from crawler.fetch.exchange import FetchError

from .servers import DnsServer


@contextlib.asynccontextmanager
async def resolver(server: str = "", **policy: Any) -> AsyncIterator[Resolver]:
    made = Resolver(server, DnsPolicy(**policy))
    try:
        yield made
    finally:
        await made.close()


async def reason(of: Resolver, name: str) -> str:
    with pytest.raises(FetchError) as caught:
        await of.lookup(name)
    assert name in caught.value.detail
    return caught.value.reason


async def test_a_name_has_its_addresses() -> None:
    zone = {"two.test": [["192.0.2.1", "2001:db8::1"]]}
    async with DnsServer(zone) as dns, resolver(dns.address) as r:
        assert sorted(await r.lookup("two.test")) == ["192.0.2.1", "2001:db8::1"]


async def test_failures_have_reasons() -> None:
    zone = {"broken.test": ["servfail"], "silent.test": ["silent"], "empty.test": [[]]}
    async with DnsServer(zone) as dns, resolver(dns.address) as r:
        assert await reason(r, "gone.test") == "dns-nxdomain"
        assert await reason(r, "empty.test") == "dns-nxdomain"
        assert await reason(r, "broken.test") == "dns-servfail"
        assert await reason(r, "x" * 64 + ".test") == "dns-nxdomain"
        async with resolver(dns.address, timeout=0.2) as hasty:
            assert await reason(hasty, "silent.test") == "dns-timeout"


async def test_a_dead_server_is_not_a_missing_name() -> None:
    async with DnsServer({}) as dns:
        address = dns.address
    async with resolver(address, timeout=0.4) as r:
        assert await reason(r, "any.test") in ("dns-timeout", "dns-servfail")


async def test_answers_are_cached_for_their_ttl() -> None:
    zone = {"a.test": [["192.0.2.1"], ["192.0.2.2"]]}
    async with DnsServer(zone, ttl=60) as dns, resolver(dns.address) as r:
        for name in ("a.test", "A.Test", "a.test."):
            assert await r.lookup(name) == ("192.0.2.1",)
        assert dns.count("a.test") == 1


async def test_expired_answers_are_asked_for_again() -> None:
    zone = {"a.test": [["192.0.2.1"], ["192.0.2.2"]]}
    async with DnsServer(zone, ttl=0) as dns, resolver(dns.address, min_ttl=0) as r:
        assert await r.lookup("a.test") == ("192.0.2.1",)
        assert await r.lookup("a.test") == ("192.0.2.2",)


async def test_a_short_ttl_is_stretched() -> None:
    zone = {"a.test": [["192.0.2.1"], ["192.0.2.2"]]}
    async with DnsServer(zone, ttl=0) as dns, resolver(dns.address, min_ttl=60) as r:
        assert await r.lookup("a.test") == ("192.0.2.1",)
        assert await r.lookup("a.test") == ("192.0.2.1",)


async def test_failures_are_remembered() -> None:
    zone = {"gone.test": ["nxdomain", ["192.0.2.1"]], "broken.test": ["servfail", ["192.0.2.1"]]}
    async with DnsServer(zone) as dns, resolver(dns.address) as r:
        for _ in range(3):
            assert await reason(r, "gone.test") == "dns-nxdomain"
        assert dns.count("gone.test") == 1
    async with DnsServer(zone) as dns, resolver(dns.address, nxdomain_ttl=0) as r:
        assert await reason(r, "gone.test") == "dns-nxdomain"


async def test_one_query_in_flight_per_name() -> None:
    gate = asyncio.Event()
    zone = {"a.test": [["192.0.2.1"]]}
    async with DnsServer(zone, gate=gate) as dns, resolver(dns.address) as r:
        waiting = [asyncio.create_task(r.lookup("a.test")) for _ in range(50)]
        await dns.arrivals.get()
        waiting[0].cancel()  # who gives up takes nothing from the others
        gate.set()
        answers = await asyncio.gather(*waiting[1:])
        assert set(answers) == {("192.0.2.1",)}
        assert dns.count("a.test") == 1


async def test_queries_in_flight_are_bounded() -> None:
    gate = asyncio.Event()
    zone: dict[str, list[list[str] | str]] = {f"{n}.test": [["192.0.2.1"]] for n in range(9)}
    async with DnsServer(zone, gate=gate) as dns, resolver(dns.address, max_queries=3) as r:
        waiting = [asyncio.create_task(r.lookup(name)) for name in zone]
        asked: set[str] = set()
        while len(asked) < 3:
            asked.add(await dns.arrivals.get())
        assert len(r._flights) == 9
        assert len({name for name, _ in dns.queries}) == 3
        gate.set()
        await asyncio.gather(*waiting)
        assert not r._flights


async def test_the_cache_is_bounded() -> None:
    zone: dict[str, list[list[str] | str]] = {f"{n}.test": [["192.0.2.1"]] for n in range(5)}
    async with DnsServer(zone) as dns, resolver(dns.address, max_entries=3, min_ttl=60) as r:
        for name in zone:
            await r.lookup(name)
        assert len(r._cache) == 3
        await r.lookup("4.test")
        assert dns.count("4.test") == 1


async def test_addresses_per_name_are_bounded() -> None:
    zone = {"many.test": [[f"192.0.2.{n}" for n in range(1, 30)]]}
    async with DnsServer(zone) as dns, resolver(dns.address, max_addresses=4) as r:
        assert len(await r.lookup("many.test")) == 4


async def test_localhost_needs_no_server() -> None:
    async with resolver() as r:
        assert "127.0.0.1" in await r.lookup("localhost")


async def test_closing_drops_what_is_in_flight() -> None:
    async with DnsServer({"a.test": ["silent"]}) as dns, resolver(dns.address, timeout=60) as r:
        waiting = asyncio.create_task(r.lookup("a.test"))
        await dns.arrivals.get()
        await r.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
