"""The reader of what a crawl stored.

Purpose: pipelines and people read pages without knowing how they were crawled. Invariants kept:
everything streams (memory does not grow with the corpus); only committed rows are seen; a record is
read with one range request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc

from storage import warc
from storage.blob import BlobStore, StorageError, open_store
from storage.layout import Layout
from storage.table import PagesTable, Snapshot

CUT_OFF: Final = "content-type"  # reason of visits that were ended before their content was read
COPY: Final = "duplicate"  # reason of visits whose content another row's page holds
HAS_CONTENT: Final = (
    (pc.field("fetch_status") == 200)
    & pc.field("warc_filename").is_valid()
    & (pc.field("reason").is_null() | (pc.field("reason") != CUT_OFF))
)
"""Rows of successes whose content is stored."""
IS_PAGE: Final = HAS_CONTENT & (pc.field("reason").is_null() | (pc.field("reason") != COPY))
"""Of these, without the copies that their job dropped."""

_BATCH_ROWS: Final = 2_048
_INFO_COLUMNS: Final = (
    "kind",
    "reason",
    "fetch_status",
    "warc_filename",
    "warc_record_length",
    "url_host_name",
    "duplicate_kind",
    "lang",
)


@dataclass(slots=True)
class CorpusInfo:
    """Counts over a corpus. Without ``by_kind``, all are of rows of kind page."""

    root: str  # what the corpus was opened with
    jobs: dict[str, int] = field(default_factory=dict)  # "workspace/job" -> table version
    visits: int = 0  # rows
    pages: int = 0  # rows with status 200 and stored content
    duplicates: int = 0  # pages whose payload an earlier page had
    near_duplicates: int = 0  # pages whose text is like an earlier page's
    hosts: int = 0  # distinct host names with at least one answer
    bytes: int = 0  # compressed WARC records, all kinds
    by_kind: dict[str, int] = field(default_factory=dict)  # rows of any kind
    by_status: dict[int, int] = field(default_factory=dict)  # HTTP status -> rows
    by_reason: dict[str, int] = field(default_factory=dict)  # drop or failure code -> rows
    languages: dict[str, int] = field(default_factory=dict)  # of pages


class Corpus:
    """The tables below ``root``, which is what ``--out`` got, or one job's directory in it.

    ``workspace`` and ``job`` choose among several tables; without them all are read, one after the
    other. Raises StorageError if there is none. A context manager; reading opens each table at its
    newest version, anew per call.
    """

    def __init__(self, root: str, *, workspace: str | None = None, job: str | None = None) -> None:
        self._given = root
        self._store, found = _find(root)
        self.layouts = tuple(
            each
            for each in found
            if (workspace in {None, each.workspace}) and (job in {None, each.job})
        )
        if not self.layouts:
            self._store.close()
            wanted = f" of job {job!r}" if job else ""
            raise StorageError(f"no corpus{wanted} in {root}: it has no table of pages (yet)")

    @property
    def store(self) -> BlobStore:
        """Where the corpus is; rows' file names are relative to its root. Closed with this."""
        return self._store

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._store.close()

    def pages(
        self,
        columns: Sequence[str] | None = None,
        *,
        kind: str | None = "page",
        where: pc.Expression | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Rows as Arrow batches of at most 2,048, in no particular order.

        ``columns`` as named in storage.table.COLUMNS, all by default; ``kind`` None gives rows of
        every kind; ``where`` is a pyarrow expression over any columns.
        """
        wanted = where
        if kind is not None:
            of_kind = pc.field("kind") == kind
            wanted = of_kind if where is None else of_kind & where
        for snapshot in self._snapshots():
            for batch in snapshot.batches(columns, wanted, _BATCH_ROWS):
                if batch.num_rows:
                    yield batch

    def show(self, url: str, *, page_id: str | None = None) -> list[dict[str, Any]]:
        """All rows of one canonical URL, of any kind, and that of a visit; oldest first."""
        where = pc.field("url") == url
        if page_id is not None:
            where |= pc.field("page_id") == page_id
        rows = [row for batch in self.pages(kind=None, where=where) for row in batch.to_pylist()]
        return sorted(rows, key=lambda row: row["fetch_time"])

    def record(self, row: Mapping[str, Any]) -> warc.Record:
        """The stored exchange of a row, its digests checked; StorageError if it has none."""
        name = row.get("warc_filename")
        if not name:
            raise StorageError(f"no exchange is stored for {row.get('url')}")
        member = self._store.get(name, row["warc_record_offset"], row["warc_record_length"])
        try:
            return warc.read(member)
        except StorageError as error:
            raise StorageError(f"{name} at {row['warc_record_offset']}: {error}") from error

    def info(self) -> CorpusInfo:
        """Counts, from one pass over the small columns."""
        info = CorpusInfo(self._given)
        tally = _Tally()
        for layout, snapshot in zip(self.layouts, self._snapshots(), strict=True):
            info.jobs[layout.prefix] = snapshot.version
            for batch in snapshot.batches(_INFO_COLUMNS, None, 65_536):
                tally.add(batch)
        tally.into(info)
        return info

    def verify(self) -> Iterator[str]:
        """A line per row whose WARC record is not there, not intact or not its own."""
        columns = ("url", "content_digest")
        place = ("warc_filename", "warc_record_offset", "warc_record_length")
        stored = _is_set("warc_filename")
        for batch in self.pages((*columns, *place), kind=None, where=stored):
            for row in batch.to_pylist():
                try:
                    record = self.record(row)
                except StorageError as error:
                    yield f"{row['url']}: {error}"
                    continue
                if (record.url, record.digest) != (row["url"], row["content_digest"]):
                    yield f"{row['url']}: its record is of {record.url} with {record.digest}"

    def _snapshots(self) -> Iterator[Snapshot]:
        for layout in self.layouts:
            yield PagesTable(self._store, layout.table).snapshot()


class _Tally:
    """Counters filled batch by batch."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._reasons: Counter[str] = Counter()
        self._languages: Counter[str] = Counter()
        self._duplicates: Counter[str] = Counter()
        self._hosts: set[str] = set()
        self._pages = 0
        self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        whole = pa.Table.from_batches([batch])
        self._kinds += _counts(whole["kind"])
        self._bytes += pc.sum(whole["warc_record_length"]).as_py() or 0
        same = (pc.field("kind") == "revisit") & (pc.field("fetch_status") == 200)
        rows = whole.filter((pc.field("kind") == "page") | same)
        self._statuses += _counts(rows["fetch_status"])
        self._reasons += _counts(rows["reason"])
        answered = rows.filter(_is_set("fetch_status"))
        self._hosts.update(_counts(answered["url_host_name"]))
        self._duplicates += _counts(rows["duplicate_kind"])
        pages = rows.filter(IS_PAGE)
        self._pages += pages.num_rows
        self._languages += _counts(pages["lang"])

    def into(self, info: CorpusInfo) -> None:
        info.visits = self._kinds["page"]
        info.pages = self._pages
        info.duplicates = self._duplicates["exact"]
        info.near_duplicates = self._duplicates.total() - self._duplicates["exact"]
        info.hosts = len(self._hosts)
        info.bytes = self._bytes
        info.by_kind = dict(self._kinds.most_common())
        info.by_status = dict(sorted(self._statuses.items()))
        info.by_reason = dict(self._reasons.most_common())
        info.languages = dict(self._languages.most_common())


def _is_set(column: str) -> pc.Expression:
    return cast(pc.Expression, pc.field(column).is_valid())  # the stubs say bool


def _counts(values: pa.ChunkedArray[Any]) -> Counter[Any]:
    pairs = cast(list[dict[str, Any]], cast(Any, pc.value_counts(values)).to_pylist())
    return Counter({p["values"]: p["counts"] for p in pairs if p["values"] is not None})


def _find(root: str) -> tuple[BlobStore, list[Layout]]:
    """The store that rows' file names are relative to, and the jobs in it that have a table."""
    store = open_store(root)
    try:
        parent, workspace, job = ("", *store.root.rsplit("/", 2))[-3:]
        if "_delta_log" not in store.children("pages") or parent == "s3:/":
            return store, list(_layouts(store))
    except StorageError:
        store.close()
        raise
    store.close()  # it is a job's own directory: names are relative to two levels above
    return open_store(parent or "/"), [Layout(workspace, job)]


def _layouts(store: BlobStore) -> Iterator[Layout]:
    for workspace in store.children(""):
        if workspace.startswith("."):  # a crawl's private directories
            continue
        for job in store.children(workspace):
            if "_delta_log" in store.children(f"{workspace}/{job}/pages"):
                yield Layout(workspace, job)
