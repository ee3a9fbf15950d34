"""Workers that die at bad moments, and sites that answer badly: the job ends, and ends right."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from crawler.demo.judge import judge

from .bad_servers import joined, redis_server
from .conftest import DELAY, LEASE, SHORT, Web, comity
from .running import workers
from .test_crawl import check_records, rows, told, wait_for

pytestmark = pytest.mark.timeout(600)

Answer = tuple[int, dict[str, str], bytes]


class Site:
    """A host of its own on loopback: answers by path, and a list of what was asked for."""

    def __init__(self, address: str, answer: Callable[[str], Answer], port: int = 0) -> None:
        site = self
        self.paths: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.paths.append(self.path)
                status, headers, body = answer(self.path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer((address, port), Handler)
        self.url = f"http://{address}:{self.server.server_port}/"


@contextmanager
def serving(*sites: Site) -> Iterator[None]:
    threads = [Thread(target=site.server.serve_forever) for site in sites]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for site, thread in zip(sites, threads, strict=True):
            site.server.shutdown()
            site.server.server_close()
            thread.join()


def kill_a_worker(crawl: subprocess.Popen[str], which: int) -> None:
    """Kill one of a crawl's two workers, once both are there: one killed before takes a while to
    be replaced."""

    def both() -> list[int]:
        found = workers(crawl.pid)
        return found if len(found) == 2 else []

    victim = wait_for(both, crawl)[which]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in workers(crawl.pid), crawl)


def wait_for_more(web: Web, requests: int, crawl: subprocess.Popen[str]) -> None:
    """Wait for so many more requests of a crawl."""
    before = len(web.requests())
    wait_for(lambda: len(web.requests()) > before + requests, crawl)


def html(*links: str) -> Answer:
    body = "".join(f'<a href="{link}">x</a>' for link in links).encode()
    return 200, {"Content-Type": "text/html"}, body


def test_a_job_drains_though_a_worker_died_with_leases(
    web: Web, tmp_path: Path, spawn: Any
) -> None:
    out = ["--workers", "2", "--out", str(tmp_path / "out"), "--json"]
    crawl = spawn("crawl", *web.options(), *out, **SHORT)
    wait_for(lambda: len(web.requests()) > 60, crawl)
    kill_a_worker(crawl, 0)
    crawl.send_signal(signal.SIGINT)
    stdout, stderr = crawl.communicate(timeout=150)
    assert crawl.returncode == 130, stderr
    assert json.loads(stdout)["unreached"]


# max-wait is above the breaker's first wait: a URL that fails again after each kill may open it,
# and pages of a lost segment must still be fetched again.
def test_workers_killed_again_and_again_lose_no_url(web: Web, tmp_path: Path, spawn: Any) -> None:
    out = tmp_path / "out"
    crawl = spawn(
        "crawl", *web.options(), "--workers", "2", "--out", str(out),
        "--max-wait", "100s", "--json", **SHORT,
    )  # fmt: skip
    for n in range(3):
        wait_for_more(web, 40, crawl)
        kill_a_worker(crawl, n % 2)
    stdout, stderr = crawl.communicate(timeout=400)
    assert crawl.returncode == 0, stderr
    truth = web.truth()
    stored = rows(out, "url", "fetch_status", "page_id", "reason")
    assert max(Counter(row["page_id"] for row in stored).values()) == 1
    got = {row["url"] for row in stored if row["fetch_status"]} - set(truth["may"])
    must = {u for u, e in truth["must"].items() if e["kind"] == "page"}
    assert got == must, f"{stdout}{stderr}"
    assert "poison" not in {row["reason"] for row in stored}
    report = judge(web.requests(), truth, DELAY, refetches=True)
    report.early = told(report.early, LEASE)
    assert report.ok, report.summary()


def test_a_worker_comes_back_under_its_name(web: Web, tmp_path: Path, spawn: Any) -> None:
    out = tmp_path / "out"
    with redis_server(tmp_path) as port:
        url = f"redis://127.0.0.1:{port}/0"
        where = ["--redis", url, "--dns-server", web.at.dns, "--name", "pod-0"]
        first = spawn("worker", *where, HOME=str(tmp_path), **SHORT)
        wait_for(lambda: joined(port), first)
        crawl = spawn(
            "crawl", *web.options(), "--redis", url, "--workers", "0", "--out", str(out),
            "--max-wait", "100s", "--json", **SHORT,
        )  # fmt: skip
        wait_for(lambda: len(web.requests()) > 100, crawl)
        os.killpg(first.pid, signal.SIGKILL)
        spawn("worker", *where, HOME=str(tmp_path), **SHORT)
        stdout, stderr = crawl.communicate(timeout=400)
        assert crawl.returncode == 0, stderr
        assert json.loads(stdout)["pages"] == web.truth()["pages"]


def test_robots_that_redirect_to_a_blocked_host_stop_the_host_for_good(tmp_path: Path) -> None:
    def busy(_: str) -> Answer:
        return 429, {"Retry-After": "3600"}, b""

    two = Site("127.9.0.2", busy)

    def moved(path: str) -> Answer:
        return (301, {"Location": f"{two.url}robots.txt"}, b"") if path == "/robots.txt" else html()

    one = Site("127.9.0.1", moved)
    with serving(one, two):
        done = comity(
            "crawl", one.url, two.url, "--allow-private-networks", "--delay", "0.2",
            "--max-wait", "12s", "--out", str(tmp_path / "out"), "--json",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["unreached"] == {"robots-unreachable": 2}
    assert set(one.paths) == {"/robots.txt"}
    assert len(one.paths) < 6


def test_a_robots_file_cut_short_is_not_obeyed_in_part(tmp_path: Path) -> None:
    def cut(path: str) -> Answer:
        if path == "/robots.txt":
            return 200, {"Content-Length": "60"}, b"User-agent: *\n"
        return html("/private/x")

    site = Site("127.9.0.3", cut)
    with serving(site):
        done = comity(
            "crawl", site.url, "--allow-private-networks", "--delay", "0.1",
            "--max-wait", "12s", "--out", str(tmp_path / "out"), "--json",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(site.paths) == {"/robots.txt"}
    assert json.loads(done.stdout)["unreached"] == {"robots-unreachable": 1}


def test_an_answer_of_no_use_is_a_row_and_a_record_all_the_same(tmp_path: Path) -> None:
    zeros = gzip.compress(bytes(100_000_000))

    def odd(path: str) -> Answer:
        if path == "/gzip":
            return 200, {"Content-Encoding": "gzip"}, b"this is not gzip" * 100
        if path == "/bomb":
            return 200, {"Content-Encoding": "gzip"}, zeros
        if path == "/flood":
            return 404, {f"X-{n}": "y" * 400 for n in range(300)}, b""
        return html("/gzip", "/bomb", "/flood") if path == "/" else (404, {}, b"")

    site, out = Site("127.9.0.4", odd), tmp_path / "out"
    with serving(site):
        done = comity(
            "crawl", site.url, "--allow-private-networks", "--delay", "0.1", "--workers", "1",
            "--out", str(out), "--json",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    columns = ("url", "reason", "fetch_status", "content_truncated", "warc_filename", "attempts")
    found = {row["url"].rpartition("/")[2]: row for row in rows(out, *columns)}
    assert {name: (row["reason"], row["fetch_status"], row["content_truncated"], row["attempts"])
            for name, row in found.items()} == {
        "": (None, 200, None, 1),
        "gzip": ("bad-encoding", 200, "unspecified", 1),
        "bomb": ("bomb", 200, "length", 1),
        "flood": ("header-flood", 404, "length", 1),
    }  # fmt: skip
    assert all(row["warc_filename"] for row in found.values())
    assert check_records(out) == 6  # robots.txt and tdmrep.json, too


def test_a_broken_sitemap_is_told_and_what_is_whole_of_it_taken(tmp_path: Path) -> None:
    def listed(path: str) -> Answer:
        if path != "/map.xml":
            return (404, {}, b"") if path == "/robots.txt" else html()
        here = site.url
        body = f"<urlset><url><loc>{here}1</loc></url><url><loc>/2</loc></url><url><loc>{here}3"
        return 200, {"Content-Type": "application/xml"}, body.encode()

    site = Site("127.9.0.5", listed)
    with serving(site):
        done = comity(
            "crawl", "--sitemap", f"{site.url}map.xml", "--allow-private-networks", "--delay",
            "0.1", "--workers", "1", "--out", str(tmp_path / "out"), "--json",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert site.paths == ["/robots.txt", "/map.xml", "/.well-known/tdmrep.json", "/1"]
    assert json.loads(done.stdout)["dropped"] == {"invalid-url": 1}
    assert f"sitemap {site.url}map.xml is broken: 1 addresses taken from it" in done.stderr
