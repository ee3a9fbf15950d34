"""The frontier's contract, on a real server. Time is injected, so nothing sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from frontier import keys
from frontier.client import FencedSegment, Frontier, Requeued, StaleLease
from frontier.model import CrawlRequest, FrontierStats, HostState, Lease, Limits, UrlResult
from frontier.url import parse
from tests.frontier.conftest import Served

JOB = "j"
T0 = 1_900_000_000_000


@pytest.fixture(autouse=True)
def clock(frontier: Frontier) -> None:
    frontier.now = str(T0)


def later(frontier: Frontier, seconds: float) -> None:
    frontier.now = str(int(frontier.now) + int(seconds * 1000))


async def add(frontier: Frontier, *urls: str, priority: int = 2) -> tuple[int, int]:
    offers = [(parse(u), CrawlRequest(parse(u).url, priority=priority)) for u in urls]
    added = await frontier.add(JOB, offers)
    return added.accepted, added.known


async def lease(
    frontier: Frontier, worker: str = "w", hosts: int = 8, urls: int = 8
) -> list[Lease]:
    grant = await frontier.lease(
        worker, [JOB], range(frontier.partitions), hosts=hosts, urls=urls, ttl=60
    )
    return list(grant.leases)


async def give_back(
    frontier: Frontier, held: Lease, results: Sequence[UrlResult] = (), wait: float = 0.0
) -> None:
    await frontier.report(held, results, state=HostState(delay=wait), wait=wait, free=True)


def pending(held: Lease, segment: str = "s1", reason: str = "") -> list[UrlResult]:
    return [UrlResult(u.fp, "pending", segment, reason) for u in held.urls]


def adds_up(stats: FrontierStats) -> bool:
    parts = stats.queued + stats.leased + stats.pending + stats.waiting + stats.done
    return stats.accepted == parts + sum(stats.dropped.values())


async def test_a_url_is_accepted_once(frontier: Frontier) -> None:
    assert await add(frontier, "http://a.test/1", "http://a.test/1", "http://a.test/2") == (2, 1)
    assert await add(frontier, "http://a.test/2#frag") == (0, 1)
    stats = await frontier.stats(JOB)
    assert (stats.accepted, stats.queued, stats.seen) == (2, 2, 2)


async def test_seen_is_exact_and_compact_past_many_bucket_splits(frontier: Frontier) -> None:
    urls = [f"http://big.test/{i}" for i in range(5_000)]
    offers = [(parse(u), CrawlRequest(u)) for u in urls]
    for accepted, known in ((5_000, 0), (0, 5_000)):
        added = await frontier.add(JOB, offers, limits=Limits(host_cap=0))
        assert (added.accepted, added.known) == (accepted, known)
    p, _ = frontier.place(parse(urls[0]))
    sizes = []
    for key in await frontier.driver.command("KEYS", f"{{f{p}}}:s:{JOB}:*"):
        assert await frontier.driver.command("OBJECT", "ENCODING", key) == b"intset"
        sizes.append(await frontier.driver.command("SCARD", key))
    assert sum(sizes) == 5_000
    assert max(sizes) < 512


async def test_one_host_one_holder(frontier: Frontier) -> None:
    await add(frontier, *(f"http://a.test/{i}" for i in range(20)))
    first = await lease(frontier, "w1", urls=3)
    assert [len(x.urls) for x in first] == [3]
    assert await lease(frontier, "w2") == []
    await give_back(frontier, first[0])
    assert len(await lease(frontier, "w2")) == 1


async def test_concurrent_leases_never_share_a_host(frontier: Frontier) -> None:
    await add(frontier, *(f"http://h{i}.test/" for i in range(200)))
    grants = await asyncio.gather(*(lease(frontier, f"w{i}", hosts=100) for i in range(8)))
    hosts = [x.host for grant in grants for x in grant]
    assert len(hosts) == len(set(hosts)) == 200


async def test_never_early(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1", "http://a.test/2")
    held = (await lease(frontier, urls=1))[0]
    await give_back(frontier, held, pending(held), wait=2.0)
    later(frontier, 1.9)
    assert await lease(frontier) == []
    later(frontier, 0.1)
    assert len(await lease(frontier)) == 1


async def test_time_never_runs_backwards(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1", "http://a.test/2")
    held = (await lease(frontier, urls=1))[0]
    await give_back(frontier, held, pending(held), wait=1.0)
    later(frontier, -3600)  # a clock set back
    again = await lease(frontier, "w2")
    assert again == []
    later(frontier, 3601)
    assert len(await lease(frontier)) == 1


async def test_a_slow_host_gets_one_url_per_lease(frontier: Frontier) -> None:
    await add(frontier, *(f"http://a.test/{i}" for i in range(9)))
    held = (await lease(frontier, urls=2))[0]
    await give_back(frontier, held, pending(held), wait=6.0)
    later(frontier, 6)
    assert [len(x.urls) for x in await lease(frontier)] == [1]


async def test_fifo_within_a_class_and_classes_in_order(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/deep1", "http://a.test/deep2")
    await add(frontier, "http://a.test/seed", priority=0)
    held = (await lease(frontier))[0]
    assert [u.request.url.rsplit("/", 1)[1] for u in held.urls] == ["seed", "deep1", "deep2"]


async def test_a_request_survives_the_queue_whole(frontier: Frontier) -> None:
    url = parse("https://a.test:8443/p?q=1")
    sent = CrawlRequest(url.url, 3, "sitemap", 2, 5, "http://b.test/via", 1, 0, 1, "reset")
    await frontier.add(JOB, [(url, sent)])
    held = (await lease(frontier))[0]
    assert held.host == "a.test:8443"
    assert held.urls[0].request == sent


async def test_state_travels_with_the_host(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1", "http://a.test/2")
    held = (await lease(frontier, urls=1))[0]
    state = HostState(delay=0.5, failures=2, blocked_reason="retry-after")
    await frontier.report(held, pending(held), state=state, wait=0.5, free=True)
    later(frontier, 0.5)
    assert (await lease(frontier))[0].state == state


async def test_done_means_durable(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1", "http://a.test/2", "http://a.test/3")
    held = (await lease(frontier))[0]
    fps = [u.fp for u in held.urls]
    await give_back(
        frontier,
        held,
        [
            UrlResult(fps[0], "pending", "s1"),
            UrlResult(fps[1], "pending", "s1", "robots-denied"),
            UrlResult(fps[2], "retry", "", "reset", 3.0),
        ],
    )
    stats = await frontier.stats(JOB)
    assert (stats.pending, stats.waiting, stats.done) == (2, 1, 0)
    assert adds_up(stats)
    sealed = await frontier.seal("s1", range(4))
    assert sorted(fp for part in sealed.values() for fp in part) == sorted(fps[:2])
    await frontier.settle("s1", range(4))
    await frontier.settle("s1", range(4))  # a replay changes nothing
    stats = await frontier.stats(JOB)
    assert (stats.done, stats.dropped, stats.pending) == (1, {"robots-denied": 1}, 0)
    assert (stats.finished, stats.waiting) == (2, 1)
    assert adds_up(stats)


async def test_a_retry_comes_back_when_due_with_its_attempt_counted(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1")
    held = (await lease(frontier))[0]
    await give_back(frontier, held, [UrlResult(held.urls[0].fp, "retry", "", "http-503", 5.0)])
    later(frontier, 4.9)
    assert await lease(frontier) == []
    later(frontier, 0.1)
    request = (await lease(frontier))[0].urls[0].request
    assert (request.attempts, request.reason) == (1, "http-503")


@pytest.mark.parametrize("action", ["pending", "return"])
async def test_urls_that_are_given_back_come_again_in_their_order(
    frontier: Frontier, action: str
) -> None:
    await add(frontier, *(f"http://a.test/{i}" for i in range(6)))
    held = (await lease(frontier, urls=4))[0]
    segment = "seg" if action == "pending" else ""
    await give_back(frontier, held, [UrlResult(held.urls[2].fp, action, segment)])
    held = (await lease(frontier))[0]
    left = "01345" if action == "pending" else "012345"
    assert "".join(u.request.url[-1] for u in held.urls) == left
    assert all(u.request.attempts == u.request.losses == 0 for u in held.urls)


async def test_many_urls_of_a_lease_may_wait(frontier: Frontier) -> None:
    """More than Lua unpacks."""
    urls = [parse(f"http://a.test/{i}") for i in range(5_000)]
    await frontier.add(JOB, [(u, CrawlRequest(u.url)) for u in urls], limits=Limits(host_cap=0))
    held = (await lease(frontier, urls=5_000))[0]
    results = [UrlResult(u.fp, "retry", "", "reset", 1.0) for u in held.urls]
    await give_back(frontier, held, results)
    stats = await frontier.stats(JOB)
    assert (stats.waiting, stats.leased) == (5_000, 0)


@pytest.mark.parametrize("segment", ["s1", ""])
async def test_a_segment_is_of_one_job_and_has_a_name(frontier: Frontier, segment: str) -> None:
    held = []
    for job in (JOB, "other"):
        url = parse(f"http://{job}.one.com/")
        await frontier.add(job, [(url, CrawlRequest(url.url))])
        grant = await frontier.lease("w", [job], range(4), hosts=1, urls=8, ttl=60)
        held += grant.leases
    await give_back(frontier, held[0], pending(held[0], "s1"))
    with pytest.raises(FencedSegment):
        await give_back(frontier, held[1], pending(held[1], segment))
    stats = await frontier.stats("other")
    assert (stats.leased, stats.pending) == (1, 0)


async def test_a_token_from_before_a_loss_of_all_state_is_stale(
    frontier: Frontier, server: Served
) -> None:
    await add(frontier, "http://a.test/1")
    old = (await lease(frontier))[0]
    await frontier.driver.command("FLUSHALL")
    await (await Frontier.open(server.url, partitions=4)).close()
    later(frontier, 1)
    await add(frontier, "http://a.test/1")
    held = (await lease(frontier, "w2"))[0]
    assert old.token < held.token < 2**46
    with pytest.raises(StaleLease):
        await give_back(frontier, old, pending(held))


async def test_a_lost_lease_is_reaped_and_its_holder_is_fenced(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1", "http://a.test/2")
    lost = (await lease(frontier, "w1", urls=1))[0]
    later(frontier, 61)
    held = (await lease(frontier, "w2"))[0]
    assert held.token > lost.token
    assert [u.request.losses for u in held.urls] == [1]  # alone from now on
    with pytest.raises(StaleLease):
        await give_back(frontier, lost, pending(lost))
    assert (await frontier.renew([lost, held], 60))[lost] is None
    assert (await frontier.stats(JOB)).leased == 1


async def test_a_suspect_that_was_not_begun_has_no_part_in_a_loss(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1")
    for losses, begun in ((0, False), (1, False), (1, True), (2, False), (2, True), (3, False)):
        held = (await lease(frontier))[0]
        assert [u.request.losses for u in held.urls] == [losses]
        if begun:
            assert await frontier.begin(held)
        later(frontier, 61)
    await lease(frontier)
    assert not await frontier.begin(held)


async def test_a_url_that_was_begun_and_given_back_is_not_begun_again(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1")
    await lease(frontier)
    later(frontier, 61)
    held = (await lease(frontier))[0]
    assert await frontier.begin(held)
    await give_back(frontier, held, [])
    assert [u.request.losses for u in (await lease(frontier))[0].urls] == [1]
    later(frontier, 61)
    assert [u.request.losses for u in (await lease(frontier))[0].urls] == [1]


async def test_a_reaped_hosts_clock_runs_from_the_deadline(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1", "http://a.test/2")
    held = (await lease(frontier, urls=1))[0]
    await give_back(frontier, held, pending(held), wait=4.0)
    later(frontier, 4)
    await lease(frontier, "w1")  # deadline in 60 s, and then nothing more is heard
    later(frontier, 63.9)
    assert await lease(frontier, "w2") == []
    later(frontier, 0.1)
    assert len(await lease(frontier, "w2")) == 1


async def test_renewal_keeps_a_lease(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1")
    held = (await lease(frontier, "w1"))[0]
    later(frontier, 50)
    renewed = (await frontier.renew([held], 60))[held]
    assert renewed is not None
    later(frontier, 50)
    assert await lease(frontier, "w2") == []
    await give_back(frontier, renewed, pending(renewed))


async def test_a_retried_lease_call_gets_the_same_grant(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1", "http://b.test/1")
    p, _ = frontier.place(parse("http://a.test/1"))
    args = [frontier.now, "w", "request-1", 60_000, 1, 8, 5_000, 32, JOB, 1]
    first = await frontier.driver.script("lease", keys.home(p), args)
    assert await frontier.driver.script("lease", keys.home(p), args) == first
    assert len(first) == 5


async def test_a_retried_lease_call_gives_nothing_that_is_anothers_by_now(
    frontier: Frontier,
) -> None:
    await add(frontier, "http://a.test/1", "http://a.test/2")
    p, _ = frontier.place(parse("http://a.test/1"))
    args = [frontier.now, "w1", "request-1", 60_000, 1, 1, 5_000, 32, JOB, 1]
    first = await frontier.driver.script("lease", keys.home(p), args)
    assert len(first) == 5
    later(frontier, 61)
    [held] = await lease(frontier, "w2")
    args[0] = frontier.now
    assert (await frontier.driver.script("lease", keys.home(p), args))[4:] == []
    await give_back(frontier, held, pending(held))  # it is the other's still


@pytest.mark.parametrize("said", [[0, 0], [0, -1], [-1, -2]])
async def test_only_what_was_leased_is_taken_for_the_whole_of_a_lease(
    frontier: Frontier, said: list[int]
) -> None:
    """As many reports as URLs, but not of each."""
    await add(frontier, "http://a.test/1", "http://a.test/2")
    [held] = await lease(frontier)
    fps = [held.urls[n].fp if n >= 0 else str(n + 9) for n in said]
    results = [UrlResult(fp, "pending", "s1") for fp in fps]
    await frontier.report(held, results, state=HostState(), wait=0, free=True)
    stats = await frontier.stats(JOB)
    told = len({n for n in said if n >= 0})
    assert (stats.pending, stats.queued) == (told, 2 - told)


async def test_recovery_of_an_unsealed_segment_requeues_and_fences(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1", "http://a.test/2")
    held = (await lease(frontier, urls=1))[0]
    await give_back(frontier, held, pending(held, "dead"))
    assert await frontier.requeue("dead", aborted=False) == Requeued(1)
    stats = await frontier.stats(JOB)
    assert (stats.queued, stats.pending, stats.refetched) == (2, 0, 1)
    with pytest.raises(FencedSegment):
        await frontier.seal("dead", range(4))
    held = (await lease(frontier, urls=1))[0]
    with pytest.raises(FencedSegment):
        await give_back(frontier, held, pending(held, "dead"))
    assert (await frontier.stats(JOB)).leased == 1  # nothing moved


async def test_recovery_of_a_sealed_segment_needs_the_abort(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1")
    held = (await lease(frontier))[0]
    await give_back(frontier, held, pending(held, "s"))
    await frontier.seal("s", range(4))
    assert await frontier.requeue("s", aborted=False) == Requeued(0, sealed=True)
    assert (await frontier.stats(JOB)).pending == 1
    assert await frontier.requeue("s", aborted=True) == Requeued(1)


async def test_recovery_of_a_segment_sealed_in_part_counts_all_that_it_puts_back(
    frontier: Frontier,
) -> None:
    urls = [f"http://h{n}.test/" for n in range(40)]
    await add(frontier, *urls)
    found = [held for _ in range(5) for held in await lease(frontier)]
    for held in found:
        await give_back(frontier, held, pending(held, "s"))
    in_last = sum(held.partition == 3 for held in found)
    await frontier.seal("s", [3])  # and then its owner dies
    assert await frontier.requeue("s", aborted=False) == Requeued(40 - in_last, sealed=True)
    assert await frontier.requeue("s", aborted=True) == Requeued(in_last)
    assert (await frontier.stats(JOB)).refetched == 40


async def test_a_url_requeued_elsewhere_is_no_row_of_the_late_owner(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1")
    lost = (await lease(frontier, "w1"))[0]
    later(frontier, 61)
    held = (await lease(frontier, "w2"))[0]
    await give_back(frontier, held, pending(held, "s2"))
    with pytest.raises(StaleLease):
        await give_back(frontier, lost, pending(lost, "s1"))
    assert not any((await frontier.seal("s1", range(4))).values())


async def test_claim_leases_an_idle_host_and_honours_its_clock(frontier: Frontier) -> None:
    url = parse("http://a.test/robots.txt")
    held, wait = await frontier.claim("w", JOB, url, ttl=60)
    assert held is not None
    assert wait == 0
    again, wait = await frontier.claim("w2", JOB, url, ttl=60)
    assert again is None
    assert wait > 0
    await give_back(frontier, held, wait=2.0)
    assert await frontier.claim("w", JOB, url, ttl=60) == (None, 2.0)


async def test_two_jobs_share_a_hosts_one_clock(frontier: Frontier) -> None:
    offer = [(parse("http://a.test/"), CrawlRequest("http://a.test/"))]
    await frontier.add("j1", offer)
    await frontier.add("j2", offer)
    grant = await frontier.lease("w", ["j1", "j2"], range(4), hosts=8, urls=8, ttl=60)
    assert [x.job for x in grant.leases] == ["j1"]
    await give_back(frontier, grant.leases[0], pending(grant.leases[0]), wait=3.0)
    later(frontier, 2.9)
    assert not (await frontier.lease("w", ["j2"], range(4), hosts=8, urls=8, ttl=60)).leases
    later(frontier, 0.2)
    assert (await frontier.lease("w", ["j2"], range(4), hosts=8, urls=8, ttl=60)).leases


async def test_unreached_tells_what_holds_urls_back(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1", "http://a.test/2", "http://b.test/", "http://c.test/")
    for held in await lease(frontier, urls=1):
        if held.host == "a.test":
            state = HostState(blocked_reason="parked")
            await frontier.report(held, [], state=state, wait=86_400, free=True)
        elif held.host == "b.test":
            await give_back(frontier, held, [UrlResult(held.urls[0].fp, "retry", "", "reset", 900)])
        else:
            await give_back(frontier, held)
    assert await frontier.unreached(JOB, "max-wait") == {"parked": 2, "reset": 1, "max-wait": 1}


async def test_scripts_survive_a_flush_of_the_script_cache(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1", "http://b.test/1")
    await frontier.driver.command("SCRIPT", "FLUSH")
    assert await add(frontier, "http://a.test/1", "http://b.test/1", "http://c.test/1") == (1, 2)
    assert len(await lease(frontier)) == 3


async def test_stats_say_when_the_next_host_is_due(frontier: Frontier) -> None:
    assert (await frontier.stats(JOB)).next_ready is None
    await add(frontier, "http://a.test/1", "http://a.test/2")
    held = (await lease(frontier, urls=1))[0]
    await give_back(frontier, held, pending(held), wait=7.0)
    stats = await frontier.stats(JOB)
    assert stats.next_ready == 7.0
    assert (stats.hosts_ready, stats.hosts_waiting) == (0, 1)


async def test_stats_count_the_hosts_of_their_job(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1", "http://b.test/1")
    others = [parse(f"http://o{n}.test/") for n in range(6)]
    await frontier.add("other", [(url, CrawlRequest(url.url)) for url in others])
    for _ in others:
        await frontier.lease("w", ["other"], range(4), hosts=8, urls=8, ttl=60)
    stats = await frontier.stats(JOB)
    assert (stats.hosts_ready, stats.hosts_leased, stats.hosts_waiting) == (2, 0, 0)
    held = await lease(frontier)
    await give_back(frontier, held[0], wait=7.0)
    stats = await frontier.stats(JOB)
    assert (stats.hosts_ready, stats.hosts_leased, stats.hosts_waiting) == (0, 1, 1)
    assert (await frontier.stats("other")).hosts_leased == 6


async def test_a_url_that_was_out_on_a_lost_lease_is_leased_alone(frontier: Frontier) -> None:
    await add(frontier, *(f"http://a.test/{i}" for i in range(5)))
    await lease(frontier, "w1", urls=2)
    later(frontier, 61)
    seen = []
    for _ in range(3):
        held = (await lease(frontier, "w2"))[0]
        seen.append([u.request.url[-1] for u in held.urls])
        await give_back(frontier, held, pending(held))
    assert seen == [["0"], ["1"], ["2", "3", "4"]]


async def test_large_segments_settle_and_requeue_to_the_end(frontier: Frontier) -> None:
    """HSCAN from its start misses fields of a large hash that is being emptied."""
    for segment in ("settled", "requeued"):
        key = "{f0}:p:" + segment
        for first in range(0, 40_000, 1_000):
            flat = []
            for n in range(first, first + 1_000):
                entries = (
                    f"0\t0\t{n}\t2\t\t1\t0\t1\tph\t\t/{n}\n0\t0\t9{n}\t2\t\t1\t0\t1\tph\t\t/9{n}\n"
                )
                flat += [f"7\t{n}\t2\t", f"a.test\n{entries}"]
            await frontier.driver.command("HSET", key, *flat)
        await frontier.driver.command("HSET", "{f0}:g", segment, f"o\n{JOB}")
    await asyncio.wait_for(frontier.settle("settled", [0]), 60)
    assert (await frontier.stats(JOB)).done == 80_000
    again = await asyncio.wait_for(frontier.requeue("requeued", aborted=False), 60)
    assert again == Requeued(80_000)


async def test_leases_are_taken_back_though_nothing_is_to_be_leased(frontier: Frontier) -> None:
    await add(frontier, "http://a.test/1")
    await lease(frontier, "dead")
    later(frontier, 61)
    await frontier.lease("w", [], range(4), hosts=0, urls=0, ttl=60)
    stats = await frontier.stats(JOB)
    assert (stats.leased, stats.queued) == (0, 1)


async def test_a_busy_host_is_left_to_a_claim_that_waits(frontier: Frontier) -> None:
    await add(frontier, *(f"http://a.test/{i}" for i in range(9)))
    held = (await lease(frontier, urls=1))[0]
    url = parse("http://a.test/robots.txt")
    assert (await frontier.claim("c", JOB, url, ttl=60))[0] is None
    await give_back(frontier, held, pending(held), wait=1.0)
    assert await frontier.claim("c", JOB, url, ttl=60) == (None, 1.0)
    later(frontier, 1.0)
    assert await lease(frontier) == []  # ready, and wanted
    claimed, _ = await frontier.claim("c", JOB, url, ttl=60)
    assert claimed is not None
    await give_back(frontier, claimed)
    later(frontier, 2.0)
    assert len(await lease(frontier)) == 1  # a claim that is not renewed lapses


async def test_each_visit_of_a_url_is_queued_once(frontier: Frontier) -> None:
    """However often a visit is offered, by whom, in which order."""
    await frontier.registry.create_job("j", b"{}")
    url = parse("http://a.example/")
    offers = [(url, CrawlRequest(url.url, visit=visit, extra=f"v{visit}")) for visit in (1, 2, 3)]
    for offer in (*offers, *offers):
        await frontier.add("j", [offer])
    stats = await frontier.stats("j")
    assert (stats.accepted, stats.seen, stats.queued) == (3, 3, 3)
    assert frontier.place(url) == frontier.place(url, 1)
    assert len({frontier.place(url, visit) for visit in range(1, 100)}) == 99
    assert len({frontier.place(url, visit)[0] for visit in range(1, 100)}) == 1
    partitions = range(frontier.partitions)
    grant = await frontier.lease("w", ["j"], partitions, hosts=1, urls=8, ttl=30)
    [lease] = grant.leases
    assert [(u.request.visit, u.request.extra) for u in lease.urls] == [
        (1, "v1"),
        (2, "v2"),
        (3, "v3"),
    ]
