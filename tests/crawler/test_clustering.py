"""Clusters over the tables of several jobs: found, written, found again."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from deltalake import DeltaTable

from crawler import clustering
from crawler.clustering import Outcome, Plan, dedupe
from crawler.config import Settings
from crawler.schema import UsageError
from frontier.client import Frontier
from frontier.embedded import EmbeddedServer
from storage.blob import BlobStore, StorageError, StorageUnavailable, open_store
from storage.committer import Committer
from storage.corpus import Corpus
from storage.layout import Layout
from storage.segment import PageRecord, stage
from storage.table import CommitConflict, PagesTable, Snapshot, page_id
from tests.dedupe.corpora import altered, sketch
from tests.storage.conftest import BUCKET, s3, s3_env
from tests.storage.samples import page, writer

__all__ = ["s3", "s3_env"]  # fixtures

RNG = random.Random(1)
A, B, C = (sketch(RNG) for _ in range(3))
NOON = time.time() // 86_400 * 86_400 - 43_200
NEWS, BLOG = Layout("default", "news"), Layout("default", "blog")


def near(packed: bytes) -> bytes:
    return altered(RNG, packed, 20)


def stored(job: Layout, number: int, minhash: bytes | None, at: float, **columns: Any) -> Any:
    key = page_id(job.prefix, str(number), 1)
    return page(number, minhash=minhash, fetch_time=at, page_id=key, **columns)


def commit(store: BlobStore, job: Layout, spool: Path, *records: PageRecord) -> None:
    segment = writer(spool, job)
    for record in records:
        segment.append(record)
    done = segment.seal({record.fp for record in records})
    stage(store, done)
    Committer(store, job).commit([done.manifest])
    done.discard()


def run(*roots: str, settings: Settings | None = None, **wishes: Any) -> Outcome:
    plan = replace(Plan(memory=200_000_000), **wishes)
    return dedupe(roots, plan, settings or Settings(), lambda step: None)


def clusters(root: str, *, whole: bool = True) -> dict[str, list[str]]:
    """The URLs of each cluster, its representative first; it has one in this root if ``whole``."""
    found: dict[str, list[str]] = {}
    names = ["url", "cluster_id", "is_representative"]
    with Corpus(root) as corpus:
        rows = [row for batch in corpus.pages(names, kind=None) for row in batch.to_pylist()]
    for row in sorted(rows, key=lambda row: (not row["is_representative"], row["url"])):
        if row["cluster_id"] is not None:
            found.setdefault(row["cluster_id"], []).append(row["url"].rpartition("/")[2])
            assert not whole or row["is_representative"] == (len(found[row["cluster_id"]]) == 1)
    return found


def together(root: str) -> list[list[str]]:
    return sorted(clusters(root).values())


def versions(root: str) -> list[int]:
    with Corpus(root) as corpus:
        return list(corpus.info().jobs.values())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    opened = open_store(str(tmp_path / "out dir"))
    yield opened
    opened.close()


@pytest.fixture
def two_jobs(store: BlobStore, tmp_path: Path) -> str:
    fill(store, tmp_path)
    return store.root


def fill(store: BlobStore, tmp_path: Path) -> None:
    """Pages 1, 2, 11 of one content, 3 and 12 of another; 4 alone; and rows that take no part."""
    commit(
        store,
        NEWS,
        tmp_path / "spool",
        stored(NEWS, 1, A, NOON + 5),
        stored(NEWS, 2, near(A), NOON + 4),
        stored(NEWS, 3, None, NOON - 86_400, text_digest="t"),
        stored(NEWS, 4, C, NOON),
        stored(NEWS, 5, A, NOON, fetch_status=404, reason="http-404"),
        stored(NEWS, 6, A, NOON, reason="duplicate"),
        stored(NEWS, 7, A, NOON, kind="robots"),
    )
    others = stored(BLOG, 11, near(A), NOON), stored(BLOG, 12, B, NOON, text_digest="t")
    commit(store, BLOG, tmp_path / "spool", *others)


def test_jobs_are_compared_with_each_other(two_jobs: str) -> None:
    outcome = run(two_jobs)
    assert outcome == Outcome(pages=6, clusters=2, copies=3, largest=3, changed=6, commits=3)
    assert together(two_jobs) == [["11", "1", "2"], ["3", "12"], ["4"]]


@pytest.mark.usefixtures("s3_env")
def test_tables_on_s3(tmp_path: Path) -> None:
    opened = open_store(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    fill(opened, tmp_path)
    assert run(opened.root).commits == 3
    assert together(opened.root) == [["11", "1", "2"], ["3", "12"], ["4"]]
    assert run(opened.root).changed == 0
    opened.close()


def test_again_changes_nothing_and_commits_nothing(two_jobs: str) -> None:
    run(two_jobs)
    before, found = versions(two_jobs), clusters(two_jobs)
    again = run(two_jobs)
    assert (again.copies, again.changed, again.commits) == (3, 0, 0)
    assert (versions(two_jobs), clusters(two_jobs)) == (before, found)


def test_new_pages_join_and_name_clusters(two_jobs: str, store: BlobStore, tmp_path: Path) -> None:
    run(two_jobs)
    before = clusters(two_jobs)
    commit(
        store,
        NEWS,
        tmp_path / "spool",
        stored(NEWS, 21, near(C), NOON + 9),
        stored(NEWS, 22, A, NOON - 9),
    )
    outcome = run(two_jobs)
    assert together(two_jobs) == [["22", "1", "11", "2"], ["3", "12"], ["4", "21"]]
    assert outcome.changed == 5  # the cluster of A has a new representative; the others grew
    same = {name for name, urls in clusters(two_jobs).items() if urls[0] in "34"}
    assert same < before.keys()


def test_a_dry_run_changes_nothing(two_jobs: str) -> None:
    before = versions(two_jobs)
    outcome = run(two_jobs, dry_run=True)
    assert (outcome.copies, outcome.changed, outcome.commits) == (3, 6, 0)
    assert versions(two_jobs) == before
    assert clusters(two_jobs) == {}


def test_a_table_that_is_named_twice_is_read_once(two_jobs: str) -> None:
    assert run(two_jobs, f"{two_jobs}/default/blog", two_jobs).pages == 6


def test_corpora_apart_are_compared(tmp_path: Path) -> None:
    """Two crawls under one job's name: their pages have the same ids."""
    roots = []
    for number, at in enumerate((NOON, NOON - 9)):
        roots.append(str(tmp_path / str(number)))
        opened = open_store(roots[-1])
        other = stored(NEWS, 2, (B, C)[number], at, content_digest=f"sha1:{number}")
        pages = [stored(NEWS, 1, A, at), other]
        commit(opened, NEWS, tmp_path / "spool", *pages)
        opened.close()
    outcome = run(*roots)
    assert (outcome.pages, outcome.clusters, outcome.copies) == (4, 1, 1)
    first, second = clusters(roots[0], whole=False), clusters(roots[1])
    assert len(first.keys() & second.keys()) == 1
    assert run(*reversed(roots)).changed == 0


def test_deleted_and_compacted_files_are_not_read(tmp_path: Path) -> None:
    opened = open_store(str(tmp_path / "out"))
    for number in range(3):
        commit(opened, NEWS, tmp_path / "spool", stored(NEWS, number, near(A), NOON + number))
    table = DeltaTable(PagesTable(opened, NEWS.table).uri)
    table.delete("url = 'http://h0.example/0'")
    table.optimize.compact()
    assert run(opened.root).pages == 2
    assert together(opened.root) == [["1", "2"]]
    opened.close()


def test_pages_that_come_meanwhile_are_neither_lost_nor_marked(
    two_jobs: str, store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = clustering.Clusters.find

    def interrupted(self: clustering.Clusters) -> Any:
        commit(store, NEWS, tmp_path / "spool", stored(NEWS, 31, A, NOON + 60))
        return settle(self)

    with monkeypatch.context() as patch:
        patch.setattr(clustering.Clusters, "find", interrupted)
        run(two_jobs)
    assert ["11", "1", "2"] in together(two_jobs)
    with Corpus(two_jobs) as corpus:
        assert corpus.info().visits == 9
        assert not corpus.show("http://h1.example/31")[0]["cluster_id"]
    assert run(two_jobs).changed == 1
    assert ["11", "1", "31", "2"] in together(two_jobs)


# -- the committer's lock


@pytest.fixture
def local(tmp_path: Path) -> Iterator[str]:
    opened = open_store(str(tmp_path / "out"))
    commit(opened, NEWS, tmp_path / "spool", *(stored(NEWS, n, A, NOON + n) for n in range(2)))
    yield opened.root
    opened.close()


@pytest.fixture
async def fleet(embedded: EmbeddedServer) -> AsyncIterator[Frontier]:
    opened = await Frontier.open(embedded.url, partitions=2)
    yield opened
    await opened.close()


async def test_a_crawl_may_run_meanwhile(
    fleet: Frontier, embedded: EmbeddedServer, two_jobs: str, store: BlobStore, tmp_path: Path
) -> None:
    lock, committed, ended = f"commit:{NEWS.prefix}", [], asyncio.Event()

    async def crawl() -> None:
        while not ended.is_set():
            if not await fleet.registry.lock(lock, "worker", 60):
                await asyncio.sleep(0.01)
                continue
            number = 1_000 + len(committed)
            record = stored(NEWS, number, near(B), NOON + number)
            await asyncio.to_thread(commit, store, NEWS, tmp_path / "busy", record)
            committed.append(number)
            await fleet.registry.lock(lock, "worker", 0)
            await asyncio.sleep(0.1)  # the pace of a crawl

    crawling = asyncio.create_task(crawl())
    settings = Settings(redis=embedded.url)
    for _ in range(2):
        assert (await asyncio.to_thread(run, two_jobs, settings=settings)).commits
    ended.set()
    await crawling
    await asyncio.to_thread(run, two_jobs)
    with Corpus(two_jobs) as corpus:
        ids = [i for b in corpus.pages(["page_id"], kind=None) for i in b["page_id"].to_pylist()]
    assert len(ids) == len(set(ids)) == 9 + len(committed) > 10
    assert sorted(map(len, together(two_jobs))) == [1, 3, 2 + len(committed)]


async def test_writing_waits_for_the_committer(
    fleet: Frontier, embedded: EmbeddedServer, local: str
) -> None:
    lock = f"commit:{NEWS.prefix}"
    assert await fleet.registry.lock(lock, "worker", 60)
    told: list[str] = []
    plan, settings = Plan(memory=200_000_000), Settings(redis=embedded.url)
    work = asyncio.create_task(asyncio.to_thread(dedupe, [local], plan, settings, told.append))
    while not any(step.startswith("writing") for step in told):
        await asyncio.sleep(0.01)  # polling; the test's own timeout bounds it
    done, _ = await asyncio.wait([work], timeout=0.5)
    assert not done
    assert clusters(local) == {}
    assert await fleet.registry.lock(lock, "worker", 0)
    assert (await work).commits == 1
    assert await fleet.registry.lock(lock, "worker", 60)  # it was left again


async def test_a_committer_that_does_not_end_is_one_line(
    fleet: Frontier, embedded: EmbeddedServer, local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clustering, "_PATIENCE", 0.3)
    assert await fleet.registry.lock(f"commit:{NEWS.prefix}", "worker", 60)
    with pytest.raises(clustering.FrontierError, match="another committer keeps the table"):
        await asyncio.to_thread(run, local, settings=Settings(redis=embedded.url))
    assert clusters(local) == {}


def test_a_table_that_is_never_quiet_hints_at_the_fleet(
    local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any) -> None:
        raise CommitConflict("another commit")

    monkeypatch.setattr(Snapshot, "mark", busy)
    monkeypatch.setattr(Committer.__init__, "__defaults__", (lambda _: None,))
    with pytest.raises(StorageUnavailable, match=r"met a conflict.*turns with it: --redis URL"):
        run(local)


# -- bad input


def job_file(store: BlobStore, layout: Layout, threshold: float) -> None:
    spec = {"workspace": layout.workspace, "name": layout.job, "dedupe_threshold": threshold}
    document = {"version": 1, "spec": spec, "region": [], "headers": [], "more_seeds": False}
    store.put(f"{layout.prefix}/job.json", orjson.dumps(document))


def test_the_threshold_is_the_jobs_own(store: BlobStore, tmp_path: Path) -> None:
    pages = [stored(NEWS, 1, A, NOON), stored(NEWS, 2, altered(RNG, A, 30), NOON + 1)]
    commit(store, NEWS, tmp_path / "spool", *pages)
    job_file(store, NEWS, 0.95)
    assert run(store.root, dry_run=True).copies == 0
    assert run(store.root, dry_run=True, threshold=0.8).copies == 1
    job_file(store, NEWS, 0.7)
    assert run(store.root, dry_run=True).copies == 1


def test_jobs_of_different_thresholds_want_a_choice(two_jobs: str, store: BlobStore) -> None:
    job_file(store, NEWS, 0.7)
    with pytest.raises(UsageError, match=r"different thresholds \(0.7, 0.8\): .* --threshold$"):
        run(two_jobs)
    assert run(two_jobs, threshold=0.8, dry_run=True).copies == 3


def test_sketches_of_another_version_are_refused(store: BlobStore, tmp_path: Path) -> None:
    commit(store, NEWS, tmp_path / "spool", stored(NEWS, 1, bytes(512), NOON))
    with pytest.raises(UsageError, match=r"default/news: holds a sketch of 512 bytes.*of 128$"):
        run(store.root)


@pytest.mark.parametrize("records", [(), (stored(NEWS, 7, A, NOON, kind="robots"),)])
def test_a_corpus_without_pages_is_refused(tmp_path: Path, records: Sequence[PageRecord]) -> None:
    opened = open_store(str(tmp_path / "out"))
    Committer(opened, NEWS).prepare()
    if records:
        commit(opened, NEWS, tmp_path / "spool", *records)
    opened.close()
    with pytest.raises(UsageError, match="no page with content is stored"):
        run(str(tmp_path / "out"))


def test_what_is_no_corpus_is_refused(two_jobs: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no corpus in"):
        run(two_jobs, str(tmp_path / "nothing"))


def test_a_place_for_files_that_is_none(local: str) -> None:
    with pytest.raises(UsageError, match=r"^--temp: cannot write /nowhere: No such file"):
        run(local, temp="/nowhere")
