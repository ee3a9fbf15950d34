"""The one door out of a project's process, and what becomes of requests at it.

Invariants kept: one host, one holder; one door out. A leased request goes out under its lease; one
that the frontier does not know of (``engine.download_async``: media pipelines, and such) gets a
lease of its own first. Whatever a middleware says, requests go out under the job's identity.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
)

from crawler.fetch.exchange import Exchange, FetchError, LeaseError
from crawler.fetch.handler import GuardedHandler, response_of
from crawler.worker.addon.scheduler import worker_of
from crawler.worker.addon.visits import Unasked

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

    from crawler.worker.addon.visits import AddonVisit
    from crawler.worker.addon.worker import AddonWorker

_IDENTITY: Final = ("User-Agent", "From")
# Scrapy's exception for a reason code, for errbacks that ask for it.
_ERRORS: Final[dict[str, type[Exception]]] = {
    "dns-nxdomain": CannotResolveHostError,
    "dns-servfail": CannotResolveHostError,
    "dns-timeout": CannotResolveHostError,
    "refused": DownloadConnectionRefusedError,
    "connect-timeout": DownloadTimeoutError,
    "timeout": DownloadTimeoutError,
    "too-slow": DownloadTimeoutError,
}


class AddonHandler(GuardedHandler):
    """Downloads http and https for a project.

    Raises what Scrapy's own handlers do, from a ``FetchError`` with the reason code; or a
    ``LeaseError``, which no spider gets to see.
    """

    async def download_request(self, request: Request) -> Response:
        """Fetch a leased request once; another one when its host can be leased for it."""
        worker = worker_of(self.crawler)
        visit = worker.out.get(request)
        self.sign(request, worker)
        if visit is None:
            exchange = await worker.borrowing.fetch(request, self)
        else:
            exchange = await self._for(visit, request)
        request.meta["download_latency"] = exchange.seconds
        return response_of(exchange)

    def sign(self, request: Request, worker: AddonWorker) -> None:
        """Put the job's identity into a request."""
        context = worker.context
        for name in _IDENTITY:
            request.headers.pop(name, None)
            if context is not None and name in context.headers:
                request.headers[name] = context.headers[name]

    async def _for(self, visit: AddonVisit, request: Request) -> Exchange:
        """The answer to a leased request, once it is known to be the last one."""
        answer: Exchange | FetchError | LeaseError
        try:
            answer = await self.fetch(request, visit.passes)
        except (FetchError, LeaseError) as error:
            answer = error
        except Exception as error:  # a header that cannot be sent, a proxy: it would not get better
            visit.answered(Unasked(str(error)))
            raise
        visit.answered(answer)
        await asyncio.wait([visit.decided])
        if isinstance(answer, LeaseError) or not visit.wanted:
            raise LeaseError("it comes again")
        if isinstance(answer, FetchError):
            raise told(answer) from answer
        return answer


def told(error: FetchError) -> Exception:
    """What Scrapy calls a failed fetch."""
    return _ERRORS.get(error.reason, DownloadFailedError)(str(error))
