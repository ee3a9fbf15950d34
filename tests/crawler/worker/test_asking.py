"""What a worker asks the frontier for, and when."""

from __future__ import annotations

import pytest

from crawler.worker.asking import HOSTS, SHORTEST, SPARE, SWEEP, Ask, Asking

TWO = {"a": 1, "b": 3}


def test_all_jobs_are_asked_for_while_turns_are_free() -> None:
    asking = Asking(4, turns=100)
    assert asking.plan(0.0, TWO, {}) == Ask(["a", "b"], [0, 1, 2, 3], HOSTS)
    assert asking.plan(0.0, TWO, {"a": 88}) == Ask(["a", "b"], [0, 1, 2, 3], 3)
    assert asking.plan(0.0, {}, {}) is None


def test_no_more_hosts_are_asked_for_than_there_are_turns() -> None:
    asking = Asking(4, turns=100)
    for room in range(1, 40):
        ask = asking.plan(0.0, TWO, {"a": 100 - room})
        assert ask is not None
        assert len(ask.partitions) * ask.hosts <= room


def test_partitions_take_turns_when_there_is_room_for_one() -> None:
    asking, asked = Asking(3, turns=100), []
    for i in range(1, 7):
        ask = asking.plan(float(i), TWO, {"a": 99})
        assert ask is not None
        asked += ask.partitions
        asking.told(
            ask, dict.fromkeys(ask.partitions, 0.0), ask.partitions, float(i)
        )  # there is more
    assert asked == [0, 1, 2, 0, 1, 2]


def test_a_job_below_its_share_gets_spare_turns_when_all_are_taken() -> None:
    asking = Asking(2, turns=100)
    ask = asking.plan(0.0, TWO, {"a": 30, "b": 70})
    assert ask == Ask(["b"], [0, 1], 2, spare=True)  # 5 of 75 are lacking
    assert asking.plan(0.0, TWO, {"a": 25, "b": 75}) is None  # each has its share
    assert asking.plan(0.0, {"a": 1}, {"a": 100}) is None  # nobody to share with
    last = asking.plan(0.0, TWO, {"a": 99 + SPARE})
    assert last == Ask(["b"], [0], 1, spare=True)
    assert asking.plan(0.0, TWO, {"a": 100 + SPARE}) is None


def test_what_a_job_below_its_share_has_not_does_not_hide_what_others_have() -> None:
    asking, full = Asking(1, turns=100), {"a": 100}
    ask = asking.plan(0.0, TWO, full)
    assert ask is not None
    asking.told(ask, {0: None}, (), 0.0)  # b has nothing there
    assert asking.plan(0.1, TWO, full) is None
    assert asking.rest(0.1, TWO, full) == SWEEP - 0.1
    assert asking.plan(0.1, TWO, {"a": 99}) is not None  # a still has
    asking.note({0: 0.1}, 0.1)
    assert asking.plan(0.2, TWO, full) == Ask(["b"], [0], HOSTS, spare=True)


def test_it_rests_until_a_host_is_due_and_never_long() -> None:
    asking = Asking(2)
    ask = asking.plan(0.0, TWO, {})
    assert ask is not None
    asking.told(ask, {0: 0.2, 1: 60.0}, (), 0.0)
    assert asking.due(0.1) == []
    assert asking.rest(0.1, TWO, {}) == 0.1
    assert asking.rest(0.3, TWO, {}) == SHORTEST
    assert asking.due(0.5) == [0, 1]
    assert asking.rest(0.3, {}, {}) == SWEEP


def test_who_comes_too_late_asks_less_often_until_it_gets_something() -> None:
    asking, now, pauses = Asking(1), 0.0, []
    asking.note({0: 0.0}, now)
    for granted in [()] * 9 + [(0,)]:
        ask = asking.plan(now, TWO, {})
        assert ask is not None
        asking.told(ask, {0: 0.0}, granted, now)  # there is always something, for others
        pauses.append(asking.rest(now, TWO, {}))
        now += pauses[-1]
    assert pauses == pytest.approx([SHORTEST * 2**n for n in range(7)] + [SWEEP, SWEEP, SHORTEST])


def test_a_look_that_expected_nothing_is_not_too_late() -> None:
    asking = Asking(1)
    for i in range(4):
        ask = asking.plan(float(i), TWO, {})
        assert ask is not None
        asking.told(ask, {0: None}, (), float(i))
    asking.note({0: 0.0}, 4.0)  # one of our own
    assert asking.plan(4.0, TWO, {}) is not None
