"""Judges a crawl by the demo server's log against the ground truth. Pure.

A host's delay is measured between the end of one request and the start of the next, robots.txt
requests included. The server stamps ``start`` after the client began and ``end`` before the client
was done, so a gap seen here is at least the one that the client left: the tolerance covers clock
steps only. Clocks that hosts share run from start to start, and of two starts the server may be
late to see the first one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crawler.demo.log import Entry, entries
from crawler.tdmrep import PATH as TDM_FILE

TOLERANCE: Final = 0.001  # seconds; both ends read the same clock of the same machine
STALL: Final = 0.05  # seconds; a busy server may see one request so much later than the next
_ABORTED: Final = 0.05  # seconds; the server learns late that a client has left


@dataclass(frozen=True, slots=True)
class Early:
    """A request that came too soon after another."""

    clock: str  # host | address | domain | retry-after
    key: str  # whose clock
    url: str
    gap: float  # seconds left; from start to start on the clocks of addresses and domains
    needed: float  # seconds that had to be left


@dataclass
class Report:
    """What was wrong with a crawl; all lists empty: nothing."""

    early: list[Early] = field(default_factory=list)
    overlaps: list[tuple[str, str, str]] = field(default_factory=list)  # host, URL, URL under way
    robots_violations: list[str] = field(default_factory=list)  # denied, or before robots.txt
    missing: list[str] = field(default_factory=list)  # required, never requested
    extra: list[str] = field(default_factory=list)  # requested, neither required nor permitted
    wrong_count: list[tuple[str, int, int]] = field(default_factory=list)  # URL, times, required
    wrong_status: list[tuple[str, int, int]] = field(default_factory=list)  # URL, last, required
    requests: int = 0
    smallest_gap: float | None = None  # seconds, over all hosts
    closest: dict[str, float] = field(default_factory=dict)  # clock -> seconds between two starts

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not any(self.faults().values())

    def faults(self) -> dict[str, int]:
        """How many of each."""
        return {
            "early": len(self.early),
            "overlaps": len(self.overlaps),
            "robots_violations": len(self.robots_violations),
            "missing": len(self.missing),
            "extra": len(self.extra),
            "wrong_count": len(self.wrong_count),
            "wrong_status": len(self.wrong_status),
        }

    def summary(self) -> str:
        """One line, with an example of each kind of fault."""
        faults = [
            f"{n} {name} (e.g. {getattr(self, name)[0]})" for name, n in self.faults().items() if n
        ]
        return f"{self.requests} requests: " + ("; ".join(faults) or "as it should be")


def judge(
    log: Iterable[Entry | str | dict[str, Any]],
    truth: Mapping[str, Any],
    min_delay: float,
    *,
    address_delay: float | None = None,
    domain_delay: float | None = None,
    refetches: bool = False,
) -> Report:
    """Compare a log with a truth (from `crawler.demo.truth.truth` or ``/__truth__``).

    Args:
        log: entries, JSON lines or objects, in any order.
        truth: the ground truth for the crawl's policy; its ``clocks`` say which delays are held.
        min_delay: seconds that the crawl was to leave on each host.
        address_delay: seconds between starts per address; ``min_delay`` if not given.
        domain_delay: the same per registered domain; ``min_delay`` if not given.
        refetches: whether a URL may be requested more often than needed, as after a crash.
    """
    requests = sorted(_parsed(log), key=lambda entry: (entry.start, entry.end))
    report = Report(requests=len(requests))
    hosts: Mapping[str, Mapping[str, Any]] = truth["hosts"]

    def crawl_delay(entry: Entry) -> float:
        return max(min_delay, float(hosts.get(entry.host, {}).get("crawl_delay", 0.0)))

    _gaps(report, requests, crawl_delay)
    keys: dict[str, Callable[[Entry], str]] = {
        "host": lambda entry: entry.host,
        "address": lambda entry: entry.address,
        "domain": lambda entry: _domain(hosts, entry),
    }
    delays = {"host": 0.0, "address": address_delay, "domain": domain_delay}
    for clock, key in keys.items():
        found = delays[clock] if clock in truth["policy"]["clocks"] else 0.0
        _starts(report, requests, clock, key, min_delay if found is None else found)
    _robots(report, requests, truth)
    _set(report, requests, truth, refetches)
    return report


def _parsed(log: Iterable[Entry | str | dict[str, Any]]) -> Iterable[Entry]:
    for line in log:
        if isinstance(line, Entry):
            yield line
        else:
            yield from entries([line])


def _domain(hosts: Mapping[str, Mapping[str, Any]], entry: Entry) -> str:
    return str(hosts.get(entry.host, {}).get("domain", entry.host))


def _gaps(report: Report, requests: list[Entry], needed: Callable[[Entry], float]) -> None:
    """Delays, Retry-After and overlaps on each host's clock."""
    last: dict[str, Entry] = {}
    not_before: dict[str, float] = {}
    for entry in requests:
        host = entry.host
        previous = last.get(host)
        if previous is not None:
            gap = entry.start - previous.end
            slack = _ABORTED if previous.aborted else TOLERANCE
            smallest = report.smallest_gap
            report.smallest_gap = gap if smallest is None else min(gap, smallest)
            if gap < 0:
                report.overlaps.append((host, entry.url, previous.url))
            if gap < needed(entry) - slack:
                report.early.append(Early("host", host, entry.url, gap, needed(entry)))
            wait = not_before.get(host, 0.0) - entry.start
            if wait > slack:
                report.early.append(Early("retry-after", host, entry.url, gap, gap + wait))
        if previous is None or entry.end > previous.end:
            last[host] = entry
        not_before[host] = max(not_before.get(host, 0.0), entry.retry_at)


def _starts(
    report: Report, requests: list[Entry], clock: str, key: Callable[[Entry], str], needed: float
) -> None:
    """Times between starts on each clock of a kind; what is below ``needed`` is early."""
    last: dict[str, float] = {}
    for entry in requests:
        owner = key(entry)
        if owner in last:
            gap = entry.start - last[owner]
            report.closest[clock] = min(gap, report.closest.get(clock, gap))
            if gap < needed - STALL:
                report.early.append(Early(clock, owner, entry.url, gap, needed))
        last[owner] = entry.start


def _robots(report: Report, requests: list[Entry], truth: Mapping[str, Any]) -> None:
    """Nothing denied was asked for, and robots.txt was there before anything else."""
    denied = set(truth["denied"])
    files = {url for host in truth["hosts"].values() for url in host["robots_urls"]}
    had: dict[str, float] = {}
    for entry in requests:
        if entry.url in files:
            if entry.status < 500 and entry.status != 429:  # else it forbids all (RFC 9309 2.3.1.4)
                had.setdefault(entry.url, entry.end)
            continue
        host = truth["hosts"].get(entry.host)
        if host is None:
            continue
        if entry.url in denied or host["closed"]:
            report.robots_violations.append(f"denied: {entry.url}")
        elif any(had.get(url, entry.start + 1) > entry.start for url in host["robots_urls"]):
            report.robots_violations.append(f"before robots.txt: {entry.url}")


def _set(report: Report, requests: list[Entry], truth: Mapping[str, Any], refetches: bool) -> None:
    """What was requested, how often, and with what end."""
    files = {url for host in truth["hosts"].values() for url in host["robots_urls"]}
    counts = Counter(entry.url for entry in requests)
    final: dict[str, int] = {}
    for entry in requests:
        final[entry.url] = entry.status
    may, prefixes = set(truth["may"]), tuple(truth["may_prefixes"])
    for url, wanted in truth["must"].items():
        times = counts.get(url, 0)
        low, high = (
            wanted.get("times_min", wanted["times"]),
            wanted.get("times_max", wanted["times"]),
        )
        if not times:
            report.missing.append(url)
        elif times < low or (times > high and not refetches):
            report.wrong_count.append((url, times, wanted["times"]))
        elif final[url] != wanted["status"]:
            report.wrong_status.append((url, final[url], wanted["status"]))
    permitted = truth["must"].keys() | may | files
    tdm_files = {f"http://{host}{TDM_FILE}" for host in truth["hosts"]}  # nobody has to, all may
    report.extra = [
        url
        for url in counts
        if url not in permitted | tdm_files and not (prefixes and url.startswith(prefixes))
    ]
