"""What a user may get wrong: one clear line, exit code 2, in time, and nothing left running.

Options and values that never leave the schema are in ``tests/crawler/cli/test_main.py``; here are
those that meet files, directories and hosts.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Web, command
from .running import BOUND, NOWHERE, refused, run
from .test_crawl import rows, wait_for

pytestmark = pytest.mark.timeout(600)


def test_an_unreadable_seeds_file(tmp_path: Path) -> None:
    missing = tmp_path / "seeds.txt"
    assert f"cannot read {missing}: No such file" in refused("crawl", "--seeds", str(missing))
    assert f"cannot read {tmp_path}: Is a directory" in refused("crawl", "--seeds", str(tmp_path))


def test_a_seeds_file_of_something_else(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    seeds.write_bytes(bytes(range(256)) * 8)
    assert f"{seeds}:1: not " in refused("crawl", "--seeds", str(seeds))
    seeds.write_bytes(b"\x1f\x8b\x08 not gzip")
    assert f"{seeds}: damaged gzip file" in refused("crawl", "--seeds", str(seeds))
    seeds.write_bytes(b"")
    assert f"{seeds}: holds no URLs" in refused("crawl", "--seeds", str(seeds))


def test_a_stream_of_seeds_is_read_once(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    os.mkfifo(seeds)
    writer = threading.Thread(
        target=seeds.write_text, args=("http://127.0.0.1:1/\n??\n",), daemon=True
    )
    writer.start()
    line = refused("crawl", "--seeds", str(seeds), "--out", str(tmp_path / "out"))
    writer.join()
    assert line == "seeds:2: not a URL: '??'"


def test_a_seed_that_is_not_a_url(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.txt"
    seeds.write_text("http://127.0.0.1/\nhttp://[::1/\n")
    out = tmp_path / "out"
    line = refused("crawl", "--seeds", str(seeds), "--out", str(out))
    assert line.startswith(f"{seeds}:2: not a URL: 'http://[::1/'")
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('scop = "host"\n', "unknown key 'scop'; did you mean 'scope'?"),
        ("max_pages = -5\n", "max_pages: should be greater than or equal to 1, not -5"),
        ("max_pages = \n", "job.toml:1: "),
        ('include = "*.html"\n', "include: should be a list"),
        ("workers = 2\n", "'workers' is a setting, not part of a job"),
        ('delay = "soon"\n', "delay: "),
    ],
)
def test_a_bad_job_file(tmp_path: Path, text: str, message: str) -> None:
    job = tmp_path / "job.toml"
    job.write_text(text)
    line = refused(*NOWHERE, "--job", str(job), "--out", str(tmp_path / "out"))
    assert str(job) in line
    assert message in line


@pytest.mark.parametrize(
    ("option", "value"),
    [("--delay", "-1"), ("--max-depth", "-1"), ("--time-limit", "-5s"), ("--workers", "-2")],
)
def test_a_negative_number(option: str, value: str) -> None:
    line = refused("crawl", "http://127.0.0.1:1/", option, value)
    assert line.startswith(f"{option}: ")
    assert value in line


class TestOut:
    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        taken = tmp_path / "taken"
        taken.write_text("mine")
        for out in (taken, taken / "below"):
            assert refused(*NOWHERE, "--out", str(out)) == f"cannot write {out}: Not a directory"
        assert taken.read_text() == "mine"

    def test_a_directory_that_cannot_be_written(self) -> None:
        assert refused(*NOWHERE, "--out", "/proc/comity").startswith("cannot write /proc/comity: ")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_directory_of_somebody_else(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir(mode=0o555)
        line = refused(*NOWHERE, "--out", str(tmp_path / "out"))
        assert line == f"cannot write {tmp_path / 'out'}: Permission denied"

    def test_no_store(self) -> None:
        assert "storage is a directory, file:// or s3://" in refused(*NOWHERE, "--out", "ftp://h/x")
        assert "names no bucket" in refused(*NOWHERE, "--out", "s3://")

    def test_nothing_to_resume(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert refused("crawl", "--resume", "--out", str(out)) == f"nothing to resume in {out}"
        assert not out.exists()

    def test_another_jobs_state(self, web: Web, tmp_path: Path) -> None:
        out = tmp_path / "out"
        limits = ["--max-pages", "2", "--workers", "1"]
        first = ["crawl", *web.options(), *limits, "--out", str(out)]
        assert run(*first).returncode == 0
        before = rows(out, "url", "page_id")
        line = refused(*NOWHERE, "--out", str(out))
        assert "holds job default/crawl (completed): continue it with --resume" in line
        line = refused("crawl", "--resume", "--name", "other", "--out", str(out))
        there = "there is default/crawl: see --workspace and --name"
        assert line == f"nothing to resume: no job default/other in {out}; {there}"
        elsewhere = ["--redis", "unix:///nowhere"]  # that database does not know of the job
        assert "cannot be reached" in refused(*NOWHERE, *elsewhere, "--out", str(out))
        (out / ".comity").rename(tmp_path / "state")
        line = refused(*NOWHERE, "--out", str(out))
        assert line.startswith(f"{out} holds the pages of another crawl of default/crawl: ")
        assert rows(out, "url", "page_id") == before

    def test_two_crawls_on_one_directory(self, web: Web, tmp_path: Path, spawn: Any) -> None:
        out = tmp_path / "out"
        slow = ["--delay", "20", "--max-wait", "1h"]  # it must not be over before the others
        first = spawn("crawl", *web.options(), *slow, "--workers", "1", "--out", str(out))
        wait_for(lambda: (out / ".comity/redis/appendonlydir").exists(), first)
        for again in (NOWHERE, ["crawl", "--resume"]):
            line = refused(*again, "--out", str(out))
            assert line == f"another crawl is running in {out}/.comity/redis"
        assert first.poll() is None


def test_an_export_to_what_cannot_be_written(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    (tmp_path / "pages.csv").mkdir()
    for path in (tmp_path / "pages.csv", tmp_path / "no/pages.csv", Path("/proc/pages.csv")):
        assert refused(*NOWHERE, *out, "-o", str(path)).startswith(f"-o: cannot write {path}: ")
    line = refused(*NOWHERE, *out, "-o", str(tmp_path / "pages.doc"))
    assert line.startswith("cannot tell the export format of pages.doc")
    assert not (tmp_path / "out").exists()


def test_an_export_that_fails_hides_no_crawl(web: Web, tmp_path: Path, spawn: Any) -> None:
    out, mine = str(tmp_path / "out"), tmp_path / "mine"
    mine.mkdir()
    options = ["--max-pages", "1", "--workers", "1", "--out", out, "--json"]
    crawl = spawn("crawl", *web.options(), *options, "-o", str(mine / "pages.csv"))
    wait_for(lambda: web.requests(), crawl)
    mine.rmdir()
    stdout, stderr = crawl.communicate(timeout=BOUND)
    assert crawl.returncode == 2
    assert json.loads(stdout)["pages"] == 1
    assert re.fullmatch(r"comity: error: [^\n]*pages.csv[^\n]*", stderr.splitlines()[-1]), stderr


def test_a_dry_run_of_a_resumed_crawl(tmp_path: Path) -> None:
    line = refused(*NOWHERE, "--dry-run", "--resume", "--out", str(tmp_path / "out"))
    assert line.startswith("--dry-run says what a new crawl would start with")


def test_seeds_from_a_closed_standard_input(tmp_path: Path) -> None:
    words = command("crawl", "--seeds", "-", "--out", str(tmp_path / "out"))
    line = ["sh", "-c", 'exec "$@" <&-', "sh", *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=BOUND, check=False)
    assert done.returncode == 2
    assert done.stderr == "comity: error: cannot read standard input: it is closed\n"


class TestCorpus:
    def test_a_directory_without_one(self, tmp_path: Path) -> None:
        for root in (tmp_path, tmp_path / "missing"):
            assert f"no corpus in {root}" in refused("corpus", "info", str(root))
            assert f"no corpus in {root}" in refused("corpus", "show", str(root), "http://a.test/")

    def test_a_page_it_does_not_have(self, web: Web, tmp_path: Path) -> None:
        out = str(tmp_path / "out")
        args = ["crawl", *web.options(), "--max-pages", "1", "--workers", "1", "--out", out]
        assert run(*args).returncode == 0
        line = refused("corpus", "show", out, "http://a.test/")
        assert line == f"{out} has no visit of http://a.test/"
        assert "no corpus of job 'other'" in refused("corpus", "info", out, "--name", "other")


class TestHosts:
    """A host that cannot be had is no mistake of the user's: exit code 1, and the reason."""

    @pytest.fixture
    def deaf_dns(self) -> Iterator[str]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
            deaf.bind(("127.0.0.1", 0))
            yield f"127.0.0.1:{deaf.getsockname()[1]}"

    def failed(self, url: str, *options: str) -> str:
        done = run("fetch", url, *options, timeout=120)
        assert done.returncode == 1, done.stderr
        assert done.stderr == ""
        return done.stdout

    def test_one_that_refuses(self) -> None:
        assert "failed  refused" in self.failed("http://127.0.0.1:1/", "--allow-private-networks")

    def test_a_private_one(self) -> None:
        assert "failed  blocked-address" in self.failed("http://127.0.0.1:1/")

    def test_a_name_that_does_not_exist(self, web: Web) -> None:
        options = ["--dns-server", web.at.dns, "--allow-private-networks"]
        assert "failed  dns-nxdomain" in self.failed("http://no-such-name.test/", *options)

    def test_a_name_server_that_does_not_answer(self, deaf_dns: str) -> None:
        options = ["--dns-server", deaf_dns, "--allow-private-networks"]
        assert "failed  dns-timeout" in self.failed("http://a.test/", *options)
