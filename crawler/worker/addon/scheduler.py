"""Scrapy's scheduler over the frontier: out of it come leased requests, into it go all others.

What the engine hands in is offered to the job's queue in Redis, by whichever worker it will be
fetched; what the worker has leased, and may contact this instant, is what the engine gets.
"""

from __future__ import annotations

import uuid
from collections import deque
from typing import TYPE_CHECKING, cast

from scrapy import Request, signals
from scrapy.core.scheduler import BaseScheduler
from scrapy.exceptions import CloseSpider
from scrapy.utils.defer import deferred_from_coro

from crawler.job import UsageError
from crawler.worker.addon.luggage import Unpackable, pack, variant
from crawler.worker.links import packed
from frontier.model import CrawlRequest, FrontierError
from frontier.url import InvalidUrl, Url, parse
from storage.blob import StorageError

if TYPE_CHECKING:
    from typing import Self

    from scrapy import Spider
    from scrapy.crawler import Crawler
    from twisted.internet.defer import Deferred

    from crawler.worker.addon.visits import AddonVisit
    from crawler.worker.addon.worker import AddonWorker


class AddonScheduler(BaseScheduler):
    """One for the life of a spider; opening it joins the fleet, closing it leaves."""

    worker: AddonWorker
    problem = ""  # why there is no worker

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._ready: deque[Request] = deque()
        self.started: dict[Request, str] = {}  # requests of start() on their way, with their names

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """As Scrapy makes it."""
        return cls(crawler)

    def open(self, spider: Spider) -> Deferred[None]:
        """Join the fleet, or note, after an error in the log, why that cannot be done."""
        return deferred_from_coro(self._open(spider))

    async def _open(self, spider: Spider) -> None:
        from crawler.worker.addon.joining import JobOver, join

        try:
            self.worker = await join(self._crawler, spider)
        except (FrontierError, StorageError, UsageError) as error:
            spider.logger.error("comity: %s", error)
            self.problem = str(error)  # the engine is not ready to be closed yet
            if not isinstance(error, JobOver):
                self._crawler.signals.connect(self._failed, signals.engine_stopped, weak=False)

    def _failed(self) -> None:
        """Have Scrapy exit as for a crawl that could not begin: one that has no spider."""
        self._crawler.spider = None

    def close(self, reason: str) -> Deferred[None]:
        """Leave the fleet: hand leases back, store what is to be stored."""
        return deferred_from_coro(self._close())

    async def _close(self) -> None:
        from crawler.worker.addon.joining import leave

        if not self.problem:
            await leave(self.worker)

    def has_pending_requests(self) -> bool:
        """Whether leased requests wait for the engine."""
        return bool(self._ready)

    def next_request(self) -> Request | None:
        """A leased request, whose host may be contacted this instant."""
        return self._ready.popleft() if self._ready else None

    def take_back(self) -> list[Request]:
        """The leased requests that the engine has not begun, which it will not get."""
        unbegun = list(self._ready)
        self._ready.clear()
        return unbegun

    def enqueue_request(self, request: Request) -> bool:
        """Take a leased request that is due now; offer any other to the fleet."""
        if self.problem or not hasattr(self, "worker"):  # scrapy shell opens no scheduler
            return False
        if request in self.worker.out:
            self._ready.append(request)
            return True
        return self._offer(request)

    def _offer(self, request: Request) -> bool:
        from crawler.worker.addon.worker import SOURCE

        job, source = self.worker.context, SOURCE.get()
        try:
            if job is None:
                raise Unpackable("the job is over")
            url = parse(request.url)
            again = self._again(request, url, source)
            offered = CrawlRequest(
                url.url,
                int(request.meta.get("depth", 0)),
                visit=variant(request, again),
                via=source.url.url if source else "",
                priority=_class(request),
                extra=pack(request, self.worker.project),
            )
        except (Unpackable, InvalidUrl, ValueError) as error:
            self.worker.log.error("%s was not taken by the fleet: %s", request, error)
            self._crawler.stats.inc_value("comity/not_taken")
            return False
        if job.links.offer(url, offered) and source is not None:
            source.found.outlinks.append(packed(offered))
        self._crawler.stats.inc_value("comity/offered")
        return True

    def _again(self, request: Request, url: Url, source: AddonVisit | None) -> str:
        """What tells a request from an earlier one that is the same; "": nothing does.

        The same when a callback, or start(), runs again after a crash: so nothing is asked twice.
        """
        name = self.started.pop(request, None)
        if source is not None:
            source.put_out += 1
            name = f"{source.fp} {source.put_out}"
        itself = source is not None and source.moved and url.key == source.url.key
        if not request.dont_filter and not itself:
            return ""
        return name or uuid.uuid4().hex


def worker_of(crawler: Crawler) -> AddonWorker:
    """The worker in a crawler's process; CloseSpider when it could not join the fleet."""
    scheduler = cast("AddonScheduler", crawler.engine.scheduler)
    if scheduler.problem:
        raise CloseSpider(scheduler.problem)
    return scheduler.worker


def _class(request: Request) -> int:
    """The frontier's class of a request: 0 above Scrapy's default priority, 2 below it."""
    return 1 if request.priority == 0 else 0 if request.priority > 0 else 2
