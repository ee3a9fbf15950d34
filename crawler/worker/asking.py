"""When to ask which partitions for hosts of which jobs. Pure: who calls supplies clock and counts.

A worker's turns are what its jobs share. While turns are free every job is asked for, and the
frontier serves them by weight. When none is free, a job that holds fewer than its share by weight
need not wait until another's slow hosts let go: it gets one of a few that are spare.

All workers know when the next host of a partition is due, and one of them gets it. Who came too
late asks there again after a pause, twice as long each time, until it gets something: the more
workers there are, the less often each asks. Times are seconds of any clock.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MOST_TURNS: Final = 256  # hosts one worker holds at a time
SPARE: Final = 64  # and as many more for jobs that hold fewer than their share
HOSTS: Final = 8  # hosts per partition and call
SWEEP: Final = 0.5  # seconds between looks at a partition that seems idle
SHORTEST: Final = 0.005  # seconds between calls, so that a partition with nothing to give rests


@dataclass(frozen=True, slots=True)
class Ask:
    """A lease call."""

    jobs: Sequence[str]  # in order of service
    partitions: Sequence[int]
    hosts: int  # per partition
    spare: bool = False  # for jobs below their share alone


class Asking:
    """What one worker knows of when hosts are due."""

    def __init__(self, partitions: int, turns: int = MOST_TURNS) -> None:
        self._turns = turns
        self._due = dict.fromkeys(range(partitions), 0.0)  # the next host of any job
        self._short = dict(self._due)  # the next host of those that were below their share
        self._soon: set[int] = set()  # partitions where a host was to be due
        self._pause = dict.fromkeys(self._due, SHORTEST)  # after coming too late there

    def note(self, due: Mapping[int, float], now: float) -> None:
        """Hosts are due in these partitions in so many seconds."""
        for p, wait in due.items():
            self._due[p] = min(self._due[p], now + wait)
            self._short[p] = min(self._short[p], now + wait)

    def due(self, now: float) -> list[int]:
        """Partitions where hosts are due, the longest wait first."""
        return _first(self._due, now)

    def rest_until(self, partitions: Sequence[int], when: float) -> None:
        """Leave partitions alone until then."""
        self._due.update(dict.fromkeys(partitions, when))

    def plan(self, now: float, jobs: Mapping[str, int], held: Mapping[str, int]) -> Ask | None:
        """The call to make now, if any, for jobs with their weights and the turns they hold."""
        names, room, spare = self._room(jobs, held)
        partitions = _first(self._short if spare else self._due, now)[: max(0, room)]
        if not names or not partitions:
            return None
        return Ask(names, partitions, min(HOSTS, room // len(partitions)), spare)

    def _room(
        self, jobs: Mapping[str, int], held: Mapping[str, int]
    ) -> tuple[Sequence[str], int, bool]:
        """(jobs to ask for, turns they may have, whether these are the spare ones)"""
        room = self._turns - sum(held.values())
        if room > 0:
            return list(jobs), room, False
        weight = self._turns / max(1, sum(jobs.values()))
        short = {n: math.ceil(w * weight) - held.get(n, 0) for n, w in jobs.items()}
        short = {n: lacking for n, lacking in short.items() if lacking > 0}
        return list(short), min(room + SPARE, sum(short.values())), True

    def told(
        self, ask: Ask, due: Mapping[int, float | None], granted: Container[int], now: float
    ) -> None:
        """What the call said of when hosts are due (None: never), and where it got any."""
        for p, wait in due.items():
            if p in granted:
                self._pause[p] = SHORTEST
            elif p in self._soon:
                self._pause[p] = min(SWEEP, 2 * self._pause[p])
            self._short[p] = now + SWEEP
            self._soon.discard(p)
            if wait is not None and wait < SWEEP:
                self._short[p] = now + max(wait, self._pause[p])
                self._soon.add(p)
            if not ask.spare:
                self._due[p] = self._short[p]

    def rest(self, now: float, jobs: Mapping[str, int], held: Mapping[str, int]) -> float:
        """Seconds until the next call is worth making, unless something happens."""
        names, room, spare = self._room(jobs, held)
        wait = SWEEP
        if names and room > 0:
            wait = min((self._short if spare else self._due).values()) - now
        return min(SWEEP, max(SHORTEST, wait))


def _first(due: Mapping[int, float], now: float) -> list[int]:
    return sorted((p for p, when in due.items() if when <= now), key=due.__getitem__)
