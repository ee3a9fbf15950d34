"""A demo web whose hosts share what they can: three addresses, three registered domains."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from crawler.demo.model import Answer, Document, Host, Link, Page, Raw, Web
from crawler.demo.server import DemoServer
from crawler.demo.text import TextSpec

DOMAINS = ("example.org", "example.net", "example.com")
HOSTS = 12
PAGES = 5  # of each host, its home page not counted
HUB = "hub.example.org"  # holds the robots.txt of some others


def _address(number: int) -> str:
    return f"127.47.0.{number // 2 % 3 + 1}"  # not in step with the domains


def _page(host: str, path: str, depth: int, links: tuple[Link, ...] = ()) -> Page:
    return Page(host, path, depth, Document(TextSpec(host + path, "en", 40)), links=links)


def _robots(host: str, path: str, to: Link | None = None) -> Page:
    answer = Answer() if to is None else Answer(status=301, location=to)
    text = "User-agent: *\nDisallow: /none/\n"
    return Page(host, path, -1, Raw(text), kind="robots", answer=answer)


def _host(number: int, name: str) -> Host:
    paths = [f"/page-{n}.html" for n in range(PAGES)]
    pages = [_page(name, path, 2) for path in paths]
    pages.append(_page(name, "/", 1, tuple(Link(name, path) for path in paths)))
    chain: tuple[Link, ...] = ()
    if number % 4 == 1:
        chain = (Link(HUB, f"/{name}.txt", "absolute"),)
        pages.append(_robots(name, "/robots.txt", chain[0]))
    return Host(name, _address(number), {p.path: p for p in pages}, "none", robots_chain=chain)


def shared_web() -> Web:
    """A portal, hosts that it links to, and a hub of robots.txt."""
    names = [f"h{n}.{DOMAINS[n % 3]}" for n in range(HOSTS)]
    hosts = [_host(n, name) for n, name in enumerate(names)]
    files = [link.path for host in hosts for link in host.robots_chain]
    hosts.append(Host(HUB, _address(0), {p: _robots(HUB, p) for p in files}, "none"))
    start = "portal.example.net"
    portal = _page(start, "/", 0, tuple(Link(name, "/", "absolute") for name in names))
    hosts.append(Host(start, _address(2), {"/": portal}, "none"))
    return Web(
        seed=0,
        size="small",
        hosts={host.name: host for host in hosts},
        portal=Link(start, "/"),
        near_duplicates=(),
        mirrors=(),
        refused=frozenset(),
        absent=frozenset(),
    )


@contextlib.contextmanager
def served(web: Web, log: Path) -> Iterator[DemoServer]:
    """Serve a web in a thread of its own until the block is left."""
    server = DemoServer(size="small", log=log)
    server.web = web
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(60)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
