"""One run of ``comity crawl``: submit or resume the job, watch it, end it, sum it up."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from crawler import copies, jobfile
from crawler.bounds import limits
from crawler.config import Settings
from crawler.fetch.proxy import ignored
from crawler.job import JobSpec, UsageError
from crawler.report import Progress, Summary
from crawler.resuming import credit, resumed
from crawler.scope import Scope
from crawler.seeds import iter_seeds
from crawler.supervisor import Supervisor
from crawler.worker import ending_signals
from frontier.client import Frontier
from frontier.model import CrawlRequest, FrontierError, FrontierFull
from frontier.offers import Offer
from frontier.policy import TABLE
from frontier.registry import ENDED, JobRecord
from frontier.url import parse
from storage.blob import StorageError, open_store
from storage.corpus import CUT_OFF, Corpus, CorpusInfo
from storage.layout import Layout

LOOK: Final = 0.25  # seconds between looks at the job
PATIENCE: Final = 60.0  # seconds that a Redis of the user's may be away
CLAIM: Final = 10.0  # seconds for which a parent is taken to be alive
BATCH: Final = 1_000  # seeds per call
RESEED: Final = 1.0  # seconds between looks whether seeds may have been lost


def job_id(spec: JobSpec) -> str:
    """The job's name in the frontier."""
    return f"{spec.workspace}/{spec.name}"


class Run:
    """One run; :meth:`main` is its life."""

    def __init__(
        self,
        spec: JobSpec,
        settings: Settings,
        *,
        resume: bool,
        spool: Path,
        on_progress: Callable[[Progress], None],
        warn: bool,
        private: bool,
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._resume = resume
        self._on_progress = on_progress
        self._warn = warn
        self._job = job_id(spec)
        self._supervisor = Supervisor(settings, self._job, spool, sys.stderr)
        self._id = secrets.token_hex(8)
        self._private = private
        self._asked = False  # the job was told to drain
        self._interrupted = 0
        self._started = time.monotonic()
        self._pages: deque[tuple[float, int]] = deque(maxlen=40)

    async def main(self) -> Summary:
        """Run the job until it is over, interrupted or cannot go on."""
        assert self._settings.redis is not None  # noqa: S101 - app.crawl sees to it
        frontier = await Frontier.open(self._settings.redis, partitions=self._settings.partitions)
        loop = asyncio.get_running_loop()
        for number in ending_signals():
            loop.add_signal_handler(number, self._interrupt)
        try:
            await self._own(frontier)
            await self._submit(frontier)
            if self._warn:
                _warn(self._spec, self._settings)
            summary = await self._run(frontier)
            if self._private and summary.state != "failed":
                with suppress(FrontierError):  # then its restart takes a little longer
                    await frontier.retire()
            return summary
        finally:
            await self._disown(frontier)
            await frontier.close()

    async def _run(self, frontier: Frontier) -> Summary:
        """From the first worker to the summary, whatever happens in between."""
        self._supervisor.start()
        seeding = asyncio.create_task(self._seed(frontier))
        try:
            record = await self._watch(frontier, seeding)
        except FrontierFull as error:
            self._supervisor.hurry()
            raise _stopped(str(error)) from error
        except FrontierError as error:
            self._supervisor.hurry()  # without the frontier there is nothing to drain into
            return await self._failed(str(error))
        finally:
            seeding.cancel()
            await asyncio.gather(seeding, return_exceptions=True)
            await asyncio.to_thread(self._supervisor.drain)
        return await self._sum_up(frontier, record)

    async def _own(self, frontier: Frontier) -> None:
        """Be the job's only parent; a killed one's claim lasts some seconds."""
        deadline = time.monotonic() + 1.5 * CLAIM
        while not await frontier.registry.lock(f"parent:{self._job}", self._id, CLAIM):
            if self._interrupted:
                raise KeyboardInterrupt
            if time.monotonic() > deadline:
                raise UsageError(f"another crawl is running job {self._job}")
            await asyncio.sleep(0.5)

    async def _disown(self, frontier: Frontier) -> None:
        with suppress(FrontierError):  # then it ends by itself
            await frontier.registry.lock(f"parent:{self._job}", self._id, 0)

    def _interrupt(self) -> None:
        self._interrupted += 1
        if self._interrupted > 1:
            self._supervisor.hurry()

    # -- beginning

    async def _submit(self, frontier: Frontier) -> None:
        """Create the job's record, or let the old one run again."""
        registry, spec = frontier.registry, self._spec
        record = await registry.job(self._job)
        if record is not None and record.spider:
            raise UsageError(
                f"job {self._job} is that of the Scrapy spider {record.spider}: run its project"
            )
        if self._resume:
            if record is None:
                others = ", ".join(each.name for each in (await registry.jobs())[:5])
                hint = f"; there is {others}: see --workspace and --name" if others else ""
                raise UsageError(f"nothing to resume: no job {self._job} in {spec.out}{hint}")
            if not record.seeded and not any(True for _ in self._seeds()):
                raise UsageError(
                    f"not all seeds of job {self._job} were in when it stopped: give them again"
                )
            await self._renew(frontier, record)
            return
        if record is not None:
            raise await self._taken(frontier, record)
        if await asyncio.to_thread(_has_table, spec):
            raise UsageError(
                f"{spec.out} holds the pages of another crawl of {self._job}: "
                "choose another --out or --name"
            )
        region = _region(spec, self._seeds())
        await asyncio.to_thread(jobfile.save, spec, region)
        await registry.create_job(self._job, _stored(spec), region, credit=spec.max_pages)

    async def _taken(self, frontier: Frontier, record: JobRecord) -> UsageError:
        """The name is another job's."""
        if self._private:
            return UsageError(
                f"{self._spec.out} holds job {self._job} ({record.state}): continue it with "
                "--resume, or choose another --out or --name"
            )
        stored, _ = await frontier.registry.job_spec(self._job)
        out = JobSpec.model_validate_json(stored).out
        return UsageError(
            f"there is a job {self._job} ({record.state}), with its pages in {out}: continue it "
            f"with --resume --out {out}, or choose another --name"
        )

    async def _renew(self, frontier: Frontier, record: JobRecord) -> None:
        registry = frontier.registry
        stored, region = await registry.job_spec(self._job)
        old = JobSpec.model_validate_json(stored)
        spec = resumed(old, self._spec, private=self._private)
        left, _ = await registry.credit(self._job)
        known = set(msgspec.json.decode(region, type=list[str]))
        more = msgspec.json.decode(_region(spec, self._seeds()), type=list[str])
        region = msgspec.json.encode(sorted(known | set(more)))
        self._spec = spec
        await asyncio.to_thread(jobfile.save, self._spec, region)
        await self._compare_again(frontier)
        await registry.renew_job(self._job, _stored(spec), region, credit=credit(old, spec, left))

    async def _compare_again(self, frontier: Frontier) -> None:
        """Make the job's index of duplicates anew, where it has expired."""
        index = copies.open_index(frontier, self._job, self._spec)
        if index is not None:
            await copies.keep(index)
            if await index.empty() and await asyncio.to_thread(_has_table, self._spec):
                await copies.refill(index, self._job, self._spec, lambda done: None)

    def _seeds(self) -> Iterable[str]:
        return itertools.chain(iter_seeds(self._spec), self._spec.sitemaps)

    async def _seed(self, frontier: Frontier) -> None:
        """Offer all seeds, say that they are in, and again whenever some may have been lost."""
        while not self._interrupted:
            lost = await frontier.registry.lost(self._job)
            await self._offer_all(frontier)
            while not self._interrupted and await self._lost(frontier, lost) <= lost:
                await asyncio.sleep(RESEED)

    async def _lost(self, frontier: Frontier, known: float) -> float:
        try:
            return await frontier.registry.lost(self._job)
        except FrontierError:  # others tell
            return known

    async def _offer_all(self, frontier: Frontier) -> None:
        sitemaps = set(self._spec.sitemaps)

        def offers() -> Iterable[CrawlRequest]:
            for text in iter_seeds(self._spec):
                yield CrawlRequest(text, priority=0)
            for text in sitemaps:
                yield CrawlRequest(text, kind="sitemap", priority=0)

        for batch in _batched(offers(), BATCH):
            if self._interrupted:
                return
            await self._offer(frontier, [(parse(r.url), r) for r in batch])
        if not self._interrupted:
            await frontier.registry.move_job(self._job, (), seeded=1)

    async def _offer(self, frontier: Frontier, offers: Sequence[Offer]) -> None:
        """Offer seeds until all are taken: a frontier without room asks for patience."""
        bounds = limits(self._spec)
        while offers and not self._interrupted:
            added = await frontier.add(self._job, offers, limits=bounds)
            offers = added.refused
            await asyncio.sleep(added.retry_after)

    # -- going on

    async def _watch(self, frontier: Frontier, seeding: asyncio.Task[None]) -> JobRecord:
        """Until the job is over. A private Redis that is gone stays gone; another is waited for."""
        lost: float | None = None
        while True:
            try:
                if seeding.done():
                    seeding.result()
                record = await self._look(frontier)
                lost = None
            except FrontierFull:
                raise
            except FrontierError as error:
                if lost is None:
                    print(f"comity: warning: {error}", file=sys.stderr)
                    lost = time.monotonic()
                if self._private or self._interrupted or time.monotonic() - lost > PATIENCE:
                    raise
                record = None
            if record is not None:
                return record
            await asyncio.sleep(LOOK)

    async def _look(self, frontier: Frontier) -> JobRecord | None:
        """One look: shows progress, keeps the workers up, hands on Ctrl-C; the record when over."""
        registry = frontier.registry
        if not await registry.lock(f"parent:{self._job}", self._id, CLAIM):
            raise UsageError(f"another crawl has taken job {self._job} over")
        record = await registry.job(self._job)
        if record is None:
            raise FrontierError(f"the record of job {self._job} is gone")
        if self._interrupted and not self._asked:
            self._asked = await registry.move_job(
                self._job, ("running",), state="draining", reason="interrupted"
            )
        if record.state in ENDED:
            return record
        if self._interrupted > 1:
            await registry.move_job(self._job, (), state="paused", reason="interrupted")
            return replace(record, state="paused", reason="interrupted")
        living = await registry.living()
        if self._asked and not living and not self._supervisor.children:  # nobody is left to drain
            await registry.move_job(self._job, ("draining",), state="paused")
        self._supervisor.look(living)
        if self._supervisor.failure:
            await self._give_up(frontier)
        await self._show(frontier, record, len(living))
        return None

    async def _give_up(self, frontier: Frontier) -> NoReturn:
        """End a run whose workers cannot go on."""
        failure = self._supervisor.failure
        with suppress(FrontierFull):  # a resumed job runs again whatever its state
            await frontier.registry.move_job(self._job, (), state="paused", reason=failure[:200])
        raise _stopped(failure)

    async def _show(self, frontier: Frontier, record: JobRecord, workers: int) -> None:
        stats = await frontier.stats(self._job)
        counted = await frontier.registry.counted(self._job)
        elapsed = time.monotonic() - self._started
        pages = counted.get("pages", 0)
        self._pages.append((elapsed, pages))
        first_at, first = self._pages[0]
        rate = (pages - first) / (elapsed - first_at) if elapsed > first_at else 0.0
        self._on_progress(
            Progress(
                phase="crawling" if record.state == "running" else "draining",
                pages=pages,
                visits=counted.get("contacts", 0),
                pages_per_s=rate,
                bytes=counted.get("bytes", 0),
                hosts_ready=stats.hosts_ready,
                hosts_leased=stats.hosts_leased,
                hosts_waiting=stats.hosts_waiting,
                queue=stats.accepted - stats.finished,
                duplicates=counted.get("duplicates", 0),
                near_duplicates=counted.get("near_duplicates", 0),
                errors=_prefixed(counted, "error:"),
                dropped=stats.dropped,
                elapsed=elapsed,
                workers=workers,
                max_pages=self._spec.max_pages,
            )
        )

    # -- end

    async def _sum_up(self, frontier: Frontier, record: JobRecord) -> Summary:
        counted = await frontier.registry.counted(self._job)
        stats = await frontier.stats(self._job)
        unreached = await frontier.unreached(self._job, record.reason or "max-wait")
        info = await asyncio.to_thread(_info, self._spec)
        errors, dropped = split_reasons(info.by_reason)
        return Summary(
            state="interrupted" if record.state == "paused" else "completed",
            out=self._spec.out,
            reason=record.reason,
            pages=info.pages,
            visits=info.visits,
            bytes=counted.get("bytes", 0),
            hosts=info.hosts,
            duplicates=info.duplicates,
            near_duplicates=info.near_duplicates,
            dropped=_summed(dropped, _prefixed(counted, "skipped:")),
            demoted=_summed(stats.demoted, _prefixed(counted, "demoted:")),
            errors=errors,
            unreached=unreached,
            refetched=stats.refetched + counted.get("unstored", 0),
            seconds=time.monotonic() - self._started,
        )

    async def _failed(self, why: str) -> Summary:
        """What is stored of a run that lost its frontier."""
        print(f"comity: error: {_stopped(why)}", file=sys.stderr)
        info = await asyncio.to_thread(_info, self._spec)
        errors, dropped = split_reasons(info.by_reason)
        return Summary(
            state="failed",
            out=self._spec.out,
            reason=why,
            pages=info.pages,
            visits=info.visits,
            hosts=info.hosts,
            duplicates=info.duplicates,
            near_duplicates=info.near_duplicates,
            dropped=dropped,
            errors=errors,
            seconds=time.monotonic() - self._started,
        )


def _warn(spec: JobSpec, settings: Settings) -> None:
    """Say what may do harm, to our own network or to a site, and what is not done silently."""
    if line := ignored(os.environ, settings.trusted_proxy):
        print(f"comity: warning: {line}", file=sys.stderr)
    if spec.allow_private_networks:
        print(
            "comity: warning: --allow-private-networks: any page met can point this crawl at "
            "services of your own network",
            file=sys.stderr,
        )
    if spec.delay == 0:
        print(
            "comity: warning: --delay 0: no pause between requests, however slowly a host answers; "
            "only Crawl-delay and Retry-After are kept. For servers of your own.",
            file=sys.stderr,
        )


def _stopped(why: str) -> StorageError:
    return StorageError(
        f"the crawl stopped: {why}; what is stored stays, --resume goes on from there"
    )


def split_reasons(reasons: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Reasons in rows: those of contacts that failed or were answered so, and those of rules."""
    failed = {r for r in reasons if r in TABLE and TABLE[r].contact and r != CUT_OFF}
    errors = {r: n for r, n in reasons.items() if r in failed}
    return errors, {r: n for r, n in reasons.items() if r not in errors}


def _stored(spec: JobSpec) -> bytes:
    """The job as the frontier keeps it: its seeds are queued."""
    bare = spec.model_copy(update={"seeds": (), "seed_files": (), "sitemaps": ()})
    return bare.model_dump_json().encode()


def _region(spec: JobSpec, seeds: Iterable[str]) -> bytes:
    return msgspec.json.encode(sorted(Scope.from_strings(spec.scope, seeds).region))


def _has_table(spec: JobSpec) -> bool:
    store = open_store(spec.out)
    try:
        return bool(store.children(Layout(spec.workspace, spec.name).table))
    finally:
        store.close()


def _info(spec: JobSpec) -> CorpusInfo:
    if not _has_table(spec):  # interrupted before any worker was up
        return CorpusInfo(spec.out)
    with Corpus(spec.out, workspace=spec.workspace, job=spec.name) as corpus:
        return corpus.info()


def _prefixed(counts: dict[str, int], prefix: str) -> dict[str, int]:
    return {k.removeprefix(prefix): n for k, n in counts.items() if k.startswith(prefix)}


def _summed(*parts: dict[str, int]) -> dict[str, int]:
    out: dict[str, int] = {}
    for part in parts:
        for key, n in part.items():
            out[key] = out.get(key, 0) + n
    return out


def _batched(items: Iterable[CrawlRequest], size: int) -> Iterable[list[CrawlRequest]]:
    it = iter(items)
    while batch := list(itertools.islice(it, size)):
        yield batch
