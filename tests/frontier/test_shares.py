"""Budgets, the slow class, weights and shared hosts."""

from __future__ import annotations

from collections import Counter

import pytest

from frontier.client import Frontier
from frontier.model import CrawlRequest, FrontierError, HostState, Limits, UrlResult
from frontier.url import parse

T0 = 1_900_000_000_000


@pytest.fixture(autouse=True)
def clock(frontier: Frontier) -> None:
    frontier.now = str(T0)


async def add(frontier: Frontier, job: str, *urls: str, **limits: int) -> None:
    parsed = [parse(url) for url in urls]
    bounds = Limits(**limits)
    await frontier.add(job, [(u, CrawlRequest(u.url)) for u in parsed], limits=bounds)


async def turn(frontier: Frontier, *jobs: str, wait: float = 0.0, **kwargs: int) -> list[str]:
    """Lease, finish and give back whatever is granted; the URLs."""
    options = {"hosts": 1, "urls": 4} | kwargs
    weights = options.pop("weights", None)
    grant = await frontier.lease(
        "w",
        jobs,
        range(4),
        ttl=60,
        weights=weights,
        **options,  # type: ignore[arg-type]
    )
    got = []
    for held in grant.leases:
        got += [f"{held.job} {u.request.url}" for u in held.urls]
        results = [UrlResult(u.fp, "pending", held.job) for u in held.urls]
        await frontier.report(held, results, state=HostState(), wait=wait, free=True)
    return got


async def test_over_its_budget_a_host_waits_for_the_others(frontier: Frontier) -> None:
    big = [f"http://big.one.com/{i}" for i in range(20)]
    await add(frontier, "j", *big, host_budget=6)
    await add(frontier, "j", *(f"http://small{i}.one.com/" for i in range(4)), host_budget=6)
    stats = await frontier.stats("j")
    assert stats.demoted == {"host-pages": 14}
    order = []
    while got := await turn(frontier, "j"):
        order += got
    assert len(order) == 24
    late = [url.split(" ")[1] for url in order[-14:]]
    assert late == big[6:]


async def test_a_domain_has_a_budget_of_its_own(frontier: Frontier) -> None:
    urls = [f"http://h{i}.dom.com/{k}" for i in range(4) for k in range(5)]
    await add(frontier, "j", *urls, domain_budget=8)
    assert (await frontier.stats("j")).demoted == {"domain-pages": 12}


async def test_hosts_beyond_a_domains_share_are_demoted_for_good(frontier: Frontier) -> None:
    for path in ("a", "b"):
        urls = [f"http://h{i}.dom.com/{path}" for i in range(10)]
        await add(frontier, "j", *urls, domain_hosts=3)
    assert (await frontier.stats("j")).demoted == {"host-explosion": 14}


async def test_jobs_share_by_weight(frontier: Frontier) -> None:
    for job in ("one", "three"):
        await add(frontier, job, *(f"http://{job}{i}.same.com/" for i in range(200)))
    weights = {"one": 1, "three": 3}
    served: Counter[str] = Counter()
    for _ in range(120):
        got = await turn(frontier, "one", "three", weights=weights)  # type: ignore[arg-type]
        served.update(text.split(" ")[0] for text in got)
    assert served == {"one": 30, "three": 90}


async def test_a_job_that_was_away_does_not_make_up_for_it(frontier: Frontier) -> None:
    await add(frontier, "a", *(f"http://a{i}.same.com/" for i in range(100)))
    for _ in range(50):
        await turn(frontier, "a", "b")
    await add(frontier, "b", *(f"http://b{i}.same.com/" for i in range(100)))
    got = [text[0] for _ in range(20) for text in await turn(frontier, "a", "b")]
    assert Counter(got) == {"a": 10, "b": 10}


async def test_jobs_take_turns_on_a_shared_host(frontier: Frontier) -> None:
    for job in ("a", "b", "c"):
        await add(frontier, job, *(f"http://x.test/{job}{i}" for i in range(40)))
    order = ""
    for _ in range(400):
        got = await turn(frontier, "a", "b", "c", wait=0.2)
        order += got[0][0] if got else ""
        frontier.now = str(int(frontier.now) + 50)
    assert Counter(order) == {"a": 10, "b": 10, "c": 10}
    assert order[3:27] == order[3:6] * 8


async def test_a_job_that_has_no_use_for_its_turn_holds_nobody_up(frontier: Frontier) -> None:
    await add(frontier, "a", *(f"http://x.test/a{i}" for i in range(40)))
    await add(frontier, "b", "http://x.test/b")
    p = frontier.place(parse("http://x.test/"))[0]
    grant = await frontier.lease("w", ["a"], [p], hosts=1, urls=4, ttl=60)
    assert not (await frontier.lease("w", ["b"], [p], hosts=1, urls=4, ttl=60)).leases
    held = grant.leases[0]
    await frontier.report(held, [], state=HostState(), wait=0.0, free=True)
    assert await turn(frontier, "a") == []  # b is first in line, for a moment
    frontier.now = str(T0 + 1_600)
    assert len(await turn(frontier, "a")) == 4  # b, paused, did not come


async def test_a_restarted_server_grants_nothing_for_a_lease(frontier: Frontier) -> None:
    await add(frontier, "j", *(f"http://x{i}.test/" for i in range(4)))
    assert await turn(frontier, "j")
    for p in range(4):  # as it would be with the copy of another server
        await frontier.driver.command("HSET", f"{{f{p}}}:m", "run", "f" * 40)
    assert await turn(frontier, "j") == []
    token, wait = await frontier.claim("w", "j", parse("http://x9.test/"), ttl=60)
    assert (token, wait) == (None, 61.0)
    frontier.now = frontier.losses.now = str(T0 + 61_000)
    assert await turn(frontier, "j") == []
    assert await frontier.losses.look("j", range(4)) == dict.fromkeys(range(4), T0 / 1000)
    await frontier.losses.done("j", dict.fromkeys(range(4), T0))
    assert await frontier.losses.look("j", range(4)) == {}
    assert await turn(frontier, "j") == []  # hosts of unknown delay may have been contacted
    frontier.now = str(T0 + 66_000)
    assert await turn(frontier, "j")


async def test_a_partition_without_its_record_is_an_error(frontier: Frontier) -> None:
    url = parse("http://x.test/")
    p = frontier.place(url)[0]
    await frontier.driver.command("DEL", f"{{f{p}}}:m")
    with pytest.raises(FrontierError, match="has lost its state"):
        await frontier.add("j", [(url, CrawlRequest(url.url))])


async def test_a_loss_that_is_lost_itself_is_told_as_another(frontier: Frontier) -> None:
    """So that whoever had made it good for a job does so again."""
    p = frontier.place(parse("http://x.test/"))[0]
    home = f"{{f{p}}}:m"
    told = []

    async def lose() -> None:
        await frontier.driver.command("HSET", home, "run", "f" * 40)
        grant = await frontier.lease("w", ["j"], [p], hosts=1, urls=4, ttl=60)
        told.append(grant.losses[p])

    await add(frontier, "j", "http://x.test/")
    await turn(frontier, "j")
    old = await frontier.driver.command("HGETALL", home)
    await lose()
    await frontier.losses.done("j", {p: told[0]})
    await frontier.driver.command("DEL", home)
    await frontier.driver.command("HSET", home, *(x for pair in old.items() for x in pair))
    frontier.now = frontier.losses.now = str(T0 + 5_000)
    await frontier.losses.done("j", {p: told[0]})  # by one that knows of the first alone
    await lose()
    assert told[1] > told[0] > 0
    assert (await frontier.stats("j")).doubtful == 1
    assert p in await frontier.losses.look("j", [p])
    await frontier.losses.done("j", {p: told[1]})
    assert await frontier.losses.look("j", [p]) == {}


async def test_many_jobs_may_be_asked_for_at_once(frontier: Frontier) -> None:
    """More than Lua unpacks."""
    await add(frontier, "j4000", "http://a.test/")
    p, _ = frontier.place(parse("http://a.test/"))
    jobs = [f"j{n}" for n in range(8_100)]
    grant = await frontier.lease("w", jobs, [p], hosts=1, urls=1, ttl=60)
    assert [held.job for held in grant.leases] == ["j4000"]
