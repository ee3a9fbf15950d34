"""Stored pages as the pipelines had them when they were fresh; what was spilled, as offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crawler.consent import judge
from crawler.extract import extract
from crawler.fetch.exchange import Exchange
from crawler.past import Row
from crawler.worker.jobs import JobContext
from crawler.worker.spider import PageItem
from crawler.worker.visit import Visit
from dedupe.index import DedupeVerdict
from frontier import entry
from frontier.model import CrawlRequest
from frontier.offers import Offer
from frontier.spillfile import SpillSegment
from frontier.url import InvalidUrl, parse
from storage.warc import Record

COLUMNS: Final = (
    *("url", "kind", "visit", "depth", "hops", "via", "fetch_status", "redirect_to"),
    "duplicate_kind",
)
_AT_ONCE: Final = 500  # entries of a spilled segment


def item(job: JobContext, row: Row, record: Record | None) -> PageItem | None:
    """A page, sitemap or redirect with what its links are told by; None where it cannot be read.

    ``row`` has COLUMNS; a redirect needs no record.
    """
    given: tuple[tuple[str, str], ...] = ()
    if row["redirect_to"]:
        target = row["redirect_to"].encode("utf-8", "replace").decode("latin-1")
        given, payload = (("Location", target),), b""
    elif record is None or record.type != "response":
        return None
    else:
        given, payload = headers(record), record.payload
    try:
        url = parse(row["url"])
    except InvalidUrl:  # by the rules of another version
        return None
    request = CrawlRequest(
        url.url,
        row["depth"] or 0,
        row["kind"],
        row["hops"] or 0,
        row["visit"] or 1,
        via=row["via"] or "",
    )
    status = row["fetch_status"]
    exchange = Exchange(row["url"], "", 0.0, 0.0, 0.0, b"", status, "", given, payload, None)
    made = PageItem(Visit(job, url, request, request.kind), exchange)
    if record is not None and request.kind == "page":
        page = extract(payload, url=exchange.url, headers=given, agent=job.product, mode="off")
        made.found.extracted = page
        made.found.consent = judge(page.signals, job.signals, now=0.0)  # of links: no robots.txt
        if job.copies is not None:
            made.found.duplicate = DedupeVerdict(row["duplicate_kind"] or "")
    return made


def headers(record: Record) -> tuple[tuple[str, str], ...]:
    """The answer's headers as they were read."""
    lines = record.http_head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return tuple((name, value.strip()) for name, _, value in pairs)


def spilled(data: bytes) -> Iterator[Offer]:
    """The URLs of a spilled segment. Raises FrontierError, InvalidUrl, UnicodeDecodeError."""
    segment = SpillSegment.parse(data)
    for cls, host, entries in segment.groups():
        for first in range(0, entries, _AT_ONCE):
            for raw in segment.read(cls, host, first, min(_AT_ONCE, entries - first)):
                request = entry.unpack(raw.decode(), host).request
                yield parse(request.url), request
