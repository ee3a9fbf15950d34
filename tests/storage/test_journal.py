"""What is left of a dead writer's segment, and how one tells that it is dead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from storage import journal
from storage.blob import StorageError
from storage.segment import LeftSegment, PageRecord, SegmentWriter, discard_left
from tests.storage.samples import LAYOUT, failure, page, writer

WRITER = """
import sys, time
from pathlib import Path
from tests.storage.samples import failure, page, writer
segment = writer(Path(sys.argv[1]))
for n in range(5):
    segment.append(page(n))
segment.append(failure(5))
if len(sys.argv) > 2:
    segment.seal({str(n) for n in range(6)})
print(segment.segment, flush=True)
time.sleep(600)
"""


def left_by_a_killed_writer(directory: Path, *, sealed: bool = False) -> Path:
    """The journal of a process that was killed with six rows in its segment."""
    command = [sys.executable, "-c", WRITER, str(directory), *(["sealed"] if sealed else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        path = directory / f"{name}{journal.SUFFIX}"
        assert journal.claim(path) is None  # it lives
        process.kill()
    return path


def adopt(path: Path) -> LeftSegment:
    rows = journal.claim(path)
    assert rows is not None
    return LeftSegment(rows, LAYOUT)


def dead(segment: SegmentWriter) -> Path:
    """The journal of a segment whose writer's files were closed as the kernel closes them."""
    for file in (segment._rows, segment._warc):
        assert file is not None
        file.close()
    return segment._directory / f"{segment.segment}{journal.SUFFIX}"


def urls(left: LeftSegment) -> list[str]:
    done = left.seal({str(n) for n in range(100)})
    found = [row["url"] for f in done.files for row in pq.read_table(f).to_pylist()]
    assert done.manifest.rows == len(found)
    return [url.rsplit("/", 1)[1] for url in sorted(found) if "gone" not in url]


@pytest.mark.parametrize("sealed", [False, True])
def test_a_killed_writers_segment_is_finished(tmp_path: Path, sealed: bool) -> None:
    path = left_by_a_killed_writer(tmp_path, sealed=sealed)
    assert journal.left_in(tmp_path) == [path]
    left = adopt(path)
    assert (left.count, sorted(left.partitions)) == (6, [0, 1, 2])
    assert journal.claim(path) is None  # it is ours
    done = left.seal({str(n) for n in range(6)})
    assert done.manifest.rows == 6
    assert done.manifest.worker == "w1"
    done.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 30, 400])
def test_a_torn_last_row_is_cut_off(tmp_path: Path, cut: int) -> None:
    segment = writer(tmp_path)
    for number in range(4):
        segment.append(page(number))
    path = dead(segment)
    whole = path.stat().st_size
    os.truncate(path, whole - cut)
    left = adopt(path)
    assert left.count == 3
    assert urls(left) == ["0", "1", "2"]


def test_rows_whose_record_is_damaged_are_cut_off(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    ends = []
    for number in range(4):
        segment.append(page(number))
        ends.append(segment.size)
    path = dead(segment)
    warc = tmp_path / f"{segment.segment}.warc.gz"
    data = bytearray(warc.read_bytes())
    data[ends[1] + 60] ^= 0xFF  # in the record of page 2
    warc.write_bytes(data)
    left = adopt(path)
    assert left.count == 2
    assert warc.stat().st_size == ends[1]
    assert "2" not in left.fps


def test_a_record_without_a_row_is_cut_off(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    segment.append(page(1))
    size = segment.size
    path = dead(segment)
    with (tmp_path / f"{segment.segment}.warc.gz").open("ab") as warc:
        warc.write(b"\x1f\x8b half a record")
    left = adopt(path)
    assert left.count == 1
    assert (tmp_path / f"{segment.segment}.warc.gz").stat().st_size == size


@pytest.mark.parametrize("damage", ["journal", "warc", "gone", "empty", "head"])
def test_what_is_damaged_from_its_beginning(tmp_path: Path, damage: str) -> None:
    segment = writer(tmp_path)
    segment.append(page(1))
    path = dead(segment)
    warc = tmp_path / f"{segment.segment}.warc.gz"
    match damage:
        case "journal":
            path.write_bytes(b"\0" * 300)
        case "warc":
            warc.write_bytes(b"\0" * 300)
        case "gone":
            warc.unlink()
        case "empty":
            path.write_bytes(b"")
        case "head":
            path.write_bytes(b"[1, 2]\n")
    rows = journal.claim(path)
    assert rows is not None
    with pytest.raises(StorageError) as caught:
        LeftSegment(rows, LAYOUT)
    assert "\n" not in str(caught.value)
    discard_left(rows)
    assert list(tmp_path.iterdir()) == []


def test_outlinks_are_read_back(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    for number in range(4):
        raw = page(number)
        links = [[f"http://a.example/{number}/{k}", 1] for k in range(number)]
        segment.append(PageRecord(raw.row, raw.fp, raw.partition, raw.exchange, links))
    segment.append(failure(9))
    left = adopt(dead(segment))
    assert [link for batch in left.outlinks(2) for link in batch] == [
        [f"http://a.example/{n}/{k}", 1] for n in range(4) for k in range(n)
    ]
    done = left.seal({"1"}, acknowledged=False)
    assert done.manifest.outlinks is not None
    assert done.manifest.outlinks.count == 6  # those of pages that are not kept, too
    assert not done.manifest.outlinks.acknowledged


def test_a_journal_that_goes_while_it_is_claimed(tmp_path: Path) -> None:
    assert journal.claim(tmp_path / f"x{journal.SUFFIX}") is None
