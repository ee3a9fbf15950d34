"""A small HTTP/1.1 server protocol that can misbehave on request: drip, truncate, close.

Only what the demo needs: requests in turn on kept-alive connections, bodies of requests skipped.
Invariant: `Site.ended` is called once per request, before the last byte of its response is handed
to the socket (or when the client has left).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, Protocol

_MAX_HEAD: Final = 64 * 1024  # bytes
_PIECES: Final = 8  # that a dripping body comes in
_MISSING: Final = 2000  # bytes announced and not sent when a body is truncated
_KEPT: Final = 0.6  # part of a truncated body that is sent


class BadRequestError(Exception):
    """The request cannot be served; the message says why, the status how it is answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed request head."""

    method: str
    target: str  # as sent
    headers: dict[str, str]  # by lower-case name
    address: str  # local address
    port: int  # local port
    connection: int  # serial number
    start: float  # unix seconds; the head was complete
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """A response, and how to send it."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    delay: float = 0.0  # seconds before the first byte
    drip: float = 0.0  # seconds over which the body is sent
    truncated: bool = False  # announce more than is sent, then close
    framing: str = "length"  # length | chunked | close
    retry_after: float = 0.0  # seconds from the end, for the log
    retry_at: float = 0.0  # unix seconds, for the log; overrides retry_after


class Site(Protocol):
    """Answers requests and hears of their ends."""

    def respond(self, request: Request) -> Reply:
        """The reply to a request."""

    def ended(self, request: Request, reply: Reply, end: float, size: int, aborted: bool) -> None:
        """A response of ``size`` bytes ends at unix second ``end``."""


class HttpProtocol(asyncio.Protocol):
    """One connection."""

    _serial = 0

    def __init__(self, site: Site, connections: set[HttpProtocol]) -> None:
        """Serve a site; the protocol is in ``connections`` while it is connected."""
        self._site = site
        self._connections = connections
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._current: tuple[Request, Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self._local: tuple[str, int] = ("", 0)
        HttpProtocol._serial += 1
        self._number = HttpProtocol._serial

    def connection_made(self, transport: Any) -> None:
        """Remember the local address: it is half of what names a host."""
        self._transport = transport
        self._connections.add(self)
        address, port = transport.get_extra_info("sockname")[:2]
        self._local = (str(address), int(port))

    def connection_lost(self, exc: Exception | None) -> None:
        """Log what was under way as aborted."""
        self._connections.discard(self)
        self.closed.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
        if self._current is not None:
            request, reply = self._current
            self._current = None
            self._site.ended(request, reply, time.time(), 0, True)

    def abort(self) -> None:
        """Cut the connection; ``closed`` is done when its end is logged."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Collect requests; the next is taken up when the current one has its response."""
        self._buffer += data
        if self._current is None:
            self._take()

    def _take(self) -> None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            if len(self._buffer) > _MAX_HEAD:
                self._refuse(BadRequestError(431, "the request head is too large"))
            return
        try:
            request = self._parse(head)
            length = _body_length(request)
        except BadRequestError as error:
            self._refuse(error)
            return
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        reply = self._site.respond(request)
        self._current = (request, reply)
        if reply.delay > 0:
            self._later(reply.delay, lambda: self._send(request, reply))
        else:
            self._send(request, reply)

    def _parse(self, head: bytes) -> Request:
        first, *lines = head.decode("latin-1").split("\r\n")
        parts = first.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1.") or not parts[1].startswith("/"):
            raise BadRequestError(400, "not an HTTP/1 request for a path")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise BadRequestError(400, "malformed header line")
            headers[name.lower()] = value.strip()
        keep = "keep-alive" if parts[2] == "HTTP/1.1" else "close"
        return Request(
            parts[0],
            parts[1],
            headers,
            *self._local,
            self._number,
            time.time(),
            headers.get("connection", keep).lower() != "close",
        )

    def _refuse(self, error: BadRequestError) -> None:
        body = f"{error}\n".encode()
        head = _head(error.status, [("Content-Length", str(len(body))), ("Connection", "close")])
        self._transport.write(head + body)
        self._transport.close()

    def _later(self, seconds: float, step: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, step)

    def _send(self, request: Request, reply: Reply) -> None:
        head, pieces, close = _message(request, reply)
        size = len(head) + sum(map(len, pieces))
        if reply.drip > 0 and len(pieces) > 1:
            self._transport.write(head)
            pause = reply.drip / (len(pieces) - 1)
        else:
            pieces, pause = [head + b"".join(pieces)], 0.0

        def write() -> None:
            if len(pieces) > 1:
                self._transport.write(pieces.pop(0))
                self._later(pause, write)
                return
            self._current = self._timer = None
            self._site.ended(request, reply, time.time(), size, False)
            self._transport.write(pieces[0])
            if close:
                self._transport.close()
            elif self._buffer:
                self._take()

        write()


def _body_length(request: Request) -> int:
    if "transfer-encoding" in request.headers:
        raise BadRequestError(501, "request bodies in chunks are not taken")
    text = request.headers.get("content-length", "0")
    if not text.isdecimal() or int(text) > _MAX_HEAD:
        raise BadRequestError(413, "Content-Length is wrong or too large")
    return int(text)


def _message(request: Request, reply: Reply) -> tuple[bytes, list[bytes], bool]:
    """Head, pieces of the body as they go over the wire, and whether to close after them."""
    headers, body = list(reply.headers), reply.body
    chunked = reply.framing == "chunked"
    close = not request.keep_alive or reply.truncated or reply.framing == "close"
    if chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    elif reply.framing == "length":
        length = len(body) + (_MISSING if reply.truncated else 0)
        headers.append(("Content-Length", str(length)))
    headers.append(("Connection", "close" if close else "keep-alive"))
    if request.method == "HEAD":
        body, chunked = b"", False
    if reply.truncated:
        body = body[: int(len(body) * _KEPT)]
    count = _PIECES if reply.drip > 0 or chunked else 1
    step = max(1, -(-len(body) // count))
    pieces = [body[at : at + step] for at in range(0, len(body), step)] or [b""]
    if chunked:
        pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece]
        pieces.append(b"0\r\n\r\n")
    return _head(reply.status, headers), pieces, close


def _head(status: int, headers: list[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_phrase(status)}", f"Date: {formatdate(usegmt=True)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
