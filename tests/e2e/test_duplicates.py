"""What becomes of pages that repeat others: flagged, dropped, compared over a workspace."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from dedupe.exact import digest
from tests.dedupe.texts import edited, joined, words

from .conftest import comity
from .durable import DurableRedis
from .test_crawl import check_records, rows, wait_for
from .test_recovery import kill_a_worker
from .test_recrawl import Page, Site, html, options, serving, stop

pytestmark = pytest.mark.timeout(240)

COPIES = 24


def chain(seed: int, copies: int = COPIES) -> dict[str, Page]:
    """A page, and near-duplicates of it: each is linked from the one before it alone."""
    rng = random.Random(seed)
    text = words(rng, 300)
    bodies = [joined(text), *(joined(edited(rng, text, 1)) for _ in range(copies))]
    bodies[3:4] = bodies[2:3]  # an exact copy of the text; its link differs
    return {
        "/" if n == 0 else f"/{n}": Page(html(body, *([f"/{n + 1}"] if n < copies else [])))
        for n, body in enumerate(bodies)
    }


def job_file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "job.toml"
    path.write_text(f"segment_age = '0.5s'\n{text}\n")
    return str(path)


def stored(out: Path, site: Site) -> dict[str, dict[str, Any]]:
    """The pages' rows by path; all addresses have one."""
    found = {r["url"].removeprefix(site.url): r for r in rows(out)}
    assert set(found) == set(site.pages)
    return found


def check_nothing_is_lost(found: dict[str, dict[str, Any]]) -> None:
    """Whatever was dropped is a copy of a page that is stored."""
    by_id = {row["page_id"]: row for row in found.values()}
    for row in found.values():
        if row["reason"] == "duplicate":
            original = by_id[row["duplicate_of"]]
            assert (original["reason"], bool(original["text"])) == (None, True)
            assert original["warc_filename"]
            assert row["text"] is None
        else:
            assert row["text"]
            assert row["warc_filename"]


@pytest.mark.parametrize("keep_raw", [False, True])
def test_copies_of_stored_pages_are_dropped_and_their_links_followed(
    tmp_path: Path, keep_raw: bool
) -> None:
    out, pages = tmp_path / "out", chain(1)
    text = f"dedupe = 'drop'\ndedupe_keep_raw = {str(keep_raw).lower()}"
    with serving(pages) as site:
        done = comity(*options(site, out, "--job", job_file(tmp_path, text), "--workers", "1"))
    assert done.returncode == 0, done.stderr
    found = stored(out, site)
    check_nothing_is_lost(found)
    dropped = [row for row in found.values() if row["reason"] == "duplicate"]
    assert 5 < len(dropped) <= COPIES  # those that came before the first commit are kept
    assert {row["duplicate_of"] for row in dropped} == {found["/"]["page_id"]}
    assert {bool(row["warc_filename"]) for row in dropped} == {keep_raw}
    assert {row["duplicate_kind"] for row in dropped} <= {"near", "same-text"}
    assert all(row["similarity"] > 0.79 for row in dropped)
    assert all(row["content_digest"] and row["fetch_status"] == 200 for row in dropped)
    aside = 2  # robots.txt and tdmrep.json
    assert check_records(out) == len(found) + aside - (0 if keep_raw else len(dropped))
    info = comity("corpus", "info", str(out), "--json").stdout
    assert f'"pages": {len(found) - len(dropped)}' in info.replace('":', '": ').replace("  ", " ")
    told = comity("explain", site.url + f"/{COPIES}", str(out))
    assert "duplicate" in told.stdout


def test_a_killed_worker_leaves_no_copy_without_its_original(tmp_path: Path, spawn: Any) -> None:
    out, pages = tmp_path / "out", chain(2, copies=40)
    file = job_file(tmp_path, "dedupe = 'drop'")
    with serving(pages) as site:
        crawl = spawn(*options(site, out, "--job", file, "--workers", "2"))
        for turn, asked in enumerate((8, 20)):
            wait_for(lambda asked=asked: len(site.asked) >= asked, crawl)
            kill_a_worker(crawl, turn)
        crawl.communicate(timeout=180)
    assert crawl.returncode == 0
    check_nothing_is_lost(stored(out, site))


def test_links_of_copies_are_left_alone_where_the_job_says_so(tmp_path: Path) -> None:
    out, pages = tmp_path / "out", chain(3)
    with serving(pages) as site:
        file = job_file(tmp_path, "dedupe_links = false")
        done = comity(*options(site, out, "--job", file, "--workers", "1"))
        assert done.returncode == 0, done.stderr
    assert not site.of("/2")
    assert site.of("/1")


def test_jobs_of_a_workspace_are_compared_and_workspaces_are_not(tmp_path: Path) -> None:
    pages, server = chain(4, copies=1), DurableRedis(tmp_path)
    server.start()
    kinds = {}
    file = job_file(tmp_path, "dedupe_scope = 'workspace'")
    try:
        with serving(pages) as site:
            for workspace, name in (("one", "a"), ("one", "b"), ("two", "a")):
                out = tmp_path / workspace / name
                done = comity(
                    *options(site, out, "--job", file, "--redis", server.url),
                    *("--workspace", workspace, "--name", name, "--workers", "1"),
                )
                assert done.returncode == 0, done.stderr
                [first] = [r for r in rows(out) if r["url"] == site.url + "/"]
                kinds[workspace, name] = first["duplicate_kind"]
    finally:
        server.kill()
    assert kinds == {("one", "a"): None, ("one", "b"): "exact", ("two", "a"): None}


def test_a_resumed_job_compares_with_what_it_stored_before_its_index_expired(
    tmp_path: Path,
) -> None:
    out, pages = tmp_path / "out", chain(5, copies=2)
    file = job_file(tmp_path, "dedupe_keep = '0s'")
    extra = Page(pages["/1"].body.replace(b"/2", b"/none"))
    with serving({"/": pages["/"], "/1": pages["/1"], "/2": pages["/2"]}) as site:
        again = ("--job", file, "--workers", "1")
        assert comity(*options(site, out, *again)).returncode == 0
        site.pages["/late"] = extra
        done = comity(*options(site, out, *again, "--resume"), site.url + "/late")
        assert done.returncode == 0, done.stderr
    late = next(r for r in rows(out) if r["url"].endswith("/late"))
    first = next(r for r in rows(out) if r["url"] == site.url + "/")
    assert (late["duplicate_kind"], late["duplicate_of"]) == ("near", first["page_id"])


def test_what_pages_are_compared_by_is_fixed_for_a_jobs_life(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(chain(6, copies=1)) as site:
        assert comity(*options(site, out, "--workers", "1")).returncode == 0
        file = job_file(tmp_path, "dedupe_threshold = 0.9")
        done = comity(*options(site, out, "--job", file, "--resume"))
    assert done.returncode == 2
    assert "dedupe_threshold = 0.9: a resumed job keeps it, which is 0.8" in done.stderr


def test_a_page_that_comes_again_byte_for_byte_is_a_revisit(tmp_path: Path, spawn: Any) -> None:
    body = html("the same at every visit " * 30, "/changing")
    pages = {
        "/": Page(body),
        "/changing": Page(lambda: html(f"changes all the time {time.monotonic()}")),
    }
    out = tmp_path / "out"
    with serving(pages) as site:
        crawl = spawn(*options(site, out, "--recrawl", "1s", "--workers", "1"))
        wait_for(lambda: all(len(site.of(path)) >= 3 for path in pages), crawl)
        stop(crawl)
    check_records(out)
    visits = sorted(
        (r for r in rows(out, kind=None) if r["url"] == site.url + "/"), key=lambda r: r["visit"]
    )
    first, *again = visits
    assert first["content_digest"] == digest(body)
    for row in again:
        assert (row["kind"], row["fetch_status"], row["reason"]) == ("revisit", 200, None)
        assert (row["revisit_of"], row["text"]) == (first["page_id"], None)
        assert row["revisit_time"] == first["fetch_time"]
        assert row["warc_record_length"] < first["warc_record_length"] + len(body)
        assert row["duplicate_of"] is None
    changing = [r for r in rows(out, kind=None) if r["url"].endswith("/changing")]
    assert {r["kind"] for r in changing} == {"page"}
