"""The journal of an open segment: what its WARC file holds, row by row, and that its writer lives.

Invariants kept: a chunk that does not fit leaves no trace; a journal has one holder, by a lock that
the kernel takes from a dead process and not from a frozen one; what is read back of a dead writer's
segment is a prefix of what was written, with a WARC record for each row that has one.

The lines of ``<segment>.rows.jsonl``:

    {"worker": name, "start": n}                            the first: the WARC's records begin at n
    {"links": [...]}                                        outlinks of the page whose row follows
    {"end": n, "partition": p, "fp": "...", "row": {...}}   the WARC has n bytes after this visit
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from storage import warc
from storage.blob import StorageError, mapped

SUFFIX: Final = ".rows.jsonl"
LINKS: Final = b'{"links":'  # what a line of outlinks begins with
_NEW: Final = ".rows.new"  # a journal that is not yet complete, and that nobody looks for


class AppendFile:
    """A file that grows by whole chunks: a chunk that does not fit leaves no trace."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        flags = os.O_CREAT | os.O_EXCL if create else 0
        with mapped(f"{'create' if create else 'open'} {path}"):
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o644)
        self.size = os.lseek(self._fd, 0, os.SEEK_END)  # bytes, whole chunks only

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
        """Cut it, which needs no room."""
        os.ftruncate(self._fd, size)
        os.lseek(self._fd, size, os.SEEK_SET)
        self.size = size

    def lock(self) -> bool:
        """Hold it for as long as this process has it open; False when another process does."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def rename(self, path: Path) -> None:
        """Give it another name in its directory."""
        with mapped(f"create {path}"):
            self.path.rename(path)
        self.path = path

    @property
    def lost(self) -> bool:
        """Whether its name has gone, or is another file's."""
        try:
            there = self.path.stat()
        except OSError:
            return True
        ours = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def sync(self) -> None:
        """Make it durable."""
        with mapped(f"write {self.path}"):
            os.fsync(self._fd)

    def close(self) -> None:
        """Let go of it, and of its lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def create(directory: Path, segment: str) -> AppendFile:
    """A new, locked journal under a name that nobody looks for until :func:`publish`."""
    file = AppendFile(directory / f"{segment}{_NEW}")
    if not file.lock():
        raise StorageError(f"{file.path} is held by another process")
    return file


def publish(file: AppendFile, segment: str, worker: str, start: int) -> None:
    """Write a journal's head and let others find it: it is locked by now, and never half there."""
    file.append(orjson.dumps({"worker": worker, "start": start}) + b"\n")
    file.rename(file.path.with_name(segment + SUFFIX))


def left_in(spool: Path) -> list[Path]:
    """All journals below a directory, of living writers and dead ones."""
    return sorted(spool.rglob(f"*{SUFFIX}"))


def segment_of(path: Path) -> str:
    """The id of the segment that a journal is of."""
    return path.name.removesuffix(SUFFIX)


def claim(path: Path) -> AppendFile | None:
    """The journal of a dead writer, now ours; None when its writer lives, or it has gone."""
    try:
        file = AppendFile(path, create=False)
    except StorageError:
        if path.exists():
            raise
        return None
    if file.lock() and not file.lost:
        return file
    file.close()
    return None


@dataclass(slots=True)
class Survey:
    """The part of a segment that is whole: cut the files there, and it can be sealed."""

    worker: str  # who wrote it
    size: int  # bytes of the journal
    warc_size: int  # bytes of the WARC file
    rows: int = 0
    links: int = 0  # outlinks of those rows' pages
    last: dict[str, int] = field(default_factory=dict)  # fp -> number of its last row
    partitions: set[int] = field(default_factory=set)  # where the frontier has these

    def take(self, entry: dict[str, Any], size: int, links: int) -> None:
        """One more row is whole; the journal has ``size`` bytes up to its end."""
        fp, partition = entry["fp"], entry["partition"]
        if fp:
            self.last[fp] = self.rows
            self.partitions.add(partition)
        self.size, self.warc_size = size, entry["end"]
        self.rows += 1
        self.links += links


def survey(journal: Path, file: Path) -> Survey:
    """Find out how far a dead writer's journal and WARC file are whole and agree.

    Reads both once, and checks the digests of all records. Raises StorageError when they do not
    even begin as they should.
    """
    with mapped(f"read {journal}"), journal.open("rb") as lines, file.open("rb") as records:
        found = _head(lines, records, journal)
        at, links = found.size, 0
        for line, entry in _entries(lines):
            at += len(line)
            try:
                if "links" in entry:
                    links = len(entry["links"])
                    continue
                _check(records, found.warc_size, entry)
                found.take(entry, at, links)
            except (StorageError, KeyError, TypeError, ValueError):
                break
            links = 0
    return found


def _head(lines: BinaryIO, records: BinaryIO, path: Path) -> Survey:
    first = lines.readline()
    try:
        head = orjson.loads(first)
        warc.read(records.read(head["start"]))
        return Survey(str(head["worker"]), len(first), head["start"])
    except (ValueError, KeyError, TypeError, StorageError) as error:
        raise StorageError(f"{path} is damaged from its beginning: {error}") from error


def _entries(lines: BinaryIO) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Lines and what they say, up to the first that is not whole."""
    for line in lines:
        try:
            entry = orjson.loads(line)
        except ValueError:
            return
        if not line.endswith(b"\n") or not isinstance(entry, dict):
            return
        yield line, entry


def _check(records: BinaryIO, start: int, entry: dict[str, Any]) -> None:
    """A row's records are there, whole, and nothing else is."""
    place = entry["row"].get("warc_record_offset")
    length, rest = 0, entry["end"] - start
    if place is not None:
        length = entry["row"]["warc_record_length"]
        rest -= length
    if (place is None and rest) or place not in (None, start) or rest < 0:
        raise ValueError("its records are elsewhere")
    records.seek(start)
    for size in (length, rest):
        if size:
            warc.read(records.read(size))
