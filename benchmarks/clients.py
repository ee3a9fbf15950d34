"""Client processes of a frontier benchmark: what each is told to do, and what it took it.

A client prepares (builds URLs, connects), says so, waits for the word, works, and says what that
cost: only the work is measured. It drives the frontier through its public async API.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import uvloop

from benchmarks.machine import BenchmarkError
from benchmarks.urls import batches, mixture, offer
from frontier.client import Frontier
from frontier.model import FrontierError, Lease, Limits, Report, UrlResult

HOSTS: Final = 8  # of a lease call
URLS: Final = 8  # of a host
SEGMENT: Final = 8_192  # URLs of a segment
_TTL: Final = 600.0
_FOR_EVER: Final = 3_600.0  # seconds the parent waits for a client


@dataclass(frozen=True, slots=True)
class Task:
    """What a client does."""

    kind: str  # add | drain | mixed | latency
    job: str = "bench"
    first: int = 0  # the first number that is new
    count: int = 0  # URLs to add; calls, with latency
    known: float = 0.0  # share of them that was added before ...
    added: int = 0  # ... of the numbers below this
    hosts: int = 1_000
    scattered: bool = False  # add calls over all partitions
    host_cap: int = 1_000  # as in Limits; 0: a host's queue may be of any length
    flight: int = 8  # calls under way at once
    client: int = 0  # which of ...
    clients: int = 1  # ... how many this is; it leases from its share of the partitions


@dataclass(frozen=True, slots=True)
class Done:
    """What it came to."""

    added: int = 0  # URLs accepted
    known: int = 0  # URLs refused as seen
    settled: int = 0  # URLs leased, reported and settled
    seconds: float = 0.0
    cpu: float = 0.0  # of the client process
    calls: tuple[float, ...] = ()  # seconds of each lease call, with latency


class Clients:
    """Client processes that have connected; use :func:`clients`."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes

    def prepare(self, tasks: Sequence[Task]) -> None:
        """Hand out tasks; return when all are ready to start."""
        for pipe, task in zip(self._pipes, tasks, strict=True):
            pipe.send(task)
        for pipe in self._pipes:
            _receive(pipe)

    def go(self) -> list[Done]:
        """Start all at once; return when all have finished."""
        for pipe in self._pipes:
            pipe.send(None)
        return [_receive(pipe) for pipe in self._pipes]


@contextlib.contextmanager
def clients(url: str, count: int, partitions: int) -> Iterator[Clients]:
    """``count`` processes that work on the frontier at ``url``."""
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(count)]
    processes = [
        context.Process(target=_serve, args=(theirs, url, partitions), daemon=True)
        for _, theirs in pairs
    ]
    for process in processes:
        process.start()
    try:
        yield Clients([ours for ours, _ in pairs])
    finally:
        for process in processes:
            process.kill()
            process.join()


def _receive(pipe: Connection) -> Done:
    if not pipe.poll(_FOR_EVER):
        raise BenchmarkError("a client does not answer")
    answer = pipe.recv()
    if isinstance(answer, str):
        raise BenchmarkError(f"a client failed: {answer}")
    return answer  # type: ignore[no-any-return]


def _serve(pipe: Connection, url: str, partitions: int) -> None:
    uvloop.run(_answer(pipe, url, partitions))


async def _answer(pipe: Connection, url: str, partitions: int) -> None:
    frontier = await Frontier.open(url, partitions=partitions)
    while True:
        try:
            task: Task = pipe.recv()
            work = _WORK[task.kind](frontier, task)
            pipe.send(Done())
            pipe.recv()
            wall, cpu = time.perf_counter(), time.process_time()
            done = await work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            pipe.send(Done(done.added, done.known, done.settled, wall, cpu, done.calls))
        except EOFError:
            return
        except Exception as error:  # the parent raises it
            pipe.send(f"{type(error).__name__}: {error}")


Work = Callable[[], Awaitable[Done]]


def _add(frontier: Frontier, task: Task) -> Work:
    numbers = mixture(task.first, task.count, task.known, task.added)
    made = [offer(number, task.hosts) for number in numbers]
    cut = batches(made, frontier.partitions, scattered=task.scattered)
    limits = Limits(host_cap=task.host_cap)

    async def work() -> Done:
        counts = [0, 0]

        async def one(batch: list[tuple[object, object]]) -> None:
            added = await frontier.add(task.job, batch, limits=limits)  # type: ignore[arg-type]
            if added.refused:
                raise RuntimeError(f"{len(added.refused)} URLs refused: nothing spills here")
            counts[0] += added.accepted
            counts[1] += added.known

        await _abreast((one(batch) for batch in cut), task.flight)  # type: ignore[arg-type]
        return Done(added=counts[0], known=counts[1])

    return work


def _drain(frontier: Frontier, task: Task) -> Work:
    async def work() -> Done:
        return Done(settled=await _Drain(frontier, task).all())

    return work


def _mixed(frontier: Frontier, task: Task) -> Work:
    add, drain = _add(frontier, task), _drain(frontier, task)

    async def work() -> Done:
        added, drained = await asyncio.gather(add(), drain())
        return Done(added=added.added, known=added.known, settled=drained.settled)

    return work


def _latency(frontier: Frontier, task: Task) -> Work:
    async def work() -> Done:
        drain, calls = _Drain(frontier, task), []
        for i in range(task.count):
            place = drain.partitions[i % len(drain.partitions)]
            start = time.perf_counter()
            leases = await drain.lease(place)
            calls.append(time.perf_counter() - start)
            await drain.report(leases)
        await drain.settle()
        return Done(settled=drain.settled, calls=tuple(calls))

    return work


_WORK: Final[dict[str, Callable[[Frontier, Task], Work]]] = {
    "add": _add,
    "drain": _drain,
    "mixed": _mixed,
    "latency": _latency,
}


class _Drain:
    """A worker without a network: leases, reports each URL as done, seals and settles."""

    def __init__(self, frontier: Frontier, task: Task) -> None:
        self._frontier, self._task = frontier, task
        self.partitions = list(range(task.client, frontier.partitions, task.clients))
        self.settled = 0
        self._segments = self._held = 0

    @property
    def _segment(self) -> str:
        return f"c{self._task.client}-{self._task.first}-{self._segments}"

    async def lease(self, place: int) -> tuple[Lease, ...]:
        grant = await self._frontier.lease(
            f"c{self._task.client}", [self._task.job], [place], hosts=HOSTS, urls=URLS, ttl=_TTL
        )
        return grant.leases

    async def report(self, leases: Sequence[Lease]) -> None:
        segment = self._segment
        told = await self._frontier.report_all(
            [
                Report(
                    lease,
                    [UrlResult(url.fp, "pending", segment) for url in lease.urls],
                    lease.state,
                    wait=0.0,
                    free=True,
                )
                for lease in leases
            ]
        )
        if failed := [each for each in told if isinstance(each, FrontierError)]:
            raise failed[0]
        self._held += sum(len(lease.urls) for lease in leases)

    async def settle(self) -> None:
        """Close the segment: nothing may be on its way to it."""
        sealed = await self._frontier.seal(self._segment, self.partitions)
        if sum(map(len, sealed.values())) != self._held:
            raise RuntimeError(f"{self._held} URLs reported, {sealed} sealed")
        await self._frontier.settle(self._segment, self.partitions)
        self.settled += self._held
        self._segments, self._held = self._segments + 1, 0

    async def all(self) -> int:
        """Until no partition has a host; with `mixed`, what has come until then."""
        left = set(self.partitions)

        async def one(place: int) -> None:
            while self._held < SEGMENT:
                leases = await self.lease(place)
                if not leases:
                    left.discard(place)
                    return
                await self.report(leases)

        while left:
            await _abreast((one(place) for place in sorted(left)), self._task.flight)
            await self.settle()
        return self.settled


async def _abreast(calls: Iterable[Awaitable[None]], flight: int) -> None:
    """Await all, ``flight`` at once."""
    waiting = iter(calls)

    async def lane() -> None:
        for call in waiting:
            await call

    await asyncio.gather(*(lane() for _ in range(flight)))
