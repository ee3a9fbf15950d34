"""A URL is found in the one place that it is in, and its place is told as it is."""

from __future__ import annotations

import pytest

from frontier.client import Frontier
from frontier.model import CrawlRequest, HostState, Limits, UrlResult
from frontier.spill import Spiller
from frontier.url import Url, parse
from frontier.whereabouts import Whereabouts, find

JOB = "w/j"
NOW = 1_900_000_000


class Objects(dict[str, bytes]):
    """An object store in memory."""

    def put(self, key: str, data: bytes) -> None:
        self[key] = data

    def delete(self, key: str) -> None:
        self.pop(key, None)

    def list(self, prefix: str) -> list[str]:
        return [key for key in self if key.startswith(prefix)]


def url(n: int) -> Url:
    return parse(f"http://a.test:8080/{n}")


@pytest.fixture
async def busy(frontier: Frontier) -> Frontier:
    """Forty URLs of one host: of the first four one of each fate, the last twenty spilled."""
    frontier.now = frontier.tails.now = f"{NOW}000"
    await frontier.registry.create_job(JOB, b"{}")
    offers = [(url(n), CrawlRequest(url(n).url, depth=n, priority=0)) for n in range(40)]
    await frontier.add(JOB, offers, limits=Limits(host_cap=20))
    p, _ = frontier.place(url(0))
    [held] = (await frontier.lease("w", [JOB], [p], hosts=1, urls=4, ttl=60)).leases
    fps = [leased.fp for leased in held.urls]
    results = [
        UrlResult(fps[0], "pending", "s"),
        UrlResult(fps[1], "pending", "s", "http-404"),
        UrlResult(fps[2], "retry", "", "reset", 30),
    ]
    await frontier.report(held, results, state=HostState(), wait=9, free=False)
    return frontier


async def place(frontier: Frontier, n: int, objects: Objects | None = None) -> Whereabouts:
    where = await find(frontier, JOB, url(n), objects=(objects or Objects()).get)
    if where.request is not None:
        assert (where.request.url, where.request.depth) == (url(n).url, n)
    return where


async def test_each_url_is_found_where_it_is(busy: Frontier) -> None:
    found = [await place(busy, n) for n in range(40)]
    assert [each.place for each in found] == (
        ["pending", "pending", "waiting", "leased"] + ["queued"] * 16 + ["spilled"] * 20
    )
    assert all(each.seen for each in found)
    assert [(each.segment, each.reason) for each in found[:2]] == [("s", ""), ("s", "http-404")]
    assert found[2].due == NOW + 30
    assert [each.ahead for each in found[4:20]] == list(range(16))
    waiting = found[2].request
    assert waiting is not None
    assert (waiting.attempts, waiting.reason) == (1, "reset")


async def test_what_is_in_the_store_is_found_there(busy: Frontier) -> None:
    p, _ = busy.place(url(0))
    store = Objects()
    assert await Spiller(busy.tails, JOB, store, cap=20).flush(p, all=True) == 20
    found = await place(busy, 30, store)
    assert found.place == "spilled"
    assert found.segment in next(iter(store))
    [name] = store
    store[name] = store[name][:-9] + b"\0" * 9
    assert await place(busy, 30, store) == Whereabouts(1, seen=True)
    assert await place(busy, 30) == Whereabouts(1, seen=True)


async def test_what_never_came_and_what_is_done_are_nowhere(busy: Frontier) -> None:
    assert await place(busy, 99) == Whereabouts(1, seen=False)
    assert await find(busy, JOB, url(0), visit=2) == Whereabouts(2, seen=False)
    assert await find(busy, "w/other", url(0)) == Whereabouts(1, seen=False)
    await busy.settle("s", range(busy.partitions))
    assert await place(busy, 0) == Whereabouts(1, seen=True)


async def test_another_jobs_lease_of_the_host_is_not_taken_for_this_ones(busy: Frontier) -> None:
    await busy.registry.create_job("w/k", b"{}")
    await busy.add("w/k", [(url(3), CrawlRequest(url(3).url))])
    found = await find(busy, "w/k", url(3))
    assert found.place == "queued"
