"""Every key that the frontier writes is in the table of `frontier/keys.py`, with its type."""

from __future__ import annotations

import re

from frontier import keys
from frontier.client import Frontier
from frontier.model import CrawlRequest, HostState, UrlResult
from frontier.registry import SegmentRecord
from frontier.url import parse


def documented() -> dict[re.Pattern[str], str]:
    """Pattern of a key -> type, from the module's docstring."""
    rows = re.findall(r"^(\{[fg]\}:\S+) +(\w+) ", keys.__doc__ or "", re.MULTILINE)
    table = {}
    for name, kind in rows:
        text = re.escape(name).replace(r"\{f\}", r"\{f\d+\}")
        table[re.compile(re.sub("<[^>]+>", ".+", text.replace("\\<", "<")))] = kind
    return table


async def test_keys_are_documented(frontier: Frontier) -> None:
    registry, url = frontier.registry, parse("http://a.test/")
    await registry.create_job("j", b"{}", credit=5)
    await registry.count("j", {"visits": 1})
    await registry.beat("w", 60)
    await registry.put_segment("s", SegmentRecord("j", "w"))
    await registry.lock("commit:j", "w", 60)
    await frontier.put_robots(url, b"copy", 60)
    urls = [parse(f"http://a.test/{n}") for n in range(12)]
    await frontier.add("j", [(u, CrawlRequest(u.url)) for u in urls])
    for _ in range(2):
        grant = await frontier.lease("w", ["j"], range(4), hosts=1, urls=3, ttl=60)
        held = grant.leases[0]
        fps = [u.fp for u in held.urls]
        results = [UrlResult(fps[0], "pending", "s"), UrlResult(fps[1], "retry", "", "reset", 60)]
        await frontier.report(held, results, state=HostState(), wait=0, free=True)
    await frontier.lease("w", ["j"], range(4), hosts=1, urls=3, ttl=60)
    table = documented()
    found = [key.decode() for key in await frontier.driver.command("KEYS", "*")]
    for key in found:
        kind = (await frontier.driver.command("TYPE", key)).decode()
        assert [k for pattern, k in table.items() if pattern.fullmatch(key)] == [kind], key
    unused = [p.pattern for p in table if not any(p.fullmatch(key) for key in found)]
    assert unused == []
