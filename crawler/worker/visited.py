"""Which visits are due, read from the table of pages: the blocking side of the sweeper.

The table is the only record: a row says when its successor is due, a stored sitemap which pages
have changed since. Kept here: bounded memory (what is due goes out while the table is being read;
of what is to come an :class:`~crawler.recrawl.Agenda` holds the earliest, and what lies beyond is
read again when its time comes), and nothing is passed over: a file is read whole when it is new,
later only for what was not held. In a file that a merge wrote, rows of new segments are new.

Measured: reading a million rows costs 0.8 s of one core in Arrow, and 15 us of Python for each row
that is held or handed over; memory grows by less than 100 MB.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crawler.recrawl import (
    DAY,
    GONE,
    NEVER,
    START,
    Agenda,
    Due,
    Key,
    Schedule,
    brought_forward,
    successor,
)
from crawler.sitemap import parse_sitemap
from frontier.url import InvalidUrl, parse
from storage import warc
from storage.blob import BlobStore, StorageError, StorageUnavailable
from storage.committer import was_in
from storage.layout import Layout, is_segments
from storage.table import PagesTable, Snapshot

MOST: Final = 50_000  # visits to come in memory, twice that while reading: about 1 KB each
LISTED: Final = 50_000  # dated entries of sitemaps looked up at once
ROWS: Final = 8_192  # rows per batch
BATCH: Final = 1_000  # due visits handed over at once
AHEAD: Final = 8  # such batches that may wait while the table is being read
SLACK: Final = 3_600.0  # seconds before the mark that are gone over again after a take-over

_LOG: Final = logging.getLogger("comity.worker")
_PLACE: Final = ("warc_filename", "warc_record_offset", "warc_record_length")
_COLUMNS: Final = (
    *("url", "visit", "kind", "fetch_time", "fetch_status", "reason", "recrawl_interval"),
    *("page_id", "content_digest", "content_truncated", "text_digest", "etag", "last_modified"),
    *("redirect_to", "depth", "hops", "via", "revisit_of", "revisit_time", "segment", *_PLACE),
)


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """How far a sweeper has come: all that was due by ``at`` in files of ``version`` is offered."""

    version: int  # of the table
    at: float  # unix seconds
    plan: str  # the schedule it went by; another one makes the mark worthless
    lost: float = 0.0  # when the frontier may last have lost what was offered; as `plan`


@dataclass(frozen=True, slots=True)
class _Rows:
    """Those of segments that have been read, or those of others."""

    known: Callable[[str], bool]  # whether a segment has been read
    new: bool  # those of others

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        segments = batch.column("segment")
        names: list[Any] = segments.unique().to_pylist()
        wanted = [name for name in names if self.known(name) != self.new]
        return batch.filter(pc.is_in(segments, pa.array(wanted, pa.string())))


@dataclass(slots=True)
class Stored:
    """A sitemap whose dates are to be held against the visits of its pages."""

    at: float  # unix seconds: not before
    row: dict[str, Any]


class Visited:
    """A job's table as the sweeper reads it.

    :meth:`read` is blocking, for a thread of its own, one call at a time; all else is for the
    event loop. ``running`` says False when reading should stop; ``mark`` is where an earlier
    sweeper left off.
    """

    def __init__(
        self,
        store: BlobStore,
        layout: Layout,
        plan: Schedule,
        running: Callable[[], bool],
        mark: Mark | None = None,
        agenda: Agenda | None = None,
    ) -> None:
        self.mark = mark
        self.plan = plan
        self.version = -1  # of the table when it was last read
        self.agenda = agenda or Agenda(MOST)
        self._store = store
        self._layout = layout
        self._running = running
        self._closed = False
        self._reading = False
        self._ready: queue.Queue[list[Due]] = queue.Queue(AHEAD)  # due, from the reading thread
        self._returned: list[Due] = []  # due, but not accepted yet
        self._files: frozenset[str] = frozenset()  # what has been read of the table
        self._seen = mark.at if mark else 0.0  # unix seconds: when that was
        self._floor: Key = START  # what lies before has been handed over
        self._sitemaps: dict[str, Stored] = {}  # by URL, to be looked at
        self._look = -math.inf  # unix seconds of the next look at the table

    def wants(self, now: float) -> bool:
        """Whether it is time for :meth:`read`: as often as anything new could be due."""
        return now >= self._look or self.agenda.exhausted(now)

    def idle(self, now: float) -> bool:
        """Whether all that was due by ``now`` has been taken, and no sitemap waits."""
        waiting = self._returned or self._reading or self._sitemaps or not self._ready.empty()
        return not waiting and self.agenda.idle(now)

    def take(self, now: float) -> list[Due]:
        """Some visits that are due; what is not accepted has to be given back."""
        if self._returned:
            found, self._returned = self._returned, []
            return found
        if not self._ready.empty():
            return self._ready.get_nowait()
        return [] if self._reading else self.agenda.due(now, BATCH)

    def give_back(self, visits: list[Due]) -> None:
        """They could not be offered now."""
        self._returned += visits

    def close(self) -> None:
        """Let :meth:`read` come to an end."""
        self._closed = True

    def read(self, now: float) -> bool:
        """Take in what is new, or all that is to come; False when it was stopped midway.

        After False, or a StorageError, this object is worthless.
        """
        self._reading = True
        try:
            self._look = now + min(max(self.plan.shortest / 4, 0.25), 60.0)
            table = PagesTable(self._store, self._layout.table)
            snapshot = table.snapshot()
            return self._catch_up(table, snapshot, now) and self._look_at_sitemaps(snapshot, now)
        finally:
            self._reading = False

    def _catch_up(self, table: PagesTable, snapshot: Snapshot, now: float) -> bool:
        whole = self.agenda.exhausted(now)
        if snapshot.version == self.version and not whole:
            return True
        files = snapshot.files()
        if self.version < 0 and self.mark is not None:
            self._files = _files_at(table, self.mark.version)
            self._floor = (self.mark.at - SLACK, "", 0)
        elif whole:
            self._floor = self.agenda.horizon
        if whole:
            self.agenda.open()
        fresh, at = files - self._files, time.time()
        merged = frozenset(file for file in fresh if not is_segments(file))
        known = self._known(table) if merged else _nothing
        passes = [(fresh - merged, START, None), (merged, START, _Rows(known, new=True))]
        if whole:
            passes += [(files - fresh, self._floor, None)]
            passes += [(merged, self._floor, _Rows(known, new=False))]
        done = all(not f or self._take_in(snapshot, f, floor, now, r) for f, floor, r in passes)
        self._files, self.version, self._seen = files, snapshot.version, at
        return done

    def _known(self, table: PagesTable) -> Callable[[str], bool]:
        """Which segments have been read. A merge writes files anew, and their rows with them."""
        version = self.version if self.version >= 0 else self.mark.version if self.mark else -1
        try:
            earlier = table.snapshot(version) if version >= 0 else None
        except StorageError:  # as for _files_at
            earlier = None
        at = min(self._seen, time.time())
        return cache(lambda segment: earlier is not None and was_in(earlier, at, segment))

    def _take_in(
        self, snapshot: Snapshot, files: frozenset[str], floor: Key, now: float, only: _Rows | None
    ) -> bool:
        """The successors of all rows of these files, or some, that are due from ``floor`` on."""
        ready: list[Due] = []
        for found in snapshot.batches(_COLUMNS, self._where(floor), ROWS, files):
            if self._stopped():
                return False
            batch = only.of(found) if only else found
            at = self._times(batch)
            picked = np.flatnonzero((at >= floor[0]) & (at <= self.agenda.horizon[0]))
            for when, row in zip(at[picked], _rows(batch.take(picked)), strict=True):
                due = successor(row, float(when))
                if when <= now and due[:3] >= floor:
                    ready.append(due)
                elif due[:3] >= floor:
                    self.agenda.add(due)
            if len(ready) >= BATCH:
                if not self._hand_over(ready):
                    return False
                ready = []
            if floor is START:
                self._note_sitemaps(batch)
        return self._hand_over(ready)

    def _stopped(self) -> bool:
        return self._closed or not self._running()

    def _hand_over(self, ready: list[Due]) -> bool:
        """Wait until the event loop has room for these; False when it was stopped meanwhile."""
        for left in range(0, len(ready), BATCH):
            while not self._stopped():
                try:
                    self._ready.put(ready[left : left + BATCH], timeout=0.5)
                    break
                except queue.Full:
                    continue
        return not self._stopped()

    def _where(self, floor: Key) -> pc.Expression:
        """Rows that have successors; days are left out whose last ones are before the floor."""
        status, reason = pc.field("fetch_status"), pc.field("reason")
        where = pc.field("kind").isin(["page", "revisit", "sitemap"])
        where &= status.is_null() | (status != GONE)
        where &= reason.is_null() | ~reason.isin(sorted(NEVER))
        if math.isfinite(floor[0]):
            day = datetime.fromtimestamp(max(0.0, floor[0] - self.plan.longest - DAY), UTC).date()
            where &= pc.field("fetch_date") >= pa.scalar(day)
        return where

    def _times(self, batch: pa.RecordBatch) -> Any:
        status = batch.column("fetch_status").fill_null(0).to_numpy(zero_copy_only=False)
        reason = batch.column("reason").is_valid().to_numpy(zero_copy_only=False)
        fetched = batch.column("fetch_time").cast(pa.int64()).to_numpy(zero_copy_only=False)
        intervals = batch.column("recrawl_interval").to_numpy(zero_copy_only=False)
        failed = (status == 0) | (status >= 400) | reason
        return self.plan.due(fetched / 1e6, intervals.astype(np.float64), failed)

    # -- sitemaps

    def _note_sitemaps(self, batch: pa.RecordBatch) -> None:
        """Remember sitemaps that were stored anew: one that is as before says nothing new."""
        whole = (pc.field("fetch_status") == 200) & pc.field("reason").is_null()
        whole &= (pc.field("kind") == "sitemap") & pc.field("warc_filename").is_valid()
        for row in _rows(batch.filter(whole)):
            known = self._sitemaps.get(row["url"])
            if known is None or known.row["fetch_time"] < row["fetch_time"]:
                self._sitemaps[row["url"]] = Stored(0.0, row)

    def _look_at_sitemaps(self, snapshot: Snapshot, now: float) -> bool:
        """Bring pages forward that some sitemaps say have changed since their last visit.

        A page that was visited a moment ago makes its sitemap be looked at again later.
        """
        dated = self._dated(now)
        last = self._last_visits(snapshot, dated.keys()) if dated else {}
        if last is None:
            return False
        ready: list[Due] = []
        for url, row in last.items():
            changed, stored = dated[url]
            listed = stored.row["fetch_time"]
            at = brought_forward(changed, listed, row["fetch_time"], self.plan)
            if at is not None and at <= now:
                ready.append(successor(row, at))
            elif at is not None:
                stored.at = min(stored.at, at)
                self._sitemaps[stored.row["url"]] = stored
        return self._hand_over(ready)

    def _dated(self, now: float) -> dict[str, tuple[float, Stored]]:
        """URL -> when it changed, and the sitemap that says so; of some that are to be looked at.

        They are done with, unless they are put back.
        """
        dated: dict[str, tuple[float, Stored]] = {}
        for stored in [s for s in self._sitemaps.values() if s.at <= now]:
            if len(dated) >= LISTED:
                break
            del self._sitemaps[stored.row["url"]]
            stored.at = math.inf
            for url, changed in self._dates(stored.row):
                if url not in dated or dated[url][0] < changed:
                    dated[url] = changed, stored
        return dated

    def _dates(self, row: dict[str, Any]) -> Iterator[tuple[str, float]]:
        """The dated entries of a stored sitemap: canonical URLs of its own domain.

        One that is gone or damaged has none: pages then come at their ordinary time.
        """
        home = parse(row["url"]).domain
        name, offset, length = (row[column] for column in _PLACE)
        try:
            payload = warc.read(self._store.get(name, offset, length)).payload
        except StorageUnavailable:
            raise
        except StorageError as error:
            _LOG.warning("cannot read the stored sitemap %s: %s", row["url"], error)
            return
        for entry in parse_sitemap(payload):
            if entry.lastmod is None:
                continue
            try:
                url = parse(entry.loc)
            except InvalidUrl:
                continue
            if url.domain == home:
                yield url.url, entry.lastmod

    def _last_visits(self, snapshot: Snapshot, urls: Any) -> dict[str, dict[str, Any]] | None:
        """The newest row of each of these URLs that has one; None when it was stopped."""
        found: dict[str, dict[str, Any]] = {}
        where = pc.field("kind").isin(["page", "revisit", "sitemap"])
        where &= pc.field("url").isin(pa.array(urls, pa.string()))
        for batch in snapshot.batches(_COLUMNS, where, ROWS):
            if self._stopped():
                return None
            for row in _rows(batch):
                if row["url"] not in found or found[row["url"]]["visit"] < row["visit"]:
                    found[row["url"]] = row
        return found


def mark_of(visited: Visited, now: float) -> Mark:
    """What a sweeper that takes over has to know."""
    return Mark(visited.version, now, repr(visited.plan))


def read_mark(data: bytes, plan: Schedule) -> Mark | None:
    """The mark that was noted under this schedule; None where there is none."""
    try:
        mark = msgspec.json.decode(data, type=Mark)
    except msgspec.DecodeError:
        return None
    return mark if mark.plan == repr(plan) and mark.at <= time.time() + DAY else None


def _nothing(segment: str) -> bool:
    return False


def _files_at(table: PagesTable, version: int) -> frozenset[str]:
    try:
        return table.snapshot(version).files()
    except StorageError:  # its log has been cleaned up: everything counts as new
        return frozenset()


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows as dictionaries, times as unix seconds."""
    rows: list[dict[str, Any]] = batch.to_pylist()
    for row in rows:
        for name in ("fetch_time", "revisit_time"):
            row[name] = row[name].timestamp() if row[name] is not None else None
    return rows
