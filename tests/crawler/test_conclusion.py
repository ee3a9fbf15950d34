"""Each reason code is what is said of a URL that it keeps from being fetched."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from crawler.conclusion import Facts, RobotsFacts, conclude
from frontier.blocks import Block
from frontier.inspect import HostView
from frontier.model import REASONS, CrawlRequest, HostState
from frontier.registry import JobRecord
from frontier.url import parse
from frontier.whereabouts import Whereabouts

NOW: Final = 1_900_000_000.0
URL: Final = parse("http://a.test/p")
IDLE: Final = HostView("a.test", 0, HostState(), 0.0, "", "", None, 0, ())
# How a reason comes to be known; all others are those of rows.
REFUSED: Final = frozenset({"out-of-scope", "excluded", "no-contact", "trap-depth", "trap-repeats"})
HELD: Final = frozenset({"retry-after", "breaker-open", "parked"})
ENDED: Final = frozenset({"max-pages", "time-limit", "size-limit", "cancelled", "max-wait"})
SLOW: Final = frozenset({"trap-query", "stale-prefix", "host-explosion"})
NEVER_MET: Final = frozenset({"too-deep", "signal-nofollow"})
NO_URL: Final = frozenset({"invalid-url"})  # told before anything is looked for
IN_ROWS: Final = set(REASONS) - REFUSED - HELD - ENDED - SLOW - NEVER_MET - NO_URL


def facts(**changes: Any) -> Facts:
    known: dict[str, Any] = {
        "url": URL,
        "now": NOW,
        "job": JobRecord("w/j", "running", "", 1, True, NOW - 60),
        "max_depth": 6,
        "refusal": None,
        "block": None,
        "where": Whereabouts(1, seen=False),
        "host": IDLE,
        "robots": None,
        "clocks": (),
        "addresses": ("192.0.2.1",),
        "dns": "",
        "blocked_addresses": (),
    }
    return Facts(**known | changes)


def row(**changes: Any) -> dict[str, Any]:
    empty = dict.fromkeys(
        ("reason", "robots", "redirect_to", "duplicate_of", "duplicate_url", "fetch_status")
    )
    when = datetime.fromtimestamp(NOW - 9, UTC)
    return {**empty, "fetch_time": when, "attempts": 1, **changes}


def queued(**changes: Any) -> Whereabouts:
    request = CrawlRequest(URL.url, **changes)
    return Whereabouts(1, True, "queued", request, ahead=3)


def denied() -> RobotsFacts:
    return RobotsFacts(200, 60.0, 9.0, 0, False, False, "Disallow: /p", 7, None)


@pytest.mark.parametrize("reason", sorted(IN_ROWS))
def test_what_ended_says_why_and_when(reason: str) -> None:
    said = conclude(facts(rows=[row(), row(reason=reason, attempts=3)]))
    assert said.code == reason
    assert REASONS[reason] in said.text
    assert "2030-03-17 17:46:31 UTC, after 3 attempts" in said.text


@pytest.mark.parametrize("reason", sorted(REFUSED))
def test_what_the_job_does_not_take_says_so(reason: str) -> None:
    said = conclude(facts(refusal=reason))
    assert (said.code, REASONS[reason] in said.text) == (reason, True)


@pytest.mark.parametrize("reason", sorted(HELD | {"robots-unreachable"}))
def test_what_waits_for_its_host_says_until_when(reason: str) -> None:
    state = HostState(blocked_until=NOW + 90, blocked_reason=reason)
    held = facts(where=queued(), host=replace(IDLE, state=state))
    assert conclude(held).code == reason
    assert "until 2030-03-17 17:48:10 UTC" in conclude(held).text
    over = facts(where=queued(), host=replace(IDLE, state=HostState(0, blocked_reason=reason)))
    assert conclude(over).code == "queued"


@pytest.mark.parametrize("reason", sorted(ENDED))
def test_what_was_left_over_says_what_ended_the_job(reason: str) -> None:
    job = JobRecord("w/j", "completed", reason, 1, True, NOW - 60)
    assert conclude(facts(where=queued(), job=job)).code == reason


@pytest.mark.parametrize("reason", sorted(SLOW))
def test_what_waits_in_the_slow_class_says_why(reason: str) -> None:
    assert conclude(facts(where=queued(priority=3, reason=reason))).code == reason


@pytest.mark.parametrize("reason", sorted(NEVER_MET))
def test_what_nothing_led_to_names_the_links_that_are_left_out(reason: str) -> None:
    said = conclude(facts())
    assert (said.code, reason in said.text) == ("undiscovered", True)


def test_a_retry_says_what_went_wrong_and_when_it_comes_again() -> None:
    request = CrawlRequest(URL.url, attempts=2, reason="reset")
    where = Whereabouts(1, True, "waiting", request, due=NOW + 30)
    said = conclude(facts(where=where))
    assert said.code == "reset"
    assert "2 so far" in said.text
    assert "17:47:10" in said.text


def test_what_is_on_its_way_says_where() -> None:
    held = replace(IDLE, worker="w1", job="w/j", lease_ends=9.0)
    leased = facts(where=Whereabouts(1, True, "leased", CrawlRequest(URL.url)), host=held)
    assert conclude(leased).code == "leased"
    assert "w1" in conclude(leased).text
    pending = Whereabouts(1, True, "pending", CrawlRequest(URL.url), segment="s1", reason="reset")
    assert "reset" in conclude(facts(where=pending)).text
    assert "s1" in conclude(facts(where=pending)).text
    assert "behind 3 others" in conclude(facts(where=queued(), host=held)).text
    assert conclude(facts(where=Whereabouts(1, seen=True))).code == "on-its-way"


def test_what_will_end_otherwise_says_so_while_it_waits() -> None:
    assert (
        "robots-denied (line 7: Disallow: /p)"
        in conclude(facts(where=queued(), robots=denied())).text
    )
    assert "as excluded" in conclude(facts(where=queued(), refusal="excluded")).text
    block = Block("a.test", "ann", NOW, "asked by mail")
    assert "asked by mail" in conclude(facts(where=queued(), block=block)).text
    assert conclude(facts(block=block)).code == "opted-out"


def test_what_decided_is_named_with_it() -> None:
    last = row(reason="robots-denied", robots="/old")
    assert "(/old)" in conclude(facts(rows=[last])).text
    assert "(line 7: Disallow: /p)" in conclude(facts(rows=[last], robots=denied())).text
    private = facts(
        rows=[row(reason="blocked-address")], blocked_addresses=("10.0.0.1 is private",)
    )
    assert "10.0.0.1 is private" in conclude(private).text
    loop = facts(rows=[row(reason="redirect-loop", redirect_to="http://a.test/p")])
    assert "to http://a.test/p" in conclude(loop).text


def test_what_is_stored_says_what_it_repeats() -> None:
    found = row(fetch_status=200, duplicate_of="abc", duplicate_kind="near")
    assert conclude(facts(rows=[found])).code == "stored"
    assert "near duplicate of abc" in conclude(facts(rows=[found])).text


def test_what_a_job_without_rows_has_seen_is_done() -> None:
    said = conclude(facts(where=Whereabouts(1, seen=True), keeps=False))
    assert (said.code, "stores no pages" in said.text) == ("done", True)
    assert conclude(facts(where=Whereabouts(1, seen=True))).code == "on-its-way"
