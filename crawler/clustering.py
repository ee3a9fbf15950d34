"""``comity corpus dedupe``: clusters of pages with one content, over the tables of several jobs.

The narrow columns of the stored pages are copied into Parquet files on local disk, whatever store
the tables are in, as delta-rs lists their files; an engine of ``dedupe/`` finds the clusters in
them; what has changed goes back into the tables, a commit for each of a table's days.

Kept here: a table is written to under its committer's lock, where its frontier is known. Crawls may
run meanwhile: pages that they add after the copy stay without a cluster until the next run.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler import jobfile
from crawler.config import Settings
from crawler.inspection import alive
from crawler.schema import UsageError
from crawler.worker.commits import COMMIT_LOCK
from dedupe.clusters import STAGED, ClusterError, Clusters, Engine, Summary
from dedupe.near import PACKED_BYTES, THRESHOLD
from frontier.client import Frontier
from frontier.model import FrontierError
from storage.blob import BlobStore, StorageUnavailable
from storage.committer import Committer
from storage.corpus import IS_PAGE, Corpus
from storage.layout import Layout
from storage.table import PARTITION, PagesTable

_COLUMNS: Final = (
    *("page_id", "fetch_time", "content_digest", "text_digest", "minhash"),
    *("cluster_id", "is_representative", PARTITION),
)
_BATCH_ROWS: Final = 8_192
_PATIENCE: Final = 2 * COMMIT_LOCK  # seconds to wait for another committer
_POLL: Final = 0.05  # seconds between two looks at its lock

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for."""

    engine: str = "duckdb"  # duckdb or spark
    threshold: float | None = None  # Jaccard similarity; None: that of the jobs
    memory: int = 4_000_000_000  # bytes
    temp: str | None = None  # directory for what does not fit; None: the system's
    dry_run: bool = False  # change nothing


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found and done; all but ``changed`` of pages with stored content."""

    pages: int  # compared
    clusters: int  # of two pages or more
    copies: int  # pages that another one represents
    largest: int  # pages of the largest cluster
    changed: int  # rows that got another cluster or place (would get, in a dry run)
    commits: int  # one per table and day


@dataclass(frozen=True, slots=True)
class Source:
    """A table that takes part."""

    store: BlobStore
    layout: Layout

    @property
    def place(self) -> str:
        return f"{self.store.root}/{self.layout.prefix}"


def dedupe(
    roots: Sequence[str],
    plan: Plan,
    settings: Settings,
    told: Told,
    workspace: str | None = None,
    name: str | None = None,
) -> Outcome:
    """Cluster the pages of all tables below ``roots``, and note in them what was found.

    Raises UsageError, StorageError, FrontierError.
    """
    with contextlib.ExitStack() as stack:
        corpora = [
            stack.enter_context(Corpus(root, workspace=workspace, job=name)) for root in roots
        ]
        sources = _sources(corpora)
        threshold = _threshold(sources) if plan.threshold is None else plan.threshold
        stack.enter_context(_mapped())
        directory = Path(stack.enter_context(_directory(plan.temp))).resolve()
        files = [_copied(n, source, directory, told) for n, source in enumerate(sources)]
        if not sum(pq.read_metadata(file).num_rows for file in files):
            raise UsageError(f"{', '.join(roots)}: no page with content is stored")
        engine = stack.enter_context(contextlib.closing(_engine(plan, files, directory)))
        clusters = Clusters(engine, threshold, told)
        found = clusters.find()
        days = list(clusters.changed())
        if days and not plan.dry_run:
            asyncio.run(_write(sources, clusters, days, plan.memory, settings, told))
        return _outcome(found, days, plan.dry_run)


def _sources(corpora: Sequence[Corpus]) -> list[Source]:
    """Each table once, in an order that does not depend on that of the arguments."""
    found = {
        source.place: source
        for corpus in corpora
        for source in (Source(corpus.store, layout) for layout in corpus.layouts)
    }
    return [found[place] for place in sorted(found)]


def _threshold(sources: Sequence[Source]) -> float:
    """The one that all jobs have; that of jobs nothing is known of is the default."""
    jobs = [jobfile.load(source.store, source.layout) for source in sources]
    of_jobs = {job.spec.dedupe_threshold if job else THRESHOLD for job in jobs}
    if len(of_jobs) > 1:
        some = ", ".join(f"{each:g}" for each in sorted(of_jobs))
        raise UsageError(f"the jobs have different thresholds ({some}): choose with --threshold")
    return of_jobs.pop()


@contextlib.contextmanager
def _directory(parent: str | None) -> Iterator[str]:
    try:
        made = tempfile.TemporaryDirectory(prefix="comity-", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise UsageError(f"--temp: cannot write {parent}: {error.strerror}") from error
    with made as path:
        yield path


def _copied(number: int, source: Source, directory: Path, told: Told) -> Path:
    """The columns that clusters are made of, as a Parquet file of the schema STAGED."""
    told(f"reading {source.place}")
    target = directory / f"staged-{number}.parquet"
    snapshot = PagesTable(source.store, source.layout.table).snapshot()
    where = IS_PAGE & (pc.field("kind") == "page")
    with pq.ParquetWriter(target, STAGED, compression="zstd", use_dictionary=False) as writer:
        for batch in snapshot.batches(_COLUMNS, where, _BATCH_ROWS):
            writer.write_batch(_staged(number, source, batch))
    return target


def _staged(number: int, source: Source, batch: pa.RecordBatch) -> pa.RecordBatch:
    rows = batch.num_rows
    odd = batch.filter(pc.binary_length(pc.field("minhash")) != PACKED_BYTES)
    if odd.num_rows:
        raise UsageError(
            f"{source.place}: holds a sketch of {len(odd['minhash'][0].as_py())} bytes, which "
            f"another version made; this one compares sketches of {PACKED_BYTES}"
        )
    columns: dict[str, Any] = {name: batch[name] for name in batch.schema.names}
    columns |= {
        "source": pa.repeat(pa.scalar(number, pa.int32()), rows),
        "workspace": pa.repeat(source.layout.workspace, rows),
        "day": batch[PARTITION].cast(pa.string()),
        "fetched": batch["fetch_time"].cast(pa.int64()),
    }
    arrays = [columns[field.name].cast(field.type) for field in STAGED]
    return pa.RecordBatch.from_arrays(arrays, schema=STAGED)


def _engine(plan: Plan, files: Sequence[Path], directory: Path) -> Engine:
    own = directory / plan.engine
    own.mkdir()
    if plan.engine == "spark":
        from dedupe.spark import SparkEngine

        return SparkEngine(files, own, plan.memory)
    from dedupe.duck import DuckEngine

    return DuckEngine(files, own, plan.memory)


async def _write(
    sources: Sequence[Source],
    clusters: Clusters,
    days: Sequence[tuple[int, str, int]],
    memory: int,
    settings: Settings,
    told: Told,
) -> None:
    """Commit the changes. What a run that is cut short leaves undone, the next one does."""
    async with contextlib.AsyncExitStack() as stack:
        frontiers = {
            root: await _frontier(root, settings, stack)
            for root in {source.store.root for source in sources}
        }
        for number, day, rows in days:
            source = sources[number]
            told(f"writing {rows:,} rows of {day} to {source.place}")
            committer = Committer(source.store, source.layout)
            marks = clusters.marks(number, day)
            frontier = frontiers[source.store.root]
            async with _locked(frontier, source.layout):
                try:
                    await asyncio.to_thread(committer.mark, day, marks, memory)
                except StorageUnavailable as error:
                    if frontier is not None:
                        raise
                    hint = "; if a fleet crawls into it, take turns with it: --redis URL"
                    raise StorageUnavailable(f"{error}{hint}") from error


async def _frontier(
    root: str, settings: Settings, stack: contextlib.AsyncExitStack
) -> Frontier | None:
    """The fleet's, or that of a crawl that runs; None where none is known, so no crawl is."""
    url = settings.redis or alive(root)
    if url is None:
        return None
    frontier = await Frontier.open(url, partitions=None)
    stack.push_async_callback(frontier.close)
    return frontier


@contextlib.asynccontextmanager
async def _locked(frontier: Frontier | None, layout: Layout) -> AsyncIterator[None]:
    """Nobody else commits to the table meanwhile; conflicts would cost time, and nothing else."""
    if frontier is None:
        yield
        return
    lock, token = f"commit:{layout.prefix}", f"dedupe-{secrets.token_hex(8)}"
    patient_until = time.monotonic() + _PATIENCE
    while not await frontier.registry.lock(lock, token, COMMIT_LOCK):
        if time.monotonic() > patient_until:
            raise FrontierError(f"another committer keeps the table of {layout.prefix}: try later")
        await asyncio.sleep(_POLL)
    keeper = asyncio.create_task(_keep(frontier, lock, token))
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])
        await frontier.registry.lock(lock, token, 0)


async def _keep(frontier: Frontier, lock: str, token: str) -> None:
    while True:
        await asyncio.sleep(COMMIT_LOCK / 4)
        with contextlib.suppress(FrontierError):  # safety does not depend on the lock
            await frontier.registry.lock(lock, token, COMMIT_LOCK)


def _outcome(found: Summary, days: Sequence[tuple[int, str, int]], dry_run: bool) -> Outcome:
    return Outcome(
        pages=found.pages,
        clusters=found.clusters,
        copies=found.copies,
        largest=found.largest,
        changed=sum(rows for _, _, rows in days),
        commits=0 if dry_run else len(days),
    )


@contextlib.contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except ClusterError as error:
        raise UsageError(str(error)) from error
