"""Crawls that are stopped, by a person or by a full disk: told in a line, gone on with later."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from crawler.demo.judge import judge
from frontier import keys

from .bad_servers import joined, redis_server
from .conftest import DELAY, SHORT, Web
from .running import left, marked, run, workers
from .test_crawl import check_records, rows, wait_for

pytestmark = pytest.mark.timeout(600)

PROGRESS = re.compile(r"(crawling|draining) \d|comity: warning: ")
FROZEN = 60.0  # seconds, fewer than a crawl waits for workers that do not drain


class TestSignals:
    def start(self, web: Web, out: Path, spawn: Any) -> tuple[subprocess.Popen[str], str]:
        mark = uuid.uuid4().hex
        args = ["crawl", *web.options(), "--workers", "2", "--out", str(out), "--json"]
        return spawn(*args, MARK=mark), mark

    def ended(self, crawl: subprocess.Popen[str], mark: str, seconds: float) -> dict[str, Any]:
        """The summary of an interrupted crawl that said nothing but progress and warnings."""
        stdout, stderr = crawl.communicate(timeout=seconds)
        assert crawl.returncode == 130, stderr
        assert all(PROGRESS.match(line) for line in stderr.splitlines()), stderr
        assert not left(mark)
        [line] = stdout.splitlines()
        summary: dict[str, Any] = json.loads(line)
        assert (summary["state"], summary["reason"]) == ("interrupted", "interrupted")
        return summary

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_other_signals_drain_too(
        self, web: Web, tmp_path: Path, spawn: Any, number: signal.Signals
    ) -> None:
        out = tmp_path / "out"
        crawl, mark = self.start(web, out, spawn)
        wait_for(lambda: len(web.requests()) > 30, crawl)
        crawl.send_signal(number)
        summary = self.ended(crawl, mark, 150)
        assert summary["unreached"]
        asked = {entry.url for entry in web.requests() if entry.path != "/robots.txt"}
        stored = {row["url"] for row in rows(out, "url", "fetch_status") if row["fetch_status"]}
        assert stored
        assert stored <= asked

    def test_a_second_ctrl_c_does_not_wait(self, web: Web, tmp_path: Path, spawn: Any) -> None:
        crawl, mark = self.start(web, tmp_path / "out", spawn)
        wait_for(lambda: len(web.requests()) > 10, crawl)
        for worker in workers(crawl.pid):
            os.kill(worker, signal.SIGSTOP)  # it will never drain
        crawl.send_signal(signal.SIGINT)
        wait_for(lambda: _received(crawl.pid), crawl)  # two signals at once would be one
        crawl.send_signal(signal.SIGINT)
        self.ended(crawl, mark, FROZEN)

    def test_ctrl_c_before_a_worker_is_up(self, web: Web, tmp_path: Path, spawn: Any) -> None:
        out = tmp_path / "out"
        crawl, mark = self.start(web, out, spawn)
        wait_for(lambda: _seeded(mark), crawl)  # just begun: a worker takes much longer to start
        crawl.send_signal(signal.SIGINT)
        assert self.ended(crawl, mark, 150)["unreached"]

    def test_ctrl_c_before_the_crawl_began(self, tmp_path: Path, spawn: Any) -> None:
        seeds, mark = tmp_path / "seeds", uuid.uuid4().hex
        os.mkfifo(seeds)
        crawl = spawn("crawl", "--seeds", str(seeds), "--out", str(tmp_path / "out"), MARK=mark)
        with seeds.open("wb"):  # returns when it has begun to read
            crawl.send_signal(signal.SIGINT)
            assert crawl.communicate(timeout=60) == ("", "")
        assert crawl.returncode == 130
        assert not left(mark)
        assert not (tmp_path / "out").exists()

    def test_a_worker_leaves(self, tmp_path: Path, spawn: Any) -> None:
        mark = uuid.uuid4().hex
        with redis_server(tmp_path) as port:
            url = f"redis://127.0.0.1:{port}/0"
            worker = spawn("worker", "--redis", url, HOME=str(tmp_path), MARK=mark)
            wait_for(lambda: joined(port), worker)
            worker.send_signal(signal.SIGINT)
            assert worker.communicate(timeout=120) == ("", "")
        assert worker.returncode == 0
        assert not left(mark)


def _received(pid: int) -> bool:
    """Whether a process has been given all signals that were sent to it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return not any(int(mask, 16) for mask in re.findall(r"^(?:Sig|Shd)Pnd:\s*(\w+)", status, re.M))


def _servers(mark: str) -> dict[int, str]:
    """The private servers of a run that are up: pid and socket."""
    titles = {pid: line.partition("unixsocket:") for pid, line in marked(mark).items()}
    return {pid: path for pid, (_, found, path) in titles.items() if found}


def _seeded(mark: str) -> bool:
    """Whether the seeds of a run are in its private server."""
    for path in _servers(mark).values():
        with redis.Redis(unix_socket_path=path) as client, suppress(redis.ConnectionError):
            return bool(client.hget(keys.job("default/crawl"), "seeded") == b"1")
    return False


def test_the_death_of_the_private_server_ends_the_crawl(
    web: Web, tmp_path: Path, spawn: Any
) -> None:
    mark = uuid.uuid4().hex
    common = ["--out", str(tmp_path / "out"), "--workers", "2"]
    crawl = spawn("crawl", *web.options(), *common, MARK=mark, **SHORT)
    wait_for(lambda: len(web.requests()) > 10, crawl)
    [server] = _servers(mark)
    os.kill(server, signal.SIGKILL)
    stdout, stderr = crawl.communicate(timeout=120)
    assert crawl.returncode == 1
    assert "failed" in stdout
    said = [line for line in stderr.splitlines() if line.startswith("comity: error: ")]
    assert len(said) == 1, stderr
    assert "the crawl stopped: Redis at unix:" in said[0]
    assert "Traceback" not in stderr
    assert not left(mark)
    again = ["--resume", *common, "--dns-server", web.at.dns, "--time-limit", "1s"]
    assert run("crawl", *again, timeout=300, **SHORT).returncode == 0


Resize = Callable[[str], None]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str, str], tuple[Path, Resize]]]:
    """``small_disk(name, size)``: a file system of its own, and a function that resizes it."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    with ExitStack() as stack:

        def make(name: str, size: str) -> tuple[Path, Resize]:
            path = tmp_path / name
            path.mkdir()

            def mount(*options: str) -> subprocess.CompletedProcess[str]:
                command = ["mount", *options, "-t", "tmpfs", "tmpfs", str(path)]
                return subprocess.run(command, capture_output=True, text=True, check=False)

            done = mount("-o", f"size={size}")
            if done.returncode:
                pytest.skip(f"no small file system here: {done.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", "-l", str(path)], check=True)

            def resize(new: str) -> None:
                assert mount("-o", f"remount,size={new}").returncode == 0

            return path, resize

        yield make


class TestAFullDisk:
    """Frontier, open segments and pages fill one disk, or the open segments one of their own."""

    def stopped(self, *args: str, **env: str) -> str:
        done = run("crawl", *args, timeout=150, **env)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        *before, last = done.stderr.splitlines()
        assert all(PROGRESS.match(line) for line in before), done.stderr
        assert "No space left on device" in last
        return last.removeprefix("comity: error: ")

    def test_nothing_is_lost(self, web: Web, tmp_path: Path, small_disk: Any) -> None:
        disk, resize = small_disk("disk", "1800k")  # a crawl takes twice that
        out = disk / "out"
        common = ["--out", str(out), "--workers", "2"]
        line = self.stopped(*web.options(), *common, **SHORT)
        assert line.startswith("the crawl stopped: ")
        assert line.endswith("what is stored stays, --resume goes on from there")
        assert len(web.requests()) > 30
        again = [*common, "--resume", "--dns-server", web.at.dns]
        assert self.stopped(*again, **SHORT).startswith(f"cannot write {out}: ")  # still full
        resize("64m")
        done = run("crawl", *again, "--json", timeout=300, **SHORT)
        assert done.returncode == 0, done.stderr
        truth = web.truth()
        assert json.loads(done.stdout)["pages"] == truth["pages"]
        stored = rows(out, "url", "fetch_status", "page_id")
        assert max(Counter(row["page_id"] for row in stored).values()) == 1
        got = {r["url"]: r["fetch_status"] for r in stored if r["fetch_status"]}
        must = {u: e["status"] for u, e in truth["must"].items() if e["kind"] == "page"}
        assert {u: s for u, s in got.items() if u not in set(truth["may"])} == must
        check_records(out)
        report = judge(web.requests(), truth, DELAY, refetches=True)
        assert report.ok, report.summary()
        assert len(list((out / ".comity/spool").rglob("*.gz"))) == 0

    def test_of_the_spool_alone(self, web: Web, tmp_path: Path, small_disk: Any) -> None:
        disk, resize = small_disk("spool", "300k")
        out = str(tmp_path / "out")
        common = ["--out", out, "--workers", "1"]
        line = self.stopped(*web.options(), *common, COMITY_SPOOL=str(disk), **SHORT)
        assert line.startswith(f"the crawl stopped: cannot write {disk}/")
        resize("64m")
        again = [*common, "--resume", "--dns-server", web.at.dns, "--max-pages", "40"]
        done = run("crawl", *again, timeout=150, COMITY_SPOOL=str(disk), **SHORT)
        assert done.returncode == 0, done.stderr
        stored = rows(Path(out), "page_id")
        assert max(Counter(row["page_id"] for row in stored).values()) == 1
