"""Rows become hosts' clocks, states and counts, as the policy would have had them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from crawler.past import Asked, counted_reason, pasts
from frontier.model import Politeness
from frontier.url import Url

NOW = 1_900_000_000.0
DEFAULT = Politeness(min_delay=1.0)


def row(url: str = "http://h.test/", ago: float = 100.0, **columns: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "url": url,
        "visit": 1,
        "kind": "page",
        "reason": None,
        "fetch_status": 200,
        "fetch_time": datetime.fromtimestamp(NOW - ago, UTC),
        "fetch_seconds": 0.1,
        "attempts": 1,
        "content_truncated": None,
        "redirect_to": None,
        "via": None,
    }
    return values | columns


def place(url: Url, visit: int) -> tuple[int, str]:
    return 0, f"{url.path}@{visit}"


def nobody() -> Asked:
    return Asked("comity", 86_400, NOW)


def state(*rows: dict[str, Any], asked: Asked | None = None) -> Any:
    [found] = pasts(rows, place, asked or nobody(), DEFAULT, NOW)
    return found


def test_a_host_is_left_alone_for_its_delay_from_the_last_answer_at_least() -> None:
    assert state(row(ago=100)).ready == NOW + 1.0
    slow = state(row(ago=0.5, fetch_seconds=0.4))
    assert round(slow.ready - NOW, 3) == 2.0  # 5 times the response time, from now
    late = state(row(ago=0.1, fetch_seconds=5.0))
    assert round(late.ready - NOW, 3) == round(-0.1 + 5.0 + 25.0, 3)


def test_failures_in_a_row_open_the_breaker_and_an_answer_closes_it() -> None:
    gone = [
        row(f"http://h.test/{n}", ago=50 - n, fetch_status=None, fetch_seconds=None, reason="reset")
        for n in range(6)
    ]
    broken = state(*reversed(gone))
    assert broken.state.failures == 6
    assert broken.state.blocked_reason == "breaker-open"
    assert broken.ready == broken.state.blocked_until > NOW + 60
    healed = state(*gone, row(ago=1))
    assert (healed.state.failures, healed.state.blocked_reason) == (0, "breaker-open")
    assert state(row(ago=1)).state.blocked_until == 0


def test_what_no_contact_was_made_for_sets_no_clock_before_now() -> None:
    denied = state(row(fetch_status=None, fetch_seconds=None, reason="robots-denied", ago=1))
    assert denied.visits == (("/@1", "robots-denied"),)
    assert denied.state.response_time == 0


def test_visits_are_counted_as_they_were() -> None:
    cases = [
        (row(), ""),
        (row(fetch_status=404, reason="http-404"), ""),
        (row(fetch_status=503, reason="http-503"), ""),
        (row(fetch_status=200, reason="truncated"), "truncated"),
        (row(fetch_status=None, reason="dns-nxdomain"), "dns-nxdomain"),
    ]
    for each, reason in cases:
        assert counted_reason(each) == reason, each
    found = state(row(), row("http://h.test/robots.txt", kind="robots"), row(visit=3))
    assert found.visits == (("/@1", ""), ("/@3", ""))


def test_crawl_delay_comes_from_the_stored_file_also_behind_redirects() -> None:
    asked = nobody()
    robots = row("http://h.test/robots.txt", kind="robots")
    moved = row("http://m.test/robots.txt", kind="robots", redirect_to="http://h.test/robots.txt")
    asked.robots(robots, b"User-agent: *\nCrawl-delay: 7\n")
    asked.robots(moved | {"fetch_status": 301}, b"")
    error = row("http://e.test/robots.txt", kind="robots", fetch_status=404)
    asked.robots(error, b"User-agent: *\nCrawl-delay: 9\n")
    asked.settle()
    assert [asked.delay(f"{host}.test") for host in "hme"] == [7.0, 7.0, 0.0]
    known = state(row(), asked=asked)
    assert (known.state.crawl_delay, known.state.delay, known.ready) == (7.0, 7.0, NOW + 7.0)


def test_a_stored_retry_after_is_kept_while_it_lasts() -> None:
    asked = nobody()
    asked.wait(row(ago=100, fetch_status=503), "3600")
    asked.wait(row("http://over.test/", ago=100, fetch_status=429), "60")
    asked.wait(row("http://odd.test/", ago=1, fetch_status=429), "soon")
    known = state(row(ago=100, fetch_status=503, reason="http-503"), asked=asked)
    assert round(known.ready - NOW, 1) == 3500.1
    assert known.state.blocked_reason == "retry-after"
    assert [asked.until(f"{host}.test") for host in ("over", "odd")] == [0.0, 0.0]
