"""JobSpec: what to crawl, how politely and where to; the one schema behind file, CLI and API.

Invariants kept: a crawl of a public host names somebody who can be asked to stop
(``check_identity``); a key that nobody declared is an error, never ignored.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from crawler import __version__
from crawler.consent import Policies
from crawler.mediatypes import DEFAULT, media_pattern
from crawler.schema import Shown, UsageError, read_toml, unknown_key, validate
from crawler.units import parse_duration, parse_size, spell_duration

__all__ = ["NOWHERE", "Count", "Duration", "JobSpec", "Size", "UsageError", "load_job"]

_EMAIL: Final = re.compile(r"[^\s@<>()]+@[^\s@<>()]+\.[^\s@<>().]+")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_PRODUCT: Final = re.compile(r"(?:.*compatible;\s*)?([A-Za-z][A-Za-z_-]*)")  # RFC 9309 2.2.1
# Fields of the request that are the connection's, or that have an option of their own.
_OWN_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "from",
        "host",
        "keep-alive",
        "signature",
        "signature-agent",
        "signature-input",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
_INSTEAD: Final = {
    "from": "; use contact",
    "signature": "; the setting signing_key has every request signed",
    "signature-agent": "; use the setting signature_agent",
    "signature-input": "; the setting signing_key has every request signed",
    "user-agent": "; use user_agent",
}
NOWHERE: Final = "nowhere:"  # as ``out``: of a Scrapy project's job that stores no pages
_MAX: Final = 10**12  # above any crawl; keeps numbers exact in Redis scripts


def _no_bool(value: object) -> object:
    if value is True or value is False:
        raise ValueError(f"should be a number, not {str(value).lower()}")
    return value


def _recrawl(value: object) -> object:
    text = value.strip().lower() if isinstance(value, str) else value
    if text in ("off", "adaptive"):
        return text
    try:
        seconds = parse_duration(value)
    except ValueError:
        raise ValueError(f"neither off, adaptive nor a duration such as 7d: {value!r}") from None
    if not 0 < seconds <= _MAX:
        raise ValueError(f"not an interval: {value!r}")
    return seconds


def _signals(value: object) -> tuple[str, ...]:
    return Policies.parse(value).spelt()


Count = Annotated[int, BeforeValidator(_no_bool), Field(le=_MAX)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(le=_MAX)]
Size = Annotated[int, BeforeValidator(parse_size), Field(le=10**18)]
Recrawl = Annotated[float | Literal["off", "adaptive"], BeforeValidator(_recrawl)]
Signals = Annotated[tuple[str, ...], BeforeValidator(_signals)]


class JobSpec(BaseModel):
    """One crawl. Durations are seconds, sizes bytes; text such as ``10m`` or ``500MB`` is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Shown("--name", "NAME")] = Field(
        default="crawl",
        description="Name of the job; its directory below the workspace's.",
    )
    workspace: Annotated[str, Shown("--workspace", "NAME")] = Field(
        default="default",
        description="Workspace that owns the job; the first directory below the output root.",
    )
    seeds: Annotated[tuple[str, ...], Shown(metavar="URL...")] = Field(
        default=(),
        description="URLs to start from. A bare host name is read as https://.",
    )
    seed_files: Annotated[tuple[str, ...], Shown("--seeds", "FILE|-")] = Field(
        default=(),
        description="Files of URLs to start from, - for standard input: text (one URL per line, "
        "# comments), CSV (column url, or the first), JSON lines; each also gzipped.",
    )
    sitemaps: Annotated[tuple[str, ...], Shown("--sitemap", "URL")] = Field(
        default=(),
        description="Sitemaps or sitemap indexes to take URLs from; their hosts are in scope.",
    )
    scope: Annotated[Literal["host", "domain", "prefix", "any"], Shown("--scope", "KIND")] = Field(
        default="host",
        description="What belongs to the job: the seeds' hosts (host), their registered domains "
        "(domain), URLs that begin like a seed up to its last slash (prefix), or any URL (any).",
    )
    include: Annotated[tuple[str, ...], Shown("--include", "PATTERN")] = Field(
        default=(),
        description="Keep only URLs that match one of these patterns: after re: a regular "
        "expression to be found in the URL, else a glob with * that must match all of the path "
        "(/docs/*), of the URL without scheme (example.org/docs/*) or of the whole URL (*.html).",
    )
    exclude: Annotated[tuple[str, ...], Shown("--exclude", "PATTERN")] = Field(
        default=(),
        description="Leave out URLs that match one of these patterns; wins over include.",
    )
    content_types: Annotated[
        tuple[str, ...],
        Shown("--content-type", "TYPE", default="HTML, XHTML, plain text, PDF, JSON and XML"),
    ] = Field(
        default=DEFAULT,
        min_length=1,
        description="Media types that are stored, * for any characters (image/*, */*). What the "
        "header or the first bytes show to be another is cut off there, and is not looked at for "
        "links; robots.txt and sitemaps never are.",
    )
    max_pages: Annotated[Count | None, Shown("--max-pages", "N")] = Field(
        default=None,
        ge=1,
        description="Stop after exactly this many stored pages (status 200), over all workers.",
    )
    max_depth: Annotated[Count | None, Shown("--max-depth", "N")] = Field(
        default=None,
        ge=0,
        description="Follow links at most this far from a seed; 0 fetches the seeds alone.",
    )
    order: Annotated[Literal["priority", "breadth", "depth"], Shown("--order", "KIND")] = Field(
        default="priority",
        description="Which of a host's URLs go first: redirects, then sitemaps and what is near a "
        "seed, then the rest (priority), those found first (breadth), or those found last (depth).",
    )
    weight: Annotated[Count, Shown("--weight", "N")] = Field(
        default=1,
        ge=1,
        le=100,
        description="Share of the workers' time beside other jobs: one of weight 2 gets twice as "
        "many URLs as one of weight 1.",
    )
    host_pages: Annotated[Count | None, Shown("--host-pages", "N")] = Field(
        default=None,
        ge=1,
        description="After this many URLs of a host, its further ones wait until all others of it "
        "have been fetched. Nothing is dropped.",
    )
    domain_pages: Annotated[Count | None, Shown("--domain-pages", "N")] = Field(
        default=None, ge=1, description="The same for all hosts of a registered domain together."
    )
    domain_hosts: Annotated[Count, Shown(metavar="N")] = Field(
        default=10_000,
        ge=0,
        description="After this many hosts of a registered domain, URLs of further ones wait: "
        "wildcard names have no end. 0: no bound.",
    )
    host_queue: Annotated[Count, Shown(metavar="N")] = Field(
        default=1_000,
        ge=10,
        description="URLs per host kept in Redis; the rest is spilled to the job's store.",
    )
    max_path_depth: Annotated[Count, Shown(metavar="N")] = Field(
        default=32,
        ge=0,
        description="Leave out links with more path segments than this. 0: no bound.",
    )
    max_repeats: Annotated[Count, Shown(metavar="N")] = Field(
        default=4,
        ge=0,
        description="Leave out links that repeat a path segment, or two one after the other, more "
        "often than this; numbers do not count. 0: no bound.",
    )
    max_query_keys: Annotated[Count, Shown(metavar="N")] = Field(
        default=100,
        ge=0,
        le=1000,
        description="After this many different sets of query keys on one path, links with further "
        "sets wait: filters that can be combined. 0: no bound.",
    )
    max_query_variants: Annotated[Count, Shown(metavar="N")] = Field(
        default=10_000,
        ge=0,
        description="After this many different queries on one path, links with further ones wait. "
        "0: no bound.",
    )
    stale_after: Annotated[Count, Shown(metavar="N")] = Field(
        default=200,
        ge=0,
        le=100_000,
        description="Once this many pages with alike paths were fetched, links to more of them "
        "wait if less than stale_ratio of them held anything new: session ids, endless lists. "
        "Needs dedupe. 0: no bound.",
    )
    stale_ratio: Annotated[float, BeforeValidator(_no_bool), Shown(metavar="SHARE")] = Field(
        default=0.02, ge=0, le=1, description="See stale_after; a share from 0 to 1."
    )
    time_limit: Annotated[Duration | None, Shown("--time-limit", "TIME", "duration")] = Field(
        default=None, gt=0, description="Stop after this long."
    )
    size_limit: Annotated[Size | None, Shown("--size-limit", "SIZE", "size")] = Field(
        default=None, gt=0, description="Stop after about this many bytes of page content."
    )
    max_hops: Annotated[Count, Shown(metavar="N")] = Field(
        default=10,
        ge=0,
        le=100,
        description="Redirects in a row that are followed before a URL is dropped.",
    )
    max_wait: Annotated[Duration, Shown("--max-wait", "TIME", "duration")] = Field(
        default=300.0,
        ge=0,
        description="The job ends when all that is left are hosts blocked for longer than this "
        "(Retry-After, unreachable robots.txt, open breakers); their URLs count as unreached.",
    )
    recrawl: Annotated[Recrawl, Shown("--recrawl", "TIME|adaptive", "duration")] = Field(
        default="off",
        description="Visit every URL again after this long; adaptive: sooner where the last visit "
        "found a change, later where it did not. The job then runs until a bound is reached or it "
        "is stopped; max_wait does not end it.",
    )
    recrawl_min: Annotated[Duration, Shown("--recrawl-min", "TIME", "duration")] = Field(
        default=3_600.0,
        gt=0,
        description="No adaptive interval is shorter; nor does a sitemap bring a page forward "
        "sooner after its last visit.",
    )
    recrawl_max: Annotated[Duration, Shown("--recrawl-max", "TIME", "duration")] = Field(
        default=30 * 86_400.0,
        gt=0,
        description="No adaptive interval is longer, nor that of a URL that keeps failing.",
    )
    out: Annotated[str, Shown("--out", "DIR|s3://...")] = Field(
        default="crawl",
        min_length=1,
        description="Where pages are stored: a directory or s3://bucket/prefix.",
    )
    delay: Annotated[Duration, Shown("--delay", "TIME", "duration")] = Field(
        default=1.0,
        ge=0,
        le=86_400,
        description="Shortest pause between the end of a request to a host and the next one's "
        "start. 0 also turns off the pause that grows with response time, and the clocks of "
        "addresses and domains: for your own servers. Crawl-delay and Retry-After always win.",
    )
    max_delay: Annotated[Duration, Shown(metavar="TIME", unit="duration")] = Field(
        default=30.0,
        ge=0,
        le=86_400,
        description="Up to this the pause grows with response time; a longer delay wins.",
    )
    delay_factor: Annotated[float, BeforeValidator(_no_bool), Shown(metavar="N")] = Field(
        default=5.0,
        ge=0,
        le=1000,
        description="How many times its response time a host is left in peace, between delay and "
        "max_delay. 0: delay alone.",
    )
    address_delay: Annotated[Duration, Shown(metavar="TIME", unit="duration")] = Field(
        default=0.5,
        ge=0,
        le=60,
        description="Shortest time between the starts of requests to different hosts at one IP "
        "address, over all workers and jobs; never above delay. 0: no such clock. See "
        "address_delays.",
    )
    domain_delay: Annotated[Duration, Shown(metavar="TIME", unit="duration")] = Field(
        default=0.5,
        ge=0,
        le=60,
        description="The same for different hosts of one registered domain.",
    )
    user_agent: Annotated[
        str | None, Shown("--user-agent", "TEXT", default=f"comity/{__version__} (+CONTACT)")
    ] = Field(
        default=None,
        description="User-Agent sent; begins with the crawler's product name, which is also what "
        "robots.txt groups are matched by. The contact is appended when it is not in it.",
    )
    contact: Annotated[str | None, Shown("--contact", "EMAIL|URL")] = Field(
        default=None,
        description="Whom site owners can ask to stop: an email address or a web page. "
        "Demanded for public hosts; without it they are left out.",
    )
    headers: Annotated[dict[str, str], Shown("--header", "NAME: VALUE", secret=True)] = Field(
        default={},
        description="Further request headers, sent to every host.",
    )
    allow_private_networks: Annotated[bool, Shown("--allow-private-networks")] = Field(
        default=False,
        description="Also contact addresses that are not globally routable: for tests and "
        "intranets only, as any page met could then point the crawler at your own services.",
    )
    signals: Annotated[Signals, Shown("--signals", "[NAME=]POLICY")] = Field(
        default=("honour",),
        description="What is done about what sites say of the use of their content: honour (no "
        "page is kept, no link followed, against their word), flag (all is, with a note) or ignore "
        "(without); for all signals, or for one, as noai=ignore.",
    )
    text: Annotated[Literal["fast", "precise", "plain", "off"], Shown("--text", "MODE")] = Field(
        default="fast",
        description="What is kept as a page's text: its main part (fast), the same with a slower "
        "look where that is in doubt (precise), all of it (plain), or none (off; then duplicates "
        "are found by their bytes alone).",
    )
    dedupe: Annotated[Literal["drop", "flag", "off"], Shown("--dedupe", "drop|flag|off")] = Field(
        default="flag",
        description="Pages that repeat an earlier one, exactly or nearly: record it (flag), also "
        "keep no content of them (drop; only where the earlier one is safely stored), or do not "
        "look (off).",
    )
    dedupe_scope: Annotated[Literal["job", "workspace"], Shown(metavar="KIND")] = Field(
        default="job",
        description="What pages are compared with: the job's, or those of all jobs of its "
        "workspace that have the same threshold.",
    )
    dedupe_threshold: Annotated[float, BeforeValidator(_no_bool), Shown(metavar="SHARE")] = Field(
        default=0.8,
        ge=0.5,
        le=0.95,
        description="Jaccard similarity of two texts' 5-word shingles from which they are "
        "near-duplicates. Fixed for a job's life.",
    )
    dedupe_min_shingles: Annotated[Count, Shown(metavar="N")] = Field(
        default=25,
        ge=1,
        le=100_000,
        description="Texts with fewer different shingles are compared exactly only.",
    )
    dedupe_keep_raw: bool = Field(
        default=False,
        description="Keep the WARC record of pages that are dropped as copies.",
    )
    dedupe_links: bool = Field(
        default=True,
        description="Follow the links of pages that repeat another.",
    )
    dedupe_keep: Annotated[Duration, Shown(metavar="TIME", unit="duration")] = Field(
        default=7 * 86_400.0,
        ge=0,
        description="How long the index of duplicates is kept after the job's end; a job that is "
        "resumed later makes it anew from its stored pages.",
    )
    segment_size: Annotated[Size, Shown(metavar="SIZE", unit="size")] = Field(
        default=256_000_000,
        ge=1000,
        description="A worker's open segment is stored when its WARC file is this large...",
    )
    segment_age: Annotated[Duration, Shown(metavar="TIME", unit="duration")] = Field(
        default=300.0,
        gt=0,
        description="...or this old, whichever comes first; the first one after 10 seconds, then "
        "twice as old each time. What a worker had not stored when its disk was lost is fetched "
        "again.",
    )

    @field_validator("contact", "user_agent", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return (value.strip() or None) if isinstance(value, str) else value

    @field_validator("name", "workspace")
    @classmethod
    def _path_component(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", value):
            raise ValueError(
                f"not a name: {value!r} (up to 63 of a-z, 0-9, '.', '_', '-', "
                "beginning with a letter or digit)"
            )
        return value

    @field_validator("content_types")
    @classmethod
    def _media_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(media_pattern(text) for text in value)

    @field_validator("include", "exclude")
    @classmethod
    def _patterns_compile(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            if not pattern.strip():
                raise ValueError("an empty pattern")
            try:
                re.compile(pattern[3:] if pattern.startswith("re:") else "")
            except re.error as exc:
                raise ValueError(f"not a regular expression: {pattern!r} ({exc})") from None
        return value

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.recrawl_min > self.recrawl_max:
            raise ValueError(
                f"recrawl_min ({spell_duration(self.recrawl_min)}) is above "
                f"recrawl_max ({spell_duration(self.recrawl_max)})"
            )
        return self

    @field_validator("contact")
    @classmethod
    def _reachable_contact(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if value.isascii() and value.isprintable():
            mailbox = value.removeprefix("mailto:")
            if _EMAIL.fullmatch(mailbox):
                return mailbox
            parts = urlsplit(value)
            if parts.scheme in ("http", "https") and parts.hostname and not set(value) & set(" ()"):
                return value
        raise ValueError(f"not an email address or a web address: {value!r}")

    @field_validator("user_agent")
    @classmethod
    def _names_a_product(cls, value: str | None) -> str | None:
        if value is None:
            return None
        found = _PRODUCT.match(value)
        if not value.isprintable() or not value.isascii() or not found:
            raise ValueError(f"does not begin with a product name such as 'mybot/1.0': {value!r}")
        if found[1].lower() == "mozilla":
            raise ValueError(
                f"names a browser, not this crawler: {value!r} (write 'mybot/1.0' or "
                "'Mozilla/5.0 (compatible; mybot/1.0)')"
            )
        return value

    @field_validator("headers")
    @classmethod
    def _sendable_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"not a header name: {name!r}")
            if name.lower() in _OWN_HEADERS:
                raise ValueError(f"{name} cannot be set{_INSTEAD.get(name.lower(), '')}")
            if not (text.isprintable() and text.isascii()):
                raise ValueError(f"header {name}: its value must be printable ASCII")
        if len({name.lower() for name in value}) < len(value):
            raise ValueError("a header is given twice")
        return value

    @property
    def lowest_class(self) -> int:
        """The class of deep links: with one class for all, those found first or last go first."""
        return 2 if self.order == "priority" else 1

    @property
    def agent(self) -> str:
        """The User-Agent header: product, version and, where there is one, the contact."""
        agent = self.user_agent or f"comity/{__version__}"
        if self.contact and self.contact not in agent:
            agent += f" (+{self.contact})"
        return agent

    @property
    def product(self) -> str:
        """The product token, lower case, that robots.txt groups are matched by (RFC 9309 2.2.1)."""
        found = _PRODUCT.match(self.agent)
        return found[1].lower() if found else "comity"

    @property
    def mailbox(self) -> str | None:
        """The From header (RFC 9110 10.1.2): the contact, where it is an email address."""
        return self.contact if self.contact and _EMAIL.fullmatch(self.contact) else None


def load_job(path: Path) -> JobSpec:
    """The job that a ``job.toml`` describes; UsageError names file and key."""
    values = read_toml(path)
    for key in values:
        if key not in JobSpec.model_fields:
            raise unknown_key(str(path), key, JobSpec.model_fields)
    return validate(JobSpec, values, lambda key: f"{path}: {key}")
