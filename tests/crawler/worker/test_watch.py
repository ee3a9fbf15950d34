"""Links that may be part of a trap go into the slow class, and are counted with the reason."""

from __future__ import annotations

from collections import Counter

from crawler.job import JobSpec
from crawler.worker.links import Links
from crawler.worker.watch import Watch
from frontier.client import Frontier
from frontier.inspect import peek
from frontier.model import CrawlRequest, Limits
from frontier.url import Url, parse


class Worker:
    """One worker's way of links into the frontier."""

    def __init__(self, frontier: Frontier, **bounds: int) -> None:
        self.frontier = frontier
        self.counts: Counter[str] = Counter()
        self.watch = Watch(frontier, "j", JobSpec(**bounds), self.counts)
        self.links = Links(frontier, "j", Limits(), self.watch)

    async def offer(self, *paths: str, kind: str = "page") -> None:
        for path in paths:
            url = parse(f"http://a.test{path}")
            self.links.offer(url, CrawlRequest(url.url, kind=kind))
        await self.links.flush()


async def classes(frontier: Frontier) -> dict[str, int]:
    """Class of every queued URL, by path."""
    urls = [u.request for u in await peek(frontier, "j", parse("http://a.test/"), 5000)]
    return {parse(r.url).path: r.priority for r in urls}


async def test_further_sets_of_query_keys_wait(frontier: Frontier) -> None:
    one, other = (Worker(frontier, max_query_keys=3) for _ in range(2))
    await one.offer("/list?k0=1", "/list?k1=1")
    await other.offer("/list?k1=2", "/list?k2=1", "/list?k3=1", "/list?k4=1", "/list")
    await one.offer("/list?k0=2", "/list?k3=2", "/plain")
    slow = {"/list?k3=1", "/list?k4=1", "/list?k3=2"}
    found = await classes(frontier)
    assert {path for path, c in found.items() if c == 3} == slow
    assert len(found) == 10
    assert other.counts == {"demoted:trap-query": 2}
    assert one.counts == {"demoted:trap-query": 1}


async def test_further_queries_of_a_path_wait_and_known_urls_do_not_count(
    frontier: Frontier,
) -> None:
    one, other = (Worker(frontier, max_query_variants=20) for _ in range(2))
    first = [f"/cal?date={n}" for n in range(20)]
    await one.offer(*first)
    for _ in range(3):
        other.links = Links(frontier, "j", Limits(), other.watch)  # its filter does not know them
        await other.offer(*first)
    await one.offer("/cal?date=20")
    await other.offer("/cal?date=21")
    assert one.counts + other.counts == {}
    await one.offer("/cal?date=22")
    await other.offer("/cal?date=23", "/other?date=23")
    await other.offer("/cal?date=24")
    slow = {path for path, c in (await classes(frontier)).items() if c == 3}
    assert slow == {"/cal?date=22", "/cal?date=23", "/cal?date=24"}
    assert one.counts + other.counts == {"demoted:trap-query": 3}


async def test_links_below_a_stale_prefix_wait(frontier: Frontier) -> None:
    one, other = (Worker(frontier, stale_after=10) for _ in range(2))

    def fetched(worker: Worker, name: str, n: int, new: bool) -> None:
        for i in range(n):
            url: Url = parse(f"http://a.test/{name}/{i}")
            worker.watch.fetched(url, new=new)

    fetched(one, "trap", 6, False)
    fetched(one, "good", 30, True)
    await one.offer("/trap/next/1", "/good/next")
    fetched(other, "trap", 5, False)  # the host has moved on
    await other.offer("/trap/next/2", "/good/next/2", "/")
    await other.offer("/trap/map.xml", kind="sitemap")
    found = await classes(frontier)
    assert {path for path, c in found.items() if c == 3} == {"/trap/next/2"}
    assert other.counts == {"demoted:stale-prefix": 1}
    assert not one.counts
