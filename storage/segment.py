"""Segments: open on local disk, sealed once, staged to the store.

The way of a segment is append* -> seal -> stage, then its manifest goes to the committer.
Invariants kept: a failed append leaves nothing half-written (the files end after the last whole
record, and the segment can still be sealed); only rows of visits the frontier still holds for this
segment are sealed, one per visit; the manifest is put last, so that whatever it names is there.

On disk: ``<segment>.warc.gz`` grows a gzip member per record; the journal beside it (see
``journal.py``) has the rows and lives until the segment is staged, so that whoever comes after a
dead writer can finish what was open or sealed.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from storage import journal, warc
from storage.blob import BlobStore, StorageError, fsync_directory, mapped
from storage.journal import AppendFile
from storage.layout import Layout
from storage.rows import check_row, pack_row, unpack_row
from storage.sealing import LinksFile, links_of, write_rows
from storage.table import DataFile


@dataclass(frozen=True, slots=True)
class PageRecord:
    """One ended visit, to be stored."""

    row: Mapping[str, Any]  # column values, without those the writer fills in (table.FILLED)
    fp: str = ""  # the frontier's id of the URL; "" is always kept (robots.txt and the like)
    partition: int = 0  # the frontier partition that holds fp
    exchange: warc.RawExchange | None = None  # None: there was no answer
    outlinks: Sequence[Any] = ()  # links first met on it, in a JSON form that the caller knows


@dataclass(frozen=True, slots=True)
class Outlinks:
    """The links that travel with a staged segment."""

    key: str  # of their file, relative to the store's root
    count: int
    digest: str  # of the file, "sha1:..."
    acknowledged: bool  # the frontier had them all when it was sealed; else they are to be added


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
    outlinks: Outlinks | None = None  # None: no page had any that were new
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
    links: Path | None  # the local file of its outlinks
    journal: AppendFile  # keeps other processes away; the last file to go

    def discard(self) -> None:
        """Remove the local files; the segment must be staged, or given up."""
        with mapped(f"delete segment {self.manifest.segment}"):
            for path in (*self.files, self.warc, *([self.links] if self.links else [])):
                path.unlink(missing_ok=True)
            self.journal.path.unlink(missing_ok=True)
        self.journal.close()


def stage(store: BlobStore, sealed: SealedSegment) -> None:
    """Put WARC, data files, outlinks, then the manifest. May be repeated until it succeeds."""
    manifest, layout = sealed.manifest, sealed.layout
    store.put(manifest.warc_key, sealed.warc)
    for file, path in zip(manifest.files, sealed.files, strict=True):
        store.put(layout.data_key(file.path), path)
    if manifest.outlinks is not None and sealed.links is not None:
        store.put(manifest.outlinks.key, sealed.links)
    store.put(layout.manifest_key(manifest.segment), manifest.to_json(), if_absent=True)


class UnsealedSegment:
    """A segment on local disk that can be sealed, or thrown away."""

    def __init__(self, directory: Path, layout: Layout, segment: str, worker: str) -> None:
        self.segment = segment
        self.warc_key = layout.warc_key(segment)
        self.partitions: set[int] = set()  # where the frontier has its URLs
        self._layout = layout
        self._worker = worker
        self._directory = directory
        self._count = 0  # rows in the journal
        self._links = 0  # outlinks in the journal
        self._last: dict[str, int] = {}  # fp -> number of its last row: the one that counts
        self._warc: AppendFile | None = None
        self._rows: AppendFile | None = None

    @property
    def count(self) -> int:
        """Rows in it."""
        return self._count

    @property
    def fps(self) -> Set[str]:
        """The URLs that have a row."""
        return self._last.keys()

    def outlinks(self, most: int) -> Iterator[list[Any]]:
        """All outlinks of its pages, in batches of ``most`` or a page's more."""
        with mapped(f"read segment {self.segment}"):
            yield from links_of(self._journal().path, most)

    def seal(self, keep: Container[str], *, acknowledged: bool = True) -> SealedSegment:
        """Write the data files, with the rows whose fp is in ``keep`` (and those without one).

        Of several rows with one fp the last counts: earlier ones were refused by the frontier. WARC
        records without a row stay as orphans. ``acknowledged`` says of the outlinks of all pages
        that the frontier has them. After a StorageError (disk full) it may be called again; after
        success the segment takes no more records.
        """
        rows, records = self._journal(), self._records()
        records.sync()
        fps: dict[int, list[str]] = {}
        links = LinksFile(self._directory / f"{self.segment}.links.zst") if self._links else None
        with mapped(f"seal segment {self.segment}"), links or nullcontext():
            kept = self._kept(rows.path, keep, fps, links)
            files = write_rows(self._directory, self.segment, kept)
        with mapped(f"seal segment {self.segment}"):
            fsync_directory(self._directory)
            outlinks = self._described(links.path, acknowledged) if links else None
        manifest = Manifest(
            segment=self.segment,
            workspace=self._layout.workspace,
            job=self._layout.job,
            worker=self._worker,
            warc_key=self.warc_key,
            warc_bytes=records.size,
            files=tuple(file for file, _ in files),
            rows=sum(file.rows for file, _ in files),
            fps=fps,
            created=time.time(),
            outlinks=outlinks,
        )
        self._warc = self._rows = None
        records.close()
        return SealedSegment(
            manifest,
            self._layout,
            records.path,
            tuple(path for _, path in files),
            links.path if links else None,
            rows,
        )

    def _described(self, links: Path, acknowledged: bool) -> Outlinks:
        digest = warc.digest(links.read_bytes())
        return Outlinks(self._layout.links_key(self.segment), self._links, digest, acknowledged)

    def discard(self) -> None:
        """Close and remove the segment's files; its visits are lost to storage."""
        rows, self._rows = self._rows, None
        with mapped(f"delete segment {self.segment}"):
            for path in self._directory.glob(f"{self.segment}.*"):
                if rows is None or path != rows.path:
                    path.unlink(missing_ok=True)
            if rows is not None:  # last: it keeps other processes away
                rows.path.unlink(missing_ok=True)
        for file in (self._warc, rows):
            if file is not None:
                file.close()
        self._warc = None

    def _journal(self) -> AppendFile:
        if self._rows is None:
            raise StorageError(f"segment {self.segment} is sealed")
        return self._rows

    def _records(self) -> AppendFile:
        if self._warc is None:
            raise StorageError(f"segment {self.segment} is sealed")
        return self._warc

    def _kept(
        self,
        path: Path,
        keep: Container[str],
        fps: dict[int, list[str]],
        links: LinksFile | None,
    ) -> Iterator[dict[str, Any]]:
        """The rows to store; outlinks are handed on as they come by."""
        filled = {
            "workspace": self._layout.workspace,
            "job": self._layout.job,
            "worker": self._worker,
            "segment": self.segment,
        }
        number = -1
        with path.open("rb") as lines:
            next(lines)  # the head
            for line in lines:
                if line.startswith(journal.LINKS):
                    if links is not None:
                        links.add(line)
                    continue
                number += 1
                entry = orjson.loads(line)
                fp = entry["fp"]
                if fp:
                    if self._last[fp] != number or fp not in keep:
                        continue
                    fps.setdefault(entry["partition"], []).append(fp)
                yield unpack_row(entry["row"]) | filled


class SegmentWriter(UnsealedSegment):
    """An open segment in ``directory``, which is created if need be. For one thread at a time.

    ``info`` describes the writer in the WARC's warcinfo record (software, operator,
    http-header-user-agent, ...). ``append`` does no I/O but two writes to the page cache, so it may
    run on an event loop.
    """

    def __init__(
        self, directory: Path, layout: Layout, segment: str, worker: str, info: Mapping[str, str]
    ) -> None:
        super().__init__(directory, layout, segment, worker)
        self._opened = time.monotonic()
        with mapped(f"create {directory}"):
            directory.mkdir(parents=True, exist_ok=True)
        try:
            self._rows = journal.create(directory, segment)
            self._warc = AppendFile(directory / f"{segment}.warc.gz")
            member, self._info_id = warc.warcinfo(f"{segment}.warc.gz", info, time.time())
            self._warc.append(member)
            journal.publish(self._rows, segment, worker, len(member))
        except BaseException:
            self.discard()
            raise

    @property
    def size(self) -> int:
        """Bytes of the WARC file so far."""
        return self._records().size

    @property
    def age(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self._opened

    def append(self, record: PageRecord) -> None:
        """Add one visit's WARC records and row, and its outlinks.

        Raises StorageFull when the disk is full and StorageError for a row that does not fit the
        schema; either way the segment is as it was before the call.
        """
        check_row(record.row)
        rows, records = self._journal(), self._records()
        before = records.size
        place: dict[str, Any] = {}
        if record.exchange is not None:
            members, length = warc.exchange(record.exchange, self._info_id)
            place = {
                "warc_filename": self.warc_key,
                "warc_record_offset": before,
                "warc_record_length": length,
            }
            records.append(members)
        links = b"%b%b}\n" % (journal.LINKS, _packed(record.outlinks)) if record.outlinks else b""
        fp = orjson.dumps(record.fp)
        try:
            rows.append(
                b'%b{"end":%d,"partition":%d,"fp":%b,"row":%b}\n'
                % (links, records.size, record.partition, fp, pack_row({**record.row, **place}))
            )
        except BaseException:
            records.truncate(before)  # shrinking needs no room
            raise
        if record.fp:
            self._last[record.fp] = self._count
            self.partitions.add(record.partition)
        self._count += 1
        self._links += len(record.outlinks)


class LeftSegment(UnsealedSegment):
    """What a dead writer left of a segment, open or sealed: cut to its whole records."""

    def __init__(self, rows: AppendFile, layout: Layout) -> None:
        """``rows`` comes from :func:`journal.claim`.

        Raises StorageError when the files are damaged from their beginning; it stays claimed then.
        """
        segment, directory = journal.segment_of(rows.path), rows.path.parent
        file = directory / f"{segment}.warc.gz"
        found = journal.survey(rows.path, file)
        super().__init__(directory, layout, segment, found.worker)
        self._warc = AppendFile(file, create=False)
        with mapped(f"write {rows.path}"):
            rows.truncate(found.size)
            self._warc.truncate(found.warc_size)
        self._rows = rows
        self._last, self._count = found.last, found.rows
        self._links, self.partitions = found.links, found.partitions


def _packed(outlinks: Sequence[Any]) -> bytes:
    try:
        return orjson.dumps(outlinks)
    except orjson.JSONEncodeError as error:
        raise StorageError(f"outlinks that have no JSON form: {error}") from error


def discard_left(rows: AppendFile) -> None:
    """Remove the files of a dead writer's segment; ``rows`` comes from :func:`journal.claim`."""
    segment = journal.segment_of(rows.path)
    with mapped(f"delete segment {segment}"):
        for path in rows.path.parent.glob(f"{segment}.*"):
            if path != rows.path:
                path.unlink(missing_ok=True)
        rows.path.unlink(missing_ok=True)
    rows.close()
