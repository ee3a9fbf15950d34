"""Hosts that share addresses and registered domains, crawled by a fleet, judged from the log."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from crawler.demo.judge import STALL, judge
from crawler.demo.log import read
from storage.corpus import Corpus

from .bad_servers import joined, redis_server
from .conftest import LEASE, SHORT
from .sharing import DOMAINS, HOSTS, PAGES, served, shared_web
from .test_crawl import told, wait_for

pytestmark = pytest.mark.timeout(600)

DELAY = 0.2  # seconds on all three clocks; well above what a busy machine mistakes
JOBS = ("one", "two")


def stored(out: Path, job: str) -> set[str]:
    with Corpus(str(out), job=job) as corpus:
        batches = corpus.pages(("url", "fetch_status"))
        rows = [row for batch in batches for row in batch.to_pylist()]
    return {row["url"] for row in rows if row["fetch_status"] == 200}


def test_two_jobs_four_workers_two_killed_and_every_clock_is_kept(
    tmp_path: Path, spawn: Any
) -> None:
    log, out = tmp_path / "requests.jsonl", tmp_path / "out"
    with redis_server(tmp_path) as port, served(shared_web(), log) as web:
        where = ["--redis", f"redis://127.0.0.1:{port}/0", "--dns-server", web.dns_address]
        fleet = [spawn("worker", *where, HOME=str(tmp_path / f"w{n}"), **SHORT) for n in range(4)]
        wait_for(lambda: joined(port) == 4)
        crawls = [
            spawn(
                *("crawl", *web.seeds, *where, "--name", job, "--workers", "0"),
                *("--allow-private-networks", "--scope", "any", "--delay", str(DELAY)),
                *("--contact", "me@example.org", "--out", str(out), "--json"),
                **SHORT,
            )
            for job in JOBS
        ]
        pages = HOSTS * (PAGES + 1) + 1
        for worker, part in zip(fleet, (1 / 3, 2 / 3), strict=False):
            wait_for(lambda part=part: len(read(log)) > pages * part, crawls[0])
            os.killpg(worker.pid, signal.SIGKILL)
        for crawl in crawls:
            stdout, stderr = crawl.communicate(timeout=300)
            assert crawl.returncode == 0, stderr
            assert json.loads(stdout)["pages"] == pages, stderr
        truth = web.truth("clocks=host,address,domain")
        for name, host in truth["hosts"].items():
            [host["domain"]] = [d for d in DOMAINS if name.partition(":")[0].endswith(f".{d}")]
    for job in JOBS:
        assert stored(out, job) == set(truth["must"])
    report = judge(read(log), truth, DELAY, refetches=True)
    assert not told(report.early, LEASE), report.summary()
    assert not report.overlaps, report.summary()
    assert not report.robots_violations, report.summary()
    assert not report.missing, report.summary()
    assert set(report.closest) == {"host", "address", "domain"}
    assert min(report.closest.values()) >= DELAY - STALL
