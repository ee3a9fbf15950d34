"""Asks the frontier for hosts, and gives each grant to a turn.

A partition is asked when a host is due there as far as this worker knows (from its own grants,
reports and adds), and every ``SWEEP`` seconds in any case, as others add links too. Several
partitions go out in one round trip. What to ask for is decided in `asking`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from crawler.worker.asking import Asking
from frontier.model import FrontierError, Lease, Report

if TYPE_CHECKING:
    from crawler.worker.process import Worker
    from crawler.worker.turn import Turn

URLS: Final = 8  # URLs per host
REAP: Final = 1.0  # seconds between looks for lost leases while nothing may be leased
OUT_OF_CREDIT: Final = 0.5  # seconds a job rests when its page budget is used up


class Leasing:
    """The leases of one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._asking = Asking(worker.frontier.partitions, worker.turns)  # by time.monotonic()
        self._wake = asyncio.Event()
        self._jobs: deque[str] = deque()  # in order of service, rotated with each call
        self._served: dict[str, int] = {}  # the jobs asked for last, with their weights
        self._resting: dict[str, float] = {}  # job -> time.monotonic() until which it is left out
        self.turns: dict[asyncio.Task[None], Turn] = {}

    def note(self, due: dict[int, float]) -> None:
        """Hosts are due in these partitions in so many seconds."""
        self._asking.note(due, time.monotonic())
        self._wake.set()

    def holds(self, job: str) -> bool:
        """Whether a host is held for a job."""
        return any(turn.job.name == job for turn in self.turns.values())

    def idle(self, job: str) -> bool:
        """Whether nothing of a job is held, and none of its hosts can be leased at once."""
        if self.holds(job):
            return False
        now = time.monotonic()
        if job not in self._jobs or self._resting.get(job, 0.0) > now:
            return True
        return not self._asking.due(now)

    async def run(self) -> None:
        """Lease until the worker stops."""
        while self._worker.running:
            self._wake.clear()
            try:
                await self._ask()
            except FrontierError as error:
                self._worker.trouble(error)
                await asyncio.sleep(0.5)
            except Exception:
                self._worker.log.exception("leasing failed")
                await asyncio.sleep(1.0)
            await self._rest()

    async def _ask(self) -> None:
        names = self._serve()
        now = time.monotonic()
        if not names and self._worker.jobs.draining():
            await self._reap(now)
        contexts = self._worker.jobs.contexts
        self._served = weights = {name: contexts[name].spec.weight for name in names}
        ask = self._asking.plan(now, weights, self._held())
        if ask is None:
            return
        grant = await self._worker.frontier.lease(
            self._worker.id,
            ask.jobs,
            ask.partitions,
            hosts=ask.hosts,
            urls=URLS,
            ttl=self._worker.settings.lease_ttl,
            weights=weights,
        )
        self._worker.spilling.note(grant.laden)
        granted = {lease.partition for lease in grant.leases}
        self._asking.told(ask, grant.due, granted, time.monotonic())
        ended = [lease for lease in grant.leases if lease.job not in self._worker.jobs.contexts]
        for lease in grant.leases:
            if lease not in ended:
                self._start(lease)
        if ended:  # while the call was under way
            reports = [Report(lease, (), lease.state, 0.0, True) for lease in ended]
            await self._worker.frontier.report_all(reports)
        await self._worker.reconciling.note(grant.losses)

    def _held(self) -> Counter[str]:
        """Turns by job."""
        return Counter(turn.job.name for turn in self.turns.values())

    async def _reap(self, now: float) -> None:
        """Let the frontier take back what dead workers held: a job drains only when nobody holds
        anything, and where nothing is leased, nothing else looks at old leases."""
        partitions = self._asking.due(now)
        ttl = self._worker.settings.lease_ttl
        lease = self._worker.frontier.lease
        grant = await lease(self._worker.id, [], partitions, hosts=0, urls=0, ttl=ttl)
        self._asking.rest_until(partitions, now + REAP)
        await self._worker.reconciling.note(grant.losses)

    def _serve(self) -> list[str]:
        """The jobs to ask for, a different one first each time."""
        now = time.monotonic()
        runnable = self._worker.jobs.runnable()
        for name in runnable:
            if name not in self._jobs:
                self._jobs.append(name)
        for name in [n for n in self._jobs if n not in runnable]:
            self._jobs.remove(name)
        self._jobs.rotate(-1)
        crowded = self._worker.segments.crowded
        return [n for n in self._jobs if self._resting.get(n, 0.0) <= now and not crowded(n)]

    async def _rest(self) -> None:
        """Until a host is due, a turn ends or something is noted."""
        jobs = self._served or dict.fromkeys(self._jobs, 1)
        wait = self._asking.rest(time.monotonic(), jobs, self._held())
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            return

    def _start(self, lease: Lease) -> None:
        job = self._worker.jobs.contexts[lease.job]
        turn = self._worker.turn(job, lease)
        self._worker.holds.add(turn.hold)
        self.turns[asyncio.create_task(self._run(turn))] = turn

    async def _run(self, turn: Turn) -> None:
        lease = turn.hold.lease
        try:
            due = await turn.run()
            if turn.unpaid:
                self._resting[turn.job.name] = time.monotonic() + OUT_OF_CREDIT
            if due is not None:
                self.note({lease.partition: due})
        except FrontierError as error:
            self._worker.trouble(error)
        except Exception:
            self._worker.log.exception("the turn of %s failed; its lease runs out", lease.host)
        finally:
            self._worker.holds.discard(turn.hold)
            task = asyncio.current_task()
            if task is not None:
                self.turns.pop(task, None)
            self._wake.set()
