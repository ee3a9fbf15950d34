"""From an answer to a stored page: extract, compare, send links on, append to the segment.

Each pipeline does one step of the design's "way of a page" and hands the item on; the last one
tells the lease's task which segment holds the row. An error in any of them fails the visit, not
the worker.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from crawler import copies
from crawler.consent import judge
from crawler.extract import Extracted, extract
from crawler.recrawl import Before
from crawler.signals import from_headers, from_robots_txt, from_tdmrep
from crawler.sitemap import parse_sitemap
from crawler.traps import endless
from crawler.worker import rows
from crawler.worker.jobs import JobContext
from crawler.worker.links import packed
from crawler.worker.spider import PageItem
from dedupe.exact import digest
from dedupe.index import DedupeError
from frontier.model import CrawlRequest, UrlResult
from frontier.policy import reason_for_status
from frontier.url import InvalidUrl, parse
from storage.segment import PageRecord
from storage.table import ASIDE

if TYPE_CHECKING:
    from typing import Self

    from scrapy.crawler import Crawler

    from crawler.worker.process import Worker

_log: Final = logging.getLogger("comity.worker")
DEEP = 2  # links from a seed from which on a URL is of the deep class


class _Pipeline:
    """What the steps share: the worker, found through the crawler's spider."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """As Scrapy makes its components."""
        return cls(crawler.spider.worker)  # type: ignore[union-attr]


class ExtractPipeline(_Pipeline):
    """Links, text, title, language and signals of the payload; its digest."""

    def process_item(self, item: PageItem) -> PageItem:
        """Fill in ``digest`` and ``extracted``."""
        exchange, found = item.exchange, item.found
        found.before = Before.of(item.visit.request.extra)
        if rows.not_modified(exchange, found):
            return item
        found.digest = digest(exchange.payload)
        item.visit.again = rows.unchanged(exchange, found)
        if item.visit.kind == "page":
            found.extracted = extract(
                exchange.payload,
                url=exchange.url,
                headers=exchange.headers,
                agent=item.visit.job.product,
                whole=not item.visit.empty,
                mode=item.visit.job.spec.text,
            )
        return item


class ConsentPipeline(_Pipeline):
    """What the site says about the use of a page, and what the job makes of it."""

    def process_item(self, item: PageItem) -> PageItem:
        """Fill in ``consent``; take away what must not be kept.

        robots.txt and sitemaps are written for crawlers: nothing is withheld of them.
        """
        visit, exchange, found = item.visit, item.exchange, item.found
        if visit.kind != "page":
            return item
        job, page = visit.job, found.extracted
        said = list(from_robots_txt(visit.usage, visit.url.path))
        said.extend(from_tdmrep(visit.reserved, visit.url.path))
        said.extend(page.signals if page else from_headers(exchange.headers, job.product))
        image = page is not None and (page.mime_detected or page.mime_type).startswith("image/")
        found.consent = judge(said, job.signals, now=exchange.started, image=image)
        if withheld := found.consent.withheld:
            visit.withheld = True
            if exchange.status not in rows.REDIRECTS and not reason_for_status(exchange.status):
                visit.reason = visit.reason or withheld
            found.digest = ""
            if page is not None:
                found.extracted = replace(page, title="", text=None, lang="")
        return item


class DedupePipeline(_Pipeline):
    """Whether an earlier page of the job has the same payload or nearly the same text."""

    async def process_item(self, item: PageItem) -> PageItem:
        """Fill in ``signature`` and ``duplicate`` for pages with status 200."""
        visit, found = item.visit, item.found
        job, page = visit.job, found.extracted
        if job.copies is None or page is None or visit.again:
            return item
        if not rows.is_page(visit, item.exchange):
            return item
        found.signature = copies.sign(job.spec, page.text)
        page_id = rows.visit_id(job, visit, item.exchange)
        document = copies.document(
            job.name, page_id, visit.url.key, found.digest, page.text, found.signature
        )
        segment = await self.worker.segments.current(job)
        try:
            found.duplicate = await job.copies.check(document, segment)
        except DedupeError as error:  # the page is stored all the same, without a verdict
            self.worker.trouble(error)
        if copies.drops(job.spec, found.duplicate):
            visit.copy = True
            visit.reason = "duplicate"
        return item


class Outlinks:
    """Links, redirect targets and sitemap entries on their way to the frontier."""

    def process_item(self, item: PageItem) -> PageItem:
        """Offer what is in scope; count the rest by reason."""
        visit = item.visit
        if visit.kind in ASIDE:
            return item
        self._watched(item)
        target = rows.redirect_target(item.exchange)
        if target is not None:
            self._redirect(item, target)
        elif item.exchange.status == 200 and visit.kind == "sitemap":
            self._sitemap(item)
        elif item.exchange.status == 200 and item.found.extracted is not None:
            self._page(item, item.found.extracted)
        return item

    def _watched(self, item: PageItem) -> None:
        """Note whether a page that was new to the job held anything new."""
        visit, duplicate = item.visit, item.found.duplicate
        if visit.job.links.watch and duplicate is not None and visit.request.visit == 1:
            visit.job.links.watch.fetched(visit.url, new=not duplicate.kind)

    def _redirect(self, item: PageItem, target: str) -> None:
        """A redirect, or a refresh that is as good as one: the same depth, one hop more."""
        visit = item.visit
        hops = visit.request.hops + 1
        if hops > visit.job.spec.max_hops:
            visit.job.counts["skipped:redirect-limit"] += 1
            return
        like = CrawlRequest("", visit.request.depth, visit.kind, hops, priority=0)
        self._offer(item, target, None, like)

    def _page(self, item: PageItem, page: Extracted) -> None:
        job, all_left = item.visit.job, item.found.consent.nofollow
        duplicate = item.found.duplicate
        if duplicate is not None and duplicate.kind and not job.spec.dedupe_links:
            job.counts["skipped:duplicate"] += len(page.links)
            return
        depth = item.visit.request.depth + 1
        sent = CrawlRequest("", depth, priority=1 if depth < DEEP else 2)
        if not all_left:
            self._declared(item, page, sent)
        heeded = job.signals.of("nofollow") == "honour"
        for link in page.links:
            if all_left or (heeded and link.nofollow):
                job.counts["skipped:signal-nofollow"] += 1
            else:
                self._offer(item, link.url, page.base, sent)

    def _declared(self, item: PageItem, page: Extracted, sent: CrawlRequest) -> None:
        """Where the page itself leads: by a refresh, and to what it calls its canonical URL."""
        if target := rows.soon(page):
            self._redirect(item, target)
        elif page.refresh:
            self._offer(item, page.refresh, None, sent)
        if page.canonical not in ("", item.visit.url.url):
            self._offer(item, page.canonical, None, sent)

    def _sitemap(self, item: PageItem) -> None:
        nested = item.visit.request.hops + 1  # index in index in index has an end
        page = CrawlRequest("", 0, priority=1)
        index = CrawlRequest("", 0, "sitemap", nested, priority=1)
        counts = item.visit.job.counts
        listed = parse_sitemap(item.exchange.payload, cut=item.exchange.truncated is not None)
        if listed.problem:
            _log.warning(
                "sitemap %s is %s: %d addresses taken from it",
                item.exchange.url,
                listed.problem,
                len(listed.entries),
            )
        if listed.invalid:
            counts["skipped:invalid-url"] += listed.invalid
        for entry in listed:
            if entry.is_index and nested > item.visit.job.spec.max_hops:
                counts["skipped:redirect-limit"] += 1
            else:
                self._offer(item, entry.loc, None, index if entry.is_index else page)

    def _offer(self, item: PageItem, href: str, base: str | None, like: CrawlRequest) -> None:
        job = item.visit.job
        try:
            url = parse(href, base or item.exchange.url)
        except InvalidUrl:
            job.counts["skipped:invalid-url"] += 1
            return
        if like.hops and url.key == item.visit.url.key:
            job.counts["skipped:redirect-loop"] += 1
            return
        reason = job.refuses(url, like.depth) or endless(url, job.spec)
        if reason is not None:
            job.counts[f"skipped:{reason}"] += 1
            return
        request = CrawlRequest(
            url.url,
            like.depth,
            like.kind,
            like.hops,
            via=item.exchange.url,
            priority=min(like.priority, job.spec.lowest_class),
        )
        if job.links.offer(url, request):
            item.found.outlinks.append(packed(request))


class LinksPipeline(Outlinks, _Pipeline):
    """The same as a step of the worker's."""


class StorePipeline(_Pipeline):
    """The answer into the open segment; the lease's task learns which."""

    async def process_item(self, item: PageItem) -> PageItem:
        """Append, count, and finish the visit."""
        visit, exchange, found = item.visit, item.exchange, item.found
        job = visit.job
        partition = self.worker.frontier.place(visit.url)[0]
        row = rows.answered(job, visit, exchange, found, visit.reason)
        raw = rows.raw_exchange(visit, exchange, found)
        record = PageRecord(row, visit.fp, partition, raw, found.outlinks)
        segment = await self.worker.segments.append(job, record)
        count_page(job, item)
        visit.finish(UrlResult(visit.fp, "pending", segment, visit.reason))
        return item


def count_page(job: JobContext, item: PageItem) -> None:
    """Count a stored page, and a copy, for the progress display."""
    if rows.is_page(item.visit, item.exchange):
        job.counts["pages"] += 1
    duplicate = item.found.duplicate
    if duplicate is not None and duplicate.kind:
        name = "near_duplicates" if duplicate.kind == "near" else "duplicates"
        job.counts[name] += 1
