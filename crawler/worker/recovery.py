"""What dead workers left: finished from their disk where it is here, else fetched again.

A segment on this machine's disk whose writer is dead (the kernel says so, by the lock on its
journal) is adopted: registered as ours, then sealed and staged like our own. One whose owner's
heartbeat has run out and whose files are not at hand is put back. Both happen under a lock per
segment and after another look at its record; correctness rests on the frontier's fence and the
table's transactions, not on the lock.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crawler.worker.jobs import JobContext
from frontier.registry import SegmentRecord
from storage import journal
from storage.blob import StorageError
from storage.committer import expired
from storage.journal import AppendFile
from storage.segment import LeftSegment, discard_left

if TYPE_CHECKING:
    from crawler.worker.process import Worker

LOCK: Final = 60.0  # seconds one worker may take with a segment before another may try


class Recovery:
    """One worker's looks at what others left."""

    def __init__(self, worker: Worker, spool: Path) -> None:
        self._worker = worker
        self._spool = spool
        self._lost = ""  # the last segment that is known to be lost

    async def run(self) -> None:
        """One look at the disk, then one at the registry."""
        for path in await asyncio.to_thread(journal.left_in, self._spool):
            try:
                await self._look_at(path)
            except StorageError as error:  # of one segment; the others go on
                self._worker.trouble(error)
        await self._take_over()

    # -- from the disk

    async def _look_at(self, path: Path) -> None:
        """Adopt or remove one segment, if its writer is dead and its job known here."""
        registry, name = self._worker.frontier.registry, journal.segment_of(path)
        record = await registry.segment(name)
        if record is not None and record.job not in self._worker.jobs.contexts:
            return
        rows = await asyncio.to_thread(journal.claim, path)
        if rows is None:
            return
        try:
            if await registry.lock(f"recover:{name}", self._worker.id, LOCK):
                try:
                    await self._adopt(name, rows)
                finally:
                    await registry.lock(f"recover:{name}", self._worker.id, 0)
            else:
                rows.close()  # somebody is putting it back: the next look will tell
        except BaseException:
            rows.close()
            raise

    async def _adopt(self, name: str, rows: AppendFile) -> None:
        """Make a claimed segment ours, unless it is settled, staged or given up."""
        registry, log = self._worker.frontier.registry, self._worker.log
        record = await registry.segment(name)
        job = self._worker.jobs.contexts.get(record.job) if record else None
        if record is None or job is None or record.staged or await self._staged(job, name):
            await asyncio.to_thread(discard_left, rows)
            return
        await registry.put_segment(name, SegmentRecord(job.name, self._worker.id))
        try:
            left = await asyncio.to_thread(LeftSegment, rows, job.layout)
            if expired(name):
                raise StorageError(f"segment {name} is too old to be committed")
        except StorageError as error:
            log.error("%s: its pages will be fetched again", error)
            await asyncio.to_thread(discard_left, rows)
            await self.put_back(job, name)
            return
        log.warning("recovering %d rows of segment %s of %s", left.count, name, record.worker)
        self._worker.segments.finish(job, left)

    async def _staged(self, job: JobContext, name: str) -> bool:
        """Whether it turns out to be staged, which its owner had no time to say."""
        if await asyncio.to_thread(job.committer.manifest, name) is None:
            return False
        record = SegmentRecord(job.name, self._worker.id, staged=True)
        await self._worker.frontier.registry.put_segment(name, record)
        return True

    # -- from the registry

    async def _take_over(self) -> None:
        """Put back the unstaged segments of workers that are gone."""
        registry = self._worker.frontier.registry
        if (lost := await registry.last_lost()) != self._lost:
            self._lost = lost
            self._forget_files()
        segments = await registry.segments()
        if not segments:
            return
        living = await registry.living()
        for name, seen in segments.items():
            job = self._worker.jobs.contexts.get(seen.job)
            if seen.staged or seen.worker in living | {self._worker.id} or job is None:
                continue
            if not await registry.lock(f"recover:{name}", self._worker.id, LOCK):
                continue
            try:
                if await registry.segment(name) == seen:
                    await self.put_back(job, name)
            except StorageError as error:
                self._worker.trouble(error)
            finally:
                await registry.lock(f"recover:{name}", self._worker.id, 0)

    async def put_back(self, job: JobContext, name: str) -> None:
        """Give a segment up, wherever it stands; may be repeated, by anybody.

        Staged: to be committed. Unsealed: requeue. Sealed: the same, after winning its abort.
        """
        frontier = self._worker.frontier
        if await self._staged(job, name):
            return
        await self.lose(name)
        again = await frontier.requeue(name, aborted=False)
        urls = again.urls
        if again.sealed:
            if self._worker.commits.beyond_help(name, SegmentRecord(job.name, "", staged=True)):
                return
            if await asyncio.to_thread(job.committer.abort, name):
                urls += (await frontier.requeue(name, aborted=True)).urls
            else:
                await frontier.settle(name, range(frontier.partitions))
        if urls:
            job.counts["refetched"] += urls
            if job.copies is not None:
                await job.copies.index.forget(name)
            self._worker.log.warning(
                "segment %s was lost: %d URLs will be fetched again", name, urls
            )
        await frontier.registry.drop_segment(name)

    async def lose(self, name: str) -> None:
        """Before its URLs are put back: files whose rows were in the segment are asked for anew."""
        await self._worker.frontier.registry.mark_lost(name)
        self._forget_files()

    def _forget_files(self) -> None:
        self._worker.robots.forget()
        self._worker.tdm.forget()
