"""frontier.policy: the table, and what must hold for every state, outcome and bound."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier import policy
from frontier.model import REASONS, FrontierError, HostState, Outcome, Politeness, Verdict
from frontier.policy import TABLE, cache_seconds, decide, reason_for_status, retry_after

# The same examples each time, and no verdict on how busy the machine is.

NOW = 1_700_000_000.0
BOUNDS = Politeness()
FRESH = HostState()
# Reasons of URLs that wait or are left over: never the outcome of a contact.
WAITING = {"retry-after", "breaker-open", "parked"}
BOUNDED = {
    "max-pages",
    "time-limit",
    "size-limit",
    "cancelled",
    "max-wait",
    "spill-damaged",
    "lost",
}
DEMOTED = {"trap-query", "stale-prefix", "host-explosion"}


def run(
    *outcomes: Outcome, state: HostState = FRESH, bounds: Politeness = BOUNDS, jitter: float = 0.0
) -> list[Verdict]:
    """What follows from outcomes in a row, each at the moment the one before allows."""
    now, verdicts = NOW, []
    for outcome in outcomes:
        verdicts.append(decide(state, outcome, bounds, now, jitter))
        state = verdicts[-1].state
        now += verdicts[-1].host_wait
    return verdicts


def test_every_reason_that_can_come_from_a_fetch_has_its_rule() -> None:
    assert set(TABLE) == ({*REASONS, ""}) - WAITING - BOUNDED - DEMOTED


def test_an_unknown_reason_is_an_error() -> None:
    with pytest.raises(FrontierError, match="'gremlins'"):
        decide(FRESH, Outcome("gremlins"), BOUNDS, NOW, 0)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        *((status, "") for status in (100, 200, 204, 206, 226, 301, 304, 399)),
        *((status, f"http-{status}") for status in (401, 403, 404, 410, 429, 451, 503)),
        *((status, "http-4xx") for status in (400, 402, 405, 418, 422, 425, 499)),
        *((status, "http-5xx") for status in (500, 502, 504, 520, 599, 999)),
    ],
)
def test_reason_for_status(status: int, reason: str) -> None:
    assert reason_for_status(status) == reason
    assert reason in TABLE


# (reason, actions over the attempts 1..4, does it count as a failure of the host)
ACTIONS = [
    ("", "done", False),
    *((f"http-{code}", "done", False) for code in ("401", "403", "404", "410", "451", "4xx")),
    ("http-5xx", "retry retry done done", True),
    ("http-429", "retry retry done done", False),
    ("http-503", "retry retry done done", False),
    *((reason, "drop", False) for reason in ("robots-denied", "blocked-address", "no-contact")),
    *((reason, "drop", False) for reason in ("out-of-scope", "excluded", "too-deep", "poison")),
    *((reason, "drop", False) for reason in ("invalid-url", "redirect-limit", "redirect-loop")),
    *((reason, "drop", False) for reason in ("dns-nxdomain", "too-large", "bomb", "bad-encoding")),
    ("opted-out", "drop", False),
    *((reason, "drop", False) for reason in ("trap-depth", "trap-repeats", "duplicate")),
    ("middleware", "drop", False),
    *((reason, "drop", False) for reason in ("header-flood", "content-type")),
    *((reason, "drop", False) for reason in sorted(REASONS) if reason.startswith("signal-")),
    ("protocol-error", "retry drop drop drop", False),
    ("truncated", "retry retry drop drop", False),
    ("internal-error", "retry retry drop drop", False),
    ("robots-unreachable", "retry retry retry retry", False),
    ("proxy-error", "retry retry retry retry", False),
    *((reason, "drop", True) for reason in ("tls-expired", "tls-name", "tls-untrusted")),
    ("too-slow", "retry drop drop drop", True),
    *((r, "retry retry drop drop", True) for r in ("dns-servfail", "dns-timeout", "refused")),
    *((r, "retry retry drop drop", True) for r in ("unreachable", "reset", "tls-error")),
    *((r, "retry retry drop drop", True) for r in ("connect-timeout", "timeout")),
]


@pytest.mark.parametrize(("reason", "actions", "failure"), ACTIONS)
def test_action_of_each_reason(reason: str, actions: str, failure: bool) -> None:
    expected = (actions.split() * 4)[:4]
    state = HostState(failures=1)
    verdicts = [decide(state, Outcome(reason, attempts=n), BOUNDS, NOW, 0) for n in (1, 2, 3, 4)]
    assert [verdict.action for verdict in verdicts] == expected
    assert (verdicts[0].state.failures == 2) is failure
    for verdict in verdicts:
        assert verdict.reason == ("" if verdict.action == "done" else reason)
        assert verdict.url_wait == 0 or verdict.action == "retry"


def test_the_table_of_actions_is_complete() -> None:
    assert {reason for reason, _, _ in ACTIONS} == set(TABLE)


def test_delay_is_a_multiple_of_the_response_time_within_bounds() -> None:
    delays = [decide(FRESH, Outcome("", 200, s), BOUNDS, NOW, 0).host_wait for s in (0.01, 1, 100)]
    assert delays == [1.0, 5.0, 30.0]


def test_delay_follows_a_host_that_gets_faster() -> None:
    slow, *fast = run(Outcome("", 200, 4.0), *[Outcome("", 200, 0.1)] * 20)
    waits = [verdict.host_wait for verdict in fast]
    assert slow.host_wait == 20
    assert waits == sorted(waits, reverse=True)
    assert waits[-1] == BOUNDS.min_delay


def test_factor_zero_turns_the_adaptive_part_off() -> None:
    bounds = Politeness(min_delay=0.0, factor=0.0)
    assert decide(FRESH, Outcome("", 200, 9.0), bounds, NOW, 0).host_wait == 0
    assert decide(FRESH, Outcome("http-429", 429), bounds, NOW, 0).host_wait == 1
    delayed = HostState(crawl_delay=7.0)
    assert decide(delayed, Outcome("", 200, 9.0), bounds, NOW, 0).host_wait == 7


def test_a_quick_error_does_not_make_a_host_fast() -> None:
    slow, error, after = run(
        Outcome("", 200, 4.0), Outcome("http-404", 404, 0.001), Outcome("", 200, 4.0)
    )
    assert error.state.delay == slow.state.delay == after.state.delay
    assert error.state.response_time == slow.state.response_time


def test_a_slow_error_slows_us_down() -> None:
    assert run(Outcome("timeout", 0, 30.0))[0].state.delay == BOUNDS.max_delay


def test_429_without_a_time_doubles_up_and_comes_down_in_steps() -> None:
    bounds = Politeness(min_delay=0.1, factor=0)
    busy = run(*[Outcome("http-429", 429)] * 5, bounds=bounds)
    assert [verdict.state.penalty for verdict in busy] == [1, 2, 4, 8, 16]
    assert [round(verdict.host_wait, 9) for verdict in busy] == [1.1, 2.1, 4.1, 8.1, 16.1]
    calm = run(*[Outcome("", 200, 0.1)] * 20, state=busy[-1].state, bounds=bounds)
    penalties = [verdict.state.penalty for verdict in calm]
    assert penalties[:3] == [14.0, 12.25, 10.71875]
    assert penalties == sorted(penalties, reverse=True)
    assert penalties[-1] == 0


def test_penalty_starts_at_the_delay_and_ends_at_its_cap() -> None:
    busy = run(*[Outcome("http-503", 503)] * 12, state=HostState(delay=5.0))
    assert busy[0].state.penalty == 5
    assert busy[-1].state.penalty == policy.PENALTY_CAP


def test_other_answers_leave_the_penalty_as_it_is() -> None:
    state = HostState(penalty=8.0)
    for reason in ("http-404", "http-5xx", "refused", "robots-denied"):
        assert decide(state, Outcome(reason), BOUNDS, NOW, 0).state.penalty == 8


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 120 ", 120.0),
        ("0", 1.0),
        ("1.5", 1.5),
        ("86401", 86_400.0),
        ("9" * 18, 86_400.0),
        ("Tue, 14 Nov 2023 22:15:20 GMT", 120.0),
        ("Tuesday, 14-Nov-23 22:15:20 GMT", 120.0),
        ("Tue Nov 14 22:15:20 2023", 120.0),
        ("Tue, 14 Nov 2023 23:15:20 +0100", 120.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 1.0),
        ("Wed, 14 Nov 2035 22:00:00 GMT", 86_400.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0x10", None),
        ("Tue, 99 Nov 2023 22:15:20 GMT", None),
        ("9" * 400, None),
    ],
)
def test_retry_after_forms(header: str, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize(("reason", "status"), [("http-429", 429), ("http-503", 503)])
def test_retry_after_holds_the_host_and_the_url(reason: str, status: int) -> None:
    verdict = decide(FRESH, Outcome(reason, status, 0.1, "120"), BOUNDS, NOW, 0.5)
    assert verdict == Verdict(
        HostState(delay=1.0, blocked_until=NOW + 120, blocked_reason="retry-after"),
        host_wait=120.0,
        action="retry",
        url_wait=120.0,
        reason="retry-after",
    )


def test_retry_after_counts_whatever_the_status() -> None:
    for reason, status in (("", 200), ("", 301), ("http-403", 403), ("http-5xx", 500)):
        verdict = decide(FRESH, Outcome(reason, status, 0.1, "60"), BOUNDS, NOW, 0)
        assert verdict.host_wait == 60
        assert verdict.state.blocked_reason == "retry-after"


def test_a_shorter_block_does_not_replace_a_longer_one() -> None:
    parked = HostState(blocked_until=NOW + 500, blocked_reason="parked", crawl_delay=1)
    state = decide(parked, Outcome("http-429", 429, 0.1, "60"), BOUNDS, NOW, 0).state
    assert (state.blocked_until, state.blocked_reason) == (NOW + 500, "parked")


def test_breaker_opens_probes_and_closes() -> None:
    bounds = Politeness(max_attempts=1, breaker_failures=3, breaker_wait=60)
    failed = run(*[Outcome("refused")] * 6, bounds=bounds)
    assert [verdict.host_wait for verdict in failed] == [1, 1, 60, 120, 240, 480]
    assert [verdict.state.blocked_reason for verdict in failed[1:3]] == ["", "breaker-open"]
    later = NOW + 10_000
    probed = decide(failed[-1].state, Outcome("http-404", 404), bounds, later, 0)
    assert probed.state.failures == 0
    assert probed.state.blocked_until == 0
    assert probed.state.blocked_reason == ""
    assert probed.host_wait == 1
    reopened = run(*[Outcome("refused")] * 3, state=probed.state, bounds=bounds)
    assert reopened[-1].host_wait == 60


def test_breaker_counts_failures_in_a_row_only() -> None:
    mixed = [Outcome("refused"), Outcome("timeout"), Outcome("", 200, 0.1)] * 5
    assert not any(verdict.state.blocked_until for verdict in run(*mixed))


def test_breaker_wait_has_a_cap() -> None:
    state = HostState(failures=400)
    assert decide(state, Outcome("reset"), BOUNDS, NOW, 0.9).host_wait == BOUNDS.max_block


def test_a_crawl_delay_is_kept() -> None:
    state = policy.with_crawl_delay(FRESH, 12.5, BOUNDS, NOW)
    assert (state.delay, state.crawl_delay) == (12.5, 12.5)
    assert decide(state, Outcome("", 200, 0.1), BOUNDS, NOW, 0).host_wait == 12.5
    gone = policy.with_crawl_delay(state, None, BOUNDS, NOW)
    assert decide(gone, Outcome("", 200, 0.1), BOUNDS, NOW, 0).host_wait == 1


def test_a_crawl_delay_above_the_cap_parks_the_host() -> None:
    state = policy.with_crawl_delay(FRESH, 301, BOUNDS, NOW)
    assert state.blocked_reason == "parked"
    assert state.blocked_until == NOW + BOUNDS.park
    again = decide(state, Outcome("", 200, 0.1), BOUNDS, NOW + BOUNDS.park, 0)
    assert again.state.blocked_reason == "parked"
    assert again.host_wait == BOUNDS.park
    freed = policy.with_crawl_delay(state, 10, BOUNDS, NOW + 5)
    assert (freed.blocked_until, freed.blocked_reason, freed.delay) == (0, "", 300)


def test_robots_unreachable_holds_the_host_ever_longer() -> None:
    waits = [
        decide(FRESH, Outcome("robots-unreachable", attempts=n), BOUNDS, NOW, 0).host_wait
        for n in (1, 2, 3, 4, 50)
    ]
    assert waits == [2, 8, 600, 1_200, 86_400]
    assert waits == [policy.robots_retry(n) for n in (1, 2, 3, 4, 50)]


@pytest.mark.parametrize(
    ("statuses", "decision"),
    [
        ((200, 204, 206), "parse"),
        ((301, 304, 400, 401, 403, 404, 410, 418, 451), "allow"),
        ((0, 103, 429, 500, 502, 503, 504, 599), "disallow"),
    ],
)
def test_robots_decision(statuses: tuple[int, ...], decision: str) -> None:
    for status in statuses:
        assert policy.robots_decision(status) == decision


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 86_400),
        ("", 86_400),
        ("public", 86_400),
        ("max-age=3600", 3_600),
        ('Max-Age = "3600", public', 3_600),
        ("max-age=10", 60),
        ("max-age=0", 60),
        ("max-age=99999999999", 86_400),
        ("max-age=-1", 86_400),
        ("max-age=300, max-age=200", 200),
        ("max-age=300, s-maxage=900", 900),
        ("no-store", 60),
        ("private, no-cache, max-age=900", 60),
        ("x-no-storey", 86_400),
    ],
)
def test_cache_seconds(header: str | None, seconds: float) -> None:
    assert cache_seconds(header) == seconds


SECONDS = st.floats(0, 1e6)
STATES = st.builds(
    HostState,
    delay=SECONDS,
    response_time=SECONDS,
    failures=st.integers(0, 500),
    penalty=st.floats(0, policy.PENALTY_CAP),
    blocked_until=st.one_of(st.just(0.0), st.floats(NOW - 1e5, NOW + 1e5)),
    blocked_reason=st.sampled_from([*sorted(WAITING), "robots-unreachable"]),
    crawl_delay=st.floats(0, 1_000),
)
OUTCOMES = st.builds(
    Outcome,
    st.sampled_from(sorted(TABLE)),
    seconds=SECONDS,
    retry_after=st.one_of(st.none(), st.integers(-5, 10**6).map(str), st.text(max_size=20)),
    attempts=st.integers(1, 60),
)
ALL_BOUNDS = st.builds(
    Politeness,
    min_delay=st.floats(0, 60),
    max_delay=st.floats(0, 120),
    factor=st.floats(0, 10),
    max_attempts=st.integers(1, 9),
    breaker_failures=st.integers(1, 9),
)
JITTER = st.floats(0, 1, exclude_max=True)


@given(STATES, OUTCOMES, ALL_BOUNDS, JITTER)
def test_what_holds_for_every_outcome(
    state: HostState, outcome: Outcome, bounds: Politeness, jitter: float
) -> None:
    verdict = decide(state, outcome, bounds, NOW, jitter)
    after, rule = verdict.state, TABLE[outcome.reason]
    assert verdict == decide(state, outcome, bounds, NOW, jitter)
    assert after.delay >= bounds.min_delay
    assert after.delay >= min(state.crawl_delay, bounds.max_crawl_delay)
    if outcome.reason:
        assert after.delay >= state.delay
        assert after.penalty >= state.penalty
    else:
        assert after.penalty <= state.penalty
    if rule.contact:
        assert verdict.host_wait >= after.delay + after.penalty
    assert verdict.host_wait >= max(0, after.blocked_until - NOW)
    assert bool(after.blocked_reason) is bool(after.blocked_until)
    if state.blocked_until > NOW:
        assert after.blocked_until >= state.blocked_until
    assert 0 <= verdict.url_wait <= bounds.max_block
    if state.crawl_delay > bounds.max_crawl_delay:
        assert after.blocked_until > NOW


@given(STATES, OUTCOMES, ALL_BOUNDS, st.integers(0, 10**6), st.booleans())
def test_retry_after_is_always_waited_for(
    state: HostState, outcome: Outcome, bounds: Politeness, seconds: int, as_date: bool
) -> None:
    date = datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds)
    header = format_datetime(date, usegmt=True) if as_date else str(seconds)
    verdict = decide(state, replace(outcome, retry_after=header), bounds, NOW, 0)
    asked = min(max(seconds, 1), 86_400)
    assert verdict.host_wait >= asked - 1e-6
    assert verdict.state.blocked_until >= NOW + asked - 1e-6
    if verdict.action == "retry":
        assert verdict.url_wait >= asked


@given(STATES, OUTCOMES, ALL_BOUNDS, JITTER, JITTER)
def test_jitter_only_lengthens(
    state: HostState, outcome: Outcome, bounds: Politeness, one: float, other: float
) -> None:
    less = decide(state, outcome, bounds, NOW, min(one, other))
    more = decide(state, outcome, bounds, NOW, max(one, other))
    assert less.host_wait <= more.host_wait
    assert less.url_wait <= more.url_wait
    assert less.action == more.action


@given(STATES, ALL_BOUNDS, SECONDS, SECONDS)
def test_a_slower_host_is_never_asked_sooner(
    state: HostState, bounds: Politeness, one: float, other: float
) -> None:
    quick = decide(state, Outcome("", 200, min(one, other)), bounds, NOW, 0)
    slow = decide(state, Outcome("", 200, max(one, other)), bounds, NOW, 0)
    assert quick.host_wait <= slow.host_wait


@given(st.text(max_size=40))
def test_headers_never_raise(text: str) -> None:
    wait = retry_after(text, NOW)
    assert wait is None or 1 <= wait <= 86_400
    assert 60 <= cache_seconds(text) <= 86_400
