"""What a simulated crawl did, booked by itself: the frontier is held against it. Pure.

Times are whole milliseconds of virtual time. Nothing here asks the frontier: contacts, leases and
answers are told by those who make them, so a fault of the frontier shows as a violation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from frontier.model import FrontierStats

ACCEPTED, FETCHED, DONE = range(3)  # what became of a URL
PROMPT: Final = 1_000  # ms after which a ready host should have been served
_SHOWN: Final = 20  # violations kept word for word


class Ledger:
    """Who contacted which host when, and what became of each URL."""

    def __init__(self) -> None:
        self.violations = 0
        self.examples: list[str] = []
        self.counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])  # URLs by job and state
        self._urls: dict[str, dict[int, int]] = defaultdict(dict)  # job -> fingerprint -> state
        self._holders: dict[str, str] = {}  # host -> worker that leased it
        self._contacts: dict[str, str] = {}  # host -> worker that is talking to it
        self._ready: dict[str, int] = {}  # host -> when it may be contacted again

    def _wrong(self, text: str) -> None:
        self.violations += 1
        if len(self.examples) < _SHOWN:
            self.examples.append(text)

    # -- hosts

    def leased(self, host: str, worker: str) -> None:
        """A worker was granted a host."""
        if holder := self._holders.get(host):
            self._wrong(f"{host}: granted to {worker} while {holder} holds it")
        self._holders[host] = worker

    def freed(self, host: str) -> None:
        """Its holder gave a host back."""
        self._holders.pop(host, None)

    def started(self, host: str, worker: str, now: int) -> None:
        """A contact begins."""
        if other := self._contacts.get(host):
            self._wrong(f"{host}: contacted by {worker} while {other} is at it")
        if self._holders.get(host) != worker:
            self._wrong(f"{host}: contacted by {worker}, which does not hold it")
        if (early := self._ready.get(host, 0) - now) > 0:
            self._wrong(f"{host}: contacted {early} ms early by {worker}")
        self._contacts[host] = worker

    def ended(self, host: str, now: int, wait: float) -> None:
        """It ended, and the policy asks for so many seconds of peace."""
        self._contacts.pop(host, None)
        self._ready[host] = now + int(wait * 1000)

    # -- URLs

    def accepted(self, job: str, fps: Iterable[str]) -> None:
        """The frontier took these as new."""
        urls = self._urls[job]
        for fp in map(int, fps):
            if fp in urls:
                self._wrong(f"{job} {fp}: accepted twice")
                continue
            urls[fp] = ACCEPTED
            self.counts[job][ACCEPTED] += 1

    def known(self, job: str, fps: Iterable[str]) -> None:
        """The frontier refused these as seen."""
        urls = self._urls[job]
        for fp in fps:
            if int(fp) not in urls:
                self._wrong(f"{job} {fp}: refused as seen, and never accepted")

    def fetched(self, job: str, fp: str) -> None:
        """A URL came to its end, and waits for its segment."""
        self._move(job, fp, ACCEPTED, FETCHED)

    def done(self, job: str, fps: Iterable[str]) -> None:
        """A segment with these was committed and settled."""
        for fp in fps:
            self._move(job, fp, FETCHED, DONE)

    def _move(self, job: str, fp: str, old: int, new: int) -> None:
        state = self._urls[job].get(int(fp))
        if state != old:
            self._wrong(f"{job} {fp}: comes to state {new} from {state}, not {old}")
            return
        self._urls[job][int(fp)] = new
        self.counts[job][old] -= 1
        self.counts[job][new] += 1

    def balance(self, job: str, stats: FrontierStats) -> None:
        """The frontier's account of a job, while nothing is under way."""
        accepted, fetched, done = self.counts[job]
        parts = stats.queued + stats.leased + stats.pending + stats.waiting + stats.spilled
        for name, booked, said in (
            ("accepted", accepted + fetched + done, stats.accepted),
            ("parts", stats.accepted, parts + stats.finished),
            ("pending", fetched, stats.pending),
            ("finished", done, stats.finished),
            ("done and dropped", done, stats.done + sum(stats.dropped.values())),
        ):
            if booked != said:
                self._wrong(f"{job}: {name} is {booked} by the ledger, {said} by the frontier")


@dataclass(slots=True)
class _Host:
    queued: int = 0  # URLs that wait, wherever
    clock: int = 0  # ms when it may be contacted
    held: bool = False
    since: int = 0  # ms since when it is ready; while not held and not empty


@dataclass(slots=True)
class Service:
    """How soon hosts are served once they are ready: clock over, URLs there, nobody holds them."""

    prompt: int = 0  # times a host was served within PROMPT ms
    late: int = 0
    waits: list[int] = field(default_factory=list)  # ms each
    _hosts: dict[str, _Host] = field(default_factory=lambda: defaultdict(_Host))

    def more(self, host: str, urls: int, now: int) -> None:
        """A host has more URLs, due now."""
        found = self._hosts[host]
        if not found.queued:
            found.since = max(found.clock, now)
        found.queued += urls

    def leased(self, host: str, urls: int, now: int) -> None:
        """A host was granted, with so many of its URLs."""
        found = self._hosts[host]
        wait = now - found.since
        self.waits.append(wait)
        if wait <= PROMPT:
            self.prompt += 1
        else:
            self.late += 1
        found.held, found.queued = True, found.queued - urls

    def freed(self, host: str, back: int, ready: int) -> None:
        """A host was given back with so many URLs unfetched, ready at a time."""
        found = self._hosts[host]
        found.held, found.clock, found.since = False, ready, ready
        found.queued += back

    def share(self, now: int) -> float | None:
        """Share of ready hosts that were served promptly; those that still wait are not."""
        missed = sum(
            not h.held and h.queued > 0 and now - h.since > PROMPT for h in self._hosts.values()
        )
        met = self.prompt + self.late + missed
        return self.prompt / met if met else None


def jain(shares: list[float]) -> float:
    """Jain's index of fairness: 1 for equal shares, 1/n when one has all (Jain et al. 1984)."""
    squares = sum(x * x for x in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0
