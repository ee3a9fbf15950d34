"""What a worker needs of each job it serves, made once per job and epoch."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from crawler import copies
from crawler.bounds import limits, politeness
from crawler.consent import Policies
from crawler.identity import is_public_host, request_headers
from crawler.job import JobSpec
from crawler.mediatypes import DEFAULT, MediaTypes
from crawler.recrawl import Schedule, schedule
from crawler.scope import Scope
from crawler.spill import SpillObjects
from crawler.worker.checking import Checking
from frontier.client import Frontier
from frontier.model import FrontierError, Politeness
from frontier.registry import ENDED, JobRecord
from frontier.spill import Spiller
from frontier.url import Url
from storage.blob import BlobStore, StorageError, open_store
from storage.committer import Committer
from storage.corpus import Corpus
from storage.layout import Layout

if TYPE_CHECKING:
    from crawler.worker.links import Links


STORE_RETRY: Final = 5.0  # seconds between looks at a store that fails


@dataclass(slots=True, eq=False)
class JobContext:
    """One job as this worker works on it."""

    name: str  # its id
    epoch: int  # of the record this was made from
    spec: JobSpec  # what its owner asked for
    scope: Scope  # which URLs belong to it
    politeness: Politeness  # bounds of the delays
    headers: dict[str, str]  # sent with every request
    product: str  # what robots.txt groups are matched by
    store: BlobStore  # where its pages go
    layout: Layout  # and under which keys
    committer: Committer  # adds segments to its table
    copies: Checking | None  # looks for duplicates; None: the job does not
    links: Links  # its way into the frontier
    spiller: Spiller  # moves what Redis has no room for
    schedule: Schedule | None = None  # None: every URL is visited once
    signals: Policies = field(default_factory=Policies)  # what is done about what sites say
    types: MediaTypes = field(default_factory=partial(MediaTypes, DEFAULT))  # what is stored
    keeps: bool = True  # its pages are stored; else its segments only say what is done
    state: str = "running"  # last seen in the registry
    paying: asyncio.Lock = field(default_factory=asyncio.Lock)  # one credit request at a time
    counts: Counter[str] = field(default_factory=Counter)  # not yet added to the registry's

    @property
    def budgeted(self) -> bool:
        """Whether pages must be paid for from the job's budget."""
        return self.spec.max_pages is not None

    @property
    def asks_for_reservations(self) -> bool:
        """Whether hosts are asked for their TDM files."""
        return self.signals.of("tdm-reservation") != "ignore"

    def stored_pages(self) -> int:
        """Committed pages with status 200. Blocking."""
        with Corpus(self.spec.out, workspace=self.spec.workspace, job=self.spec.name) as corpus:
            return corpus.info().pages

    def refuses(self, url: Url, depth: int) -> str | None:
        """The reason why a discovered URL is not the job's, or None."""
        return refused(self.spec, self.scope, url, depth)


def refused(spec: JobSpec, scope: Scope, url: Url, depth: int) -> str | None:
    """The reason why a URL, found at ``depth``, is not a job's, or None."""
    reason = scope.check(url, depth, spec.max_depth)
    if reason is None and not spec.contact and is_public_host(url.hostname):
        return "no-contact"
    return reason


def stored_scope(spec: JobSpec, region: bytes) -> Scope:
    """A job's scope, from what the registry keeps of it."""
    patterns = Scope.build(spec.scope, (), spec.include, spec.exclude)
    return replace(patterns, region=frozenset(msgspec.json.decode(region, type=list[str])))


async def make_context(
    frontier: Frontier, record: JobRecord, *, keeps: bool = True, out: str = ""
) -> JobContext:
    """Everything a worker needs of a job; StorageError when its store cannot be opened.

    ``out`` takes the place of where the job says that its pages go; see ``keeps`` of JobContext.
    """
    from crawler.worker.links import Links
    from crawler.worker.watch import Watch

    stored, region = await frontier.registry.job_spec(record.name)
    spec = JobSpec.model_validate_json(stored)
    store = await asyncio.to_thread(open_store, out or spec.out)
    layout = Layout(spec.workspace, spec.name)
    committer = Committer(store, layout)
    await asyncio.to_thread(committer.prepare)
    index = copies.open_index(frontier, record.name, spec)
    if index is not None:
        await copies.keep(index)
    counts: Counter[str] = Counter()
    bounds = limits(spec)
    if not keeps:  # there is no place that others would find spilled URLs in
        bounds = replace(bounds, host_cap=0)
    return JobContext(
        name=record.name,
        state=record.state,
        epoch=record.epoch,
        spec=spec,
        scope=stored_scope(spec, region),
        politeness=politeness(spec),
        headers=request_headers(spec),
        product=spec.product,
        store=store,
        layout=layout,
        committer=committer,
        copies=Checking(index) if index is not None else None,
        links=Links(frontier, record.name, bounds, Watch(frontier, record.name, spec, counts)),
        spiller=Spiller(
            frontier.tails,
            record.name,
            SpillObjects(store, layout),
            cap=bounds.host_cap,
        ),
        counts=counts,
        schedule=schedule(spec),
        signals=Policies.parse(spec.signals),
        types=MediaTypes(spec.content_types),
        keeps=keeps,
    )


Make = Callable[[Frontier, JobRecord], Awaitable[JobContext]]


class Jobs:
    """The jobs a worker serves, kept in step with the registry."""

    def __init__(
        self,
        frontier: Frontier,
        only: str | None,
        log: Any,
        *,
        spider: str = "",
        make: Make | None = None,
    ) -> None:
        self._frontier = frontier
        self._only = only
        self._log = log
        self._spider = spider  # of a Scrapy project: its jobs, and none but them
        self._make = make or make_context
        self._failed: dict[str, float] = {}  # job -> time.monotonic() when its store failed
        self.contexts: dict[str, JobContext] = {}

    def draining(self) -> bool:
        """Whether some job waits for what is held of it."""
        return any(job.state == "draining" for job in self.contexts.values())

    def runnable(self) -> list[str]:
        """Jobs to lease for."""
        return [
            name
            for name, job in self.contexts.items()
            if job.state == "running" and not job.links.crowded
        ]

    async def refresh(self, busy: Callable[[], Collection[str]] = tuple) -> None:
        """Look at the registry: new jobs, changed states; forget ended ones that are not busy.

        Raises StorageError, after all others were looked at, for a job whose store fails.
        """
        registry = self._frontier.registry
        if self._only:
            found = await registry.job(self._only)
            records = [found] if found else []
        else:
            records = await registry.jobs()
        failed: StorageError | None = None
        for record in records:
            if record.spider != self._spider:
                continue
            known = self.contexts.get(record.name)
            if known is not None and known.epoch == record.epoch:
                known.state = record.state
                if record.state not in ENDED or await self._unsettled(record.name):
                    continue
                if record.name not in busy():
                    await asyncio.to_thread(self.contexts.pop(record.name).store.close)
            elif record.state in ("running", "draining") and self._due(record.name):
                try:
                    fresh = await self._make(self._frontier, record)
                    if known is not None:  # turns of the old epoch still offer links to it
                        fresh.links, fresh.counts = known.links, known.counts
                    elif self._only is None and "://" not in fresh.spec.out:
                        self._log.warning(
                            "job %s stores its pages on this machine, in %s",
                            record.name,
                            fresh.spec.out,
                        )
                    self.contexts[record.name] = fresh
                except StorageError as error:
                    self._failed[record.name] = time.monotonic()
                    failed = error
        if failed is not None:
            raise failed

    def _due(self, job: str) -> bool:
        """Whether to try a job's store, which may have failed a moment ago."""
        return time.monotonic() - self._failed.get(job, -STORE_RETRY) >= STORE_RETRY

    async def _unsettled(self, job: str) -> bool:
        """Whether something of an ended job is still on its way into the table."""
        segments = await self._frontier.registry.segments()
        return any(segment.job == job for segment in segments.values())

    async def flush_counts(self) -> None:
        """Add what was counted here to the registry."""
        for job in list(self.contexts.values()):
            if job.counts:
                sums = dict(job.counts)
                job.counts.clear()
                try:
                    await self._frontier.registry.count(job.name, sums)
                except FrontierError:
                    job.counts.update(sums)
                    raise
