"""A job's frontier from its table of pages, after the frontier is lost; see docs/decisions/0010.

Every row is a visit that ended: its URL is marked as seen and counted, its host's clock set. Then
the stored pages are gone through as if they had just been fetched, by the worker's own code, so
that their links are offered again. Everything streams. What is cut short is refused by everyone
and is started over in an empty database.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import Final

import msgspec
import pyarrow.compute as pc

from crawler import content, copies, past, replay
from crawler.bounds import limits
from crawler.jobfile import JobFile
from crawler.run import job_id
from crawler.seeds import iter_seeds
from crawler.spill import SpillObjects
from crawler.worker.jobs import JobContext, make_context
from crawler.worker.pipelines import Outlinks
from frontier.client import Added, Frontier
from frontier.model import CrawlRequest, FrontierBusy, FrontierError
from frontier.offers import Offer
from frontier.restore import hush, restore
from frontier.url import InvalidUrl, parse
from storage.blob import StorageError
from storage.corpus import CUT_OFF, HAS_CONTENT, Corpus
from storage.segment import Manifest
from storage.table import ASIDE
from storage.warc import Record

READS: Final = 16  # records read side by side
OFFERS: Final = 500  # URLs per call
_PLACE: Final = ("warc_filename", "warc_record_offset", "warc_record_length")

Progress = Callable[[str, int], None]  # told what is being done, and how many are


@dataclass(slots=True)
class Rebuilt:
    """What came back, and what did not."""

    job: str  # its id
    out: str  # where its pages are
    rows: int = 0  # in the table
    committed: int = 0  # segments that were staged and not yet committed
    seen: int = 0  # visits marked as seen
    done: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # reason -> count
    hosts: int = 0  # with a clock
    pages_read: int = 0  # stored pages and sitemaps whose links were offered again
    queued: int = 0  # URLs that wait to be fetched, all origins
    spilled: int = 0  # of them, first found in segments that the lost frontier had spilled
    pages_left: int | None = None  # of the page budget; None: there is none
    seconds: float = 0.0
    rows_per_s: float = 0.0  # marking as seen alone
    unknown: list[str] = field(default_factory=list)  # what could not be known, a line each


class Rebuild:
    """One rebuild into an empty frontier; :meth:`run` is its life."""

    def __init__(
        self, frontier: Frontier, corpus: Corpus, saved: JobFile, *, links: bool, quiet: float
    ) -> None:
        """``saved.spec`` names the job that ``corpus`` is of; ``quiet``: seconds without leases."""
        self._frontier = frontier
        self._corpus = corpus
        self._saved = saved
        self._links = links
        self._quiet = quiet
        self._job = job_id(saved.spec)
        self._began = time.time()
        self._counts: Counter[str] = Counter()
        self._laden: set[int] = set()
        self._travelling: list[Manifest] = []  # committed here; their outlinks are to be taken in
        self._unread = 0
        self._damaged = 0
        self.report = Rebuilt(self._job, saved.spec.out)

    async def run(self, on_progress: Progress) -> Rebuilt:
        """Raises FrontierError, StorageError; the frontier is unusable then."""
        report, registry = self.report, self._frontier.registry
        await registry.unfinished("rebuild")
        await hush(self._frontier, self._quiet)
        context = await self._context()
        context.links.on_added = self._added
        try:
            await self._commit_staged(context)
            await self._mark(context, on_progress)
            await self._seeds(context)
            await self._take_in(context)
            await self._spilled(context)
            if self._links:
                await self._replay(context, on_progress)
            await self._duplicates(context, on_progress)
            await self._finish(context)
        finally:
            await asyncio.to_thread(context.store.close)
        report.unknown = list(self._unknown())
        report.seconds = time.time() - self._began
        return report

    async def _context(self) -> JobContext:
        """The job's record, paused, and what a worker would make of it."""
        spec, registry = self._saved.spec, self._frontier.registry
        bare = spec.model_copy(update={"seeds": (), "seed_files": (), "sitemaps": ()})
        region = msgspec.json.encode(self._saved.region)
        await registry.create_job(self._job, bare.model_dump_json().encode(), region)
        await registry.move_job(self._job, (), state="paused", reason="rebuilt", seeded=1)
        record = await registry.job(self._job)
        if record is None:
            raise FrontierError(f"the record of job {self._job} is gone")
        return await make_context(self._frontier, record)

    async def _commit_staged(self, context: JobContext) -> None:
        """Pages on their way into the table get there first, or they would come a second time."""

        committer = context.committer
        manifests = await asyncio.to_thread(lambda: list(committer.staged()))
        result = await asyncio.to_thread(committer.commit, manifests)
        self.report.committed = len(result.committed)
        for manifest in manifests:
            if manifest.segment in result.aborted:
                await asyncio.to_thread(committer.discard, manifest)
            elif manifest.segment not in result.expired:
                self._travelling.append(manifest)

    async def _take_in(self, context: JobContext) -> None:
        """Outlinks that travelled with segments, once what is stored is known."""
        for manifest in self._travelling:
            while True:
                try:
                    outlinks = context.committer.outlinks(manifest, OFFERS)
                    await context.links.take_in(outlinks)
                    break
                except FrontierBusy:
                    await self._spill(context, all_now=True)
            await asyncio.to_thread(context.committer.forget, manifest)

    # -- what is done

    async def _mark(self, context: JobContext, on_progress: Progress) -> None:
        """Every row's visit is seen, every host that has one gets its clock."""
        report, spec = self.report, context.spec
        asked, began = await self._asked(context), time.perf_counter()
        bounds = limits(spec)
        budgets = bool(bounds.host_budget or bounds.domain_budget or bounds.domain_hosts)
        for batch in self._corpus.pages(past.COLUMNS, kind=None):
            found = batch.to_pylist()
            for row in found:
                self._count(row)
            known = past.pasts(found, self._frontier.place, asked, context.politeness, self._began)
            done = await restore(self._frontier, self._job, known, budgets=budgets)
            report.rows += len(found)
            report.seen += done.visits
            report.hosts += done.hosts
            on_progress("rows", report.rows)
        report.rows_per_s = report.rows / (time.perf_counter() - began)
        if spec.max_pages is not None:
            report.pages_left = max(0, spec.max_pages - self._counts["pages"])
            await self._frontier.registry.move_job(self._job, (), credit=report.pages_left)

    async def _asked(self, context: JobContext) -> past.Asked:
        """What stored robots.txt and stored refusals say."""
        asked = past.Asked(context.product, context.politeness.max_block, self._began)
        columns = ("url", "kind", "fetch_status", "fetch_time", "fetch_seconds", "redirect_to")
        status, kind = pc.field("fetch_status"), pc.field("kind")
        where = (kind == "robots") | status.isin([429, 503])
        async for found in self._records((*columns, *_PLACE), where):
            for row, record in found:
                if row["kind"] == "robots" and (record or row["redirect_to"]):
                    asked.robots(row, record.payload if record else b"")
                for name, value in replay.headers(record) if record else ():
                    if name.lower() == "retry-after":
                        asked.wait(row, value)
        asked.settle()
        return asked

    def _count(self, row: past.Row) -> None:
        """As the workers counted; errors of attempts that were repeated are not known."""
        if row["kind"] in ASIDE:
            return
        status, counts = row["fetch_status"], self._counts
        counts["contacts"] += row["attempts"] or 0
        if status is not None and status >= 400:
            counts[f"error:http-{status}"] += 1
        whole = row["warc_filename"] and row["reason"] != CUT_OFF
        if row["kind"] == "page" and status == 200 and whole:
            counts["pages"] += 1
            if duplicate := row["duplicate_kind"]:
                counts["near_duplicates" if duplicate == "near" else "duplicates"] += 1

    # -- what is left to do

    async def _seeds(self, context: JobContext) -> None:
        spec = self._saved.spec
        pages = (CrawlRequest(text, priority=0) for text in iter_seeds(spec))
        sitemaps = (CrawlRequest(text, kind="sitemap", priority=0) for text in spec.sitemaps)
        every = chain(pages, sitemaps)
        while some := [(parse(r.url), r) for r in islice(every, OFFERS)]:
            await self._add(context, some)

    async def _spilled(self, context: JobContext) -> None:
        """What the lost frontier had put to the store; workers delete it later."""
        objects = SpillObjects(context.store, context.layout)
        for key in await asyncio.to_thread(objects.list, "spill"):
            data = await asyncio.to_thread(objects.get, key)
            offers = replay.spilled(data or b"")
            while True:
                try:
                    some = list(islice(offers, OFFERS))
                except (FrontierError, InvalidUrl, UnicodeDecodeError):
                    self._damaged += 1
                    break
                if not some:
                    break
                self.report.spilled += await self._add(context, some)

    async def _replay(self, context: JobContext, on_progress: Progress) -> None:
        """Stored pages, sitemaps and redirects through the worker's step that sends links on."""
        kind = pc.field("kind")
        html = pc.field("content_mime_detected").isin(sorted(content.HTML))
        stored = HAS_CONTENT & ((kind == "sitemap") | ((kind == "page") & html))
        moved = kind.isin(["page", "sitemap"]) & pc.field("redirect_to").is_valid()
        step = Outlinks()
        async for found in self._records((*replay.COLUMNS, *_PLACE), stored | moved):
            for row, record in found:
                item = replay.item(context, row, record)
                if item is None:
                    self._unread += 1
                    continue
                step.process_item(item)
                self._counts["bytes"] += len(item.exchange.payload)
                self.report.pages_read += 1
            if context.links.due:
                await self._flush(context)
            on_progress("pages read", self.report.pages_read)
        await self._flush(context)

    async def _duplicates(self, context: JobContext, on_progress: Progress) -> None:
        if context.copies is not None:
            told = partial(on_progress, "pages compared")
            await copies.refill(context.copies.index, self._job, context.spec, told)

    async def _finish(self, context: JobContext) -> None:
        registry, report = self._frontier.registry, self.report
        self._counts.update(context.counts)
        await registry.count(self._job, dict(self._counts))
        stats = await self._frontier.stats(self._job)
        report.done, report.dropped = stats.done, stats.dropped
        report.queued = stats.accepted - stats.finished
        if living := sorted(await registry.living()):
            raise FrontierError(
                f"{len(living)} workers of the lost frontier are still at work ({living[0]} ...): "
                "stop them, empty the database and rebuild again"
            )
        await registry.unfinished("")

    # -- the way in

    async def _add(self, context: JobContext, offers: Sequence[Offer]) -> int:
        """Offer URLs until all are taken; how many were new."""
        new, bounds = 0, limits(context.spec)
        while offers:
            added = await self._frontier.add(self._job, offers, limits=bounds)
            self._added(added)
            new += added.accepted
            offers = added.refused
            await self._spill(context, all_now=bool(offers))
        return new

    def _added(self, added: Added) -> None:
        self._laden.update(added.laden)

    async def _flush(self, context: JobContext) -> None:
        while True:
            try:
                await context.links.flush()
                break
            except FrontierBusy:
                await self._spill(context, all_now=True)
        await self._spill(context, all_now=False)

    async def _spill(self, context: JobContext, *, all_now: bool) -> None:
        """Put what the frontier has no room for to the store. FrontierBusy: that makes no room."""
        if all_now:
            parts, self._laden = range(self._frontier.partitions), set()
            if not sum([await context.spiller.flush(p, all=True) for p in parts]):
                raise FrontierBusy("the frontier's server has no memory for more URLs", 0.0)
        while self._laden:
            await context.spiller.flush(self._laden.pop())

    async def _records(
        self, columns: Sequence[str], where: pc.Expression
    ) -> AsyncIterator[list[tuple[past.Row, Record | None]]]:
        """Rows with what is stored of their exchange; a redirect's is not read."""

        for batch in self._corpus.pages(columns, kind=None, where=where):
            every = iter(batch.to_pylist())
            while some := list(islice(every, READS)):
                found = await asyncio.gather(*map(self._record, some))
                yield list(zip(some, found, strict=True))

    async def _record(self, row: past.Row) -> Record | None:
        """None for a redirect, and for what cannot be read."""
        if row["redirect_to"] or not row["warc_filename"]:
            return None
        try:
            return await asyncio.to_thread(self._corpus.record, row)
        except StorageError:
            return None

    # -- the end

    def _unknown(self) -> list[str]:
        saved, spec = self._saved, self._saved.spec
        lines = [
            "how long sites asked to wait (Retry-After) in answers that are not stored",
            "what was under way: pages not yet committed are fetched again, attempts start anew",
            "URLs known only from pages that are not stored",
        ]
        if not self._links:
            lines.append("links of the stored pages (--no-links)")
        if self._unread:
            lines.append(f"links of {self._unread} stored pages whose record cannot be read")
        if self._damaged:
            lines.append(f"URLs of {self._damaged} spilled segments that cannot be read")
        if saved.more_seeds:
            lines.append("seeds that were not fetched: give them again with crawl --resume")
        if saved.headers:
            lines.append(f"values of the request headers {', '.join(saved.headers)}")
        if spec.size_limit is not None:
            lines.append("bytes fetched, but for those of stored pages: size_limit comes later")
        return lines
