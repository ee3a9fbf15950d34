"""Windows on shared clocks, on a real server: apart, in turn, at a cost that no crowd raises."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frontier import keys
from frontier.client import Frontier
from frontier.model import FrontierError
from frontier.url import partition
from frontier.windows import SharedClock, TurnedAway, Window, boottime

T0 = 1_900_000_000_000
TTL = 60_000  # ms of a lease
DELAY, LEAST, HORIZON = 500, 50, 5_000  # ms
CLOCK = "192.0.2.1"
STEADY = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@dataclass(frozen=True)
class Got:
    """What the script said, ms from T0."""

    start: int  # or when to come back
    end: int  # 0: turned away with a ticket, -1: without
    now: int

    @property
    def ticket(self) -> int:
        return T0 + self.start


async def ask(
    frontier: Frontier,
    host: str,
    now: int = 0,
    *,
    clock: str = CLOCK,
    after: int = 0,
    delay: int = DELAY,
    want: int = LEAST,
    ticket: int = 0,
    ttl: int = TTL,
    short: bool = True,
) -> Got:
    """One question at a time of the test's choice."""
    key = keys.home(partition(clock, frontier.partitions))
    args = [T0 + now, clock, host, after, delay, want, LEAST, HORIZON, ttl, ticket, int(short)]
    at, start, end = await frontier.driver.script("reserve", key, args)
    return Got(start - T0, end - T0 if end > 0 else end, at - T0)


async def state(frontier: Frontier, clock: str = CLOCK) -> bytes:
    key = f"{keys.tag(partition(clock, frontier.partitions))}:k:{clock}"
    found: bytes = await frontier.driver.command("GET", key)
    return found


# -- one host, two hosts


async def test_what_nobody_disputes_is_as_long_as_was_wanted(frontier: Frontier) -> None:
    got = await ask(frontier, "a", want=9_000)
    assert (got.start, got.end) == (0, 9_000)
    got = await ask(frontier, "a", 8_000, want=9_000)
    assert (got.start, got.end) == (8_000, 17_000)


async def test_no_window_outlasts_a_lease(frontier: Frontier) -> None:
    assert (await ask(frontier, "a", want=90_000)).end == TTL


async def test_another_host_waits_for_the_end_and_for_the_longer_delay(frontier: Frontier) -> None:
    await ask(frontier, "a", want=1_000, delay=700)
    assert (await ask(frontier, "b", 10, delay=300)).start == 1_700
    await ask(frontier, "c", want=1_000, delay=300, clock="example.org")
    assert (await ask(frontier, "d", 10, delay=700, clock="example.org")).start == 1_700


async def test_a_window_is_not_before_it_is_of_use(frontier: Frontier) -> None:
    assert (await ask(frontier, "a", 100, after=900)).start == 1_000


async def test_clocks_know_nothing_of_each_other(frontier: Frontier) -> None:
    await ask(frontier, "a", want=4_000)
    assert (await ask(frontier, "b", clock="192.0.2.2", want=4_000)).start == 0


async def test_a_host_need_not_wait_for_itself_but_for_others(frontier: Frontier) -> None:
    await ask(frontier, "a")
    await ask(frontier, "b", 1_000)
    assert (await ask(frontier, "b", 1_010)).start == 1_010
    # However long its delay is by now, it is kept to where another was before.
    assert (await ask(frontier, "b", 1_020, delay=3_000)).start == 50 + 3_000


async def test_a_window_can_be_moved_back_to_meet_another_clocks(frontier: Frontier) -> None:
    await ask(frontier, "a")
    assert (await ask(frontier, "b", 10)).start == 550
    assert (await ask(frontier, "b", 20, after=900)).start == 920
    assert (await ask(frontier, "a", 30)).start == 970 + DELAY


async def test_disputed_windows_are_short_until_nobody_has_asked_for_a_while(
    frontier: Frontier,
) -> None:
    await ask(frontier, "a", want=2_000)
    got = await ask(frontier, "b", 100, want=2_000)
    assert got.end - got.start == LEAST
    got = await ask(frontier, "a", 3_100, want=2_000)
    assert got.end - got.start == LEAST
    got = await ask(frontier, "a", 9_000, want=2_000)
    assert got.end - got.start == 2_000


async def test_a_clock_is_forgotten_a_minute_after_its_last_window(frontier: Frontier) -> None:
    await ask(frontier, "a", want=4_000)
    key = f"{keys.tag(partition(CLOCK, frontier.partitions))}:k:{CLOCK}"
    left = await frontier.driver.command("PTTL", key)
    assert 55_000 < left <= 64_000


# -- the line


async def test_who_would_wait_beyond_the_horizon_is_turned_away(frontier: Frontier) -> None:
    await ask(frontier, "a", want=9_000)
    got = await ask(frontier, "b", 100)
    assert got.end == 0
    assert got.start >= 9_000 + DELAY
    again = await ask(frontier, "b", got.start, ticket=got.ticket)
    assert (again.start, again.end) == (got.start, got.start + LEAST)


async def test_ten_thousand_in_line_have_times_of_their_own_and_take_no_room(
    frontier: Frontier,
) -> None:
    await ask(frontier, "a", want=9_000)
    key = keys.home(partition(CLOCK, frontier.partitions))
    args = [T0, CLOCK, "host", 0, DELAY, LEAST, LEAST, HORIZON, TTL, 0, 1]
    args_of = [[*args[:2], f"host{n}", *args[3:]] for n in range(10_000)]
    await frontier.driver.script("reserve", key, args)
    small = len(await state(frontier))
    times: list[int] = []
    for i in range(0, 10_000, 1_000):
        calls: list[Any] = [("reserve", key, each) for each in args_of[i : i + 1_000]]
        replies = await frontier.driver.scripts(calls)
        assert all(end == 0 for _, _, end in replies)
        times += [start - T0 for _, start, _ in replies]
    assert all(b - a >= DELAY for a, b in pairwise(times))
    assert times[-1] < 10_000 * (DELAY + LEAST) + 20_000  # evenly, not ever wider
    assert len(await state(frontier)) <= small + 4  # a time with more digits


async def test_while_the_line_is_long_only_a_ticket_lets_in(frontier: Frontier) -> None:
    await ask(frontier, "a", want=9_000)
    places = [await ask(frontier, f"b{n}", 10) for n in range(20)]
    first = places[0].start
    assert (await ask(frontier, "new", first)).end == 0
    got = await ask(frontier, "b0", first, ticket=places[0].ticket)
    assert got.start == first
    assert got.end
    # A ticket is good for half a minute after its time, and not long before.
    await ask(frontier, "x", places[5].start, want=9_000, ticket=places[5].ticket)
    for n in range(200):
        await ask(frontier, f"c{n}", places[5].start)
    late = places[6].start + 30_001
    assert (await ask(frontier, "b6", late, ticket=places[6].ticket)).end == 0
    assert (await ask(frontier, "b7", late - 5, ticket=places[7].ticket)).end
    assert (await ask(frontier, "b19", late, ticket=T0 + late + HORIZON + 1)).end == 0


async def test_a_late_holder_of_a_ticket_is_not_sent_to_the_end(frontier: Frontier) -> None:
    await ask(frontier, "a", want=9_000)
    places = [await ask(frontier, f"b{n}", 10) for n in range(400)]
    at = places[20].start
    late = []
    for n in range(20):  # they all come at once
        got = await ask(frontier, f"b{n}", at, ticket=places[n].ticket)
        if got.end == 0:
            late.append(got.start - at)
    assert len(late) >= 10
    assert max(late) <= HORIZON + DELAY + LEAST + (places[-1].start - at) / 8
    assert len(set(late)) > 5  # not all at once again


async def test_a_holder_may_move_its_window_however_long_the_line(frontier: Frontier) -> None:
    await ask(frontier, "a", want=9_000)
    for n in range(20):
        await ask(frontier, f"b{n}", 10)
    assert (await ask(frontier, "a", 8_900, after=200)).start == 9_100
    assert (await ask(frontier, "a", 9_200)).end == 0


async def test_a_clock_with_a_line_is_disputed(frontier: Frontier) -> None:
    await ask(frontier, "a", want=9_000)
    places = [await ask(frontier, f"b{n}", 10) for n in range(3)]
    assert (await ask(frontier, "a", places[0].start, want=9_000)).end == places[0].start + LEAST


async def test_who_asks_whether_to_come_in_takes_nothing(frontier: Frontier) -> None:
    got = await ask(frontier, "a", want=0, short=False)
    assert (got.start, got.end) == (0, 0 + got.start)
    assert (await ask(frontier, "b", want=9_000)).start == 0
    assert (await ask(frontier, "c", 10, want=0, short=False)).start >= 9_000 + DELAY
    assert (await ask(frontier, "b", 5_000, want=0, short=False)).start == 5_000


async def test_who_has_no_use_for_a_short_window_takes_none(frontier: Frontier) -> None:
    got = await ask(frontier, "a", want=2_000, short=False)
    assert got.end == 2_000
    for _ in range(2):
        got = await ask(frontier, "b", 100, want=2_000, short=False)
        assert (got.start, got.end) == (2_500, 2_500)
    assert (await ask(frontier, "c", 200)).start == 2_500


async def test_a_line_that_nobody_comes_from_is_forgotten(frontier: Frontier) -> None:
    await ask(frontier, "a", want=9_000)
    for n in range(100):
        await ask(frontier, f"b{n}", 10)
    key = f"{keys.tag(partition(CLOCK, frontier.partitions))}:k:{CLOCK}"
    left = await frontier.driver.command("PTTL", key)
    assert left <= 69_000


async def test_nobody_is_told_to_wait_for_longer_than_a_day(frontier: Frontier) -> None:
    key = f"{keys.tag(partition(CLOCK, frontier.partitions))}:k:{CLOCK}"
    day = 86_400_000
    record = f"{T0} {DELAY} 0 0 {T0 + day - 1_000} 0 a"
    await frontier.driver.command("SET", key, record)
    last = await ask(frontier, "b", 10)
    assert last.end == 0
    assert last.start < day
    times = set()
    for n in range(50):
        got = await ask(frontier, f"c{n}", 10)
        if got.end == 0:
            continue  # the last place in the line
        assert got.end < 0  # no ticket
        assert day / 2 <= got.start - 10 <= day
        times.add(got.start)
    assert len(times) >= 45


# -- the quarantine


async def test_after_lost_writes_nothing_is_reserved_for_a_lease_and_the_delay(
    frontier: Frontier,
) -> None:
    """Windows that the server has forgotten may still be used."""
    await ask(frontier, "a")
    home = keys.home(partition(CLOCK, frontier.partitions))
    await frontier.driver.command("HSET", home, "run", "f" * 40)
    await frontier.driver.command("DEL", home.replace(":m", f":k:{CLOCK}"))
    quiet = 1_000 + TTL + 1_000
    for host in ("a", "b"):
        got = await ask(frontier, host, 1_000)
        assert got.end == 0
        assert got.start >= quiet + DELAY
    assert (await ask(frontier, "c", quiet - 1)).end == 0
    names = (f"192.0.2.{n}" for n in range(2, 99))
    other = next(n for n in names if keys.home(partition(n, frontier.partitions)) == home)
    fresh = await ask(frontier, "d", quiet + 100, clock=other)
    assert fresh.start == quiet + 5_000  # whoever had it before: its delay is not known
    assert (await ask(frontier, "b", got.start, ticket=got.ticket)).end


# -- many


hosts = st.sampled_from("abcdef")
delays = st.sampled_from([0, 50, 500, 500, 3_000])
questions = st.tuples(
    st.sampled_from([0, 0, 1, 40, 60, 300, 700, 2_000, 70_000]),  # ms since the one before
    hosts,
    delays,
    st.sampled_from([LEAST, LEAST, 400, 6_000]),  # wanted
    st.sampled_from([0, 0, 0, 30, 2_000]),  # of use after
    st.booleans(),  # with the last ticket
)


@STEADY
@given(st.lists(questions, min_size=2, max_size=40))
async def test_windows_of_different_hosts_are_the_longer_delay_apart(
    frontier: Frontier, asked: list[tuple[int, str, int, int, int, bool]]
) -> None:
    await frontier.driver.command("FLUSHALL")
    opened = await Frontier.open(frontier.driver.url, partitions=4)
    try:
        now, tickets, windows = 0, dict.fromkeys("abcdef", 0), []
        for dt, host, delay, want, after, entitled in asked:
            now += dt
            ticket = tickets[host] if entitled else 0
            got = await ask(opened, host, now, delay=delay, want=want, after=after, ticket=ticket)
            if not got.end:
                tickets[host] = got.ticket
                assert got.start > now
                continue
            assert now + after <= got.start <= now + HORIZON
            assert LEAST <= got.end - got.start <= max(want, LEAST)
            windows.append((host, delay, got))
        for i, (host, delay, a) in enumerate(windows):
            for other, its, b in windows[:i]:
                if other != host:
                    assert a.start - b.end >= max(delay, its) or b.start - a.end >= max(delay, its)
    finally:
        await opened.close()


@pytest.mark.parametrize(("crowd", "delay"), [(3, 500), (40, 500), (300, 200)])
async def test_everybody_is_served_in_turn_with_few_questions(
    frontier: Frontier, crowd: int, delay: int
) -> None:
    """Hosts with three URLs each come when they were told to; none overtakes the others by far."""
    contacts = 3
    due = [(0, f"h{n}", 0) for n in range(crowd)]  # ms, host, ticket
    starts: list[tuple[int, str]] = []
    served: Counter[str] = Counter()
    questions = 0
    while due:
        now, host, ticket = heapq.heappop(due)
        got = await ask(frontier, host, now, delay=delay, want=4_000, ticket=ticket)
        questions += 1
        if not got.end:
            heapq.heappush(due, (got.start, host, got.ticket))
            continue
        starts.append((got.start, host))
        served[host] += 1
        if served[host] < contacts:
            heapq.heappush(due, (got.start + 1_000, host, 0))
    assert set(served.values()) == {contacts}
    starts.sort()
    assert all(b - a >= delay or g == h for (a, g), (b, h) in pairwise(starts))
    assert questions <= 2.2 * crowd * contacts
    assert starts[-1][0] <= contacts * max(crowd * (delay + LEAST), 1_000) + 20_000


# -- in local time


async def test_windows_in_local_time_are_on_the_safe_side(frontier: Frontier) -> None:
    clock, before = SharedClock(CLOCK, 0.3), boottime()
    a = await frontier.windows.reserve(clock, "a", want=0.2, ttl=60)
    after = boottime()
    b = await frontier.windows.reserve(clock, "b", want=9, ttl=60)
    assert isinstance(a, Window)
    assert isinstance(b, Window)
    assert before <= a.start <= after
    assert before < a.end <= before + 0.25 + (after - before)
    assert b.start >= a.end + 0.3
    later = await frontier.windows.reserve(clock, "b", earliest=b.start + 1, want=9, ttl=60)
    assert isinstance(later, Window)
    assert later.start >= b.start + 1
    assert later.start - b.start < 1 + (boottime() - before)


async def test_who_is_turned_away_is_told_for_how_long(frontier: Frontier) -> None:
    clock = SharedClock("example.org", 0.5)
    empty = await frontier.windows.reserve(clock, "a", short=False, ttl=60)
    assert isinstance(empty, Window)
    assert empty.end <= empty.start
    held = await frontier.windows.reserve(clock, "a", want=12, ttl=60)
    assert isinstance(held, Window)
    got = await frontier.windows.reserve(clock, "b", want=1, ttl=60)
    assert isinstance(got, TurnedAway)
    assert 12 < got.wait < 14
    more = await frontier.windows.reserve(clock, "c", short=False, ttl=60)
    assert isinstance(more, TurnedAway)
    assert more.ticket >= got.ticket + 0.5


async def test_a_partition_without_its_record_reserves_nothing(frontier: Frontier) -> None:
    await frontier.driver.command("DEL", keys.home(partition(CLOCK, frontier.partitions)))
    clock = SharedClock(CLOCK, 0.5)
    with pytest.raises(FrontierError, match="lost its state"):
        await frontier.windows.reserve(clock, "a", want=1, ttl=60)
