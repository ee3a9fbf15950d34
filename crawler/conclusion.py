"""What follows from all that is known of a URL, in one line under one code. Pure.

A URL on its way is where it is; one that came to its end ended for its row's reason; one
that no job has met would be treated as the rules say now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from crawler.units import spell_duration
from frontier.blocks import Block
from frontier.inspect import HostView
from frontier.model import REASONS
from frontier.registry import ENDED, JobRecord
from frontier.url import Url
from frontier.whereabouts import Whereabouts
from frontier.windows import ClockState


@dataclass(frozen=True, slots=True)
class RobotsFacts:
    """What the fleet's copy of the authority's robots.txt says of the URL."""

    status: int  # of the answer it is from; 0: none
    age: float | None  # seconds since the file was read; None: it never was
    next_look: float  # seconds until it is fetched again, at the next contact
    failures: int  # looks in a row that found it unreachable
    unreachable: bool  # nothing may be fetched for now (RFC 9309 2.3.1.4)
    allowed: bool
    rule: str  # as written, with its field; "": no rule applies
    line: int | None  # its number in the file
    crawl_delay: float | None  # seconds


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """A clock that the URL's contacts keep to."""

    kind: str  # domain | address
    name: str
    delay: float  # seconds between starts; 0: the job has none
    state: ClockState | None  # None: it rests


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of one URL in one job."""

    url: Url
    now: float  # unix seconds
    job: JobRecord
    max_depth: int | None  # of the job; None: no limit
    refusal: str | None  # the reason why a link to it would not be taken
    block: Block | None  # the operator's entry that forbids it
    where: Whereabouts
    host: HostView
    robots: RobotsFacts | None  # None: never fetched, or forgotten
    clocks: tuple[ClockFacts, ...]
    addresses: tuple[str, ...]  # of its host, as the name server says now
    dns: str  # reason why there are none; "" if there are
    blocked_addresses: tuple[str, ...]  # those that may not be contacted, each with why
    # Stored visits, oldest first: the table's columns, and duplicate_url
    rows: list[dict[str, Any]] = field(default_factory=list)
    unread: str = ""  # why stored rows could not be read
    keeps: bool = True  # the job stores rows


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What is to be said."""

    # A reason code, or stored | done | leased | pending | queued | undiscovered | on-its-way
    code: str
    text: str  # a sentence or two


def conclude(facts: Facts) -> Conclusion:
    """The one answer to: why was this URL not fetched, or was it?"""
    if facts.where.place:
        return _underway(facts)
    if facts.rows:
        return _ended(facts, facts.rows[-1])
    if facts.block is not None:
        return Conclusion("opted-out", f"{REASONS['opted-out']}: {_entry(facts.block)}")
    if facts.refusal is not None:
        return Conclusion(facts.refusal, f"{REASONS[facts.refusal]}; links to it are not taken")
    if facts.where.seen and not facts.keeps:
        return Conclusion(
            "done", "the job is done with it; it stores no pages, so no more is known"
        )
    if facts.where.seen:
        text = "the job has seen it, and it is in no place and has no row"
        return Conclusion("on-its-way", f"{text}: it moved just now, or ask comity frontier check")
    return _undiscovered(facts)


def _underway(facts: Facts) -> Conclusion:
    where, host = facts.where, facts.host
    if where.place == "leased":
        return Conclusion("leased", f"worker {host.worker} holds its host and is at it")
    if where.place == "pending":
        came = f"ended as {where.reason}" if where.reason else "fetched"
        return Conclusion("pending", f"{came}; its row waits for the commit of {where.segment}")
    over = facts.job.reason if facts.job.state in ENDED else ""
    if over in REASONS and over != "max-wait":  # of those, each has its own reason to wait
        text = f"left over when the job ended: {REASONS[over]}; --resume goes on"
        return Conclusion(over, text)
    coming = _coming(facts) + (f"; {REASONS[over]}; --resume goes on" if over in REASONS else "")
    blocked = host.state.blocked_until > facts.now and host.state.blocked_reason
    if blocked:
        until = _when(host.state.blocked_until)
        return Conclusion(blocked, f"waits: {REASONS[blocked]}, until {until}{coming}")
    request = where.request
    if request is not None and request.reason in REASONS:
        what = f"waits: {REASONS[request.reason]}"
        if where.place == "waiting" and where.due is not None:
            what += f" ({request.attempts} so far); tried again at {_when(where.due)}"
        return Conclusion(request.reason, what + coming)
    ahead = f" behind {where.ahead} others of its host" if where.ahead else ""
    code = over if over in REASONS else "queued"
    return Conclusion(code, f"{where.place}{ahead}; {_readiness(host)}{coming}")


def _coming(facts: Facts) -> str:
    """What will stop a URL that waits, as far as it is known now."""
    if facts.block is not None:
        return f"; it will end as opted-out ({_entry(facts.block)})"
    robots = facts.robots
    if robots is not None and not robots.allowed and not robots.unreachable:
        return f"; it will end as robots-denied ({_rule(robots)})"
    if facts.refusal is not None:
        return f"; it will end as {facts.refusal}"
    return ""


def _readiness(host: HostView) -> str:
    if host.lease_ends is not None:
        return f"worker {host.worker} holds its host for job {host.job}"
    if host.ready > 0:
        return f"its host may be contacted in {spell_duration(round(host.ready, 1))}"
    return "its host may be contacted now"


def _ended(facts: Facts, row: Mapping[str, Any]) -> Conclusion:
    when = _when(row["fetch_time"].timestamp())
    reason = row["reason"]
    if not reason:
        return Conclusion("stored", f"{_answer(row)} and stored, {when}{_likeness(row)}")
    text = REASONS.get(reason, "ended")
    if reason == "robots-denied":
        now = facts.robots
        rule = _rule(now) if now is not None and not now.allowed else row["robots"]
        text += f" ({rule})" if rule else ""
    elif reason == "opted-out" and facts.block is not None:
        text += f" ({_entry(facts.block)})"
    elif reason == "blocked-address" and facts.blocked_addresses:
        text += f" ({facts.blocked_addresses[0]})"
    elif row["redirect_to"]:
        text += f" (to {row['redirect_to']})"
    tries = f", after {row['attempts']} attempts" if (row["attempts"] or 0) > 1 else ""
    return Conclusion(reason, f"{text}; ended {when}{tries}")


def _answer(row: Mapping[str, Any]) -> str:
    return f"fetched ({row['fetch_status']})" if row["fetch_status"] else "fetched"


def _likeness(row: Mapping[str, Any]) -> str:
    if not row["duplicate_of"]:
        return ""
    return f"; {row['duplicate_kind']} duplicate of {row['duplicate_url'] or row['duplicate_of']}"


def _undiscovered(facts: Facts) -> Conclusion:
    text = "it belongs to the job, and no link that the job follows has led to it"
    if facts.max_depth is not None:
        text += f"; links deeper than {facts.max_depth} are left out as too-deep"
    text += "; links that sites mark nofollow are left out as signal-nofollow"
    robots = facts.robots
    if robots is not None and not robots.allowed and not robots.unreachable:
        text += f"; robots.txt would forbid it ({_rule(robots)})"
    return Conclusion("undiscovered", text)


def _rule(robots: RobotsFacts) -> str:
    return f"line {robots.line}: {robots.rule}" if robots.rule else f"status {robots.status}"


def _entry(block: Block) -> str:
    return f"{block.target}, by {block.who} on {_when(block.when)}: {block.why}"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
