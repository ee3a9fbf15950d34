"""What a frontier must do, in plain sets and times: the reference for `test_machine.py`.

It knows nothing of scripts, queues or keys. Where the frontier has a choice (which host it grants,
what it spills) the model takes the answer and judges whether it was allowed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

Key = tuple[str, str]  # job, fingerprint
Pending = tuple[Key, str]  # and its drop reason, "" for a page
Told = tuple[str, str, str, int]  # pending | retry | return, segment, reason, ms


@dataclass
class Held:
    """A lease or, without URLs, a claim."""

    job: str
    token: int
    deadline: int  # ms
    urls: list[Key] = field(default_factory=list)
    begun: bool = False  # its holder said so


@dataclass
class Model:
    """Where every accepted URL is, and what may happen when. Times are ms."""

    now: int
    host: dict[Key, str] = field(default_factory=dict)  # of every URL seen
    rest: Counter[Key] = field(default_factory=Counter)  # queued, spilled or waiting
    held: dict[str, Held] = field(default_factory=dict)  # by host; until given or taken back
    pending: dict[str, list[Pending]] = field(default_factory=lambda: defaultdict(list))
    finished: Counter[tuple[str, str]] = field(default_factory=Counter)  # job, drop reason or ""
    accepted: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    refetched: Counter[str] = field(default_factory=Counter)
    clock: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # earliest contact
    delay: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # as last reported
    due: dict[Key, int] = field(default_factory=dict)  # retries: not before
    order: dict[Key, tuple[int, int]] = field(default_factory=dict)  # class, turn; fresh ones only
    forced: set[Key] = field(default_factory=set)  # there may be two of them: order is open
    losses: Counter[Key] = field(default_factory=Counter)  # leases that ran out
    attempts: Counter[Key] = field(default_factory=Counter)  # retries
    fenced: set[str] = field(default_factory=set)  # segments given up
    sealed: set[str] = field(default_factory=set)  # closed by their owners

    def accept(self, key: Key, host: str, cls: int) -> None:
        """A URL is new, or forced: then nothing is said of its order."""
        if key in self.host:
            self.forced.add(key)
            self.order.pop(key, None)
            self.due.pop(key, None)
        else:
            self.order[key] = (cls, len(self.host))
        self.host[key] = host
        self.rest[key] += 1
        self.accepted[key[0]] += 1

    def reap(self, hosts: set[str]) -> None:
        """Leases that ran out are taken back; their clocks run from the deadline."""
        for host in hosts & self.held.keys():
            if self.held[host].deadline <= self.now:
                lost = self.held.pop(host)
                self.clock[host] = max(self.clock[host], lost.deadline + self.delay[host])
                self.back(lost.urls)
                alone = len(lost.urls) == 1 and not lost.begun
                self.losses.update(k for k in lost.urls if not (alone and self.losses[k]))

    def back(self, keys: list[Key]) -> None:
        """URLs that were out are at rest again, somewhere in their queues."""
        for key in keys:
            self.rest[key] += 1
            self.order.pop(key, None)

    def grant(self, host: str, job: str, token: int, deadline: int, keys: list[Key]) -> None:
        """A host is leased: nobody else holds it, it is time, and its URLs were at rest."""
        assert host not in self.held, f"{host} is held"
        assert self.clock[host] <= self.now, f"{host} is early by {self.clock[host] - self.now} ms"
        assert len(set(keys)) == len(keys)
        for key in keys:
            assert self.rest[key] > 0, f"{key} is not at rest"
            assert self.due.pop(key, 0) <= self.now, f"{key} is early"
            assert (key[0], self.host[key]) == (job, host)
            self.rest[key] -= 1
        self.held[host] = Held(job, token, deadline, list(keys))

    def current(self, host: str, token: int) -> bool:
        """Whether a token still is that of the host's lease."""
        return host in self.held and self.held[host].token == token

    def report(
        self, host: str, told: dict[Key, Told], *, wait: int, delay: int, free: bool
    ) -> None:
        """What became of URLs; what is not the lease's does not count."""
        lease = self.held[host]
        for key, (action, segment, reason, ms) in told.items():
            if key not in lease.urls:
                continue
            lease.urls.remove(key)
            if action == "pending":
                self.pending[segment].append((key, reason))
            else:
                self.back([key])
                if action == "retry":
                    self.attempts[key] += 1
                    self.due[key] = 0 if key in self.forced else self.now + ms
        self.clock[host] = max(self.clock[host], self.now + wait)
        self.delay[host] = delay
        if free:
            self.back(self.held.pop(host).urls)

    def settle(self, segment: str, left: Counter[Pending]) -> None:
        """Of a committed segment's URLs all but ``left`` are finished."""
        for key, reason in self._leave(segment, left):
            self.finished[key[0], reason] += 1

    def requeue(self, segment: str, left: Counter[Pending]) -> None:
        """A dead owner's segment is given up; all but ``left`` are at rest again."""
        self.fenced.add(segment)
        for key, _ in self._leave(segment, left):
            self.refetched[key[0]] += 1
            self.back([key])

    def _leave(self, segment: str, left: Counter[Pending]) -> list[Pending]:
        gone = Counter(self.pending[segment]) - left
        assert Counter(self.pending.pop(segment)) == gone + left
        self.pending[segment] = list(left.elements())
        return list(gone.elements())
