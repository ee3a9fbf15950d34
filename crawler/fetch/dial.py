"""Connections for the one door out: kept ones, and new ones to exactly the addresses looked up.

Invariants kept: one door out (sockets come from :mod:`crawler.fetch.guard`); never early (where a
host shares clocks with others, these are waited for once the address is known: before it is
connected to, and again when connecting took longer than they allow). An address that its site's
operator wants left alone is not connected to, and a kept connection to it not used again. Where
there is a trusted proxy (:mod:`crawler.fetch.proxy`), it sees to addresses: here they are unknown,
so that they have neither clocks nor entries on the block list.

aiohttp's connector gives the pool, happy eyeballs and TLS. It resolves nothing: it is told, so that
the address that a clock was asked for is the one that is contacted.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, Protocol

from aiohttp import ClientProxyConnectionError, ClientRequest, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.helpers import is_ip_address
from yarl import URL

from crawler.fetch.dns import Resolver
from crawler.fetch.errors import connect_error
from crawler.fetch.exchange import FetchError
from crawler.fetch.guard import guarded_socket, literal_refusal, meant, refusal
from crawler.fetch.proxy import Proxy
from crawler.fetch.wire import Limits, Wire

_PATIENCE: Final = 2.0  # seconds after which another address of a host is tried
_LONGEST_START: Final = 0.5  # seconds that a clock is asked to allow for connecting, at most
_SMOOTHING: Final = 0.3  # weight of the newest time that connecting took
_MAX_ORIGINS: Final = 4096
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_addresses: ContextVar[tuple[str, ...]] = ContextVar("addresses")  # of the connection being made


Forbids = Callable[[str], str | None]
"""Says why an address must not be contacted, whatever name leads to it; None: it may be."""


class Clocks(Protocol):
    """What a contact waits for beside its lease: clocks that its host shares with others."""

    async def admit(self, seconds: float) -> None:
        """Asked before the host's name is looked up; raises ``LeaseError`` to turn it away."""

    async def reserve(self, address: str, seconds: float) -> None:
        """Return when ``address`` may be contacted, which takes so long; or ``LeaseError``.

        "": it is not known which.
        """


class Dialer:
    """Makes and keeps connections, 15 s at most each. Must be made inside a running event loop.

    :param resolver: closed together with the dialer
    :param allow_private: contact private and loopback addresses too
    :param proxy: makes the connections in our place
    """

    def __init__(
        self, limits: Limits, resolver: Resolver, *, allow_private: bool, proxy: Proxy | None = None
    ) -> None:
        self._limits = limits
        self._resolver = resolver
        self._allow_private = allow_private
        self._loop = asyncio.get_running_loop()
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        self._proxy = proxy
        self._connector = _Connector(limits, allow_private or proxy is not None)
        self._start = 0.0  # seconds that connecting takes, smoothed
        self._origins: dict[tuple[str, str, int], ClientRequest] = {}

    async def connect(
        self,
        scheme: str,
        host: str,
        port: int,
        clocks: Clocks | None = None,
        forbids: Forbids | None = None,
    ) -> Connection:
        """A connection on which a request may go out now; release or close it when done.

        With ``clocks`` a host's addresses are tried one after another, as each has a clock; else
        they are raced (RFC 8305). Raises ``FetchError``, and what ``clocks`` raises.
        """
        origin = self._origin(scheme, host, port)
        while (connection := await self._connector.idle(origin)) is not None:
            if forbidden(self.address(connection), forbids) is not None:
                connection.close()
            elif await self._ready(connection, clocks):
                return connection
        if self._proxy is None:
            connection = await self._dial(origin, host, clocks, forbids)
        else:
            connection = await self._dial_by(self._proxy, origin, host, clocks)
        if await self._ready(connection, clocks):
            return connection
        raise FetchError("reset", "the connection ended before the request")

    def address(self, connection: Connection) -> str:
        """The host's address, of a connection that stands; "" where a proxy alone knows it."""
        return peer(connection) if self._proxy is None else ""

    async def close(self) -> None:
        """Close all connections and stop resolving."""
        await self._connector.close()
        await self._resolver.close()

    async def _ready(self, connection: Connection, clocks: Clocks | None) -> bool:
        """Wait for the clocks; whether the connection still stands then. Else it is closed."""
        if clocks is not None:
            try:
                await clocks.reserve(self.address(connection), 0.0)
            except BaseException:
                connection.release()
                raise
        line = wire_of(connection)
        if line.is_connected() and line.reusable():
            return True
        connection.close()
        return False

    async def _dial(
        self, origin: ClientRequest, host: str, clocks: Clocks | None, forbids: Forbids | None
    ) -> Connection:
        """A new connection within the deadline, to which waits for clocks do not count."""
        addresses, left = await self._look_up(host, clocks)
        addresses = _permitted(addresses, forbids)
        groups = [addresses] if clocks is None else [(address,) for address in addresses]
        errors: list[FetchError] = []
        for group in groups:
            if clocks is not None and refusal(group[0], self._allow_private) is None:
                await clocks.reserve(group[0], self._allowance())
            started = self._loop.time()
            bound = left if group is groups[-1] else min(left, _PATIENCE)
            try:
                connection = await self._open(origin, group, bound)
            except FetchError as error:
                errors.append(error)
                left -= self._loop.time() - started
                self._resolver.demote(host, group[0])
            else:
                self._start += _SMOOTHING * (self._loop.time() - started - self._start)
                return connection
        raise next((e for e in errors if e.reason != "blocked-address"), errors[-1])

    async def _dial_by(
        self, proxy: Proxy, origin: ClientRequest, host: str, clocks: Clocks | None
    ) -> Connection:
        """A new connection to the proxy, for https with a tunnel to the host."""
        if (why := literal_refusal(host, self._allow_private)) is not None:
            raise FetchError("blocked-address", why)
        try:
            addresses, left = await self._look_up(proxy.host, None)
        except FetchError as error:
            raise FetchError("proxy-error", f"the proxy: {error.detail}") from error
        if clocks is not None:
            await clocks.admit(self._allowance())
            await clocks.reserve("", self._allowance())
        try:
            return await self._open(origin, addresses, left)
        except FetchError as error:
            if error.reason == "connect-timeout" and not origin.is_ssl():
                raise FetchError("proxy-error", "no connection to the proxy in time") from error
            raise

    async def _look_up(self, host: str, clocks: Clocks | None) -> tuple[tuple[str, ...], float]:
        """The host's addresses, and the seconds that are left to connect to one of them."""
        if is_ip_address(host):
            return (host,), self._limits.connect
        if clocks is not None and not self._resolver.knows(host):
            await clocks.admit(self._allowance())
        started = self._loop.time()
        try:
            async with asyncio.timeout(self._limits.connect):
                addresses = await self._resolver.lookup(host)
        except TimeoutError as error:
            raise connect_error(error) from error
        return addresses, self._limits.connect - (self._loop.time() - started)

    def _allowance(self) -> float:
        """Seconds that a clock is asked to allow for connecting."""
        return min(2 * self._start, _LONGEST_START)

    async def _open(
        self, origin: ClientRequest, addresses: tuple[str, ...], seconds: float
    ) -> Connection:
        bound = max(seconds, 0.001)
        token = _addresses.set(addresses)
        try:
            return await self._connector.connect(
                origin, [], ClientTimeout(connect=bound, ceil_threshold=bound)
            )
        except Exception as error:
            raise connect_error(error) from error
        finally:
            _addresses.reset(token)

    def _origin(self, scheme: str, host: str, port: int) -> ClientRequest:
        """What the connector needs to know of a request: its origin and how to do TLS."""
        key = (scheme, host, port)
        origin = self._origins.get(key)
        if origin is None:
            if len(self._origins) >= _MAX_ORIGINS:
                self._origins.clear()
            url = URL.build(scheme=scheme, host=host, port=port)
            by = None if self._proxy is None else self._proxy.url
            origin = ClientRequest("GET", url, loop=self._loop, ssl=self._tls, proxy=by)
            self._origins[key] = origin
        return origin


class _Connector(TCPConnector):
    """aiohttp's connector over our sockets, the addresses it is told and our side of the line."""

    def __init__(self, limits: Limits, allow_private: bool) -> None:
        super().__init__(
            resolver=_Told(),
            socket_factory=guarded_socket(allow_private),
            use_dns_cache=False,
            limit=0,
            keepalive_timeout=15.0,
        )
        self._factory = partial(Wire, self._loop, limits)  # type: ignore[assignment]

    async def _create_direct_connection(
        self, *args: Any, **options: Any
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        """With a proxy at its other end an answer comes before the first request: to CONNECT."""
        transport, line = await super()._create_direct_connection(*args, **options)
        if options.get("client_error") is ClientProxyConnectionError and isinstance(line, Wire):
            line.begin(bodiless=False)
        return transport, line

    async def idle(self, origin: ClientRequest) -> Connection | None:
        """A kept connection to an origin, taken out of the pool."""
        return await self._get(origin.connection_key, [])


class _Told(AbstractResolver):
    """Says what it was told of the connection that is being made."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses, in their order."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=_NUMERIC,
            )
            for address in _addresses.get()
        ]

    async def close(self) -> None:
        """It holds nothing."""


def forbidden(address: str, forbids: Forbids | None) -> str | None:
    """Why an address, or one that is reached through it, must not be contacted; "" is unknown."""
    if forbids is None or not address:
        return None
    return next((why for each in meant(address) if (why := forbids(each)) is not None), None)


def _permitted(addresses: tuple[str, ...], forbids: Forbids | None) -> tuple[str, ...]:
    """Those that may be contacted; ``FetchError("opted-out")`` when none may."""
    refusals = [forbidden(address, forbids) for address in addresses]
    if all(refusals):
        raise FetchError("opted-out", str(refusals[0]))
    return tuple(each for each, why in zip(addresses, refusals, strict=True) if why is None)


def wire_of(connection: Connection) -> Wire:
    """Our side of a connection."""
    found = connection.protocol
    if not isinstance(found, Wire):
        raise TypeError(f"the connector made a {type(found).__name__}, not a Wire")
    return found


def peer(connection: Connection) -> str:
    """The address at the other end of a connection that stands."""
    transport = wire_of(connection).transport
    if transport is None:
        raise FetchError("reset", "the connection ended before the request")
    return str(transport.get_extra_info("peername")[0])
