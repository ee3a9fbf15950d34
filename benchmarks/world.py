"""A simulated crawl: jobs on a real frontier, a web, workers, and the ledger over all of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.ledger import ACCEPTED, Ledger, Service
from benchmarks.virtual import T0, Clock, MemoryStore, Meter, Spills
from benchmarks.web import Visit
from benchmarks.workers import Worker
from crawler.worker.asking import MOST_TURNS
from crawler.worker.links import BATCH
from frontier.client import Added, Frontier
from frontier.model import CrawlRequest, Limits, Politeness
from frontier.offers import Offer
from frontier.spill import Spiller
from frontier.url import Url


class Web(Protocol):
    """What is crawled."""

    def visit(self, url: str, attempts: int, now: float) -> Visit:
        """Contact number ``attempts`` with a URL, at unix seconds ``now``."""


@dataclass(slots=True)
class Job:
    """One job, and how far it is."""

    name: str
    weight: int = 1
    limits: Limits = field(default_factory=Limits)
    leased: int = 0  # URLs so far
    fetched: int = 0  # URLs that came to their end
    ended: int = 0  # ms of virtual time when a URL of it last came to its end


class World:
    """A frontier, a web and the workers between them."""

    def __init__(
        self,
        frontier: Frontier,
        web: Web,
        jobs: Sequence[Job],
        *,
        workers: int = 1,
        turns: int = MOST_TURNS,
        seed: int = 1,
        server_cpu: Callable[[], float] = float,
    ) -> None:
        self.frontier, self.web, self.turns = frontier, web, turns
        self.jobs = {job.name: job for job in jobs}
        self.clock, self.meter = Clock(frontier), Meter(server_cpu)
        self.ledger, self.service = Ledger(), Service()
        self.politeness = Politeness()
        self.jitter = random.Random(seed)
        frontier.tails = self.spills = Spills(frontier.driver)
        self.spillers = {
            job.name: Spiller(
                self.spills,
                job.name,
                MemoryStore(),
                cap=job.limits.host_cap,
                clock=lambda: self.clock.now / 1000,
            )
            for job in jobs
        }
        frontier.now = frontier.tails.now = str(T0)
        self.workers = [Worker(self, f"w{i}") for i in range(workers)]

    @property
    def fetched(self) -> int:
        """URLs that came to their end, over all jobs."""
        return sum(job.fetched for job in self.jobs.values())

    @property
    def finished(self) -> bool:
        """Whether every URL that was accepted has come to its end, and no link is on its way."""
        left = any(self.ledger.counts[name][ACCEPTED] for name in self.jobs)
        return not left and not any(w.links[name].waiting for w in self.workers for name in w.links)

    async def add(self, job: Job, offers: Sequence[Offer]) -> Added:
        """Offer URLs and book what the frontier said."""
        call = self.frontier.add(job.name, offers, limits=job.limits)
        added = await self.meter("add", len(offers), call)
        scripts = len({self.frontier.place(url)[0] for url, _ in offers})  # at least
        self.meter.parts["add", self.meter.stage] += scripts
        refused = {url.url for url, _ in added.refused}
        known = []
        for url, _ in offers:
            _, fp = self.frontier.place(url)
            if fp in added.new:
                self.service.more(url.host, 1, self.clock.now)
            elif url.url not in refused:
                known.append(fp)
        self.ledger.accepted(job.name, added.new)
        self.ledger.known(job.name, known)
        return added

    async def seed(self, name: str, urls: Iterable[Url]) -> None:
        """Begin a job with these; before :meth:`run`."""
        offers = [(url, CrawlRequest(url.url, priority=0)) for url in urls]
        for i in range(0, len(offers), 10 * BATCH):
            left = offers[i : i + 10 * BATCH]
            while left:
                added = await self.add(self.jobs[name], left)
                left = list(added.refused)
                for p in added.laden:
                    await self.spill(name, p)

    async def spill(self, name: str, p: int) -> int:
        """Spill and refill, as the frontier asked for it; URLs that came back."""
        spiller = self.spillers[name]
        await self.meter("spill", 1, spiller.flush(p))
        return await self.meter("refill", 1, spiller.refill(p))

    async def run(self, over: Callable[[], bool]) -> None:
        """Crawl until ``over``, or until all is done; may be called again to go on."""
        for worker in self.workers:
            worker.start()
        await self.clock.run(lambda: over() or self.finished)

    async def close(self) -> None:
        """Settle what was reported. Hosts that are held stay so."""
        for worker in self.workers:
            await worker.close()

    async def balance(self) -> None:
        """Hold the ledger against the frontier's own account."""
        for name in self.jobs:
            self.ledger.balance(name, await self.frontier.stats(name))
