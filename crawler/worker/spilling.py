"""Moves what Redis has no room for to the jobs' stores, and back before a queue runs dry.

The frontier tells with each lease and add where there is work; whoever is told does it. A lock
spares two workers the same work, correctness does not depend on it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from frontier.model import FrontierError
from storage.blob import StorageError

if TYPE_CHECKING:
    from crawler.worker.jobs import JobContext
    from crawler.worker.process import Worker

LOCK: Final = 60.0  # seconds one worker may take for a partition
TIDY: Final = 1800.0  # seconds between looks for objects that may go


class Spilling:
    """The spilling of one worker, for all its jobs."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._noted: set[tuple[str, int]] = set()
        self._tidied: dict[tuple[str, int], float] = {}  # -> time.monotonic()

    def note(self, laden: Iterable[tuple[str, int]]) -> None:
        """There is work for these jobs in these partitions."""
        self._noted.update(laden)

    async def work(self) -> None:
        """Do what was noted; a store that fails is tried again when the frontier says so again."""
        while self._noted:
            name, p = self._noted.pop()
            job = self._worker.jobs.contexts.get(name)
            if job is not None:
                try:
                    await self._partition(job, p)
                except StorageError as error:  # of one job; the others go on
                    self._worker.trouble(error)

    async def _partition(self, job: JobContext, p: int) -> None:
        registry, lock = self._worker.frontier.registry, f"spill:{job.name}:{p}"
        if not await registry.lock(lock, self._worker.id, LOCK):
            return
        try:
            spiller = job.spiller
            await spiller.flush(p)
            if await spiller.refill(p):
                self._worker.leasing.note({p: 0.0})
            now = time.monotonic()
            if now - self._tidied.setdefault((job.name, p), now) >= TIDY:
                self._tidied[job.name, p] = now
                await spiller.tidy(p)
        finally:
            try:
                await registry.lock(lock, self._worker.id, 0)
            except FrontierError as error:  # then it ends by itself
                self._worker.trouble(error)
