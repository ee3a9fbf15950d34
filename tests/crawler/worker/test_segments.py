"""Segments of one worker, step by step, on a real frontier and a real store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from crawler.config import Settings
from crawler.fetch.exchange import FetchError
from crawler.job import JobSpec
from crawler.worker.ending import Ending
from crawler.worker.jobs import JobContext
from crawler.worker.links import packed
from crawler.worker.process import Worker
from crawler.worker.robots import Copy
from frontier import keys
from frontier.client import RETRY_AFTER, Frontier
from frontier.model import CrawlRequest, FrontierError, HostState, UrlResult, Verdict
from frontier.registry import SegmentRecord
from frontier.robots import ALLOW_ALL
from frontier.url import Url, parse
from storage.corpus import Corpus
from storage.layout import new_segment_id
from storage.segment import PageRecord, stage
from storage.table import page_id
from tests.storage.samples import exchange, file_size_limit, writer

JOB = "default/crawl"
SEED = "http://a.example/"


@pytest.fixture
async def job(frontier: Frontier, tmp_path: Path) -> str:
    """A running job with one seed."""
    spec = JobSpec(out=str(tmp_path / "out"), scope="any")
    await frontier.registry.create_job(JOB, spec.model_dump_json().encode(), b"[]")
    await frontier.add(JOB, [(parse(SEED), CrawlRequest(SEED, priority=0))])
    await frontier.registry.move_job(JOB, (), seeded=1)
    return JOB


async def start(frontier: Frontier, spool: Path, name: str = "w") -> tuple[Worker, JobContext]:
    """A worker without its engine, and the job as it knows it."""
    worker = Worker(Settings(), frontier, name=name, spool=spool, only=None)
    await frontier.registry.beat(worker.id, 60)
    await worker.jobs.refresh()
    return worker, worker.jobs.contexts[JOB]


async def fetch(
    worker: Worker, job: JobContext, *, links: Iterable[str] = (), report: bool = True
) -> str:
    """Lease the next URL and put its page into the open segment, as the pipelines do."""
    frontier, deadline = worker.frontier, time.monotonic() + 20
    while not (leases := (await _lease(worker)).leases):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    [lease] = leases
    [leased] = lease.urls
    url = leased.request.url
    outlinks = []
    for link in links:
        request = CrawlRequest(link, 1, via=url, priority=1)
        if job.links.offer(parse(link), request):
            outlinks.append(packed(request))
    row = {
        "url": url,
        "page_id": page_id(JOB, url, 1),
        "kind": "page",
        "fetch_time": time.time(),
        "fetch_status": 200,
    }
    raw = exchange(url)
    row["content_digest"] = raw.payload_digest
    record = PageRecord(row, leased.fp, lease.partition, raw, outlinks)
    segment = await worker.segments.append(job, record)
    if report:
        results = [UrlResult(leased.fp, "pending", segment)]
        await frontier.report(lease, results, state=HostState(), wait=0, free=True)
    return segment


async def _lease(worker: Worker) -> Any:
    everywhere = range(worker.frontier.partitions)
    return await worker.frontier.lease(worker.id, [JOB], everywhere, hosts=1, urls=1, ttl=60)


async def settle(worker: Worker) -> None:
    """Store and commit all that is open."""
    await worker.segments.drain()
    await worker.commits.run()


def die(worker: Worker) -> None:
    """Let go of the files of open segments, as the kernel does for a dead process."""
    for segment in worker.segments._open.values():
        for file in (segment.writer._rows, segment.writer._warc):
            assert file is not None
            file.close()


def stored(tmp_path: Path) -> list[str]:
    with Corpus(str(tmp_path / "out")) as corpus:
        assert not list(corpus.verify())
        batches = corpus.pages(("url",))
        return sorted(row["url"] for batch in batches for row in batch.to_pylist())


async def fill_memory(frontier: Frontier, *, full: bool, share: float = 0.9) -> None:
    """Let the server's memory be so full, or boundless again; once the frontier knows."""
    key = keys.home(0)
    [info] = (await frontier.driver.nodes()).values()
    limit = int(info.used / share) if full else 0
    await frontier.driver.command("CONFIG", "SET", "maxmemory", limit)
    async with asyncio.timeout(30):
        while bool(frontier.driver.memory(key).limit) != full:
            await asyncio.sleep(0.05)


@pytest.fixture
async def full(frontier: Frontier) -> AsyncIterator[None]:
    """A frontier that takes no URLs."""
    await fill_memory(frontier, full=True)
    yield
    await frontier.driver.command("CONFIG", "SET", "maxmemory", 0)


class TestOutlinks:
    async def test_acknowledged_ones_stay_for_a_while(
        self, frontier: Frontier, job: str, tmp_path: Path
    ) -> None:
        worker, context = await start(frontier, tmp_path / "spool")
        name = await fetch(worker, context, links=["http://b.example/1", "http://b.example/2"])
        await worker.segments.drain()
        manifest = context.committer.manifest(name)
        assert manifest is not None
        assert manifest.outlinks is not None
        assert (manifest.outlinks.count, manifest.outlinks.acknowledged) == (2, True)
        assert (await frontier.stats(JOB)).accepted == 3
        await worker.commits.run()
        assert await frontier.registry.segments() == {}
        kept = [blob.key for blob in context.store.list(context.layout.recent)]
        assert kept == [context.layout.settled_key(name), context.layout.links_key(name)]
        await worker.commits.tidy(context, age=0.0)
        assert list(context.store.list(context.layout.recent)) == []

    async def test_a_seal_does_not_wait_for_memory(
        self, frontier: Frontier, job: str, full: None, tmp_path: Path
    ) -> None:
        worker, context = await start(frontier, tmp_path / "spool")
        name = await fetch(worker, context, links=[f"http://b.example/{n}" for n in range(500)])
        await settle(worker)
        assert stored(tmp_path) == [SEED]
        stats = await frontier.stats(JOB)
        assert (stats.accepted, stats.finished, stats.pending) == (1, 1, 0)
        assert not context.links._waiting  # they travel with the segment, not in memory
        record = await frontier.registry.segment(name)
        assert record == SegmentRecord(JOB, worker.id, staged=True, settled=True)
        assert not await worker.commits.unsettled()  # a drain need not wait for it

        ending = Ending(frontier, "e")
        for _ in range(3):
            assert not await ending.watch(context)
        known = await frontier.registry.job(JOB)
        assert known is not None
        assert known.state == "running"  # though nothing is queued, leased or pending

        await fill_memory(frontier, full=False)
        await asyncio.sleep(RETRY_AFTER)  # what the frontier asked for
        await worker.commits.run()
        stats = await frontier.stats(JOB)
        assert (stats.accepted, stats.queued) == (501, 500)
        assert await frontier.registry.segments() == {}
        assert context.committer.manifest(name) is None

    async def test_beyond_its_limit_memory_can_still_fall(
        self, frontier: Frontier, job: str, full: None, tmp_path: Path
    ) -> None:
        """Where every ordinary write is refused, pages get stored and settled all the same."""
        worker, context = await start(frontier, tmp_path / "spool")
        await fill_memory(frontier, full=False)
        name = await fetch(worker, context)
        await fill_memory(frontier, full=True, share=2.0)
        with pytest.raises(FrontierError, match="memory"):
            await frontier.driver.command("SET", "{g}:any", "thing")
        await frontier.registry.beat(worker.id, 60)
        await settle(worker)
        context.counts["pages"] += 1
        await worker.jobs.flush_counts()
        assert stored(tmp_path) == [SEED]
        assert await frontier.registry.segment(name) is None
        assert (await frontier.stats(JOB)).finished == 1

    async def test_a_pause_does_not_wait_for_memory(
        self, frontier: Frontier, job: str, full: None, tmp_path: Path
    ) -> None:
        worker, context = await start(frontier, tmp_path / "spool")
        await fetch(worker, context, links=["http://b.example/1"])
        await worker.segments.drain()
        await frontier.registry.move_job(JOB, (), state="draining", reason="interrupted")
        ending = Ending(frontier, "e")
        await worker.commits.run()
        await ending.watch(context)
        known = await frontier.registry.job(JOB)
        assert known is not None
        assert known.state == "paused"

    async def test_damaged_ones_keep_their_segment(
        self, frontier: Frontier, job: str, full: None, tmp_path: Path
    ) -> None:
        worker, context = await start(frontier, tmp_path / "spool")
        name = await fetch(worker, context, links=["http://b.example/1"])
        await worker.segments.drain()
        context.store.put(context.layout.links_key(name), b"something else")
        await worker.commits.run()
        await fill_memory(frontier, full=False)
        await asyncio.sleep(RETRY_AFTER)
        await worker.commits.run()
        assert any("damaged" in said for said in worker._said)
        assert await frontier.registry.segment(name) is not None


class TestRecovery:
    async def test_a_dead_ones_segment_is_finished_from_disk(
        self, frontier: Frontier, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, context = await start(frontier, tmp_path / "spool")
        name = await fetch(first, context, links=["http://b.example/1", "http://b.example/2"])
        die(first)  # its links were not sent
        second, context = await start(frontier, tmp_path / "spool")
        await second.recovery.run()
        record = await frontier.registry.segment(name)
        assert record == SegmentRecord(JOB, second.id)  # before any work
        await settle(second)
        assert stored(tmp_path) == [SEED]
        stats = await frontier.stats(JOB)
        assert (stats.accepted, stats.queued, stats.finished, stats.refetched) == (3, 2, 1, 0)
        assert list((tmp_path / "spool").rglob("*.*")) == []

    async def test_rows_that_are_not_pending_are_fetched_again(
        self, frontier: Frontier, job: str, tmp_path: Path
    ) -> None:
        first, context = await start(frontier, tmp_path / "spool")
        name = await fetch(first, context, links=["http://b.example/1"])
        await context.links.flush()
        assert await fetch(first, context, report=False) == name
        die(first)
        second, _ = await start(frontier, tmp_path / "spool")
        await second.recovery.run()
        await settle(second)
        assert stored(tmp_path) == [SEED]
        assert (await frontier.stats(JOB)).leased == 1

    async def test_a_given_up_segment_is_removed(
        self, frontier: Frontier, job: str, tmp_path: Path
    ) -> None:
        first, context = await start(frontier, tmp_path / "spool")
        await fetch(first, context)
        await frontier.registry.leave(first.id)
        other, known = await start(frontier, tmp_path / "elsewhere", "other")
        await other.recovery.run()
        assert known.counts["refetched"] == (await frontier.stats(JOB)).refetched == 1
        die(first)
        second, _ = await start(frontier, tmp_path / "spool")
        await second.recovery.run()
        await second.segments.drain()
        assert list((tmp_path / "spool").rglob("*.*")) == []
        assert await frontier.registry.segments() == {}

    async def test_a_late_owner_finds_itself_fenced(
        self, frontier: Frontier, job: str, tmp_path: Path
    ) -> None:
        late, context = await start(frontier, tmp_path / "spool")
        await fetch(late, context)
        await frontier.registry.leave(late.id)
        other, _ = await start(frontier, tmp_path / "spool", "other")
        await other.recovery.run()  # on the same disk, but its owner has it open
        assert (await frontier.stats(JOB)).refetched == 1
        late.segments.doubt(context)
        await late.segments.drain()
        assert await frontier.registry.segments() == {}
        assert list((tmp_path / "spool").rglob("*.*")) == []
        await fetch(other, other.jobs.contexts[JOB])
        await settle(other)
        assert stored(tmp_path) == [SEED]

    @pytest.mark.parametrize("damage", ["torn", "gone", "full"])
    async def test_what_cannot_be_stored_is_fetched_again(
        self,
        frontier: Frontier,
        job: str,
        tmp_path: Path,
        damage: str,
    ) -> None:
        first, context = await start(frontier, tmp_path / "spool")
        await fetch(first, context)
        die(first)
        [path] = (tmp_path / "spool").rglob("*.jsonl")
        if damage == "torn":
            path.write_bytes(path.read_bytes()[:-3])
        elif damage == "gone":
            path.write_bytes(b"")
        second, known = await start(frontier, tmp_path / "spool")
        with file_size_limit(4_000 if damage == "full" else 1 << 30):
            await second.recovery.run()
            await second.segments.drain()
        assert not second.hopeless
        assert known.counts["refetched"] == 1
        assert list((tmp_path / "spool").rglob("*.*")) == []
        await fetch(second, known)
        await settle(second)
        assert stored(tmp_path) == [SEED]


async def test_a_segment_beyond_the_tables_memory_is_told_once_and_left(
    frontier: Frontier, job: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker, context = await start(frontier, tmp_path / "spool")
    segment = writer(tmp_path / "old", context.layout, now=time.time() - 40 * 86_400)
    old = segment.segment
    stage(context.store, segment.seal(set()))
    await frontier.registry.put_segment(old, SegmentRecord(JOB, "gone", staged=True))
    await fetch(worker, context)
    await settle(worker)
    await worker.commits.run()
    assert stored(tmp_path) == [SEED]
    assert set(await frontier.registry.segments()) == {old}
    assert context.committer.manifest(old) is not None
    said = [r.getMessage() for r in caplog.records if old in r.getMessage()]
    assert len(said) == 1
    assert "29 days" in said[0]


async def test_a_manifest_that_is_gone_is_sorted_out(
    frontier: Frontier, job: str, tmp_path: Path
) -> None:
    """Its committer died between forgetting it and its record."""
    worker, context = await start(frontier, tmp_path / "spool")
    name = await fetch(worker, context)
    await settle(worker)
    await frontier.registry.put_segment(name, SegmentRecord(JOB, "gone", staged=True))
    await worker.commits.run()
    assert await frontier.registry.segments() == {}
    assert stored(tmp_path) == [SEED]
    assert (await frontier.stats(JOB)).refetched == 0


async def test_what_is_put_back_asks_for_robots_txt_anew(
    frontier: Frontier, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of the contact was in the segment, even if the file is still in memory."""
    owner, context = await start(frontier, tmp_path / "lost", "owner")
    name = await fetch(owner, context)
    worker, _ = await start(frontier, tmp_path / "spool", "next")
    copy = Copy("allow", 404, b"", time.time() + 600, segment=name)
    await frontier.put_robots(parse(SEED), msgspec.msgpack.encode(copy), 600)
    asked: list[str] = []

    async def contact(url: Url, hold: Any, attempts: int) -> Any:
        asked.append(url.url)
        verdict = Verdict(HostState(), 0, "retry", 9, "timeout")
        return FetchError("timeout", "no answer"), verdict, "later"

    monkeypatch.setattr(worker.robots, "contact", contact)
    hold: Any = SimpleNamespace(lease=SimpleNamespace(host=parse(SEED).host), wait=0.0)
    assert (await worker.robots.view(parse(SEED), hold, 0)).rules is ALLOW_ALL
    assert asked == []
    await frontier.registry.leave(owner.id)
    await worker.recovery.run()
    await worker.robots.view(parse(SEED), hold, 0)
    assert asked == [f"{SEED}robots.txt"]
    die(owner)


async def test_all_urls_of_a_segment_sealed_in_part_are_told_as_refetched(
    frontier: Frontier, job: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its owner and its disk were lost amid the seal."""
    owner, context = await start(frontier, tmp_path / "lost", "owner")
    name = await fetch(owner, context)
    urls = [parse(f"http://h{n}.example/") for n in range(9)]
    await frontier.add(JOB, [(url, CrawlRequest(url.url)) for url in urls])
    for _ in range(len(urls)):
        for lease in (await _lease(owner)).leases:
            results = [UrlResult(leased.fp, "pending", name) for leased in lease.urls]
            await frontier.report(lease, results, state=HostState(), wait=0, free=True)
    last = max(frontier.place(url)[0] for url in urls)
    await frontier.seal(name, [last])
    await frontier.registry.leave(owner.id)
    worker, known = await start(frontier, tmp_path / "spool", "next")
    await worker.recovery.run()
    assert known.counts["refetched"] == (await frontier.stats(JOB)).refetched == 10
    assert "10 URLs will be fetched again" in caplog.text
    die(owner)


async def test_the_first_segments_are_stored_early(
    frontier: Frontier, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, context = await start(frontier, tmp_path / "spool")
    monkeypatch.setattr(type(worker.leasing), "holds", lambda *_: True)
    ages = []
    for _ in range(7):
        name = new_segment_id("w", time.time())
        await worker.segments.append(context, PageRecord(_robots(name)))
        writer_ = worker.segments._open[JOB].writer
        opened = writer_._opened
        for age in range(1, 400):
            writer_._opened = time.monotonic() - age
            worker.segments.rotate(idle=lambda _: False)
            if JOB not in worker.segments._open:
                ages.append(age)
                break
        assert opened
    await worker.segments.drain()
    assert ages == [10, 20, 40, 80, 160, 300, 300]


def _robots(name: str) -> dict[str, Any]:
    return {
        "url": f"http://a.example/robots.txt?{name}",
        "page_id": name,
        "kind": "robots",
        "fetch_time": time.time(),
    }


async def test_a_segment_waits_for_the_rows_that_were_promised(
    frontier: Frontier, job: str, tmp_path: Path
) -> None:
    worker, context = await start(frontier, tmp_path / "spool")
    [lease] = (await _lease(worker)).leases
    room = await worker.segments.reserve(context)
    result = UrlResult(lease.urls[0].fp, "pending", room.segment)
    await frontier.report(lease, [result], state=HostState(), wait=0, free=True)
    drain = asyncio.create_task(worker.segments.drain())
    await asyncio.wait([drain], timeout=0.3)
    assert not drain.done()
    assert not worker.segments.crowded(context.name)
    row = {"url": SEED, "page_id": page_id(JOB, SEED, 1), "kind": "page", "fetch_time": time.time()}
    room.fill(PageRecord(row, lease.urls[0].fp, lease.partition))
    await drain
    await worker.commits.run()
    assert (await frontier.stats(JOB)).done == 1
    with Corpus(context.spec.out) as corpus:
        assert corpus.info().visits == 1


async def test_a_job_that_stores_nothing_is_done_when_its_segment_is_sealed(
    frontier: Frontier, job: str, tmp_path: Path
) -> None:
    worker, context = await start(frontier, tmp_path / "spool")
    context.keeps = False
    await fetch(worker, context)
    await worker.segments.drain()
    stats = await frontier.stats(JOB)
    assert (stats.done, stats.pending) == (1, 0)
    assert not await frontier.registry.segments()
    assert not list((tmp_path / "spool").rglob("*.*"))
