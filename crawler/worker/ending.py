"""When a job is over: nothing left, nothing but hosts blocked for long, or a bound reached.

One pass over the partitions is not a snapshot, as links cross between them meanwhile. So a job is
complete after two equal passes in a row with all seeds in, and ends by a compare-and-set: anybody
may look, it ends once.
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


def look(record: JobRecord, stats: FrontierStats) -> Pass:
    """What counts of a pass."""
    return Pass(
        record.epoch,
        stats.accepted,
        stats.finished,
        stats.leased + stats.pending,
        stats.next_ready,
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
    if now.held:
        return None
    if record.state == "draining":
        return record.reason
    if not record.seeded:
        return None
    same = before is not None and (before.epoch, before.accepted, before.finished) == (
        now.epoch,
        now.accepted,
        now.finished,
    )
    if not same:
        return None
    if now.accepted == now.finished:
        return ""
    if credit is not None and credit <= 0:
        return "max-pages"
    if now.next_ready is not None and now.next_ready > spec.max_wait:
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

    async def watch(self, context: Watched) -> None:
        """One look at a job; ends it, or lets it drain when a bound is reached."""
        registry, job, spec = self._frontier.registry, context.name, context.spec
        record = await registry.job(job)
        if record is None or record.state not in ("running", "draining"):
            self._before.pop(job, None)
            return
        if not await registry.lock(f"end:{job}", self._name, 5.0):
            self._before.pop(job, None)
            return
        if record.state == "running":
            counted = await registry.counted(job)
            if reason := bound_reached(spec, record, counted, time.time()):
                await registry.move_job(
                    job, ("running",), at_epoch=record.epoch, state="draining", reason=reason
                )
                return
        # Credit first: it is taken under a lease, so whoever had some by now is seen to hold it.
        credit, refunds = await registry.credit(job)
        now = look(record, await self._frontier.stats(job))
        over = ended(spec, record, self._before.get(job), now, credit)
        self._before[job] = now
        if over is None or (over == "max-pages" and await self._refunded(context, refunds)):
            return
        state = "paused" if over == "interrupted" else "completed"
        await registry.move_job(
            job, ("running", "draining"), at_epoch=record.epoch, state=state, reason=over
        )

    async def _refunded(self, context: Watched, refunds: int) -> bool:
        """Give back what the budget lost with dead workers; nothing is held now, so it is exact."""
        stored = await asyncio.to_thread(context.stored_pages)
        left = (context.spec.max_pages or 0) - stored
        if left > 0:  # when another was first, it has been refunded all the same
            await self._frontier.registry.refund(context.name, left, refunds)
        return left > 0
