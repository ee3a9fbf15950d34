"""A lease of a project's requests: as any other, but what becomes of an answer is the project's.

Invariant kept: done means durable. A request is pending, at the earliest, once its answer is there;
its segment ends only after the callback (or errback) has put out its last, and the item pipelines
have taken it. A host does not wait for slow callbacks: what they are about is promised to a
segment, which does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from crawler.fetch.exchange import LeaseError
from crawler.worker.addon.visits import AddonVisit, Unasked
from crawler.worker.hold import LONGEST_SLEEP
from crawler.worker.turn import Turn
from crawler.worker.visit import Visit, kept
from frontier.model import Lease, LeasedUrl, UrlResult
from frontier.url import parse

if TYPE_CHECKING:
    from crawler.worker.addon.worker import AddonWorker
    from crawler.worker.jobs import JobContext
    from frontier.robots import Robots

PATIENCE: Final = 1.0  # seconds that a host waits for callbacks before it is given back


class AddonTurn(Turn):
    """A lease of the project's job."""

    worker: AddonWorker
    visit_type = AddonVisit

    def __init__(self, worker: AddonWorker, job: JobContext, lease: Lease) -> None:
        super().__init__(worker, job, lease)
        self._handed: list[AddonVisit] = []

    async def _contact(self, leased: LeasedUrl, visit: Visit, rules: Robots) -> bool:
        assert isinstance(visit, AddonVisit)  # noqa: S101 - visit_type
        visit.usage = rules.usage_for(self.job.product)
        answer = await self.hold.contact(visit)
        if isinstance(answer, Unasked):
            visit.reason = "middleware"
            self._hand_over(leased, visit)
            return True
        if isinstance(answer, LeaseError):
            visit.decided.cancel()
            return False
        try:
            verdict = await self.hold.judge(answer, visit.request.attempts + 1)
            self.worker.count(visit, answer)
            if verdict.action == "retry":
                wait = verdict.url_wait
                self._settle(leased, UrlResult(leased.fp, "retry", "", verdict.reason, wait))
                visit.decided.set_result(False)
            else:
                visit.reason, visit.exchange = verdict.reason, kept(answer)
                visit.attempts = visit.request.attempts + 1
                await self.worker.look_at(visit)
                self._hand_over(leased, visit)
                visit.decided.set_result(True)
        except BaseException:
            visit.decided.cancel()  # the engine waits for it
            raise
        return self.hold.wait <= LONGEST_SLEEP

    async def _drop(
        self, leased: LeasedUrl, reason: str, *, robots: str = "", attempts: int | None = None
    ) -> None:
        """It ends without an answer, which its errback is told, as Scrapy's middlewares do."""
        url, request = parse(leased.request.url), leased.request
        visit = AddonVisit(self.job, url, request, request.kind, leased.fp, robots_rule=robots)
        visit.reason, visit.attempts = reason, attempts
        self._hand_over(leased, visit)
        self.worker.deny(visit)

    def _hand_over(self, leased: LeasedUrl, visit: AddonVisit) -> None:
        """From here on it is the project's."""
        self._visits.append((leased, visit.stored))
        self._handed.append(visit)

    async def _give_back(self, paid: int) -> float | None:
        if under_way := [v.stored for v in self._handed if not v.stored.done()]:
            await asyncio.wait(under_way, timeout=PATIENCE)
        for visit in self._handed:
            if not visit.stored.done():
                await self.worker.promise(visit)
        return await super()._give_back(paid)
