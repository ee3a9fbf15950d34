"""What a segment is sealed to: a Parquet file per day of its rows, and a file of its outlinks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from storage.blob import StorageError
from storage.journal import LINKS
from storage.table import FILE_SCHEMA, PARTITION, STATISTICS, DataFile, day_of

_BATCH_ROWS: Final = 2_000  # rows held in memory while sealing; also the Parquet row group


def write_rows(
    directory: Path, segment: str, rows: Iterable[dict[str, Any]]
) -> list[tuple[DataFile, Path]]:
    """Write a data file per day; raises OSError, after which it may be called again."""
    days: dict[str, _DayFile] = {}
    with ExitStack() as stack:
        for row in rows:
            day = day_of(row)
            if day not in days:
                path = directory / f"{segment}.{day}.parquet"
                days[day] = stack.enter_context(_DayFile(path, day))
            days[day].add(row)
        for each in days.values():
            each.finish()
    return [(days[day].described(segment), days[day].path) for day in sorted(days)]


class LinksFile:
    """The outlinks of a segment, as zstd-compressed lines of its journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._out: Any = None

    def __enter__(self) -> LinksFile:
        self.path.unlink(missing_ok=True)  # the store may have a hard link to it
        self._out = pa.CompressedOutputStream(pa.OSFile(str(self.path), "wb"), "zstd")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with ExitStack() as stack:
            if error is not None:
                stack.enter_context(suppress(OSError))  # the first error is the one that counts
            self._out.close()

    def add(self, line: bytes) -> None:
        """Add one page's, a line that begins with ``journal.LINKS``."""
        self._out.write(line)


def read_links(data: bytes, most: int) -> Iterator[list[Any]]:
    """Outlinks as they were given to the writer, in batches of ``most`` or a page's more.

    Raises StorageError for what no LinksFile wrote.
    """
    batch: list[Any] = []
    try:
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
            for line in _lines(stream):
                batch += orjson.loads(line)["links"]
                if len(batch) >= most:
                    yield batch
                    batch = []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"not a file of outlinks: {error}") from error
    if batch:
        yield batch


def links_of(journal: Path, most: int) -> Iterator[list[Any]]:
    """The same from the journal of a segment that has not been sealed. Raises OSError."""
    batch: list[Any] = []
    with journal.open("rb") as lines:
        for line in lines:
            if line.startswith(LINKS):
                batch += orjson.loads(line)["links"]
                if len(batch) >= most:
                    yield batch
                    batch = []
    if batch:
        yield batch


def _lines(stream: Any) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(1 << 16):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        raise ValueError("its last line is not whole")


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
        self.path.unlink(missing_ok=True)  # the store may have a hard link to it
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
