"""What the rows of a table tell of hosts and visits, when the frontier does not know any more.

No I/O. What it remembers: hosts with a Crawl-delay or a wait.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from frontier import policy
from frontier.model import HostState, Outcome, Politeness
from frontier.restore import Past
from frontier.robots import parse as parse_robots
from frontier.url import InvalidUrl, Url, parse
from storage.table import ASIDE

COLUMNS: Final = (
    *("url", "visit", "kind", "reason", "fetch_status", "fetch_time", "fetch_seconds"),
    *("attempts", "content_truncated", "warc_filename", "duplicate_kind"),
)
_HOPS: Final = 5  # redirects of a robots.txt (RFC 9309 2.3.1.2)

Row = Mapping[str, Any]


class Asked:
    """What hosts asked for: Crawl-delay in robots.txt, Retry-After in stored answers."""

    def __init__(self, product: str, longest: float, now: float) -> None:
        """``longest``: seconds that a wait may take; ``now``: unix seconds."""
        self._product = product
        self._longest = longest
        self._now = now
        self._delays: dict[str, float] = {}  # by URL of the file
        self._moved: dict[str, str] = {}  # URL of a file -> where it redirected to
        self._hosts: dict[str, float] = {}
        self._until: dict[str, float] = {}  # host -> unix seconds

    def robots(self, row: Row, body: bytes) -> None:
        """Take in a stored robots.txt, or the redirect in its place."""
        if row["redirect_to"]:
            self._moved[row["url"]] = row["redirect_to"]
        elif 200 <= (row["fetch_status"] or 0) < 300:
            asked = parse_robots(body).crawl_delay(self._product)
            if asked:  # of several copies, the one that asks for most
                self._delays[row["url"]] = max(asked, self._delays.get(row["url"], 0.0))

    def wait(self, row: Row, retry_after: str) -> None:
        """Take in the header of an answer, whatever its status."""
        ended = row["fetch_time"].timestamp() + (row["fetch_seconds"] or 0.0)
        seconds = policy.retry_after(retry_after, ended)
        until = ended + min(seconds or 0.0, self._longest)
        if until > self._now:
            host = parse(row["url"]).host
            self._until[host] = max(until, self._until.get(host, 0.0))

    def settle(self) -> None:
        """All rows have been read."""
        for url in (*self._delays, *self._moved):
            at, asked = url, self._delays.get(url, 0.0)
            for _ in range(_HOPS):
                at = self._moved.get(at, at)
                asked = max(asked, self._delays.get(at, 0.0))
            if asked:
                host = parse(url).host
                self._hosts[host] = max(asked, self._hosts.get(host, 0.0))

    def delay(self, host: str) -> float:
        """Seconds; 0 where none was asked for."""
        return self._hosts.get(host, 0.0)

    def until(self, host: str) -> float:
        """Unix seconds until which it asked to be left alone; 0: it did not, or that is over."""
        return self._until.get(host, 0.0)


def pasts(
    rows: Iterable[Row],
    place: Callable[[Url, int], tuple[int, str]],
    asked: Asked,
    politeness: Politeness,
    now: float,
) -> list[Past]:
    """Hosts and visits of some rows, for `frontier.restore`.

    A host's state is what the policy makes of the contacts among these rows; its clock is never
    before ``now`` (unix seconds) and its delay, as the last contact may have no row.
    """
    by_host: dict[str, list[tuple[Url, Row]]] = defaultdict(list)
    for row in rows:
        try:
            url = parse(row["url"])
        except InvalidUrl:  # by the rules of another version
            continue
        by_host[url.host].append((url, row))
    out = []
    for host, found in by_host.items():
        found.sort(key=lambda each: each[1]["fetch_time"])
        state, ready = _state(found, asked, host, politeness, now)
        visits = tuple(
            (place(url, row["visit"] or 1)[1], counted_reason(row))
            for url, row in found
            if row["kind"] not in ASIDE
        )
        out.append(Past(found[0][0], ready, state, visits))
    return out


def counted_reason(row: Row) -> str:
    """What a visit was counted under: "" for done, which an answer is, whatever its status."""
    reason, status = row["reason"] or "", row["fetch_status"]
    return "" if status is not None and reason == policy.reason_for_status(status) else reason


def _state(
    found: list[tuple[Url, Row]], asked: Asked, host: str, politeness: Politeness, now: float
) -> tuple[HostState, float]:
    state, ready, crawl_delay = HostState(), 0.0, asked.delay(host)
    for _, row in found:
        began = row["fetch_time"].timestamp()
        if crawl_delay:
            state = policy.with_crawl_delay(state, crawl_delay, politeness, began)
        outcome = _outcome(row)
        if outcome is not None:
            ended = began + outcome.seconds
            verdict = policy.decide(state, outcome, politeness, ended, 1.0)
            state, ready = verdict.state, max(ready, ended + verdict.host_wait)
    if state.blocked_until <= now:
        state = replace(state, blocked_until=0.0, blocked_reason="")
    if until := asked.until(host):
        until = max(until, state.blocked_until)
        state = replace(state, blocked_until=until, blocked_reason="retry-after")
    return state, max(ready, until, now + state.delay)


def _outcome(row: Row) -> Outcome | None:
    """The contact that a row tells of; None where its host was not contacted for it."""
    status, seconds, attempts = row["fetch_status"], row["fetch_seconds"], row["attempts"] or 1
    if status is not None:
        cut = "truncated" if row["content_truncated"] == "disconnect" else ""
        reason = policy.reason_for_status(status) or cut
        return Outcome(reason, status, seconds or 0.0, attempts=attempts)
    rule = policy.TABLE.get(row["reason"] or "")
    return Outcome(row["reason"], attempts=attempts) if rule and rule.contact else None
