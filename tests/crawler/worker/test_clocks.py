"""A hold on the clocks that its host shares: when it may start, and when it has to go back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from crawler.fetch.exchange import LeaseError
from crawler.ranges import Ranges
from crawler.worker.clocks import SharedClocks
from crawler.worker.hold import Hold
from frontier import keys
from frontier.client import Frontier
from frontier.model import FrontierError, HostState, Lease, Politeness
from frontier.url import partition
from frontier.windows import SharedClock, TurnedAway, Window, boottime

POLITE = Politeness(min_delay=0.2, address_delay=0.2, domain_delay=0.2)
HERE = "192.0.2.1"


@dataclass
class Fleet:
    """What a hold needs of its worker."""

    frontier: Frontier
    ranges: Ranges = field(default_factory=lambda: Ranges({}))
    settings: Any = field(default_factory=lambda: SimpleNamespace(lease_ttl=60.0))
    longest_fetch: float = 10.0
    troubles: list[FrontierError] = field(default_factory=list)

    def trouble(self, error: FrontierError) -> None:
        self.troubles.append(error)

    def hold(
        self, host: str, politeness: Politeness = POLITE, state: HostState | None = None
    ) -> Hold:
        job: Any = SimpleNamespace(politeness=politeness)
        worker: Any = self
        lease = Lease(host, "j", 0, 1, boottime() + 60, state or HostState())
        return Hold(worker, job, lease)


@pytest.fixture
def fleet(frontier: Frontier) -> Fleet:
    return Fleet(frontier)


def clocks(hold: Hold) -> SharedClocks:
    assert hold.clocks is not None
    return hold.clocks


async def known(frontier: Frontier) -> set[str]:
    """The clocks that somebody has asked for."""
    found = await frontier.driver.command("KEYS", "*:k:*")
    return {key.decode().split(":k:")[1] for key in found}


async def occupy(frontier: Frontier, name: str, seconds: float) -> None:
    """Another host has a window on a clock."""
    clock = SharedClock(name, 0.2)
    got = await frontier.windows.reserve(clock, "other", want=seconds, ttl=60)
    assert isinstance(got, Window)


async def test_hosts_of_two_domains_on_three_addresses_keep_to_both(fleet: Fleet) -> None:
    """As leases do: who is turned away comes back when it was told to, with its state."""
    contacts: list[tuple[float, str, str]] = []

    async def visit(host: str, domain: str, address: str) -> None:
        state, done = HostState(), 0
        while done < 3:
            hold = fleet.hold(host, state=state)
            hold.more = 2 - done
            try:
                await clocks(hold).reserve(address, 0.0)
            except LeaseError:
                state = hold.state
                await asyncio.sleep(hold.wait)
                continue
            assert hold.may_start()
            contacts.append((boottime(), domain, address))
            state, done = HostState(), done + 1
            await asyncio.sleep(POLITE.min_delay)

    async with asyncio.TaskGroup() as group:
        for n in range(9):
            domain = ("example.org", "example.net")[n % 2]
            group.create_task(visit(f"h{n}.{domain}", domain, f"192.0.2.{n % 3}"))
    assert len(contacts) == 27
    contacts.sort()
    for key in (1, 2):
        for name in {c[key] for c in contacts}:
            times = [c[0] for c in contacts if c[key] == name]
            assert all(b - a >= POLITE.domain_delay for a, b in pairwise(times))


async def test_windows_on_both_clocks_meet(fleet: Fleet) -> None:
    before = boottime()
    await occupy(fleet.frontier, HERE, 0.4)
    hold = fleet.hold("www.example.org")
    await clocks(hold).reserve(HERE, 0.0)
    assert hold.may_start()
    assert boottime() >= before + 0.4 + 0.2
    assert await known(fleet.frontier) == {HERE, "example.org"}


async def test_a_window_ends(fleet: Fleet) -> None:
    hold = fleet.hold("www.example.org")
    assert not hold.may_start()
    await clocks(hold).reserve(HERE, 0.0)
    assert hold.may_start()
    while hold.may_start():
        await asyncio.sleep(0.005)
    await clocks(hold).reserve(HERE, 0.0)  # nobody else was there meanwhile
    assert hold.may_start()


async def test_what_a_lease_still_wants_is_reserved_at_once(fleet: Fleet) -> None:
    hold = fleet.hold("www.example.org", state=HostState(delay=0.3, response_time=0.1))
    hold.more = 3
    assert hold.rest == pytest.approx(1.2)
    await clocks(hold).reserve(HERE, 0.0)
    clock = SharedClock(HERE, 0.2)
    start = boottime()
    got = await fleet.frontier.windows.reserve(clock, "other", want=1, ttl=60)
    assert isinstance(got, Window)
    assert 1.2 <= got.start - start <= 1.2 + 0.05 + 0.2 + 0.1
    hold.state = HostState(delay=60)  # it goes back after this one
    assert hold.rest == 0


async def test_who_has_to_wait_long_goes_back_with_a_ticket(fleet: Fleet) -> None:
    await occupy(fleet.frontier, "example.org", 12)
    hold = fleet.hold("www.example.org")
    with pytest.raises(LeaseError, match=r"stands in line at example\.org"):
        await clocks(hold).reserve(HERE, 0.0)
    assert 12 < hold.wait < 13
    assert hold.state.ticket > 0
    assert hold.state.ticket_address == ""
    assert not hold.may_start()
    assert await known(fleet.frontier) == {"example.org"}  # no time of the address is wasted


async def test_who_would_be_turned_away_need_not_look_up_its_name(fleet: Fleet) -> None:
    hold = fleet.hold("www.example.org")
    await clocks(hold).admit(0.0)
    await occupy(fleet.frontier, "example.org", 12)
    with pytest.raises(LeaseError, match="stands in line"):
        await clocks(hold).admit(0.0)
    assert hold.wait > 12


async def test_a_place_in_the_addresses_line_keeps_that_in_the_domains(fleet: Fleet) -> None:
    """Else two long lines would send a host to and fro between them for ever."""
    frontier = fleet.frontier
    await occupy(frontier, HERE, 12)
    hold = fleet.hold("www.example.org")
    with pytest.raises(LeaseError, match="at 192"):
        await clocks(hold).reserve(HERE, 0.0)
    assert hold.state.ticket_address == HERE
    frontier.windows.now = str(int(hold.state.ticket * 1000))
    for name in ("example.org", HERE):  # by then both lines are long
        clock = SharedClock(name, 0.2)
        await frontier.windows.reserve(clock, "other", want=4.9, ttl=60)
        for n in range(40):
            got = await frontier.windows.reserve(clock, f"h{n}", want=1, ttl=60)
        assert isinstance(got, TurnedAway)
    frontier.windows.now = str(int(frontier.windows.now) + 5_000)
    with pytest.raises(LeaseError, match=r"at example\.org"):
        await clocks(fleet.hold("new.example.org")).reserve(HERE, 0.0)
    again = fleet.hold("www.example.org", state=hold.state)
    await clocks(again).reserve(HERE, 0.0)
    assert again.may_start()


async def test_what_belongs_together_stands_in_line_once(fleet: Fleet) -> None:
    """A redirect to another spelling is followed at once; else it might be for ever."""
    frontier = fleet.frontier
    hold = fleet.hold("www.example.org")
    await clocks(hold).reserve(HERE, 0.0)
    for name in ("example.org", HERE):
        clock = SharedClock(name, 0.2)
        for n in range(60):
            await frontier.windows.reserve(clock, f"h{n}", want=1, ttl=60)
    frontier.windows.now = str(int(time.time() * 1000) + 5_500)  # there is room, and a long line
    with pytest.raises(LeaseError, match="stands in line"):
        await clocks(fleet.hold("www.example.org")).reserve(HERE, 0.0)
    hold.goes_on()
    await clocks(hold).reserve(HERE, 0.0)
    assert hold.may_start()


async def test_a_disputed_domain_loses_no_window_to_who_stands_elsewhere(fleet: Fleet) -> None:
    frontier = fleet.frontier
    await occupy(frontier, HERE, 12)
    await occupy(frontier, "example.org", 0.05)
    with pytest.raises(LeaseError, match="at 192"):
        await clocks(fleet.hold("www.example.org")).reserve(HERE, 0.0)
    clock = SharedClock("example.org", 0.2)
    got = await frontier.windows.reserve(clock, "other", want=0.05, ttl=60)
    assert isinstance(got, Window)
    assert got.start <= boottime() + 0.001  # it was the last one there, still


async def test_an_address_literal_has_one_clock(fleet: Fleet) -> None:
    for host, address in ((HERE, HERE), ("[2001:db8::1]:8080", "2001:db8::1")):
        hold = fleet.hold(host)
        await clocks(hold).admit(0.0)
        await clocks(hold).reserve(address, 0.0)
        assert hold.may_start()
    assert await known(fleet.frontier) == {HERE, "2001:db8::1"}


async def test_an_ipv4_address_in_ipv6_clothes_has_the_same_clock(fleet: Fleet) -> None:
    await clocks(fleet.hold("a.example")).reserve(f"::ffff:{HERE}", 0.0)
    assert HERE in await known(fleet.frontier)


async def test_networks_have_delays_of_their_own_within_the_jobs(fleet: Fleet) -> None:
    fleet.ranges = Ranges({"192.0.2.0/24": 0.05, "198.51.100.0/24": 0.0, "203.0.113.0/24": 9.0})
    hold = fleet.hold("www.example.org")
    for address in (HERE, "198.51.100.1", "203.0.113.1"):
        await clocks(hold).reserve(address, 0.0)
    assert await known(fleet.frontier) == {"example.org", HERE, "203.0.113.1"}
    gaps = {}
    for name in (HERE, "203.0.113.1"):
        p = partition(name, fleet.frontier.partitions)
        found = await fleet.frontier.driver.command("GET", f"{keys.tag(p)}:k:{name}")
        gaps[name] = int(found.split(b" ")[1])
    assert gaps == {HERE: 50, "203.0.113.1": 200}


async def test_no_delay_no_clock(fleet: Fleet) -> None:
    fleet.ranges = Ranges({"192.0.2.0/24": 0.05})
    off = Politeness(min_delay=0, address_delay=0, domain_delay=0)
    hold = fleet.hold("www.example.org", off)
    assert hold.clocks is None
    assert hold.may_start()
    only = fleet.hold("www.example.org", Politeness(address_delay=0, domain_delay=0.1))
    await clocks(only).reserve("198.51.100.1", 0.0)
    assert await known(fleet.frontier) == {"example.org"}


async def test_a_frontier_that_fails_is_no_fault_of_the_host(fleet: Fleet) -> None:
    frontier = fleet.frontier
    for p in range(frontier.partitions):
        await frontier.driver.command("DEL", keys.home(p))
    hold = fleet.hold("www.example.org")
    for call in (clocks(hold).admit(0.0), clocks(hold).reserve(HERE, 0.0)):
        with pytest.raises(LeaseError, match="nobody says"):
            await call
    assert len(fleet.troubles) == 2
    assert not hold.may_start()
