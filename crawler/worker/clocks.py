"""The clocks that a held host shares with others: its address's and its registered domain's.

Keeps invariant 2 for them: a contact starts only in a window that its host has on each (see
`frontier/windows.py`), margin for the way to the server included. The domain is asked first, and
before a name is looked up: of a million hosts of one domain all but a few stand in line, and those
must neither ask for a million names nor use up the time of addresses that other domains share. Its
window comes last where it is disputed: who stands in the address's line takes none.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from crawler.fetch.exchange import LeaseError
from crawler.ranges import plain
from frontier.model import FrontierError
from frontier.url import parse
from frontier.windows import LEAST, SharedClock, TurnedAway, Window, boottime

if TYPE_CHECKING:
    from crawler.worker.hold import Hold

MARGIN: Final = 0.02  # seconds of a window that must be left: requests differ in their way
ANYWHERE: Final = "*"  # a ticket for whatever address
SOON: Final = 1.0  # seconds after which to try again where they did not
STEPS: Final = 12  # questions and waits until windows on both clocks must meet; two suffice mostly


class SharedClocks:
    """What one hold may do on the clocks that its host shares; for the fetcher to wait on."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        home = parse(f"http://{hold.lease.host}/")
        self._address = plain(home.domain) if _numeric(home.hostname) else ""  # of a literal host
        self._domain = SharedClock(home.domain, hold.job.politeness.domain_delay)
        self._windows: dict[str, Window] = {}  # by clock; the last of each
        self._now: tuple[SharedClock, ...] | None = None  # those of the contact under way

    async def admit(self, seconds: float) -> None:
        """Before the name is looked up. Raises LeaseError: too many of its domain are before it."""
        if self._domain.delay and not self._address and not self._lasts(self._domain, boottime()):
            await self._ask(self._domain, boottime(), seconds, want=0.0, short=False)

    async def reserve(self, address: str, seconds: float) -> None:
        """Wait until a contact with ``address`` that takes ``seconds`` to start may begin.

        Of an address that is not known ("", behind a proxy) there is no clock but for literals.
        Raises LeaseError: not soon; the host's clock and its ticket say when.
        """
        self._now = clocks = self._clocks(address)
        if len(clocks) > 1 and not self._lasts(self._domain, boottime() + seconds):
            await self._ask(self._domain, boottime(), seconds, short=False)
        for _ in range(STEPS):
            start = max(boottime(), *(self._start(clock) for clock in clocks), 0.0)
            late = next((c for c in clocks if not self._lasts(c, start + seconds)), None)
            if late is not None:
                await self._ask(late, start, seconds)
            elif (wait := start - boottime()) > 0:
                await asyncio.sleep(wait)
            else:
                self._hold.starts()
                return
        self._hold.line_up(SOON, self._hold.state.ticket, self._hold.state.ticket_address)
        raise LeaseError(f"no windows that meet for {self._hold.lease.host} at {address}")

    def open(self) -> bool:
        """Whether a contact with the address last reserved may start this instant."""
        return self._now is not None and all(self._open(clock) for clock in self._now)

    def _clocks(self, address: str) -> tuple[SharedClock, ...]:
        """Those of a contact with an address; an address literal is its own domain."""
        hold, name = self._hold, plain(address) if address else self._address
        if not name:
            return (self._domain,) if self._domain.delay else ()
        delay = hold.worker.ranges.delay(name)
        bounds = hold.job.politeness
        capped = bounds.address_delay if delay is None else min(delay, bounds.min_delay)
        found = (SharedClock(name, capped), self._domain)
        return tuple(c for c in (found[:1] if self._address else found) if c.delay)

    def _start(self, clock: SharedClock) -> float:
        window = self._windows.get(clock.name)
        return window.start if window is not None else 0.0

    def _lasts(self, clock: SharedClock, at: float) -> bool:
        window = self._windows.get(clock.name)
        return window is not None and at + MARGIN <= window.end

    def _open(self, clock: SharedClock) -> bool:
        now = boottime()
        return self._start(clock) <= now and self._lasts(clock, now)

    async def _ask(
        self,
        clock: SharedClock,
        start: float,
        seconds: float,
        *,
        want: float | None = None,
        short: bool = True,
    ) -> None:
        """A window that is of use from ``start`` on; what was asked before is of none any more."""
        hold, state = self._hold, self._hold.state
        entitled = clock is self._domain or state.ticket_address in (clock.name, ANYWHERE)
        least = LEAST + seconds
        try:
            found = await hold.worker.frontier.windows.reserve(
                clock,
                hold.lease.host,
                earliest=start,
                want=least + hold.rest if want is None else want,
                least=least,
                short=short,
                ttl=hold.worker.settings.lease_ttl,
                ticket=state.ticket if entitled else 0.0,
            )
        except FrontierError as error:
            hold.worker.trouble(error)
            raise LeaseError(f"nobody says when {hold.lease.host} may be contacted") from error
        if isinstance(found, TurnedAway):
            # Who has come to its domain's clock in its turn keeps that right: else two long lines
            # would send it to and fro for ever.
            address = state.ticket_address if clock is self._domain else clock.name
            hold.line_up(found.wait, found.ticket, address)
            raise LeaseError(f"{hold.lease.host} stands in line at {clock.name}")
        self._windows[clock.name] = found


def _numeric(hostname: str) -> bool:
    try:
        ip_address(hostname)
    except ValueError:
        return False
    return True
