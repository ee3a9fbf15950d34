"""One lease, from its grant to giving the host back.

The URLs are taken one after another: robots.txt first (and the host's TDM file, where the job
honours it), then the host's clock, then the contact;
what each came to is reported under the lease's token when its page is in a segment. A delay that
is too long to sleep through ends the turn early: the host goes back with its clock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from crawler.fetch.exchange import LeaseError
from crawler.worker import rows
from crawler.worker.hold import LONGEST_SLEEP, Hold
from crawler.worker.visit import Answer, Visit, kept
from frontier.client import FencedSegment, StaleLease
from frontier.model import FrontierError, Lease, LeasedUrl, UrlResult, Verdict
from frontier.url import parse
from frontier.windows import boottime
from storage.blob import StorageError
from storage.segment import PageRecord

if TYPE_CHECKING:
    from crawler.worker.jobs import JobContext
    from crawler.worker.process import Worker
    from frontier.robots import Robots

MISHAPS: Final = 3  # errors of ours in a row that end a URL
POISON: Final = 3  # leases lost with a URL begun before it is given up
BACK_OFF: Final = 30.0  # seconds a host rests after an error of ours
RESPELLED_SLEEP: Final = 60.0  # longest delay before a URL is asked for in another spelling


class Turn:
    """A lease being worked off; ``hold`` is its right to contact the host."""

    visit_type: type[Visit] = Visit

    def __init__(self, worker: Worker, job: JobContext, lease: Lease) -> None:
        self.worker = worker
        self.job = job
        self.hold = Hold(worker, job, lease)
        self._visits: list[tuple[LeasedUrl, asyncio.Future[UrlResult]]] = []
        self._pages: list[Visit] = []  # may count against the job's budget
        self.unpaid = False  # the budget was used up
        self._refunds = 0  # of the budget, when pages were taken from it
        self._reporting = asyncio.Lock()

    async def run(self) -> float | None:
        """Work the lease off; the seconds until the job's next host in this partition."""
        losses = self.hold.lease.urls[0].request.losses if self.hold.lease.urls else 0
        if losses < POISON - 1:
            return await self._run(suspect=losses > 0)
        # The next worker that ends must end by one URL alone, or innocent ones would be given up.
        async with self.worker.suspects:
            return await self._run(suspect=True)

    async def _run(self, *, suspect: bool) -> float | None:
        if suspect and not await self._begin():
            return await self._give_back(0)
        paid = await self._pay()
        for at, leased in enumerate(self.hold.lease.urls[:paid]):
            self.hold.more = paid - at - 1
            if self.hold.lost or not self.worker.serves(self.job):
                break
            try:
                if not await self._take(leased):
                    break
            except FrontierError as error:
                self.worker.trouble(error)
                self.hold.block(BACK_OFF, "internal-error")
                break
            except Exception:
                self.worker.log.exception("taking %s failed", leased.request.url)
                self._settle(
                    leased, UrlResult(leased.fp, "retry", reason="internal-error", wait=60)
                )
                break
        return await self._give_back(paid)

    async def _begin(self) -> bool:
        """Say that a URL that may have ended a worker is tried again."""
        try:
            self.hold.lost = self.hold.lost or not await self.worker.frontier.begin(self.hold.lease)
        except FrontierError as error:
            self.worker.trouble(error)
            return False
        return not self.hold.lost

    async def _pay(self) -> int:
        """Take pages from the job's budget, where it has one."""
        wanted = len(self.hold.lease.urls)
        if not self.job.budgeted:
            return wanted
        paid, self._refunds = await self._credit(wanted, None)
        self.unpaid = paid == 0
        return paid

    async def _credit(self, pages: int, refunds: int | None) -> tuple[int, int]:
        """What the budget grants; nothing while the frontier fails: the job's end sorts it out."""
        registry = self.worker.frontier.registry
        try:
            async with self.job.paying:
                return await registry.take_credit(
                    self.job.name, pages, self.worker.id, refunds=refunds
                )
        except FrontierError as error:
            self.worker.trouble(error)
            return 0, 0

    async def _take(self, leased: LeasedUrl) -> bool:
        """One URL; False ends the turn."""
        request, url = leased.request, parse(leased.request.url)
        if request.losses >= POISON:
            await self._drop(leased, "poison")
            return True
        if request.reason == "internal-error" and request.attempts >= MISHAPS:
            await self._drop(leased, "internal-error")
            return True
        if self.worker.blocks.of(url):
            await self._drop(leased, "opted-out")
            return True
        # A seed was not asked yet, and a resumed job may have become narrower.
        if request.kind == "page" and (reason := self.job.refuses(url, request.depth)):
            await self._drop(leased, reason)
            return True
        view = await self.worker.robots.view(url, self.hold, request.attempts)
        if view.failure is not None:
            return await self._robots_failed(leased, view.failure)
        if view.wait > 0:
            if view.reason:
                self.hold.block(view.wait, view.reason)
            return False
        verdict = view.rules.verdict(self.job.product, url.path)
        if not verdict.allowed:
            await self._drop(leased, "robots-denied", robots=verdict.rule or "")
            return True
        if not self.hold.heed(view.rules.crawl_delay(self.job.product)):
            return False
        if self.hold.wait > LONGEST_SLEEP:
            return False
        visit = self.visit_type(
            self.job, url, request, request.kind, leased.fp, robots_rule=verdict.rule or ""
        )
        if request.kind == "page" and self.job.asks_for_reservations:
            reserved = await self.worker.tdm.view(url, self.hold, view.rules)
            if reserved is None:
                return False
            visit.reserved = reserved
        return await self._contact(leased, visit, view.rules)

    async def _contact(self, leased: LeasedUrl, visit: Visit, rules: Robots) -> bool:
        visit.usage = rules.usage_for(self.job.product)
        answer = await self.hold.contact(visit)
        if isinstance(answer, LeaseError):
            visit.decided.cancel()
            return False
        try:
            verdict = await self.hold.judge(answer, visit.request.attempts + 1)
        except BaseException:
            visit.decided.cancel()  # the spider waits for it
            raise
        self.worker.count(visit, answer)
        again = self._respelled(visit, answer, rules)
        if again is not None:
            again.reserved = visit.reserved
            visit.decided.set_result(False)
            self.hold.goes_on()
            return await self._contact(leased, again, rules)
        exchange = None if verdict.action == "retry" else kept(answer)
        visit.reason = verdict.reason
        visit.decided.set_result(exchange is not None)
        if exchange is not None:
            self._visits.append((leased, visit.stored))
            if rows.is_page(visit, exchange):
                self._pages.append(visit)
        elif verdict.action == "retry":
            self._settle(leased, _retry(leased, verdict))
        else:
            await self._drop(leased, verdict.reason, attempts=visit.request.attempts + 1)
        return self.hold.wait <= LONGEST_SLEEP

    def _respelled(self, visit: Visit, answer: Answer, rules: Robots) -> Visit | None:
        """The same visit, where a redirect only spells its URL differently; None: go by the answer.

        The frontier knows both spellings as one, so the other could never be fetched as a link.
        """
        url, request, spec = rows.respelled(visit.url, answer), visit.request, self.job.spec
        if url is None or request.hops >= spec.max_hops or self.hold.wait > RESPELLED_SLEEP:
            return None
        verdict = rules.verdict(self.job.product, url.path)
        if not verdict.allowed or self.job.refuses(url, request.depth):
            return None
        request = replace(
            request, url=url.url, hops=request.hops + 1, attempts=request.attempts + 1
        )
        return Visit(self.job, url, request, request.kind, visit.fp, robots_rule=verdict.rule or "")

    async def _robots_failed(self, leased: LeasedUrl, verdict: Verdict) -> bool:
        """The host did not answer at all: the URL's own attempt would have failed alike."""
        if verdict.action == "retry":
            self._settle(leased, _retry(leased, verdict))
        else:
            await self._drop(leased, verdict.reason, attempts=leased.request.attempts + 1)
        return False

    async def _drop(
        self, leased: LeasedUrl, reason: str, *, robots: str = "", attempts: int | None = None
    ) -> None:
        """An accepted URL ends without an answer: a row with the reason."""
        row = rows.unanswered(self.job, leased.request, reason, robots, attempts)
        record = PageRecord(row, leased.fp, self.hold.lease.partition)
        future: asyncio.Future[UrlResult] = asyncio.get_running_loop().create_future()
        try:
            segment = await self.worker.segments.append(self.job, record)
            future.set_result(UrlResult(leased.fp, "pending", segment, reason))
        except StorageError as error:
            self.worker.trouble(error)
            self.hold.block(BACK_OFF, "internal-error")
            future.set_result(UrlResult(leased.fp, "return"))
        self._visits.append((leased, future))

    def _settle(self, leased: LeasedUrl, result: UrlResult) -> None:
        future: asyncio.Future[UrlResult] = asyncio.get_running_loop().create_future()
        future.set_result(result)
        self._visits.append((leased, future))

    # -- reporting

    async def flush(self) -> None:
        """Report what is in segments by now; the host stays ours."""
        async with self._reporting:
            ready = [v for v in self._visits if v[1].done()]
            if ready:
                await self._report(ready, free=False)

    async def _give_back(self, paid: int) -> float | None:
        """Wait for the pages under way, report everything, free the host."""
        pending = [stored for _, stored in self._visits if not stored.done()]
        if pending:
            await asyncio.wait(pending)
        spent = sum(not visit.empty for visit in self._pages)
        if self.job.budgeted and paid > spent and not self.hold.lost:
            await self._credit(spent - paid, self._refunds)  # while the lease shows that we had it
        async with self._reporting:
            return await self._report(list(self._visits), free=True)

    async def _report(
        self, visits: list[tuple[LeasedUrl, asyncio.Future[UrlResult]]], *, free: bool
    ) -> float | None:
        results = [self._result(leased, stored) for leased, stored in visits]
        try:
            due = await self._send(results, free=free)
        except FencedSegment as error:
            self.worker.log.warning("%s; its URLs return to the queue", error)
            self.worker.segments.doubt(self.job)
            results = [r if r.action == "retry" else UrlResult(r.fp, "return") for r in results]
            due = await self._send(results, free=free)
        self._visits = [v for v in self._visits if v not in visits]
        return due

    async def _send(self, results: list[UrlResult], *, free: bool) -> float | None:
        """Report under the token; a frontier that does not answer is asked until the lease ends."""
        hold = self.hold
        while True:
            try:
                return await self.worker.frontier.report(
                    hold.lease, results, state=hold.state, wait=hold.wait, free=free
                )
            except StaleLease as error:
                hold.lost = True
                self.worker.log.warning("%s: its %d URLs are another's now", error, len(results))
                return None
            except FencedSegment:
                raise
            except FrontierError as error:
                self.worker.trouble(error)
                if boottime() > hold.lease.expires or self.worker.hopeless:
                    hold.lost = True  # the frontier will take the host back at its deadline
                    return None
                await asyncio.sleep(0.5)

    def _result(self, leased: LeasedUrl, stored: asyncio.Future[UrlResult]) -> UrlResult:
        error = stored.exception()
        if error is None:
            return stored.result()
        if isinstance(error, (FrontierError, StorageError)):
            self.worker.trouble(error)
            self.hold.block(BACK_OFF, "internal-error")  # it would be fetched in vain again
            self.job.counts["unstored"] += 1
            return UrlResult(leased.fp, "return")
        self.worker.log.error("processing %s failed", leased.request.url, exc_info=error)
        return UrlResult(leased.fp, "retry", reason="internal-error", wait=60.0)


def _retry(leased: LeasedUrl, verdict: Verdict) -> UrlResult:
    return UrlResult(leased.fp, "retry", reason=verdict.reason, wait=verdict.url_wait)


def renewed(hold: Hold, lease: Lease | None) -> None:
    """Take in what a renewal said."""
    if lease is None:
        hold.lost = True
    else:
        hold.lease = replace(hold.lease, expires=lease.expires)
