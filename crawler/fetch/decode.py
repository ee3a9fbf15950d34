"""Content codings undone piece by piece, with bounds that a hostile body cannot pass.

Invariant kept: bounded. No step puts out more than about a quarter of a megabyte before the
caps are looked at, so what a bomb costs is the cap, not what it would unpack to.

Codings: gzip and x-gzip (RFC 1952, members may follow each other), deflate (RFC 1950, and raw
RFC 1951 as some servers send), br (RFC 7932), zstd (RFC 8878, window up to 8 MB as RFC 9659
demands). Names nobody has registered ("utf-8", "none") are passed over, as browsers do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Final, Protocol, cast

import brotli
from isal import isal_zlib
from isal.igzip_lib import IsalError

from crawler.fetch.exchange import FetchError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ACCEPT_ENCODING: Final = "gzip, deflate, br, zstd"

_PIECE: Final = 256 * 1024  # bytes that one step of one coding puts out at most, or a little more
_MAX_CODINGS: Final = 4
_RATIO_FREE: Final = 1_000_000  # bytes out below which the ratio does not matter
_ZSTD_WINDOW: Final = 23  # log2 of 8 MB, the most that RFC 9659 lets a web server use
_GZIP_MAGIC: Final = b"\x1f\x8b"
# Registered with IANA, but neither offered nor undone here.
_UNSUPPORTED: Final = frozenset(
    {"compress", "x-compress", "exi", "pack200-gzip", "aes128gcm", "dcb", "dcz"}
)


class Coding(Protocol):
    """One content coding, undone incrementally."""

    def push(self, data: bytes) -> Iterator[bytes]:
        """Take coded bytes; yield decoded pieces of bounded size. Raises what its library does."""
        ...

    def complete(self) -> bool:
        """Whether the coded stream has come to its end."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = isal_zlib.decompressobj(31)
        self._after = b""  # start of what follows a member that has ended

    def push(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._stream.eof:
                data = self._after + data
                self._after = data[:2]
                if not data.startswith(_GZIP_MAGIC):
                    return  # more to come, or junk after the last member: ignored, as browsers do
                self._stream = isal_zlib.decompressobj(31)
                self._after = b""
            yield from _inflate(self._stream, data)
            if not self._stream.eof:
                return
            data = self._stream.unused_data

    def complete(self) -> bool:
        return bool(self._stream.eof)


class _Deflate:
    def __init__(self) -> None:
        self._stream: isal_zlib.Decompress | None = None
        self._held = b""

    def push(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            data = self._held + data
            if len(data) < 2:
                self._held = data
                return
            wrapped = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._stream = isal_zlib.decompressobj(15 if wrapped else -15)
        yield from _inflate(self._stream, data)

    def complete(self) -> bool:
        return self._stream is not None and bool(self._stream.eof)


def _inflate(stream: isal_zlib.Decompress, data: bytes) -> Iterator[bytes]:
    while not stream.eof:
        piece = stream.decompress(data, _PIECE)
        if piece:
            yield piece
        data = stream.unconsumed_tail
        # A full piece may have left output behind that needs no further input.
        if not data and len(piece) < _PIECE:
            return


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def push(self, data: bytes) -> Iterator[bytes]:
        piece = self._stream.process(data, output_buffer_limit=_PIECE)
        # Output can be left behind even when more input is accepted.
        while piece:
            yield piece
            if self._stream.is_finished():
                return
            piece = self._stream.process(b"", output_buffer_limit=_PIECE)

    def complete(self) -> bool:
        return bool(self._stream.is_finished())


class _Zstd:
    def __init__(self) -> None:
        self._stream = self._fresh()

    @staticmethod
    def _fresh() -> zstd.ZstdDecompressor:
        return zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
        )

    def push(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._stream.eof:
                if not data:
                    return
                self._stream = self._fresh()  # frames may follow each other
            piece = self._stream.decompress(data, max_length=_PIECE)
            if piece:
                yield piece
            if self._stream.eof:
                data = self._stream.unused_data
            elif self._stream.needs_input:
                return
            else:
                data = b""

    def complete(self) -> bool:
        return self._stream.eof


_CODINGS: Final[dict[str, Callable[[], Coding]]] = {
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _Zstd,
}
# isal's stubs declare its exception class as an instance, and brotli has none.
_ERRORS: Final = cast("tuple[type[Exception], ...]", (IsalError, brotli.error, zstd.ZstdError))


class Decoder:
    """Collects a body whose codings are given by ``Content-Encoding``.

    :param encoding: the header's value ("" when absent); raises ``FetchError("bad-encoding")``
        when it names a coding that cannot be undone, or too many
    :param max_decoded: bytes of payload above which a coded body is a bomb
    :param max_ratio: payload bytes per coded byte above which it is one, once past a megabyte
    """

    def __init__(self, encoding: str, *, max_decoded: int, max_ratio: float) -> None:
        # The last named was applied last (RFC 9110 8.4), so it is undone first.
        self._codings = _parse(encoding)[::-1] if encoding else []
        self._max_decoded = max_decoded
        self._max_ratio = max_ratio
        self._pieces: list[bytes] = []
        self._taken = 0  # coded bytes
        self._size = 0  # payload bytes

    def feed(self, data: bytes) -> None:
        """Take bytes of the body.

        Raises ``FetchError`` with reason ``bomb`` or ``bad-encoding``.
        """
        self._taken += len(data)
        if not self._codings:
            self._pieces.append(data)
            return
        try:
            self._push(data, 0)
        except _ERRORS as error:
            raise FetchError("bad-encoding", f"the body does not decode: {error}") from error

    def payload(self) -> bytes:
        """The payload so far."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def beginning(self, most: int) -> bytes:
        """The first ``most`` bytes of the payload so far, without joining all of it."""
        out, left = [], most
        for piece in self._pieces:
            out.append(piece[:left])
            left -= len(out[-1])
        return b"".join(out)

    def complete(self) -> bool:
        """Whether no coding waits for more; an empty body is complete."""
        return not self._taken or all(coding.complete() for coding in self._codings)

    def _push(self, data: bytes, index: int) -> None:
        if index == len(self._codings):
            self._take(data)
            return
        for piece in self._codings[index].push(data):
            self._push(piece, index + 1)

    def _take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._max_decoded:
            raise FetchError("bomb", f"decodes to more than {self._max_decoded} bytes")
        if self._size > _RATIO_FREE and self._size > self._taken * self._max_ratio:
            raise FetchError("bomb", f"decodes to more than {self._max_ratio:g} times its size")
        self._pieces.append(piece)


def _parse(encoding: str) -> list[Coding]:
    names = [name.strip().lower() for name in encoding.split(",")]
    for name in names:
        if name in _UNSUPPORTED:
            raise FetchError("bad-encoding", f"content coding {name!r} was not offered")
    makers = [_CODINGS[name] for name in names if name in _CODINGS]
    if len(makers) > _MAX_CODINGS:
        raise FetchError("bad-encoding", f"{len(makers)} content codings on top of each other")
    return [make() for make in makers]
