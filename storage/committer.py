"""Commits staged segments to the table: many segments, one Delta commit, each exactly once.

Invariants kept: a segment's rows are in the table at most once, whatever crashes, is replayed or
races; a segment is either committed or aborted, never both. Both facts rest on the table's log: the
segment id is a transaction id, with version COMMITTED or ABORTED, and every attempt sees
``transaction(S) is None`` on a snapshot and commits with that same snapshot, so that of two racing
attempts one conflicts.

That there is one committer per table at a time (a lease, the caller's) spares conflicts; safety
does not depend on it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pyarrow as pa

from storage import warc
from storage.blob import BlobNotFound, BlobStore, StorageError, StorageUnavailable
from storage.layout import Layout, segment_time
from storage.sealing import read_links
from storage.segment import Manifest
from storage.table import TRANSACTION_DAYS, CommitConflict, PagesTable, Snapshot

_T = TypeVar("_T")

KEPT: Final = 3_600.0  # seconds for which a settled segment's manifest and outlinks are kept
ABORTED: Final = 0  # transaction versions
COMMITTED: Final = 1
_ATTEMPTS: Final = 12  # looks at the table before a commit gives up for now
_PAUSE: Final = 0.05  # seconds, times attempt, jittered
# The table forgets transaction ids after TRANSACTION_DAYS; before that, nothing may ask for them.
_OLDEST: Final = (TRANSACTION_DAYS - 1) * 86_400.0
_RANDOM: Final = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What became of each segment that was offered; every one is in exactly one of these."""

    committed: tuple[str, ...] = ()  # by this call: settle, then forget
    already: tuple[str, ...] = ()  # by an earlier one: settle, then forget
    aborted: tuple[str, ...] = ()  # given up before: its URLs were requeued; forget
    expired: tuple[str, ...] = ()  # older than the table's memory: not touched, for an operator


class Committer:
    """Commits and aborts segments of one job. Blocking; each call opens the table anew.

    ``sleep`` is between attempts, injectable for tests.
    """

    def __init__(
        self, store: BlobStore, layout: Layout, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._store = store
        self._layout = layout
        self._table = PagesTable(store, layout.table)
        self._sleep = sleep
        self._prepared = False  # the table is known to exist

    def prepare(self) -> None:
        """Create the table unless it is there."""
        self._table.ensure()
        self._prepared = True

    def commit(self, manifests: Sequence[Manifest]) -> CommitResult:
        """Commit all segments that are neither committed nor aborted, in one Delta commit.

        Repeating a call adds nothing. Raises StorageError (StorageUnavailable where waiting helps);
        whether the commit happened is then open, and calling again tells.
        """
        for manifest in manifests:
            if (manifest.workspace, manifest.job) != (self._layout.workspace, self._layout.job):
                raise StorageError(
                    f"segment {manifest.segment} is of {manifest.workspace}/{manifest.job}, "
                    f"not of {self._layout.prefix}"
                )
        fresh = {m.segment: m for m in manifests if not expired(m.segment)}
        old = tuple(m.segment for m in manifests if m.segment not in fresh)

        def attempt(snapshot: Snapshot) -> CommitResult:
            known = {segment: snapshot.transaction(segment) for segment in fresh}
            new = [segment for segment, version in known.items() if version is None]
            if new:
                files = [file for segment in new for file in fresh[segment].files]
                snapshot.commit(files, new, COMMITTED)
            return CommitResult(
                committed=tuple(new),
                already=tuple(s for s, version in known.items() if version == COMMITTED),
                aborted=tuple(s for s, version in known.items() if version == ABORTED),
                expired=old,
            )

        return self._until_no_conflict(attempt) if fresh else CommitResult(expired=old)

    def abort(self, segment: str) -> bool:
        """Make sure that ``segment`` is never committed; False if it is committed already.

        Only after True may its URLs be fetched again.
        """
        if expired(segment):
            raise StorageError(
                f"segment {segment} is too old to abort: the table remembers "
                f"{TRANSACTION_DAYS} days of commits"
            )

        def attempt(snapshot: Snapshot) -> bool:
            version = snapshot.transaction(segment)
            if version is None:
                snapshot.commit([], [segment], ABORTED)
            return version != COMMITTED

        return self._until_no_conflict(attempt)

    def mark(self, day: str, marks: pa.Table, memory: int) -> None:
        """:meth:`Snapshot.mark` on the table as it is now, again after each conflict.

        Rows that were committed since the marks were made keep what they have.
        """
        self._until_no_conflict(lambda snapshot: snapshot.mark(day, marks, memory))

    def committed(self, segment: str) -> bool:
        """Whether its rows are in the table now."""
        return self._table.snapshot().transaction(segment) == COMMITTED

    def outcomes(self, segments: Iterable[str]) -> dict[str, int | None]:
        """COMMITTED, ABORTED or None (neither) for each segment, of those not too old to tell."""
        snapshot = self._table.snapshot()
        return {name: snapshot.transaction(name) for name in segments if not expired(name)}

    def pages(self) -> Snapshot:
        """The table as it is now."""
        return self._table.snapshot()

    def settled(self, segment: str) -> Manifest | None:
        """The manifest of a segment that was settled a moment ago; None when there is none."""
        return self._read(self._layout.settled_key(segment))

    def settled_since(self, when: float) -> list[str]:
        """Segments that were settled after ``when``, unix seconds, as far as still known."""
        found = self._store.list(self._layout.recent)
        recent = [blob.key for blob in found if blob.key.endswith(".json") and blob.modified > when]
        return [key.rpartition("/")[2].removesuffix(".json") for key in recent]

    def manifest(self, segment: str) -> Manifest | None:
        """The manifest of a staged segment that is not settled; None when there is none."""
        return self._read(self._layout.manifest_key(segment))

    def staged_names(self) -> list[str]:
        """Segments that have a manifest in the store and are not settled, readable or not."""
        names = (blob.key.rpartition("/")[2] for blob in self._store.list(self._layout.staged))
        return [name.removesuffix(".json") for name in names if name.endswith(".json")]

    def staged(self) -> Iterator[Manifest]:
        """Manifests of staged segments that are not settled, oldest first."""
        for blob in self._store.list(self._layout.staged):
            found = self._read(blob.key)
            if found is not None:  # else settled by another while we list
                yield found

    def outlinks(self, manifest: Manifest, most: int) -> Iterator[list[Any]]:
        """The links that travel with a segment, in batches of ``most`` or a page's more."""
        if manifest.outlinks is None:
            return
        data = self._store.get(manifest.outlinks.key)
        if warc.digest(data) != manifest.outlinks.digest:
            raise StorageError(f"{manifest.outlinks.key} is damaged: its digest is another")
        yield from read_links(data, most)

    def forget(self, manifest: Manifest) -> None:
        """Its URLs are settled and its outlinks are in: what is left of it waits for `tidy`."""
        self._store.put(self._layout.settled_key(manifest.segment), manifest.to_json())
        self._store.delete(self._layout.manifest_key(manifest.segment))

    def discard(self, manifest: Manifest) -> None:
        """It was aborted: delete what it had staged, which no row refers to."""
        if manifest.outlinks is not None:
            self._store.delete(manifest.outlinks.key)
        for file in manifest.files:
            self._store.delete(self._layout.data_key(file.path))
        self._store.delete(manifest.warc_key)
        self._store.delete(self._layout.manifest_key(manifest.segment))

    def tidy(self, registered: Callable[[], Container[str]], age: float = KEPT) -> None:
        """Delete what settled segments left ``age`` seconds ago, and what nobody knows.

        ``registered`` tells which segments somebody will commit; it is asked after the look at the
        store, as a segment is registered before it puts anything there. A staged one that is not
        was lost by the frontier, with the pending state of its URLs: it is aborted.
        """
        staged, recent = list(self.staged()), list(self._store.list(self._layout.recent))
        known = registered()
        for manifest in staged:
            if manifest.segment in known or expired(manifest.segment):
                continue
            if self.abort(manifest.segment):
                self.discard(manifest)
            else:
                self.forget(manifest)
        settled = {blob.key: blob.modified for blob in recent}
        for blob in recent:  # a segment's ".json" comes before its ".links.zst"
            segment = blob.key.rpartition("/")[2].removesuffix(".json").removesuffix(".links.zst")
            since = settled.get(self._layout.settled_key(segment))
            if segment in known or time.time() - (since or blob.modified) < age:
                continue
            self._store.delete(self._layout.links_key(segment))
            self._store.delete(self._layout.settled_key(segment))

    def _read(self, key: str) -> Manifest | None:
        try:
            return Manifest.from_json(self._store.get(key))
        except BlobNotFound:
            return None
        except StorageError as error:
            raise type(error)(f"{key}: {error}") from error

    def _until_no_conflict(self, attempt: Callable[[Snapshot], _T]) -> _T:
        if not self._prepared:
            self.prepare()
        for number in range(1, _ATTEMPTS + 1):
            try:
                return attempt(self._table.snapshot())
            except CommitConflict:
                self._sleep(_PAUSE * number * _RANDOM.uniform(0.5, 1.5))
        raise StorageUnavailable(
            f"{_ATTEMPTS} commits to {self._table.uri} in a row met a conflict: try again later"
        )


def expired(segment: str) -> bool:
    """Whether the table may have forgotten what became of a segment: nobody may touch it now."""
    return time.time() - segment_time(segment).timestamp() > _OLDEST


def was_in(earlier: Snapshot, at: float, segment: str) -> bool:
    """Whether the rows of a segment, which are in the table now, were so in an earlier snapshot.

    ``at`` is when that was taken, unix seconds: what was too old for a later commit was there.
    Where the table has forgotten since what it knew, the answer may be no.
    """
    too_old = segment_time(segment).timestamp() < at - TRANSACTION_DAYS * 86_400.0
    return too_old or earlier.transaction(segment) == COMMITTED
