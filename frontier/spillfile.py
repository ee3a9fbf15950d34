"""The file of a spill segment: queue entries of many hosts, read back a few hundred at a time.

    header   magic "CSPL", version u8, length u32 of the index, crc32 u32 of all before it and of
             the index; big-endian
    index    zstd(msgpack([groups, blocks])): groups [class, host, entries], sorted; blocks
             [bytes, entries, crc32], in order
    blocks   zstd(msgpack([entry, ...])), one after another to the end of the file

Entries are numbered through the file, group after group; a block ends at an entry, not at a group,
so small groups share one. The index comes first: one ranged read from 0 gets it, and what follows
it gives the ranges of the blocks.

Invariant kept: what is read is what was written, in its order, or SpillDamaged is raised. A file is
never changed; a program that writes another version reads this one too.
"""

from __future__ import annotations

import struct
import sys
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

import msgspec

from frontier.model import FrontierError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC: Final = b"CSPL"
VERSION: Final = 1
BLOCK: Final = 64 * 1024  # bytes of entries after which a block ends: 61 B/URL; 16 KB take 66
LEVEL: Final = 3
_HEAD: Final = struct.Struct(">4sBI")
_CRC: Final = struct.Struct(">I")
_START: Final = _HEAD.size + _CRC.size  # of the index

_Index = tuple[list[tuple[int, str, int]], list[tuple[int, int, int]]]
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_index: Final = msgspec.msgpack.Decoder(_Index).decode
_decode_block: Final = msgspec.msgpack.Decoder(list[bytes]).decode


class SpillDamaged(FrontierError):
    """A spill segment is not what was written: its message says how, without the name."""


def write(groups: Mapping[tuple[int, str], Sequence[bytes]]) -> bytes:
    """The file of these entries by (class, host); each group's come back in the order given."""
    order = sorted(groups)
    blocks = [
        (zstd.compress(_encode(run), LEVEL), len(run))
        for run in _runs(each for group in order for each in groups[group])
    ]
    index = _compress_index(
        [(cls, host, len(groups[cls, host])) for cls, host in order],
        [(len(data), entries, zlib.crc32(data)) for data, entries in blocks],
    )
    head = _HEAD.pack(MAGIC, VERSION, len(index))
    crc = _CRC.pack(zlib.crc32(index, zlib.crc32(head)))
    return b"".join((head, crc, index, *(data for data, _ in blocks)))


def _compress_index(
    groups: list[tuple[int, str, int]], blocks: list[tuple[int, int, int]]
) -> bytes:
    return zstd.compress(_encode((groups, blocks)), LEVEL)


def _runs(entries: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Consecutive entries, a block's worth at a time."""
    run: list[bytes] = []
    size = 0
    for entry in entries:
        run.append(entry)
        size += len(entry)
        if size >= BLOCK:
            yield run
            run, size = [], 0
    if run:
        yield run


class SpillSegment:
    """A parsed file. It keeps the file as it is and unpacks a block when it is read."""

    __slots__ = ("_blocks", "_data", "_first", "_groups", "_offset")

    def __init__(self, data: bytes, start: int, index: _Index) -> None:
        groups, self._blocks = index
        self._data = data
        ends = accumulate(entries for _, _, entries in groups)
        self._groups = {
            (cls, host): (end - entries, entries)
            for (cls, host, entries), end in zip(groups, ends, strict=True)
        }
        # where each block starts: number of its first entry, offset in the file
        self._first = list(accumulate((entries for _, entries, _ in self._blocks), initial=0))
        self._offset = list(accumulate((size for size, _, _ in self._blocks), initial=start))

    @classmethod
    def parse(cls, data: bytes) -> SpillSegment:
        """Check a whole file but for the contents of its blocks. Raises SpillDamaged."""
        if len(data) < _START:
            raise SpillDamaged(f"it has {len(data)} bytes, less than a header")
        magic, version, length = _HEAD.unpack_from(data)
        if magic != MAGIC:
            raise SpillDamaged("it is not a spill segment")
        if version != VERSION:
            raise SpillDamaged(f"it has version {version}; this program reads {VERSION}")
        start = _START + length
        index = data[_START:start]
        (crc,) = _CRC.unpack_from(data, _HEAD.size)
        if len(index) < length or zlib.crc32(index, zlib.crc32(data[: _HEAD.size])) != crc:
            raise SpillDamaged("its index does not match its checksum")
        segment = cls(data, start, _unpack_index(index))
        if len(data) != segment._offset[-1]:
            raise SpillDamaged(f"it has {len(data)} bytes, not {segment._offset[-1]}")
        return segment

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about."""
        return len(self._data) + 256 * (len(self._groups) + len(self._blocks))

    def count(self, cls: int, host: str) -> int:
        """How many entries of a class and host were written; 0 for none."""
        return self._groups.get((cls, host), (0, 0))[1]

    def groups(self) -> list[tuple[int, str, int]]:
        """(class, host, entries) of all that was written."""
        return [(cls, host, entries) for (cls, host), (_, entries) in self._groups.items()]

    def read(self, cls: int, host: str, first: int, most: int) -> list[bytes]:
        """``most`` entries of a class and host, from number ``first`` of them on.

        Raises SpillDamaged: it has fewer, or their blocks do not match their checksums.
        """
        start, entries = self._groups.get((cls, host), (0, 0))
        if first < 0 or first + most > entries:
            raise SpillDamaged(
                f"it has {entries} URLs of {host} in class {cls}, not {first + most}"
            )
        out: list[bytes] = []
        at, end = start + first, start + first + most
        while at < end:
            i = bisect_right(self._first, at) - 1
            skip = at - self._first[i]
            out += self._block(i)[skip : skip + end - at]
            at = self._first[i + 1]
        return out

    def _block(self, i: int) -> list[bytes]:
        data = self._data[self._offset[i] : self._offset[i + 1]]
        if zlib.crc32(data) != self._blocks[i][2]:
            raise SpillDamaged(f"block {i} does not match its checksum")
        try:
            entries = _decode_block(zstd.decompress(data))
        except (zstd.ZstdError, msgspec.DecodeError) as error:
            raise SpillDamaged(f"block {i} cannot be unpacked: {error}") from error
        if len(entries) != self._blocks[i][1]:
            raise SpillDamaged(f"block {i} has {len(entries)} entries, not {self._blocks[i][1]}")
        return entries


def _unpack_index(data: bytes) -> _Index:
    """The index; SpillDamaged where it contradicts itself, which only a defect of ours does."""
    try:
        groups, blocks = _decode_index(zstd.decompress(data))
    except (zstd.ZstdError, msgspec.DecodeError) as error:
        raise SpillDamaged(f"its index cannot be unpacked: {error}") from error
    if sum(entries for _, _, entries in groups) != sum(entries for _, entries, _ in blocks):
        raise SpillDamaged("its groups and blocks do not add up")
    return groups, blocks
