"""A frontier that is lost comes back from the corpus; one that moves goes on elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from crawler.demo.judge import judge
from storage.blob import open_store
from storage.committer import Committer
from storage.layout import Layout

from .conftest import DELAY, Web, comity, command, environment
from .running import refused
from .test_crawl import rows

pytestmark = pytest.mark.timeout(300)

MANY = ("--max-pages", "100000")


def crawl_in_part(web: Web, out: Path) -> dict[str, Any]:
    done = comity(
        "crawl", *web.options(), "--workers", "2", "--out", str(out), "--max-pages", "120", "--json"
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["pages"] == 120
    return found


def go_on(web: Web, out: Path) -> dict[str, Any]:
    done = comity(
        "crawl", "--resume", "--out", str(out), "--dns-server", web.at.dns, *MANY, "--json"
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(out: Path) -> None:
    done = comity("frontier", "check", str(out))
    assert done.returncode == 0, done.stdout


def contacts(web: Web) -> Counter[str]:
    return Counter(entry.url for entry in web.requests() if entry.path != "/robots.txt")


def test_after_a_total_loss_a_crawl_goes_on_where_it_was(web: Web, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = crawl_in_part(web, out)
    stored = rows(out, "url", "fetch_status", "kind", kind=None)
    refusing = {urlsplit(r["url"]).netloc for r in stored if r["fetch_status"] in (429, 503)}
    requested = contacts(web)
    shutil.rmtree(out / ".comity" / "redis")

    done = comity("frontier", "rebuild", "--from", str(out), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["seen"] == before["visits"] == report["done"] + sum(report["dropped"].values())
    assert report["queued"] == sum(before["unreached"].values())
    assert report["pages_left"] == 0
    assert report["unknown"]
    check(out)

    after = go_on(web, out)
    truth = web.truth()
    assert after["pages"] == truth["pages"]
    found = rows(out, "url", "fetch_status", "reason", "page_id")
    assert max(Counter(row["page_id"] for row in found).values()) == 1
    answered = {row["url"]: row["fetch_status"] for row in found if row["fetch_status"]}
    must = {u: e["status"] for u, e in truth["must"].items() if e["kind"] == "page"}
    assert {u: s for u, s in answered.items() if u not in set(truth["may"])} == must
    again = contacts(web)
    kept = {row["url"] for row in stored if row["kind"] != "robots"}
    assert {url: again[url] for url in kept} == {url: requested[url] for url in kept}
    # Attempts start anew for what was under way, and nobody knows what a site asked for in an
    # answer that was tried again.
    verdict = judge(web.requests(), truth, DELAY, refetches=True)
    verdict.early = [e for e in verdict.early if e.clock != "retry-after" or e.key in refusing]
    assert verdict.ok, verdict.summary()


def test_a_frontier_moves_and_its_crawl_goes_on(web: Web, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "frontier.comity"
    crawl_in_part(web, out)
    exported = comity("frontier", "export", str(file), "--out", str(out), "--json")
    assert exported.returncode == 0, exported.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    before = comity("frontier", "stats", str(out), "--json")
    assert "is not empty" in refused("frontier", "import", str(file), "--out", str(out))
    shutil.rmtree(out / ".comity" / "redis")
    imported = comity("frontier", "import", str(file), "--out", str(out), "--json")
    assert imported.returncode == 0, imported.stderr
    assert json.loads(imported.stdout)["items"] == json.loads(exported.stdout)["items"]
    after = comity("frontier", "stats", str(out), "--json")
    assert counted(after) == counted(before)
    check(out)
    assert go_on(web, out)["pages"] == web.truth()["pages"]
    found = rows(out, "page_id")
    assert max(Counter(row["page_id"] for row in found).values()) == 1


def counted(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What does not change as time goes by."""
    [stats] = json.loads(done.stdout).values()
    passing = ("next_ready", "hosts_ready", "hosts_waiting")
    return {name: value for name, value in stats.items() if name not in passing}


def table(root: Path, *jobs: str) -> None:
    """Tables without rows."""
    store = open_store(str(root))
    for job in jobs:
        Committer(store, Layout("default", job)).prepare()
    store.close()


def test_what_cannot_be_rebuilt_is_told_in_a_line(tmp_path: Path) -> None:
    nowhere = refused("frontier", "rebuild", "--from", str(tmp_path / "nowhere"))
    assert "no corpus in" in nowhere
    two = tmp_path / "two"
    table(two, "a", "b")
    several = refused("frontier", "rebuild", "--from", str(two))
    assert "--name (default/a, default/b)" in several
    nameless = refused("frontier", "rebuild", "--from", str(two), "--name", "a")
    assert "has no job.json" in nameless
    assert not (two / ".comity").exists()
    job = tmp_path / "job.toml"
    job.write_text('scope = "host"\n')
    seedless = refused("frontier", "rebuild", "--from", str(two), "--name", "a", "--job", str(job))
    assert "names no seeds" in seedless


def test_a_rebuild_wants_an_empty_database(tmp_path: Path) -> None:
    out, job = tmp_path / "out", tmp_path / "job.toml"
    table(out, "a")
    job.write_text('seeds = ["http://127.0.0.1:1/"]\n')
    rebuild = ("frontier", "rebuild", "--from", str(out), "--job", str(job))
    done = comity(*rebuild)
    assert done.returncode == 0, done.stderr
    assert "queued        1" in done.stdout
    again = refused(*rebuild)
    assert "is not empty: use an empty one, or remove" in again
    elsewhere = comity(*rebuild, str(tmp_path / "elsewhere"))
    assert elsewhere.returncode == 0, elsewhere.stderr


def test_what_cannot_be_imported_or_exported_is_told_in_a_line(tmp_path: Path) -> None:
    out, empty = str(tmp_path / "out"), tmp_path / "empty"
    missing = refused("frontier", "import", str(tmp_path / "missing"), "--out", out)
    assert "No such file" in missing
    empty.write_bytes(b"")
    assert "not an export" in refused("frontier", "import", str(empty), "--out", out)
    assert "whose frontier?" in refused("frontier", "export", str(empty))
    assert "holds no frontier" in refused("frontier", "export", "-", "--out", str(tmp_path / "no"))


def test_an_export_goes_through_a_pipe(tmp_path: Path) -> None:
    out, job = tmp_path / "out", tmp_path / "job.toml"
    table(out, "a")
    job.write_text('seeds = ["http://127.0.0.1:1/"]\n')
    done = comity("frontier", "rebuild", "--from", str(out), "--job", str(job))
    assert done.returncode == 0, done.stderr
    other = tmp_path / "other"
    with subprocess.Popen(
        command("frontier", "export", "-", "--out", str(out)),
        stdout=subprocess.PIPE,
        env=environment(),
    ) as source:
        read = subprocess.run(
            command("frontier", "import", "-", "--out", str(other)),
            stdin=source.stdout,
            capture_output=True,
            env=environment(),
            timeout=60,
            check=False,
        )
    assert (source.returncode, read.returncode) == (0, 0), read.stderr
    check(other)
