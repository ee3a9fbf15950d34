"""What tests of spilling run on: a frontier with one job and partition, real or a model.

`Model` is the contract of the scripts in plain Python. It has no server, no time but its own, and
no await: each method is one atomic script.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from frontier.client import Frontier
from frontier.driver import Driver
from frontier.model import (
    CrawlRequest,
    HostState,
    Limits,
    RefillWant,
    SpillBatch,
    SpillItem,
    UrlResult,
)
from frontier.spill import SpillQueue, SpillStore
from frontier.url import parse

T0 = 1_900_000_000_000
HOUR_MS = 3_600_000
LOW = 64  # URLs of a class and the ones before it at which spilled ones are called back
DISTINCT = 1000  # (class, host) pairs in a batch


class World(Protocol):
    """A frontier with one job and partition. Of class 2, a host keeps four fifths of the cap."""

    queue: SpillQueue
    job: str
    p: int
    cap: int  # URLs per host in the frontier

    def host(self, i: int) -> str:
        """The name of a host of the partition."""

    async def offer(self, i: int, names: Sequence[str], cls: int = 2, size: int = 0) -> list[str]:
        """Offer URLs of host i, each with about ``size`` bytes; those that were taken."""

    async def take(self, n: int) -> dict[int, list[str]]:
        """Lease every host that has URLs, up to n each, and finish them; in order, by host."""

    async def left(self) -> tuple[int, int]:
        """URLs (queued, spilled)."""

    def clock(self) -> float:
        """Unix seconds."""

    def later(self, seconds: float) -> None:
        """Let time pass."""


class Model:
    """Queues, buffer and cursors of one job and partition."""

    def __init__(self, cap: int, buffer: int) -> None:
        self.cap = cap
        self.buffer = buffer
        self.now = T0
        self.queues: dict[tuple[int, str], deque[bytes]] = defaultdict(deque)
        self.queued: Counter[str] = Counter()  # by host
        self.overflow: deque[SpillItem] = deque()
        self.trimmed = 0
        self.spilled: Counter[tuple[int, str]] = Counter()
        self.cursors: dict[tuple[int, str], deque[list[Any]]] = defaultdict(deque)
        self.unread: dict[str, int] = {}  # segment -> URLs
        self.dead: dict[str, int] = {}  # segment -> ms when it may go
        self.hungry: dict[str, None] = {}
        self.aside: list[tuple[int, str, list[Any]]] = []

    # -- what add and lease do

    def add(self, cls: int, host: str, entry: bytes) -> bool:
        if not self.spilled[cls, host] and self.queued[host] < self.cap * (1 - min(cls, 2) / 10):
            self.queues[cls, host].append(entry)
            self.queued[host] += 1
            return True
        if len(self.overflow) >= self.buffer:
            return False
        self.overflow.append(SpillItem(cls, host, entry))
        self.spilled[cls, host] += 1
        return True

    def lease(self, host: str, n: int) -> list[bytes]:
        out: list[bytes] = []
        for cls in range(4):
            queue = self.queues[cls, host]
            while queue and len(out) < n:
                out.append(queue.popleft())
        self.queued[host] -= len(out)
        self.notice(host)
        return out

    def notice(self, host: str) -> None:
        """A host that runs low while it has spilled URLs is to be refilled."""
        if self.lacking(host) is not None:
            self.hungry[host] = None

    def lacking(self, host: str) -> int | None:
        """The first class that has spilled URLs and runs low."""
        n = 0
        for cls in range(4):
            n += len(self.queues[cls, host])
            if self.spilled[cls, host] and n < LOW:
                return cls
        return None

    # -- the scripts

    async def spill_read(self, job: str, p: int, most: int = 10_000) -> SpillBatch:
        items: list[SpillItem] = []
        seen: set[tuple[int, str]] = set()
        for item in list(self.overflow)[:most]:
            seen.add((item.cls, item.host))
            if len(seen) > DISTINCT:
                break
            items.append(item)
        return SpillBatch(self.trimmed, tuple(items))

    async def spill_done(
        self,
        job: str,
        p: int,
        offset: int,
        count: int,
        segment: str,
        groups: Sequence[tuple[int, str, int]],
    ) -> bool:
        if offset != self.trimmed or count > len(self.overflow):
            return False
        gone = Counter((i.cls, i.host) for i in (self.overflow.popleft() for _ in range(count)))
        assert gone == {(cls, host): n for cls, host, n in groups}
        self.trimmed += count
        for (cls, host), n in gone.items():
            self.cursors[cls, host].append([segment, n, 0])
        self.unread[segment] = count
        return True

    async def spill_known(self, job: str, p: int) -> set[str]:
        return {*self.unread, *self.dead}

    async def spill_dead(self, job: str, p: int, most: int = 100) -> list[str]:
        return [segment for segment, when in self.dead.items() if when <= self.now][:most]

    async def spill_forget(self, job: str, p: int, segments: Sequence[str]) -> None:
        for segment in segments:
            self.dead.pop(segment, None)

    async def refill_wanted(
        self, job: str, p: int, most: int = 32, *, cap: int = 1000
    ) -> list[RefillWant]:
        out = []
        for host in list(self.hungry):
            cls, room = self.lacking(host), cap - self.queued[host]
            if cls is None or room <= 0:
                del self.hungry[host]
            elif len(out) < most:
                cursors = self.cursors[cls, host]
                segment, total, consumed = cursors[0] if cursors else ("", 0, 0)
                out.append(RefillWant(host, cls, segment, total, consumed, room))
        return out

    async def refill(self, job: str, p: int, want: RefillWant, entries: Sequence[bytes]) -> bool:
        cursors = self.cursors[want.cls, want.host]
        if not cursors or cursors[0] != [want.segment, want.total, want.consumed]:
            return False
        assert 0 < len(entries) <= want.total - want.consumed
        self.queues[want.cls, want.host].extend(entries)
        self.queued[want.host] += len(entries)
        self.spilled[want.cls, want.host] -= len(entries)
        cursors[0][2] += len(entries)
        if cursors[0][2] == want.total:
            cursors.popleft()
        self.unread[want.segment] -= len(entries)
        if not self.unread[want.segment]:
            del self.unread[want.segment]
            self.dead[want.segment] = self.now + HOUR_MS
        return True

    async def spill_quarantine(self, job: str, p: int, want: RefillWant) -> int:
        cursors = self.cursors[want.cls, want.host]
        if not cursors or cursors[0] != [want.segment, want.total, want.consumed]:
            return 0
        n = want.total - want.consumed
        self.aside.append((want.cls, want.host, cursors.popleft()))
        self.spilled[want.cls, want.host] -= n
        return n


class ModelWorld:
    """The model as a World."""

    def __init__(self, cap: int, buffer: int) -> None:
        self.model = Model(cap, buffer)
        self.queue: SpillQueue = self.model
        self.job = "j"
        self.p = 3
        self.cap = cap

    def host(self, i: int) -> str:
        return f"h{i}.example.com"

    async def offer(self, i: int, names: Sequence[str], cls: int = 2, size: int = 0) -> list[str]:
        entries = [(name, name.encode() + b"\t" + b"x" * size) for name in names]
        return [name for name, entry in entries if self.model.add(cls, self.host(i), entry)]

    async def take(self, n: int) -> dict[int, list[str]]:
        hosts = {host for (_, host), queue in self.model.queues.items() if queue}
        return {
            int(host[1:].partition(".")[0]): [
                entry.partition(b"\t")[0].decode() for entry in self.model.lease(host, n)
            ]
            for host in sorted(hosts)
        }

    async def left(self) -> tuple[int, int]:
        return sum(map(len, self.model.queues.values())), (
            self.model.spilled.total()
            + sum(total - at for _, _, (_, total, at) in self.model.aside)
        )

    def clock(self) -> float:
        return self.model.now / 1000

    def later(self, seconds: float) -> None:
        self.model.now += round(seconds * 1000)


class RealWorld:
    """A job of its own in a real frontier as a World; its hosts share a registered domain."""

    def __init__(self, frontier: Frontier, cap: int, buffer: int) -> None:
        self.frontier = frontier
        self.queue: SpillQueue = frontier.tails
        self.job = uuid.uuid4().hex
        self.p = frontier.place(parse(f"http://{self.host(0)}/"))[0]
        self.cap = cap
        self.limits = Limits(host_cap=cap, buffer=buffer)
        self.segments = 0
        self.later(0)

    def host(self, i: int) -> str:
        return f"h{i}.example.com"

    async def offer(self, i: int, names: Sequence[str], cls: int = 2, size: int = 0) -> list[str]:
        urls = [parse(f"http://{self.host(i)}/{name}") for name in names]
        offers = [(u, CrawlRequest(u.url, priority=cls, extra="x" * size)) for u in urls]
        added = await self.frontier.add(self.job, offers, limits=self.limits)
        refused = {url.url for url, _ in added.refused}
        return [name for name, url in zip(names, urls, strict=True) if url.url not in refused]

    async def take(self, n: int) -> dict[int, list[str]]:
        self.later(1)  # the frontier looks at a host without URLs twice a second
        held = []
        while True:
            grant = await self.frontier.lease("w", [self.job], [self.p], hosts=64, urls=n, ttl=60)
            if not grant.leases:
                break
            held += grant.leases
        self.segments += 1
        segment, out = f"{self.job}-{self.segments}", {}
        for lease in held:
            done = [UrlResult(url.fp, "pending", segment) for url in lease.urls]
            await self.frontier.report(lease, done, state=HostState(), wait=0.0, free=True)
            paths = [url.request.url.rpartition("/")[2] for url in lease.urls]
            out[int(lease.host[1:].partition(".")[0])] = paths
        await self.frontier.seal(segment, [self.p])
        await self.frontier.settle(segment, [self.p])
        return out

    async def left(self) -> tuple[int, int]:
        stats = await self.frontier.stats(self.job)
        return stats.queued, stats.spilled

    def clock(self) -> float:
        return int(self.frontier.now) / 1000

    def later(self, seconds: float) -> None:
        now = str(int(self.frontier.now or T0) + round(seconds * 1000))
        self.frontier.now = self.frontier.tails.now = now


Make = Callable[[int, int], World]


@contextlib.asynccontextmanager
async def opened(url: str | None) -> AsyncIterator[Make]:
    """What makes worlds of a cap of URLs per host, and a buffer of URLs, on an empty server.

    Models where there is no server.
    """
    if url is None:
        yield ModelWorld
        return
    driver = await Driver.connect(url)
    await driver.command("FLUSHALL")
    await driver.close()
    frontier = await Frontier.open(url, partitions=4)
    try:
        yield lambda cap, buffer: RealWorld(frontier, cap, buffer)
    finally:
        await frontier.close()


class Crash(Exception):
    """The process ended here."""


class Gate:
    """Lets one actor at a time go as far as its next step; which one, and how, is given.

    A step is done ("", and after ``order`` has run out), not done and ended by a crash ("before"),
    done and ended by a crash ("after"), or done and then done again, after steps of others, as by a
    driver that lost the answer ("twice").
    """

    def __init__(self, actors: int, order: Iterable[tuple[int, str]]) -> None:
        self._order = iter(order)
        self._live = set(range(actors))
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._loop = asyncio.get_running_loop()

    async def step(self, actor: int) -> str:
        """Wait for the actor's turn; how its step goes."""
        self._waiting[actor] = self._loop.create_future()
        self._next()
        return await self._waiting[actor]

    def leave(self, actor: int) -> None:
        """The actor has no more steps."""
        self._live.discard(actor)
        self._next()

    def _next(self) -> None:
        waiting = sorted(a for a, future in self._waiting.items() if not future.done())
        if set(waiting) == self._live and waiting:
            which, how = next(self._order, (0, ""))
            self._waiting[waiting[which % len(waiting)]].set_result(how)

    async def call(self, actor: int, call: Callable[[], Awaitable[Any]]) -> Any:
        """A step in the event loop."""
        how = await self.step(actor)
        if how == "before":
            raise Crash
        result = await call()
        if how == "twice":
            how = await self.step(actor)
            result = await call()
        if how in {"before", "after"}:
            raise Crash
        return result

    def call_in_thread(self, actor: int, call: Callable[[], Any]) -> Any:
        """A step in a thread of its own."""

        async def done() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(self.call(actor, done), self._loop).result()


class Gated:
    """A queue or a store each of whose calls is a step of an actor."""

    def __init__(self, inner: SpillQueue | SpillStore, gate: Gate, actor: int) -> None:
        self._inner = inner
        self._gate = gate
        self._actor = actor

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)
        if asyncio.iscoroutinefunction(method):
            return lambda *a, **k: self._gate.call(self._actor, lambda: method(*a, **k))
        return lambda *args: self._gate.call_in_thread(self._actor, lambda: method(*args))
