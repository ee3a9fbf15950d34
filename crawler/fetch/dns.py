"""Names to addresses: a cached, bounded, single-flight resolver over c-ares.

Invariants kept: bounded (entries, queries in flight, addresses per name); a fetch never waits
longer for a name than its deadline; a failure is remembered for a while too, so that a dead name
with a thousand URLs does not cost a thousand queries. Which of the addresses may be contacted is
not decided here but at connect (:mod:`crawler.fetch.guard`).

The order of addresses is c-ares' (RFC 6724) and stays the same while an entry lives, but that one
which could not be connected to comes last.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

import aiodns
import pycares
from aiodns import error as ares

from crawler.fetch.exchange import FetchError

_REASONS: Final = {
    ares.ARES_ENOTFOUND: "dns-nxdomain",
    ares.ARES_ENODATA: "dns-nxdomain",
    ares.ARES_EBADNAME: "dns-nxdomain",  # a name that DNS cannot hold cannot exist
    ares.ARES_ETIMEOUT: "dns-timeout",
}  # anything else: dns-servfail


@dataclass(frozen=True, slots=True)
class DnsPolicy:
    """Bounds of the resolver."""

    timeout: float = 5.0  # seconds for a name, retries included
    min_ttl: float = 5.0  # seconds an answer is kept at least
    max_ttl: float = 3600.0  # seconds an answer is kept at most
    nxdomain_ttl: float = 300.0  # seconds a name is remembered not to exist
    failure_ttl: float = 10.0  # seconds a failure to resolve is remembered
    max_entries: int = 20_000  # names kept; the least recently used goes first
    max_queries: int = 100  # names being resolved at a time; others wait their turn
    max_addresses: int = 8  # addresses tried per name


@dataclass(frozen=True, slots=True)
class _Entry:
    addresses: tuple[str, ...]  # what the name resolves to
    reason: str  # with no addresses: why
    detail: str  # with no addresses: in words
    expires: float  # time.monotonic() seconds


class Resolver:
    """Addresses of names, over aiodns.

    Must be made inside a running event loop; close it when done.

    :param server: "IP:PORT" (or "[IPv6]:PORT") of the one DNS server to ask, or "" for the
        system's servers and hosts file. Search domains are never applied.
    """

    def __init__(self, server: str = "", policy: DnsPolicy | None = None) -> None:
        self._policy = policy or DnsPolicy()
        self._ares = aiodns.DNSResolver(
            nameservers=[server] if server else None,
            timeout=self._policy.timeout / 4,  # of the first try; the second waits twice as long
            tries=2,
            flags=pycares.ARES_FLAG_NOSEARCH | pycares.ARES_FLAG_EDNS,
            lookups="b" if server else "fb",
        )
        self._cache: OrderedDict[str, _Entry] = OrderedDict()
        self._flights: dict[str, asyncio.Task[_Entry]] = {}
        self._slots = asyncio.Semaphore(self._policy.max_queries)

    async def lookup(self, host: str) -> tuple[str, ...]:
        """The addresses of ``host``, best first; at least one.

        Raises ``FetchError`` with reason dns-nxdomain, dns-servfail or dns-timeout.
        """
        name = _name(host)
        entry = self._cached(name)
        if entry is None:
            flight = self._flights.get(name)
            if flight is None:
                flight = self._flights[name] = asyncio.create_task(self._fly(name))
            # Shielded: who gives up waiting must not take the answer from the others.
            entry = await asyncio.shield(flight)
        if not entry.addresses:
            raise FetchError(entry.reason, entry.detail)
        return entry.addresses

    def knows(self, host: str) -> bool:
        """Whether :meth:`lookup` would answer without asking anybody."""
        return self._cached(_name(host)) is not None

    def demote(self, host: str, address: str) -> None:
        """An address could not be connected to: it comes last for as long as the entry lives."""
        name = _name(host)
        entry = self._cached(name)
        if entry is not None and address in entry.addresses:
            others = tuple(each for each in entry.addresses if each != address)
            self._cache[name] = replace(entry, addresses=(*others, address))

    async def close(self) -> None:
        """Drop what is in flight and stop c-ares."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await self._ares.close()

    def _cached(self, name: str) -> _Entry | None:
        entry = self._cache.get(name)
        if entry is None:
            return None
        if entry.expires <= time.monotonic():
            del self._cache[name]
            return None
        self._cache.move_to_end(name)
        return entry

    async def _fly(self, name: str) -> _Entry:
        try:
            async with self._slots:
                entry = await self._ask(name)
            self._cache[name] = entry
            if len(self._cache) > self._policy.max_entries:
                self._cache.popitem(last=False)
            return entry
        finally:
            del self._flights[name]

    async def _ask(self, name: str) -> _Entry:
        policy = self._policy
        try:
            async with asyncio.timeout(policy.timeout):
                answer = await self._ares.getaddrinfo(
                    name, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM
                )
        except TimeoutError:
            return self._failure("dns-timeout", f"no answer for {name} in {policy.timeout:g} s")
        except aiodns.error.DNSError as error:
            code, message = error.args[0], error.args[-1]
            return self._failure(_REASONS.get(code, "dns-servfail"), f"{name}: {message}")
        addresses = tuple(node.addr[0].decode("ascii") for node in answer.nodes)
        if not addresses:
            return self._failure("dns-nxdomain", f"{name} has no address")
        ttl = max(policy.min_ttl, min(node.ttl for node in answer.nodes))
        return _Entry(
            addresses[: policy.max_addresses], "", "", time.monotonic() + min(ttl, policy.max_ttl)
        )

    def _failure(self, reason: str, detail: str) -> _Entry:
        policy = self._policy
        ttl = policy.nxdomain_ttl if reason == "dns-nxdomain" else policy.failure_ttl
        return _Entry((), reason, detail, time.monotonic() + ttl)


def _name(host: str) -> str:
    return host.rstrip(".").lower()
