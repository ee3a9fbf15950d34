"""A small polite crawler of this test's own, over real sockets, against truth and judge.

It knows nothing of the model: links come from the HTML, denied URLs from the truth alone.
"""

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from selectolax.lexbor import LexborHTMLParser
from yarl import URL

from crawler.demo import DemoServer, Report, judge, read
from tests.crawler.demo.resolving import resolve

DELAY = 0.02


class Names(AbstractResolver):
    """Resolves from the server's own table; the DNS responder has a test of its own."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        if host not in self._names:
            raise OSError(f"no such name: {host}")
        return [
            ResolveResult(
                hostname=host, host=self._names[host], port=port, family=2, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        return None


class Crawler:
    """One queue per host, one request at a time on each, first come first served."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        group: asyncio.TaskGroup,
        truth: dict[str, Any],
        delay: float,
    ) -> None:
        self.session, self.group, self.truth, self.delay = session, group, truth, delay
        self.denied = set(truth["denied"])
        self.seen: set[str] = set()
        self.ready: defaultdict[str, float] = defaultdict(float)
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.robots: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.known: dict[str, bool] = {}

    def offer(self, url: str, depth: int, hops: int) -> None:
        if url not in self.seen and depth <= 6 and hops <= 10:
            self.seen.add(url)
            self.group.create_task(self.visit(url, depth, hops))

    async def fetch(self, url: str) -> tuple[int, str, str, bytes]:
        """Status, Location, Content-Type and body, when the host's turn has come."""
        host = urlsplit(url).netloc
        async with self.locks[host]:
            await asyncio.sleep(max(0.0, self.ready[host] - time.monotonic()))
            crawl_delay = self.truth["hosts"].get(host, {}).get("crawl_delay", 0.0)
            async with self.session.get(URL(url, encoded=True), allow_redirects=False) as response:
                body = b""
                with suppress(aiohttp.ClientPayloadError):  # truncated: what came of it is kept
                    async for piece in response.content.iter_any():
                        body += piece
            retry = response.headers.get("Retry-After", "")
            wait = float(retry) if retry.isdecimal() else 3.0 if retry else 0.0
            self.ready[host] = time.monotonic() + max(self.delay, crawl_delay, wait)
            headers = response.headers
            return response.status, headers.get("Location", ""), headers["Content-Type"], body

    async def allowed(self, url: str) -> bool:
        host = urlsplit(url).netloc
        facts = self.truth["hosts"][host]
        async with self.robots[host]:
            if host not in self.known:
                status = 0
                for file in facts["robots_urls"]:
                    status = (await self.fetch(file))[0]
                if status == 503 and facts["robots"] == "flaky":
                    status = (await self.fetch(facts["robots_urls"][-1]))[0]
                self.known[host] = status < 500 and facts["crawl_delay"] < 300
        return self.known[host] and not facts["closed"] and url not in self.denied

    async def visit(self, url: str, depth: int, hops: int) -> None:
        if urlsplit(url).netloc not in self.truth["hosts"] or not await self.allowed(url):
            return
        for _ in range(3):
            status, location, kind, body = await self.fetch(url)
            if status not in (429, 503) or url in self.truth["may"]:
                break
        if location:
            self.offer(resolve(url, location), depth, hops + 1)
        if status != 200 or "html" not in kind:
            return
        tree = LexborHTMLParser(body)
        if body.startswith(b"\xff\xfe"):
            tree = LexborHTMLParser(body.decode("utf-16"))
        node = tree.css_first("base")
        base = url if node is None else urljoin(url, str(node.attributes["href"]))
        for anchor in tree.css("a[href]"):
            target = resolve(base, str(anchor.attributes["href"]))
            if target.startswith("http"):
                self.offer(target, depth + 1, 0)


async def crawled(server: DemoServer, delay: float, asked: float = DELAY) -> Report:
    """A crawl that leaves ``delay`` seconds where ``asked`` were to be left."""
    truth = server.truth()
    connector = aiohttp.TCPConnector(
        resolver=Names(dict(server.web.names)), limit=0, force_close=True
    )
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        Crawler(session, group, truth, delay).offer(server.seeds[0], 0, 0)
    return judge(read(server.log_path), truth, asked)


async def test_a_polite_crawl_is_found_faultless(tmp_path: Path) -> None:
    async with DemoServer(7, "small", log=tmp_path / "log", slowness=0.2) as server:
        report = await crawled(server, DELAY)
    assert report.ok, report.summary()
    assert report.requests > 400


async def test_an_impolite_crawl_is_not(tmp_path: Path) -> None:
    async with DemoServer(7, "small", log=tmp_path / "log", slowness=0.2) as server:
        report = await crawled(server, DELAY, asked=1.0)  # on a slow machine, gaps are longer
    assert len(report.early) > 100
    assert not report.missing
    assert not report.extra
