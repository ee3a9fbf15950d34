"""start() of a spider, once per job; and the life of the spider beside it.

A fleet's workers all have the spider's ``start()``; one of them, who holds the claim, runs it. When
that one dies, another runs it from the beginning: what is known already is not asked again. The
engine keeps a spider open for as long as its start has not ended: here that is until the job has.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, cast

from scrapy import Request
from scrapy.exceptions import CloseSpider

from crawler.worker.addon.scheduler import AddonScheduler, worker_of
from frontier.model import FrontierError
from frontier.registry import ENDED

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

    from crawler.worker.addon.worker import AddonWorker

LOOK: Final = 0.5  # seconds between looks at the job
CLAIM: Final = 10.0  # seconds that a claim lasts without being renewed


class StartMiddleware:
    """The outermost spider middleware: the others work on start() as they do without a fleet."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """As Scrapy makes it."""
        return cls(crawler)

    async def process_start(self, start: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """What start() puts out, if it is this worker's to run; ends with the job."""
        worker = worker_of(self._crawler)
        while await self._unseeded(worker):
            if await self._claimed(worker):
                async for each in self._run(worker, start):
                    yield each
                break
            await asyncio.sleep(LOOK)
        while not await self._over(worker):
            await asyncio.sleep(LOOK)

    async def _run(self, worker: AddonWorker, start: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Run start() under the claim, and say once all of it is in."""
        scheduler = cast("AddonScheduler", self._crawler.engine.scheduler)
        keeping = asyncio.create_task(self._keep(worker))
        count = 0
        try:
            async for each in self._told(worker, start):
                if isinstance(each, Request):
                    count += 1
                    scheduler.started[each] = f"start {count}"
                yield each
                while (job := worker.context) is not None and job.links.crowded:
                    await asyncio.sleep(LOOK / 10)
            while not await self._acknowledged(worker):
                await asyncio.sleep(LOOK)
        finally:
            keeping.cancel()

    async def _told(self, worker: AddonWorker, start: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """start() to its end, or to its error: what it had put out by then is crawled, as ever."""
        try:
            async for each in start:
                yield each
        except CloseSpider:
            raise
        except Exception as error:
            worker.log.exception("start() failed: the job has what it had put out by then")
            self._crawler.stats.inc_value("spider_exceptions/count")
            self._crawler.stats.inc_value(f"spider_exceptions/{type(error).__name__}")

    async def _acknowledged(self, worker: AddonWorker) -> bool:
        """Whether the frontier has all that was offered, and knows that this was all."""
        job = worker.context
        if job is None:
            return True
        try:
            await job.links.flush()
            await worker.frontier.registry.move_job(job.name, (), seeded=1)
        except FrontierError as error:
            worker.trouble(error)
            return False
        return True

    async def _keep(self, worker: AddonWorker) -> None:
        while True:
            await asyncio.sleep(CLAIM / 3)
            await self._claimed(worker)

    async def _claimed(self, worker: AddonWorker) -> bool:
        try:
            return await worker.frontier.registry.lock(f"start:{worker.job}", worker.id, CLAIM)
        except FrontierError as error:
            worker.trouble(error)
            return False

    async def _unseeded(self, worker: AddonWorker) -> bool:
        """Whether start() has still to be run, by somebody."""
        try:
            record = await worker.frontier.registry.job(worker.job)
        except FrontierError as error:
            worker.trouble(error)
            return True
        return record is not None and not record.seeded and record.state not in ENDED

    async def _over(self, worker: AddonWorker) -> bool:
        """Whether the job has ended. CloseSpider when this worker cannot go on."""
        if worker.hopeless:
            raise CloseSpider(worker.hopeless)
        try:
            record = await worker.frontier.registry.job(worker.job)
        except FrontierError as error:
            worker.trouble(error)
            return False
        if record is not None and record.state in ENDED and record.reason:
            left = await self._left(worker)
            worker.log.warning(
                "job %s ended (%s) with %d requests left: another scrapy crawl goes on with them",
                record.name,
                record.reason,
                left,
            )
        return record is None or record.state in ENDED

    async def _left(self, worker: AddonWorker) -> int:
        try:
            stats = await worker.frontier.stats(worker.job, hosts=False)
        except FrontierError as error:
            worker.trouble(error)
            return 0
        return stats.accepted - stats.finished
