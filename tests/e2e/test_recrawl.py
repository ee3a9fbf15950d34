"""Jobs that visit again: what is asked, what is stored, how often; judged from the server's log."""

from __future__ import annotations

import email.utils
import io
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from .conftest import SHORT, comity
from .test_crawl import check_records, rows, wait_for
from .test_recovery import kill_a_worker

pytestmark = pytest.mark.timeout(240)

DELAY = 0.1
LONG_AGO = "Mon, 06 Jul 2020 08:00:00 GMT"


@dataclass
class Page:
    """One address of the site; a test changes it while it is served."""

    body: bytes | Callable[[], bytes] = b""
    status: int = 200
    type: str = "text/html"
    headers: dict[str, str] = field(default_factory=dict)
    refuses: bool = False  # conditions, with 412


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it; times by time.monotonic()."""

    path: str
    headers: dict[str, str]
    status: int
    started: float
    ended: float


class Site:
    """A host on loopback that honours ETag and Last-Modified and keeps a log."""

    def __init__(self, pages: dict[str, Page]) -> None:
        self.pages = pages
        self.asked: list[Asked] = []
        self.lock = Lock()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                started = time.monotonic()
                page = site.pages.get(self.path, Page(b"nothing here", 404))
                status = 412 if page.refuses and "If-None-Match" in self.headers else page.status
                status = 304 if _holds(page, dict(self.headers)) else status
                body = page.body() if callable(page.body) else page.body
                body = b"" if status == 304 else body
                self.send_response(status)
                self.send_header("Content-Type", page.type)
                if status != 304:
                    self.send_header("Content-Length", str(len(body)))
                for name, value in page.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                with site.lock:
                    site.asked.append(
                        Asked(self.path, dict(self.headers), status, started, time.monotonic())
                    )

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False  # a kept-alive connection ends with its client
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def of(self, path: str) -> list[Asked]:
        """The requests for a path so far."""
        with self.lock:
            return [each for each in self.asked if each.path == path]

    def check_polite(self) -> None:
        """One request at a time, the delay between the end of one and the start of the next."""
        with self.lock:
            log = sorted(self.asked, key=lambda each: each.started)
        assert all(b.started - a.ended >= DELAY - 0.02 for a, b in pairwise(log))


def _holds(page: Page, headers: dict[str, str]) -> bool:
    if page.status != 200 or page.refuses:
        return False
    if "ETag" in page.headers and "If-None-Match" in headers:
        return headers["If-None-Match"] == page.headers["ETag"]
    since, changed = headers.get("If-Modified-Since"), page.headers.get("Last-Modified")
    if since is None or changed is None:
        return False
    stamps = [email.utils.parsedate_to_datetime(text) for text in (since, changed)]
    return stamps[0] >= stamps[1]


@contextmanager
def serving(pages: dict[str, Page]) -> Iterator[Site]:
    site = Site(pages)
    thread = Thread(target=site.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join()


def html(text: str, *links: str) -> bytes:
    return (f"<p>{text}</p>" + "".join(f'<a href="{link}">x</a>' for link in links)).encode()


def options(site: Site, out: Path, *more: str) -> list[str]:
    return [
        "crawl", site.url + "/", "--allow-private-networks", "--delay", str(DELAY),
        "--out", str(out), "--json", *more,
    ]  # fmt: skip


def wait_more(site: Site, count: int, crawl: Any) -> None:
    """Until there have been so many more requests."""
    wanted = len(site.asked) + count
    wait_for(lambda: len(site.asked) >= wanted, crawl)


def stop(crawl: Any) -> dict[str, Any]:
    """End a crawl as a person would; its summary."""
    crawl.send_signal(signal.SIGINT)
    stdout, stderr = crawl.communicate(timeout=60)
    assert crawl.returncode == 130, stderr
    summary: dict[str, Any] = json.loads(stdout)
    return summary


def history(out: Path, url: str) -> list[dict[str, Any]]:
    """The rows of a URL by visit; there is one each, without gaps."""
    found = sorted((r for r in rows(out, kind=None) if r["url"] == url), key=lambda r: r["visit"])
    assert [r["visit"] for r in found] == list(range(1, len(found) + 1))
    return found


def test_unchanged_pages_become_revisits_and_changed_ones_pages(tmp_path: Path, spawn: Any) -> None:
    names = ("tagged", "dated", "bare", "gone", "new", "moved", "unasked", "picky")
    pages = {
        "/": Page(html("the first page", *(f"/{name}" for name in names))),
        "/tagged": Page(html("has a weak tag", "/"), headers={"ETag": 'W/"one"'}),
        "/dated": Page(html("has a date"), headers={"Last-Modified": LONG_AGO}),
        "/bare": Page(html("has neither")),
        "/new": Page(html("changes"), headers={"ETag": '"a"'}),
        "/gone": Page(b"", 410),
        "/moved": Page(b"", 301, headers={"Location": "/bare"}),
        "/unasked": Page(b"", 304),
        "/picky": Page(html("takes no conditions"), headers={"ETag": '"p"'}, refuses=True),
    }
    out = tmp_path / "out"
    with serving(pages) as site:
        crawl = spawn(*options(site, out, "--recrawl", "1s", "--workers", "2"))
        wait_for(lambda: all(len(site.of(path)) >= 2 for path in pages if path != "/gone"), crawl)
        pages["/new"] = Page(html("has changed", "/found"), headers={"ETag": '"b"'})
        pages["/found"] = Page(html("found on a second visit"))
        wait_for(lambda: site.of("/found"), crawl)
        wait_more(site, 10, crawl)
        wait_for(lambda: len(site.of("/picky")) >= 3, crawl)
        stop(crawl)
    check_records(out)
    site.check_polite()

    first, *again = history(out, site.url + "/tagged")
    assert (first["kind"], first["fetch_status"], first["etag"]) == ("page", 200, 'W/"one"')
    assert len(again) >= 2
    for row in again:
        assert (row["kind"], row["fetch_status"], row["reason"]) == ("revisit", 304, None)
        assert row["revisit_of"] == first["page_id"]
        assert row["revisit_time"] == first["fetch_time"]
        for same in ("content_digest", "text_digest", "etag", "depth", "via"):
            assert row[same] == first[same], same
    assert all(a.headers["If-None-Match"] == 'W/"one"' for a in site.of("/tagged")[1:])
    check_revisit_record(out, again[-1], first)

    assert {r["kind"] for r in history(out, site.url + "/dated")[1:]} == {"revisit"}
    assert all(a.headers["If-Modified-Since"] == LONG_AGO for a in site.of("/dated")[1:])

    assert {r["fetch_status"] for r in history(out, site.url + "/bare")} == {200}
    assert all("If-None-Match" not in a.headers for a in site.of("/bare"))

    changed = history(out, site.url + "/new")
    assert {r["etag"] for r in changed} == {'"a"', '"b"'}
    assert {r["content_digest"] for r in changed if r["etag"] == '"a"'}.isdisjoint(
        r["content_digest"] for r in changed if r["etag"] == '"b"'
    )
    [one, *_] = history(out, site.url + "/found")
    assert (one["via"], one["depth"]) == (site.url + "/new", 2)

    assert len(history(out, site.url + "/gone")) == len(site.of("/gone")) == 1
    assert {r["redirect_to"] for r in history(out, site.url + "/moved")} == {site.url + "/bare"}
    assert all(r["recrawl_interval"] == 1.0 for r in changed)

    odd = history(out, site.url + "/unasked")
    assert {(r["kind"], r["fetch_status"], r["revisit_of"]) for r in odd} == {("page", 304, None)}
    intervals = [r["recrawl_interval"] for r in odd]
    assert intervals == pytest.approx([1.4 ** (n + 1) for n in range(len(intervals))])
    statuses = [r["fetch_status"] for r in history(out, site.url + "/picky")]
    assert statuses[:3] == [200, 412, 200]
    raw = comity("corpus", "show", str(out), site.url + "/tagged", "--raw")
    assert raw.stdout.encode() == pages["/tagged"].body


def check_revisit_record(out: Path, row: dict[str, Any], first: dict[str, Any]) -> None:
    """A WARC 1.1 revisit of the profile server-not-modified, that points at the first record."""
    with (out / row["warc_filename"]).open("rb") as warc:
        warc.seek(row["warc_record_offset"])
        [record] = ArchiveIterator(io.BytesIO(warc.read(row["warc_record_length"])))
    head = record.rec_headers
    assert record.rec_type == "revisit"
    assert head.get_header("WARC-Profile").endswith("/warc/1.1/revisit/server-not-modified")
    assert head.get_header("WARC-Refers-To-Target-URI") == first["url"]
    date = first["fetch_time"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert head.get_header("WARC-Refers-To-Date") == date
    assert head.get_header("WARC-Payload-Digest") == first["content_digest"]
    assert record.http_headers.get_statuscode() == "304"
    assert record.content_stream().read() == b""


def test_the_interval_adapts_between_its_bounds(tmp_path: Path, spawn: Any) -> None:
    count = iter(range(10_000))

    pages = {
        "/": Page(html("still", "/restless", "/missing")),
        "/restless": Page(lambda: html(f"another text each time: {next(count)}")),
    }
    out = tmp_path / "out"
    bounds = ["--recrawl", "adaptive", "--recrawl-min", "1s", "--recrawl-max", "4s"]
    with serving(pages) as site:
        crawl = spawn(*options(site, out, *bounds, "--workers", "1"))
        wait_for(lambda: len(site.of("/restless")) >= 6 and len(site.of("/")) >= 4, crawl)
        stop(crawl)
    intervals = [r["recrawl_interval"] for r in history(out, site.url + "/restless")]
    assert intervals[:6] == pytest.approx([2.0, 1.6, 1.28, 1.024, 1.0, 1.0])
    intervals = [r["recrawl_interval"] for r in history(out, site.url + "/")]
    assert intervals[:4] == pytest.approx([2.0, 2.8, 3.92, 4.0])
    assert history(out, site.url + "/missing")[0]["recrawl_interval"] == 2.8
    for path in ("/restless", "/"):
        gaps = [b.started - a.started for a, b in pairwise(site.of(path))]
        assert all(gap >= 1.0 for gap in gaps)


def test_killed_workers_do_not_double_visits(tmp_path: Path, spawn: Any) -> None:
    pages = {f"/{n}": Page(html(f"page {n}"), headers={"ETag": f'"{n}"'}) for n in range(6)}
    pages["/"] = Page(html("links", *pages))
    out = tmp_path / "out"
    with serving(pages) as site:
        crawl = spawn(*options(site, out, "--recrawl", "1s", "--workers", "2"), **SHORT)
        for n in range(2):
            wait_more(site, 12, crawl)
            kill_a_worker(crawl, n % 2)
        wait_more(site, 20, crawl)
        stop(crawl)
        before = {path: len(history(out, site.url + path)) for path in pages}
        resumed = spawn("crawl", "--resume", "--out", str(out), "--json", **SHORT)
        wait_more(site, 20, resumed)
        stop(resumed)
    site.check_polite()
    for path, known in before.items():
        assert len(history(out, site.url + path)) > known > 1  # which also counts each visit


def test_bounds_end_it_and_only_pages_count(tmp_path: Path) -> None:
    pages = {
        "/": Page(html("has a tag", "/bare"), headers={"ETag": '"1"'}),
        "/bare": Page(html("has none")),
    }
    out = tmp_path / "out"
    with serving(pages) as site:
        done = comity(
            *options(site, out, "--recrawl", "1s", "--max-pages", "4", "--workers", "1"),
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert (summary["reason"], summary["pages"]) == ("max-pages", 4)
        more = comity(
            "crawl", "--resume", "--out", str(out), "--max-pages", "6", "--json", timeout=100
        )
        assert more.returncode == 0, more.stderr
        assert json.loads(more.stdout)["pages"] == 6
    assert [r["fetch_status"] for r in history(out, site.url + "/")[:2]] == [200, 304]
    assert [r["fetch_status"] for r in history(out, site.url + "/bare")] == [200] * 5


def sitemap(url: str, changed: dict[str, float]) -> bytes:
    stamps = {
        path: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for path, at in changed.items()
    }
    entries = "".join(
        f"<url><loc>{url}{path}</loc><lastmod>{stamp}</lastmod></url>"
        for path, stamp in stamps.items()
    )
    return f"<urlset>{entries}</urlset>".encode()


def test_a_sitemap_brings_pages_forward(tmp_path: Path, spawn: Any) -> None:
    """All is visited once and due in a day; a job resumed at another pace sees the sitemap anew."""
    pages = {"/": Page(html("the first page")), "/a": Page(html("a")), "/b": Page(html("b"))}
    out = tmp_path / "out"
    with serving(pages) as site:
        long_ago = time.time() - 10 * 86_400
        pages["/map.xml"] = Page(
            sitemap(site.url, {"/a": long_ago, "/b": long_ago}), type="text/xml"
        )
        pages["/again.xml"] = Page(b"<urlset></urlset>", type="text/xml")
        listed = ["--sitemap", site.url + "/map.xml"]
        bounds = ["--recrawl", "1d", "--recrawl-min", "1s"]
        crawl = spawn(*options(site, out, *listed, *bounds, "--workers", "1"))
        wait_for(lambda: site.of("/a") and site.of("/b"), crawl)
        stored = {site.url + "/a", site.url + "/b"}
        wait_for(lambda: {row["url"] for row in rows(out, "url")} >= stored, crawl)
        stop(crawl)
        assert len(site.of("/a")) == len(site.of("/b")) == 1
        now = time.time() + 2  # stamps have whole seconds; the site's clock is a little ahead
        pages["/again.xml"] = Page(sitemap(site.url, {"/a": now, "/b": long_ago}), type="text/xml")
        again = spawn(
            "crawl", "--resume", "--sitemap", site.url + "/again.xml", "--out", str(out), "--json"
        )
        wait_for(lambda: len(site.of("/a")) == 2, again)
        wait_for(lambda: len(history(out, site.url + "/a")) >= 2, again)
        stop(again)
    assert len(site.of("/b")) == len(site.of("/")) == 1
    assert len(history(out, site.url + "/a")) == len(site.of("/a"))
