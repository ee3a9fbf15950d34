"""Crawls behind a trusted proxy, and beside one that nobody trusts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from storage.corpus import Corpus
from tests.crawler.fetch.proxying import ProxyServer
from tests.servers import closed_port

from .running import run
from .test_crawl import rows
from .test_recrawl import Page, html, serving

OPTIONS = ("--delay", "0.1", "--workers", "1", "--json")
SITE = {
    "/robots.txt": Page(b"User-agent: *\nDisallow: /private\n", type="text/plain"),
    "/": Page(html("start", "/page", "/private", "http://10.0.0.1/")),
    "/page": Page(html("page")),
}


@contextlib.contextmanager
def proxied(name: str, url: str) -> Iterator[ProxyServer]:
    """A proxy in a thread of its own that knows one name."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    proxy = ProxyServer({name: ("127.0.0.1", urlsplit(url).port or 0)}, credentials="me:s3cret")
    try:
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(60)
        try:
            yield proxy
        finally:
            ending = proxy.__aexit__(None, None, None)
            asyncio.run_coroutine_threadsafe(ending, loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_all_requests_go_through_a_trusted_proxy(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(SITE) as site, proxied("site.test", site.url) as proxy:
        done = run(
            *("crawl", "http://site.test/", "--scope", "any", *OPTIONS, "--out", str(out)),
            COMITY_TRUSTED_PROXY=proxy.url("me:s3cret"),
            HTTP_PROXY="http://127.0.0.1:1",
        )
        shown = run("config", COMITY_TRUSTED_PROXY=proxy.url("me:s3cret")).stdout
    assert done.returncode == 0, done.stderr
    assert "ignored" not in done.stderr
    assert f"http://me:***@127.0.0.1:{proxy.port}" in shown
    lines = [head.split(b"\r\n")[0] for head in proxy.heads]
    paths = ("/robots.txt", "/.well-known/tdmrep.json", "/", "/page")
    assert lines == [f"GET http://site.test{path} HTTP/1.1".encode() for path in paths]
    found = {row["url"]: row for row in rows(out)}
    reasons = {url: row["reason"] for url, row in found.items()}
    assert reasons["http://site.test/page"] is None
    assert reasons["http://10.0.0.1/"] == "blocked-address"
    assert found["http://site.test/page"]["fetch_ip"] is None
    with Corpus(str(out)) as corpus:
        record = corpus.record(found["http://site.test/page"])
    assert "WARC-IP-Address" not in dict(record.headers)


def test_urls_wait_for_a_proxy_that_is_down(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with closed_port() as port:
        done = run(
            *("crawl", "http://site.test/", *OPTIONS, "--max-wait", "1s", "--out", str(out)),
            COMITY_TRUSTED_PROXY=f"http://127.0.0.1:{port}",
        )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["visits"], summary["unreached"]) == (0, {"proxy-error": 1})


def test_a_proxy_of_the_environment_is_ignored_and_named(tmp_path: Path) -> None:
    with serving(SITE) as site:
        done = run(
            *(
                "crawl",
                site.url,
                "--allow-private-networks",
                *OPTIONS,
                "--out",
                str(tmp_path / "o"),
            ),
            HTTP_PROXY="http://127.0.0.1:1",
            https_proxy="http://127.0.0.1:1",
        )
        assert site.of("/page")
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stderr.splitlines() if "ignored" in line]
    assert line.startswith("comity: warning: HTTP_PROXY, https_proxy are ignored, ")
