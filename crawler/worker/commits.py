"""Staged segments into the table and out of the frontier: commit, settle, outlinks, tidy-up.

Any worker commits what any worker staged, one at a time per table. A segment's URLs are settled
once its commit is known; its record stays in the registry, which keeps its job from ending, until
its outlinks are in the frontier too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from crawler.worker.jobs import JobContext
from crawler.worker.links import TAKEN
from frontier.model import FrontierBusy
from frontier.registry import SegmentRecord
from storage.blob import StorageError
from storage.committer import KEPT, CommitResult, expired
from storage.layout import segment_time
from storage.segment import Manifest
from storage.table import TRANSACTION_DAYS

if TYPE_CHECKING:
    from crawler.worker.process import Worker

COMMIT_LOCK: Final = 60.0  # seconds a committer may take before another may try
TIDY: Final = 300.0  # seconds between two looks at what settled segments left in a store
SLACK: Final = 60.0  # seconds by which the clocks of workers, Redis and the store may differ
UNREADABLE: Final = 30.0  # seconds before outlinks that cannot be read are tried again


class Commits:
    """The commits of one worker, over all its jobs."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._told: set[str] = set()  # expired segments that were reported
        self._tidied: dict[str, float] = {}  # job -> time.monotonic() of its last tidy-up
        self._rest: dict[str, float] = {}  # job -> time.monotonic() until which outlinks wait
        self.busy = asyncio.Lock()  # held while something of a table is decided here

    async def unsettled(self) -> bool:
        """Whether staged segments of this worker wait for their commit."""
        known = (await self._worker.frontier.registry.segments()).items()
        mine = self._worker.id
        return any(r.worker == mine and _due(r) and n not in self._told for n, r in known)

    async def run(self) -> None:
        """Commit what is staged, take in outlinks that wait, tidy up."""
        registry = self._worker.frontier.registry
        staged: dict[str, list[str]] = {}
        settled: dict[str, list[str]] = {}
        for name, record in (await registry.segments()).items():
            if record.job not in self._worker.jobs.contexts or self.beyond_help(name, record):
                continue
            if record.settled:
                settled.setdefault(record.job, []).append(name)
            elif record.staged:
                staged.setdefault(record.job, []).append(name)
        now = time.monotonic()
        waiting = {job for job in settled if self._rest.get(job, 0.0) <= now}
        for name in staged.keys() | waiting:
            job, lock = self._worker.jobs.contexts[name], f"commit:{name}"
            async with self.busy:
                if not await registry.lock(lock, self._worker.id, COMMIT_LOCK):
                    continue
                try:
                    await self.commit(job, staged.get(name, ()))
                    await self._take_in(job, settled.get(name, ()) if name in waiting else ())
                    late = now - self._tidied.get(name, -TIDY) >= TIDY
                    if late and self._worker.reconciling.sound(job):  # else it may be needed
                        await self.tidy(job)
                except StorageError as error:  # of this job's store; the others go on
                    self._worker.trouble(error)
                finally:
                    await registry.lock(lock, self._worker.id, 0)

    def beyond_help(self, name: str, record: SegmentRecord) -> bool:
        """Whether the table may have forgotten about a staged segment: said once, then left."""
        if not _due(record) or not expired(name):
            return False
        if name not in self._told:
            self._told.add(name)
            self._worker.log.error(
                "segment %s of job %s is older than the %d days for which the table knows what was "
                "committed: it is left as it is, staged and its URLs pending, for you to look at",
                name,
                record.job,
                TRANSACTION_DAYS - 1,
            )
        return True

    async def commit(self, job: JobContext, names: Sequence[str]) -> None:
        """Commit or give up staged segments; the caller has the job's lock, and ``busy``."""
        manifests = {}
        for name, manifest in await asyncio.to_thread(self._manifests, job, names):
            if manifest is None:  # settled and forgotten by one who died then; or really gone
                await self._worker.recovery.put_back(job, name)
            else:
                manifests[name] = manifest
        found = [m for m in manifests.values() if not await self._lost(job, m)]
        if not found:
            return
        result: CommitResult = await asyncio.to_thread(job.committer.commit, found)
        for name in (*result.committed, *result.already):
            await self._settle(job, manifests[name])
        for name in result.aborted:
            await self._give_up(job, manifests[name])

    async def _lost(self, job: JobContext, manifest: Manifest) -> bool:
        """Whether a segment cannot be committed, as its URLs are no longer all its own.

        A server that lost the seal may have given them to others, whose rows would be second ones.
        """
        urls = {p: len(fps) for p, fps in manifest.fps.items()}
        if await self._worker.frontier.losses.held(manifest.segment, urls):
            return False
        if not await asyncio.to_thread(job.committer.abort, manifest.segment):
            return False  # it is committed, and settled in part
        self._worker.log.warning(
            "the frontier has lost the seal of segment %s: %d pages will be fetched again",
            manifest.segment,
            manifest.rows,
        )
        await self._give_up(job, manifest)
        return True

    async def _give_up(self, job: JobContext, manifest: Manifest) -> None:
        name = manifest.segment
        await self._worker.recovery.lose(name)
        again = await self._worker.frontier.requeue(name, aborted=True)
        job.counts["refetched"] += again.urls
        if job.copies is not None:
            await job.copies.index.forget(name)
        await asyncio.to_thread(job.committer.discard, manifest)
        await self._worker.frontier.registry.drop_segment(name)

    def _manifests(
        self, job: JobContext, names: Sequence[str]
    ) -> list[tuple[str, Manifest | None]]:
        """Blocking. A manifest that cannot be read holds nobody up."""
        found = []
        for name in names:
            try:
                found.append((name, job.committer.manifest(name)))
            except StorageError as error:
                self._worker.trouble(error)
        return found

    async def _settle(self, job: JobContext, manifest: Manifest) -> None:
        frontier, name = self._worker.frontier, manifest.segment
        await frontier.settle(name, sorted(manifest.fps))
        if job.copies is not None:
            await job.copies.index.confirm(name)
        links, lost = manifest.outlinks, await frontier.registry.lost(job.name)
        at_risk = segment_time(name).timestamp() < lost + SLACK  # they may have been lost again
        if links is None or (links.acknowledged and not at_risk):
            await self._forget(job, manifest)
        else:
            record = SegmentRecord(job.name, self._worker.id, staged=True, settled=True)
            await frontier.registry.put_segment(name, record)

    async def _take_in(self, job: JobContext, names: Sequence[str]) -> None:
        """Add the outlinks that the frontier refused when their segments were sealed, or lost."""
        for name in names:
            try:
                manifest = await asyncio.to_thread(self._settled, job, name)
                if manifest is not None:
                    await job.links.take_in(job.committer.outlinks(manifest, TAKEN))
                    await self._forget(job, manifest)
                else:
                    await self._worker.frontier.registry.drop_segment(name)
            except FrontierBusy as busy:
                self._worker.trouble(busy)
                self._rest[job.name] = time.monotonic() + busy.retry_after
                return
            except StorageError:
                self._rest[job.name] = time.monotonic() + UNREADABLE
                raise

    def _settled(self, job: JobContext, name: str) -> Manifest | None:
        """Blocking."""
        return job.committer.manifest(name) or job.committer.settled(name)

    async def _forget(self, job: JobContext, manifest: Manifest) -> None:
        await asyncio.to_thread(job.committer.forget, manifest)
        await self._worker.frontier.registry.drop_segment(manifest.segment)

    async def tidy(self, job: JobContext, age: float = KEPT) -> None:
        """Delete what settled segments left in the store ``age`` seconds ago."""
        self._tidied[job.name] = time.monotonic()
        registry, loop = self._worker.frontier.registry, asyncio.get_running_loop()

        def registered() -> Collection[str]:
            return asyncio.run_coroutine_threadsafe(registry.segments(), loop).result().keys()

        await asyncio.to_thread(job.committer.tidy, registered, age)


def _due(record: SegmentRecord) -> bool:
    """Whether a segment waits for its commit."""
    return record.staged and not record.settled
