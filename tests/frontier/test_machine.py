"""Random operations of several workers against the real server, judged by a model after each step.

The invariants of the design, read from the real keys: 1 one holder, 2 never early, 3 a stale token
changes nothing, 4 in exactly one place, 7 bounded; order within a class; an exact seen-filter;
every host with URLs is where lease looks for it. At the end of each run the rest is crawled:
nothing may be stuck.

For a long run say how many examples: ``COMITY_MACHINE=5000 pytest tests/frontier/test_machine.py``;
they are drawn at random, and a failure prints its steps.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from frontier.client import Frontier
from frontier.driver import Driver
from frontier.embedded import EmbeddedServer
from frontier.model import Lease, Limits, RefillWant, SpillBatch
from tests.frontier.drain import drain, refill, spill, spilled_in
from tests.frontier.fleet import HOSTS, JOBS, PARTITIONS, TTL, WORKERS, Fleet, Results, found
from tests.frontier.judge import judge

LONG = int(os.environ.get("COMITY_MACHINE", "0"))

jobs = st.sampled_from(JOBS)
workers = st.sampled_from(WORKERS)
hosts = st.sampled_from(HOSTS)
classes = st.sampled_from([2, 2, 2, 0, 1, 3])
picks = st.integers(0, 500)  # one of a list, by its remainder
places = st.integers(0, PARTITIONS - 1)
some = st.sets(places, min_size=1).map(sorted)
seldom = st.sampled_from([False, False, False, True])
actions = st.sampled_from(["pending", "pending", "pending", "retry", "return", ""])
reasons = st.sampled_from(["", "", "http-404", "timeout"])
fates = st.lists(st.tuples(actions, reasons, st.integers(0, 4_000)), max_size=8)
floods = st.tuples(jobs, hosts, st.integers(3, 25) | st.just(90), classes)
limits = st.builds(
    Limits,
    host_cap=st.integers(5, 10) | st.just(90),
    buffer=st.just(10),
    host_budget=st.sampled_from([0, 0, 0, 12]),
    domain_budget=st.sampled_from([0, 0, 20]),
    domain_hosts=st.sampled_from([0, 0, 2]),
    newest_first=seldom,
)


class Machine(RuleBasedStateMachine):
    """Three workers, two jobs, six hosts, three partitions."""

    frontier: ClassVar[Frontier]
    runner: ClassVar[asyncio.Runner]
    fleet: Fleet

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[str, int, SpillBatch]] = []
        self.wants: list[tuple[str, int, RefillWant]] = []
        self.fresh = 100  # number of the next URL that nobody has seen

    @initialize(one=limits, two=limits, floods=st.lists(floods, min_size=2, max_size=5))
    def begin(self, one: Limits, two: Limits, floods: list[tuple[str, str, int, int]]) -> None:
        """Two jobs with some URLs each."""
        self.fleet = Fleet(self.frontier, self.runner, {"one": one, "two": two})
        for flood in floods:
            self.pour(*flood)

    @rule(
        job=jobs,
        offers=st.lists(st.tuples(hosts, st.integers(0, 30), classes), min_size=1, max_size=12),
        force=seldom,
    )
    def add(self, job: str, offers: list[tuple[str, int, int]], *, force: bool) -> None:
        """New, known and repeated URLs."""
        first: dict[tuple[str, int], int] = {}
        same = [(host, i, first.setdefault((host, i), cls)) for host, i, cls in offers]
        self.fleet.put(job, same, force=force)

    @rule(flood=floods)
    def flood(self, flood: tuple[str, str, int, int]) -> None:
        """Many new URLs of one host."""
        self.pour(*flood)

    def pour(self, job: str, host: str, n: int, cls: int) -> None:
        first, self.fresh = self.fresh, self.fresh + n
        self.fleet.put(job, [(host, i, cls) for i in range(first, first + n)], force=False)

    @rule(
        worker=workers,
        wanted=st.sampled_from([["one"], ["two"], ["one", "two"], ["two", "one"]]),
        partitions=some,
        n=st.integers(1, 4),
        urls=st.integers(1, 8),
        again=seldom,
    )
    def lease(
        self,
        worker: str,
        wanted: list[str],
        partitions: list[int],
        n: int,
        urls: int,
        *,
        again: bool,
    ) -> None:
        """Some hosts."""
        self.fleet.lease(worker, wanted, partitions, hosts=n, urls=urls, again=again)

    @rule(worker=workers, job=jobs, host=hosts)
    def claim(self, worker: str, job: str, host: str) -> None:
        """One host, perhaps another worker's."""
        self.fleet.claim(worker, job, host)

    def pick(self, i: int) -> tuple[str, Lease]:
        """One of the leases: mostly one that is held, or whose host somebody else holds by now."""
        model, all_ = self.fleet.model, self.fleet.leases
        held = [(w, at) for w, at in all_ if model.current(at.host, at.token)]
        lost = [(w, at) for w, at in all_ if at.host in model.held and (w, at) not in held]
        among = (all_, lost, held, held, held)[i % 5] or all_
        return among[i // 5 % len(among)]

    @precondition(lambda self: self.fleet.leases)
    @rule(some=st.lists(picks, min_size=1, max_size=4), late=st.sampled_from([0, 0, 1, TTL]))
    def renew(self, some: list[int], late: int) -> None:
        """Some that are held, some that are lost, some that have just run out."""
        self.fleet.tick(late)
        self.fleet.renew({self.pick(i)[1] for i in some})

    @precondition(lambda self: self.fleet.leases)
    @rule(i=picks)
    def suspect(self, i: int) -> None:
        """The URL of a lease is worked on, and may end its worker."""
        self.fleet.begin(self.pick(i)[1])

    @precondition(lambda self: self.fleet.leases)
    @rule(
        i=picks,
        told=fates,
        wait=st.sampled_from([0, 0, 100, 1_000, 4_000]),
        delay=st.sampled_from([0, 100, 1_000, 6_000]),
        free=st.booleans(),
        twice=st.sampled_from(["", "", "doubled", "again"]),
    )
    def report(
        self,
        i: int,
        told: list[tuple[str, str, int]],
        wait: int,
        delay: int,
        *,
        free: bool,
        twice: str,
    ) -> None:
        """The owner, who may have been away for long, says what became of some of its URLs."""
        worker, lease = self.pick(i)
        results = self.results(worker, lease, told)
        for _ in range(1 + (twice == "again")):
            self.fleet.report(
                worker,
                lease,
                results,
                doubled=twice == "doubled",
                wait=wait,
                delay=delay,
                free=free,
            )

    def results(self, worker: str, lease: Lease, told: list[tuple[str, str, int]]) -> Results:
        """What a worker has to say of a lease's URLs, into its open segment."""
        segment = self.fleet.segments[worker, lease.job]
        return {
            leased.fp: (action, segment, reason, ms)
            for leased, (action, reason, ms) in zip(lease.urls, told, strict=False)
            if action
        }

    @rule(
        rounds=st.lists(st.tuples(workers, st.integers(1, 8), fates), min_size=1, max_size=4),
        ms=st.sampled_from([0, 10, 1_000, 3_000]),
    )
    def work(self, rounds: list[tuple[str, int, list[tuple[str, str, int]]]], ms: int) -> None:
        """The usual turns of workers: lease, fetch, report."""
        for worker, urls, told in rounds:
            for lease in self.fleet.lease(worker, JOBS, range(PARTITIONS), urls=urls).leases:
                results = self.results(worker, lease, told)
                self.fleet.report(worker, lease, results, wait=ms, delay=ms)
            self.fleet.tick(ms // 2)

    def segment(self, i: int) -> str:
        """One on which URLs are pending."""
        names = sorted(self.fleet.real.pending)
        return names[i % len(names)]

    @precondition(lambda self: self.fleet.real.pending)
    @rule(i=picks, late=seldom)
    def seal(self, i: int, *, late: bool) -> None:
        """A segment is closed, perhaps under a report that is still on its way."""
        segment = self.segment(i)
        self.fleet.seal(segment)
        worker, job, _ = segment.split("-")
        if not late and self.fleet.segments[worker, job] == segment:
            self.fleet.turn_over(worker, job)

    @precondition(lambda self: self.fleet.model.fenced)
    @rule(i=picks)
    def seal_fenced(self, i: int) -> None:
        """An owner who was away comes back to its segment."""
        fenced = sorted(self.fleet.model.fenced)
        self.fleet.seal(fenced[i % len(fenced)])

    @precondition(lambda self: self.fleet.model.sealed - self.fleet.model.fenced)
    @rule(i=picks, piece=st.sampled_from([0, 0, 1, 3]))
    def settle(self, i: int, piece: int) -> None:
        """A sealed segment was committed; or somebody says so again."""
        sealed = sorted(self.fleet.model.sealed - self.fleet.model.fenced)
        self.fleet.settle(sealed[i % len(sealed)], piece)

    @precondition(lambda self: self.fleet.real.pending)
    @rule(i=picks, aborted=st.booleans(), piece=st.sampled_from([0, 1]))
    def requeue(self, i: int, piece: int, *, aborted: bool) -> None:
        """A segment is given up whose owner seems dead."""
        segment = self.segment(i)
        if segment not in self.fleet.committed:
            self.fleet.requeue(segment, aborted=aborted, piece=piece)

    @rule(worker=workers, job=jobs)
    def requeue_early(self, worker: str, job: str) -> None:
        """A segment is given up on which perhaps nothing is pending yet."""
        segment = self.fleet.segments[worker, job]
        self.fleet.requeue(segment, aborted=False)

    @precondition(lambda self: self.fleet.real.buffers)
    @rule()
    def spill(self) -> None:
        """A spiller puts all buffers to the store."""
        spill(self.fleet)

    @precondition(lambda self: self.fleet.real.buffers)
    @rule(job=jobs, p=places, most=st.sampled_from([3, 100]))
    def spill_read(self, job: str, p: int, most: int) -> None:
        """One of several spillers begins."""
        batch = self.fleet.do(self.frontier.tails.spill_read(job, p, most))
        if batch.items:
            self.batches = [*self.batches[-3:], (job, p, batch)]

    @precondition(lambda self: self.batches)
    @rule(i=picks, share=st.sampled_from([1, 2]))
    def spill_done(self, i: int, share: int) -> None:
        """A batch is in the store."""
        job, p, batch = self.batches[i % len(self.batches)]
        self.fleet.spilled(job, p, batch, max(1, len(batch.items) // share))

    @precondition(lambda self: self.fleet.real.cursors)
    @rule()
    def refill_wanted(self) -> None:
        """One of several workers looks which hosts run low."""
        for job, p in spilled_in(self.fleet):
            self.wants += ((job, p, want) for want in self.fleet.wanted(job, p))
        self.wants = self.wants[-6:]

    @precondition(lambda self: self.wants)
    @rule(i=picks, most=st.integers(1, 20), lost=seldom)
    def refill_late(self, i: int, most: int, *, lost: bool) -> None:
        """What it read comes back when others may have brought it, and the room may be gone."""
        job, p, want = self.wants[i % len(self.wants)]
        self.fleet.crowded.add((job, want.host))
        self.fleet.refill(job, p, want, most, lost=lost)

    @precondition(lambda self: self.fleet.real.cursors)
    @rule(most=st.integers(1, 20))
    def refill(self, most: int) -> None:
        """All that is wanted comes back at once."""
        refill(self.fleet, most)

    @rule(ms=st.sampled_from([1, 50, 100, 500, 1_000, 1_500, 3_000, TTL, TTL + 5_000]))
    def advance(self, ms: int) -> None:
        """Time passes."""
        self.fleet.tick(ms)

    @precondition(lambda self: self.fleet.leases)
    @rule(worker=workers)
    def crash(self, worker: str) -> None:
        """A worker's leases are left to run out."""
        self.fleet.leases = [(w, lease) for w, lease in self.fleet.leases if w != worker]

    @precondition(
        lambda self: len(self.fleet.model.held) > 1 and not any(self.fleet.quiet.values())
    )
    @rule(p=places)
    def restart(self, p: int) -> None:
        """The server comes back as another: its copy may lack the last leases."""
        self.fleet.restart(p)

    @invariant()
    def holds(self) -> None:
        """All invariants, in the keys."""
        judge(self.fleet)

    def teardown(self) -> None:
        """Nothing may be stuck."""
        if hasattr(self, "fleet") and sys.exc_info()[0] is None:
            drain(self.fleet)
            judge(self.fleet)


async def opened(url: str) -> Frontier:
    driver = await Driver.connect(url)
    await found(driver)
    await driver.close()
    return await Frontier.open(url, partitions=PARTITIONS)


@pytest.mark.timeout(0 if LONG else 900)
def test_any_order_of_operations_keeps_the_invariants(server: EmbeddedServer) -> None:
    profile = settings(
        max_examples=LONG or 25,
        stateful_step_count=60 if LONG else 40,
        deadline=None,
        derandomize=not LONG,
        print_blob=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    with asyncio.Runner() as runner:
        Machine.frontier, Machine.runner = runner.run(opened(server.url)), runner
        try:
            run_state_machine_as_test(Machine, settings=profile)
        finally:
            runner.run(Machine.frontier.close())
