"""Which index of duplicates a job's pages are compared in, what goes into it, how long it stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from crawler.job import JobSpec
from dedupe.exact import text_digest
from dedupe.index import DedupeError, DedupeIndex, DedupeVerdict, Document
from dedupe.near import Signature, shape, signature
from frontier.client import Frontier
from frontier.model import FrontierError
from frontier.registry import ENDED
from frontier.url import InvalidUrl, parse
from storage.corpus import HAS_CONTENT, Corpus

ROOM: Final = 2_000_000  # documents in one slot of a cluster, 0.9 GB; later ones are spread
REFILL: Final = "rebuild"  # the segment that pages count to which are put in from a table
COLUMNS: Final = ("page_id", "url", "content_digest", "text", "reason")


def open_index(frontier: Frontier, job: str, spec: JobSpec) -> DedupeIndex | None:
    """The index that a job's pages are compared in; None where it does not look for duplicates.

    A workspace has one for each way of banding: jobs of the same threshold are compared.
    """
    if spec.dedupe == "off":
        return None
    name = job
    if spec.dedupe_scope == "workspace":
        name = f"{spec.workspace}:{'x'.join(map(str, shape(spec.dedupe_threshold)))}"
    return DedupeIndex(
        frontier.driver.client,
        name,
        threshold=spec.dedupe_threshold,
        dropping=spec.dedupe == "drop",
        room=ROOM if frontier.driver.cluster else 0,
    )


def drops(spec: JobSpec, verdict: DedupeVerdict | None) -> bool:
    """Whether a page goes because of a verdict: only if what it repeats is safe."""
    return (
        spec.dedupe == "drop" and verdict is not None and bool(verdict.kind) and verdict.committed
    )


def sign(spec: JobSpec, text: str | None) -> Signature | None:
    """What a job compares a text by; None where it is too short."""
    if not text:
        return None
    return signature(text, minimum=spec.dedupe_min_shingles, threshold=spec.dedupe_threshold)


def document(
    job: str, page: str, key: str, digest: str, text: str | None, signed: Signature | None
) -> Document:
    """A page as the index takes it. The same URL in another job is another page."""
    found = text_digest(text) if text else None
    return Document(page, f"{job} {key}", digest, found, signed)


async def keep(index: DedupeIndex) -> None:
    """A job goes on: its index has no end any more. Raises FrontierError."""
    await _asked(index, 0)


async def let_go(frontier: Frontier, index: DedupeIndex, spec: JobSpec) -> None:
    """A job is over: its index expires, unless others of its workspace use it."""
    shared = spec.dedupe_scope == "workspace"
    if shared and await _in_use(frontier, spec.workspace):
        return
    await _asked(index, spec.dedupe_keep)
    if shared and await _in_use(frontier, spec.workspace):  # one has begun meanwhile
        await _asked(index, 0)


async def _asked(index: DedupeIndex, seconds: float) -> None:
    try:
        await index.expire(seconds)
    except DedupeError as error:
        raise FrontierError(str(error)) from error


async def _in_use(frontier: Frontier, workspace: str) -> bool:
    records = await frontier.registry.jobs()
    return any(r.name.startswith(f"{workspace}/") and r.state not in ENDED for r in records)


async def refill(
    index: DedupeIndex, job: str, spec: JobSpec, on_progress: Callable[[int], None]
) -> None:
    """A job's stored pages into its index; which of two alike came first may come out otherwise.

    Raises FrontierError, StorageError.
    """
    done, segment = 0, f"{REFILL}-{time.time_ns():x}"
    with Corpus(spec.out, workspace=spec.workspace, job=spec.name) as corpus:
        batches = iter(corpus.pages(COLUMNS, where=HAS_CONTENT))
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            documents = list(_documents(job, spec, batch.to_pylist()))
            try:
                await index.check_many(documents, segment)
            except DedupeError as error:
                raise FrontierError(str(error)) from error
            done += len(documents)
            on_progress(done)
    try:
        await index.confirm(segment)
    except DedupeError as error:
        raise FrontierError(str(error)) from error


def _documents(
    job: str, spec: JobSpec, rows: Iterable[dict[str, str | None]]
) -> Iterable[Document]:
    for row in rows:
        text, url, page = row["text"], row["url"], row["page_id"]
        if row["reason"] or not url or not page:  # a copy, or what is of no use
            continue
        try:
            key = parse(url).key
        except InvalidUrl:  # by the rules of another version
            continue
        yield document(job, page, key, row["content_digest"] or "", text, sign(spec, text))
