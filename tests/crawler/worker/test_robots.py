"""What follows from an answer for robots.txt (RFC 9309 2.3.1), and how a copy is shared."""

from __future__ import annotations

import time
from dataclasses import replace

import msgspec
import pytest

from crawler.fetch.exchange import Exchange, FetchError
from crawler.worker.robots import Copy, judge, read
from frontier.policy import ROBOTS_LAST_GOOD


def answer(status: int, body: bytes = b"", **headers: str) -> Exchange:
    return Exchange(
        url="http://a.test/robots.txt",
        ip="127.0.0.1",
        started=0.0,
        seconds=0.1,
        finished_mono=0.0,
        request_head=b"",
        status=status,
        status_line=f"HTTP/1.1 {status} X",
        headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()),
        payload=body,
        truncated=None,
    )


RULES = b"User-agent: *\nDisallow: /private\nCrawl-delay: 2\n"


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        *((status, True) for status in (200, 301, 401, 403, 404, 410)),
        *((status, False) for status in (429, 500, 503)),
    ],
)
def test_by_status(status: int, allowed: bool) -> None:
    view = read(judge(answer(status, RULES), None, 0.0))
    assert view.rules.verdict("comity", "/page").allowed is allowed
    assert (view.wait > 0) is not allowed


def test_rules_survive_the_way_through_redis() -> None:
    copy = judge(answer(200, RULES), None, 0.0)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(copy), type=Copy)
    rules = read(again).rules
    assert not rules.verdict("comity", "/private/x").allowed
    assert rules.crawl_delay("comity") == 2.0


def test_a_copy_lives_as_long_as_the_server_says_and_no_longer_than_a_day() -> None:
    now = time.time()
    hour = judge(answer(200, RULES, Cache_Control="max-age=3600"), None, 0.0)
    week = judge(answer(200, RULES, cache_control="max-age=604800"), None, 0.0)
    assert hour.expires == pytest.approx(now + 3600, abs=5)
    assert week.expires == pytest.approx(now + 86_400, abs=5)


def test_waits_grow_while_it_cannot_be_had_and_start_anew_after() -> None:
    waits, copy = [], None
    for _ in range(4):
        now = time.time()
        copy = judge(answer(503), copy, 0.0)
        waits.append(copy.expires - now)
    assert waits == sorted(waits)
    assert waits[0] < 3
    assert waits[2] >= 600
    assert judge(answer(200, RULES), copy, 0.0).failures == 0


def test_the_hosts_own_wait_counts() -> None:
    copy = judge(answer(503, retry_after="7200"), None, host_wait=7200.0)
    assert copy.expires >= time.time() + 7190


def test_an_unreadable_answer_forbids_everything() -> None:
    view = read(judge(FetchError("bad-encoding", "not gzip"), None, 0.0))
    assert not view.rules.verdict("comity", "/").allowed
    assert view.reason == "robots-unreachable"


@pytest.mark.parametrize(
    ("cut", "allowed"), [("disconnect", False), ("time", False), ("length", True)]
)
def test_a_file_cut_off_on_its_way_is_no_answer(cut: str, allowed: bool) -> None:
    view = read(judge(replace(answer(200, b"User-agent: *\n"), truncated=cut), None, 0.0))
    assert view.rules.verdict("comity", "/private").allowed is allowed


@pytest.mark.parametrize("failure", [answer(503), answer(429), FetchError("bad-encoding", "")])
def test_the_last_good_copy_holds_while_it_cannot_be_had(failure: Exchange | FetchError) -> None:
    good, now = judge(answer(200, RULES), None, 0.0), time.time()
    first = judge(failure, good, 0.0)
    second = judge(failure, first, 0.0)
    for copy in (first, second):
        view = read(copy)
        assert view.rules.verdict("comity", "/page").allowed
        assert not view.rules.verdict("comity", "/private/x").allowed
        assert view.wait == 0
    assert (first.failures, second.failures) == (1, 2)
    assert now + 2 <= first.expires < second.expires < now + 60  # looked at again soon
    assert second.fetched == good.fetched
    assert judge(answer(200, b""), second, 0.0).failures == 0


def test_the_last_good_copy_holds_for_thirty_days() -> None:
    good = judge(answer(200, RULES), None, 0.0)
    almost = msgspec.structs.replace(good, fetched=good.fetched - ROBOTS_LAST_GOOD + 60)
    over = msgspec.structs.replace(good, fetched=good.fetched - ROBOTS_LAST_GOOD - 60)
    assert read(judge(answer(503), almost, 0.0)).rules.verdict("comity", "/page").allowed
    assert not read(judge(answer(503), over, 0.0)).rules.verdict("comity", "/page").allowed


@pytest.mark.parametrize("before", [judge(answer(404), None, 0.0), judge(answer(503), None, 0.0)])
def test_only_a_file_that_was_read_is_a_good_copy(before: Copy) -> None:
    assert not read(judge(answer(503), before, 0.0)).rules.verdict("comity", "/page").allowed


def test_a_copy_of_an_older_version_is_read() -> None:
    old = msgspec.msgpack.encode(
        {"kind": "disallow", "status": 503, "body": b"", "expires": 1.0, "failures": 2}
    )
    assert msgspec.msgpack.decode(old, type=Copy).fetched == 0
