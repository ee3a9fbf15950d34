"""``comity crawl`` on the demo web, judged from the server's log and the ground truth."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from warcio.archiveiterator import ArchiveIterator

from crawler.demo.judge import Early, judge
from crawler.tdmrep import PATH as TDM_FILE
from storage.corpus import Corpus

from .bad_servers import joined, redis_server
from .conftest import DELAY, LEASE, SHORT, Web, comity

pytestmark = pytest.mark.timeout(600)

Found = TypeVar("Found")


def rows(out: Path, *columns: str, kind: str | None = "page") -> list[dict[str, Any]]:
    with Corpus(str(out)) as corpus:
        return [
            row for batch in corpus.pages(columns or None, kind=kind) for row in batch.to_pylist()
        ]


def wait_for(
    condition: Callable[[], Found],
    process: subprocess.Popen[str] | None = None,
    seconds: float = 150.0,
) -> Found:
    """Poll until a condition holds, and return what it found; a process that ends meanwhile fails
    with what it said."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        late = time.monotonic() >= deadline
        if process is not None and (late or process.poll() is not None):
            process.kill()
            pytest.fail(f"ended or stuck: {process.communicate()}")
        assert not late, "the condition did not come true"
        time.sleep(0.05)  # polling interval, bounded by the deadline
    return found


def told(early: list[Early], lease: float) -> list[Early]:
    """Without those that a killed worker took along: a kill in the very moment of an answer leaves
    nobody who knows its Retry-After (docs/architecture.md). Even then the host is left alone until
    the lease has run out. First may come the robots.txt, where it was lost too, and then the page.
    """
    left, excused = [], set()
    for e in early:
        if e.clock == "retry-after" and e.gap >= lease - 0.5:
            excused.add(e.key)
        elif e.clock == "retry-after" and e.key in excused:
            excused.remove(e.key)
        else:
            left.append(e)
    return left


def check_set(web: Web, out: Path) -> None:
    """The stored rows are the ground truth's, each once; the log shows a polite crawl."""
    truth = web.truth()
    report = judge(web.requests(), truth, DELAY)
    assert report.ok, report.summary()
    stored = rows(out, "url", "fetch_status", "reason", "page_id")
    assert max(Counter(row["page_id"] for row in stored).values()) == 1
    answered = {row["url"]: row["fetch_status"] for row in stored if row["fetch_status"]}
    may = set(truth["may"])
    must = {u: e["status"] for u, e in truth["must"].items() if e["kind"] == "page"}
    assert {u: s for u, s in answered.items() if u not in may} == must
    dropped = {row["url"]: row["reason"] for row in stored if not row["fetch_status"]}
    # The target beyond the redirect limit is never accepted: a plain link may still lead to it.
    assert dropped == {u: r for u, r in truth["dropped"].items() if r != "redirect-limit"}


def check_records(out: Path) -> int:
    """Every WARC is whole; every row's place holds one record with its URL and digest."""
    files = sorted(out.rglob("*.warc.gz"))
    assert files
    done = subprocess.run(
        [sys.executable, "-m", "warcio.cli", "check", "-v", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "no digest" not in done.stdout
    checked = 0
    places = ("warc_filename", "warc_record_offset", "warc_record_length")
    for row in rows(out, "url", "content_digest", *places, kind=None):
        if row["warc_filename"] is None:
            continue
        with (out / row["warc_filename"]).open("rb") as warc:
            warc.seek(row["warc_record_offset"])
            member = warc.read(row["warc_record_length"])
        [record] = list(ArchiveIterator(io.BytesIO(member)))
        assert record.rec_headers.get_header("WARC-Target-URI") == row["url"]
        assert record.rec_headers.get_header("WARC-Payload-Digest") == row["content_digest"]
        checked += 1
    return checked


def test_the_stored_set_equals_the_ground_truth(web: Web, tmp_path: Path) -> None:
    out, export = tmp_path / "out", tmp_path / "pages.jsonl"
    done = comity(
        "crawl", *web.options(), "--workers", "2", "--out", str(out), "-o", str(export), "--json"
    )
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    summary = json.loads(line)
    truth = web.truth()
    check_set(web, out)
    assert check_records(out) > len(truth["must"])
    assert summary["pages"] == truth["pages"]
    assert summary["out"] == str(out)
    assert sum(summary["unreached"].values()) == len(truth["unreached"])
    assert len(export.read_text().splitlines()) == len(rows(out, "url"))
    assert summary["duplicates"] > 0
    assert summary["near_duplicates"] > 0


def test_ctrl_c_drains_and_resume_goes_on_without_refetching(
    web: Web, tmp_path: Path, spawn: Any
) -> None:
    out = tmp_path / "out"
    first = spawn("crawl", *web.options(), "--workers", "2", "--out", str(out), "--json")
    wait_for(lambda: len(web.requests()) > 60, first)
    first.send_signal(signal.SIGINT)
    stdout, stderr = first.communicate(timeout=150)
    assert first.returncode == 130, stderr
    before = json.loads(stdout)
    assert before["unreached"]
    requested = Counter(entry.url for entry in web.requests() if entry.path != "/robots.txt")
    stored = {row["url"] for row in rows(out, "url")}
    assert stored
    again = comity("crawl", "--resume", "--out", str(out), "--dns-server", web.at.dns, "--json")
    assert again.returncode == 0, again.stderr
    check_set(web, out)
    after = Counter(entry.url for entry in web.requests() if entry.path != "/robots.txt")
    assert all(after[u] == requested[u] for u in stored)
    assert json.loads(again.stdout)["pages"] == web.truth()["pages"]


def test_killed_and_resumed_nothing_is_lost_or_stored_twice(
    web: Web, tmp_path: Path, spawn: Any
) -> None:
    out = tmp_path / "out"
    env = SHORT | {"COMITY_SEGMENT_AGE": "1s"}
    options = ["--dns-server", web.at.dns, "--out", str(out), "--json", "--workers", "2"]
    first = spawn("crawl", *web.options(), *options, **env)
    wait_for(lambda: len(web.requests()) > 100, first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    again = comity("crawl", "--resume", *options, **env)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["refetched"] == 0, again.stderr  # the workers' disks are there
    assert not [path for path in (out / ".comity/spool").rglob("*") if path.is_file()]
    truth = web.truth()
    stored = rows(out, "url", "fetch_status", "page_id")
    assert max(Counter(row["page_id"] for row in stored).values()) == 1
    got = {r["url"] for r in stored if r["fetch_status"]} - set(truth["may"])
    assert got == {u for u, e in truth["must"].items() if e["kind"] == "page"}
    report = judge(web.requests(), truth, DELAY)
    assert not told(report.early, LEASE), report.summary()
    assert not report.overlaps, report.summary()
    assert not report.robots_violations, report.summary()


def test_max_pages_is_exact(web: Web, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = comity(
        "crawl", *web.options(), "--workers", "2", "--out", str(out), "--max-pages", "25", "--json"
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["pages"] == 25
    assert summary["unreached"]["max-pages"] > 0
    more = comity(
        "crawl", "--resume", "--out", str(out), "--dns-server", web.at.dns,
        "--max-pages", "40", "--json",
    )  # fmt: skip
    assert more.returncode == 0, more.stderr
    assert json.loads(more.stdout)["pages"] == 40


def test_a_directory_with_a_job_is_refused_and_left_alone(web: Web, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = ["crawl", *web.options(), "--max-pages", "3", "--out", str(out)]
    assert comity(*args).returncode == 0
    refused = comity(*args)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert len([r for r in rows(out, "fetch_status") if r["fetch_status"] == 200]) == 3


def test_two_crawls_on_one_directory(web: Web, tmp_path: Path, spawn: Any) -> None:
    out = tmp_path / "out"
    args = ["crawl", *web.options(), "--out", str(out)]
    first = spawn(*args, "--delay", "20", "--max-wait", "1h")  # not over before the other begins
    wait_for(lambda: (out / ".comity/redis/appendonlydir").exists(), first)
    refused = comity(*args)
    assert refused.returncode == 2
    assert "another crawl is running" in refused.stderr
    assert first.poll() is None


def check_bound(web: Web, done: subprocess.CompletedProcess[str], reason: str) -> None:
    """A crawl ended early, for a reason that it says."""
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["reason"] == reason
    assert summary["unreached"][reason] > 0
    assert 0 < summary["pages"] < web.truth()["pages"]


def test_a_size_limit_ends_a_crawl_and_says_so(web: Web, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out"), "--json"]
    done = comity("crawl", *web.options(), "--size-limit", "100kB", "--workers", "1", *out)
    check_bound(web, done, "size-limit")


def test_a_time_limit_ends_a_crawl_and_says_so(web: Web, tmp_path: Path, spawn: Any) -> None:
    """The worker is there before the job: its start would else take an unknown part of the time."""
    with redis_server(tmp_path) as port:
        where = ["--redis", f"redis://127.0.0.1:{port}/0", "--dns-server", web.at.dns]
        worker = spawn("worker", *where, HOME=str(tmp_path))
        wait_for(lambda: joined(port), worker)
        out = ["--workers", "0", "--out", str(tmp_path / "out"), "--json"]
        done = comity("crawl", *web.options(), *where, "--time-limit", "5s", *out)
    check_bound(web, done, "time-limit")


def test_a_resumed_crawl_heeds_what_is_given_anew(web: Web, tmp_path: Path) -> None:
    options = web.options()[len(web.at.seeds) :]
    args = ["--workers", "1", "--out", str(tmp_path / "a"), "--json"]
    first = comity("crawl", web.at.seeds[0], *options, *args, "--max-pages", "2")
    assert first.returncode == 0, first.stderr
    begun = len(web.requests())
    (tmp_path / "a").rename(tmp_path / "b")  # pages and frontier alike
    args[3] = str(tmp_path / "b")
    anew = ["--max-pages", "100", "--exclude", "re:.", "--header", "X-Anew: 1"]
    again = comity("crawl", "--resume", *options, *args, *anew)
    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout)
    assert summary["out"] == args[3]
    assert summary["dropped"]["excluded"] > 1
    assert summary["pages"] == 2  # what was queued is excluded, too
    assert len(web.requests()) == begun
    assert not (tmp_path / "a").exists()


def test_dry_run_contacts_nobody(web: Web, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.txt"
    seeds.write_text(f"{web.at.seeds[0]}\n{web.at.seeds[0]}deep/er\nhttp://169.254.169.254/\n")
    done = comity(
        "crawl",
        "--seeds",
        str(seeds),
        "--exclude",
        "*/er",
        "--dry-run",
        "--json",
        "--allow-private-networks",
    )
    assert done.returncode == 0, done.stderr
    verdicts = [(u["verdict"], u["reason"]) for u in json.loads(done.stdout)["urls"]]
    assert [v for v, _ in verdicts] == ["fetch", "skip", "skip"]
    assert [reason for _, reason in verdicts[1:]] == ["excluded", "blocked-address"]
    assert web.requests() == []


def test_fetch_shows_one_page(web: Web) -> None:
    options = ["--dns-server", web.at.dns, "--allow-private-networks", "--json"]
    done = comity("fetch", web.at.seeds[0], *options)
    assert done.returncode == 0, done.stderr
    page = json.loads(done.stdout)
    assert (page["status"], page["robots"]["allowed"]) == (200, True)
    assert len(page["links"]) > 10
    assert page["text"]
    assert [entry.path for entry in web.requests()] == ["/robots.txt", TDM_FILE, "/"]
    denied = next(iter(web.truth()["denied"]))
    done = comity("fetch", denied, *options)
    assert done.returncode == 1
    page = json.loads(done.stdout)
    assert (page["reason"], page["robots"]["allowed"]) == ("robots-denied", False)
    assert denied not in {entry.url for entry in web.requests()}


def test_sitemaps_are_followed(web: Web, tmp_path: Path) -> None:
    truth = web.truth("depth=6&sitemaps=2")
    listed = next(u for u, e in truth["must"].items() if e["kind"] == "sitemap")
    out = tmp_path / "out"
    done = comity(
        "crawl", "--sitemap", listed, "--dns-server", web.at.dns, "--allow-private-networks",
        "--delay", str(DELAY), "--max-depth", "0", "--out", str(out), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kinds = Counter(row["kind"] for row in rows(out, "kind", kind=None))
    assert kinds["sitemap"] >= 1
    assert kinds["page"] >= 1
