"""Rows of the table of pages, made from what a visit came to. Pure."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import orjson

from crawler.extract import Extracted
from crawler.fetch.exchange import Exchange
from crawler.worker.jobs import JobContext
from crawler.worker.visit import Visit
from dedupe.index import DedupeVerdict
from dedupe.near import Signature
from frontier.model import CrawlRequest
from frontier.policy import reason_for_status
from frontier.url import Url, parse
from storage.table import page_id
from storage.warc import RawExchange

REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(slots=True)
class Findings:
    """What the pipelines found out about an answer, one after another."""

    digest: str = ""  # of the payload, "sha1:..."
    extracted: Extracted | None = None  # None: nothing is extracted from this kind of content
    signature: Signature | None = None  # None: too short, or not looked for
    duplicate: DedupeVerdict | None = None  # None: not looked for


def is_page(visit: Visit, exchange: Exchange | object) -> bool:
    """Whether a visit is a page in the sense of budgets and summaries: kind page, status 200."""
    return visit.kind == "page" and isinstance(exchange, Exchange) and exchange.status == 200


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


def visit_id(job: JobContext, visit: Visit, exchange: Exchange) -> str:
    """The row's page_id; robots.txt, which no queue holds, is told apart by the time."""
    if visit.kind == "robots":
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
        "via": request.via or None,
    }


def unanswered(
    job: JobContext, request: CrawlRequest, reason: str, robots: str, attempts: int | None
) -> dict[str, Any]:
    """The row of an accepted URL that ended without an answer."""
    url = parse(request.url)
    return _place(job, url, request, request.kind) | {
        "page_id": page_id(job.name, url.key, request.visit),
        "fetch_time": time.time(),
        "reason": reason,
        "robots": robots or None,
        "attempts": request.attempts if attempts is None else attempts,
    }


def answered(
    job: JobContext, visit: Visit, exchange: Exchange, found: Findings, reason: str
) -> dict[str, Any]:
    """The row of a visit that got an answer, whatever its status."""
    row = _place(job, visit.url, visit.request, visit.kind) | {
        "page_id": visit_id(job, visit, exchange),
        "fetch_time": exchange.started,
        "fetch_status": exchange.status,
        "fetch_ip": exchange.ip,
        "fetch_seconds": exchange.seconds,
        "attempts": visit.request.attempts + 1,
        "content_digest": found.digest,
        "content_truncated": exchange.truncated,
        "redirect_to": redirect_target(exchange),
        "robots": visit.robots_rule or None,
        "reason": reason or reason_for_status(exchange.status) or None,
    }
    page = found.extracted
    if page is not None:
        row |= {
            "content_mime_type": page.mime_type or None,
            "content_mime_detected": page.mime_detected or None,
            "content_charset": page.charset or None,
            "title": page.title or None,
            "text": page.text or None,
            "lang": page.lang or None,
            "signals": orjson.dumps(page.signals).decode() if page.signals else None,
        }
    if found.signature is not None:
        row["minhash"] = found.signature.packed
    if found.duplicate is not None and found.duplicate.kind:
        row |= {
            "duplicate_of": found.duplicate.duplicate_of,
            "duplicate_kind": found.duplicate.kind,
            "similarity": found.duplicate.similarity,
        }
    return row


def raw_exchange(exchange: Exchange, found: Findings) -> RawExchange:
    """What goes into the WARC."""
    return RawExchange(
        url=exchange.url,
        ip=exchange.ip,
        fetch_time=exchange.started,
        request_head=exchange.request_head,
        status_line=exchange.status_line,
        headers=tuple((_as_sent(name), _as_sent(value)) for name, value in exchange.headers),
        payload=exchange.payload,
        payload_digest=found.digest,
        truncated=exchange.truncated,
        payload_type=(found.extracted.mime_detected or None) if found.extracted else None,
    )


def _as_sent(text: str) -> str:
    """Header text whose UTF-8 form, with surrogateescape, is the bytes as they came."""
    if text.isascii():
        return text
    return text.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
