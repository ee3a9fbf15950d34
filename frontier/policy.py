"""Politeness: what follows from each contact, for the host and for the URL.

Pure and deterministic: ``decide(state, outcome, politeness, now, jitter) -> Verdict``; who calls
supplies clock and dice. TABLE is the one place where every reason maps to its consequences. Keeps
(design: never early, every drop has a reason):
- the delay is never below the minimum or the Crawl-delay, and never falls on an error;
- a Retry-After is always waited for, within 1 s .. 24 h, by the whole host;
- waits only grow while a host fails; they come down in steps, on answers that are not errors.

Times are seconds; ``now`` is unix time. ``jitter`` is in [0, 1) and only ever lengthens a wait.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from msgspec.structs import replace

from frontier.model import FrontierError, HostState, Outcome, Politeness, Verdict

RETRY_AFTER_MIN: Final = 1.0  # shortest wait a Retry-After may ask for
RETRY_AFTER_MAX: Final = 86_400.0  # longest; above it we come back after a day
PENALTY_START: Final = 1.0  # first penalty after a 429 or 503, at least
PENALTY_CAP: Final = 600.0  # longest penalty; Retry-After and the breaker go beyond it
SMOOTHING: Final = 0.3  # weight of the newest response time
RETRY_GROWTH: Final = 4.0  # a URL's wait grows by this with each attempt
UNBOUNDED: Final = 1 << 53  # attempts of a URL that ends only with its job

# Waits after an unreachable robots.txt: two quick looks for a hiccup, then patience, doubling.
ROBOTS_RETRY: Final = (2.0, 8.0, 600.0)
ROBOTS_MAX_AGE: Final = 86_400.0  # RFC 9309 2.4: no copy is used for longer than a day,
ROBOTS_LAST_GOOD: Final = 30 * 86_400.0  # but while there is no other, for as long as 2.3.1.4 says
ROBOTS_MIN_AGE: Final = 60.0  # no origin can make us fetch robots.txt more often

Effect = Literal["alive", "failure", "throttle", "neutral"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one reason means."""

    effect: Effect  # for the host: alive closes the breaker, failure counts towards it,
    # throttle raises the penalty, neutral says nothing about it
    attempts: int | None = 1  # contacts a URL gets; None: as many as the job's max_attempts
    wait: float = 0.0  # seconds before the first retry
    final: Literal["done", "drop"] = "drop"  # when there is no retry (left)
    contact: bool = True  # the host was contacted, so its delay runs


_ANSWER: Final = Rule("alive", final="done")
_PERMANENT: Final = Rule("failure")  # the host cannot be spoken to, and waiting will not help
_TRANSIENT: Final = Rule("failure", attempts=None, wait=2.0)
_UNUSABLE: Final = Rule("alive")  # it answered, with what we do not take
_NO_CONTACT: Final = Rule("neutral", contact=False)

TABLE: Final[dict[str, Rule]] = {
    "": _ANSWER,
    # before any contact
    "out-of-scope": _NO_CONTACT,
    "excluded": _NO_CONTACT,
    "too-deep": _NO_CONTACT,
    "invalid-url": _NO_CONTACT,
    "robots-denied": _NO_CONTACT,
    "blocked-address": _NO_CONTACT,
    "opted-out": _NO_CONTACT,
    "no-contact": _NO_CONTACT,
    "poison": _NO_CONTACT,
    "trap-depth": _NO_CONTACT,
    "trap-repeats": _NO_CONTACT,
    # The host waits until robots.txt can be had; its URLs wait with it, however long.
    "robots-unreachable": Rule("neutral", attempts=UNBOUNDED, contact=False),
    "redirect-limit": _UNUSABLE,
    "redirect-loop": _UNUSABLE,
    # the fetch
    "dns-nxdomain": _NO_CONTACT,  # no host: its URLs end one by one, nobody is disturbed
    "dns-servfail": Rule("failure", attempts=None, wait=5.0, contact=False),
    "dns-timeout": Rule("failure", attempts=None, wait=5.0, contact=False),
    "refused": _TRANSIENT,
    "unreachable": _TRANSIENT,
    "reset": _TRANSIENT,
    "tls-expired": _PERMANENT,
    "tls-name": _PERMANENT,
    "tls-untrusted": _PERMANENT,
    "tls-error": _TRANSIENT,
    "connect-timeout": Rule("failure", attempts=None, wait=4.0),
    "timeout": Rule("failure", attempts=None, wait=4.0),
    "too-slow": Rule("failure", attempts=2, wait=4.0),
    "truncated": Rule("alive", attempts=None, wait=2.0),
    "too-large": _UNUSABLE,
    "bomb": _UNUSABLE,
    "bad-encoding": _UNUSABLE,
    "protocol-error": Rule("alive", attempts=2, wait=2.0),
    "header-flood": _UNUSABLE,
    "content-type": _UNUSABLE,
    # Our proxy's trouble, not the host's: its URLs wait until it is over.
    "proxy-error": Rule("neutral", attempts=UNBOUNDED, wait=30.0, contact=False),
    "internal-error": Rule("alive", attempts=None, wait=60.0),
    # the answer
    "http-401": _ANSWER,
    "http-403": _ANSWER,
    "http-404": _ANSWER,
    "http-410": _ANSWER,
    "http-451": _ANSWER,
    "http-4xx": _ANSWER,
    # Asked for again; when that does not help the last answer is what the visit came to.
    "http-429": Rule("throttle", attempts=None, wait=2.0, final="done"),
    "http-503": Rule("throttle", attempts=None, wait=2.0, final="done"),
    "http-5xx": Rule("failure", attempts=None, wait=2.0, final="done"),
    # Said of the content, not of the host; the contact was judged by its answer.
    "signal-noindex": _NO_CONTACT,
    "signal-noarchive": _NO_CONTACT,
    "signal-noai": _NO_CONTACT,
    "signal-train-ai": _NO_CONTACT,
    "signal-ai-use": _NO_CONTACT,
    "signal-search": _NO_CONTACT,
    "signal-bots": _NO_CONTACT,
    "signal-tdm-reservation": _NO_CONTACT,
    "signal-noimageai": _NO_CONTACT,
    "signal-noimageindex": _NO_CONTACT,
    "signal-nofollow": _NO_CONTACT,
    "duplicate": _NO_CONTACT,
    "middleware": _NO_CONTACT,
}

_NAMED_STATUS: Final = frozenset({401, 403, 404, 410, 429, 451, 503})


def reason_for_status(status: int) -> str:
    """The reason code of an HTTP status; "" for answers that are no error (1xx to 3xx)."""
    if status in _NAMED_STATUS:
        return f"http-{status}"
    if 400 <= status < 500:
        return "http-4xx"
    return "http-5xx" if status >= 500 else ""


def decide(
    state: HostState, outcome: Outcome, politeness: Politeness, now: float, jitter: float
) -> Verdict:
    """What follows from ``outcome``: the host's new state and wait, and the URL's action.

    ``now`` is the end of the contact. Raises FrontierError for a reason that is not in TABLE.
    """
    rule = TABLE.get(outcome.reason)
    if rule is None:
        raise FrontierError(f"no politeness rule for reason {outcome.reason!r}")
    asked = None if outcome.retry_after is None else retry_after(outcome.retry_after, now)
    if asked is not None:
        asked = min(asked, politeness.max_block)
    state = _delayed(state, outcome, rule, politeness)
    state = _penalised(state, outcome, rule, politeness, jitter, asked=asked is not None)
    state = _blocked(state, outcome, rule, politeness, now, jitter, asked)
    pause = state.delay + state.penalty if rule.contact else 0.0
    host_wait = max(pause, state.blocked_until - now)
    return _verdict(state, outcome, rule, politeness, jitter, asked, host_wait)


def _verdict(
    state: HostState,
    outcome: Outcome,
    rule: Rule,
    politeness: Politeness,
    jitter: float,
    asked: float | None,
    host_wait: float,
) -> Verdict:
    limit = politeness.max_attempts if rule.attempts is None else rule.attempts
    if outcome.attempts >= limit:
        reason = "" if rule.final == "done" else outcome.reason
        return Verdict(state, host_wait, rule.final, reason=reason)
    growth = RETRY_GROWTH ** min(max(outcome.attempts - 1, 0), 30)
    url_wait = min(_stretch(rule.wait * growth, jitter), politeness.max_block)
    if asked is not None:
        return Verdict(state, host_wait, "retry", max(url_wait, asked), "retry-after")
    return Verdict(state, host_wait, "retry", url_wait, outcome.reason)


def _delayed(state: HostState, outcome: Outcome, rule: Rule, politeness: Politeness) -> HostState:
    """The delay after this outcome: factor x response time within bounds, then Crawl-delay."""
    floor = max(politeness.min_delay, min(state.crawl_delay, politeness.max_crawl_delay))
    if not rule.contact:
        return replace(state, delay=max(state.delay, floor))
    known = state.response_time
    seconds = max(outcome.seconds, 0.0)
    smoothed = known + SMOOTHING * (seconds - known) if known else seconds
    delay = max(floor, min(politeness.factor * smoothed, politeness.max_delay))
    if outcome.reason:
        # A quick error does not make a host fast; a slow one (a timeout) does ask for more room.
        return replace(state, delay=max(delay, state.delay))
    return replace(state, delay=delay, response_time=smoothed)


def _penalised(
    state: HostState,
    outcome: Outcome,
    rule: Rule,
    politeness: Politeness,
    jitter: float,
    *,
    asked: bool,
) -> HostState:
    """The penalty: doubled by a 429 or 503 that names no time, one step down on a clean answer."""
    if rule.effect == "throttle" and not asked:
        start = max(PENALTY_START, state.delay)
        raised = _stretch(max(2 * state.penalty, start), jitter)
        return replace(state, penalty=max(state.penalty, min(raised, PENALTY_CAP)))
    if not outcome.reason and state.penalty:
        step = max(PENALTY_START, politeness.min_delay, state.penalty / 8)
        return replace(state, penalty=max(0.0, state.penalty - step))
    return state


def _blocked(
    state: HostState,
    outcome: Outcome,
    rule: Rule,
    politeness: Politeness,
    now: float,
    jitter: float,
    asked: float | None,
) -> HostState:
    """Failures counted, and the longest of the blocks that apply."""
    failures = state.failures
    if rule.effect == "alive":
        failures = 0
    elif rule.effect == "failure":
        failures += 1
    state = replace(state, failures=failures)
    if state.blocked_until <= now:
        state = replace(state, blocked_until=0.0, blocked_reason="")
    if asked is not None:
        state = _block(state, "retry-after", asked, now)
    if rule.effect == "failure" and failures >= politeness.breaker_failures:
        doublings = min(failures - politeness.breaker_failures, 30)
        wait = _stretch(politeness.breaker_wait * 2.0**doublings, jitter)
        state = _block(state, "breaker-open", min(wait, politeness.max_block), now)
    if outcome.reason == "robots-unreachable":
        wait = min(robots_retry(outcome.attempts, jitter), politeness.max_block)
        state = _block(state, "robots-unreachable", wait, now)
    return _parked(state, politeness, now)


def _parked(state: HostState, politeness: Politeness, now: float) -> HostState:
    if state.crawl_delay > politeness.max_crawl_delay and state.blocked_reason != "parked":
        return _block(state, "parked", politeness.park, now)
    return state


def _block(state: HostState, reason: str, wait: float, now: float) -> HostState:
    """The state with a block of ``wait`` seconds, unless a longer one holds already."""
    until = now + wait
    if until <= state.blocked_until:
        return state
    return replace(state, blocked_until=until, blocked_reason=reason)


def with_crawl_delay(
    state: HostState, crawl_delay: float | None, politeness: Politeness, now: float
) -> HostState:
    """The state once robots.txt has been read; None: it asks for no delay.

    A delay above ``max_crawl_delay`` parks the host: it is neither violated nor dropped.
    """
    asked = crawl_delay or 0.0
    if state.blocked_reason == "parked" and asked <= politeness.max_crawl_delay:
        state = replace(state, blocked_until=0.0, blocked_reason="")
    floor = max(politeness.min_delay, min(asked, politeness.max_crawl_delay))
    state = replace(state, crawl_delay=asked, delay=max(state.delay, floor))
    if state.blocked_until <= now:
        state = replace(state, blocked_until=0.0, blocked_reason="")
    return _parked(state, politeness, now)


def _stretch(wait: float, jitter: float) -> float:
    """Up to a quarter longer, so that hosts that failed together do not return together."""
    return wait * (1 + jitter / 4)


# Reading headers.

_DELTA: Final = re.compile(r"\d{1,18}(?:\.\d*)?")
_MAX_AGE: Final = re.compile(r'(?:^|[,\s])(s-maxage|max-age)\s*=\s*"?(\d{1,18})', re.IGNORECASE)
_NOT_STORED: Final = re.compile(r"(?:^|[,\s])no-(?:store|cache)\b", re.IGNORECASE)


def retry_after(value: str, now: float) -> float | None:
    """Seconds that a Retry-After header asks to wait, clamped to 1 s .. 24 h (RFC 9110 10.2.3).

    Both forms, delta seconds and HTTP date; None where it is neither.
    """
    value = value.strip()
    if _DELTA.fullmatch(value):
        seconds = float(value)
    else:
        try:
            date = parsedate_to_datetime(value)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return min(max(seconds, RETRY_AFTER_MIN), RETRY_AFTER_MAX)


def cache_seconds(cache_control: str | None) -> float:
    """How long a copy of robots.txt may be used, from its Cache-Control (RFC 9309 2.4, RFC 9111).

    At most a day, which is also the default; at least a minute, whatever the header says. The copy
    is shared by the fleet, so ``s-maxage`` goes before ``max-age``.
    """
    if not cache_control:
        return ROBOTS_MAX_AGE
    if _NOT_STORED.search(cache_control):
        return ROBOTS_MIN_AGE
    ages: dict[str, float] = {}
    for name, digits in _MAX_AGE.findall(cache_control):
        ages[name.lower()] = min(float(digits), ages.get(name.lower(), ROBOTS_MAX_AGE))
    age = ages.get("s-maxage", ages.get("max-age", ROBOTS_MAX_AGE))
    return min(max(age, ROBOTS_MIN_AGE), ROBOTS_MAX_AGE)


# Access to robots.txt.


def robots_decision(status: int) -> Literal["parse", "allow", "disallow"]:
    """What the final answer for a robots.txt means (RFC 9309 2.3.1); 0 is no answer at all.

    2xx: parse it. 3xx, that is redirects that lead nowhere, and 4xx but 429: it is unavailable,
    everything is allowed. 429, 5xx and no answer: it is unreachable, nothing is allowed until a
    later look succeeds (or, with a last good copy of at most ROBOTS_LAST_GOOD, what that one
    allows).
    """
    if 200 <= status < 300:
        return "parse"
    return "allow" if 300 <= status < 500 and status != 429 else "disallow"


def robots_retry(failures: int, jitter: float = 0.0) -> float:
    """Seconds until an unreachable robots.txt is looked at again, after so many failures in a row.

    2 s, 8 s, 10 min, 20 min and so on up to a day.
    """
    step = max(failures, 1) - 1
    last = len(ROBOTS_RETRY) - 1
    wait = ROBOTS_RETRY[min(step, last)] * 2.0 ** min(max(step - last, 0), 30)
    return min(_stretch(wait, jitter), ROBOTS_MAX_AGE)
