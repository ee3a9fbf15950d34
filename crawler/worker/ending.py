"""When a job is over: nothing left, nothing but hosts blocked for long, or a bound reached.

One pass over the partitions is not a snapshot, as links cross between them meanwhile. So a job is
complete after two equal passes in a row with all seeds in, and ends by a compare-and-set: anybody
may look, it ends once. A job that visits again is never complete: it ends at its bounds.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol

from crawler.job import JobSpec
from frontier.client import Frontier
from frontier.model import FrontierStats
from frontier.registry import JobRecord


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over the partitions saw of a job."""

    epoch: int  # of the job: a restart makes earlier passes worthless
    accepted: int
    finished: int
    held: int  # leased or pending: somebody is at work on them
    next_ready: float | None  # seconds until a host or a retry is due
    aside: int = 0  # spilled URLs that cannot be read
    doubtful: int = 0  # partitions that may lack what they had: nobody knows what is left


def look(record: JobRecord, stats: FrontierStats) -> Pass:
    """What counts of a pass."""
    return Pass(
        record.epoch,
        stats.accepted,
        stats.finished,
        stats.leased + stats.pending,
        stats.next_ready,
        stats.quarantined,
        stats.doubtful,
    )


def bound_reached(spec: JobSpec, record: JobRecord, counted: dict[str, int], now: float) -> str:
    """The bound that a running job has reached, as a reason; "" for none.

    Pages are bounded by credit, exactly; see :func:`ended`.
    """
    if spec.time_limit is not None and now - record.started >= spec.time_limit:
        return "time-limit"
    if spec.size_limit is not None and counted.get("bytes", 0) >= spec.size_limit:
        return "size-limit"
    return ""


def ended(
    spec: JobSpec, record: JobRecord, before: Pass | None, now: Pass, credit: int | None
) -> str | None:
    """None while there is something to do; else why the job is over ("": nothing is left)."""
    if now.held or now.doubtful:
        return None
    if record.state == "draining":
        return record.reason
    if not record.seeded:
        return None
    same = (
        before is not None
        and not before.doubtful
        and (before.epoch, before.accepted, before.finished)
        == (
            now.epoch,
            now.accepted,
            now.finished,
        )
    )
    if not same:
        return None
    again = spec.recrawl != "off"  # then nothing is ever left for good: only bounds end it
    if now.accepted == now.finished and not again:
        return ""
    if now.aside and now.accepted == now.finished + now.aside and not again:
        return "spill-damaged"
    if credit is not None and credit <= 0:
        return "max-pages"
    if not again and now.next_ready is not None and now.next_ready > spec.max_wait:
        return "max-wait"
    return None


class Watched(Protocol):
    """What is looked at: a job as a worker knows it."""

    @property
    def name(self) -> str:
        """Its id."""

    @property
    def spec(self) -> JobSpec:
        """Its bounds."""

    def stored_pages(self) -> int:
        """Committed pages with status 200. Blocking."""


class Ending:
    """Watches the jobs of a fleet; any worker runs one, a lock lets one at a time look."""

    def __init__(self, frontier: Frontier, name: str) -> None:
        self._frontier = frontier
        self._name = name
        self._before: dict[str, Pass] = {}

    async def watch(self, context: Watched) -> bool:
        """One look at a job; ends it, or lets it drain when a bound is reached.

        Returns whether this very look has completed it.
        """
        registry, job, spec = self._frontier.registry, context.name, context.spec
        record = await registry.job(job)
        if record is None or record.state not in ("running", "draining"):
            self._before.pop(job, None)
            return False
        if not await registry.lock(f"end:{job}", self._name, 5.0):
            self._before.pop(job, None)
            return False
        if record.state == "running":
            counted = await registry.counted(job)
            if reason := bound_reached(spec, record, counted, time.time()):
                await registry.move_job(
                    job, ("running",), at_epoch=record.epoch, state="draining", reason=reason
                )
                return False
        # Credit first: it is taken under a lease, so whoever had some by now is seen to hold it.
        credit, refunds = await registry.credit(job)
        now = look(record, await self._frontier.stats(job, hosts=False))
        over = ended(spec, record, self._before.get(job), now, credit)
        self._before[job] = now
        if over is None or (over == "max-pages" and await self._refunded(context, refunds)):
            return False
        state = "paused" if over == "interrupted" else "completed"
        if await self._open(job, state):
            return False
        moved = await registry.move_job(
            job, ("running", "draining"), at_epoch=record.epoch, state=state, reason=over
        )
        return moved and state == "completed"

    async def _open(self, job: str, state: str) -> bool:
        """Whether segments of it are on their way; a pause need not wait for their outlinks."""
        records = (await self._frontier.registry.segments()).values()
        return any(r.job == job and not (r.settled and state == "paused") for r in records)

    async def _refunded(self, context: Watched, refunds: int) -> bool:
        """Give back what the budget lost with dead workers; nothing is held now, so it is exact."""
        stored = await asyncio.to_thread(context.stored_pages)
        left = (context.spec.max_pages or 0) - stored
        if left > 0:  # when another was first, it has been refunded all the same
            await self._frontier.registry.refund(context.name, left, refunds)
        return left > 0
