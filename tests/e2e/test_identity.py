"""URLs that differ only in tracking parameters are one page, whichever of them a site answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import comity
from .test_crawl import rows
from .test_recovery import Answer, Site, html, serving

pytestmark = pytest.mark.timeout(600)

MOVED = 302


def crawl(site: Site, out: Path) -> dict[str, Any]:
    with serving(site):
        done = comity(
            "crawl", site.url, "--allow-private-networks", "--delay", "0.1", "--workers", "1",
            "--out", str(out), "--json", "--signals", "tdm-reservation=ignore",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def pages(out: Path) -> dict[str, dict[str, Any]]:
    return {row["url"]: row for row in rows(out) if row["kind"] == "page"}


def test_one_of_several_tracked_links_is_fetched_as_it_was_found(tmp_path: Path) -> None:
    links = ["/p?utm_source=a&x=1", "/p?x=1&utm_source=b", "/p?x=1", "/p?x=1&gclid=c", "/p?x=2"]

    def answer(path: str) -> Answer:
        return html(*links) if path == "/" else (404, {}, b"") if "robots" in path else html()

    site = Site("127.9.1.1", answer)
    summary = crawl(site, tmp_path / "out")
    assert site.paths == ["/robots.txt", "/", links[0], links[-1]]
    assert summary["visits"] == 3


def test_a_redirect_to_another_spelling_of_the_same_url_is_followed(tmp_path: Path) -> None:
    moves = {
        "/gone?utm_source=a": "/gone",  # a site that takes the parameter off
        "/came": "/came?utm_source=site",  # one that puts it on
        "/round?gclid=1": "/round?gclid=2",
        "/round?gclid=2": "/round?gclid=1",
        "/denied?utm_source=a": "/denied?utm_source=no",
    }

    def answer(path: str) -> Answer:
        if path == "/robots.txt":
            return 200, {}, b"User-agent: *\nDisallow: /denied?utm_source=no\n"
        if path == "/":
            return html(*[link for link in moves if "gclid=2" not in link])
        if target := moves.get(path):
            return MOVED, {"Location": target}, b""
        return html()

    site = Site("127.9.1.2", answer)
    crawl(site, tmp_path / "out")
    stored = {
        url.removeprefix(site.url): row["fetch_status"]
        for url, row in pages(tmp_path / "out").items()
    }
    assert stored["gone"] == 200
    assert stored["came?utm_source=site"] == 200
    assert stored["denied?utm_source=a"] == MOVED
    assert "/denied?utm_source=no" not in site.paths
    assert [url for url in stored if url.startswith("round")]  # ends, with the last answer
    assert len(stored) == 5
    gone = pages(tmp_path / "out")[f"{site.url}gone"]
    assert (gone["hops"], gone["attempts"]) == (1, 2)
