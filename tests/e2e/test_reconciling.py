"""A crawl whose Redis comes back as it was some seconds ago: all acknowledged since is lost.

That is what the promotion of a replica that lagged behind, or a power cut, leaves.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from crawler.demo.judge import judge
from frontier import keys
from tests.cluster import running, standalone, wait_until

from .conftest import DELAY, LEASE, SHORT, Web
from .test_crawl import rows, told, wait_for

pytestmark = pytest.mark.timeout(600)


def stored(out: Path) -> int:
    try:
        return len(rows(out, "url"))
    except Exception:  # no table yet
        return 0


def test_seconds_of_acknowledged_writes_are_lost(web: Web, tmp_path: Path, spawn: Any) -> None:
    out, data = tmp_path / "out", tmp_path / "redis"
    server = standalone(data, appendonly="yes", auto_aof_rewrite_percentage="0")
    with running([server]):
        for name in ("alpha", "beta"):
            (tmp_path / name).mkdir()
            where = ["--redis", server.url, "--dns-server", web.at.dns, "--name", name]
            spawn("worker", *where, HOME=str(tmp_path / name), **SHORT)
        wait_for(lambda: server.command("ZCARD", keys.WORKERS) == 2)
        crawl = spawn(
            "crawl", *web.options(), "--redis", server.url, "--workers", "0", "--out", str(out),
            "--max-wait", "100s", "--json", **SHORT, COMITY_SEGMENT_AGE="2s",
        )  # fmt: skip
        wait_for(lambda: stored(out) > 10, crawl)
        shutil.copytree(data / "appendonlydir", tmp_path / "old")  # ends in the midst of a command
        before = stored(out)
        wait_for(lambda: stored(out) > before + 40, crawl)
        server.kill()
        shutil.rmtree(data / "appendonlydir")
        shutil.copytree(tmp_path / "old", data / "appendonlydir")
        server.start()
        wait_until("an answer", server.answers)
        stdout, stderr = crawl.communicate(timeout=400)
    assert crawl.returncode == 0, stderr
    truth = web.truth()
    found = rows(out, "url", "fetch_status", "page_id")
    assert max(Counter(row["page_id"] for row in found).values()) == 1
    got = {row["url"] for row in found if row["fetch_status"]} - set(truth["may"])
    must = {u for u, e in truth["must"].items() if e["kind"] == "page"}
    assert got == must, f"{stdout}{stderr}"
    assert json.loads(stdout)["pages"] == truth["pages"]
    report = judge(web.requests(), truth, DELAY, refetches=True)
    report.early = told(report.early, LEASE)
    assert report.ok, report.summary()
