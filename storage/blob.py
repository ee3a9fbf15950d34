"""Blobs by key below one root: a directory or an S3 prefix, through one Protocol.

Purpose: everything durable that is not a Delta commit goes through here. Invariants kept:
a put is atomic (a reader sees the old object, the new one or none, never a part of one) and durable
when it returns; a conditional put has exactly one winner among any number of racing writers.

Keys are relative, ``/``-separated, and never leave the root. Every failure is a StorageError with a
one-line message fit for an operator.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # no room for more bytes
_ESCAPE: Final = re.compile("%[0-9A-Fa-f]{2}")
_TMP_SUFFIX: Final = ".comity-tmp"


class StorageError(Exception):
    """Base of what storage raises; the message is one line fit for an operator."""


class StorageFull(StorageError):
    """No room left (disk full, quota, file size limit): what was written before is intact."""


class StorageUnavailable(StorageError):
    """The store does not answer, or only with passing errors; the same call may succeed later."""


class BlobNotFound(StorageError):
    """There is no object with that key."""


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored object, as a listing shows it."""

    key: str  # relative to the store's root
    size: int  # bytes
    modified: float  # unix seconds


class BlobStore(Protocol):
    """Objects by key below ``root``. Blocking; safe to call from several threads."""

    root: str  # absolute directory path, or "s3://bucket/prefix"; no trailing slash

    def put(self, key: str, data: bytes | Path, *, if_absent: bool = False) -> bool:
        """Store bytes or a file's content; False (nothing changed) if ``if_absent`` and it exists.

        A file must not change afterwards: a local store may keep a hard link to it.
        ``if_absent`` is for bytes only.
        """

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """The object, or up to ``length`` bytes of it from ``offset``, in one request."""

    def list(self, prefix: str) -> Iterator[Blob]:
        """All objects whose key starts with the directory ``prefix``, in order of their keys."""

    def children(self, prefix: str) -> tuple[str, ...]:
        """Names of the immediate sub-directories of ``prefix`` ("" is the root), sorted."""

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error."""

    def close(self) -> None:
        """Release connections; the store is not used afterwards."""


def check_key(key: str) -> str:
    """``key`` itself, or StorageError if it could leave the root."""
    if not key or key.startswith("/") or "\0" in key or "\\" in key or ".." in key.split("/"):
        raise StorageError(f"not a storage key: {key!r}")
    return key


def os_error(error: OSError, what: str) -> StorageError:
    """The StorageError for an operating system error met while doing ``what``."""
    reason = error.strerror or str(error) or type(error).__name__
    kind = StorageFull if error.errno in FULL_ERRNOS else StorageError
    return kind(f"cannot {what}: {reason}")


@contextlib.contextmanager
def mapped(what: str) -> Iterator[None]:
    """Turn an OSError inside the block into a StorageError that says what was being done."""
    try:
        yield
    except OSError as error:
        raise os_error(error, what) from error


def fsync_directory(directory: Path) -> None:
    """Make the directory's entries durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class FileStore:
    """Objects as files below a directory, which is created when first written to."""

    def __init__(self, directory: Path) -> None:
        self._base = Path(os.path.abspath(directory))  # noqa: PTH100 - resolve() follows symlinks
        self.root = str(self._base)

    def put(self, key: str, data: bytes | Path, *, if_absent: bool = False) -> bool:
        target = self._base / check_key(key)
        with mapped(f"write {target}"):
            self._make_directory(target.parent)
            temporary = target.parent / f".{target.name}.{secrets.token_hex(6)}{_TMP_SUFFIX}"
            try:
                _fill(temporary, data)
                created = _publish(temporary, target, if_absent)
            finally:
                temporary.unlink(missing_ok=True)
            fsync_directory(target.parent)
        return created

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        path = self._base / check_key(key)
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(-1 if length is None else length)
        except FileNotFoundError:
            raise BlobNotFound(f"no such file: {path}") from None
        except OSError as error:
            raise os_error(error, f"read {path}") from error

    def list(self, prefix: str) -> Iterator[Blob]:
        top = self._base / check_key(prefix)
        with mapped(f"list {top}"):
            for entry in _walk(top):
                if entry.name.endswith(_TMP_SUFFIX):
                    continue
                with contextlib.suppress(FileNotFoundError):  # deleted while we look
                    stat = entry.stat()
                    key = Path(entry.path).relative_to(self._base).as_posix()
                    yield Blob(key, stat.st_size, stat.st_mtime)

    def children(self, prefix: str) -> tuple[str, ...]:
        top = self._base / check_key(prefix) if prefix else self._base
        try:
            with os.scandir(top) as entries:
                return tuple(sorted(entry.name for entry in entries if entry.is_dir()))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise os_error(error, f"list {top}") from error

    def delete(self, key: str) -> None:
        path = self._base / check_key(key)
        with mapped(f"delete {path}"), contextlib.suppress(FileNotFoundError):
            path.unlink()

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _make_directory(self, directory: Path) -> None:
        """Create missing parents, each made durable in its own parent."""
        missing = []
        while not directory.exists():
            missing.append(directory)
            directory = directory.parent
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
            fsync_directory(each.parent)


def _walk(directory: str | Path) -> Iterator[os.DirEntry[str]]:
    """Files below the directory, in the order of their paths; none if it does not exist."""
    try:
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: entry.name + "/" * entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir():
            yield from _walk(entry.path)
        else:
            yield entry


def _fill(path: Path, data: bytes | Path) -> None:
    """Put the content at ``path``, durable: a hard link where it can be, else a copy."""
    if isinstance(data, Path):
        try:
            os.link(data, path)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
                raise
            shutil.copyfile(data, path)
    else:
        path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _publish(temporary: Path, target: Path, if_absent: bool) -> bool:
    if not if_absent:
        temporary.replace(target)
        return True
    try:
        os.link(temporary, target)  # fails if the target exists: the one atomic way to know
    except FileExistsError:
        return False
    return True


def open_store(root: str, *, hasty: bool = False) -> BlobStore:
    """The store at ``root``: "dir", "file:///dir" or "s3://bucket/prefix".

    S3 takes endpoint, region and credentials from the standard AWS environment and profiles.
    Opens no connection; raises StorageError for a root that names no store. A ``hasty`` one gives
    a silent server up after seconds, not minutes: for a first look, with somebody waiting.
    """
    store = _open(root, hasty)
    if found := _ESCAPE.search(store.root):
        # delta-rs 1.6 would look for the table under the decoded name, and not find it
        raise StorageError(
            f"{store.root}: a storage path cannot have {found[0]!r} in it; rename it"
        )
    return store


def _open(root: str, hasty: bool) -> BlobStore:
    try:
        parts = urlsplit(root)
    except ValueError as error:
        raise StorageError(f"{root}: {error}") from error
    if parts.scheme == "s3":
        from storage.s3 import S3Store  # boto3 takes 0.2 s to import; a local crawl never needs it

        if not parts.netloc:
            raise StorageError(f"{root} names no bucket: write s3://bucket/prefix")
        return S3Store(parts.netloc, root.split(parts.netloc, 1)[1].strip("/"), hasty=hasty)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"} or not parts.path:
            raise StorageError(f"{root} is not a local path: write file:///absolute/path")
        return FileStore(Path(unquote(parts.path)))
    if "://" in root:
        raise StorageError(f"{root}: storage is a directory, file:// or s3://, not {parts.scheme}")
    if not root:
        raise StorageError("the storage directory is empty")
    return FileStore(Path(root))


def probe(store: BlobStore) -> None:
    """Write and delete a small object; StorageError unless conditional puts are honoured.

    A store that ignores ``If-None-Match: *`` would let two committers overwrite each other.
    """
    key = f".comity-probe-{secrets.token_hex(8)}"
    answers = True
    try:
        first = store.put(key, b"1", if_absent=True)
        second = store.put(key, b"2", if_absent=True)
    except StorageError as error:
        answers = not isinstance(error, StorageUnavailable)
        # the user knows the root, not our key
        raise type(error)(str(error).replace(f"/{key}", "")) from error
    finally:
        with contextlib.suppress(StorageError):  # what matters was said by the puts
            if answers:
                store.delete(key)
    if not first or second:
        raise StorageError(
            f"{store.root} ignores conditional writes (If-None-Match: *), so commits could "
            "overwrite each other: use a store that honours them (AWS S3, SeaweedFS, Ceph, R2), "
            "or a local directory"
        )
