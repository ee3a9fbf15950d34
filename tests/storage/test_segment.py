from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from warcio.archiveiterator import ArchiveIterator

from storage import warc
from storage.blob import BlobStore, StorageError, StorageFull
from storage.segment import Manifest, PageRecord, SegmentWriter, stage
from storage.table import FILE_SCHEMA
from tests.storage.samples import (
    LAYOUT,
    exchange,
    failure,
    file_size_limit,
    page,
    sealed,
    writer,
)

MIDNIGHT = 1_795_046_400.0  # 2026-11-19T00:00:00Z


def fill(segment: SegmentWriter, payload_size: int) -> None:
    """Append pages until something gives."""
    for number in range(10_000):
        segment.append(page(number, os.urandom(payload_size)))


def records_of(path: Path) -> list[str]:
    with path.open("rb") as file:
        found = []
        for record in ArchiveIterator(file, check_digests="raise"):
            record.content_stream().read()
            found.append(record.rec_type)
        return found


def test_rows_point_at_their_records(tmp_path: Path) -> None:
    segment = sealed(tmp_path)
    (path,) = segment.files
    rows = pq.read_table(path, schema=FILE_SCHEMA).to_pylist()
    data = segment.warc.read_bytes()
    assert len(rows) == segment.manifest.rows == 10
    for row in rows:
        start = row["warc_record_offset"]
        record = warc.read(data[start : start + row["warc_record_length"]])
        assert (record.url, record.digest) == (row["url"], row["content_digest"])
        assert row["warc_filename"] == segment.manifest.warc_key
        assert (row["worker"], row["segment"]) == ("w1", segment.manifest.segment)
        assert row["minhash"] == bytes(range(16))
    assert records_of(segment.warc) == ["warcinfo"] + ["response", "request"] * 10


def test_a_visit_without_an_answer_is_a_row_without_a_record(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    before = segment.size
    segment.append(failure(1))
    assert (segment.count, segment.size) == (1, before)
    done = segment.seal({"1"})
    (row,) = pq.read_table(done.files[0]).to_pylist()
    assert row["reason"] == "dns-nxdomain"
    assert row["warc_filename"] is None
    assert row["fetch_status"] is None


def test_only_what_the_frontier_still_holds_is_sealed(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    for number in range(4):
        segment.append(page(number))
    robots = page(9, kind="robots")
    segment.append(PageRecord(robots.row, exchange=robots.exchange))
    done = segment.seal({"1", "3", "77"})
    rows = pq.read_table(done.files[0]).to_pylist()
    assert sorted(row["url"].rsplit("/", 1)[1] for row in rows) == ["1", "3", "9"]
    assert done.manifest.fps == {1: ["1"], 0: ["3"]}
    assert records_of(done.warc).count("response") == 5


def test_one_row_per_visit_the_last_one_counts(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    segment.append(page(1, b"refused by the frontier"))
    segment.append(page(1, b"held"))
    done = segment.seal({"1"})
    (row,) = pq.read_table(done.files[0]).to_pylist()
    assert row["content_digest"] == warc.digest(b"held")
    assert done.manifest.fps == {1: ["1"]}


def test_a_segment_across_midnight_has_a_file_per_day(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    segment.append(page(1, fetch_time=MIDNIGHT - 1))
    segment.append(page(2, fetch_time=MIDNIGHT))
    manifest = segment.seal({"1", "2"}).manifest
    assert [(file.day, file.rows) for file in manifest.files] == [
        ("2026-11-18", 1),
        ("2026-11-19", 1),
    ]
    assert manifest.files[0].path == f"fetch_date=2026-11-18/{manifest.segment}.parquet"


def test_an_empty_segment_seals_to_no_files(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    segment.append(page(1))
    done = segment.seal(())
    assert (done.files, done.manifest.rows, done.manifest.fps) == ((), 0, {})


def test_statistics_are_of_hosts_and_domains_only(tmp_path: Path) -> None:
    done = sealed(tmp_path)
    (file,) = done.manifest.files
    assert file.lowest == {
        "url_host_name": "h0.example",
        "url_host_registered_domain": "h0.example",
    }
    assert file.highest["url_host_name"] == "h4.example"
    group = pq.ParquetFile(done.files[0]).metadata.row_group(0)
    with_statistics = {
        group.column(n).path_in_schema
        for n in range(group.num_columns)
        if group.column(n).statistics is not None
    }
    assert with_statistics == {"url_host_name", "url_host_registered_domain"}


@pytest.mark.parametrize(
    "columns",
    [
        {"no_such_column": 1},
        {"warc_filename": "x"},
        {"fetch_status": "200"},
        {"fetch_status": 70_000},
        {"depth": True},
        {"title": b"bytes"},
        {"minhash": "text"},
        {"fetch_seconds": "fast"},
        {"fetch_time": float("nan")},
        {"fetch_time": 1e20},
        {"url": None},
        {"kind": None},
    ],
)
def test_a_row_that_does_not_fit_is_refused(tmp_path: Path, columns: dict[str, Any]) -> None:
    segment = writer(tmp_path)
    before = segment.size
    with pytest.raises(StorageError):
        segment.append(page(1, **columns))
    assert (segment.size, segment.count) == (before, 0)
    segment.append(page(2))
    assert segment.seal({"1", "2"}).manifest.rows == 1


def test_text_that_is_no_utf8_does_not_cost_the_page(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    segment.append(page(1, title="a\ud800b", text="\ud83d\ude00"))
    (row,) = pq.read_table(segment.seal({"1"}).files[0]).to_pylist()
    assert row["title"] == "a\ufffdb"
    assert row["text"] == "\N{GRINNING FACE}"


@pytest.mark.parametrize("payload_size", [50_000, 10])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, payload_size: int) -> None:
    """Whichever file runs into the limit (WARC for large payloads, journal for small ones)."""
    segment = writer(tmp_path)
    with file_size_limit(120_000):
        with pytest.raises(StorageFull, match="cannot write"):
            fill(segment, payload_size)
        kept, size = segment.count, segment.size
        with pytest.raises(StorageFull):
            segment.append(page(kept, os.urandom(200_000)))
    assert (segment.count, segment.size) == (kept, size)
    assert (tmp_path / f"{segment.segment}.warc.gz").stat().st_size == size
    segment.append(page(kept, b"after room was made"))
    done = segment.seal({str(n) for n in range(kept + 1)})
    assert done.manifest.rows == kept + 1
    assert records_of(done.warc).count("response") == kept + 1


def test_a_disk_full_while_sealing_can_be_sealed_again(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    for number in range(50):
        segment.append(page(number, text=os.urandom(1_000).hex()))
    with file_size_limit(20_000), pytest.raises(StorageFull):
        segment.seal({str(n) for n in range(50)})
    assert segment.seal({str(n) for n in range(50)}).manifest.rows == 50


def test_a_disk_full_at_opening_leaves_nothing(tmp_path: Path) -> None:
    with file_size_limit(10), pytest.raises(StorageFull):
        writer(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_really_full_file_system(tmp_path: Path) -> None:
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], check=False
    )
    if mount.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        segment = writer(tmp_path)
        with pytest.raises(StorageFull, match="No space left on device"):
            fill(segment, 9_000)
        written = records_of(tmp_path / f"{segment.segment}.warc.gz")
        assert written.count("response") == segment.count
        segment.discard()
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_sealed_segment_takes_no_more(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    segment.seal(())
    with pytest.raises(StorageError, match="is sealed"):
        segment.append(page(1))
    with pytest.raises(StorageError, match="is sealed"):
        segment.seal(())


def test_discarding_removes_the_files(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    segment.append(page(1))
    segment.discard()
    sealed(tmp_path).discard()
    assert list(tmp_path.iterdir()) == []


def test_revisits_are_written_on_request(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    first = page(1, b"same")
    again = page(2, b"same")
    assert first.exchange is not None
    raw = exchange(
        again.row["url"],
        b"same",
        refers_to=warc.RefersTo(first.exchange.url, first.exchange.fetch_time),
    )
    segment.append(first)
    segment.append(PageRecord(again.row, fp="2", exchange=raw))
    assert records_of(segment.seal({"1", "2"}).warc).count("revisit") == 1


class TestStaging:
    def test_everything_is_put_and_may_be_put_again(self, store: BlobStore, tmp_path: Path) -> None:
        done = sealed(tmp_path / "spool")
        manifest = done.manifest
        stage(store, done)
        stage(store, done)
        assert store.get(manifest.warc_key) == done.warc.read_bytes()
        assert store.get(LAYOUT.data_key(manifest.files[0].path)) == done.files[0].read_bytes()
        staged = store.get(LAYOUT.manifest_key(manifest.segment))
        assert Manifest.from_json(staged) == manifest
        done.discard()
        assert store.get(manifest.warc_key, 0, 2) == b"\x1f\x8b"


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"segment": 1}', b"\xff"])
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(StorageError, match="not a segment manifest") as caught:
        Manifest.from_json(data)
    assert "\n" not in str(caught.value)
