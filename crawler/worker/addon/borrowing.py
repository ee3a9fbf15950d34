"""Downloads that no queue holds: images and files of media pipelines, ``engine.download_async``.

Each leases its host for itself, once nobody else holds it and its clock allows: politely, and one
at a time. They are not requests of the frontier: they are counted, and not stored.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from scrapy.exceptions import DownloadTimeoutError, IgnoreRequest

from crawler.fetch.exchange import Exchange, FetchError, LeaseError
from crawler.worker.hold import LONGEST_SLEEP, Hold
from frontier.model import REASONS, FrontierError
from frontier.url import InvalidUrl, Url, parse

if TYPE_CHECKING:
    from scrapy import Request

    from crawler.worker.addon.handler import AddonHandler
    from crawler.worker.addon.worker import AddonWorker
    from crawler.worker.jobs import JobContext

PATIENCE: Final = 180.0  # seconds that a download waits for its host
PAUSE: Final = 1.0  # longest between two looks whether the host is free
SHORTEST: Final = 0.05


class _Later(Exception):
    """The host must rest first."""

    def __init__(self, wait: float) -> None:
        super().__init__()
        self.wait = wait  # seconds


class Borrowing:
    """The leases that a worker takes for single downloads."""

    def __init__(self, worker: AddonWorker) -> None:
        self._worker = worker

    async def fetch(self, request: Request, handler: AddonHandler) -> Exchange:
        """One answer, tried for as often as the job tries any URL.

        Raises ``IgnoreRequest`` (robots.txt, the block list, no contact), ``DownloadTimeoutError``
        (its host was never free) and what the handler raises.
        """
        from crawler.worker.addon.handler import told

        try:
            url = parse(request.url)
        except InvalidUrl as error:
            raise IgnoreRequest(f"invalid-url: {error}") from None
        deadline, tries = time.monotonic() + PATIENCE, 0
        while time.monotonic() < deadline:
            job = self._job()
            if reason := job.refuses(url, 0):
                raise _refused(reason)
            try:
                tries += 1
                return await self._leased(job, url, request, handler, tries)
            except _Later as later:
                tries -= 1
                await asyncio.sleep(max(SHORTEST, min(later.wait, PAUSE)))
            except _Failed as failed:
                if failed.wait is None:
                    raise told(failed.error) from failed.error
                await asyncio.sleep(min(failed.wait, PAUSE))
        raise DownloadTimeoutError(f"the host of {request.url} was not free for {PATIENCE:g} s")

    def _job(self) -> JobContext:
        job = self._worker.context
        if job is None:
            raise IgnoreRequest("the job is over")
        return job

    async def _leased(
        self, job: JobContext, url: Url, request: Request, handler: AddonHandler, tries: int
    ) -> Exchange:
        """The answer under a lease of its own."""
        worker = self._worker
        try:
            lease, wait = await worker.frontier.claim(
                worker.id, job.name, url, ttl=worker.settings.lease_ttl
            )
        except FrontierError as error:
            worker.trouble(error)
            raise _Later(PAUSE) from None
        if lease is None:
            raise _Later(wait)
        hold = Hold(worker, job, lease)
        worker.holds.add(hold)
        try:
            return await self._under(hold, url, request, handler, tries)
        finally:
            worker.holds.discard(hold)
            try:
                await worker.frontier.report(
                    hold.lease, [], state=hold.state, wait=hold.wait, free=True
                )
            except FrontierError as error:  # it comes back at its deadline
                worker.trouble(error)

    async def _under(
        self, hold: Hold, url: Url, request: Request, handler: AddonHandler, tries: int
    ) -> Exchange:
        worker, job = self._worker, hold.job
        if worker.blocks.of(url):
            raise _refused("opted-out")
        view = await worker.robots.view(url, hold, tries - 1)
        if view.failure is not None:
            raise _Failed(FetchError(view.failure.reason, f"{url.host} does not answer"), None)
        if view.wait > 0:
            raise _Later(view.wait)
        if not view.rules.verdict(job.product, url.path).allowed:
            raise _refused("robots-denied")
        if not hold.heed(view.rules.crawl_delay(job.product)):
            raise _refused("parked")
        while (wait := hold.wait) > 0:
            if wait > LONGEST_SLEEP:
                raise _Later(wait)
            await asyncio.sleep(wait)
        return await self._contact(hold, request, handler, tries)

    async def _contact(
        self, hold: Hold, request: Request, handler: AddonHandler, tries: int
    ) -> Exchange:
        """Send it, and let the host's state, and whether to try again, follow from the answer."""
        answer: Exchange | FetchError
        hold.starts()
        try:
            answer = await handler.fetch(request, hold.passes("file"))
        except LeaseError:
            raise _Later(PAUSE) from None
        except FetchError as error:
            answer = error
        verdict = await hold.judge(answer, tries)
        hold.job.counts["contacts"] += 1
        if isinstance(answer, Exchange):
            hold.job.counts["bytes"] += len(answer.payload)
            if verdict.action != "retry":
                return answer
            answer = FetchError(verdict.reason, f"status {answer.status}")
        raise _Failed(answer, verdict.url_wait if verdict.action == "retry" else None)


class _Failed(Exception):
    """A contact gave no answer that could be of use."""

    def __init__(self, error: FetchError, wait: float | None) -> None:
        super().__init__()
        self.error = error
        self.wait = wait  # seconds until it may be tried again; None: not at all


def _refused(reason: str) -> IgnoreRequest:
    return IgnoreRequest(f"{reason}: {REASONS[reason]}")
