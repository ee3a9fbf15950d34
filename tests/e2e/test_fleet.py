"""Workers that join and leave by themselves: Redis over TCP, pages on S3, no shared disk."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from crawler.demo.judge import judge
from storage.corpus import Corpus
from tests.servers import S3Server, s3_server

from .bad_servers import joined
from .conftest import DELAY, LEASE, SHORT, Web
from .test_crawl import told, wait_for

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[S3Server]:
    with s3_server(tmp_path / "s3") as server:
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket="pages")
        client.close()
        yield server


def test_two_workers_one_killed_the_crawl_completes(
    web: Web,
    redis_port: int,
    store: S3Server,
    tmp_path: Path,
    spawn: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = store.environ() | SHORT
    redis_url = f"redis://127.0.0.1:{redis_port}/0"
    fleet = []
    for name in ("alpha", "beta"):
        home = tmp_path / name
        home.mkdir()
        where = ["--redis", redis_url, "--dns-server", web.at.dns]
        fleet.append(spawn("worker", *where, "--name", name, HOME=str(home), **env))
    wait_for(lambda: joined(redis_port) == 2)  # or one might do it all before the other is up
    crawl = spawn(
        "crawl", *web.options(), "--redis", redis_url, "--workers", "0",
        "--out", "s3://pages/corpus", "--json", **env,
    )  # fmt: skip
    for key, value in env.items():
        monkeypatch.setenv(key, value)

    def committed_by() -> set[str]:
        try:
            with Corpus("s3://pages/corpus") as corpus:
                batches = corpus.pages(("worker",), kind=None)
                return {row["worker"] for batch in batches for row in batch.to_pylist()}
        except Exception:
            return set()

    wait_for(lambda: committed_by() == {"alpha", "beta"}, crawl)
    os.killpg(fleet[0].pid, signal.SIGKILL)
    _stdout, stderr = crawl.communicate(timeout=300)
    assert crawl.returncode == 0, stderr
    truth = web.truth()
    with Corpus("s3://pages/corpus") as corpus:
        stored = [
            row
            for batch in corpus.pages(("url", "fetch_status", "page_id", "worker"))
            for row in batch.to_pylist()
        ]
        assert not list(corpus.verify())
    assert max(Counter(row["page_id"] for row in stored).values()) == 1
    got = {row["url"] for row in stored if row["fetch_status"]} - set(truth["may"])
    assert got == {u for u, e in truth["must"].items() if e["kind"] == "page"}
    assert {row["worker"] for row in stored} == {"alpha", "beta"}
    report = judge(web.requests(), truth, DELAY)
    assert not told(report.early, LEASE), report.summary()
    assert not report.overlaps, report.summary()
    assert not report.robots_violations, report.summary()
    fleet[1].send_signal(signal.SIGTERM)
    assert fleet[1].wait(120) == 0
