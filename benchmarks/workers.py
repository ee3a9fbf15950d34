"""Workers in virtual time on a real frontier: they lease, fetch, wait, report, add, spill, settle.

What a worker does and when is taken from `crawler.worker`, whose constants are used: which
partitions it asks, for how many hosts, when links, spills and segments go out. A fetch takes the
time that the web says; calls of the frontier take none, and one is made after another. Everything
is told to a ledger.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.web import Visit
from crawler.worker.asking import SHORTEST, Ask, Asking
from crawler.worker.hold import LONGEST_SLEEP
from crawler.worker.leasing import URLS
from crawler.worker.links import BATCH, CROWD, FILTER, LATENCY
from crawler.worker.pipelines import DEEP
from frontier import policy
from frontier.model import CrawlRequest, Lease, LeasedUrl, UrlResult, Verdict
from frontier.offers import Offer
from frontier.url import Url

if TYPE_CHECKING:
    from benchmarks.world import Job, World

TTL: Final = 60.0  # seconds of a lease
SEGMENT: Final = 2_000  # URLs of a segment
AGE: Final = 60_000  # ms after which a segment is sealed, whatever it has
SPILLING: Final = 100  # ms between looks at what wants spilling


class Links:
    """Outgoing links of one job of one worker, as `crawler.worker.links`."""

    def __init__(self, worker: Worker, job: Job) -> None:
        self._worker, self._job = worker, job
        self._waiting: dict[str, Offer] = {}
        self._known: dict[str, None] = {}
        self._set = False  # a flush is to come
        self._rest = 0  # ms until which the frontier takes no more

    @property
    def waiting(self) -> bool:
        """Whether links wait."""
        return bool(self._waiting)

    @property
    def crowded(self) -> bool:
        """Whether no more pages should be fetched for now."""
        return len(self._waiting) >= CROWD

    async def offer(self, urls: Iterable[Url], request: CrawlRequest) -> None:
        """Take a page's links; a full batch goes out."""
        depth, clock = request.depth + 1, self._worker.world.clock
        for url in urls:
            _, fp = self._worker.world.frontier.place(url)
            if fp not in self._known and fp not in self._waiting:
                priority = 1 if depth < DEEP else 2
                sent = CrawlRequest(url.url, depth, via=request.url, priority=priority)
                self._waiting[fp] = (url, sent)
        if len(self._waiting) >= BATCH and clock.now >= self._rest:
            await self.flush()
        elif self._waiting and not self._set:
            self._set = True
            clock.at(max(self._rest, clock.now + int(LATENCY * 1000)), self._due)

    async def _due(self) -> None:
        self._set = False
        await self.flush()

    async def flush(self) -> None:
        """Send what waits; what is refused goes later."""
        if not self._waiting:
            return
        batch, self._waiting = self._waiting, {}
        added = await self._worker.world.add(self._job, list(batch.values()))
        refused = {url for url, _ in added.refused}
        for fp, offer in batch.items():
            if offer[0] in refused:
                self._waiting[fp] = offer
            else:
                self._known[fp] = None
        while len(self._known) > FILTER:
            del self._known[next(iter(self._known))]
        clock = self._worker.world.clock
        if self._waiting:
            self._rest = clock.now + math.ceil(added.retry_after * 1000)
            if not self._set:
                self._set = True
                clock.at(self._rest, self._due)
        self._worker.note({p: due for p, due in added.due.items() if added.accepted})
        await self._worker.laden((self._job.name, p) for p in added.laden)


@dataclass(slots=True)
class Segment:
    """An open segment of a worker and job."""

    name: str
    born: int  # ms
    fps: dict[str, int] = field(default_factory=dict)  # fingerprint -> partition


class Worker:
    """One worker process: a pool of turns, links, segments."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.turns: dict[str, Turn] = {}  # by host
        self.links = {job.name: Links(self, job) for job in world.jobs.values()}
        self._asking = Asking(world.frontier.partitions, world.turns)  # by virtual seconds
        self._started = False
        self._next = 0  # ms when it asks next
        self._asked = 0  # ms when it asked last
        self._jobs = list(world.jobs)  # in order of service
        self._segments: dict[str, Segment] = {}  # by job
        self._count = 0
        self._noted: set[tuple[str, int]] = set()

    def start(self) -> None:
        """Begin to work; again: nothing."""
        if self._started:
            return
        self._started = True
        now = self.world.clock.now
        self._ask_at(now)
        self.world.clock.at(now + int(TTL * 250), self._beat)

    def note(self, due: dict[int, float]) -> None:
        """Hosts are due in these partitions in so many seconds."""
        self._asking.note(due, self.world.clock.now / 1000)
        self._ask_at(max(self.world.clock.now, self._asked + round(SHORTEST * 1000)))

    def _ask_at(self, when: int) -> None:
        if self._next and self._next <= when:
            return
        self._next = when

        async def ask() -> None:
            if self._next == when:
                await self._ask()

        self.world.clock.at(when, ask)

    async def _ask(self) -> None:
        clock = self.world.clock
        self._next, self._asked = 0, clock.now
        self._jobs.append(self._jobs.pop(0))
        weights = {n: self.world.jobs[n].weight for n in self._jobs if not self.links[n].crowded}
        ask = self._asking.plan(clock.now / 1000, weights, self._held())
        if ask is not None:
            await self._lease(ask, weights)
        rest = self._asking.rest(clock.now / 1000, weights, self._held())
        self._ask_at(clock.now + math.ceil(rest * 1000))

    def _held(self) -> Counter[str]:
        return Counter(turn.lease.job for turn in self.turns.values())

    async def _lease(self, ask: Ask, weights: dict[str, int]) -> None:
        world, now = self.world, self.world.clock.now
        call = world.frontier.lease(
            self.name,
            ask.jobs,
            ask.partitions,
            hosts=ask.hosts,
            urls=URLS,
            ttl=TTL,
            weights=weights,
        )
        grant = await world.meter("lease", len(ask.partitions), call)
        self._asking.told(ask, grant.due, {lease.partition for lease in grant.leases}, now / 1000)
        world.meter.parts["lease", world.meter.stage] += len(grant.leases)
        for lease in grant.leases:
            world.ledger.leased(lease.host, self.name)
            world.service.leased(lease.host, len(lease.urls), now)
            world.jobs[lease.job].leased += len(lease.urls)
            turn = self.turns[lease.host] = Turn(self, lease)
            await turn.contact()
        await self.laden(grant.laden)

    async def laden(self, places: Iterable[tuple[str, int]]) -> None:
        """The frontier says where there is something to spill, or to bring back."""
        before = len(self._noted)
        self._noted.update(places)
        if self._noted and not before:
            self.world.clock.at(self.world.clock.now + SPILLING, self._spill)

    async def _spill(self) -> None:
        noted, self._noted = sorted(self._noted), set()
        for name, p in noted:
            if await self.world.spill(name, p):
                self.note({p: 0.0})

    async def _beat(self) -> None:
        """Renew what is held; seal what is old."""
        world, now = self.world, self.world.clock.now
        if self.turns:
            held = [turn.lease for turn in self.turns.values()]
            renewed = await world.meter("renew", len(held), world.frontier.renew(held, TTL))
            for lease, answer in renewed.items():
                if answer is None:
                    raise RuntimeError(f"the lease of {lease.host} is lost, and nobody died")
        for job, segment in list(self._segments.items()):
            if now - segment.born >= AGE:
                await self.seal(job)
        world.clock.at(now + int(TTL * 250), self._beat)

    def segment(self, job: str) -> Segment:
        """Where a job's pages go."""
        if job not in self._segments:
            self._count += 1
            name = f"{self.name}-{job}-{self._count}"
            self._segments[job] = Segment(name, self.world.clock.now)
        return self._segments[job]

    async def seal(self, job: str) -> None:
        """Links first, then close the segment, commit it (here: believe it), settle."""
        segment, world = self._segments.pop(job), self.world
        await self.links[job].flush()
        where = sorted(set(segment.fps.values()))
        sealed = await world.meter("seal", len(where), world.frontier.seal(segment.name, where))
        if {fp for fps in sealed.values() for fp in fps} != set(segment.fps):
            raise RuntimeError(f"segment {segment.name} holds other URLs than were reported")
        settle = world.frontier.settle(segment.name, where)
        await world.meter("settle", len(segment.fps), settle)
        world.ledger.done(job, segment.fps)

    async def close(self) -> None:
        """The end: everything that was reported is settled."""
        for links in self.links.values():
            await links.flush()
        for job in list(self._segments):
            await self.seal(job)


class Turn:
    """One lease, from its grant to giving the host back."""

    def __init__(self, worker: Worker, lease: Lease) -> None:
        self.lease = lease
        self._worker, self._world = worker, worker.world
        self._state = lease.state
        self._ready = 0  # ms when the host may be contacted again
        self._at = 0  # index of the URL under way
        self._results: list[UrlResult] = []

    async def contact(self) -> None:
        """Ask for the next URL."""
        world, leased = self._world, self.lease.urls[self._at]
        now, attempts = world.clock.now, leased.request.attempts + 1
        world.ledger.started(self.lease.host, self._worker.name, now)
        visit = world.web.visit(leased.request.url, attempts, now / 1000)

        async def end() -> None:
            await self._answered(leased, visit)

        world.clock.at(now + math.ceil(visit.outcome.seconds * 1000), end)

    async def _answered(self, leased: LeasedUrl, visit: Visit) -> None:
        world, now = self._world, self._world.clock.now
        chance = world.jitter.random()
        verdict = policy.decide(self._state, visit.outcome, world.politeness, now / 1000, chance)
        self._state = verdict.state
        world.ledger.ended(self.lease.host, now, verdict.host_wait)
        self._ready = now + math.ceil(verdict.host_wait * 1000)
        self._settle(leased, verdict)
        self._at += 1
        if visit.links:
            await self._worker.links[self.lease.job].offer(visit.links, leased.request)
        if self._at < len(self.lease.urls) and verdict.host_wait <= LONGEST_SLEEP:
            world.clock.at(self._ready, self.contact)
        else:
            await self._give_back()

    def _settle(self, leased: LeasedUrl, verdict: Verdict) -> None:
        if verdict.action == "retry":
            wait = verdict.url_wait
            self._results.append(UrlResult(leased.fp, "retry", reason=verdict.reason, wait=wait))
        else:
            self._results.append(UrlResult(leased.fp, "pending", reason=verdict.reason))

    async def _give_back(self) -> None:
        world, worker, lease = self._world, self._worker, self.lease
        now, job = world.clock.now, world.jobs[lease.job]
        segment = worker.segment(job.name)
        results = [
            UrlResult(r.fp, r.action, segment.name, r.reason) if r.action == "pending" else r
            for r in self._results
        ]
        wait = (self._ready - now) / 1000
        world.ledger.freed(lease.host)  # before anybody else may be granted it
        call = world.frontier.report(lease, results, state=self._state, wait=wait, free=True)
        due = await world.meter("report", len(results), call)
        world.service.freed(lease.host, len(lease.urls) - len(results), self._ready)
        for result in results:
            self._book(result, segment)
        del worker.turns[lease.host]
        worker.note({} if due is None else {lease.partition: due})
        if len(segment.fps) >= SEGMENT:
            await worker.seal(job.name)

    def _book(self, result: UrlResult, segment: Segment) -> None:
        world, lease = self._world, self.lease
        job, now = world.jobs[lease.job], world.clock.now
        if result.action == "pending":
            world.ledger.fetched(job.name, result.fp)
            segment.fps[result.fp] = lease.partition
            job.fetched, job.ended = job.fetched + 1, now
            return

        async def due() -> None:
            world.service.more(lease.host, 1, world.clock.now)

        world.clock.at(now + round(result.wait * 1000), due)
