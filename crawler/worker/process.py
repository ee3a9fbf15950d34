"""A worker: one process, one Scrapy engine, all the jobs it is asked to serve.

It joins by its first heartbeat and leaves by draining: leases handed back, segments staged and
committed. What it holds when it is killed is taken over by the others when its heartbeat and its
leases have run out.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scrapy import Request
from scrapy.crawler import Crawler

from crawler import copies
from crawler.config import LEASE_MARGIN, Settings
from crawler.fetch.exchange import Exchange, FetchError
from crawler.ranges import Ranges
from crawler.recrawl import conditions
from crawler.worker import STOPPED, ending_signals
from crawler.worker.asking import MOST_TURNS
from crawler.worker.commits import Commits
from crawler.worker.ending import Ending
from crawler.worker.hold import Hold
from crawler.worker.jobs import JobContext, Jobs
from crawler.worker.leasing import Leasing
from crawler.worker.reconciling import Reconciling
from crawler.worker.recovery import Recovery
from crawler.worker.recrawl import Sweeper
from crawler.worker.robots import RobotsBook
from crawler.worker.segments import Segments
from crawler.worker.settings import scrapy_settings
from crawler.worker.spider import ComitySpider
from crawler.worker.spilling import Spilling
from crawler.worker.tdmrep import TdmBook
from crawler.worker.turn import Turn, renewed
from crawler.worker.visit import Visit
from dedupe.index import DedupeError, DedupeFull
from frontier import blocks
from frontier.blocks import BlockList
from frontier.client import Added, Frontier
from frontier.model import FrontierError, FrontierFull, Lease
from storage.blob import StorageError, StorageFull
from storage.table import ASIDE

if TYPE_CHECKING:
    from scrapy.core.engine import ExecutionEngine

GRACE: Final = 60.0  # seconds a drain may take
QUIET: Final = 10.0  # seconds between two lines about the same trouble
PATIENCE: Final = 60.0  # seconds that the Redis of a running crawl may be away


class Worker:
    """The parts of a worker, wired; its life is :meth:`run`."""

    turns = MOST_TURNS  # hosts it holds at a time

    def __init__(
        self,
        settings: Settings,
        frontier: Frontier,
        *,
        name: str,
        spool: Path,
        only: str | None,
        jobs: Jobs | None = None,
    ) -> None:
        self.settings = settings
        self.frontier = frontier
        self.name = name  # what people call it; may come back after a restart
        self.id = f"{name}.{secrets.token_hex(4)}"  # this incarnation: leases, heartbeat, segments
        self.log = logging.getLogger("comity.worker")
        self.longest_fetch = settings.total_timeout + LEASE_MARGIN / 2
        self.ranges = Ranges(settings.address_delays)
        self.running = True
        self.hopeless = ""  # why it cannot go on; ends the worker with an error
        self.holds: set[Hold] = set()  # hosts held now
        self.suspects = asyncio.Lock()  # held while a URL is out that may end this worker
        self.blocks = BlockList()  # what must not be contacted, whoever wants it
        self._blocks_version = 0
        self._only = only
        self.jobs = jobs or Jobs(frontier, only, self.log)
        self.segments = Segments(self, spool)
        self.commits = Commits(self)
        self.recovery = Recovery(self, spool)
        self.reconciling = Reconciling(self)
        self.robots = RobotsBook(self)
        self.tdm = TdmBook(self)
        self.leasing = Leasing(self)
        self.spilling = Spilling(self)
        self.sweeper = Sweeper(self)
        self.engine: ExecutionEngine
        self.spider: ComitySpider
        self._ending = Ending(frontier, self.id)
        self._stopped = asyncio.Event()
        self._said: dict[str, float] = {}

    def stop(self) -> None:
        """Drain and leave."""
        self.running = False
        self._stopped.set()

    def serves(self, job: JobContext) -> bool:
        """Whether URLs of a job may still be started."""
        return self.running and not self.hopeless and job.state == "running"

    def trouble(self, error: Exception) -> None:
        """A server or the disk fails: say so, once in a while; a full disk ends the worker.

        That of a fleet's Redis is for its operator: only the worker of a single crawl ends for it.
        """
        text = str(error)
        fatal = (StorageFull, FrontierFull, DedupeFull) if self._only else StorageFull
        if isinstance(error, fatal):
            self.give_up(text)
        elif time.monotonic() - self._said.get(text, -QUIET) >= QUIET:
            self._said[text] = time.monotonic()
            self.log.error("%s", text)

    def give_up(self, why: str) -> None:
        """End this worker with an error; others take over what it held."""
        self.hopeless = self.hopeless or why
        self.stop()

    def forbids(self, address: str) -> str | None:
        """Why the block list forbids an address; for the fetcher to ask."""
        block = self.blocks.at(address)
        return None if block is None else block.words

    def count(self, visit: Visit, answer: Exchange | FetchError) -> None:
        """Count a contact for the progress display and the job's bounds; errors, of pages."""
        counts = visit.job.counts
        if visit.kind in ASIDE:
            counts["bytes"] += len(answer.payload) if isinstance(answer, Exchange) else 0
            return
        counts["contacts"] += 1
        if isinstance(answer, FetchError):
            counts[f"error:{answer.reason}"] += 1
            return
        counts["bytes"] += len(answer.payload)
        if answer.status >= 400:
            counts[f"error:http-{answer.status}"] += 1

    def turn(self, job: JobContext, lease: Lease) -> Turn:
        """Who works a lease off."""
        return Turn(self, job, lease)

    def send(self, visit: Visit, hold: Hold) -> None:
        """Have a contact made, now, under the lease of its host; its answer is the visit's."""
        request = Request(
            visit.url.url,
            callback=self.spider.parse_visit,
            errback=self.spider.failed_visit,
            headers=visit.job.headers | conditions(visit.request.extra),
            dont_filter=True,
            meta=hold.passes(visit.kind)
            | {"visit": visit, "download_slot": hold.lease.host, "verbatim_url": True},
        )
        self.engine.crawl(request)

    async def flush_turns(self, job: JobContext) -> None:
        """Report what the turns of a job have in segments."""
        for turn in list(self.leasing.turns.values()):
            if turn.job.name == job.name:
                await turn.flush()

    # -- life

    async def run(self, spider: ComitySpider) -> None:
        """Join, work until stopped, drain, leave."""
        self.spider, self.engine = spider, spider.crawler.engine
        try:
            await self.frontier.registry.beat(self.id, self._life)
            await self._refresh()
        except (FrontierError, StorageError) as error:
            self.trouble(error)
        leasing = asyncio.create_task(self.leasing.run())
        tasks = [
            asyncio.create_task(self._every(self.settings.lease_ttl / 4, self._beat)),
            asyncio.create_task(self._every(0.05, self._push)),
            asyncio.create_task(self._every(0.1, self.spilling.work)),
            asyncio.create_task(self._every(0.25, self.commits.run)),
            asyncio.create_task(self._every(0.25, self.reconciling.run)),
            asyncio.create_task(self._every(0.25, self._watch)),
            asyncio.create_task(self._every(self.settings.lease_ttl / 8, self.recovery.run)),
            asyncio.create_task(self._every(0.5, self.sweeper.sweep)),
        ]
        await self._stopped.wait()
        try:
            async with asyncio.timeout(GRACE):
                await leasing  # it may be waiting for a grant, whose leases are to be handed back
                await self._drain()
        except TimeoutError:
            self.log.error("the drain took more than %g s; others will take over", GRACE)
        except (FrontierError, StorageError, DedupeError) as error:
            self.trouble(error)
        finally:
            await _end({leasing, *tasks})
        try:
            await self.frontier.registry.leave(self.id)
        except FrontierError as error:
            self.trouble(error)

    @property
    def _life(self) -> float:
        """Seconds a heartbeat lasts: half a lease, as the design has it."""
        return self.settings.lease_ttl / 2

    async def _every(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a step for as long as the process lives; a failing server is waited for."""
        while True:
            try:
                await step()
            except (FrontierError, StorageError, DedupeError) as error:
                self.trouble(error)
            except Exception:
                self.log.exception("%s failed", step)
            await asyncio.sleep(seconds)

    async def _beat(self) -> None:
        await self.frontier.registry.beat(self.id, self._life)
        by_lease = {hold.lease: hold for hold in self.holds}
        answers = await self.frontier.renew(by_lease, self.settings.lease_ttl)
        for lease, answer in answers.items():
            renewed(by_lease[lease], answer)

    async def _push(self) -> None:
        for job in list(self.jobs.contexts.values()):
            if job.links.due:
                job.links.on_added = partial(self._added, job.name)
                try:
                    await job.links.flush()
                except FrontierError as error:  # the segments that carry them rotate all the same
                    self.trouble(error)
        self.segments.rotate(idle=self._idle)

    def _added(self, job: str, added: Added) -> None:
        self.leasing.note(added.due)
        self.spilling.note((job, p) for p in added.laden)

    def _idle(self, job: JobContext) -> bool:
        """Whether a job has nothing to do here: what it has may as well be stored."""
        return not job.links.waiting and (job.state != "running" or self.leasing.idle(job.name))

    async def _watch(self) -> None:
        await self.jobs.flush_counts()
        try:
            await self._refresh()
        except StorageError as error:  # of one job; the others go on
            self.trouble(error)
        for job in list(self.jobs.contexts.values()):
            if job.state in ("running", "draining"):
                try:
                    if await self._ending.watch(job):
                        if job.copies is not None:
                            await copies.let_go(self.frontier, job.copies.index, job.spec)
                        await self.commits.tidy(job, age=0.0)
                except StorageError as error:
                    self.trouble(error)

    async def _refresh(self) -> None:
        """The block list, without which no job is begun, then the jobs."""
        version = await blocks.version(self.frontier.driver)
        if version != self._blocks_version:
            self.blocks = BlockList(await blocks.load(self.frontier.driver))
            self._blocks_version = version
        await self.jobs.refresh(busy=self._busy)

    def _busy(self) -> set[str]:
        """Jobs that this worker still holds something of."""
        return self.segments.jobs() | {turn.job.name for turn in self.leasing.turns.values()}

    async def _drain(self) -> None:
        while self.leasing.turns:
            await asyncio.wait(set(self.leasing.turns))
        await self.segments.drain()
        if not self.hopeless:
            while await self.commits.unsettled():
                await self.commits.run()
                await asyncio.sleep(0.05)
        await self.jobs.flush_counts()


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for them; again, as a call to Redis may lose a cancellation."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=0.5)


async def run_worker(settings: Settings, *, name: str, spool: Path, only: str | None = None) -> int:
    """Run a worker until it is told to stop by SIGTERM or SIGINT; its exit code.

    ``only`` restricts it to one job. Raises FrontierError when the frontier cannot be opened.
    """
    if settings.redis is None:
        raise FrontierError("a worker needs the URL of its Redis")
    frontier = await _opened(settings.redis, settings.partitions, PATIENCE if only else 0.0)
    try:
        worker = Worker(settings, frontier, name=name, spool=spool, only=only)
        loop = asyncio.get_running_loop()
        for number in ending_signals():
            loop.add_signal_handler(number, worker.stop)
        crawler = Crawler(ComitySpider, scrapy_settings(settings))
        await crawler.crawl_async(worker=worker)
        if worker.hopeless:
            worker.log.error("%s%s", STOPPED, worker.hopeless)
        return 1 if worker.hopeless else 0
    finally:
        await frontier.close()


async def _opened(url: str, partitions: int, patience: float) -> Frontier:
    """The frontier, once it can be opened; its error after so many seconds.

    A crawl's worker comes after a parent that had no trouble: what there is now may pass.
    """
    deadline, said = time.monotonic() + patience, ""
    while True:
        try:
            return await Frontier.open(url, partitions=partitions)
        except FrontierError as error:
            if time.monotonic() >= deadline:
                raise
            if said != str(error):
                said = str(error)
                logging.getLogger("comity.worker").warning("%s; waiting for it", said)
        await asyncio.sleep(0.5)
