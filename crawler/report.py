"""What the crawler tells people and programs: snapshots, summaries, one page's report. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

# How a run ended -> exit code of the command.
EXIT_CODES: Final = {"completed": 0, "failed": 1, "interrupted": 130}

Counts = Mapping[str, int]  # reason -> how many


@dataclass(frozen=True, slots=True)
class Progress:
    """A crawl at one moment."""

    phase: str = "crawling"  # starting | crawling | draining | storing
    pages: int = 0  # pages fetched with status 200 so far, stored or about to be
    visits: int = 0  # URLs that have been settled or fetched, whatever the outcome
    pages_per_s: float = 0.0  # over the last few seconds
    bytes: int = 0  # decoded payload fetched
    hosts_ready: int = 0  # may be leased now
    hosts_leased: int = 0  # held by a worker
    hosts_waiting: int = 0  # backing off or blocked
    queue: int = 0  # URLs accepted and not yet finished
    duplicates: int = 0  # pages whose payload was seen before
    near_duplicates: int = 0  # pages whose text resembles an earlier one's
    errors: Counts = field(default_factory=dict)  # failed fetches
    dropped: Counts = field(default_factory=dict)  # accepted URLs given up
    elapsed: float = 0.0  # seconds since the start
    workers: int = 0  # alive now
    max_pages: int | None = None  # the job's bound, for a bar


@dataclass(frozen=True, slots=True)
class Summary:
    """What a crawl came to."""

    state: str  # completed | failed | interrupted
    out: str  # where the corpus is
    reason: str = ""  # why it ended, when not because nothing was left
    pages: int = 0  # committed rows of kind page with status 200 and a WARC record
    visits: int = 0  # committed rows of kind page, whatever their outcome
    bytes: int = 0  # decoded payload that was fetched, what was fetched again included
    hosts: int = 0  # hosts with at least one answer
    duplicates: int = 0  # pages whose payload was seen before
    near_duplicates: int = 0  # pages whose text resembles an earlier one's
    dropped: Counts = field(default_factory=dict)  # by reason: given up by rule
    demoted: Counts = field(default_factory=dict)  # by reason: sent to the slow class
    errors: Counts = field(default_factory=dict)  # by reason: given up after failing
    unreached: Counts = field(default_factory=dict)  # by reason: left for --resume
    refetched: int = 0  # URLs fetched again because their pages were lost before they were stored
    seconds: float = 0.0  # wall time of this run

    @property
    def exit_code(self) -> int:
        """0 completed, 1 failed, 130 interrupted."""
        return EXIT_CODES[self.state]

    def json_dict(self) -> dict[str, Any]:
        """For ``--json``: plain types, keys as the fields are named."""
        return asdict(self) | {"seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True)
class DryRunLine:
    """What a crawl would do with one URL."""

    url: str  # canonical
    verdict: str  # fetch | skip
    reason: str = ""  # why it is skipped, or what a fetch is allowed by

    def json_dict(self) -> dict[str, str]:
        """For ``--json``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RobotsReport:
    """What robots.txt says of one URL."""

    allowed: bool
    rule: str | None = None  # the rule that decided, as written; None: no rule matched
    line: int | None = None  # its line, from 1
    status: str = ""  # how robots.txt was had, e.g. "200", "404" or a reason code
    crawl_delay: float | None = None  # seconds asked for


@dataclass(frozen=True, slots=True)
class LinkReport:
    """A link as found on the page."""

    url: str  # absolute
    rel: str = ""  # the rel attribute
    kind: str = ""  # element it came from


@dataclass(frozen=True, slots=True)
class SignalReport:
    """One statement about the use of a page."""

    name: str  # the signal
    value: str  # "" for a bare directive
    source: str  # where it stood
    raw: str  # as written


@dataclass(frozen=True, slots=True)
class FetchReport:
    """One page through the same path as a crawl's (``comity fetch``)."""

    url: str  # canonical
    robots: RobotsReport
    reason: str = ""  # reason code when there is no page; "" otherwise
    detail: str = ""  # the same, in words
    ip: str = ""  # address contacted
    status: int = 0  # 0: no answer
    status_line: str = ""  # e.g. "HTTP/1.1 200 OK"
    headers: tuple[tuple[str, str], ...] = ()  # raw order and case
    payload_bytes: int = 0  # decoded
    truncated: str | None = None  # length | time | disconnect
    digest: str = ""  # of the decoded payload, "sha1:..."
    mime: str = ""  # detected
    charset: str = ""  # decoded with
    lang: str = ""  # of the main text
    title: str = ""
    text: str = ""  # main text
    links: tuple[LinkReport, ...] = ()
    signals: tuple[SignalReport, ...] = ()  # all that was said of its use
    in_force: Mapping[str, str] = field(default_factory=dict)  # signal -> value: the strictest
    timings: Mapping[str, float] = field(default_factory=dict)  # step -> seconds

    @property
    def exit_code(self) -> int:
        """0 with an answer, 1 without."""
        return 0 if self.status else 1

    def json_dict(self) -> dict[str, Any]:
        """For ``--json``: plain types, keys as the fields are named."""
        return asdict(self)
