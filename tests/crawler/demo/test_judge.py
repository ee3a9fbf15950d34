"""The judge on a made-up web of three hosts: a perfect crawl, then one fault at a time."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from crawler.demo.judge import STALL, TOLERANCE, Report, judge
from crawler.demo.log import Entry

DELAY = 0.1


def host(crawl_delay: float = 0.0, closed: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "address": "127.0.0.1",
        "domain": "d",
        "crawl_delay": crawl_delay,
        "closed": closed,
    } | more


def truth(clocks: tuple[str, ...] = ("host",)) -> dict[str, Any]:
    return {
        "policy": {"clocks": list(clocks)},
        "must": {
            "http://a/": {"status": 200, "times": 1},
            "http://a/flaky": {"status": 200, "times": 2},
            "http://a/broken": {"status": 503, "times": 3, "times_min": 1},
            "http://b/": {"status": 200, "times": 1},
        },
        "may": ["http://b/maybe"],
        "may_prefixes": ["http://b/trap/"],
        "denied": ["http://a/private"],
        "dropped": {"http://a/private": "robots-denied"},
        "hosts": {
            "a": host(robots_urls=["http://a/robots.txt", "http://hub/a.txt"]),
            "b": host(crawl_delay=1.0, robots_urls=["http://b/robots.txt"]),
            "c": host(closed=True, robots_urls=["http://c/robots.txt"]),
            "hub": host(robots_urls=["http://hub/robots.txt"]),
        },
    }


def request(where: str, path: str, start: float, status: int = 200, **more: Any) -> Entry:
    return Entry(where, "127.0.0.1", "GET", path, start, start + 0.01, status, **more)


def crawl() -> list[Entry]:
    return [
        request("a", "/robots.txt", 0.0, 301),
        request("hub", "/a.txt", 0.05),
        request("a", "/", 0.2),
        request("a", "/flaky", 0.4, 429, retry_at=1.41),
        request("a", "/flaky", 1.5),
        request("a", "/broken", 1.7, 503),
        request("b", "/robots.txt", 0.0),
        request("b", "/", 1.02),
    ]


def verdict(log: list[Entry], clocks: tuple[str, ...] = ("host",), **delays: float) -> Report:
    return judge(log, truth(clocks), DELAY, **delays)


def test_a_perfect_crawl_has_no_fault() -> None:
    report = verdict(crawl())
    assert report.ok, report.summary()
    assert report.requests == 8
    assert report.smallest_gap == pytest.approx(0.19)
    assert "as it should be" in report.summary()


def test_order_and_form_of_the_log_do_not_matter() -> None:
    lines = [json.dumps(asdict(entry)) for entry in reversed(crawl())]
    assert judge(lines, truth(), DELAY).ok
    assert judge([asdict(entry) for entry in crawl()], truth(), DELAY).ok


def only(report: Report, fault: str) -> Any:
    assert [name for name, count in report.faults().items() if count] == [fault]
    found = getattr(report, fault)
    assert len(found) == 1
    assert fault in report.summary()
    return found[0]


def test_a_request_within_the_delay_is_early() -> None:
    log = crawl()
    log[2] = replace(log[2], start=0.01 + DELAY - 0.02, end=0.12)
    early = only(verdict(log), "early")
    assert (early.clock, early.key, early.url) == ("host", "a", "http://a/")
    assert early.gap == pytest.approx(0.08)
    assert early.needed == DELAY


def test_the_tolerance_is_a_millisecond() -> None:
    log = crawl()
    log[2] = replace(log[2], start=0.01 + DELAY - TOLERANCE / 2, end=0.12)
    assert verdict(log).ok
    assert TOLERANCE <= 0.001


def test_crawl_delay_counts_above_the_minimum() -> None:
    log = crawl()
    log[7] = replace(log[7], start=0.9, end=0.91)
    assert only(verdict(log), "early").needed == 1.0


def test_retry_after_holds_for_the_whole_host() -> None:
    log = crawl()
    log[4] = replace(log[4], start=1.35, end=1.36)
    assert only(verdict(log), "early").clock == "retry-after"


def test_two_requests_at_once_overlap() -> None:
    log = crawl()
    log[2] = replace(log[2], end=0.45)
    report = verdict(log)
    assert report.overlaps == [("a", "http://a/flaky", "http://a/")]
    assert report.early  # what overlaps is early too


def test_a_long_request_counts_until_its_end() -> None:
    log = [
        *crawl(),
        Entry("b", "127.0.0.1", "GET", "/maybe", 3.0, 9.0, 200),
        request("b", "/trap/1", 5.0),
        request("b", "/trap/2", 9.5),
    ]
    report = verdict(log)
    assert [pair[1] for pair in report.overlaps] == ["http://b/trap/1"]
    assert len(report.early) == 2


def test_a_client_that_left_is_given_more_room() -> None:
    log = crawl()
    log[2] = replace(log[2], start=0.01 + DELAY - 0.02, end=0.12)
    log[0] = replace(log[0], aborted=True)
    assert verdict(log).ok


def test_a_denied_path_is_a_violation() -> None:
    log = [*crawl(), request("a", "/private", 5.0)]
    report = verdict(log)
    assert report.robots_violations == ["denied: http://a/private"]
    assert report.extra == ["http://a/private"]


def test_any_path_of_a_closed_host_is_a_violation() -> None:
    log = [*crawl(), request("c", "/robots.txt", 0.0), request("c", "/whatever", 5.0)]
    assert verdict(log).robots_violations == ["denied: http://c/whatever"]


@pytest.mark.parametrize("missing", ["/robots.txt", "/a.txt"])
def test_pages_before_the_end_of_robots_are_violations(missing: str) -> None:
    log = [entry for entry in crawl() if entry.host == "b" or entry.path != missing]
    report = verdict(log)
    assert report.robots_violations[0] == "before robots.txt: http://a/"
    late = [
        replace(e, start=0.199, end=0.25) if e.path == missing and e.host != "b" else e
        for e in crawl()
    ]
    assert "before robots.txt: http://a/" in verdict(late).robots_violations


@pytest.mark.parametrize("status", [429, 503])
def test_pages_after_an_unavailable_robots_are_violations(status: int) -> None:
    log = crawl()
    log[6] = replace(log[6], status=status)
    assert only(verdict(log), "robots_violations") == "before robots.txt: http://b/"


def test_what_is_not_requested_is_missing() -> None:
    assert only(verdict(crawl()[:-1]), "missing") == "http://b/"


def test_what_nobody_asked_for_is_extra() -> None:
    log = [*crawl(), request("a", "/more", 5.0)]
    assert only(verdict(log), "extra") == "http://a/more"


def test_what_may_be_fetched_is_no_fault() -> None:
    log = [*crawl(), request("b", "/maybe", 5.0), request("b", "/trap/deep/er", 7.0)]
    assert verdict(log).ok


def test_a_page_fetched_twice_is_counted() -> None:
    log = [*crawl(), request("a", "/", 5.0)]
    assert only(verdict(log), "wrong_count") == ("http://a/", 2, 1)
    assert judge(log, truth(), DELAY, refetches=True).ok
    assert judge(crawl()[:4] + crawl()[5:], truth(), DELAY, refetches=True).wrong_count


@pytest.mark.parametrize(("times", "fault"), [(1, False), (3, False), (4, True)])
def test_a_range_of_counts(times: int, fault: bool) -> None:
    log = [*crawl()[:5], *crawl()[6:]]
    log += [request("a", "/broken", 5.0 + number, 503) for number in range(times)]
    assert bool(verdict(log).wrong_count) is fault


def test_the_last_status_counts() -> None:
    log = crawl()
    log[4] = replace(log[4], status=429)
    assert only(verdict(log), "wrong_status") == ("http://a/flaky", 429, 200)


def test_the_clocks_of_address_and_domain_hold_where_the_policy_says_so() -> None:
    assert verdict(crawl(), ("host",)).ok
    report = verdict(crawl(), ("host", "address", "domain"))
    assert {early.clock for early in report.early} == {"address", "domain"}
    assert verdict(crawl(), ("host", "address", "domain"), address_delay=0, domain_delay=0).ok


def test_clocks_that_hosts_share_run_from_start_to_start() -> None:
    everywhere = {"address_delay": 0.5, "domain_delay": 0.5}
    log = [
        Entry("a", "127.0.0.1", "GET", "/maybe", 0.0, 9.0, 200),
        request("b", "/maybe", 0.5),
        request("c", "/maybe", 1.0 - STALL / 2),
        replace(request("hub", "/maybe", 1.5), address="127.0.0.2"),
    ]
    report = verdict(log, ("host", "address", "domain"), **everywhere)
    assert not report.early
    assert report.closest == {
        "address": pytest.approx(0.5 - STALL / 2),
        "domain": pytest.approx(0.5 - STALL / 2),
    }
    log[2] = replace(log[2], start=1.0 - 2 * STALL)
    report = verdict(log, ("address",), **everywhere)
    assert [(e.clock, e.key, e.needed) for e in report.early] == [("address", "127.0.0.1", 0.5)]
    assert report.early[0].gap == pytest.approx(0.5 - 2 * STALL)


def test_the_closest_starts_are_told_of_every_clock() -> None:
    report = verdict(crawl())
    assert report.closest == {
        "host": pytest.approx(0.2),
        "address": pytest.approx(0.0),
        "domain": pytest.approx(0.0),
    }
