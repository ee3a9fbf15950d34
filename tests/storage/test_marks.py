"""Columns that committed rows are given later: nothing else changes, and nothing is lost for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from storage import table
from storage.blob import BlobStore, StorageError
from storage.committer import Committer, was_in
from storage.segment import Manifest, PageRecord, stage
from storage.table import MARKS, STATISTICS, PagesTable, Snapshot
from tests.storage.samples import LAYOUT, page, sealed, writer

DAY = 86_400.0
NOON = time.time() // DAY * DAY + DAY / 2
TODAY = time.strftime("%Y-%m-%d", time.gmtime(NOON))
MEMORY = 100_000_000


def put(store: BlobStore, spool: Path, *records: PageRecord) -> Manifest:
    """Stage pages in a segment of their own."""
    segment = writer(spool)
    for record in records:
        segment.append(record)
    done = segment.seal({record.fp for record in records})
    stage(store, done)
    return done.manifest


def pages(numbers: range, at: float = NOON) -> list[PageRecord]:
    return [page(number, fetch_time=at, minhash=bytes(128)) for number in numbers]


def marks(numbers: range, cluster: str = "c") -> pa.Table:
    ids = [page(number).row["page_id"] for number in numbers]
    return pa.table(
        {
            "page_id": ids,
            "cluster_id": [cluster] * len(ids),
            "is_representative": [at == 0 for at in range(len(ids))],
        }
    )


def rows(store: BlobStore) -> dict[str, dict[str, Any]]:
    batches = PagesTable(store, LAYOUT.table).snapshot().batches(None, None, 100)
    found = [row for batch in batches for row in batch.to_pylist()]
    assert len({row["page_id"] for row in found}) == len(found)
    return {row["page_id"]: row for row in found}


def marked(store: BlobStore) -> set[str]:
    return {page_id for page_id, row in rows(store).items() if row["cluster_id"]}


def ids(numbers: range) -> set[str]:
    return {str(page(number).row["page_id"]) for number in numbers}


def opened(store: BlobStore) -> DeltaTable:
    found = PagesTable(store, LAYOUT.table)
    return DeltaTable(found.uri, storage_options=found._options())


def test_rows_get_their_marks_and_keep_all_else(store: BlobStore, tmp_path: Path) -> None:
    committer = Committer(store, LAYOUT)
    yesterday = put(store, tmp_path / "a", *pages(range(10, 13), NOON - DAY))
    committer.commit([yesterday, put(store, tmp_path / "b", *pages(range(5)))])
    before, files = rows(store), PagesTable(store, LAYOUT.table).snapshot().files()
    committer.mark(TODAY, marks(range(1, 4)), MEMORY)
    after = rows(store)
    assert marked(store) == ids(range(1, 4))
    assert [row["url"] for row in after.values() if row["is_representative"]] == [
        "http://h1.example/1"
    ]
    unmarked = dict.fromkeys(MARKS)
    assert {key: row | unmarked for key, row in after.items()} == before
    left = files & PagesTable(store, LAYOUT.table).snapshot().files()
    assert left == {file.path for file in yesterday.files}  # of other days nothing is written


def test_no_content_gets_into_statistics(store: BlobStore, tmp_path: Path) -> None:
    committer = Committer(store, LAYOUT)
    committer.commit([put(store, tmp_path, *pages(range(5)))])
    committer.mark(TODAY, marks(range(5)), MEMORY)
    (path,) = PagesTable(store, LAYOUT.table).snapshot().files()
    log = [blob.key for blob in store.list(f"{LAYOUT.table}/_delta_log")][-1]
    (added,) = (orjson.loads(li)["add"] for li in store.get(log).splitlines() if b'"add"' in li)
    assert added["path"] == path
    stats = orjson.loads(added["stats"])
    assert set(stats["minValues"]) | set(stats["maxValues"]) <= set(STATISTICS)
    file = pq.ParquetFile(pa.BufferReader(store.get(f"{LAYOUT.table}/{path}")))
    group = file.metadata.row_group(0)
    chunks = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert {name for name, chunk in chunks.items() if chunk.is_stats_set} == set(STATISTICS)


def test_a_commit_that_comes_between_is_kept_and_not_marked(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committer = Committer(store, LAYOUT, sleep=lambda _: None)
    committer.commit([put(store, tmp_path / "a", *pages(range(5)))])
    late = put(store, tmp_path / "b", *pages(range(5, 9)))
    mark, tries = Snapshot.mark, []

    def interrupted(self: Snapshot, *arguments: Any) -> None:
        tries.append(self.version)
        if len(tries) == 1:
            assert Committer(store, LAYOUT).commit([late]).committed
        mark(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Snapshot, "mark", interrupted)
        committer.mark(TODAY, marks(range(5)), MEMORY)
    assert rows(store).keys() == ids(range(9))
    assert marked(store) == ids(range(5))


def test_marks_that_come_between_do_not_stop_a_commit(store: BlobStore, tmp_path: Path) -> None:
    committer = Committer(store, LAYOUT, sleep=lambda _: None)
    committer.commit([put(store, tmp_path / "a", *pages(range(5)))])
    late = put(store, tmp_path / "b", *pages(range(5, 9)))
    snapshot, waiting = PagesTable(store, LAYOUT.table).snapshot(), [True]

    def first_old() -> Snapshot:
        return snapshot if waiting and waiting.pop() else PagesTable(store, LAYOUT.table).snapshot()

    committer.mark(TODAY, marks(range(5)), MEMORY)
    racing = Committer(store, LAYOUT, sleep=lambda _: None)
    racing.prepare()
    racing._table.snapshot = first_old  # type: ignore[method-assign,assignment]
    assert racing.commit([late]).committed == (late.segment,)
    assert rows(store).keys() == ids(range(9))
    assert marked(store) == ids(range(5))
    assert Committer(store, LAYOUT).commit([late]).already == (late.segment,)


def test_what_was_in_an_earlier_snapshot(store: BlobStore, tmp_path: Path) -> None:
    committer = Committer(store, LAYOUT)
    first = put(store, tmp_path / "a", *pages(range(5)))
    committer.commit([first])
    earlier, now = committer.pages(), time.time()
    late = put(store, tmp_path / "b", *pages(range(5, 9)))
    committer.commit([late])
    assert was_in(earlier, now, first.segment)
    assert not was_in(earlier, now, late.segment)
    # whatever the table has forgotten: what was too old for a commit then was there
    assert was_in(earlier, now + 40 * DAY, late.segment)


def test_two_who_mark_at_once_leave_whole_rows(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committer = Committer(store, LAYOUT, sleep=lambda _: None)
    committer.commit([put(store, tmp_path, *pages(range(5)))])
    mark, tries = Snapshot.mark, []

    def interrupted(self: Snapshot, *arguments: Any) -> None:
        tries.append(self.version)
        if len(tries) == 1:
            mark(PagesTable(store, LAYOUT.table).snapshot(), TODAY, marks(range(5), "x"), MEMORY)
        mark(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Snapshot, "mark", interrupted)
        committer.mark(TODAY, marks(range(3), "y"), MEMORY)
    assert len(tries) == 2  # the first met a conflict
    assert sorted(row["cluster_id"] for row in rows(store).values()) == [*"xx", *"yyy"]


def test_a_table_from_before_the_columns_gets_them(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = pa.schema([field for field in table.SCHEMA if field.name not in MARKS])
    done = sealed(tmp_path, range(5))
    stage(store, done)
    with monkeypatch.context() as patch:
        patch.setattr(table, "SCHEMA", old)
        Committer(store, LAYOUT).commit([done.manifest])
    assert not set(MARKS) & {field.name for field in opened(store).schema().fields}
    (day,) = {file.day for file in done.manifest.files}
    Committer(store, LAYOUT).mark(day, marks(range(2)), MEMORY)
    assert marked(store) == ids(range(2))


def test_rows_that_are_gone_stay_so(store: BlobStore, tmp_path: Path) -> None:
    committer = Committer(store, LAYOUT)
    committer.commit([put(store, tmp_path, *pages(range(5)))])
    opened(store).delete("url = 'http://h1.example/1'")
    committer.mark(TODAY, marks(range(3)), MEMORY)
    assert marked(store) == ids(range(3)) - ids(range(1, 2))
    assert len(rows(store)) == 4


def test_a_crawl_cannot_give_marks(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not a column to be given: 'cluster_id'"):
        writer(tmp_path).append(page(1, cluster_id="x"))
