from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pyarrow.compute as pc
import pytest

from storage import Corpus, warc
from storage.blob import BlobStore, StorageError
from storage.committer import Committer
from storage.layout import Layout
from storage.segment import PageRecord, stage
from tests.storage.samples import LAYOUT, failure, page, sealed, writer


def commit(store: BlobStore, spool: Path, *records: PageRecord, layout: Layout = LAYOUT) -> None:
    segment = writer(spool, layout)
    for record in records:
        segment.append(record)
    done = segment.seal({record.fp for record in records})
    stage(store, done)
    Committer(store, layout).commit([done.manifest])
    done.discard()


@pytest.fixture
def corpus_root(store: BlobStore, root: str, tmp_path: Path) -> str:
    """Three pages (one exact and one near duplicate), a 404, a robots.txt and a failure."""
    robots = page(30, kind="robots")
    commit(
        store,
        tmp_path / "spool",
        page(1),
        page(2, b"same", duplicate_kind="exact", duplicate_of="x", similarity=1.0),
        page(3, duplicate_kind="near", duplicate_of="y", similarity=0.9, lang="de"),
        page(4, fetch_status=404, reason="http-404"),
        PageRecord(robots.row, exchange=robots.exchange),
        failure(5),
    )
    return root


def test_info_counts(corpus_root: str) -> None:
    with Corpus(corpus_root) as corpus:
        info = corpus.info()
    assert (info.pages, info.visits) == (3, 5)
    assert (info.duplicates, info.near_duplicates) == (1, 1)
    assert info.by_kind == {"page": 5, "robots": 1}
    assert info.by_status == {200: 3, 404: 1}
    assert info.by_reason == {"http-404": 1, "dns-nxdomain": 1}
    assert info.languages == {"en": 2, "de": 1}
    assert info.hosts == 4
    assert info.bytes > 1_000
    assert info.jobs == {"default/demo": 1}


def test_pages_by_kind_columns_and_filter(corpus_root: str) -> None:
    with Corpus(corpus_root) as corpus:
        (batch,) = corpus.pages(["url", "fetch_status"])
        assert batch.schema.names == ["url", "fetch_status"]
        assert batch.num_rows == 5
        assert sum(b.num_rows for b in corpus.pages(kind=None)) == 6
        assert sum(b.num_rows for b in corpus.pages(kind="robots")) == 1
        german = list(corpus.pages(where=pc.field("lang") == "de"))
        assert [b["title"].to_pylist() for b in german] == [["Page 3"]]


def test_show_gives_every_visit(corpus_root: str, store: BlobStore, tmp_path: Path) -> None:
    commit(store, tmp_path / "spool", page(1, b"changed", visit=2, fetch_time=time.time() + 60))
    with Corpus(corpus_root) as corpus:
        rows = corpus.show("http://h1.example/1")
        assert [row["visit"] for row in rows] == [1, 2]
        assert corpus.record(rows[1]).payload == b"changed"
        assert corpus.show("http://h1.example/none") == []


def test_record_is_the_stored_exchange(corpus_root: str, store: BlobStore) -> None:
    with Corpus(corpus_root) as corpus:
        (row,) = corpus.show("http://h2.example/2")
        record = corpus.record(row)
        assert (record.payload, record.url) == (b"same", row["url"])
        assert record.digest == row["content_digest"]
        start, length = row["warc_record_offset"], row["warc_record_length"]
        assert warc.read(store.get(row["warc_filename"], start, length)) == record
        (gone,) = corpus.show("http://gone5.example/")
        with pytest.raises(StorageError, match="no exchange is stored"):
            corpus.record(gone)


def test_the_row_names_the_file_below_the_root(corpus_root: str) -> None:
    if corpus_root.startswith("s3:"):
        pytest.skip("opened as a file")
    with Corpus(corpus_root) as corpus:
        (row,) = corpus.show("http://h1.example/1")
    with Path(corpus_root, row["warc_filename"]).open("rb") as file:
        file.seek(row["warc_record_offset"])
        assert warc.read(file.read(row["warc_record_length"])).url == row["url"]


def test_verify_names_what_is_wrong(corpus_root: str, store: BlobStore, tmp_path: Path) -> None:
    with Corpus(corpus_root) as corpus:
        assert list(corpus.verify()) == []
        (row,) = corpus.show("http://h1.example/1")
        other = page(40)
        forged = PageRecord({**other.row, "url": "http://forged.example/"}, "f", 0, other.exchange)
        commit(store, tmp_path / "spool", forged)
        (problem,) = corpus.verify()
        assert problem.startswith("http://forged.example/: its record is of http://h0.example/40")
        store.put(row["warc_filename"], b"garbage")
        assert len(list(corpus.verify())) == 6


def test_a_jobs_own_directory_may_be_given(corpus_root: str) -> None:
    with Corpus(f"{corpus_root}/default/demo/") as corpus:
        assert corpus.info().pages == 3
        assert list(corpus.verify()) == []


def test_several_jobs(corpus_root: str, store: BlobStore, tmp_path: Path) -> None:
    commit(store, tmp_path / "spool", page(7), layout=Layout("default", "other"))
    with Corpus(corpus_root) as both:
        assert both.info().pages == 4
        assert set(both.info().jobs) == {"default/demo", "default/other"}
    with Corpus(corpus_root, job="other") as one:
        assert one.info().pages == 1
        assert list(one.verify()) == []
    with pytest.raises(StorageError, match="no corpus of job 'third'"):
        Corpus(corpus_root, job="third")
    with pytest.raises(StorageError, match="no corpus"):
        Corpus(corpus_root, workspace="nobody")


def test_staged_but_uncommitted_rows_are_not_seen(
    corpus_root: str, store: BlobStore, tmp_path: Path
) -> None:
    stage(store, sealed(tmp_path / "spool", range(50, 60)))
    with Corpus(corpus_root) as corpus:
        assert corpus.info().pages == 3


def test_nothing_there(root: str, store: BlobStore) -> None:
    with pytest.raises(StorageError, match=r"no corpus in .*: it has no table"):
        Corpus(root)
    store.put("default/demo/staged/x", b"")
    with pytest.raises(StorageError, match="no corpus"):
        Corpus(root)


def test_a_reader_that_leaves_early_ends_cleanly(
    store: BlobStore, root: str, tmp_path: Path
) -> None:
    """Read ahead in other threads would crash the interpreter as it shuts down."""
    commit(store, tmp_path / "spool", *(page(n) for n in range(300)))
    program = f"import storage; next(storage.Corpus({root!r}).pages())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
