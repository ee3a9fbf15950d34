"""A frontier as one file, for moving it to another server: every key, by type and value.

    file     magic "CFRD", version u8, then one zstd frame of blocks
    block    length u32, crc32 u32 of it and all blocks before, msgpack of one Head, Pieces or Tail;
             big-endian

The first block is the head, the last the tail; a piece is a key or a part of one, so that memory
is bounded on both sides. Values travel as they are read and written, not in a server's own format,
so that any server takes what any other had, single or cluster. The fields of ``{g}:meta`` are in
the head and are written last: what an interrupted import leaves is refused by everyone.
"""

from __future__ import annotations

import struct
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal

import msgspec

from frontier import keys
from frontier.client import Frontier
from frontier.driver import Driver, redact
from frontier.model import FrontierError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC: Final = b"CFRD"
VERSION: Final = 1
PIECE: Final = 500  # items of a large key that are read at a time
TOGETHER: Final = 1_000  # items of small keys that are read at a time
LONGEST: Final = 1 << 30  # bytes of a block; far above what PIECE items take
_START: Final = struct.Struct(">4sB")
_BLOCK: Final = struct.Struct(">II")

Kind = Literal["string", "list", "set", "hash", "zset"]
Progress = Callable[[int], None]  # told how many keys are done


class Piece(msgspec.Struct, array_like=True, frozen=True):
    """A key, or the part of one that begins at item ``at``."""

    key: bytes
    kind: Kind
    expires: int  # unix ms; 0: never
    at: int  # items of the key that came before; 0 begins it anew
    items: list[bytes]  # hash: field, value ...; zset: member, score ...


class Head(msgspec.Struct, tag="head", frozen=True):
    """What a file begins with."""

    meta: dict[str, bytes]  # the fields of {g}:meta: schema, partitions, secret
    created: float  # unix seconds


class Pieces(msgspec.Struct, tag="pieces", frozen=True):
    """Some keys."""

    pieces: list[Piece]


class Tail(msgspec.Struct, tag="tail", frozen=True):
    """What a file ends with."""

    keys: int
    items: int


@dataclass(frozen=True, slots=True)
class Moved:
    """What a file holds."""

    keys: int
    items: int  # elements of lists, sets, sorted sets and hashes, and strings
    partitions: int
    created: float  # unix seconds


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Head | Pieces | Tail).decode
_READ: Final[dict[Kind, tuple[Any, ...]]] = {  # small keys, whole
    "string": ("GET",),
    "list": ("LRANGE", 0, -1),
    "set": ("SMEMBERS",),
    "hash": ("HGETALL",),
    "zset": ("ZRANGE", 0, -1, "WITHSCORES"),
}
_SIZE: Final = {
    "string": "STRLEN",
    "list": "LLEN",
    "set": "SCARD",
    "hash": "HLEN",
    "zset": "ZCARD",
}
_SCAN: Final = {"set": "SSCAN", "hash": "HSCAN", "zset": "ZSCAN"}
_WRITE: Final = {"string": "SET", "list": "RPUSH", "set": "SADD", "hash": "HSET", "zset": "ZADD"}
_WIDTH: Final = {"hash": 2, "zset": 2}  # strings per item


# -- out


async def export(frontier: Frontier, sink: BinaryIO, on_progress: Progress | None = None) -> Moved:
    """Write a frontier that nobody uses to ``sink``.

    Raises FrontierError: it is in use, or was used meanwhile; OSError of the sink.
    """
    driver = frontier.driver
    await _refuse_if_used(frontier)
    before = await _marks(frontier)
    meta = {k.decode(): v for k, v in (await driver.command("HGETALL", keys.META)).items()}
    writer = _Writer(sink)
    writer.block(Head(meta, time.time()))
    count = items = told = 0
    async for pieces in _pieces(driver):
        writer.block(Pieces(pieces))
        count += sum(not piece.at for piece in pieces)
        items += sum(_length(piece) for piece in pieces)
        if on_progress and count - told >= 10_000:
            told = count
            on_progress(count)
    await _refuse_if_used(frontier)
    if await _marks(frontier) != before:
        raise FrontierError(
            f"the frontier at {redact(driver.url)} was used while it was exported: "
            "stop all crawls and workers, then export again"
        )
    writer.end(count, items)
    return Moved(count, items, frontier.partitions, time.time())


async def _refuse_if_used(frontier: Frontier) -> None:
    where, registry, driver = redact(frontier.driver.url), frontier.registry, frontier.driver
    living = sorted(await registry.living())
    if living:
        raise FrontierError(
            f"the frontier at {where} is in use: {len(living)} workers live ({living[0]} ...): "
            "stop all crawls and workers first"
        )
    for job in await registry.jobs():
        if await driver.command("EXISTS", keys.lock(f"parent:{job.name}")):
            raise FrontierError(
                f"the frontier at {where} is in use: a crawl of job {job.name} is running: "
                "stop it first, or wait some seconds if it was killed"
            )
    tags = [keys.tag(p) for p in range(frontier.partitions)]
    leased = sum(await driver.commands([("ZCARD", f"{tag}:l") for tag in tags]))
    if leased:
        raise FrontierError(
            f"the frontier at {where} has {leased} hosts leased by workers that died: "
            "resume its crawls or start a worker, stop them in order, then export"
        )


async def _marks(frontier: Frontier) -> list[Any]:
    """What no change of a URL's place leaves as it was."""
    jobs = [record.name for record in await frontier.registry.jobs()]
    parts = range(frontier.partitions)
    calls: list[tuple[Any, ...]] = [("HGET", keys.home(p), "tok") for p in parts]
    calls += [("HGETALL", keys.counters(p, job)) for p in parts for job in jobs]
    calls += [("HGETALL", keys.job(job)) for job in jobs]
    return await frontier.driver.commands(calls)


async def _pieces(driver: Driver) -> AsyncIterator[list[Piece]]:
    """All keys but ``{g}:meta``, some at a time; one that grows or moves may come twice."""
    names: list[bytes] = []
    async for name in driver.scan("*"):
        if name != keys.META.encode():
            names.append(name)
        if len(names) >= PIECE:
            async for found in _of(driver, names):
                yield found
            names = []
    async for found in _of(driver, names):
        yield found


async def _of(driver: Driver, names: Sequence[bytes]) -> AsyncIterator[list[Piece]]:
    there: list[tuple[bytes, Kind]] = []
    types = await driver.commands([("TYPE", name) for name in names])
    for name, kind in zip(names, (found.decode() for found in types), strict=True):
        if kind in _READ:
            there.append((name, kind))
        elif kind != "none":  # which has expired
            raise FrontierError(f"the key {name!r} is a {kind}: that is not Comity's")
    sizes = await driver.commands([(_SIZE[kind], name) for name, kind in there])
    ends = await driver.commands([("PEXPIRETIME", name) for name, _ in there])
    group: list[tuple[bytes, Kind, int]] = []
    room = TOGETHER
    for (name, kind), size, end in zip(there, sizes, ends, strict=True):
        weight = 1 + size // 1000 if kind == "string" else size
        if weight > PIECE and kind != "string":
            async for piece in _large(driver, name, kind, max(0, end)):
                yield [piece]
            continue
        if weight > room and group:
            yield await _small(driver, group)
            group, room = [], TOGETHER
        group.append((name, kind, max(0, end)))
        room -= weight
    if group:
        yield await _small(driver, group)


async def _small(driver: Driver, group: Sequence[tuple[bytes, Kind, int]]) -> list[Piece]:
    calls = [(_READ[kind][0], name, *_READ[kind][1:]) for name, kind, _ in group]
    values = await driver.commands(calls)
    return [
        Piece(name, kind, end, 0, _items(value))
        for (name, kind, end), value in zip(group, values, strict=True)
        if value not in (None, [], {}, set())  # it expired since
    ]


async def _large(driver: Driver, name: bytes, kind: Kind, end: int) -> AsyncIterator[Piece]:
    at, cursor = 0, 0
    while True:
        if kind == "list":
            items = await driver.command("LRANGE", name, at, at + PIECE - 1)
            cursor = int(len(items) == PIECE)
        else:
            cursor, found = await driver.command(_SCAN[kind], name, cursor, "COUNT", PIECE)
            items = _items(found)
        if items:
            yield Piece(name, kind, end, at, items)
            at += len(items)
        if not cursor:
            return


def _items(value: Any) -> list[bytes]:
    """What redis-py makes of a reply, as a flat list of strings."""
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, dict):
        return [x for pair in value.items() for x in pair]
    if value and isinstance(value, list) and isinstance(value[0], (list, tuple)):
        return [x for member, score in value for x in (member, repr(score).encode())]
    return list(value)


def _length(piece: Piece) -> int:
    return len(piece.items) // _WIDTH.get(piece.kind, 1)


class _Writer:
    def __init__(self, sink: BinaryIO) -> None:
        sink.write(_START.pack(MAGIC, VERSION))
        self._file = zstd.ZstdFile(sink, "wb")
        self._crc = 0

    def block(self, what: Head | Pieces | Tail) -> None:
        data = _encode(what)
        self._crc = zlib.crc32(data, self._crc)
        self._file.write(_BLOCK.pack(len(data), self._crc))
        self._file.write(data)

    def end(self, count: int, items: int) -> None:
        self.block(Tail(count, items))
        self._file.close()


# -- in


async def load(driver: Driver, source: BinaryIO, on_progress: Progress | None = None) -> Moved:
    """Fill an empty database from ``source``.

    Raises FrontierError: not empty, not an export, of another schema or a later version, damaged.
    Before the first write all that the head can tell has been checked.
    """
    where = redact(driver.url)
    blocks = _read(source)
    head = next(blocks, None)
    if not isinstance(head, Head):
        raise _damaged("it has no head")
    if head.meta.get("schema") != keys.SCHEMA.encode():
        found = head.meta.get("schema", b"none").decode("utf-8", "replace")
        raise FrontierError(f"the export is of a frontier of schema {found}, not {keys.SCHEMA}")
    if await driver.command("DBSIZE"):
        raise FrontierError(f"the database at {where} is not empty: import into an empty one")
    await driver.command("HSET", keys.META, "unfinished", "import")
    count = items = told = 0
    for block in blocks:
        if isinstance(block, Pieces):
            await _put(driver, block.pieces)
            count += sum(not piece.at for piece in block.pieces)
            items += sum(_length(piece) for piece in block.pieces)
            if on_progress and count - told >= 10_000:
                told = count
                on_progress(count)
        elif isinstance(block, Tail) and (block.keys, block.items) != (count, items):
            raise _damaged(f"it has {count} keys and {items} items, not as many as it says")
    partitions = int(head.meta["partitions"])
    # Nothing was leased, so the change of server is no reason to wait for leases to end.
    await driver.commands([("HDEL", keys.home(p), "run") for p in range(partitions)])
    meta = [x for field, value in head.meta.items() for x in (field, value)]
    await driver.command("HSET", keys.META, *meta)
    await driver.command("HDEL", keys.META, "unfinished")
    return Moved(count, items, partitions, head.created)


async def _put(driver: Driver, pieces: Sequence[Piece]) -> None:
    calls: list[tuple[Any, ...]] = []
    lengths: dict[int, int] = {}  # index of a call -> length of the list after it
    for piece in pieces:
        if not piece.at:
            calls.append(("DEL", piece.key))  # it may come twice
        if piece.kind == "list":
            lengths[len(calls)] = piece.at + len(piece.items)
        items = piece.items
        if piece.kind == "zset":
            items = [x for i in range(0, len(items), 2) for x in (items[i + 1], items[i])]
        calls.append((_WRITE[piece.kind], piece.key, *items))
        if piece.expires:
            calls.append(("PEXPIREAT", piece.key, piece.expires))
    replies = await driver.commands(calls)
    for i, length in lengths.items():
        if replies[i] != length:  # sent again after a lost connection
            raise FrontierError(
                f"the connection to {redact(driver.url)} was lost: empty the database, import again"
            )


def _read(source: BinaryIO) -> Iterator[Head | Pieces | Tail]:
    """The blocks of a file, checked to the end. Raises FrontierError."""
    start = source.read(_START.size)
    if len(start) < _START.size or not start.startswith(MAGIC):
        raise FrontierError("this is not an export of a frontier")
    version = start[-1]
    if version != VERSION:
        raise FrontierError(
            f"the export has version {version}; this program reads {VERSION}: use a newer comity"
        )
    crc, block = 0, None
    try:
        with zstd.ZstdFile(source, "rb") as file:
            while start := file.read(_BLOCK.size):
                size, expected = _BLOCK.unpack(start)
                data = file.read(min(size, LONGEST))
                crc = zlib.crc32(data, crc)
                if crc != expected or isinstance(block, Tail):
                    raise _damaged("its checksum does not match")
                block = _decode(data)
                yield block
    except (zstd.ZstdError, EOFError, msgspec.DecodeError, struct.error) as error:
        raise _damaged(str(error)) from error
    if not isinstance(block, Tail):
        raise _damaged("it ends early")


def _damaged(why: str) -> FrontierError:
    return FrontierError(
        f"the export is damaged: {why}; a database that it was being imported into must be emptied"
    )
