"""Looking into a frontier: what is shown is what is there, and damage is found and mended."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from frontier import inspect, keys
from frontier.client import Frontier
from frontier.model import CrawlRequest, FrontierError, HostState, Limits, UrlResult
from frontier.url import parse
from tests.frontier.conftest import Served

JOB = "w/j"


@pytest.fixture
async def busy(frontier: Frontier) -> Frontier:
    """Every state that a URL can be in."""
    frontier.now = frontier.tails.now = "1900000000000"
    await frontier.registry.create_job(JOB, b"{}")
    for name in ("a.test", "b.test:8080", "c.test"):
        urls = [parse(f"http://{name}/{n}") for n in range(40)]
        offers = [(u, CrawlRequest(u.url, priority=n % 4)) for n, u in enumerate(urls)]
        await frontier.add(JOB, offers, limits=Limits(host_cap=20))
    for n in range(2):
        p, _ = frontier.place(parse(f"http://{('a.test', 'b.test:8080')[n]}/"))
        grant = await frontier.lease(f"w{n}", [JOB], [p], hosts=1, urls=6, ttl=60)
        held = grant.leases[0]
        fps = [u.fp for u in held.urls]
        results = [UrlResult(fps[0], "pending", f"s{n}"), UrlResult(fps[1], "pending", f"s{n}", "")]
        results += [UrlResult(fps[2], "retry", "", "reset", 60)]
        state = HostState(delay=2.0, blocked_until=1900000009.0, blocked_reason="retry-after")
        await frontier.report(held, results, state=state, wait=9, free=n == 0)
    await frontier.settle("s0", range(4))
    return frontier


async def test_a_sound_frontier_has_no_findings(busy: Frontier) -> None:
    assert await inspect.check(busy, [JOB], repair=False) == []


async def test_wrong_counters_are_found_and_mended(busy: Frontier) -> None:
    p, _ = busy.place(parse("http://a.test/"))
    await busy.driver.command("HINCRBY", keys.counters(p, JOB), "queued", 5)
    await busy.driver.command("HINCRBY", keys.counters(p, JOB), "accepted", -1)
    before = await busy.stats(JOB)
    found = await inspect.check(busy, [JOB], repair=False)
    assert {(f.part, f.counted - f.real) for f in found} == {("queued", 5), ("accepted", -1)}
    assert len(list(inspect.problems(found))) == 2
    assert await inspect.check(busy, [JOB], repair=True) == found
    assert await inspect.check(busy, [JOB], repair=False) == []
    after = await busy.stats(JOB)
    assert (after.queued, after.accepted) == (before.queued - 5, before.accepted + 1)


async def test_a_queue_that_nobody_looks_at_is_found_and_served_again(busy: Frontier) -> None:
    p, _ = busy.place(parse("http://c.test/"))
    await busy.driver.command("ZREM", f"{keys.tag(p)}:r:{JOB}", "c.test")
    found = await inspect.check(busy, [JOB], repair=True)
    assert [(f.part, f.hosts) for f in found] == [("stranded", ("c.test",))]
    assert await inspect.check(busy, [JOB], repair=False) == []


async def test_a_lease_that_no_deadline_ends_is_found_and_ended(busy: Frontier) -> None:
    [name] = [line.host async for line in inspect.hosts(busy, JOB) if line.worker]
    p, _ = busy.place(parse(f"http://{name}/"))
    await busy.driver.command("ZREM", f"{keys.tag(p)}:l", name)
    found = await inspect.check(busy, [JOB], repair=False)
    assert [(f.part, f.hosts) for f in found] == [("endless", (name,))]
    assert next(iter(inspect.problems(found))).endswith(f"would never end: {name}")
    await inspect.check(busy, [JOB], repair=True)
    assert await inspect.check(busy, [JOB], repair=False) == []
    busy.now = str(int(busy.now or 0) + 61_000)
    await busy.lease("w9", [JOB], [p], hosts=1, urls=1, ttl=60)
    assert (await busy.stats(JOB)).leased == 1  # what the lost lease had is queued again


@pytest.mark.parametrize("command", [("HINCRBY", 3), ("HDEL",)])
async def test_spilled_urls_that_are_miscounted_are_found_and_mended(
    busy: Frontier, command: tuple[str, ...]
) -> None:
    p, _ = busy.place(parse("http://c.test/"))
    before = await busy.driver.command("HGETALL", f"{keys.tag(p)}:v:{JOB}")
    place = min(place for place in before if place.endswith(b"c.test"))
    await busy.driver.command(command[0], f"{keys.tag(p)}:v:{JOB}", place, *command[1:])
    found = await inspect.check(busy, [JOB], repair=False)
    assert [(f.part, f.hosts) for f in found] == [("miscounted", ("c.test",))]
    assert await inspect.check(busy, [JOB], repair=True) == found
    assert await busy.driver.command("HGETALL", f"{keys.tag(p)}:v:{JOB}") == before


async def test_accepted_urls_that_are_nowhere_are_told_and_end_as_lost(busy: Frontier) -> None:
    p, _ = busy.place(parse("http://c.test/"))
    before = await busy.stats(JOB)
    assert await busy.driver.command("RPOP", f"{keys.tag(p)}:q:{JOB}:0:c.test")
    found = await inspect.check(busy, [JOB], repair=True)
    assert [f.part for f in found] == ["accepted", "queued"]
    assert next(iter(inspect.problems(found))).endswith(
        "1 accepted URLs are nowhere: they are lost"
    )
    after = await busy.stats(JOB)
    assert (after.accepted, after.finished) == (before.accepted, before.finished + 1)
    assert after.dropped["lost"] == 1
    assert await inspect.check(busy, [JOB], repair=False) == []


async def test_urls_of_a_job_that_nobody_knows_are_told_and_left(busy: Frontier) -> None:
    url = parse("http://a.test/")
    p, _ = busy.place(url)
    await busy.add("w/gone", [(url, CrawlRequest(url.url))])
    for repair in (True, False):
        [found] = await inspect.check(busy, [JOB], repair=repair)
        assert (found.job, found.partition, found.part) == ("w/gone", p, "unknown")
        assert (found.hosts, found.mends) == (("a.test",), False)


async def test_hosts_are_listed_with_what_holds_them_back(busy: Frontier) -> None:
    lines = {line.host: line async for line in inspect.hosts(busy, JOB, page=1)}
    assert set(lines) == {"a.test", "b.test:8080", "c.test"}
    stats = await busy.stats(JOB)
    assert sum(line.queued for line in lines.values()) == stats.queued
    assert sum(line.spilled for line in lines.values()) == stats.spilled
    assert sorted(line.blocked for line in lines.values()) == ["", "retry-after", "retry-after"]
    assert [line.worker for line in lines.values() if line.worker] == ["w1"]


async def test_a_host_is_shown_with_clock_holder_and_shares(busy: Frontier) -> None:
    [name] = [line.host async for line in inspect.hosts(busy, JOB) if line.worker]
    view = await inspect.host(busy, parse(f"http://{name}/"))
    assert (view.worker, view.job, view.leased) == ("w1", JOB, 3)
    assert (view.ready, view.lease_ends) == (9.0, 60.0)
    assert view.state.blocked_reason == "retry-after"
    assert sum(view.shares[0].queued) + sum(view.shares[0].spilled) == 34
    unknown = await inspect.host(busy, parse("http://never.test/"))
    assert (unknown.shares, unknown.lease_ends, unknown.ready) == ((), None, 0.0)


async def test_peek_shows_what_comes_next(busy: Frontier) -> None:
    expected = await inspect.peek(busy, JOB, parse("http://c.test/"), 4)
    p, _ = busy.place(parse("http://c.test/"))
    grant = await busy.lease("w9", [JOB], [p], hosts=4, urls=4, ttl=60)
    [held] = [lease for lease in grant.leases if lease.host == "c.test"]
    assert list(held.urls) == expected


async def test_what_was_set_aside_is_tried_again(busy: Frontier) -> None:
    url = parse("http://c.test/")
    p, _ = busy.place(url)
    batch = await busy.tails.spill_read(JOB, p)
    others = Counter((i.cls, i.host) for i in batch.items)
    groups = [(cls, host, n) for (cls, host), n in others.items()]
    await busy.tails.spill_done(JOB, p, batch.offset, len(batch.items), "gone", groups)
    await busy.lease("w", [JOB], [p], hosts=8, urls=20, ttl=60)
    for want in await busy.tails.refill_wanted(JOB, p, cap=20):
        await busy.tails.spill_quarantine(JOB, p, want)
    aside = (await busy.stats(JOB)).quarantined
    assert aside > 0
    assert await inspect.check(busy, [JOB], repair=False) == []
    [found] = await inspect.check(busy, [JOB], repair=True)
    assert (found.part, found.counted) == ("set aside", aside)
    stats = await busy.stats(JOB)
    assert stats.quarantined == 0
    assert await inspect.check(busy, [JOB], repair=False) == []
    assert await busy.tails.refill_wanted(JOB, p, cap=20)


async def test_there_is_no_frontier_to_look_into(frontier: Frontier, server: Served) -> None:
    await frontier.driver.command("FLUSHALL")
    with pytest.raises(FrontierError, match="holds no frontier"):
        await Frontier.open(server.url, partitions=None)
    assert await frontier.driver.command("DBSIZE") == 0


async def test_many_may_found_it_at_once(frontier: Frontier, server: Served) -> None:
    await frontier.driver.command("FLUSHALL")
    opened = await asyncio.gather(*(Frontier.open(server.url, partitions=4) for _ in range(8)))
    url = parse("http://a.test/")
    assert len({each.place(url) for each in opened}) == 1
    await opened[0].add(JOB, [(url, CrawlRequest(url.url))])
    for each in opened:
        await each.close()
