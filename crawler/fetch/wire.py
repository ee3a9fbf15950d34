"""One connection: aiohttp's response parser with the head bounded, and the clock that watches it.

Invariants kept: bounded (a head costs at most its cap and one read); a connection that speaks
out of turn is never reused, so no answer can be taken for that to another request; no exchange
outlives its deadlines, however its server drips.

Leans on aiohttp's ``ResponseHandler``: its parser feeds each head to ``feed_data``, and whatever
goes wrong with the connection comes by ``set_exception`` (but reaches the body's reader only in
some cases, so that it is passed on here).
"""

from __future__ import annotations

import asyncio
import re
import select
from dataclasses import dataclass
from typing import Final

from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import _EXC_SENTINEL
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

from crawler.fetch.exchange import FetchError

_KEEP_ALIVE: Final = re.compile(r"\btimeout=(\d{1,6})\b")
_HEAD: Final = 16_384  # bytes of an incomplete head that are kept
_KEEP_ALIVE_MARGIN: Final = 1.0  # seconds before the server's own deadline to stop using a line


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines and caps of one exchange; times in seconds, sizes in bytes."""

    connect: float = 10.0  # resolve, connect and TLS handshake together
    first_byte: float = 15.0  # from the write to the first byte of the answer
    total: float = 30.0  # from the write to the last byte of the answer
    min_rate: float = 100.0  # bytes per second below which a server is a tarpit
    grace: float = 10.0  # from the first byte to the first look at the rate
    window: float = 5.0  # between later looks
    max_body: int = 20_000_000  # of the body as sent; beyond it the rest is left unread
    max_decoded: int = 50_000_000  # of the body with its content codings undone
    max_ratio: float = 200.0  # decoded : sent, once past a megabyte
    max_head: int = 100_000  # of the answer's head, interim answers included
    max_headers: int = 200  # header lines


class TimeUp(Exception):
    """The total deadline passed while the body was still coming at a fair rate."""


class Wire(ResponseHandler):
    """The client side of one HTTP/1.1 connection.

    Use: :meth:`begin`, write a request to ``transport``, :meth:`answer`, read the stream, then
    :meth:`end` and hand the connection back.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        super().__init__(loop)
        self.received = 0  # bytes of the current answer so far, framing included
        self.first_at = 0.0  # loop.time() of the first of them
        self.head = bytearray()  # of the current answer as it came, while it is incomplete
        self.broken = False  # whether the connection ended by an error, not by a FIN
        self._limits = limits
        self._busy = False
        self._head_complete = False
        self._stream: StreamReader | None = None  # the body of the current answer
        self._used = False
        self._reuse_until: float | None = None  # loop.time(); None: the server did not say

    def reusable(self) -> bool:
        """Whether a request may still go out on this line, as far as this side can know.

        A server may close an idle connection at any time, and a request that crosses its FIN is
        lost without telling whether it was read. It is not sent a second time by itself (that
        would be two requests without the delay in between), so the crossing is made unlikely:
        a line is left alone close to the end of the server's announced ``Keep-Alive`` timeout,
        and when anything, FIN included, waits unread on its socket.
        """
        if not self._used:
            return True
        if self._reuse_until is not None and self._loop.time() >= self._reuse_until:
            return False
        return self.transport is not None and not _readable(self.transport)

    def begin(self, *, bodiless: bool) -> None:
        """Get ready for the answer to the next request (``bodiless``: to a HEAD)."""
        self.received = 0
        self.head.clear()
        self._busy = True
        self._head_complete = False
        self._stream = None
        self.set_response_params(
            skip_payload=bodiless,
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=self._limits.max_head,
            max_field_size=self._limits.max_head,
            max_headers=self._limits.max_headers,
        )

    async def answer(self) -> tuple[RawResponseMessage, StreamReader]:
        """The final answer's head, and its body as a stream; interim (1xx) answers are skipped."""
        while True:
            message, stream = await self.read()
            if message.code >= 200 or message.code == 101:
                return message, stream

    def end(self, keep_alive: str) -> None:
        """The answer is read to its end; the line is used, and good for as long as that says."""
        self._busy = False
        self._used = True
        hint = _KEEP_ALIVE.search(keep_alive)
        self._reuse_until = None
        if hint is not None:
            seconds = float(hint.group(1))
            self._reuse_until = self._loop.time() + max(0.0, seconds - _KEEP_ALIVE_MARGIN)

    def fail(self, error: Exception) -> None:
        """Break off the answer: whoever waits for its head or its body gets ``error``."""
        if isinstance(error, TimeUp) and not self._head_complete:
            error = FetchError("timeout", f"no complete head in {self._limits.total:g} s")
        self.set_exception(error)
        if self.transport is not None:
            self.transport.abort()

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _EXC_SENTINEL) -> None:
        """Called for every failure of the connection; the body's reader must hear of it too."""
        super().set_exception(exc, exc_cause)
        stream = self._stream
        if stream is not None and not stream.is_eof() and stream.exception() is None:
            stream.set_exception(exc, exc_cause)

    def data_received(self, data: bytes) -> None:
        """Count, bound, and pass on to the parser."""
        if not self._busy:
            # Bytes that nobody asked for: the next answer on this line could not be trusted.
            self.abort()
            return
        if not self.received:
            self.first_at = self._loop.time()
        self.received += len(data)
        if not self._head_complete:
            self.head += data[: _HEAD - len(self.head)]
            # The parser forgets a head that comes in one read with a body longer than announced
            # (its error wins), so the head is fed on its own. The surplus then harms only reuse.
            end = data.find(b"\r\n\r\n") + 4
            if 4 <= end < len(data):
                super().data_received(data[:end])
                data = data[end:]
        if self._exception is None:
            super().data_received(data)
        if not self._head_complete and self.received > self._limits.max_head:
            self.fail(header_flood(self._limits))

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Called by the parser for each head."""
        message, stream = data
        if message.code >= 200:
            self._head_complete = True
            self._stream = stream
        super().feed_data(data, size)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Note how it ended: a body without a length is complete only if it ends with a FIN."""
        self.broken = exc is not None
        super().connection_lost(exc)


def _readable(transport: asyncio.Transport) -> bool:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLIN)
    return bool(poller.poll(0))


def header_flood(limits: Limits) -> FetchError:
    """The error for a head over its caps."""
    return FetchError(
        "header-flood",
        f"more than {limits.max_headers} header lines or {limits.max_head} bytes of head",
    )


class Watch:
    """The deadlines of one exchange on one timer; it breaks the wait by failing the wire.

    Started just before the write. No byte by ``first_byte``: reason ``timeout``. From the first
    byte on, the mean rate over ``grace`` and then over each ``window`` must reach ``min_rate``,
    or the reason is ``too-slow``. When ``total`` is over, a head still incomplete is a
    ``timeout`` and a body still coming ends with :class:`TimeUp`.
    """

    __slots__ = ("_end", "_handle", "_limits", "_look_at", "_loop", "_mark", "_start", "_wire")

    def __init__(self, loop: asyncio.AbstractEventLoop, wire: Wire, limits: Limits) -> None:
        self._loop = loop
        self._wire = wire
        self._limits = limits
        self._start = loop.time()
        self._end = self._start + limits.total
        self._look_at: float | None = None  # loop.time() of the next look at the rate
        self._mark = (0.0, 0)  # loop.time() and bytes at the last look
        self._handle = self._arm(self._start + min(limits.first_byte, limits.grace))

    def cancel(self) -> None:
        """Stop watching."""
        self._handle.cancel()

    def _arm(self, when: float) -> asyncio.TimerHandle:
        return self._loop.call_at(min(when, self._end), self._look)

    def _look(self) -> None:
        now = self._loop.time()
        limits, wire = self._limits, self._wire
        if not wire.received:
            due = self._start + limits.first_byte
            if now >= min(due, self._end):
                wire.fail(FetchError("timeout", f"no answer within {now - self._start:.0f} s"))
                return
            self._handle = self._arm(due)
            return
        if self._look_at is None:
            self._mark = (wire.first_at, 0)
            self._look_at = wire.first_at + limits.grace
        if now >= self._look_at:
            since, before = self._mark
            rate = (wire.received - before) / (now - since)
            if rate < limits.min_rate:
                wire.fail(FetchError("too-slow", f"{rate:.0f} bytes/s over {now - since:.0f} s"))
                return
            self._mark = (now, wire.received)
            self._look_at = now + limits.window
        if now >= self._end:
            wire.fail(TimeUp(f"the body was not complete after {limits.total:g} s"))
            return
        self._handle = self._arm(self._look_at)
