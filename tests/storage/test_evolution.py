"""A table that an older version made goes on: it gets the newer columns, and keeps its rows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from storage import sealing, table
from storage.blob import BlobStore, StorageError
from storage.committer import Committer
from storage.corpus import Corpus
from storage.segment import Manifest, stage
from storage.table import PARTITION, SCHEMA, PagesTable
from tests.storage.samples import LAYOUT, sealed

NEWER = {
    *("hops", "etag", "last_modified", "text_digest"),
    *("revisit_of", "revisit_time", "recrawl_interval", "canonical", "refresh_to"),
    *("cluster_id", "is_representative"),
}
OLD = pa.schema([field for field in SCHEMA if field.name not in NEWER])


@pytest.fixture
def old(store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A segment of five pages in a table as it was before the newer columns."""
    files = OLD.remove(OLD.get_field_index(PARTITION))
    with monkeypatch.context() as patch:
        patch.setattr(table, "SCHEMA", OLD)
        patch.setattr(sealing, "FILE_SCHEMA", files)
        done = sealed(tmp_path / "old", range(5))
        assert pq.read_schema(done.files[0]).names == files.names
        stage(store, done)
        Committer(store, LAYOUT).commit([done.manifest])
    return done.manifest


def commit(store: BlobStore, directory: Path, numbers: range) -> Manifest:
    done = sealed(directory, numbers)
    stage(store, done)
    assert Committer(store, LAYOUT).commit([done.manifest]).committed
    return done.manifest


def columns(store: BlobStore) -> list[str]:
    return [field.name for field in opened(store).schema().fields]


def opened(store: BlobStore) -> DeltaTable:
    pages = PagesTable(store, LAYOUT.table)
    return DeltaTable(pages.uri, storage_options=pages._options())


def read(store: BlobStore, *names: str) -> list[dict[str, object]]:
    batches = PagesTable(store, LAYOUT.table).snapshot().batches(names or None, None, 100)
    return [row for batch in batches for row in batch.to_pylist()]


def test_it_can_be_read_as_it_is(store: BlobStore, old: Manifest) -> None:
    assert columns(store) == OLD.names
    rows = read(store)
    assert len(rows) == 5
    assert list(rows[0]) == SCHEMA.names
    assert all(row[name] is None for row in rows for name in NEWER)
    with Corpus(store.root) as corpus:
        assert corpus.info().pages == 5


def test_a_commit_brings_the_newer_columns(store: BlobStore, old: Manifest, tmp_path: Path) -> None:
    commit(store, tmp_path / "new", range(5, 8))
    assert set(columns(store)) == set(SCHEMA.names)
    assert len(read(store, "url", "etag")) == 8
    fields = opened(store).schema().fields
    comments = {f.name: f.metadata["comment"] for f in fields}
    assert all(comments[name] for name in NEWER)


def test_an_older_worker_may_still_commit(
    store: BlobStore,
    old: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit(store, tmp_path / "new", range(5, 8))
    with monkeypatch.context() as patch:
        patch.setattr(table, "SCHEMA", OLD)
        patch.setattr(sealing, "FILE_SCHEMA", OLD.remove(OLD.get_field_index(PARTITION)))
        commit(store, tmp_path / "late", range(8, 9))
    assert set(columns(store)) == set(SCHEMA.names)
    assert len(read(store, "url", "etag")) == 9


def test_many_may_add_them_at_once(store: BlobStore, old: Manifest, tmp_path: Path) -> None:
    tasks: list[Callable[[], object]] = [
        Committer(store, LAYOUT).prepare
        if n % 2
        else lambda n=n: commit(  # type: ignore[misc]
            store, tmp_path / str(n), range(10 * n, 10 * n + 3)
        )
        for n in range(1, 7)
    ]
    with ThreadPoolExecutor(len(tasks)) as pool:
        for future in [pool.submit(task) for task in tasks]:
            future.result()
    names = columns(store)
    assert sorted(names) == sorted(SCHEMA.names)
    assert len(read(store, "url")) == 5 + 3 * 3


def test_a_version_and_its_files(store: BlobStore, old: Manifest, tmp_path: Path) -> None:
    pages = PagesTable(store, LAYOUT.table)
    before = pages.snapshot()
    assert before.files() == {f.path for f in old.files}
    new = commit(store, tmp_path / "new", range(5, 8))
    after = pages.snapshot()
    assert after.files() - before.files() == {f.path for f in new.files}
    assert pages.snapshot(before.version).files() == before.files()
    rows = [r for b in after.batches(["url"], None, 9, {new.files[0].path}) for r in b["url"]]
    assert len(rows) == 3


def test_a_table_whose_columns_have_other_types_is_refused(store: BlobStore) -> None:
    pages = PagesTable(store, LAYOUT.table)
    narrow = pa.schema([f.with_type(pa.int32()) if f.name == "visit" else f for f in SCHEMA])
    DeltaTable.create(pages.uri, narrow, storage_options=pages._options())
    with pytest.raises(StorageError, match="of an earlier version: its column visit"):
        pages.ensure()
