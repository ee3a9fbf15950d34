"""After a loss of acknowledged writes: what the store knows is told to the frontier again.

A promoted replica, or a server restarted with the file it had, may lack adds, reports, seals and
settlements. It grants nothing of a job until one worker has done this for it, in this order
(docs/decisions/0011):

1. tell it of the rows that the table got since: these URLs are finished, wherever they are;
2. commit what is staged, or give up what is no longer held; tell it of what that brought to light;
3. finish, put back or register the segments whose end it, or the registry, does not know;
4. have outlinks of recent segments added again (commits.py does); let recrawls be offered again.

Every step may be repeated, by anybody: a worker that dies leaves the rest to the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from crawler.worker.commits import COMMIT_LOCK, SLACK
from crawler.worker.jobs import JobContext
from frontier.losses import Row
from frontier.model import FrontierError
from frontier.registry import SegmentRecord
from frontier.url import InvalidUrl, parse
from storage.blob import StorageError
from storage.committer import COMMITTED
from storage.table import ASIDE

if TYPE_CHECKING:
    from crawler.worker.process import Worker

ROWS: Final = 8_192  # rows read at a time
_COLUMNS: Final = ("url", "visit", "kind", "reason")


class Reconciling:
    """What one worker does about losses."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._losses: dict[int, int] = {}  # partition -> when it last lost writes, 0: never
        self._done: dict[tuple[str, int], int] = {}  # job, partition -> loss made good

    async def note(self, losses: Mapping[int, int]) -> None:
        """Leases tell when partitions may last have lost writes."""
        fresh = {p: n for p, n in losses.items() if n > self._losses.get(p, 0)}
        if fresh:
            for job in self._worker.jobs.contexts.values():
                job.links.forget()
            await self._worker.segments.register()
        self._losses.update(losses)

    def sound(self, job: JobContext) -> bool:
        """Whether all partitions are known to have, or to have been told, all of a job."""
        return len(self._losses) == self._worker.frontier.partitions and all(
            self._done.get((job.name, p), 0) >= n for p, n in self._losses.items()
        )

    async def run(self) -> None:
        """Reconcile what is to be; to be repeated."""
        for job in list(self._worker.jobs.contexts.values()):
            losses = {p: n for p, n in self._losses.items() if self._done.get((job.name, p), 0) < n}
            if losses:
                try:
                    await self._look(job, losses)
                except StorageError as error:  # of this job's store; the others go on
                    self._worker.trouble(error)

    async def _look(self, job: JobContext, losses: dict[int, int]) -> None:
        """Reconcile a job, unless another worker has, or is about it."""
        frontier, lock = self._worker.frontier, f"commit:{job.name}"
        async with self._worker.commits.busy:
            if not await frontier.registry.lock(lock, self._worker.id, COMMIT_LOCK):
                return
            try:
                since = await frontier.losses.look(job.name, losses)
                if since:
                    await self._reconcile(job, since)
                    await frontier.losses.done(job.name, {p: losses[p] for p in since})
            finally:
                await frontier.registry.lock(lock, self._worker.id, 0)
        self._done.update({(job.name, p): n for p, n in losses.items()})
        self._worker.leasing.note(dict.fromkeys(since, 0.0))

    async def _reconcile(self, job: JobContext, since: dict[int, float]) -> None:
        registry, when = self._worker.frontier.registry, min(since.values()) - SLACK
        self._worker.log.warning(
            "the frontier may have lost what it did for job %s after %s: reconciling %d partitions",
            job.name,
            time.strftime("%F %T %Z", time.localtime(min(since.values()))),
            len(since),
        )
        await registry.move_job(job.name, (), lost=time.time())
        known = await self._tell(job, since, when, frozenset())
        await self._commit_staged(job)
        await self._tell(job, since, when, known)
        await self._sort_out(job)
        for name in await asyncio.to_thread(job.committer.settled_since, when):
            record = SegmentRecord(job.name, self._worker.id, staged=True, settled=True)
            await registry.keep_segment(name, record)

    async def _extend(self, job: JobContext) -> None:
        """Keep the job's lock for another while."""
        lock = f"commit:{job.name}"
        if not await self._worker.frontier.registry.lock(lock, self._worker.id, COMMIT_LOCK):
            raise FrontierError(f"another worker reconciles job {job.name}")

    # -- rows

    async def _tell(
        self, job: JobContext, since: dict[int, float], when: float, known: frozenset[str]
    ) -> frozenset[str]:
        """Tell of the rows of files that were committed after ``when``; the names of these files.

        Files that are ``known`` are left out.
        """
        snapshot = await asyncio.to_thread(job.committer.pages)
        files = await asyncio.to_thread(snapshot.files_since, when)
        batches = (
            snapshot.batches(_COLUMNS, None, ROWS, files - known) if files - known else iter(())
        )
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            rows = [row for row in self._rows(batch.to_pylist()) if row[0] in since]
            await self._worker.frontier.losses.tell(job.name, rows)
            await self._extend(job)
        return files

    def _rows(self, rows: list[dict[str, object]]) -> Iterator[Row]:
        for row in rows:
            if row["kind"] in ASIDE:
                continue
            try:
                place = self._worker.frontier.place(
                    parse(str(row["url"])), int(str(row["visit"] or 1))
                )
            except InvalidUrl:  # by the rules of another version
                continue
            yield *place, str(row["reason"] or "")

    # -- segments

    async def _commit_staged(self, job: JobContext) -> None:
        """Decide about all that is staged, also what the registry has forgotten."""
        registry = self._worker.frontier.registry
        names = []
        for name in await asyncio.to_thread(job.committer.staged_names):
            record = await registry.segment(name)
            if record is None or not record.staged:
                record = SegmentRecord(job.name, self._worker.id, staged=True)
                await registry.put_segment(name, record)
            if not record.settled and not self._worker.commits.beyond_help(name, record):
                names.append(name)
        await self._worker.commits.commit(job, names)
        await self._extend(job)

    async def _sort_out(self, job: JobContext) -> None:
        """See to segments that have URLs pending, or a record, though they have ended."""
        frontier = self._worker.frontier
        records = {
            n: r for n, r in (await frontier.registry.segments()).items() if r.job == job.name
        }
        holders: dict[str, dict[int, bool]] = {name: {} for name in records}
        for p in range(frontier.partitions):  # the registry's server may be the one that lost
            for name, sealed in (await frontier.losses.segments(job.name, p)).items():
                holders.setdefault(name, {})[p] = sealed
        outcomes = await asyncio.to_thread(job.committer.outcomes, holders)
        for name, outcome in outcomes.items():
            record = records.get(name)
            if outcome is None:
                if record is None:  # nobody would ever look at it
                    await frontier.registry.keep_segment(name, SegmentRecord(job.name, ""))
                continue
            for p, sealed in holders[name].items():
                if sealed and outcome == COMMITTED:
                    await frontier.settle(name, [p])
                else:  # what has its row is struck off when it comes up
                    await frontier.requeue(name, aborted=True, partitions=[p])
            if record is not None and not record.staged:
                await self._worker.recovery.put_back(job, name)
            await self._extend(job)
