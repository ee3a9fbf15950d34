"""A worker inside a project's own Scrapy process: it leases for one job, the spider's.

Requests come from the frontier, go through the project's middlewares to its callbacks, and those
of its callbacks go back to the frontier. What has to be known of the engine beside its public ways
is :meth:`AddonWorker.attach`.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from scrapy import Request, Spider
from scrapy.exceptions import IgnoreRequest
from scrapy.extensions.feedexport import FeedExporter
from scrapy.utils.defer import deferred_from_coro, maybe_deferred_to_future
from twisted.python.failure import Failure

from crawler.config import Settings
from crawler.fetch.exchange import Exchange, FetchError, LeaseError
from crawler.worker import rows
from crawler.worker.addon.borrowing import Borrowing
from crawler.worker.addon.luggage import Unpackable, unpack
from crawler.worker.addon.turn import AddonTurn
from crawler.worker.addon.visits import AddonVisit, Unasked
from crawler.worker.hold import Hold
from crawler.worker.jobs import JobContext, Jobs
from crawler.worker.pipelines import (
    ConsentPipeline,
    DedupePipeline,
    ExtractPipeline,
    StorePipeline,
    count_page,
)
from crawler.worker.process import Worker
from crawler.worker.spider import PageItem
from crawler.worker.visit import Answer, Visit, kept
from frontier.client import Frontier
from frontier.model import REASONS, FrontierError, Lease, UrlResult
from frontier.policy import TABLE
from storage.blob import StorageError
from storage.segment import PageRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scrapy.core.engine import ExecutionEngine
    from twisted.internet.defer import Deferred

    from crawler.worker.addon.handler import AddonHandler
    from crawler.worker.addon.scheduler import AddonScheduler
    from crawler.worker.segments import Reserved

# The request whose callback, or middleware, is at work.
SOURCE: ContextVar[AddonVisit | None] = ContextVar("source", default=None)
FAILED: Final = frozenset({"dns-nxdomain", "dns-servfail", "dns-timeout"})  # without a contact
AGAIN: Final = 0.5  # seconds between tries to write a row


class AddonWorker(Worker):
    """The worker of one spider; see :class:`~crawler.worker.process.Worker`."""

    def __init__(
        self,
        settings: Settings,
        frontier: Frontier,
        *,
        name: str,
        spool: Path,
        jobs: Jobs,
        job: str,
        project: Spider,
    ) -> None:
        super().__init__(settings, frontier, name=name, spool=spool, only=None, jobs=jobs)
        self.job = job  # its id
        self.project = project  # the spider
        self.out: dict[Request, AddonVisit] = {}  # requests in the engine, with what they are for
        self.handler: AddonHandler
        self.life: asyncio.Task[None]  # its run
        self.scratch = ""  # the directory that stands for the store of a job without one
        self.borrowing = Borrowing(self)
        self._tasks: set[asyncio.Task[None]] = set()
        self._steps = (ExtractPipeline(self), ConsentPipeline(self), DedupePipeline(self))
        self._store = StorePipeline(self)

    @property
    def context(self) -> JobContext | None:
        """The job as it is worked on; None once it has ended."""
        return self.jobs.contexts.get(self.job)

    def attach(self, engine: ExecutionEngine) -> None:
        """Hear of what the downloader puts out for a leased request, of the end of that, and of
        the spider's closing as it begins.

        The engine has no signals for these: two of its methods are put into ours.
        """
        handle, close = engine._handle_downloader_output, engine.close_spider_async

        async def closing(*, reason: str = "cancelled") -> None:
            self.let_go(cast("AddonScheduler", engine.scheduler).take_back())
            await close(reason=reason)

        engine.close_spider_async = closing  # type: ignore[method-assign]

        def handled(result: Any, request: Request) -> Deferred[None]:
            visit = self.out.pop(request, None)
            if visit is None:
                return handle(result, request)
            return deferred_from_coro(self._handled(handle, visit, result, request))

        engine._handle_downloader_output = handled  # type: ignore[method-assign]

    def turn(self, job: JobContext, lease: Lease) -> AddonTurn:
        """Who works a lease off."""
        return AddonTurn(self, job, lease)

    def send(self, visit: Visit, hold: Hold) -> None:
        """A leased request into the engine; a robots.txt or the like past it."""
        if not isinstance(visit, AddonVisit):
            self._start(self._ask_aside(visit, hold))
            return
        try:
            request = unpack(visit.request.url, visit.request.extra, self.project)
        except Unpackable as error:
            self.log.error("%s cannot be what it was: %s", visit.request.url, error)
            visit.answered(FetchError("internal-error", str(error)))
            return
        if not self.running:
            visit.answered(LeaseError("the spider is closing"))
            return
        visit.passes = hold.passes(visit.kind)
        self.out[request] = visit
        # Not by engine.crawl: its signal was sent when the request was offered, and may refuse it.
        scheduler, slot = self.engine.scheduler, self.engine._slot
        assert scheduler is not None  # noqa: S101 - while it runs
        assert slot is not None  # noqa: S101
        scheduler.enqueue_request(request)
        slot.nextcall.schedule()

    # -- answers

    async def look_at(self, visit: AddonVisit) -> None:
        """Find out what has to be known of an answer before its row, where rows are kept."""
        if visit.exchange is None or not visit.job.keeps:
            return
        item = PageItem(visit, visit.exchange, visit.found)
        extracting, judging, comparing = self._steps
        await comparing.process_item(judging.process_item(extracting.process_item(item)))

    async def _handled(
        self, handle: Callable[..., Any], visit: AddonVisit, result: Any, request: Request
    ) -> None:
        """Let the engine, and so the project, have an answer; then its row may be written."""
        visit.answered(Unasked("the project's middlewares did not ask"))
        if not isinstance(visit.answer.result(), Unasked) and not visit.wanted:
            return
        visit.moved = isinstance(result, Request)
        try:
            await self._in_its_name(visit, handle, result, request)
        finally:
            await self._end(visit)

    async def _in_its_name(self, visit: AddonVisit, call: Callable[..., Any], *args: Any) -> None:
        """Call what is asynchronous so that requests it puts out are known to come of a visit."""
        context = copy_context()
        context.run(SOURCE.set, visit)
        await maybe_deferred_to_future(context.run(call, *args))

    def deny(self, visit: AddonVisit) -> None:
        """Tell a request's errback that it will not be made; its row follows."""
        self._start(self._deny(visit))

    async def _deny(self, visit: AddonVisit) -> None:
        try:
            request = unpack(visit.request.url, visit.request.extra, self.project)
            if request.errback is not None:
                failure = Failure(_why(visit.reason))  # type: ignore[no-untyped-call]
                scrape = self.engine.scraper.enqueue_scrape
                await self._in_its_name(visit, scrape, failure, request)
        except Unpackable as error:
            self.log.error("%s cannot be what it was: %s", visit.request.url, error)
        finally:
            await self._end(visit)

    async def promise(self, visit: AddonVisit) -> None:
        """Report a visit before its row is there; its segment waits for it."""
        async with visit.placing:
            if visit.stored.done():
                return
            try:
                visit.room = await self.segments.reserve(visit.job)
            except (FrontierError, StorageError) as error:
                visit.fail(error)
            else:
                visit.finish(UrlResult(visit.fp, "pending", visit.room.segment, visit.reason))

    async def _end(self, visit: AddonVisit) -> None:
        """What a request led to has been put out: its row may be written."""
        record = self._record(visit)
        if visit.exchange is not None and visit.job.keeps:
            count_page(visit.job, PageItem(visit, visit.exchange, visit.found))
        async with visit.placing:
            if visit.room is not None:
                await self._fill(visit.room, record)
            elif not visit.stored.done():
                try:
                    segment = await self.segments.append(visit.job, record)
                    visit.finish(UrlResult(visit.fp, "pending", segment, visit.reason))
                except (FrontierError, StorageError) as error:
                    visit.fail(error)

    async def _fill(self, room: Reserved, record: PageRecord) -> None:
        """A row to where it was promised, once there is room on the disk."""
        filled = False
        while not filled and not self.hopeless:
            try:
                room.fill(record)
                filled = True
            except StorageError as error:
                self.trouble(error)
                await asyncio.sleep(AGAIN)

    def _record(self, visit: AddonVisit) -> PageRecord:
        job, exchange, raw = visit.job, visit.exchange, None
        if exchange is None:
            row = rows.unanswered(
                job, visit.request, visit.reason, visit.robots_rule, visit.attempts
            )
        else:
            row = rows.answered(job, visit, exchange, visit.found, visit.reason)
            raw = rows.raw_exchange(visit, exchange, visit.found) if job.keeps else None
        partition = self.frontier.place(visit.url)[0]
        return PageRecord(row, visit.fp, partition, raw, visit.found.outlinks)

    async def flush_turns(self, job: JobContext) -> None:
        """Before a segment says what is done: the items of that are in the feeds, on the disk."""
        for extension in self.project.crawler.extensions.middlewares:
            if isinstance(extension, FeedExporter):
                for slot in extension.slots:
                    await asyncio.to_thread(_flush, slot.file)
        await super().flush_turns(job)

    # -- robots.txt and the like

    async def _ask_aside(self, visit: Visit, hold: Hold) -> None:
        """One contact that is none of the project's: its middlewares do not see it."""
        request = Request(visit.url.url, headers=visit.job.headers)
        try:
            answer: Answer = await self.handler.fetch(request, hold.passes(visit.kind))
        except (FetchError, LeaseError) as error:
            answer = error
        except Exception as error:
            self.log.exception("asking for %s failed", request.url)
            answer = FetchError("internal-error", str(error))
        visit.answered(answer)
        exchange = kept(answer)
        if exchange is None:
            return
        await asyncio.wait([visit.decided])
        if visit.decided.cancelled() or not visit.decided.result():
            return
        try:
            await self._keep_aside(visit, exchange)
        except Exception as error:
            visit.fail(error)

    async def _keep_aside(self, visit: Visit, exchange: Exchange) -> None:
        if visit.job.keeps:
            item = self._steps[0].process_item(PageItem(visit, exchange))
            await self._store.process_item(item)
        else:
            visit.finish(UrlResult("", "pending"))

    # -- life

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.log.error("a defect of ours", exc_info=error)

    def let_go(self, unbegun: Iterable[Request]) -> None:
        """The engine begins no more requests: stop, and hand these back."""
        self.stop()
        for request in unbegun:
            if visit := self.out.pop(request, None):
                visit.answered(LeaseError("the spider is closing"))


def _why(reason: str) -> Exception:
    """What an errback is told of a request that was not made."""
    from crawler.worker.addon.handler import told

    if reason in FAILED or TABLE[reason].contact:  # its robots.txt was asked for, in vain
        cause = FetchError(reason, REASONS[reason])
        error = told(cause)
        error.__cause__ = cause
        return error
    return IgnoreRequest(f"{reason}: {REASONS[reason]}")


def _flush(file: Any) -> None:
    """A feed's file onto the disk; one that is none, or has ended, has nothing to flush."""
    with suppress(AttributeError, ValueError, OSError):
        file.flush()
        os.fsync(file.fileno())
