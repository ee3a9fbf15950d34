"""Deployment-wide records: jobs, budgets, workers, locks; and databases that are not ours."""

from __future__ import annotations

import asyncio

import pytest

from frontier import keys
from frontier.client import Frontier
from frontier.model import FrontierError
from frontier.registry import SegmentRecord
from tests.frontier.conftest import Served


async def test_partitions_are_fixed(frontier: Frontier, server: Served) -> None:
    with pytest.raises(FrontierError, match="has 4 partitions, not 8"):
        await Frontier.open(server.url, partitions=8)


async def test_a_foreign_database_is_refused(frontier: Frontier, server: Served) -> None:
    await frontier.driver.command("FLUSHALL")
    await frontier.driver.command("SET", "somebody", "else's")
    with pytest.raises(FrontierError, match="not Comity's"):
        await Frontier.open(server.url, partitions=4)


SOUND = {"schema": keys.SCHEMA, "partitions": "4", "secret": "00" * 16}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"x": "y"}, "schema none, not 4"),
        ({b"\xff": b"\xff"}, "schema none, not 4"),
        ({"schema": keys.SCHEMA}, "partitions"),
        (SOUND | {"partitions": "abc"}, "partitions"),
        (SOUND | {"partitions": "0"}, "partitions"),
        (SOUND | {"partitions": b"\xff"}, "partitions"),
        (SOUND | {"secret": "zz"}, "secret"),
        (SOUND | {"secret": ""}, "secret"),
        (SOUND | {"schema": "3"}, r"schema 3, not 4: .*the comity that made it"),
        (SOUND | {"schema": b"\xff"}, r"schema \\xff, not 4"),
        (SOUND | {"unfinished": b"\xff"}, "interrupted"),
        ("text", "WRONGTYPE"),
    ],
)
async def test_a_record_that_is_not_sound_is_one_clear_error(
    frontier: Frontier, server: Served, fields: dict[str, str] | str, said: str
) -> None:
    await frontier.driver.command("FLUSHALL")
    if isinstance(fields, str):
        await frontier.driver.command("SET", keys.META, fields)
    else:
        flat = [x for pair in fields.items() for x in pair]
        await frontier.driver.command("HSET", keys.META, *flat)
    for partitions in (4, None):
        with pytest.raises(FrontierError, match=said) as caught:
            await Frontier.open(server.url, partitions=partitions)
        assert "\n" not in str(caught.value)


async def test_an_unreachable_server_is_one_clear_error() -> None:
    with pytest.raises(FrontierError, match=r"redis://127\.0\.0\.1:1 cannot be reached"):
        await Frontier.open("redis://127.0.0.1:1")


async def test_the_password_stays_out_of_messages() -> None:
    with pytest.raises(FrontierError) as caught:
        await Frontier.open("redis://user:hunter2@127.0.0.1:1")
    assert "hunter2" not in str(caught.value)


async def test_not_a_redis_url() -> None:
    with pytest.raises(FrontierError, match="not a Redis URL"):
        await Frontier.open("http://127.0.0.1/")


async def test_one_of_many_completes_a_job(frontier: Frontier) -> None:
    registry = frontier.registry
    await registry.create_job("j", b"{}", credit=None)
    won = await asyncio.gather(
        *(registry.move_job("j", ("running",), state="completed") for _ in range(10))
    )
    assert sum(won) == 1
    record = await registry.job("j")
    assert record is not None
    assert record.state == "completed"
    assert [r.name for r in await registry.jobs()] == ["j"]


async def test_a_page_budget_is_never_overdrawn(frontier: Frontier) -> None:
    registry = frontier.registry
    await registry.create_job("j", b"{}", credit=10)
    taken = await asyncio.gather(*(registry.take_credit("j", 4, f"w{n}") for n in range(5)))
    assert sum(granted for granted, _ in taken) == 10
    assert await registry.take_credit("j", -3, "w", refunds=0) == (-3, 0)
    assert await registry.take_credit("j", 9, "w") == (3, 0)
    await registry.create_job("free", b"{}", credit=None)
    assert await registry.take_credit("free", 7, "w") == (7, 0)


async def test_what_was_refunded_is_not_given_back_again(frontier: Frontier) -> None:
    registry = frontier.registry
    await registry.create_job("j", b"{}", credit=10)
    assert await registry.take_credit("j", 10, "dead") == (10, 0)
    assert await registry.credit("j") == (0, 0)
    assert await registry.refund("j", 6, 0)
    assert not await registry.refund("j", 6, 0)  # a second one saw the same
    assert await registry.take_credit("j", -10, "dead", refunds=0) == (0, 1)
    assert await registry.credit("j") == (6, 1)


async def test_a_repeated_request_takes_nothing_more(frontier: Frontier) -> None:
    await frontier.registry.create_job("j", b"{}", credit=10)
    for _ in range(3):
        answer = await frontier.driver.script("credit", "{g}:job:j", [4, "w", "request", ""])
        assert answer == [4, 0]
    assert await frontier.registry.credit("j") == (6, 0)


async def test_workers_live_by_heartbeats(frontier: Frontier) -> None:
    await frontier.registry.beat("w1", 60)
    await frontier.registry.beat("w2", -1)
    assert await frontier.registry.living() == {"w1"}
    await frontier.registry.leave("w1")
    assert await frontier.registry.living() == set()


async def test_segments_are_recorded_until_dropped(frontier: Frontier) -> None:
    record = SegmentRecord("j", "w1")
    await frontier.registry.put_segment("s", record)
    assert await frontier.registry.segments() == {"s": record}
    await frontier.registry.drop_segment("s")
    assert await frontier.registry.segments() == {}


async def test_a_lock_has_one_holder(frontier: Frontier) -> None:
    registry = frontier.registry
    assert await registry.lock("commit", "a", 30)
    assert not await registry.lock("commit", "b", 30)
    assert await registry.lock("commit", "a", 30)
    assert await registry.lock("commit", "a", 0)
    assert await registry.lock("commit", "b", 30)


async def test_counts_add_up(frontier: Frontier) -> None:
    await frontier.registry.count("j", {"visits": 2, "bytes": 10})
    await frontier.registry.count("j", {"visits": 1})
    assert await frontier.registry.counted("j") == {"visits": 3, "bytes": 10}


async def test_lost_segments_are_remembered(frontier: Frontier) -> None:
    registry = frontier.registry
    assert (await registry.last_lost(), await registry.was_lost("a")) == ("", False)
    for name in ("a", "b"):
        await registry.put_segment(name, SegmentRecord("j", "w"))
    await registry.mark_lost("a")
    assert (await registry.last_lost(), await registry.was_lost("a")) == ("a", True)
    assert not await registry.was_lost("b")
    await registry.drop_segment("a")
    assert set(await registry.segments()) == {"b"}


async def test_a_job_remembers_whose_spider_it_is(frontier: Frontier) -> None:
    registry = frontier.registry
    await registry.create_job("any", b"{}")
    await registry.create_job("quotes", b"{}", spider="quotes")
    assert {r.name: r.spider for r in await registry.jobs()} == {"any": "", "quotes": "quotes"}
