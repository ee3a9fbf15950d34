"""Links reach the frontier, once, and nothing is forgotten when a call fails."""

from __future__ import annotations

import pytest

from crawler.worker.links import BATCH, Links
from frontier.client import Frontier
from frontier.model import CrawlRequest, FrontierBusy, FrontierError, Limits
from frontier.url import parse


def offer(links: Links, *urls: str) -> None:
    for text in urls:
        links.offer(parse(text), CrawlRequest(parse(text).url, depth=1))


async def test_a_link_goes_out_once(frontier: Frontier) -> None:
    links, heard = Links(frontier, "j", Limits()), []
    links.on_added = heard.append
    offer(links, "http://a.test/", "http://a.test/#part", "http://b.test/")
    assert links.waiting
    await links.flush()
    assert not links.waiting
    offer(links, "http://a.test/")
    assert not links.waiting  # known here: not even asked
    stats = await frontier.stats("j")
    assert (stats.accepted, stats.seen) == (2, 0)
    [added] = heard
    assert set(added.due.values()) == {0.0}


async def test_a_batch_is_due_at_once(frontier: Frontier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crawler.worker.links.LATENCY", 600.0)
    links = Links(frontier, "j", Limits())
    offer(links, "http://a.test/")
    assert not links.due
    offer(links, *(f"http://a.test/{n}" for n in range(BATCH)))
    assert links.due


async def test_a_failed_call_forgets_nothing(
    frontier: Frontier, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = Links(frontier, "j", Limits())
    offer(links, "http://a.test/")

    async def down(*_: object) -> None:
        raise FrontierError("down")

    with monkeypatch.context() as broken:
        broken.setattr(frontier.driver, "scripts", down)
        with pytest.raises(FrontierError):
            await links.flush()
    await links.flush()
    assert (await frontier.stats("j")).accepted == 1


async def test_refused_links_wait_and_are_offered_again(frontier: Frontier) -> None:
    links = Links(frontier, "j", Limits(host_cap=10, buffer=5))
    offer(links, *(f"http://a.test/{n}" for n in range(20)))
    with pytest.raises(FrontierBusy):
        await links.flush()
    assert not links.waiting  # not at once again
    p, _ = frontier.place(parse("http://a.test/"))
    batch = await frontier.tails.spill_read("j", p)
    group = [(2, "a.test", len(batch.items))]
    await frontier.tails.spill_done("j", p, batch.offset, len(batch.items), "segment", group)
    with pytest.raises(FrontierBusy):
        await links.flush()
    stats = await frontier.stats("j")
    assert (stats.accepted, stats.seen) == (18, 0)


async def test_visits_of_one_url_are_links_of_their_own(frontier: Frontier) -> None:
    links = Links(frontier, "j", Limits())
    url = parse("http://a.test/search")
    for visit in (1, 1 << 40, (1 << 40) + 1, 1):
        links.offer(url, CrawlRequest(url.url, visit=visit))
    await links.flush()
    assert (await frontier.stats("j")).accepted == 3
