"""``comity fetch``: what a crawl of one page stored, told to people.

The page goes through the very path of a crawl (leases, robots.txt, fetch, pipelines, WARC, table)
into a temporary corpus; here it is read back.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from crawler.extract import Extracted, extract
from crawler.job import JobSpec
from crawler.report import FetchReport, LinkReport, RobotsReport, SignalReport, Summary
from frontier import robots
from frontier.policy import robots_decision
from frontier.url import InvalidUrl, Url, parse
from storage.corpus import Corpus
from storage.warc import Record

# What makes a job a single fetch: nothing is followed, not even a redirect.
SINGLE: Final[dict[str, Any]] = {
    "name": "fetch",
    "scope": "any",
    "max_depth": 0,
    "max_hops": 0,
    "max_pages": None,
    "max_wait": 20.0,
    "seed_files": (),
    "sitemaps": (),
    "include": (),
    "exclude": (),
    "signals": ("flag",),  # it is shown and thrown away
    "content_types": ("*/*",),
}
_HINTS: Final = {
    "blocked-address": "its address is not globally routable; --allow-private-networks opens it",
    "dns-nxdomain": "there is no such host",
}
_OURS: Final = "X-Crawler-"  # prefix of headers that described the encoded payload


def report(spec: JobSpec, text: str, summary: Summary) -> FetchReport:
    """Read back what a job made with SINGLE stored of one URL."""
    url = parse(text)
    with Corpus(spec.out, workspace=spec.workspace, job=spec.name) as corpus:
        rows = corpus.show(url.url)
        row = next((r for r in rows if r["kind"] == "page"), None)
        rules = _robots(corpus, url, spec.product)
        if row is None:
            reason = next(iter(summary.unreached), "unreached")
            return FetchReport(url.url, rules, reason, "left for later")
        if row["fetch_status"] is None:
            reason = row["reason"] or ""
            return FetchReport(url.url, rules, reason, row["robots"] or _HINTS.get(reason, ""))
        return _answer(url, row, corpus.record(row), rules)


def _robots(corpus: Corpus, url: Url, product: str) -> RobotsReport:
    """The verdict on the URL, from the robots.txt that the crawl fetched last."""
    found = [
        row
        for batch in corpus.pages(kind="robots")
        for row in batch.to_pylist()
        if row["fetch_status"] is not None
    ]
    if not found:
        return RobotsReport(allowed=False, status="no answer")
    last = max(found, key=lambda row: row["fetch_time"])
    kind = robots_decision(last["fetch_status"])
    status = str(last["fetch_status"])
    if kind != "parse":
        return RobotsReport(allowed=kind == "allow", status=status)
    rules = robots.parse(corpus.record(last).payload)
    verdict = rules.verdict(product, url.path)
    return RobotsReport(
        verdict.allowed, verdict.rule, verdict.line, status, rules.crawl_delay(product)
    )


def _answer(url: Url, row: dict[str, Any], record: Record, rules: RobotsReport) -> FetchReport:
    status_line, headers = _as_sent(record)
    page = extract(record.payload, url=url.url, headers=headers)
    said = orjson.loads(row["signals"] or "{}")
    return FetchReport(
        url=url.url,
        robots=rules,
        reason="",
        ip=row["fetch_ip"] or "",
        status=row["fetch_status"],
        status_line=status_line,
        headers=headers,
        payload_bytes=len(record.payload),
        truncated=row["content_truncated"],
        digest=row["content_digest"],
        mime=page.mime_detected,
        charset=page.charset,
        lang=page.lang,
        title=page.title,
        text=page.text or "",
        links=tuple(_links(page)),
        signals=tuple(SignalReport(**statement) for statement in said.get("stated", ())),
        in_force=said.get("in_force", {}),
        timings={"fetch": row["fetch_seconds"]},
    )


def _as_sent(record: Record) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Status line and headers as the server sent them: the WARC's own length is the last one."""
    lines = record.http_head.decode("utf-8", "replace").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:-1])
    headers = tuple((name.removeprefix(_OURS), value.strip()) for name, _, value in pairs)
    return lines[0], headers


def _links(page: Extracted) -> list[LinkReport]:
    """Links as a crawl would offer them; those that are no URLs as they are written."""
    out = []
    for link in page.links:
        try:
            absolute = parse(link.url, page.base).url
        except InvalidUrl:
            absolute = link.url
        out.append(LinkReport(absolute, link.rel, link.kind))
    return out
