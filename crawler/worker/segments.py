"""Open segments and their way to the store: append, rotate, seal, stage.

Keeps invariant 5 (done means durable) by the order of those steps and invariant 6 (one row per
visit) by asking the frontier, at the seal, which URLs are still this segment's. What a dead worker
left comes this way too (recovery.py); commits.py takes it from here.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from crawler.worker.jobs import JobContext
from crawler.worker.links import TAKEN
from frontier.client import FencedSegment
from frontier.model import FrontierBusy, FrontierError
from frontier.registry import SegmentRecord
from storage.blob import StorageError, StorageFull
from storage.layout import new_segment_id
from storage.segment import (
    LeftSegment,
    PageRecord,
    SealedSegment,
    SegmentWriter,
    UnsealedSegment,
    stage,
)

if TYPE_CHECKING:
    from crawler.worker.process import Worker

FIRST_AGE: Final = 10.0  # seconds: a crash early in a job loses little; grows to the job's bound
IDLE_AGE: Final = 0.3  # an idle worker stores what it has after this
QUIET_AGE: Final = 5.0  # and a busy one what it has of a job that it holds nothing of
BACKLOG: Final = 3  # sealed segments not yet in the store before leasing stops


class Reserved:
    """Room in a segment for the rows of visits that are pending on it and not yet whole.

    It is not sealed before each of them was given its row, or given up.
    """

    def __init__(self, writer: SegmentWriter) -> None:
        self._writer = writer
        self._open = 0
        self._none = asyncio.Event()
        self._none.set()

    @property
    def segment(self) -> str:
        """The segment's id."""
        return self._writer.segment

    @property
    def taken(self) -> bool:
        """Whether rows are still to come."""
        return self._open > 0

    def take(self) -> None:
        """A row will come."""
        self._open += 1
        self._none.clear()

    def fill(self, record: PageRecord) -> None:
        """It has come; StorageError leaves the room taken."""
        self._writer.append(record)
        self.free()

    def free(self) -> None:
        """It will not come."""
        self._open -= 1
        if not self._open:
            self._none.set()

    async def whole(self) -> None:
        """Return when no row is to come."""
        await self._none.wait()


class DamagedSegment(StorageError):
    """What a dead worker left cannot be stored: its pages are to be fetched again."""


@dataclass(slots=True, eq=False)
class OpenSegment:
    """One open segment of one job."""

    job: JobContext
    writer: SegmentWriter
    room: Reserved
    touched: float = 0.0  # time.monotonic() of the last append


class Segments:
    """This worker's segments, over all its jobs."""

    def __init__(self, worker: Worker, spool: Path) -> None:
        self._worker = worker
        self._spool = spool
        self._open: dict[str, OpenSegment] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._ages: dict[str, float] = {}  # job -> age at which its next segment rotates
        self._finishing: dict[asyncio.Task[None], str] = {}  # task -> job
        self._names: dict[str, str] = {}  # segments not yet in the store -> job
        self._waiting: Counter[str] = Counter()  # of those being finished, such as wait for rows

    def crowded(self, job: str) -> bool:
        """Whether a job's store lags behind: lease no more for it until it has caught up."""
        finishing = sum(name == job for name in self._finishing.values())
        return finishing - self._waiting[job] >= BACKLOG

    async def current(self, job: JobContext) -> str:
        """The id of the job's open segment."""
        return (await self._segment(job)).writer.segment

    async def append(self, job: JobContext, record: PageRecord) -> str:
        """Put a record into the job's open segment; returns the segment's id."""
        segment = await self._segment(job)
        segment.writer.append(record)
        segment.touched = time.monotonic()
        return segment.writer.segment

    async def reserve(self, job: JobContext) -> Reserved:
        """Room for one row in the job's open segment, which may be reported as pending on it."""
        segment = await self._segment(job)
        segment.room.take()
        segment.touched = time.monotonic()
        return segment.room

    async def _segment(self, job: JobContext) -> OpenSegment:
        found = self._open.get(job.name)
        if found is None:
            async with self._opening.setdefault(job.name, asyncio.Lock()):
                found = self._open.get(job.name) or await self._start(job)
        return found

    async def _start(self, job: JobContext) -> OpenSegment:
        worker = self._worker
        name = new_segment_id(worker.name, time.time())
        await worker.frontier.registry.put_segment(name, SegmentRecord(job.name, worker.id))
        info = {
            "software": job.spec.agent.split(" ")[0],
            "http-header-user-agent": job.spec.agent,
            "robots": "obey",
        }
        if job.spec.contact:
            info["operator"] = job.spec.contact
        directory = self._spool / job.name
        try:
            writer = SegmentWriter(directory, job.layout, name, worker.name, info)
        except StorageError:
            await worker.frontier.registry.drop_segment(name)
            raise
        segment = OpenSegment(job, writer, Reserved(writer))
        segment.touched = time.monotonic()
        self._open[job.name] = segment
        self._names[name] = job.name
        return segment

    async def register(self) -> None:
        """Record again what is not yet in the store: the records may have been lost."""
        registry = self._worker.frontier.registry
        for name, job in list(self._names.items()):
            await registry.keep_segment(name, SegmentRecord(job, self._worker.id))

    def jobs(self) -> set[str]:
        """Jobs with a segment that is open or being finished."""
        return self._open.keys() | set(self._finishing.values())

    def rotate(self, *, idle: Callable[[JobContext], bool], all_now: bool = False) -> None:
        """Start finishing the segments that are large, old, or of a job with nothing to do."""
        for name, segment in list(self._open.items()):
            job, writer = segment.job, segment.writer
            age = self._ages.setdefault(name, min(FIRST_AGE, job.spec.segment_age))
            quiet = self._quiet(segment, idle)
            if all_now or quiet or writer.age >= age or writer.size >= job.spec.segment_size:
                if not quiet:
                    self._ages[name] = min(2 * age, job.spec.segment_age)
                self._close(name)

    def _quiet(self, segment: OpenSegment, idle: Callable[[JobContext], bool]) -> bool:
        """Whether there is nothing to wait for."""
        job, rest = segment.job, time.monotonic() - segment.touched
        if rest >= QUIET_AGE and not self._worker.leasing.holds(job.name):
            return True
        return rest >= IDLE_AGE and idle(job)

    def doubt(self, job: JobContext) -> None:
        """The job's open segment may have been given up: nothing more goes in, its seal tells."""
        if job.name in self._open:
            self._close(job.name)

    def _close(self, name: str) -> None:
        segment = self._open.pop(name)
        self.finish(segment.job, segment.writer, segment.room)

    def finish(
        self, job: JobContext, segment: UnsealedSegment, room: Reserved | None = None
    ) -> None:
        """Start finishing a segment, an own one or one that a dead worker left."""
        self._names[segment.segment] = job.name
        task = asyncio.create_task(self._finish(job, segment, room))
        self._finishing[task] = job.name
        task.add_done_callback(self._finishing.pop)

    async def drain(self) -> None:
        """Return when every segment of this worker is staged, or has failed for good."""
        self.rotate(idle=lambda _: True, all_now=True)
        while self._finishing:
            await asyncio.wait(set(self._finishing))

    async def _finish(
        self, job: JobContext, segment: UnsealedSegment, room: Reserved | None
    ) -> None:
        """Seal and stage one segment; whatever fails is tried again until it works."""
        worker, name = self._worker, segment.segment
        try:
            await self._whole(job, room)
            sealed = await self._seal(job, segment)
            await (self._stage(job, sealed) if job.keeps else self._done(sealed))
            await asyncio.to_thread(sealed.discard)
        except FencedSegment as error:
            await self._lose(job, segment, str(error))
        except DamagedSegment as error:
            await self._lose(job, segment, str(error))
        except (FrontierError, StorageError):
            return  # said already; the segment is on disk and its URLs are pending: not lost
        except Exception as error:
            worker.log.exception("segment %s cannot be finished", name)
            worker.give_up(f"segment {name} cannot be finished: {error}")
        finally:
            self._names.pop(name, None)

    async def _whole(self, job: JobContext, room: Reserved | None) -> None:
        """Wait for rows that are to come; the job's leases do not wait for them."""
        if room is not None and room.taken:
            self._waiting[job.name] += 1
            try:
                await room.whole()
            finally:
                self._waiting[job.name] -= 1

    async def _stage(self, job: JobContext, sealed: SealedSegment) -> None:
        """Into the store; the committer goes on from there."""
        name, registry = sealed.manifest.segment, self._worker.frontier.registry
        await self._again(lambda: asyncio.to_thread(stage, job.store, sealed))
        record = SegmentRecord(job.name, self._worker.id, staged=True)
        await self._again(lambda: registry.put_segment(name, record))

    async def _done(self, sealed: SealedSegment) -> None:
        """Its job stores nothing: what it says is done is done."""
        name, frontier = sealed.manifest.segment, self._worker.frontier
        await self._again(lambda: frontier.settle(name, sorted(sealed.manifest.fps)))
        await self._again(lambda: frontier.registry.drop_segment(name))

    async def _seal(self, job: JobContext, segment: UnsealedSegment) -> SealedSegment:
        """Its outlinks are in, or travel with it; its rows are those the frontier holds."""
        left = isinstance(segment, LeftSegment)
        await self._again(lambda: self._worker.flush_turns(job))
        acknowledged = await self._again(lambda: self._links_in(job, segment))
        keep = await self._held(segment, left=left)

        async def seal() -> SealedSegment:
            try:
                return await asyncio.to_thread(segment.seal, keep, acknowledged=acknowledged)
            except StorageFull as error:
                if left:  # its room is what the disk needs
                    raise DamagedSegment(str(error)) from error
                raise

        sealed: SealedSegment = await self._again(seal)
        return sealed

    async def _held(self, segment: UnsealedSegment, *, left: bool) -> set[str]:
        """Close it at the frontier; the URLs that are pending on it, each of which has a row."""
        frontier, name = self._worker.frontier, segment.segment
        where = range(frontier.partitions) if left else sorted(segment.partitions)
        held = await self._again(lambda: frontier.seal(name, where))
        keep = {fp for fps in held.values() for fp in fps}
        if missing := len(keep - segment.fps):
            raise DamagedSegment(f"segment {name} has lost {missing} of its pages")
        if left and (late := len(segment.fps - keep)):
            message = "%d pages of segment %s had not been reported, or are another's by now"
            self._worker.log.warning(message, late, name)
        return keep

    async def _links_in(self, job: JobContext, segment: UnsealedSegment) -> bool:
        """Whether the frontier has all outlinks; else they travel with the segment."""
        try:
            if isinstance(segment, LeftSegment):
                await job.links.take_in(segment.outlinks(TAKEN))
            else:
                await job.links.flush()
        except FrontierBusy:
            if not job.keeps:  # they cannot travel: wait until there is room again
                raise
            await job.links.let_travel(segment.outlinks(TAKEN))
            return False
        return True

    async def _lose(self, job: JobContext, segment: UnsealedSegment, why: str) -> None:
        """Its pages will be fetched again; whoever began to put them back, see that it is done."""
        self._worker.log.warning("%s; its pages will be fetched again", why)
        try:
            await asyncio.to_thread(segment.discard)
            await self._again(lambda: self._worker.recovery.put_back(job, segment.segment))
        except (FrontierError, StorageError) as error:
            self._worker.trouble(error)

    async def _again(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """A step until it succeeds; a full disk or a lost store waits, it does not lose."""
        pause = 0.2
        while True:
            try:
                return await step()
            except (FencedSegment, DamagedSegment):
                raise
            except (FrontierError, StorageError) as error:
                self._worker.trouble(error)
                if self._worker.hopeless:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, 5.0)
