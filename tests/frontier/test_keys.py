"""Every key that the frontier writes is in the table of `frontier/keys.py`, with its type."""

from __future__ import annotations

import re

from frontier import blocks, keys
from frontier.client import Frontier
from frontier.model import CrawlRequest, HostState, Limits, UrlResult
from frontier.registry import SegmentRecord
from frontier.tally import Tally, tally
from frontier.url import parse
from frontier.windows import SharedClock


def documented() -> dict[re.Pattern[str], str]:
    """Pattern of a key -> type, from the module's docstring."""
    rows = re.findall(r"^(\{[fg]\}:\S+) +(\w+) ", keys.__doc__ or "", re.MULTILINE)
    table = {}
    for name, kind in rows:
        text = re.escape(name).replace(r"\{f\}", r"\{f\d+\}")
        table[re.compile(re.sub("<[^>]+>", ".+", text.replace("\\<", "<")))] = kind
    return table


async def spill(frontier: Frontier) -> None:
    """Leave something in every key that spilling writes."""
    urls = [parse(f"http://b.test/{n}") for n in range(40)]
    offers = [(u, CrawlRequest(u.url, priority=3 if n > 30 else 2)) for n, u in enumerate(urls)]
    limits = Limits(host_cap=4, host_budget=30, domain_budget=30, domain_hosts=9)
    await frontier.add("j", offers[:30], limits=limits)
    p, _ = frontier.place(urls[0])
    for segment, n in (("z1", 5), ("z2", 5), ("z3", 5)):
        batch = await frontier.tails.spill_read("j", p)
        group = (2, "b.test", n)
        assert await frontier.tails.spill_done("j", p, batch.offset, n, segment, [group])
    grant = await frontier.lease("w", ["j"], [p], hosts=8, urls=3, ttl=60)
    assert "b.test" in {held.host for held in grant.leases}
    [want] = await frontier.tails.refill_wanted("j", p, cap=4)
    assert await frontier.tails.refill("j", p, want, [b"0\t0\t1\t2\t\t0\t0\t1\tph\t\t/"] * 5)
    [want] = await frontier.tails.refill_wanted("j", p, cap=40)
    assert await frontier.tails.spill_quarantine("j", p, want) == 5
    only = parse("http://c.test/")
    await frontier.add("j", [(only, CrawlRequest(only.url, priority=3))])


async def test_keys_are_documented(frontier: Frontier) -> None:
    registry, url = frontier.registry, parse("http://a.test/")
    await registry.create_job("j", b"{}", credit=5)
    await registry.count("j", {"visits": 1})
    await registry.beat("w", 60)
    await registry.mark_lost("gone")
    await blocks.put(frontier.driver, [blocks.Block("b.example", "me", 1.0, "asked")])
    await registry.put_segment("s", SegmentRecord("j", "w"))
    await registry.lock("commit:j", "w", 60)
    await frontier.put_robots(url, b"copy", 60)
    await frontier.put_reservations(url, b"copy", 60)
    await frontier.windows.reserve(SharedClock("d.test", 0.5), "d.test", want=1, ttl=60)
    counted = [Tally("p", url, "x", 1), Tally("q", url, "y", mark="abcd")]
    await tally(frontier, "j", counted, window=0, marks=1)
    urls = [parse(f"http://a.test/{n}") for n in range(12)]
    await frontier.add("j", [(u, CrawlRequest(u.url)) for u in urls])
    for _ in range(2):
        grant = await frontier.lease("w", ["j"], range(4), hosts=1, urls=3, ttl=60)
        held = grant.leases[0]
        fps = [u.fp for u in held.urls]
        results = [UrlResult(fps[0], "pending", "s"), UrlResult(fps[1], "retry", "", "reset", 60)]
        await frontier.report(held, results, state=HostState(), wait=0, free=True)
    await frontier.lease("w", ["j"], range(4), hosts=1, urls=3, ttl=60)
    p, fp = frontier.place(urls[0])
    await frontier.losses.tell("j", [(p, fp, "")])
    await frontier.requeue("left", aborted=False)
    await spill(frontier)
    table = documented()
    found = [key.decode() for key in await frontier.driver.command("KEYS", "*")]
    for key in found:
        kind = (await frontier.driver.command("TYPE", key)).decode()
        assert [k for pattern, k in table.items() if pattern.fullmatch(key)] == [kind], key
    unused = [p.pattern for p in table if not any(p.fullmatch(key) for key in found)]
    assert unused == []
