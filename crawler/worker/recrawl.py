"""The sweeper: offers due visits to the frontier, one worker at a time per job.

Keeps invariant 6 (one row per visit) by naming the visit: every visit has a fingerprint of its own
in the seen-filter, so what is offered twice (by a sweeper that died before it noted how far it had
come, by two at once, after a re-read) is queued once. So nothing here has to be exactly once.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from crawler.recrawl import Due
from crawler.worker.pipelines import DEEP
from crawler.worker.visited import Mark, Visited, mark_of, read_mark
from frontier.model import CrawlRequest, FrontierBusy, FrontierError, Limits
from frontier.url import InvalidUrl, Url, parse
from storage.blob import StorageError

if TYPE_CHECKING:
    from crawler.worker.jobs import JobContext
    from crawler.worker.process import Worker

LOCK: Final = 10.0  # seconds after which another worker takes over from one that is gone
BATCHES: Final = 4  # calls per job and sweep
NOTE: Final = 60.0  # seconds between notes of how far a quiet job's sweeper has come
REST: Final = 5.0  # seconds a job is left alone whose table cannot be read


@dataclass(slots=True, eq=False)
class _Watch:
    """One job as its sweeper sees it."""

    epoch: int  # of the job
    lost: float  # when the frontier may last have lost something of the job, as far as known
    visited: Visited
    reading: asyncio.Task[bool] | None = None
    noted: Mark | None = None


class Sweeper:
    """The recrawls of the jobs of one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._watches: dict[str, _Watch] = {}
        self._resting: dict[str, float] = {}  # job -> time.monotonic() until which it is left alone

    async def sweep(self) -> None:
        """One look at every job that visits again; to be repeated every half second or so."""
        jobs = self._worker.jobs.contexts
        for name in self._watches.keys() - jobs.keys():
            self._drop(name)
        for job in list(jobs.values()):
            if job.schedule is None or not self._worker.serves(job):
                self._drop(job.name)
            elif self._resting.get(job.name, 0.0) <= time.monotonic():
                try:
                    await self._sweep(job)
                except StorageError as error:
                    self._drop(job.name)
                    self._rest(job, REST)
                    self._worker.trouble(error)

    def _rest(self, job: JobContext, seconds: float) -> None:
        self._resting[job.name] = time.monotonic() + seconds

    async def _sweep(self, job: JobContext) -> None:
        registry = self._worker.frontier.registry
        if not await registry.lock(f"recrawl:{job.name}", self._worker.id, LOCK):
            self._drop(job.name)
            return
        watch = self._watches.get(job.name)
        lost = await registry.lost(job.name)
        if watch is None or (watch.epoch, watch.lost) != (job.epoch, lost):
            self._drop(job.name)
            watch = self._watches[job.name] = await self._watch(job, lost)
        if watch.reading is not None:
            if not watch.reading.done():  # it hands over what is due meanwhile
                await self._offer(job, watch.visited, time.time())
                return
            reading, watch.reading = watch.reading, None
            if not reading.result():
                self._drop(job.name)
                return
        visited, now = watch.visited, time.time()
        await self._offer(job, visited, now)
        if visited.wants(now):
            watch.reading = asyncio.create_task(asyncio.to_thread(visited.read, now))
        elif visited.idle(now):
            await self._note(job, watch, now)

    async def _watch(self, job: JobContext, lost: float) -> _Watch:
        assert job.schedule is not None  # noqa: S101 - sweep sees to it
        noted = read_mark(await self._worker.frontier.registry.swept(job.name), job.schedule)
        if noted is not None and noted.lost != lost:
            noted = None
        visited = Visited(
            job.store, job.layout, job.schedule, lambda: self._worker.serves(job), noted
        )
        return _Watch(job.epoch, lost, visited, noted=noted)

    def _drop(self, name: str) -> None:
        watch = self._watches.pop(name, None)
        if watch is None:
            return
        watch.visited.close()
        if watch.reading is not None:
            watch.reading.add_done_callback(_heard)

    async def _offer(self, job: JobContext, visited: Visited, now: float) -> None:
        """Hand over what is due; what the frontier does not take now is kept."""
        for _ in range(BATCHES):
            visits = visited.take(now)
            if not visits:
                return
            offers = {each[:3]: offer for each in visits if (offer := _offered(each)) is not None}
            try:
                # Budgets count URLs, not visits; the bound of what Redis keeps holds for both.
                added = await self._worker.frontier.add(
                    job.name, offers.values(), limits=Limits(host_cap=job.spec.host_queue)
                )
            except FrontierBusy as busy:
                visited.give_back(visits)
                self._rest(job, busy.retry_after)
                return
            except FrontierError:
                visited.give_back(visits)
                raise
            job.counts["recrawls"] += added.accepted
            self._worker.leasing.note(added.due)
            if added.refused:
                visited.give_back([v for v in visits if offers.get(v[:3]) in added.refused])
                self._rest(job, added.retry_after)
                return

    async def _note(self, job: JobContext, watch: _Watch, now: float) -> None:
        """Write down how far this has come, for whoever takes over."""
        mark, noted = replace(mark_of(watch.visited, now), lost=watch.lost), watch.noted
        if noted is not None and noted.version == mark.version and mark.at - noted.at < NOTE:
            return
        registry, text = self._worker.frontier.registry, msgspec.json.encode(mark).decode()
        await registry.move_job(job.name, ("running",), at_epoch=job.epoch, swept=text)
        watch.noted = mark


def _offered(due: Due) -> tuple[Url, CrawlRequest] | None:
    try:
        url = parse(due.url)
    except InvalidUrl:  # by the rules of another version
        return None
    shallow = due.kind == "sitemap" or due.depth < DEEP
    return url, CrawlRequest(
        url.url,
        due.depth,
        due.kind,
        due.hops,
        due.visit,
        via=due.via,
        priority=1 if shallow else 2,
        extra=due.extra,
    )


def _heard(task: asyncio.Task[bool]) -> None:
    """Take note of the end of a reading that nobody waits for."""
    if not task.cancelled():
        task.exception()
