"""The spider: hands what Scrapy fetched to the lease it was fetched under, and pages onward.

It parses nothing itself. ``start`` is the worker's life: the engine awaits it, so the spider stays
open while the worker leases, and closes when the worker has drained.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import scrapy
from scrapy import Request, signals
from scrapy.http import Response
from twisted.python.failure import Failure

from crawler.fetch.exchange import Exchange, FetchError, LeaseError
from crawler.worker.rows import Findings
from crawler.worker.visit import Visit

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

    from crawler.worker.process import Worker


@dataclass(frozen=True, slots=True)
class PageItem:
    """What the spider yields: an answer worth keeping, before any of it is looked at."""

    visit: Visit  # on whose behalf
    exchange: Exchange  # the answer
    found: Findings = field(default_factory=Findings)  # what the pipelines find out, step by step


class ComitySpider(scrapy.Spider):
    """One spider serves all jobs; each request names its visit in ``meta``."""

    name = "comity"

    def __init__(self, worker: Worker, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.worker = worker

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        """As Scrapy makes its spiders; learns of pages that a pipeline failed on."""
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.failed_item, signals.item_error)
        return spider

    async def start(self) -> AsyncIterator[Any]:
        """Run the worker until it has drained; yields nothing."""
        await self.worker.run(self)
        nothing: Any
        for nothing in ():  # makes this an async generator, as Scrapy demands
            yield nothing

    async def parse_visit(self, response: Response) -> AsyncIterator[PageItem]:
        """Answer the lease's task; when it wants the answer kept, pass it to the pipelines."""
        meta = response.meta
        visit: Visit = meta["visit"]
        exchange: Exchange = meta["exchange"]
        visit.answered(exchange)
        if await visit.decided:
            yield PageItem(visit, exchange)

    def failed_item(self, item: PageItem, failure: Failure) -> None:
        """A pipeline failed: the lease's task decides what becomes of the URL."""
        item.visit.fail(failure.value or RuntimeError("a pipeline failed"))

    async def failed_visit(self, failure: Failure) -> AsyncIterator[PageItem]:
        """Answer the lease's task with the reason; it may want what came of the answer kept."""
        request: Request = failure.request  # type: ignore[attr-defined]
        error = failure.value
        if not isinstance(error, (FetchError, LeaseError)):
            self.worker.log.error("unexpected %s at %s", error, request.url, exc_info=error)
            error = FetchError("internal-error", str(error) or type(error).__name__)
        visit: Visit = request.meta["visit"]
        visit.answered(error)
        if isinstance(error, FetchError) and error.partial and await visit.decided:
            yield PageItem(visit, error.partial)
