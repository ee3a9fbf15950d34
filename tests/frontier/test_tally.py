"""Trap counters on a real server: exact while they fit, bounded when they do not."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frontier.client import Frontier
from frontier.tally import KEEP, Tally, tally
from frontier.url import parse

STEADY = settings(
    derandomize=True,
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
A, B = parse("http://a.test/"), parse("http://b.test/")


async def pages(frontier: Frontier, *items: Tally, window: int = 0) -> list[tuple[int, int]]:
    return await tally(frontier, "j", items, window=window, marks=3)


async def test_counts_are_the_fleets_and_each_hosts_own(frontier: Frontier) -> None:
    assert await pages(frontier, Tally("p", A, "x", 5, 2), Tally("p", B, "x", 7, 1)) == [
        (5, 2),
        (7, 1),
    ]
    assert await pages(frontier, Tally("p", B, "x", 1), Tally("p", A, "x", 1, 1)) == [
        (8, 1),
        (6, 3),
    ]
    assert await tally(frontier, "other", [Tally("p", A, "x")], window=0, marks=0) == [(0, 0)]
    assert await pages(frontier) == []


async def test_many_items_keep_their_order(frontier: Frontier) -> None:
    urls = [parse(f"http://h{n % 70}.test/") for n in range(1500)]
    items = [Tally("p", url, f"f{n % 3}", n) for n, url in enumerate(urls)]
    found = await pages(frontier, *items)
    sums: dict[tuple[str, str], int] = {}
    for item, (a, _) in zip(items, found, strict=True):
        key = item.url.host, item.field
        sums[key] = sums.get(key, 0) + item.a
        assert a == sums[key]


async def test_the_first_marks_are_held_and_no_others(frontier: Frontier) -> None:
    async def ask(mark: str, field: str = "x") -> int:
        [(_, held)] = await pages(frontier, Tally("q", A, field, mark=mark))
        return held

    assert [await ask(m) for m in ("aaaa", "bbbb", "aaaa", "cccc", "dddd")] == [1, 1, 1, 1, 0]
    assert [await ask(m) for m in ("cccc", "aaaa", "dddd", "eeee")] == [1, 1, 0, 0]
    assert await ask("dddd", "y") == 1
    assert await pages(frontier, Tally("q", A, "x", 4)) == [(4, 0)]
    assert await ask("bbbb") == 1


async def test_a_window_forgets_the_distant_past(frontier: Frontier) -> None:
    async def fetch(n: int, new: int) -> tuple[int, int]:
        return (await pages(frontier, Tally("p", A, "x", n, new), window=400))[0]

    assert await fetch(399, 399) == (399, 399)
    assert await fetch(1, 0) == (200, 199)
    for _ in range(2000):
        a, b = await fetch(1, 0)
        assert 200 <= a < 400
    assert b == 0
    assert await fetch(10_000, 10_000) < (400, 400)


@STEADY
@given(st.lists(st.tuples(st.sampled_from("pq"), st.integers(0, 500), st.integers(1, 9))))
async def test_memory_is_bounded_and_what_is_told_was_seen(
    frontier: Frontier, adds: list[tuple[str, int, int]]
) -> None:
    for key in await frontier.driver.command("KEYS", "*:t[pq]:*"):  # of the example before
        await frontier.driver.command("DEL", key)
    seen: dict[tuple[str, int], int] = {}
    for kind, field, n in adds:
        seen[kind, field] = seen.get((kind, field), 0) + n
        [(a, _)] = await pages(frontier, Tally(kind, A, str(field), n))
        assert n <= a <= seen[kind, field]
    for key in await frontier.driver.command("KEYS", "*:t[pq]:*"):
        assert await frontier.driver.command("HLEN", key) <= 96


async def test_what_is_met_often_stays_among_thousands(frontier: Frontier) -> None:
    for n in range(0, 3000, 50):
        rare = [Tally("p", A, f"rare{n + k}", 1) for k in range(50)]
        often = [Tally("p", A, "often", 1, 0) for _ in range(5)]
        found = await pages(frontier, *rare, *often)
    [key] = await frontier.driver.command("KEYS", "*:tp:*")
    assert await frontier.driver.command("HLEN", key) == 96
    assert await frontier.driver.command("MEMORY", "USAGE", key) < 8_000
    assert found[-1] == (300, 0)
    assert 0 < await frontier.driver.command("TTL", key) <= KEEP


async def test_workers_side_by_side_lose_no_count(frontier: Frontier) -> None:
    async def worker(name: str) -> None:
        for n in range(50):
            await pages(frontier, Tally("p", A, "x", 1, 1), Tally("q", A, f"{name}{n % 5}", 1))

    await asyncio.gather(*(worker(name) for name in "abcd"))
    assert await pages(frontier, Tally("p", A, "x"), Tally("q", A, "a0")) == [(200, 200), (10, 0)]


async def test_an_unknown_kind_of_counter_is_refused(frontier: Frontier) -> None:
    from frontier.model import FrontierError

    with pytest.raises(FrontierError):
        await pages(frontier, Tally("z", A, "x", 1))
