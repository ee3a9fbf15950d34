"""Endless parts of a host stay behind its real pages, with the reasons told."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from storage.corpus import Corpus

from .conftest import comity

pytestmark = pytest.mark.timeout(240)

LEVELS = 6  # of the tree of real pages: the deepest come long after endless parts have exploded
REAL = [f"/real/{name}" for level in range(LEVELS) for name in range(2**level, 2 ** (level + 1))]
FACETS = ("size", "colour", "brand", "price", "sort", "view", "stock", "shape", "year", "maker")
BOUNDS = """
max_path_depth = 10
max_query_keys = 10
max_query_variants = 15
stale_after = 20
"""
OFF = """
max_path_depth = 0
max_repeats = 0
max_query_keys = 0
max_query_variants = 0
stale_after = 0
"""


def words(seed: str, count: int = 150) -> str:
    rng = random.Random(seed)
    return " ".join(f"{rng.choice('bdfgklmnprst')}{rng.randrange(10**5)}" for _ in range(count))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def page(target: str) -> tuple[str, list[str]]:
    """Text and links of a page: real ones, or those of an endless part."""
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query))
    folder, _, name = parts.path[1:].partition("/")
    if folder == "real" and int(name) < 2 ** (LEVELS - 1):
        return words(name), [f"/real/{2 * int(name)}", f"/real/{2 * int(name) + 1}"]
    if folder == "shop":  # the same few items under ever new session ids
        return words("shop"), [f"/shop/{digest(f'{name}{n}')}/item" for n in range(3)]
    if folder == "list":  # filters that can be combined; each list is another
        more = [f for f in FACETS if f not in query][:6]
        return words(target), [f"/list?{'&'.join(f'{k}=1' for k in [*query, f])}" for f in more]
    if folder == "calendar":  # every day has something on
        day = int(query["date"])
        return words(target), [f"/calendar?date={3 * day + n}" for n in (1, 2, 3)]
    if folder == "loop":
        return words(target), ["there/" if parts.path.endswith("/here/") else "here/"]
    if folder == "deep":
        return words(target), [f"x{parts.path.count('/')}/"]
    if folder == "":
        starts = ["/shop/0/item", "/list?size=1", "/calendar?date=0", "/loop/", "/deep/"]
        return words("home"), ["/real/1", *starts]
    return words(name), []


class Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        robots = self.path == "/robots.txt"
        text, links = ("", []) if robots else page(self.path)
        anchors = " ".join(f'<a href="{link}">more</a>' for link in links)
        body = f"<html><title>t</title><p>{text}</p>{anchors}</html>".encode()
        self.send_response(404 if robots else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads, server.block_on_close = True, False  # clients keep connections
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    with server:
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def crawl(root: str, directory: Path, job: str, *more: str) -> tuple[dict[str, Any], set[str]]:
    """The summary, and the paths of the pages that were stored."""
    file = directory / "job.toml"
    file.write_text(job)
    out = directory / "out"
    done = comity(
        "crawl", root, "--job", str(file), "--out", str(out), "--json", "--workers", "2",
        "--allow-private-networks", "--delay", "0", *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Corpus(str(out)) as corpus:
        rows = [row for batch in corpus.pages(("url",), kind="page") for row in batch.to_pylist()]
    return json.loads(done.stdout), {row["url"].removeprefix(root) for row in rows}


def test_real_pages_come_before_traps(tmp_path: Path) -> None:
    with serving() as root:
        summary, stored = crawl(root, tmp_path, BOUNDS, "--max-pages", "400")
    assert set(REAL) <= stored
    assert summary["pages"] == 400
    assert summary["demoted"]["trap-query"] > 10
    assert summary["demoted"]["stale-prefix"] > 10
    assert summary["dropped"] == {"trap-repeats": 1, "trap-depth": 1}
    assert "/loop/" + "here/there/" * 4 in stored
    assert "/deep/" + "".join(f"x{n}/" for n in range(2, 11)) in stored


def test_without_bounds_the_traps_win(tmp_path: Path) -> None:
    with serving() as root:
        summary, stored = crawl(root, tmp_path, OFF, "--max-pages", "400")
    assert not set(REAL) <= stored
    assert summary["demoted"] == {}
    assert not {r for r in summary["dropped"] if r.startswith("trap-")}


def test_what_was_put_last_is_fetched_in_the_end(tmp_path: Path) -> None:
    """A finite part that looks like a trap: nothing of it is lost."""
    job = BOUNDS + 'include = ["/", "/list*"]\nmax_depth = 4\n'
    with serving() as root:
        summary, stored = crawl(root, tmp_path, job)
    lists, level = {"/list?size=1"}, {"/list?size=1"}
    for _ in range(3):
        level = {link for path in level for link in page(path)[1]}
        lists |= level
    assert stored == lists | {"/"}
    assert summary["demoted"]["trap-query"] > 100
    assert summary["unreached"] == {}
