"""The block list: heeded by a running crawl within seconds, told in rows, undone by removing."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from crawler.demo.log import read
from frontier.url import parse

from .conftest import Web, comity
from .running import refused, run
from .sharing import served, shared_web
from .test_crawl import rows, wait_for

SOON = 5.0  # seconds within which a running crawl must heed a change, on a busy machine


def test_a_running_crawl_leaves_alone_what_is_put_on_the_list(
    web: Web, tmp_path: Path, spawn: Any
) -> None:
    out = tmp_path / "out"
    options = [*web.options(), "--delay", "0.3", "--workers", "2"]
    crawl = spawn("crawl", *options, "--out", str(out), "--json")
    wait_for(lambda: len(web.requests()) > 40, crawl)
    left = Counter(parse(url).hostname for url in web.truth()["must"])
    left.subtract(parse(entry.url).hostname for entry in web.requests())
    [(victim, _)] = left.most_common(1)
    done = run("block", "add", victim, "--why", "mail of its owner", "--out", str(out))
    assert (done.returncode, done.stdout) == (0, f"blocked {victim}\n"), done.stderr
    heeded = time.time() + SOON
    stdout, stderr = crawl.communicate(timeout=300)
    assert crawl.returncode == 0, stderr
    late = [e for e in web.requests() if e.start > heeded and parse(e.url).hostname == victim]
    assert late == []
    assert json.loads(stdout)["dropped"]["opted-out"] > 0
    ended = [row for row in rows(out, "url", "reason") if row["reason"] == "opted-out"]
    assert ended
    assert {parse(row["url"]).hostname for row in ended} == {victim}
    listed = json.loads(run("block", "list", "--json", "--out", str(out)).stdout)
    assert [(b["target"], b["why"]) for b in listed] == [(victim, "mail of its owner")]


def test_what_is_on_the_list_before_a_crawl_is_never_asked_for(web: Web, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out"), "--workers", "1"]
    first = [*web.options(), *out, "--max-pages", "1"]
    assert comity("crawl", *first).returncode == 0
    seen = len(web.requests())
    at = ["--out", str(tmp_path / "out")]
    assert run("block", "add", "127.0.0.0/8", "*.test", "--why", "ours", *at).returncode == 0
    again = ["--resume", *web.options(), *out, "--max-pages", "1000"]
    done = comity("crawl", *again, "--json")
    assert done.returncode == 0, done.stderr
    assert len(web.requests()) == seen
    assert json.loads(done.stdout)["dropped"]["opted-out"] > 0


def test_an_address_is_left_alone_whatever_names_lead_to_it(tmp_path: Path, spawn: Any) -> None:
    log, out, victim = tmp_path / "requests.jsonl", tmp_path / "out", "127.47.0.2"
    with served(shared_web(), log) as web:
        crawl = spawn(
            *("crawl", *web.seeds, "--dns-server", web.dns_address, "--allow-private-networks"),
            *("--scope", "any", "--delay", "0.6", "--contact", "me@example.org"),
            *("--workers", "2", "--out", str(out), "--json"),
        )
        wait_for(lambda: len({e.host for e in read(log) if e.address == victim}) > 1, crawl)
        done = run("block", "add", victim, "--why", "its operator", "--out", str(out))
        assert done.returncode == 0, done.stderr
        heeded = time.time() + SOON
        stdout, stderr = crawl.communicate(timeout=300)
    assert crawl.returncode == 0, stderr
    assert [e for e in read(log) if e.address == victim and e.start > heeded] == []
    ended = [row["url"] for row in rows(out, "url", "reason") if row["reason"] == "opted-out"]
    names = {parse(url).hostname for url in ended}
    assert len(names) > 1
    assert {web.web.hosts[name].address for name in names} == {victim}
    assert json.loads(stdout)["dropped"]["opted-out"] == len(ended)


def test_mistakes_are_told_in_a_line(web: Web, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    options = ["--max-pages", "1", "--workers", "1"]
    assert comity("crawl", *web.options(), *options, *out).returncode == 0
    assert "not a host" in refused("block", "add", "a.*.org", "--why", "x", *out)
    assert refused("block", "add", "a.test", "--why", " ", *out).startswith("--why: ")
    assert refused("block", "remove", "a.test", *out) == "not on the list: a.test"
    assert "whose frontier?" in refused("block", "list")
    assert run("block", "add", "a.test", "--who", "me", "--why", "x", *out).returncode == 0
    line = run("block", "list", *out).stdout
    assert line.startswith("a.test ")
    assert " me " in line
    assert run("block", "remove", "A.test", *out).stdout == "removed a.test\n"
    assert run("block", "list", *out).stdout == ""
