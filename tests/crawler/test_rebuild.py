"""What a rebuild makes of a small corpus: counts, queues, what was spilled and on its way."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from crawler import jobfile
from crawler.job import JobSpec, UsageError
from crawler.rebuild import Rebuild, Rebuilt
from crawler.spill import SpillObjects
from frontier import entry, inspect, spillfile
from frontier.client import Frontier
from frontier.model import CrawlRequest, FrontierError
from frontier.url import parse
from storage.blob import open_store
from storage.committer import Committer
from storage.corpus import Corpus
from storage.layout import Layout
from storage.segment import PageRecord, stage
from storage.table import page_id
from tests.storage.samples import exchange, failure, writer

JOB = "default/crawl"
LAYOUT = Layout("default", "crawl")
HTML = {"content_mime_detected": "text/html"}


def page(url: str, *links: str, depth: int = 0, **columns: object) -> PageRecord:
    body = "".join(f'<a href="{link}">x</a>' for link in links).encode()
    raw = exchange(url, body)
    row = {
        "url": url,
        "fetch_time": raw.fetch_time,
        "fetch_status": 200,
        "fetch_seconds": 0.1,
        "content_digest": raw.payload_digest,
        "page_id": page_id(JOB, parse(url).key, 1),
        "kind": "page",
        "visit": 1,
        "depth": depth,
        "attempts": 1,
        "text": f"the text of {url}",
    }
    return PageRecord({**row, **HTML, **columns}, fp=url, partition=0, exchange=raw)


def store_pages(out: Path, *pages: PageRecord, commit: bool = True) -> None:
    """One segment with these, staged and, unless told otherwise, committed."""
    store = open_store(str(out))
    segment = writer(out.parent / "spool", LAYOUT)
    for each in pages:
        segment.append(each)
    sealed = segment.seal({each.fp for each in pages})
    committer = Committer(store, LAYOUT)
    committer.prepare()
    stage(store, sealed)
    if commit:
        committer.commit([sealed.manifest])
        committer.forget(sealed.manifest)
    store.close()


async def rebuilt(frontier: Frontier, out: Path, spec: JobSpec, *, links: bool = True) -> Rebuilt:
    region = b'["a.test"]'
    jobfile.save(spec, region)
    with Corpus(str(out)) as corpus:
        saved = jobfile.of_corpus(corpus.store, corpus.layouts[0], None)
        rebuild = Rebuild(frontier, corpus, saved, links=links, quiet=0)
        return await rebuild.run(lambda *_: None)


async def urls(frontier: Frontier, host: str = "a.test") -> dict[str, CrawlRequest]:
    found = await inspect.peek(frontier, JOB, parse(f"http://{host}/"), 5000)
    return {parse(u.request.url).path: u.request for u in found}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def spec_of(out: Path, **columns: object) -> JobSpec:
    return JobSpec(out=str(out), allow_private_networks=True, **columns)  # type: ignore[arg-type]


async def test_what_was_cut_off_for_its_type_is_no_page(frontier: Frontier, out: Path) -> None:
    cut = {"reason": "content-type", "content_truncated": "unspecified"}
    store_pages(out, page("http://a.test/"), page("http://a.test/b", "/c", depth=1, **cut))
    report = await rebuilt(frontier, out, spec_of(out, max_pages=5))
    assert await urls(frontier) == {}
    assert report.dropped == {"content-type": 1}
    assert report.pages_left == 4
    with Corpus(str(out)) as corpus:
        assert (corpus.info().pages, corpus.info().visits) == (1, 2)


async def test_links_of_stored_pages_are_queued_once_and_by_the_jobs_rules(
    frontier: Frontier, out: Path
) -> None:
    store_pages(
        out,
        page("http://a.test/", "/b", "/c", "http://other.test/", "/x.pdf"),
        page("http://a.test/b", "/", "/c", "/d", depth=1),
        failure(1),
    )
    spec = spec_of(
        out, exclude=("*.pdf",), max_depth=2, seeds=("http://a.test/", "http://a.test/z")
    )
    report = await rebuilt(frontier, out, spec)
    found = await urls(frontier)
    assert set(found) == {"/c", "/d", "/z"}
    assert {path: found[path].depth for path in found} == {"/c": 1, "/d": 2, "/z": 0}
    assert found["/c"].via == "http://a.test/"
    assert (report.rows, report.seen, report.done, report.queued) == (3, 3, 2, 3)
    assert report.dropped == {"dns-nxdomain": 1}
    assert await inspect.check(frontier, [JOB], repair=False) == []
    counted = await frontier.registry.counted(JOB)
    assert (counted["pages"], counted["skipped:excluded"]) == (2, 1)
    record = await frontier.registry.job(JOB)
    assert record is not None
    assert (record.state, record.seeded) == ("paused", True)


async def test_without_links_only_what_is_done_is_known(frontier: Frontier, out: Path) -> None:
    store_pages(out, page("http://a.test/", "/b"))
    report = await rebuilt(frontier, out, spec_of(out, max_pages=5), links=False)
    assert (report.seen, report.queued, report.pages_left) == (1, 0, 4)
    assert any("--no-links" in line for line in report.unknown)
    assert await frontier.registry.credit(JOB) == (4, 0)


@pytest.mark.parametrize(("max_hops", "queued"), [(3, {"/r4": 3}), (2, {})])
async def test_a_chain_of_redirects_goes_on_where_it_was(
    frontier: Frontier, out: Path, max_hops: int, queued: dict[str, int]
) -> None:
    moved = {"fetch_status": 302, "redirect_to": "http://a.test/r4"}
    store_pages(out, page("http://a.test/r3", hops=2, depth=1, **moved))
    await rebuilt(frontier, out, spec_of(out, max_hops=max_hops))
    found = await urls(frontier)
    assert {path: request.hops for path, request in found.items()} == queued
    counted = await frontier.registry.counted(JOB)
    assert counted.get("skipped:redirect-limit", 0) == int(not queued)


async def test_spilled_segments_come_back_and_damaged_ones_are_told(
    frontier: Frontier, out: Path
) -> None:
    store_pages(out, page("http://a.test/"))
    store = open_store(str(out))
    objects = SpillObjects(store, LAYOUT)
    requests = [CrawlRequest(f"http://a.test/s{n}", depth=3, attempts=1) for n in range(1200)]
    requests.append(CrawlRequest("http://a.test/"))  # done since
    lines = [entry.pack(r, str(n), "a.test").encode() for n, r in enumerate(requests)]
    data = spillfile.write({(2, "a.test"): lines})
    objects.put("spill/3/1700000000000-00000000", data)
    objects.put("spill/3/1700000000001-00000000", data[:-7])
    store.close()
    report = await rebuilt(frontier, out, spec_of(out))
    assert (report.spilled, report.queued) == (1200, 1200)
    assert "URLs of 1 spilled segments that cannot be read" in report.unknown
    stats = await frontier.stats(JOB)
    assert stats.queued + stats.spilled == 1200
    found = await urls(frontier)
    assert {(r.depth, r.attempts) for r in found.values()} == {(3, 1)}
    assert await inspect.check(frontier, [JOB], repair=False) == []


async def test_pages_on_their_way_get_there_first(frontier: Frontier, out: Path) -> None:
    store_pages(out, page("http://a.test/", "/b"))
    store_pages(out, page("http://a.test/b", "/c", depth=1), commit=False)
    report = await rebuilt(frontier, out, spec_of(out))
    assert (report.committed, report.seen) == (1, 2)
    assert set(await urls(frontier)) == {"/c"}
    with Corpus(str(out)) as corpus:
        assert corpus.info().pages == 2
    store = open_store(str(out))
    assert list(Committer(store, LAYOUT).staged()) == []
    store.close()


async def test_a_damaged_record_costs_its_links_alone(frontier: Frontier, out: Path) -> None:
    store_pages(out, page("http://a.test/", "/b"), page("http://a.test/e", "/f"))
    [warc] = out.rglob("*.warc.gz")
    with Corpus(str(out)) as corpus:
        [row] = corpus.show("http://a.test/e")
    data = bytearray(warc.read_bytes())
    data[row["warc_record_offset"] + 30] ^= 0xFF
    warc.unlink()
    warc.write_bytes(data)
    report = await rebuilt(frontier, out, spec_of(out))
    assert set(await urls(frontier)) == {"/b"}
    assert "links of 1 stored pages whose record cannot be read" in report.unknown


async def test_duplicates_are_told_again(frontier: Frontier, out: Path) -> None:
    store_pages(out, page("http://a.test/", "/b"))
    await rebuilt(frontier, out, spec_of(out))
    from dedupe.index import DedupeIndex, Document

    copy = page("http://a.test/copy", "/b")
    index = DedupeIndex(frontier.driver.client, JOB)
    document = Document(
        page_id(JOB, "a.test/copy", 1), "a.test/copy", copy.row["content_digest"], None, None
    )
    verdict = await index.check(document, "s")
    assert (verdict.kind, verdict.committed) == ("exact", True)


async def test_workers_of_the_lost_frontier_spoil_it(frontier: Frontier, out: Path) -> None:
    store_pages(out, page("http://a.test/"))
    await frontier.registry.beat("zombie", 60)
    with pytest.raises(FrontierError, match="1 workers of the lost frontier are still at work"):
        await rebuilt(frontier, out, spec_of(out))
    with pytest.raises(FrontierError, match="an interrupted rebuild left"):
        await Frontier.open(frontier.driver.url, partitions=4)


# -- the job's file


def test_the_jobs_file_keeps_no_header_values(out: Path) -> None:
    spec = spec_of(out, headers={"Authorization": "Bearer s3cret"}, seeds=("a.test",))
    jobfile.save(spec, b'["a.test"]')
    text = (out / "default/crawl/job.json").read_text()
    assert "s3cret" not in text
    store = open_store(str(out))
    saved = jobfile.load(store, LAYOUT)
    assert saved is not None
    assert (saved.headers, saved.region) == (("Authorization",), ("a.test",))
    assert saved.spec.seeds == ("http://a.test/",)
    store.close()


def test_a_resumed_jobs_file_keeps_the_seeds_of_before(out: Path) -> None:
    jobfile.save(spec_of(out, seeds=("http://a.test/",)), b"[]")
    jobfile.save(spec_of(out, seeds=("http://b.test/",), max_pages=9), b"[]")
    many = tuple(f"http://c.test/{n}" for n in range(jobfile.SEEDS))
    store = open_store(str(out))
    saved = jobfile.load(store, LAYOUT)
    assert saved is not None
    assert (saved.spec.seeds, saved.spec.max_pages) == (("http://a.test/", "http://b.test/"), 9)
    assert not saved.more_seeds
    jobfile.save(spec_of(out, seeds=many), b"[]")
    saved = jobfile.load(store, LAYOUT)
    assert saved is not None
    assert (len(saved.spec.seeds), saved.more_seeds) == (jobfile.SEEDS, True)
    store.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (b"{", "is damaged"),
        (b"[]", "is damaged"),
        (b'{"version": 1}', "is damaged"),
        ({"version": 2}, "has version 2, not 1: use a newer comity"),
        ({"spec": {"scop": "any"}}, "did you mean 'scope'"),
    ],
)
def test_a_jobs_file_that_is_none_is_refused(out: Path, change: object, message: str) -> None:
    jobfile.save(spec_of(out), b"[]")
    path = out / "default/crawl/job.json"
    if isinstance(change, dict):
        change = orjson.dumps(orjson.loads(path.read_bytes()) | change)
    assert isinstance(change, bytes)
    path.write_bytes(change)
    store = open_store(str(out))
    with pytest.raises(UsageError, match=message):
        jobfile.of_corpus(store, LAYOUT, None)
    store.close()
