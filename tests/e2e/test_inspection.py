"""``comity frontier`` as operators use it: on crawls that run, on stopped ones, wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import SHORT, Web, comity
from .running import refused
from .test_recovery import wait_for

pytestmark = pytest.mark.timeout(240)


def asked(*args: str) -> Any:
    """What a subcommand says as JSON."""
    done = comity("frontier", *args, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_a_crawl_can_be_looked_into_while_it_runs_and_afterwards(
    web: Web, tmp_path: Path, spawn: Any
) -> None:
    out = str(tmp_path / "out")
    crawl = spawn(
        "crawl", *web.options(), "--out", out, "--delay", "0.3", "--max-pages", "150",
        "--workers", "2", "--json", **SHORT,
    )  # fmt: skip
    wait_for(lambda: len(web.requests()) > 60, crawl)
    [(job, stats)] = asked("stats", out).items()
    assert job == "default/crawl"
    assert stats["queued"] > 0
    assert asked("check", out)["findings"] == []
    stdout, stderr = crawl.communicate(timeout=180)
    assert crawl.returncode == 0, stderr

    stats = asked("stats", out)["default/crawl"]
    left = sum(json.loads(stdout)["unreached"].values())
    assert stats["accepted"] - stats["finished"] == left > 0
    lines = asked("hosts", out, "--limit", "1000")
    assert sum(line["queued"] for line in lines) == stats["queued"]
    assert len(asked("hosts", out, "--limit", "3")) == 3
    host = max(lines, key=lambda line: int(line["queued"]))["host"]
    view = asked("host", host, "--out", out)
    assert (view["host"], view["lease_ends"]) == (host, None)
    assert view["state"]["delay"] >= 0.3
    assert "may be contacted" in comity("frontier", "host", host, "--out", out).stdout
    listed = comity("frontier", "peek", host, "--out", out, "--limit", "2").stdout.splitlines()
    assert all(host in line for line in listed)
    assert 1 <= len(listed) <= 2
    assert "exactly one place" in comity("frontier", "check", out).stdout


def test_mistakes_are_told_in_one_line(tmp_path: Path) -> None:
    assert "give --redis URL" in refused("frontier", "stats")
    assert "holds no frontier" in refused("frontier", "check", str(tmp_path))
    assert "cannot be reached" in refused("frontier", "hosts", "--redis", "redis://127.0.0.1:1")
