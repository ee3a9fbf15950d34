"""Windows on the clocks that many hosts share: those of addresses and of registered domains.

Keeps invariant 2 (never early) for them: contacts of two hosts with one address, or within one
registered domain, start at least the longer of their delays apart, over all workers and jobs, as
each starts within a window of its host, and windows are so far apart (lua/reserve.lua). Server time
becomes local time on the safe side: a window seems to begin when the answer is here, and to end as
if it had been granted when the question was sent.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final

import msgspec

from frontier import keys
from frontier.driver import Driver
from frontier.url import partition

HORIZON: Final = 5.0  # seconds a holder waits for a window; who would wait longer goes back
LONGEST: Final = 15.0  # seconds of a window that nobody disputes; its neighbours wait for its end
LEAST: Final = 0.05  # seconds of a disputed one: one contact starts in it, or another is asked for
LAG: Final = 0.2  # seconds that a call may take, and windows be longer for it
UNSURE: Final = 1.0  # seconds after which to ask again where no replica has confirmed


def boottime() -> float:
    """Seconds that go on while the machine sleeps: CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class SharedClock:
    """A clock that the contacts of many hosts keep to."""

    name: str  # the address or the registered domain; its partition is hashed from it
    delay: float  # seconds between the starts of two hosts' contacts


class Window(msgspec.Struct, frozen=True):
    """When contacts of one host may start on a clock; in seconds of :func:`boottime`."""

    start: float
    end: float


class TurnedAway(msgspec.Struct, frozen=True):
    """There is no window within the horizon."""

    wait: float  # seconds until it is worth while to come back
    ticket: float  # to come back with, unix seconds; 0: none


@dataclass(frozen=True, slots=True)
class ClockState:
    """How a clock stands; for people to look at."""

    holder: str  # host whose window is the last
    until: float  # unix seconds: its end
    free: float  # unix seconds: when another host's contact may start, as far as is granted
    line: float  # unix seconds: the time that the last in line was given; 0: nobody stands there


class Windows:
    """The shared clocks of a frontier; for one event loop."""

    def __init__(self, driver: Driver, partitions: int) -> None:
        self._driver = driver
        self._partitions = partitions
        self.now = ""  # as Frontier.now
        self._lag = 0.0  # seconds that calls take, the longest of late

    async def reserve(
        self,
        clock: SharedClock,
        host: str,
        *,
        earliest: float = 0.0,
        want: float = 0.0,
        least: float = LEAST,
        short: bool = True,
        ttl: float,
        ticket: float = 0.0,
    ) -> Window | TurnedAway:
        """A window for contacts of ``host``, which begins within the horizon.

        Args:
            clock: on which.
            host: whose contacts; only the holder of its lease asks.
            earliest: before this a window is of no use; as :func:`boottime`.
            want: seconds that all its contacts take, granted where nobody disputes them.
            least: seconds that one contact takes to start, granted where others do.
            short: whether a disputed window is of use already; else it is one that ends as it
                starts, and only says when.
            ttl: seconds of a lease; no window lasts longer.
            ticket: of the time when it was last turned away here; 0: none.

        Raises FrontierError.
        """
        sent = boottime()
        least += self._lag  # which is lost on both sides, see below
        spans = (max(0.0, earliest - sent), clock.delay, min(want, LONGEST), least, HORIZON, ttl)
        args = [self.now, clock.name, host, *(math.ceil(s * 1000) for s in spans)]
        key = keys.home(partition(clock.name, self._partitions))
        call = ("reserve", key, [*args, round(ticket * 1000), int(short)])
        [reply] = await self._driver.each([call], replicated=True)
        received = boottime()
        self._lag = min(max(received - sent, self._lag * 0.9), LAG)
        if reply.error is not None:
            raise reply.error
        if not reply.safe:  # a failover may take it back
            return TurnedAway(UNSURE, ticket)
        now, start, end = reply.value
        if end <= 0:
            return TurnedAway((start - now) / 1000, 0.0 if end else start / 1000)
        # The server's time is cut down to milliseconds: it may have been a whole one later.
        return Window(received + (start - now) / 1000, sent + (end - now - 1) / 1000)

    async def state(self, name: str) -> ClockState | None:
        """How a clock stands; None: nobody was in contact under it for a minute."""
        p = partition(name, self._partitions)
        had = await self._driver.command("GET", f"{keys.tag(p)}:k:{name}")
        if had is None:
            return None
        *numbers, holder = had.decode().split(" ")
        last, gap, _, _, line, _ = (int(n) / 1000 for n in numbers)
        return ClockState(holder, last, last + gap, line)
