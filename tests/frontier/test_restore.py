"""What a table tells of the past: visits seen and counted once, clocks that only move on."""

from __future__ import annotations

from frontier import inspect
from frontier.client import Frontier
from frontier.model import CrawlRequest, HostState, Limits
from frontier.restore import Past, hush, restore
from frontier.url import parse

JOB = "w/j"
NOW = 1_900_000_000


def past(frontier: Frontier, host: str, urls: range, ready: float, reason: str = "") -> Past:
    visits = tuple(
        (frontier.place(parse(f"http://{host}/{n}"))[1], reason if n % 2 else "") for n in urls
    )
    return Past(parse(f"http://{host}/"), ready, HostState(delay=2.0), visits)


async def test_visits_are_counted_once(frontier: Frontier) -> None:
    await frontier.registry.create_job(JOB, b"{}")
    pasts = [past(frontier, f"h{n}.test", range(700), 0, "robots-denied") for n in range(3)]
    first = await restore(frontier, JOB, pasts, budgets=False)
    assert first.visits == 2100
    again = await restore(frontier, JOB, pasts, budgets=False)
    assert again.visits == 0
    stats = await frontier.stats(JOB)
    assert (stats.accepted, stats.finished, stats.done) == (2100, 2100, 1050)
    assert stats.dropped == {"robots-denied": 1050}
    assert await inspect.check(frontier, [JOB], repair=False) == []


async def test_what_was_seen_is_not_taken_again_and_what_was_not_is(frontier: Frontier) -> None:
    await frontier.registry.create_job(JOB, b"{}")
    await restore(frontier, JOB, [past(frontier, "h.test", range(5), 0)], budgets=False)
    urls = [parse(f"http://h.test/{n}") for n in range(8)]
    added = await frontier.add(JOB, [(u, CrawlRequest(u.url)) for u in urls])
    assert (added.accepted, added.known) == (3, 5)
    later = CrawlRequest(urls[0].url, visit=2)
    assert (await frontier.add(JOB, [(urls[0], later)])).accepted == 1


async def test_the_latest_clock_and_its_state_stay(frontier: Frontier) -> None:
    frontier.now = f"{NOW}000"
    await frontier.registry.create_job(JOB, b"{}")
    for ready, delay in ((NOW + 5, 5.0), (NOW + 9, 9.0), (NOW + 7, 7.0)):
        known = Past(parse("http://h.test/"), ready, HostState(delay=delay), ())
        done = await restore(frontier, JOB, [known], budgets=False)
        assert done.hosts == int(delay == 5.0)
    view = await inspect.host(frontier, parse("http://h.test/"))
    assert (view.ready, view.state.delay) == (9.0, 9.0)
    url = parse("http://h.test/a")
    await frontier.add(JOB, [(url, CrawlRequest(url.url))])
    p, _ = frontier.place(url)
    for after, leases in ((8.9, 0), (9.0, 1)):
        frontier.now = str(NOW * 1000 + round(after * 1000))
        grant = await frontier.lease("w", [JOB], [p], hosts=1, urls=1, ttl=60)
        assert len(grant.leases) == leases, after


async def test_budgets_count_what_was_done(frontier: Frontier) -> None:
    await frontier.registry.create_job(JOB, b"{}")
    await restore(frontier, JOB, [past(frontier, "h.test", range(5), 0)], budgets=True)
    urls = [parse(f"http://h.test/new{n}") for n in range(4)]
    offers = [(u, CrawlRequest(u.url)) for u in urls]
    await frontier.add(JOB, offers, limits=Limits(host_budget=7))
    assert (await frontier.stats(JOB)).demoted == {"host-pages": 2}


async def test_nothing_is_leased_while_leases_of_a_lost_frontier_may_run(
    frontier: Frontier,
) -> None:
    await frontier.registry.create_job(JOB, b"{}")
    url = parse("http://h.test/")
    await frontier.add(JOB, [(url, CrawlRequest(url.url))])
    await hush(frontier, 30)
    p, _ = frontier.place(url)
    grant = await frontier.lease("w", [JOB], [p], hosts=1, urls=1, ttl=60)
    assert grant.leases == ()
    assert 29 < (grant.due[p] or 0) < 32
    seconds, _ = await frontier.driver.command("TIME")
    frontier.now = str((int(seconds) + 38) * 1000)  # a host of unknown delay rests for 5 s more
    grant = await frontier.lease("w", [JOB], [p], hosts=1, urls=1, ttl=60)
    assert len(grant.leases) == 1
