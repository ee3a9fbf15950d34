"""Segments: open on local disk, sealed once, staged to the store.

The way of a segment is append* -> seal -> stage, then its manifest goes to the committer.
Invariants kept: a failed append leaves nothing half-written (the files end after the last whole
record, and the segment can still be sealed); only rows of visits the frontier still holds for this
segment are sealed, one per visit; the manifest is put last, so that whatever it names is there.

On disk: ``<segment>.warc.gz`` grows a gzip member per record; ``<segment>.rows.jsonl`` beside it
has a line per row with the length of the WARC file after it, so that the intact prefix of a crashed
writer's segment can be told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from storage import warc
from storage.blob import BlobStore, StorageError, fsync_directory, mapped
from storage.layout import Layout
from storage.table import (
    FILE_SCHEMA,
    PARTITION,
    STATISTICS,
    DataFile,
    check_row,
    day_of,
    pack_row,
    unpack_row,
)

_BATCH_ROWS: Final = 2_000  # rows held in memory while sealing; also the Parquet row group


@dataclass(frozen=True, slots=True)
class PageRecord:
    """One ended visit, to be stored."""

    row: Mapping[str, Any]  # column values, without those the writer fills in (table.FILLED)
    fp: str = ""  # the frontier's id of the URL; "" is always kept (robots.txt and the like)
    partition: int = 0  # the frontier partition that holds fp
    exchange: warc.RawExchange | None = None  # None: there was no answer


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a staged segment consists of: enough to commit and settle it, for whoever finds it."""

    segment: str  # segment id, the transaction id of its commit
    workspace: str
    job: str
    worker: str  # who wrote it
    warc_key: str  # WARC file, relative to the store's root
    warc_bytes: int
    files: tuple[DataFile, ...]  # staged data files; none if no row was kept
    rows: int  # in all files
    fps: dict[int, list[str]]  # frontier partition -> ids of the URLs that its commit settles
    created: float  # unix seconds, when it was sealed
    outlinks: list[str] = field(default_factory=list)  # links the frontier has yet to take in
    version: int = 1  # of this format

    def to_json(self) -> bytes:
        return orjson.dumps(self, option=orjson.OPT_NON_STR_KEYS)

    @staticmethod
    def from_json(data: bytes) -> Manifest:
        """The manifest, or StorageError for anything else."""
        try:
            return _MANIFEST.validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise StorageError(f"not a segment manifest: {where} {first['msg']}") from error


_MANIFEST: Final = TypeAdapter(Manifest)


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """A sealed segment on local disk."""

    manifest: Manifest
    layout: Layout
    warc: Path
    files: tuple[Path, ...]  # local data files, in the order of manifest.files

    def discard(self) -> None:
        """Remove the local files; the segment must be committed, or given up."""
        with mapped(f"delete segment {self.manifest.segment}"):
            for path in (*self.files, self.warc):
                path.unlink(missing_ok=True)


def stage(store: BlobStore, sealed: SealedSegment) -> None:
    """Put the WARC, then the data files, then the manifest. May be repeated until it succeeds."""
    manifest, layout = sealed.manifest, sealed.layout
    store.put(manifest.warc_key, sealed.warc)
    for file, path in zip(manifest.files, sealed.files, strict=True):
        store.put(layout.data_key(file.path), path)
    store.put(layout.manifest_key(manifest.segment), manifest.to_json(), if_absent=True)


class _AppendFile:
    """A file that grows by whole chunks: a chunk that does not fit leaves no trace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0  # bytes, whole chunks only
        with mapped(f"create {path}"):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def append(self, chunk: bytes) -> None:
        """Write it all, or raise StorageFull or StorageError with the file as before."""
        with mapped(f"write {self.path}"):
            view = memoryview(chunk)
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError:
                self.truncate(self.size)
                raise
        self.size += len(chunk)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        os.lseek(self._fd, size, os.SEEK_SET)
        self.size = size

    def sync(self) -> None:
        with mapped(f"write {self.path}"):
            os.fsync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class SegmentWriter:
    """An open segment in ``directory``, which is created if need be. For one thread at a time.

    ``info`` describes the writer in the WARC's warcinfo record (software, operator,
    http-header-user-agent, ...). ``append`` does no I/O but two writes to the page cache, so it may
    run on an event loop.
    """

    def __init__(
        self, directory: Path, layout: Layout, segment: str, worker: str, info: Mapping[str, str]
    ) -> None:
        self.segment = segment
        self.warc_key = layout.warc_key(segment)
        self._layout = layout
        self._worker = worker
        self._directory = directory
        self._opened = time.monotonic()
        self._lines = 0  # rows in the journal
        self._last: dict[str, int] = {}  # fp -> number of its last row: the one that counts
        with mapped(f"create {directory}"):
            directory.mkdir(parents=True, exist_ok=True)
        self._warc = _AppendFile(directory / f"{segment}.warc.gz")
        self._rows: _AppendFile | None = None
        try:
            self._rows = _AppendFile(directory / f"{segment}.rows.jsonl")
            member, self._info_id = warc.warcinfo(f"{segment}.warc.gz", info, time.time())
            self._warc.append(member)
        except BaseException:
            self.discard()
            raise

    @property
    def size(self) -> int:
        """Bytes of the WARC file so far."""
        return self._warc.size

    @property
    def age(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self._opened

    @property
    def count(self) -> int:
        """Rows appended."""
        return self._lines

    def append(self, record: PageRecord) -> None:
        """Add one visit's WARC records and row.

        Raises StorageFull when the disk is full and StorageError for a row that does not fit the
        schema; either way the segment is as it was before the call.
        """
        check_row(record.row)
        journal = self._journal()
        before = self._warc.size
        place: dict[str, Any] = {}
        if record.exchange is not None:
            members, length = warc.exchange(record.exchange, self._info_id)
            place = {
                "warc_filename": self.warc_key,
                "warc_record_offset": before,
                "warc_record_length": length,
            }
            self._warc.append(members)
        fp = orjson.dumps(record.fp)
        try:
            journal.append(
                b'{"end":%d,"partition":%d,"fp":%b,"row":%b}\n'
                % (self._warc.size, record.partition, fp, pack_row({**record.row, **place}))
            )
        except BaseException:
            self._warc.truncate(before)  # shrinking needs no room
            raise
        if record.fp:
            self._last[record.fp] = self._lines
        self._lines += 1

    def seal(self, keep: Container[str]) -> SealedSegment:
        """Write the data files, with the rows whose fp is in ``keep`` (and those without one).

        Of several rows with one fp the last counts: earlier ones were refused by the frontier. WARC
        records without a row stay as orphans. After a StorageError (disk full) it may be called
        again; after success the segment takes no more records.
        """
        journal = self._journal()
        self._warc.sync()
        fps: dict[int, list[str]] = {}
        files = self._write_files(journal.path, keep, fps)
        manifest = Manifest(
            segment=self.segment,
            workspace=self._layout.workspace,
            job=self._layout.job,
            worker=self._worker,
            warc_key=self.warc_key,
            warc_bytes=self._warc.size,
            files=tuple(file for file, _ in files),
            rows=sum(file.rows for file, _ in files),
            fps=fps,
            created=time.time(),
        )
        with mapped(f"seal segment {self.segment}"):
            fsync_directory(self._directory)
            journal.path.unlink()
        self._close()
        return SealedSegment(
            manifest, self._layout, self._warc.path, tuple(path for _, path in files)
        )

    def discard(self) -> None:
        """Close and remove the segment's files; its visits are lost to storage."""
        self._close()
        with mapped(f"delete segment {self.segment}"):
            for path in self._directory.glob(f"{self.segment}.*"):
                path.unlink(missing_ok=True)

    def _journal(self) -> _AppendFile:
        if self._rows is None:
            raise StorageError(f"segment {self.segment} is sealed")
        return self._rows

    def _close(self) -> None:
        self._warc.close()
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def _write_files(
        self, journal: Path, keep: Container[str], fps: dict[int, list[str]]
    ) -> list[tuple[DataFile, Path]]:
        filled = {
            "workspace": self._layout.workspace,
            "job": self._layout.job,
            "worker": self._worker,
            "segment": self.segment,
        }
        days: dict[str, _DayFile] = {}
        with mapped(f"seal segment {self.segment}"), ExitStack() as stack:
            for row in self._kept(journal, keep, fps):
                day = day_of(row)
                if day not in days:
                    path = self._directory / f"{self.segment}.{day}.parquet"
                    days[day] = stack.enter_context(_DayFile(path, day))
                days[day].add(row | filled)
            for each in days.values():
                each.finish()
        return [(days[day].described(self.segment), days[day].path) for day in sorted(days)]

    def _kept(
        self, journal: Path, keep: Container[str], fps: dict[int, list[str]]
    ) -> Iterator[dict[str, Any]]:
        with journal.open("rb") as lines:
            for number, line in enumerate(lines):
                entry = orjson.loads(line)
                fp = entry["fp"]
                if fp:
                    if self._last[fp] != number or fp not in keep:
                        continue
                    fps.setdefault(entry["partition"], []).append(fp)
                yield unpack_row(entry["row"])


class _DayFile:
    """The Parquet file of one day's rows, written a batch at a time."""

    def __init__(self, path: Path, day: str) -> None:
        self.path = path
        self._day = day
        self._batch: list[dict[str, Any]] = []
        self._rows = 0
        self._lowest: dict[str, str] = {}
        self._highest: dict[str, str] = {}
        self._nulls = dict.fromkeys(STATISTICS, 0)
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _DayFile:
        # Text and title have no use as statistics, and would outlive their erasure in them.
        self._writer = pq.ParquetWriter(
            self.path, FILE_SCHEMA, compression="zstd", write_statistics=list(STATISTICS)
        )
        return self

    def __exit__(self, *exc: object) -> None:
        if self._writer is not None:
            with suppress(OSError):  # only after an error: finish() closes it otherwise
                self._writer.close()

    def add(self, row: dict[str, Any]) -> None:
        row.pop(PARTITION)
        for name in STATISTICS:
            value = row.get(name)
            if value is None:
                self._nulls[name] += 1
            else:
                self._lowest[name] = min(value, self._lowest.get(name, value))
                self._highest[name] = max(value, self._highest.get(name, value))
        self._batch.append(row)
        self._rows += 1
        if len(self._batch) >= _BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._batch and self._writer is not None:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._batch, schema=FILE_SCHEMA))
            self._batch.clear()

    def finish(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        with self.path.open("rb") as file:
            os.fsync(file.fileno())

    def described(self, segment: str) -> DataFile:
        return DataFile(
            path=f"{PARTITION}={self._day}/{segment}.parquet",
            day=self._day,
            rows=self._rows,
            size=self.path.stat().st_size,
            lowest=self._lowest,
            highest=self._highest,
            nulls=self._nulls,
        )
