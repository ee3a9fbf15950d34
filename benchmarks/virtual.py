"""What a simulation stands on: virtual time, what calls took, a store in memory."""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from frontier.client import Frontier
from frontier.driver import Driver
from frontier.tails import Tails

T0: Final = 1_900_000_000_000  # ms: when simulations begin

T = TypeVar("T")
Action = Callable[[], Awaitable[None]]


class Clock:
    """Virtual time: what is to happen when."""

    def __init__(self, frontier: Frontier) -> None:
        self._frontier = frontier
        self._events: list[tuple[int, int, Action]] = []
        self._count = 0
        self.now = T0

    def at(self, when: int, action: Action) -> None:
        """Have something happen; what is set for the same instant happens in the order given."""
        self._count += 1
        heapq.heappush(self._events, (max(when, self.now), self._count, action))

    async def run(self, over: Callable[[], bool]) -> None:
        """Until ``over`` says so, or nothing is left to happen."""
        while self._events and not over():
            self.now, _, action = heapq.heappop(self._events)
            self._frontier.now = self._frontier.tails.now = str(self.now)
            await action()


class Meter:
    """What calls took, by kind and stage of the run."""

    def __init__(self, server_cpu: Callable[[], float]) -> None:
        self._server_cpu = server_cpu
        self.stage = 0
        self.cpu = 0.0  # seconds of this process within calls
        self.wall = 0.0
        self.calls: dict[tuple[str, int], list[float]] = defaultdict(list)  # seconds each
        self.server: dict[tuple[str, int], float] = defaultdict(float)  # its CPU seconds
        self.parts: dict[tuple[str, int], int] = defaultdict(int)  # add: scripts; lease: hosts
        self.units: dict[tuple[str, int], int] = defaultdict(int)  # URLs, hosts, partitions

    async def __call__(self, kind: str, units: int, call: Awaitable[T]) -> T:
        """Await a call of so many units and write down what it took."""
        wall, cpu, server = time.perf_counter(), time.process_time(), self._server_cpu()
        try:
            return await call
        finally:
            took = time.perf_counter() - wall
            self.cpu += time.process_time() - cpu
            self.wall += took
            self.calls[kind, self.stage].append(took)
            self.server[kind, self.stage] += self._server_cpu() - server
            self.units[kind, self.stage] += units


class Spills(Tails):
    """The spilled ends of queues; counts what goes there."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self.spilled = 0  # URLs put to the store

    async def spill_done(
        self,
        job: str,
        p: int,
        offset: int,
        count: int,
        segment: str,
        groups: Sequence[tuple[int, str, int]],
    ) -> bool:
        """As `Tails.spill_done`."""
        done = await super().spill_done(job, p, offset, count, segment, groups)
        self.spilled += count if done else 0
        return done


class MemoryStore:
    """A spill store in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        """As `frontier.spill.SpillStore`, like the following."""
        self.objects[key] = data

    def get(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def list(self, prefix: str) -> Iterable[str]:
        return [key for key in self.objects if key.startswith(f"{prefix}/")]
