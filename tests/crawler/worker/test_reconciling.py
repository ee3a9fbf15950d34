"""A frontier that loses acknowledged writes: no URL is lost, none gets a second row.

What a lagging replica would hold is what the server held a while ago: keys are dumped, work goes on
and is acknowledged, then they are put back as those of another server.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crawler.config import Settings
from crawler.job import JobSpec
from crawler.worker.ending import Ending
from crawler.worker.jobs import JobContext
from crawler.worker.links import packed
from crawler.worker.process import Worker
from frontier import inspect, keys
from frontier.client import FencedSegment, Frontier, StaleLease
from frontier.model import CrawlRequest, HostState, Lease, UrlResult
from frontier.registry import SegmentRecord
from frontier.url import parse
from storage.corpus import Corpus
from storage.segment import PageRecord, stage
from storage.table import page_id
from tests.storage.samples import exchange

JOB = "default/crawl"
SEED = "http://h0.example/0"
HOSTS, PAGES = 6, 60
TTL = 1.0  # seconds of a lease
LONG = 90.0  # seconds for a crawl
ALL = range(4)

Dump = dict[bytes, tuple[int, bytes]]  # key -> ms to live (0: for ever), value


def name_of(n: int) -> str:
    return f"http://h{n % HOSTS}.example/{n}"


def links_of(n: int) -> list[str]:
    """Every page is reached from few others, so that a lost link is a lost page."""
    return [name_of(m) for m in (2 * n + 1, 2 * n + 2) if m < PAGES] + [name_of(n // 3)]


async def dump(frontier: Frontier, tags: Collection[str]) -> Dump:
    """All keys with these tags."""
    command, out = frontier.driver.command, {}
    for key in await command("KEYS", "*"):
        if key.decode().partition(":")[0] in tags:
            ttl, value = await command("PTTL", key), await command("DUMP", key)
            if value is not None:  # a grant's record lives no longer than its lease
                out[key] = (max(0, ttl), value)
    return out


async def put_back(frontier: Frontier, tags: Collection[str], old: Dump) -> None:
    """Let the keys with these tags be what they were, on a server that is another."""
    command = frontier.driver.command
    for key in await command("KEYS", "*"):
        if key.decode().partition(":")[0] in tags:
            await command("DEL", key)
    for key, (ttl, value) in old.items():
        await command("RESTORE", key, ttl, value)
    for tag in tags:
        if tag != "{g}":
            await command("HSET", f"{tag}:m", "run", "f" * 40)


@dataclass
class Party:
    """A worker without its engine, which crawls step by step."""

    frontier: Frontier
    worker: Worker
    job: JobContext
    held: list[Lease] = field(default_factory=list)  # leased, not reported

    @classmethod
    async def start(cls, frontier: Frontier, spool: Path, name: str) -> Party:
        worker = Worker(Settings(), frontier, name=name, spool=spool, only=None)
        await frontier.registry.beat(worker.id, 600)
        await worker.jobs.refresh()
        return cls(frontier, worker, worker.jobs.contexts[JOB])

    async def lease(self) -> bool:
        grant = await self.frontier.lease(self.worker.id, [JOB], ALL, hosts=1, urls=3, ttl=TTL)
        await self.worker.reconciling.note(grant.losses)
        self.held += grant.leases
        return bool(grant.leases)

    async def fetch(self) -> None:
        """Put the pages of a lease into the open segment, as the pipelines do, and report them."""
        if not self.held and not await self.lease():
            return
        lease = self.held.pop(0)
        results = []
        for leased in lease.urls:
            url = leased.request.url
            outlinks = []
            for link in links_of(int(url.rpartition("/")[2])):
                request = CrawlRequest(link, 1, via=url, priority=1)
                if self.job.links.offer(parse(link), request):
                    outlinks.append(packed(request))
            row = {"url": url, "page_id": page_id(JOB, url, 1), "kind": "page", "visit": 1}
            raw = exchange(url)
            row |= {"fetch_time": time.time(), "fetch_status": 200}
            row["content_digest"] = raw.payload_digest
            record = PageRecord(row, leased.fp, lease.partition, raw, outlinks)
            segment = await self.worker.segments.append(self.job, record)
            results.append(UrlResult(leased.fp, "pending", segment))
        try:
            await self.report(lease, results)
        except FencedSegment:
            self.worker.segments.doubt(self.job)
            await self.report(lease, [UrlResult(r.fp, "return") for r in results])

    async def report(self, lease: Lease, results: list[UrlResult]) -> None:
        try:
            await self.frontier.report(lease, results, state=HostState(), wait=0, free=True)
        except StaleLease:
            return

    async def stage(self) -> None:
        await self.worker.segments.drain()

    async def commit_unsettled(self) -> None:
        """A committer that dies between the commit and what comes after it."""
        await asyncio.to_thread(self.job.committer.commit, list(self.job.committer.staged()))

    async def flush(self) -> None:
        await self.job.links.flush()

    async def step(self, dice: random.Random) -> None:
        """Anything that a worker may do."""
        steps = [self.fetch] * 12 + [self.lease, self.flush, self.stage, self.stage]
        await dice.choice([*steps, self.worker.commits.run, self.commit_unsettled])()

    def die(self) -> None:
        """Let go of the files of open segments, as the kernel does for a dead process."""
        for segment in self.worker.segments._open.values():
            for file in (segment.writer._rows, segment.writer._warc):
                assert file is not None
                file.close()


@pytest.fixture
async def job(frontier: Frontier, tmp_path: Path) -> str:
    spec = JobSpec(out=str(tmp_path / "out"), scope="any", delay=0)
    await frontier.registry.create_job(JOB, spec.model_dump_json().encode(), b"[]")
    await frontier.add(JOB, [(parse(SEED), CrawlRequest(SEED, priority=0))])
    await frontier.registry.move_job(JOB, (), seeded=1)
    return JOB


async def end_quarantine(frontier: Frontier) -> None:
    """What it keeps is tested elsewhere (tests/frontier/test_shares.py)."""
    for p in ALL:
        if await frontier.driver.command("HGET", keys.home(p), "quiet"):
            await frontier.driver.command("HSET", keys.home(p), "quiet", 0)


async def finish(frontier: Frontier, party: Party, dice: random.Random) -> None:
    """Crawl on to the end; it is reconciled some time."""
    ending = Ending(frontier, "e")
    async with asyncio.timeout(LONG):
        while not await ending.watch(party.job):
            await party.lease()  # notices the loss
            if dice.random() < 0.2:
                await party.worker.reconciling.run()
            await end_quarantine(frontier)
            await party.worker.recovery.run()
            await party.fetch()
            if not party.held:
                await party.flush()
                await party.stage()
            await party.worker.commits.run()


async def check(frontier: Frontier, tmp_path: Path) -> None:
    """Every page is stored, once, and the accounts add up."""
    with Corpus(str(tmp_path / "out")) as corpus:
        batches = corpus.pages(("url", "page_id"))
        stored = [row for batch in batches for row in batch.to_pylist()]
        assert not list(corpus.verify())
    assert {row["url"] for row in stored} == {name_of(n) for n in range(PAGES)}
    assert max(Counter(row["page_id"] for row in stored).values()) == 1
    assert list(inspect.problems(await inspect.check(frontier, [JOB], repair=False))) == []
    stats = await frontier.stats(JOB)
    assert stats.accepted == stats.finished == PAGES
    assert await frontier.registry.segments() == {}


SOME = [{"{f0}"}, {"{f1}", "{f2}"}, {"{g}", "{f3}"}]  # as on a node of a cluster
EVERYTHING = {"{g}", *(keys.tag(p) for p in ALL)}


@pytest.mark.parametrize("seed", range(24))
async def test_whatever_is_lost_is_made_good(
    frontier: Frontier, job: str, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    tags = EVERYTHING if seed % 2 else SOME[seed // 2 % len(SOME)]
    one = await Party.start(frontier, tmp_path / "one", "one")
    two = await Party.start(frontier, tmp_path / "two", "two")
    for _ in range(dice.randrange(5, 60)):
        await dice.choice([one, two]).step(dice)
    old = await dump(frontier, tags)
    for _ in range(dice.randrange(5, 60)):
        await dice.choice([one, two]).step(dice)
    await put_back(frontier, tags, old)
    for _ in range(dice.randrange(6)):  # before anybody has noticed, and after
        await dice.choice([one, two]).step(dice)
    if dice.random() < 0.5:
        two.die()
        await frontier.registry.leave(two.worker.id)
        two.worker.segments._open.clear()
    else:
        await two.lease()
        await two.stage()
    await finish(frontier, one, dice)
    await check(frontier, tmp_path)


async def test_a_loss_that_is_lost_itself_is_made_good_again(
    frontier: Frontier, job: str, tmp_path: Path
) -> None:
    """Of two replicas that are promoted one after the other, neither may know of the first time."""
    dice = random.Random(1)
    one = await Party.start(frontier, tmp_path / "one", "one")
    for _ in range(8):
        await one.step(dice)
    await one.stage()
    old = await dump(frontier, EVERYTHING)
    for _ in range(2):
        for _ in range(8):
            await one.step(dice)
        await put_back(frontier, EVERYTHING, old)
        async with asyncio.timeout(LONG):
            while not await one.lease():
                await one.worker.reconciling.run()
                await end_quarantine(frontier)
    await finish(frontier, one, dice)
    await check(frontier, tmp_path)


async def test_a_seal_that_was_lost_is_not_committed_when_its_urls_are_anothers(
    frontier: Frontier, job: str, tmp_path: Path
) -> None:
    late = await Party.start(frontier, tmp_path / "late", "late")
    other = await Party.start(frontier, tmp_path / "other", "other")
    old = await dump(frontier, EVERYTHING)
    await late.fetch()
    writer = late.worker.segments._open.pop(JOB).writer
    sealed = await late.worker.segments._seal(late.job, writer)
    assert sealed.manifest.rows == 1
    await put_back(frontier, EVERYTHING, old)
    async with asyncio.timeout(LONG):
        while not await other.lease():
            await other.worker.reconciling.run()
            await end_quarantine(frontier)
    await other.fetch()
    await other.stage()
    await asyncio.to_thread(stage, late.job.store, sealed)
    name, record = sealed.manifest.segment, SegmentRecord(JOB, late.worker.id, staged=True)
    await frontier.registry.put_segment(name, record)
    await late.worker.commits.run()
    await other.worker.commits.run()
    await late.worker.commits.run()
    with Corpus(str(tmp_path / "out")) as corpus:
        stored = [row for batch in corpus.pages(("url",)) for row in batch.to_pylist()]
    assert [row["url"] for row in stored] == [SEED]
    await finish(frontier, other, random.Random(0))
    await check(frontier, tmp_path)


async def test_records_of_open_segments_are_put_again(
    frontier: Frontier, job: str, tmp_path: Path
) -> None:
    party = await Party.start(frontier, tmp_path / "one", "one")
    await party.fetch()
    [name] = await frontier.registry.segments()
    await frontier.registry.drop_segment(name)  # as if its server had lost it
    await party.worker.reconciling.note(dict.fromkeys(ALL, 1))
    assert await frontier.registry.segment(name) == SegmentRecord(JOB, party.worker.id)
    await party.stage()
    await party.worker.segments.register()  # it is no longer this one's to record
    assert await frontier.registry.segment(name) == SegmentRecord(JOB, party.worker.id, staged=True)
