"""One contact with a host on its way through Scrapy, and what becomes of it.

Two futures tie the lease's task to Scrapy's callbacks: ``answer`` (what came back) is set by the
spider, ``decided`` (whether the answer is kept) by the task, and ``stored`` by the pipelines. So
the host's clock starts when the response ends, not when its page has been processed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from crawler.fetch.exchange import Exchange, FetchError, LeaseError
from crawler.tdmrep import NONE, Reservations
from crawler.worker.jobs import JobContext
from frontier.model import CrawlRequest, UrlResult
from frontier.robots import UsageLine
from frontier.url import Url

Answer = Exchange | FetchError | LeaseError


def kept(answer: Answer) -> Exchange | None:
    """What can be stored of an answer: all of it, or what came of one that is of no use."""
    if isinstance(answer, FetchError):
        return answer.partial
    return answer if isinstance(answer, Exchange) else None


def _future() -> asyncio.Future:  # type: ignore[type-arg]
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True)
class Visit:
    """One contact: a leased URL's, or that of a robots.txt or TDM file on the way to it."""

    job: JobContext  # on whose behalf
    url: Url  # what is requested
    request: CrawlRequest  # depth, hops, attempts ...
    kind: str  # page | sitemap | robots | tdmrep
    fp: str = ""  # the frontier's id; empty for the last two, which no queue holds
    robots_rule: str = ""  # the robots.txt rule that let it pass
    usage: tuple[UsageLine, ...] = ()  # what that robots.txt says to us about the use of content
    reserved: Reservations = NONE  # what its host's TDM file says
    answer: asyncio.Future[Answer] = field(default_factory=_future)
    reason: str = ""  # with an answer that is kept and yet no success: why
    withheld: bool = False  # a signal that the job honours forbids to keep the content
    copy: bool = False  # what another page holds, which is stored, and the job drops copies
    again: bool = False  # what the last visit stored, byte for byte
    decided: asyncio.Future[bool] = field(default_factory=_future)  # keep the answer?
    stored: asyncio.Future[UrlResult] = field(default_factory=_future)

    @property
    def empty(self) -> bool:
        """Whether there is no content: it must not be kept, or need not, or its type is not."""
        return self.withheld or self.copy or self.reason == "content-type"

    def answered(self, what: Answer) -> None:
        """Scrapy is through with the request."""
        if not self.answer.done():
            self.answer.set_result(what)

    def finish(self, result: UrlResult) -> None:
        """The page is in a segment, or will not be."""
        if not self.stored.done():
            self.stored.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Processing failed: the URL is tried again, or given up with its attempts."""
        if not self.stored.done():
            self.stored.set_exception(error)
