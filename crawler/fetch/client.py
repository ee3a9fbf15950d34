"""Fetches one URL with one request: nothing followed, nothing re-sent, everything bounded.

Invariants kept: one door out (the connector's sockets come from :mod:`crawler.fetch.guard`); never
early: the gate is asked after the connection stands and right before the one write, and a request
is written once, never again by itself. A signature is of the moment of the write, so it is made
between the two.

aiohttp gives the connector (:mod:`crawler.fetch.dial`) and the response parser. Its
``ClientSession`` is left out on purpose: it re-sends idempotent requests on a kept-alive
connection that turns out dead, has no point to check a lease between connect and write, does not
tell the request as sent, and costs more CPU than the rest of the fetch.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from crawler.content import SNIFFED
from crawler.fetch.decode import ACCEPT_ENCODING, Decoder
from crawler.fetch.dial import Clocks, Dialer, Forbids, forbidden, wire_of
from crawler.fetch.dns import Resolver
from crawler.fetch.errors import answer_error
from crawler.fetch.exchange import Exchange, FetchError, LeaseExpired
from crawler.fetch.head import Head, parsed, saved
from crawler.fetch.proxy import Proxy
from crawler.fetch.wire import Limits, TimeUp, Watch, Wire, header_flood

Gate = Callable[[], bool]
Refuses = Callable[[str, bytes | None], str | None]
"""Says why an answer is not to be read on, by its Content-Type and, once there are some, its first
decoded bytes (else None); None: it is."""

_URL: Final = re.compile(
    r"(https?)://(?:[^/?#\\\s]*@)?"  # userinfo is left out: no credentials from URLs
    r"(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::([0-9]{1,5}))?"
    r"((?:[/?][!\"$-~]*)?)(?:#.*)?",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 5.5
# Framing, connection and proxy headers are the client's business, and Host is the lease's.
_OWN: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"upgrade",
        b"expect",
        b"te",
        b"trailer",
        b"proxy-authorization",
        b"proxy-connection",
    }
)
# Those that sign a request: the signer's, where there is one.
_SIGNATURE: Final = frozenset({b"signature", b"signature-agent", b"signature-input"})
_KEPT: Final = 1_000_000  # bytes kept of the payload of an answer that is of no use
_WANTS_CREDENTIALS: Final = 407  # of a proxy alone (RFC 9110 15.5.8)
_CUT: Final = {"bomb": "length", "header-flood": "length", "too-slow": "time"}  # WARC-Truncated


class Signs(Protocol):
    """Signs requests; see :class:`crawler.signing.Signer`."""

    def sign(self, head: bytes, origin: str) -> bytes:
        """The head with the headers that sign it, for being sent now to ``scheme://authority``."""


class Target(NamedTuple):
    """A URL taken apart, verbatim but for userinfo and fragment."""

    scheme: str  # http | https
    host: str  # lower case; an IPv6 literal without brackets
    port: int
    authority: str  # for the Host header: default ports left out
    path: str  # for the request line, with the query


def parse_target(url: str) -> Target:
    """Take ``url`` apart; anything but a canonical http(s) URL is ``FetchError("invalid-url")``."""
    match = _URL.fullmatch(url)
    if match is None:
        raise FetchError("invalid-url", f"not a canonical http(s) URL: {url[:200]!r}")
    scheme, host, digits, path = match.groups()
    scheme, host = scheme.lower(), host.lower()
    default = 443 if scheme == "https" else 80
    port = int(digits) if digits else default
    if not 0 < port < 65536:
        raise FetchError("invalid-url", f"port {port} does not exist")
    authority = host if port == default else f"{host}:{port}"
    if not path.startswith("/"):
        path = f"/{path}"
    return Target(scheme, host.strip("[]"), port, authority, path)


def request_head(
    method: str,
    target: Target,
    headers: Iterable[tuple[bytes, bytes]],
    length: int,
    signed: bool = False,
) -> bytes:
    """The request's head as it goes over the wire, but for what signs it.

    Headers keep their order and case, without those that frame the message or steer proxies, and
    without signatures where it is to be ``signed``; a missing ``Accept-Encoding`` is added. Raises
    ``ValueError`` for what is not a header.
    """
    if _TOKEN.fullmatch(method.encode("ascii", "replace")) is None:
        raise ValueError(f"{method!r} is not a method")
    lines = [f"{method} {target.path} HTTP/1.1\r\nHost: {target.authority}".encode("ascii")]
    negotiates = False
    for name, value in headers:
        lowered = name.lower()
        if lowered in _OWN or (signed and lowered in _SIGNATURE):
            continue
        if _TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise ValueError(f"{name!r}: {value!r} is not a header")
        negotiates = negotiates or lowered == b"accept-encoding"
        lines.append(name + b": " + value)
    if not negotiates:
        lines.append(b"Accept-Encoding: " + ACCEPT_ENCODING.encode("ascii"))
    if length or method in ("POST", "PUT", "PATCH"):
        lines.append(b"Content-Length: %d" % length)
    return b"\r\n".join([*lines, b"", b""])


class Client:
    """The one door out. Must be made inside a running event loop; close it when done.

    Connections are kept alive per origin for 15 s at most. How many there are is not bounded
    here: leases bound it.

    :param resolver: closed together with the client
    :param allow_private: contact private and loopback addresses too
    :param proxy: through which all requests go; it has to refuse private addresses itself
    :param signer: of all requests, each when it is written
    """

    def __init__(
        self,
        limits: Limits,
        resolver: Resolver,
        *,
        allow_private: bool = False,
        proxy: Proxy | None = None,
        signer: Signs | None = None,
    ) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._proxy = proxy
        self._signer = signer
        self._dialer = Dialer(limits, resolver, allow_private=allow_private, proxy=proxy)

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: bytes = b"",
        gate: Gate | None = None,
        clocks: Clocks | None = None,
        forbids: Forbids | None = None,
        refuses: Refuses | None = None,
    ) -> Exchange:
        """Send one request and read its answer.

        A body cut short is kept and said so in ``truncated``: "length" over ``max_body``, "time"
        when the total deadline passes while it comes at a fair rate, "disconnect" when it ends
        before its declared or coded end.

        :param url: canonical and absolute; sent verbatim, without fragment and userinfo
        :param gate: asked right before the write; False raises :class:`LeaseExpired`
        :param clocks: waited for before connecting, and before the write
        :param forbids: asked of each address before connecting, and right before the write; what
            it says is the detail of a ``FetchError("opted-out")``
        :param refuses: asked when the head is there, and again when the body's beginning is; what
            it says ends a success as ``FetchError("content-type")``, another answer without its
            body, and closes the connection
        Raises ``FetchError`` for everything that gives no usable answer, ``ValueError`` for a
        header or method that cannot be sent.
        """
        target = parse_target(url)
        head = request_head(method, target, headers, len(body), self._signer is not None)
        connection = await self._dialer.connect(
            target.scheme, target.host, target.port, clocks, forbids
        )
        try:
            if (why := forbidden(self._dialer.address(connection), forbids)) is not None:
                raise FetchError("opted-out", why)
            ask = _Ask(url, target, head, body, gate, refuses)
            exchange = await self._exchange(connection, ask)
        except BaseException:
            connection.close()
            raise
        if exchange.truncated is None:
            connection.release()
        else:
            connection.close()
        return exchange

    async def close(self) -> None:
        """Close all connections and stop resolving."""
        await self._dialer.close()

    async def _exchange(self, connection: Connection, ask: _Ask) -> Exchange:
        address, wire = self._dialer.address(connection), wire_of(connection)
        transport = wire.transport
        if transport is None:
            raise FetchError("reset", "the connection ended before the request")
        if ask.gate is not None and not ask.gate():
            raise LeaseExpired(f"too little is left of the lease to fetch {ask.url}")
        head, sent = self._as_sent(ask)
        wire.begin(bodiless=head.startswith(b"HEAD "))
        watch = Watch(self._loop, wire, self._limits)
        started, clock = time.time(), time.monotonic()
        try:
            transport.write(sent)
            answer = await self._answer(wire, ask.refuses)
        finally:
            watch.cancel()
        finished = time.monotonic()
        if self._proxy is not None and answer.head.status == _WANTS_CREDENTIALS:
            raise FetchError("proxy-error", "the proxy wants other credentials")
        if answer.truncated is None:
            wire.end(answer.head.all("keep-alive"))
        exchange = Exchange(
            url=ask.url,
            ip=address,
            started=started,
            seconds=finished - clock,
            finished_mono=finished,
            request_head=head,
            status=answer.head.status,
            status_line=answer.head.status_line,
            headers=answer.head.headers,
            payload=answer.payload,
            truncated=answer.truncated,
        )
        if answer.problem is not None:
            answer.problem.partial = exchange
            raise answer.problem
        return exchange

    def _as_sent(self, ask: _Ask) -> tuple[bytes, bytes]:
        """The head as the host gets it, signed now, and what goes over the wire."""
        target, head = ask.target, ask.head
        if self._signer is not None:
            head = self._signer.sign(head, f"{target.scheme}://{target.authority}")
        if self._proxy is not None and target.scheme == "http":
            return head, self._proxy.forward(head, target.authority) + ask.body
        return head, head + ask.body

    async def _answer(self, wire: Wire, refuses: Refuses | None) -> _Answer:
        limits = self._limits
        try:
            message, stream = await wire.answer()
        except Exception as error:
            problem = answer_error(error, wire.received)
            head = saved(bytes(wire.head)) if problem.reason == "header-flood" else None
            if head is None:
                raise problem from error
            return _unusable(head, b"", problem)
        if message.code == 101:
            raise FetchError("protocol-error", "the server switched protocols unasked")
        head = parsed(message)
        if head.size > limits.max_head:
            return _unusable(saved(bytes(wire.head)) or head, b"", header_flood(limits))
        door = _Door(None if stream is EMPTY_PAYLOAD else refuses, head.first("content-type"))
        if door.shuts(None):
            return _unwanted(head, b"", door.why)
        try:
            decoder = Decoder(
                head.all("content-encoding"),
                max_decoded=limits.max_decoded,
                max_ratio=limits.max_ratio,
            )
        except FetchError as problem:
            return _unusable(head, b"", problem)
        try:
            truncated = await _read(stream, decoder, limits.max_body, door)
        except FetchError as problem:
            return _unusable(head, decoder.beginning(_KEPT), problem)
        if door.shuts(decoder, ended=True):
            return _unwanted(head, decoder.beginning(SNIFFED), door.why)
        if truncated is None and (wire.broken or not decoder.complete()):
            truncated = "disconnect"
        return _Answer(head, decoder.payload(), truncated)


@dataclass(frozen=True, slots=True)
class _Ask:
    """A request on its way."""

    url: str  # asked for
    target: Target  # the same, taken apart
    head: bytes  # as the host gets it, but for what signs it
    body: bytes
    gate: Gate | None  # see Client.fetch
    refuses: Refuses | None  # see Client.fetch


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer that has a head."""

    head: Head
    payload: bytes  # decoded
    truncated: str | None  # see Exchange
    problem: FetchError | None = None  # why it is of no use


def _unusable(head: Head, payload: bytes, problem: FetchError) -> _Answer:
    return _Answer(head, payload, _CUT.get(problem.reason, "unspecified"), problem)


def _unwanted(head: Head, payload: bytes, why: str) -> _Answer:
    """What is left of an answer that is not read on: an error, say, is one all the same."""
    if 200 <= head.status < 300:
        return _unusable(head, payload, FetchError("content-type", why))
    return _Answer(head, payload, "unspecified")


class _Door:
    """Asks whether an answer is to be read on, until that is settled."""

    def __init__(self, refuses: Refuses | None, content_type: str) -> None:
        self._refuses = refuses
        self._type = content_type
        self.why = ""  # it is not

    def shuts(self, decoder: Decoder | None, *, ended: bool = False) -> bool:
        """Whether reading ends here: before the body (None), or once its beginning is there."""
        if self._refuses is None:
            return self.why != ""
        beginning = None if decoder is None else decoder.beginning(SNIFFED)
        if beginning is not None and len(beginning) < SNIFFED and not ended:
            return False
        self.why = self._refuses(self._type, beginning) or ""
        if beginning is not None or self.why:
            self._refuses = None
        return self.why != ""


async def _read(stream: StreamReader, decoder: Decoder, limit: int, door: _Door) -> str | None:
    """Feed the body to the decoder, up to ``limit`` bytes; say how it was cut short, if it was."""
    left = limit
    truncated = None
    try:
        while chunk := await stream.readany():
            if len(chunk) > left:
                decoder.feed(chunk[:left])
                return "length"
            left -= len(chunk)
            decoder.feed(chunk)
            if door.shuts(decoder):
                return None
    except TimeUp:
        truncated = "time"
    except (aiohttp.ClientError, HttpProcessingError, OSError):
        truncated = "disconnect"
    if truncated is not None:
        # What had come before the failure still lies in the stream, which now only raises.
        decoder.feed(stream._read_nowait(-1)[:left])
    return truncated
