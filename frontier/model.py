"""The records that travel between the frontier, its policy and the workers.

All are frozen: a worker decides, the frontier stores. Those that come and go by the thousand are
structs, which are made in a fraction of a dataclass's time. Times are in seconds unless a name says
``_ms``; reasons are a closed set (design: every drop has a reason), so that each can be counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import msgspec

# Reason codes, each counted and shown, and what they mean: why an accepted URL ended without a
# page, or is waiting.
REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # before any contact
        "out-of-scope": "the job's scope does not hold it",
        "excluded": "an --exclude pattern matched, or no --include did",
        "too-deep": "deeper than the job's max_depth",
        "invalid-url": "cannot be parsed as an http(s) URL",
        "robots-denied": "a robots.txt rule forbids it",
        "robots-unreachable": "robots.txt could not be had: complete disallow (RFC 9309 2.3.1.4)",
        "blocked-address": "the host resolves to an address that is not globally routable",
        "opted-out": "the operator's block list forbids it: its site asked for that",
        "no-contact": "a public host, met by a job that names no contact",
        "redirect-limit": "more redirect hops than the job allows",
        "redirect-loop": "a redirect to itself",
        "poison": "its worker died on it too often",
        "trap-depth": "more path segments than the job's max_path_depth",
        "trap-repeats": "a path that repeats itself more than max_repeats times",
        # why an accepted URL waits in the slow class: it may be part of a trap
        "trap-query": "its path has had too many kinds of queries, or too many queries",
        "stale-prefix": "pages like it held next to nothing new",
        "host-explosion": "its registered domain has too many hosts",
        # the fetch
        "dns-nxdomain": "its host's name does not exist",
        "dns-servfail": "the name server failed",
        "dns-timeout": "the name server did not answer in time",
        "refused": "its host refused the connection",
        "unreachable": "there is no way to its host's address",
        "reset": "its host broke the connection",
        "tls-expired": "its host's certificate has expired",
        "tls-name": "its host's certificate is for another name",
        "tls-untrusted": "its host's certificate is signed by nobody trusted",
        "tls-error": "no TLS connection came about",
        "connect-timeout": "its host took no connection in time",
        "timeout": "its host did not answer in time",
        "too-slow": "below the minimum throughput (tarpit)",
        "truncated": "the body ended early",
        "too-large": "over the size cap",
        "bomb": "compression ratio or decompressed size over the cap",
        "bad-encoding": "content coding that does not decode",
        "protocol-error": "not HTTP",
        "header-flood": "too many or too large headers",
        "content-type": "not a type that the job stores: cut off after its headers or first bytes",
        "proxy-error": "the operator's proxy did not let the request through",
        "internal-error": "processing it failed; a defect of ours",
        # the answer
        "http-401": "its site asks for a login",
        "http-403": "its site forbids it",
        "http-404": "there is no such page",
        "http-410": "the page is gone for good",
        "http-451": "withheld for legal reasons",
        "http-4xx": "its site takes the request for wrong",
        "http-429": "its site said: too many requests",
        "http-503": "its site was not available",
        "http-5xx": "its site failed",
        # the site's word on the use of its content: it was fetched, and not kept
        "signal-noindex": "its site does not want it indexed",
        "signal-noarchive": "its site does not want copies kept",
        "signal-noai": "its site does not want AI trained on it",
        "signal-train-ai": "its site does not want AI trained on it",
        "signal-ai-use": "its site does not want it used by AI",
        "signal-search": "its site does not want it searched",
        "signal-bots": "its site does not want it used by bots",
        "signal-tdm-reservation": "its site reserves text and data mining",
        "signal-noimageai": "its site does not want AI trained on the image",
        "signal-noimageindex": "its site does not want the image indexed",
        "signal-nofollow": "a link that was not followed",
        # it was fetched, and its content not kept
        # in a plugged-in Scrapy project
        "middleware": "a middleware of its project had an answer, or would not ask its site",
        "duplicate": "it repeats a page that is stored, and the job drops copies",
        # host state, for URLs that wait
        "retry-after": "its host asked to be left alone for a time",
        "breaker-open": "its host failed so often that it is left alone for a time",
        "parked": "Crawl-delay above the cap",
        # the job's own bounds, for URLs left over
        "max-pages": "the job had its pages",
        "time-limit": "the job's time was over",
        "size-limit": "the job had its bytes",
        "cancelled": "the job was stopped",
        "max-wait": "the job ended, as all that was left had to wait for too long",
        "lost": "it was nowhere when the frontier was checked and repaired",
        "spill-damaged": "its spilled segment cannot be read; kept aside",
    }
)


class FrontierError(Exception):
    """Base of what the frontier raises; the message is one line fit for an operator."""


class FrontierBusy(FrontierError):
    """It takes no more URLs for now (memory, a full spill buffer, a partition on its way)."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds after which to ask again


class FrontierFull(FrontierError):
    """Its server cannot write to its disk and refuses every change until it can."""


class CrawlRequest(msgspec.Struct, frozen=True, gc=False):
    """One URL as it waits in a queue."""

    url: str  # canonical URL (frontier.url.parse(...).url)
    depth: int = 0  # links from a seed; redirects do not count
    kind: str = "page"  # page | sitemap
    hops: int = 0  # redirects that led here in a row
    visit: int = 1  # 1 for the first fetch, +1 per recrawl
    via: str = ""  # the URL it was found on; empty for seeds
    attempts: int = 0  # contacts made so far
    losses: int = 0  # leases that were lost while it was out; after the first, once it was begun
    priority: int = 2  # class: 0 seeds, redirects, retries; 1 sitemaps, shallow; 2 deep; 3 slow
    reason: str = ""  # why its last attempt failed; empty at first
    extra: str = ""  # the URL's own luggage (JSON by convention; no tab or line end; <= 64 KB)


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a job in the frontier, and in which order it goes; one per job."""

    host_cap: int = 1000  # URLs per host kept in Redis, the rest is spilled; 0: no cap
    buffer: int = 4096  # spilled URLs per partition that may wait for the store
    host_budget: int = 0  # accepted URLs per host before more are demoted; 0: none
    domain_budget: int = 0  # the same per registered domain
    domain_hosts: int = 0  # hosts per registered domain before those of more are demoted; 0: none
    newest_first: bool = False  # depth first: the newest URL of a class goes first


class HostState(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What politeness remembers of a host between leases; only the lease holder writes it."""

    delay: float = 0.0  # seconds to leave between the end of a request and the next start
    response_time: float = 0.0  # seconds, smoothed; 0 when unknown
    failures: int = 0  # consecutive connection, timeout and 5xx failures
    penalty: float = 0.0  # extra seconds from 429/503, doubling up, coming down by steps
    blocked_until: float = 0.0  # unix seconds; Retry-After, breaker or parked
    blocked_reason: str = ""  # retry-after | breaker-open | parked | robots-unreachable
    crawl_delay: float = 0.0  # from robots.txt, seconds
    ticket: float = 0.0  # unix seconds; its turn on a shared clock that turned it away; 0: none
    ticket_address: str = ""  # address that the ticket is for, * any; for its domain it always is


@dataclass(frozen=True, slots=True)
class Politeness:
    """The bounds within which the policy decides; one per job."""

    min_delay: float = 1.0  # seconds between requests to a host
    max_delay: float = 30.0  # cap of the adaptive part
    factor: float = 5.0  # delay = factor x response time; 0 turns the adaptive part off
    max_crawl_delay: float = 300.0  # above it the host is parked
    park: float = 86_400.0  # seconds a parked host waits before it is looked at again
    breaker_failures: int = 5  # consecutive failures that open the breaker
    breaker_wait: float = 60.0  # first wait of an open breaker; doubles up to max_block
    max_block: float = 86_400.0  # longest wait that Retry-After or the breaker may impose
    max_attempts: int = 3  # contacts per URL before a retryable outcome becomes final
    address_delay: float = 0.5  # seconds between the starts of two hosts' requests to one address
    domain_delay: float = 0.5  # the same within one registered domain; 0: no such clock


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one contact with a host came to."""

    reason: str  # "" for an answer that is not an error, else one of REASONS
    status: int = 0  # HTTP status, 0 when there was no answer
    seconds: float = 0.0  # duration of the exchange
    retry_after: str | None = None  # the raw Retry-After header
    attempts: int = 1  # contacts with this URL so far, this one included


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from an outcome, for the host and for the URL."""

    state: HostState  # the host's new state
    host_wait: float  # seconds from the end of the request before the host may be contacted again
    action: str  # done | retry | drop
    url_wait: float = 0.0  # with retry: seconds before this URL is due again
    reason: str = ""  # with retry and drop: why


class LeasedUrl(msgspec.Struct, frozen=True, gc=False):
    """One URL of a lease, with the id the frontier knows it by."""

    fp: str  # fingerprint, decimal
    request: CrawlRequest


class Lease(msgspec.Struct, frozen=True):
    """The sole right to contact a host until a deadline."""

    host: str  # scheme-less host[:port]
    job: str  # whose URLs these are
    partition: int  # where the host's state lives
    token: int  # fences every write made under this lease
    expires: (
        float  # time.monotonic()-like CLOCK_BOOTTIME seconds, counted from when the call was sent
    )
    state: HostState  # as its last holder left it
    urls: tuple[LeasedUrl, ...] = ()


class UrlResult(msgspec.Struct, frozen=True, gc=False):
    """What became of a leased URL, told to the frontier under the lease's token."""

    fp: str  # id within the lease
    action: str  # pending | retry | return
    segment: str = ""  # with pending: the segment that holds its row
    reason: str = ""  # with pending: "" done, else the drop reason; with retry: why it waits
    wait: float = 0.0  # with retry: seconds until due


class Report(msgspec.Struct, frozen=True):
    """What a lease's holder has to say: about its URLs, the host, and whether it gives it back."""

    lease: Lease
    results: Sequence[UrlResult]
    state: HostState  # of the host, from now on
    wait: float  # seconds until it may be contacted again
    free: bool  # the host is given back


@dataclass(frozen=True, slots=True)
class SpillItem:
    """One URL in a job's spill buffer."""

    cls: int  # its class
    host: str
    entry: bytes  # as it was queued


@dataclass(frozen=True, slots=True)
class SpillBatch:
    """The front of a job's spill buffer in a partition."""

    offset: int  # items ever trimmed before it; fences what is done with it
    items: tuple[SpillItem, ...]


@dataclass(frozen=True, slots=True)
class RefillWant:
    """A host whose spilled URLs are wanted back, and where the next ones are."""

    host: str
    cls: int  # the class to refill
    segment: str  # "": still in the buffer
    total: int  # URLs of the host and class in the segment
    consumed: int  # of these, how many came back before
    room: int  # how many may come now


@dataclass(frozen=True, slots=True)
class FrontierStats:
    """Where a job's accepted URLs are; the parts add up to ``accepted``."""

    accepted: int = 0
    queued: int = 0
    leased: int = 0
    pending: int = 0
    waiting: int = 0
    spilled: int = 0  # in the buffer or the store; quarantined ones among them
    quarantined: int = 0  # of the spilled: their segment is damaged or gone
    done: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # reason -> count
    finished: int = 0  # done and dropped
    demoted: dict[str, int] = field(default_factory=dict)  # into the slow class, reason -> count
    seen: int = 0  # offers refused because the URL was known
    refetched: int = 0  # taken back from segments whose owner died
    hosts_ready: int = 0
    hosts_leased: int = 0
    hosts_waiting: int = 0
    next_ready: float | None = None  # seconds until the earliest ready host or due URL; None: none
    doubtful: int = 0  # partitions that may have lost writes and are not reconciled yet
