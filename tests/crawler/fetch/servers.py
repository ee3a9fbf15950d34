"""Servers on loopback that misbehave to order, and a DNS server that answers to order."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Script = Callable[["Visit"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Visit:
    """One request as the server saw it."""

    head: bytes  # request line and headers
    body: bytes
    connection: int  # 1 for the first connection
    number: int  # 1 for the first request over all connections
    at: float  # time.monotonic()
    writer: asyncio.StreamWriter

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()


def answer(body: bytes = b"ok", *lines: str, status: str = "200 OK") -> bytes:
    """A complete answer with a Content-Length."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def says(raw: bytes, *, close: bool = False) -> Script:
    """A script that writes ``raw`` to every request, and then hangs up if told so."""

    async def script(visit: Visit) -> None:
        visit.writer.write(raw)
        await visit.writer.drain()
        if close:
            visit.writer.close()

    return script


class Server:
    """An HTTP server whose answers are a script; it logs every request before answering."""

    def __init__(
        self, script: Script | bytes, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.visits: list[Visit] = []
        self.connections = 0
        self.port = 0
        self._script = says(script) if isinstance(script, bytes) else script
        self._host = host
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def url(self, path: str = "/", host: str | None = None) -> str:
        scheme = "http" if self._tls is None else "https"
        name = host or (f"[{self._host}]" if ":" in self._host else self._host)
        return f"{scheme}://{name}:{self.port}{path}"

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._accept, self._host, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer, self.connections))
        self._tasks.add(task)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while not writer.is_closing():
                    head = await reader.readuntil(b"\r\n\r\n")
                    body = await reader.readexactly(_length(head))
                    number = len(self.visits) + 1
                    visit = Visit(head, body, connection, number, time.monotonic(), writer)
                    self.visits.append(visit)
                    await self._script(visit)
        finally:
            writer.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


@dataclass
class DnsServer(asyncio.DatagramProtocol):
    """A DNS responder on a loopback port.

    ``zone`` maps a name to its successive answers (the last one stays): addresses, or
    "nxdomain", "servfail", "silent".
    """

    zone: dict[str, list[list[str] | str]]
    ttl: int = 0
    gate: asyncio.Event | None = None  # answers wait for it
    queries: list[tuple[str, str]] = field(default_factory=list)
    arrivals: asyncio.Queue[str] = field(default_factory=asyncio.Queue)  # a name per query
    address: str = ""
    _transport: asyncio.DatagramTransport | None = None
    _given: dict[str, int] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> DnsServer:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self.address = "127.0.0.1:{}".format(self._transport.get_extra_info("sockname")[1])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        assert self._transport is not None
        self._transport.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def count(self, name: str, kind: str = "A") -> int:
        return self.queries.count((name, kind))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.create_task(self._answer(data, addr))
        self._tasks.add(task)

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.queries.append((name, kind))
        self.arrivals.put_nowait(name)
        if self.gate is not None:
            await self.gate.wait()
        answers = self.zone.get(name, ["nxdomain"])
        turn = min(self._given.get(name, 0), len(answers) - 1)
        if kind == "A":
            self._given[name] = self._given.get(name, 0) + 1
        reply = self._reply(query, answers[turn], kind)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply.to_wire(), addr)

    def _reply(
        self, query: dns.message.Message, answer: list[str] | str, kind: str
    ) -> dns.message.Message | None:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if answer == "silent":
            return None
        if isinstance(answer, str):
            code = dns.rcode.NXDOMAIN if answer == "nxdomain" else dns.rcode.SERVFAIL
            reply.set_rcode(code)
            return reply
        fitting = [a for a in answer if (":" in a) == (kind == "AAAA")]
        if fitting and kind in ("A", "AAAA"):
            reply.answer.append(
                dns.rrset.from_text(query.question[0].name, self.ttl, "IN", kind, *fitting)
            )
        return reply
