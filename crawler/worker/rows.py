"""Rows of the table of pages, made from what a visit came to. Pure."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import orjson

from crawler.consent import SILENCE, Consent
from crawler.extract import Extracted
from crawler.fetch.exchange import Exchange
from crawler.recrawl import Before, Seen, outcome, validators
from crawler.worker.jobs import JobContext
from crawler.worker.visit import Visit
from dedupe.exact import text_digest
from dedupe.index import DedupeVerdict
from dedupe.near import Signature
from frontier.model import CrawlRequest
from frontier.policy import reason_for_status
from frontier.url import InvalidUrl, Url, parse
from storage.table import ASIDE, page_id
from storage.warc import RawExchange, RefersTo

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REFRESH_SOON = 5.0  # seconds up to which a refresh is a redirect; a later one is a link


@dataclass(slots=True)
class Findings:
    """What the pipelines found out about an answer, one after another."""

    digest: str = ""  # of the payload, "sha1:..."
    extracted: Extracted | None = None  # None: nothing is extracted from this kind of content
    signature: Signature | None = None  # None: too short, or not looked for
    duplicate: DedupeVerdict | None = None  # None: not looked for
    outlinks: list[tuple[Any, ...]] = field(default_factory=list)  # those first met here, packed
    before: Before | None = None  # what the last visit left; None: this is the first
    consent: Consent = SILENCE  # what the site says about the use of the content


def is_page(visit: Visit, exchange: Exchange | object) -> bool:
    """Whether a visit is a page in the sense of budgets and summaries: of kind page, with status
    200, its content kept."""
    answered = isinstance(exchange, Exchange) and exchange.status == 200
    return visit.kind == "page" and answered and not visit.empty


def redirect_target(exchange: Exchange) -> str | None:
    """The absolute URL a redirect points to, unparsed; None for any other answer."""
    if exchange.status not in REDIRECTS:
        return None
    found = next((v for n, v in exchange.headers if n.lower() == "location"), "").strip()
    raw = found.encode("latin-1", "replace")  # as it came; most non-ASCII ones are UTF-8
    try:
        found = raw.decode("utf-8")
    except UnicodeDecodeError:
        found = raw.decode("latin-1")
    try:
        return urljoin(exchange.url, found) if found else None
    except ValueError:  # an IPv6 literal that is none
        return found


def respelled(url: Url, answer: Exchange | object) -> Url | None:
    """Where an answer sends the same resource under another spelling, if that is what it does.

    Such a redirect leads to no other URL: a tracking parameter is gone, or one has come.
    """
    target = redirect_target(answer) if isinstance(answer, Exchange) else None
    try:
        there = parse(target) if target else None
    except InvalidUrl:
        return None
    return there if there and there.key == url.key and there != url else None


def soon(page: Extracted) -> str:
    """Where a page sends its readers before they could read it; "" for one that does not."""
    return page.refresh if page.refresh_after <= REFRESH_SOON else ""


def not_modified(exchange: Exchange, found: Findings) -> bool:
    """Whether the answer says, as it was asked, that the last visit's content still holds."""
    return exchange.status == 304 and found.before is not None and bool(found.before.headers())


def unchanged(exchange: Exchange, found: Findings) -> bool:
    """Whether the answer is, byte for byte, what the last visit has stored."""
    before = found.before
    same = before is not None and bool(before.page) and before.digest == found.digest
    return same and exchange.status == 200 and exchange.truncated is None


def visit_id(job: JobContext, visit: Visit, exchange: Exchange) -> str:
    """The row's page_id; robots.txt and the like, which no queue holds, are told apart by time."""
    if visit.kind in ASIDE:
        return page_id(job.name, f"{visit.url.key} {exchange.started:.6f}", 1)
    return page_id(job.name, visit.url.key, visit.request.visit)


def _place(job: JobContext, url: Url, request: CrawlRequest, kind: str) -> dict[str, Any]:
    return {
        "url": url.url,
        "url_surtkey": url.surt,
        "url_host_name": url.hostname,
        "url_host_registered_domain": url.domain,
        "kind": kind,
        "visit": request.visit,
        "depth": request.depth,
        "hops": request.hops,
        "via": request.via or None,
    }


def unanswered(
    job: JobContext, request: CrawlRequest, reason: str, robots: str, attempts: int | None
) -> dict[str, Any]:
    """The row of an accepted URL that ended without an answer."""
    url = parse(request.url)
    left = Before.of(request.extra)
    return _place(job, url, request, request.kind) | {
        "page_id": page_id(job.name, url.key, request.visit),
        "fetch_time": time.time(),
        "reason": reason,
        "robots": robots or None,
        "attempts": request.attempts if attempts is None else attempts,
        "recrawl_interval": _interval(job, left, Seen(reason=reason)),
    }


def answered(
    job: JobContext, visit: Visit, exchange: Exchange, found: Findings, reason: str
) -> dict[str, Any]:
    """The row of a visit that got an answer, whatever its status."""
    row = _place(job, visit.url, visit.request, visit.kind) | {
        "page_id": visit_id(job, visit, exchange),
        "fetch_time": exchange.started,
        "fetch_status": exchange.status,
        "fetch_ip": exchange.ip or None,
        "fetch_seconds": exchange.seconds,
        "attempts": visit.request.attempts + 1,
        "content_digest": found.digest or None,
        "content_truncated": exchange.truncated,
        "redirect_to": redirect_target(exchange),
        "robots": visit.robots_rule or None,
        "reason": reason or reason_for_status(exchange.status) or None,
    }
    if visit.kind not in ASIDE:
        row |= _for_the_next(job, visit, exchange, found, row["reason"])
    page = found.extracted
    if page is not None:
        row |= {
            "content_mime_type": page.mime_type or None,
            "content_mime_detected": page.mime_detected or None,
            "content_charset": page.charset or None,
            "title": page.title or None,
            "text": None if visit.copy or visit.again else page.text or None,
            "lang": page.lang or None,
        }
    if page is not None and not visit.empty:
        row |= {"canonical": page.canonical or None, "refresh_to": soon(page) or None}
    if said := found.consent.record():
        row["signals"] = orjson.dumps(said).decode()
    if found.signature is not None:
        row["minhash"] = found.signature.packed
    if found.duplicate is not None and found.duplicate.kind:
        row |= {
            "duplicate_of": found.duplicate.duplicate_of,
            "duplicate_kind": found.duplicate.kind,
            "similarity": found.duplicate.similarity,
        }
    return row


def _for_the_next(
    job: JobContext, visit: Visit, exchange: Exchange, found: Findings, reason: str | None
) -> dict[str, Any]:
    """What the next visit of the URL needs to know of this one; of a 304, what it stands for."""
    before, page = found.before, found.extracted
    text = text_digest(page.text) if job.schedule and page and page.text else None
    seen = Seen(
        exchange.status,
        reason or "",
        found.digest,
        text.hex() if text else "",
        redirect_target(exchange) or "",
        conditional=not_modified(exchange, found),
    )
    lasting = exchange.status in (200, 304) and not visit.empty
    etag, modified = validators(exchange.headers) if lasting else ("", "")
    row: dict[str, Any] = {
        "etag": etag or None,
        "last_modified": modified or None,
        "text_digest": seen.text or None,
        "recrawl_interval": _interval(job, before, seen),
    }
    if before is None or not (seen.conditional or visit.again):
        return row
    return row | {
        "kind": "revisit" if visit.kind == "page" else visit.kind,
        "etag": etag or before.etag or None,
        "last_modified": modified or before.modified or None,
        "content_digest": before.digest,
        "text_digest": before.text or None,
        "revisit_of": before.page,
        "revisit_time": before.fetched,
    }


def _interval(job: JobContext, before: Before | None, seen: Seen) -> float | None:
    if job.schedule is None:
        return None
    return job.schedule.next(outcome(before, seen), before.interval if before else 0.0)


def raw_exchange(visit: Visit, exchange: Exchange, found: Findings) -> RawExchange | None:
    """What goes into the WARC: of a 304, a revisit record of what it stands for; None: nothing."""
    if visit.withheld or (visit.copy and not visit.job.spec.dedupe_keep_raw):
        return None
    refers_to, before = None, found.before
    if before is not None and (visit.again or not_modified(exchange, found)):
        refers_to = RefersTo(exchange.url, before.fetched, not_modified=not visit.again)
    return RawExchange(
        url=exchange.url,
        ip=exchange.ip,
        fetch_time=exchange.started,
        request_head=exchange.request_head,
        status_line=exchange.status_line,
        headers=tuple((_as_sent(name), _as_sent(value)) for name, value in exchange.headers),
        payload=exchange.payload,
        payload_digest=before.digest if before and refers_to else found.digest,
        truncated=exchange.truncated,
        payload_type=(found.extracted.mime_detected or None) if found.extracted else None,
        refers_to=refers_to,
    )


def _as_sent(text: str) -> str:
    """Header text whose UTF-8 form, with surrogateescape, is the bytes as they came."""
    if text.isascii():
        return text
    return text.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
