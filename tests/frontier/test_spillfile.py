"""A spill file gives back what was written, or says that it is damaged."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontier import spillfile
from frontier.model import FrontierError
from frontier.spillfile import SpillDamaged, SpillSegment, write

Groups = dict[tuple[int, str], list[bytes]]

KEYS = st.tuples(st.integers(0, 3), st.text(min_size=1, max_size=12))
# Some entries fill a block by themselves.
ENTRIES = st.lists(
    st.one_of(st.binary(max_size=40), st.builds(lambda b: b * 20_000, st.binary(max_size=8))),
    max_size=12,
)
GROUPS = st.dictionaries(KEYS, ENTRIES, max_size=8)
SMALL = st.dictionaries(
    KEYS, st.lists(st.binary(max_size=12), min_size=1, max_size=6), min_size=1, max_size=4
)


def read_all(data: bytes, groups: Groups) -> Groups:
    segment = SpillSegment.parse(data)
    return {key: segment.read(*key, 0, segment.count(*key)) for key in groups}


def entry(i: int) -> bytes:
    return f"0\t0\t{i * 7919}\t2\t\t3\t0\t1\tps\thttp://a.test/\t/page/{i}".encode()


@given(GROUPS)
def test_what_was_written_is_read(groups: Groups) -> None:
    assert read_all(write(groups), groups) == groups


@given(GROUPS, st.data())
def test_any_part_of_a_group_is_read(groups: Groups, data: st.DataObject) -> None:
    segment = SpillSegment.parse(write(groups))
    for key, entries in groups.items():
        first = data.draw(st.integers(0, len(entries)))
        most = data.draw(st.integers(0, len(entries) - first))
        assert segment.read(*key, first, most) == entries[first : first + most]


def test_the_same_groups_make_the_same_file() -> None:
    one = {(2, "b.test"): [b"1"], (0, "c.test"): [b"2"], (2, "a.test"): [b"3"]}
    assert write(one) == write(dict(reversed(one.items())))


@pytest.mark.parametrize("hosts", [1, 700])
def test_a_part_of_a_group_needs_few_blocks(hosts: int) -> None:
    each = 14_000 // hosts
    groups: Groups = {(2, f"h{h}.test"): [entry(i) for i in range(each)] for h in range(hosts)}
    data = write(groups)
    offsets = SpillSegment.parse(data)._offset
    assert len(offsets) > 10
    n = min(300, each)
    needed = 0
    for at in offsets[:-1]:
        broken = bytearray(data)
        broken[at] ^= 1
        segment = SpillSegment.parse(bytes(broken))
        try:
            found = segment.read(2, f"h{hosts // 2}.test", each - n, n)
        except SpillDamaged:
            needed += 1
        else:
            assert found == [entry(i) for i in range(each - n, each)]
    assert 1 <= needed <= 2


@settings(max_examples=50)
@given(SMALL, st.integers(1, 255))
def test_a_changed_byte_anywhere_is_found(groups: Groups, flip: int) -> None:
    data = write(groups)
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= flip
        with pytest.raises(SpillDamaged):
            read_all(bytes(broken), groups)


@settings(max_examples=50)
@given(SMALL)
def test_a_truncated_file_is_found(groups: Groups) -> None:
    data = write(groups)
    for length in range(len(data)):
        with pytest.raises(SpillDamaged):
            SpillSegment.parse(data[:length])


def test_a_changed_byte_in_one_block_leaves_the_others_readable() -> None:
    groups: Groups = {(2, h): [entry(i) for i in range(3000)] for h in ("a.test", "b.test")}
    data = bytearray(write(groups))
    data[-100] ^= 1
    segment = SpillSegment.parse(bytes(data))
    assert segment.read(2, "a.test", 0, 3000) == groups[2, "a.test"]
    with pytest.raises(SpillDamaged, match=r"block \d+ does not match its checksum"):
        segment.read(2, "b.test", 0, 3000)


def other_version(data: bytes, version: int) -> bytes:
    head = struct.pack(">4sBI", b"CSPL", version, int.from_bytes(data[5:9], "big"))
    index = data[13 : 13 + int.from_bytes(data[5:9], "big")]
    return head + struct.pack(">I", zlib.crc32(head + index)) + data[13:]


DATA = write({(2, "a.test"): [b"1", b"2"]})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes, less than a header"),
        (DATA[:12], "12 bytes, less than a header"),
        (b"PAR1" + DATA[4:], "not a spill segment"),
        (other_version(DATA, 2), "version 2; this program reads 1"),
        (DATA[:20], "index does not match its checksum"),
        (DATA[:-1], f"{len(DATA) - 1} bytes, not {len(DATA)}"),
        (DATA + b"\0", f"{len(DATA) + 1} bytes, not {len(DATA)}"),
    ],
)
def test_each_damage_is_named_in_one_line(data: bytes, message: str) -> None:
    assert other_version(DATA, 1) == DATA
    with pytest.raises(SpillDamaged, match=message) as raised:
        SpillSegment.parse(data)
    assert isinstance(raised.value, FrontierError)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("cls", "host", "first", "most", "has"),
    [
        (2, "b.test", 0, 1, 0),
        (1, "a.test", 0, 1, 0),
        (2, "a.test", 0, 3, 2),
        (2, "a.test", 2, 1, 2),
        (2, "a.test", -1, 1, 2),
    ],
)
def test_entries_that_a_file_lacks_are_not_read(
    cls: int, host: str, first: int, most: int, has: int
) -> None:
    segment = SpillSegment.parse(DATA)
    assert segment.count(cls, host) == has
    with pytest.raises(SpillDamaged, match=f"it has {has} URLs of {host} in class {cls}"):
        segment.read(cls, host, first, most)


def forged(groups: list[tuple[int, str, int]], blocks: list[tuple[int, bytes]]) -> bytes:
    """A file with the right checksums around whatever contents."""
    index = spillfile._compress_index(groups, [(len(d), n, zlib.crc32(d)) for n, d in blocks])
    head = struct.pack(">4sBI", b"CSPL", 1, len(index))
    crc = struct.pack(">I", zlib.crc32(head + index))
    return head + crc + index + b"".join(d for _, d in blocks)


@pytest.mark.parametrize(
    ("groups", "blocks", "message"),
    [
        ([(2, "a", 2)], [(1, b"x")], "do not add up"),
        ([(2, "a", 1)], [(1, b"not zstd")], "block 0 cannot be unpacked"),
        ([(2, "a", 1)], [(1, spillfile.zstd.compress(b"\xc1"))], "block 0 cannot be unpacked"),
        ([(2, "a", 2)], [(2, spillfile.zstd.compress(b"\x91\xc4\x01x"))], "1 entries, not 2"),
        ([(2, b"\xff", 1)], [(1, b"x")], "index cannot be unpacked"),
    ],
)
def test_a_file_that_contradicts_itself_is_damaged(
    groups: list[tuple[int, str, int]], blocks: list[tuple[int, bytes]], message: str
) -> None:
    with pytest.raises(SpillDamaged, match=message):
        SpillSegment.parse(forged(groups, blocks)).read(2, "a", 0, 1)
