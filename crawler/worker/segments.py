"""Open segments and their way into the table: append, rotate, seal, stage, commit, settle.

Keeps invariant 5 (done means durable) by the order of those steps and invariant 6 (one row per
visit) by asking the frontier, at the seal, which URLs are still this segment's. Any worker commits
what any worker staged, one at a time per table, and recovers what a dead worker left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from crawler.worker.jobs import JobContext
from frontier.client import FencedSegment
from frontier.model import FrontierError
from frontier.registry import SegmentRecord
from storage.blob import StorageError
from storage.layout import new_segment_id
from storage.segment import PageRecord, SealedSegment, SegmentWriter, stage

if TYPE_CHECKING:
    from crawler.worker.process import Worker

FIRST_AGE: Final = 10.0  # seconds: a crash early in a job loses little; grows to the job's bound
IDLE_AGE: Final = 0.3  # an idle worker stores what it has after this
BACKLOG: Final = 3  # sealed segments not yet in the store before leasing stops
COMMIT_LOCK: Final = 60.0  # seconds a committer may take before another may try


@dataclass(slots=True, eq=False)
class OpenSegment:
    """One open segment of one job."""

    job: JobContext
    writer: SegmentWriter
    partitions: set[int] = field(default_factory=set)  # where its URLs are pending
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

    def crowded(self, job: str) -> bool:
        """Whether a job's store lags behind: lease no more for it until it has caught up."""
        return sum(name == job for name in self._finishing.values()) >= BACKLOG

    async def current(self, job: JobContext) -> str:
        """The id of the job's open segment."""
        return (await self._segment(job)).writer.segment

    async def append(self, job: JobContext, record: PageRecord) -> str:
        """Put a record into the job's open segment; returns the segment's id."""
        segment = await self._segment(job)
        segment.writer.append(record)
        segment.touched = time.monotonic()
        if record.fp:
            segment.partitions.add(record.partition)
        return segment.writer.segment

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
        segment = OpenSegment(job, SegmentWriter(directory, job.layout, name, worker.name, info))
        self._open[job.name] = segment
        return segment

    def jobs(self) -> set[str]:
        """Jobs with a segment that is open or being finished."""
        return self._open.keys() | set(self._finishing.values())

    def rotate(self, *, idle: Callable[[JobContext], bool], all_now: bool = False) -> None:
        """Start finishing the segments that are large, old, or of a job with nothing to do."""
        for name, segment in list(self._open.items()):
            job, writer = segment.job, segment.writer
            age = self._ages.setdefault(name, min(FIRST_AGE, job.spec.segment_age))
            quiet = idle(job) and time.monotonic() - segment.touched >= IDLE_AGE
            if all_now or quiet or writer.age >= age or writer.size >= job.spec.segment_size:
                if not quiet:
                    self._ages[name] = min(2 * age, job.spec.segment_age)
                del self._open[name]
                task = asyncio.create_task(self._finish(job, segment))
                self._finishing[task] = name
                task.add_done_callback(self._finishing.pop)

    async def drain(self) -> None:
        """Return when every segment of this worker is staged, or has failed for good."""
        self.rotate(idle=lambda _: True, all_now=True)
        while self._finishing:
            await asyncio.wait(set(self._finishing))

    async def _finish(self, job: JobContext, segment: OpenSegment) -> None:
        """Seal and stage one segment; whatever fails is tried again until it works."""
        worker, name = self._worker, segment.writer.segment
        try:
            await self._again(lambda: worker.flush_turns(job))
            await self._again(job.links.flush)
            held: dict[int, list[str]] = await self._again(
                lambda: worker.frontier.seal(name, sorted(segment.partitions))
            )
            keep = {fp for fps in held.values() for fp in fps}
            sealed: SealedSegment = await self._again(
                lambda: asyncio.to_thread(segment.writer.seal, keep)
            )
            await self._again(lambda: asyncio.to_thread(stage, job.store, sealed))
            record = SegmentRecord(job.name, worker.id, staged=True)
            await self._again(lambda: worker.frontier.registry.put_segment(name, record))
            await asyncio.to_thread(sealed.discard)
        except FencedSegment as error:
            worker.log.warning("%s; its pages will be fetched again", error)
            await asyncio.to_thread(segment.writer.discard)
        except (FrontierError, StorageError):
            return  # said already; the segment is on disk and its URLs are pending: not lost
        except Exception as error:
            worker.log.exception("segment %s cannot be finished", name)
            worker.give_up(f"segment {name} cannot be finished: {error}")

    async def _again(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """A step until it succeeds; a full disk or a lost store waits, it does not lose."""
        pause = 0.2
        while True:
            try:
                return await step()
            except FencedSegment:
                raise
            except (FrontierError, StorageError) as error:
                self._worker.trouble(error)
                if self._worker.hopeless:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, 5.0)

    async def unsettled(self) -> bool:
        """Whether staged segments of this worker wait for their commit."""
        known = await self._worker.frontier.registry.segments()
        return any(r.staged and r.worker == self._worker.id for r in known.values())

    # -- any worker's segments

    async def commit(self) -> None:
        """Commit what is staged, one committer per table, and settle it."""
        by_job: dict[str, list[str]] = {}
        registry = self._worker.frontier.registry
        for name, record in (await registry.segments()).items():
            if record.staged and record.job in self._worker.jobs.contexts:
                by_job.setdefault(record.job, []).append(name)
        for job_name in by_job:
            job, lock = self._worker.jobs.contexts[job_name], f"commit:{job_name}"
            if await registry.lock(lock, self._worker.id, COMMIT_LOCK):
                try:
                    await self._commit(job)
                except StorageError as error:  # of this job's store; the others go on
                    self._worker.trouble(error)
                finally:
                    await registry.lock(lock, self._worker.id, 0)

    async def _commit(self, job: JobContext) -> None:
        frontier = self._worker.frontier
        manifests = await asyncio.to_thread(lambda: list(job.committer.staged()))
        if not manifests:
            return
        result = await asyncio.to_thread(job.committer.commit, manifests)
        partitions = {m.segment: sorted(m.fps) for m in manifests}
        for name in (*result.committed, *result.already):
            await frontier.settle(name, partitions[name])
            if job.dedupe is not None:
                await job.dedupe.confirm(name)
        for name in result.aborted:
            await frontier.requeue(name, aborted=True)
        for name in (*result.committed, *result.already, *result.aborted):
            await asyncio.to_thread(job.committer.forget, name)
            await frontier.registry.drop_segment(name)

    async def recover(self) -> None:
        """Take over the unstaged segments of workers that are gone."""
        frontier = self._worker.frontier
        segments = await frontier.registry.segments()
        if not segments:
            return
        living = await frontier.registry.living()
        for name, record in segments.items():
            job = self._worker.jobs.contexts.get(record.job)
            if record.staged or record.worker in living or job is None:
                continue
            if await frontier.registry.lock(f"recover:{name}", self._worker.id, COMMIT_LOCK):
                try:
                    await self._recover(job, name, record)
                except StorageError as error:
                    self._worker.trouble(error)

    async def _recover(self, job: JobContext, name: str, record: SegmentRecord) -> None:
        """Staged: to be committed. Unsealed: requeue. Sealed: the same, after winning its abort."""
        frontier = self._worker.frontier
        staged = await asyncio.to_thread(lambda: {m.segment for m in job.committer.staged()})
        if name in staged:
            record = SegmentRecord(record.job, record.worker, staged=True)
            await frontier.registry.put_segment(name, record)
            return
        again = await frontier.requeue(name, aborted=False)
        if again is None:
            if await asyncio.to_thread(job.committer.abort, name):
                again = await frontier.requeue(name, aborted=True)
            else:
                await frontier.settle(name, range(frontier.partitions))
        if again and job.dedupe is not None:
            await job.dedupe.forget(name)
        await frontier.registry.drop_segment(name)
        self._worker.log.warning(
            "took over segment %s of %s: %d URLs will be fetched again",
            name,
            record.worker,
            again or 0,
        )
