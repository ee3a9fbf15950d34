"""The right to contact one host, for as long as its lease is ours.

Keeps invariants 1 and 2 on the worker's side: requests go out one at a time, none before the
host's clock allows it, none that could outlive the lease, none against the clocks that the host
shares with others. The gate is asked again by the download handler just before it writes.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from crawler.fetch.exchange import Exchange, FetchError, LeaseError
from crawler.worker.clocks import ANYWHERE, SharedClocks
from crawler.worker.visit import Answer, Visit
from frontier import policy
from frontier.model import FrontierError, HostState, Lease, Outcome, Verdict
from frontier.windows import boottime

if TYPE_CHECKING:
    from crawler.worker.jobs import JobContext
    from crawler.worker.process import Worker

LONGEST_SLEEP: Final = 5.0  # a longer delay gives the host back instead


class Hold:
    """One held host: its lease, its clock, its state."""

    def __init__(self, worker: Worker, job: JobContext, lease: Lease) -> None:
        self.worker = worker
        self.job = job
        self.lease = lease
        self.state = lease.state
        self.next_at = 0.0  # time.monotonic() of the next allowed start
        self._started = 0.0  # time.monotonic() when the last contact was asked for
        self._ended: float | None = None  # time.monotonic() when the last contact ended
        self.lost = False  # a renewal said so
        self.more = 0  # URLs of the lease after the one under way
        bounds = job.politeness
        delays = bounds.address_delay or bounds.domain_delay or (bounds.min_delay and worker.ranges)
        self.clocks = SharedClocks(self) if delays else None

    @property
    def wait(self) -> float:
        """Seconds until the host may be contacted again."""
        return max(0.0, self.next_at - time.monotonic())

    def may_start(self) -> bool:
        """Whether a request may start this instant: the gate."""
        ends = boottime() + self.worker.longest_fetch
        held = not self.lost and ends < self.lease.expires and time.monotonic() >= self.next_at
        return held and (self.clocks is None or self.clocks.open())

    @property
    def rest(self) -> float:
        """Seconds that the lease's further contacts will take, as far as can be foreseen."""
        pause = max(self.state.delay, self.job.politeness.min_delay) + self.state.penalty
        return self.more * (pause + self.state.response_time) if pause <= LONGEST_SLEEP else 0.0

    def starts(self) -> None:
        """The contact begins now: its time runs from here, not from when it was asked for."""
        self._started = time.monotonic()

    def goes_on(self) -> None:
        """The next contact belongs to the one before it, by a redirect: they stand in line once.

        Else they might be begun again and again, and never be ended.
        """
        if self.clocks is not None:
            self.line_up(0.0, time.time(), ANYWHERE)

    def line_up(self, wait: float, ticket: float, address: str) -> None:
        """Others go first: the host goes back for so long, with a ticket."""
        self.next_at = max(self.next_at, time.monotonic() + wait)
        self.state = replace(self.state, ticket=ticket, ticket_address=address)

    async def contact(self, visit: Visit) -> Answer:
        """Wait for the host's clock, send the request through Scrapy, return what came back."""
        while (wait := self.wait) > 0:
            await asyncio.sleep(wait)
        if not self.worker.serves(self.job):
            return LeaseError("the worker or the job is stopping")
        if block := self.worker.blocks.of(visit.url):
            return FetchError("opted-out", block.words)
        self.starts()
        self.worker.send(visit, self)
        return await visit.answer

    def passes(self, visit_kind: str) -> dict[str, Any]:
        """What the download handler needs to let one contact of a kind through, as its meta."""
        return {
            "gate": self.may_start,
            "clocks": self.clocks,
            "forbids": self.worker.forbids,
            "refuses": self.job.types.refuses if visit_kind == "page" else None,
            "allow_private": self.job.spec.allow_private_networks,
        }

    async def judge(self, answer: Exchange | FetchError, attempts: int) -> Verdict:
        """Let the policy decide what follows from an answer, and set the host's clock by it.

        A wait that outlasts the lease is told to the frontier at once: this process may die before
        its report, and nobody else would know of it.
        """
        verdict = self._decide(answer, attempts)
        if self.wait > LONGEST_SLEEP:
            try:
                await self.worker.frontier.report(
                    self.lease, [], state=self.state, wait=self.wait, free=False
                )
            except FrontierError as error:  # the report at the end of the turn says it again
                self.worker.trouble(error)
        return verdict

    def _decide(self, answer: Exchange | FetchError, attempts: int) -> Verdict:
        ended = time.monotonic()
        if isinstance(answer, Exchange):
            ended = answer.finished_mono
            cut = "truncated" if answer.truncated == "disconnect" else ""
            outcome = Outcome(
                reason=policy.reason_for_status(answer.status) or cut,
                status=answer.status,
                seconds=answer.seconds,
                retry_after=header(answer, "retry-after"),
                attempts=attempts,
            )
        else:
            seconds = ended - self._started
            outcome = Outcome(reason=answer.reason, seconds=seconds, attempts=attempts)
        verdict = policy.decide(
            self.state,
            outcome,
            self.job.politeness,
            time.time(),
            random.random(),  # noqa: S311 - jitter
        )
        self.state = replace(verdict.state, ticket=0.0, ticket_address="")  # it is used up
        self._ended = ended
        self.next_at = max(self.next_at, ended + verdict.host_wait)
        return verdict

    def block(self, wait: float, reason: str) -> None:
        """Hold the host back as a whole, and say why."""
        until = max(self.state.blocked_until, time.time() + wait)
        self._take(replace(self.state, blocked_until=until, blocked_reason=reason))

    def heed(self, crawl_delay: float | None) -> bool:
        """Take a Crawl-delay into account; False when it is so long that the host is parked."""
        self._take(
            policy.with_crawl_delay(self.state, crawl_delay, self.job.politeness, time.time())
        )
        if self._ended is not None:  # it counts from the request that brought it, too
            self.next_at = max(self.next_at, self._ended + self.state.delay)
        return self.state.blocked_reason != "parked"

    def _take(self, state: HostState) -> None:
        self.state = state
        if state.blocked_until:
            self.next_at = max(self.next_at, time.monotonic() + state.blocked_until - time.time())


def header(exchange: Exchange, name: str) -> str | None:
    """The first value of a response header, by its lower-case name."""
    return next((v for n, v in exchange.headers if n.lower() == name), None)
