from __future__ import annotations

import base64
import csv
import gzip
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from storage import Corpus
from storage.blob import StorageError, open_store
from storage.export import export, format_of, write
from storage.table import SCHEMA
from tests.storage.samples import page
from tests.storage.test_corpus import commit

WHEN = 1_795_000_000.25


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    root = str(tmp_path / "out")
    records = [
        page(1, fetch_time=WHEN, title='commas, "quotes"\nand lines', text="ünïcode"),
        page(2, fetch_time=WHEN, minhash=None, title=None),
        page(3, fetch_time=WHEN, kind="robots"),
    ]
    commit(open_store(root), tmp_path / "spool", *records)
    with Corpus(root) as opened:
        yield opened


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "x.jsonl.gz", "x.JSONL"])
def test_json_lines(corpus: Corpus, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert export(corpus, path) == 2
    data = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    rows = sorted((json.loads(line) for line in data.splitlines()), key=lambda row: row["url"])
    assert list(rows[0]) == SCHEMA.names
    assert rows[0]["title"] == 'commas, "quotes"\nand lines'
    assert rows[0]["fetch_time"] == "2026-11-18T11:06:40.250000Z"
    assert rows[0]["fetch_date"] == "2026-11-18"
    assert base64.b64decode(rows[0]["minhash"]) == bytes(range(16))
    assert rows[1]["minhash"] is None


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_csv(corpus: Corpus, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert export(corpus, path) == 2
    data = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    rows = sorted(csv.DictReader(io.StringIO(data.decode())), key=lambda row: row["url"])
    assert list(rows[0]) == SCHEMA.names
    assert rows[0]["title"] == 'commas, "quotes"\nand lines'
    assert rows[0]["text"] == "ünïcode"
    assert rows[0]["fetch_time"] == "2026-11-18T11:06:40.250000Z"
    assert base64.b64decode(rows[0]["minhash"]) == bytes(range(16))
    assert rows[1]["title"] == ""


def test_parquet(corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    assert export(corpus, path) == 2
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    assert set(table["fetch_time"].to_pylist()) == {datetime.fromtimestamp(WHEN, UTC)}


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
def test_chosen_columns_and_kinds(corpus: Corpus, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert export(corpus, path, columns=["url", "kind"], kind=None) == 3
    assert b"page_id" not in path.read_bytes()


def test_writing_to_an_open_stream(corpus: Corpus) -> None:
    out = io.BytesIO()
    assert write(corpus.pages(["url"]), out, "csv", ["url"]) == 2
    assert out.getvalue().startswith(b'"url"\n')
    with pytest.raises(StorageError, match="not an export format"):
        write(corpus.pages(), out, "xml")


@pytest.mark.parametrize("name", ["x", "x.json", "x.gz", "x.parquet.gz", "jsonl"])
def test_suffixes_that_are_refused(name: str) -> None:
    with pytest.raises(StorageError, match=r"cannot tell the export format .* \.parquet"):
        format_of(Path(name))


def test_the_old_file_stays_until_the_new_one_is_whole(corpus: Corpus, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    path = target / "x.jsonl"
    path.write_text("old")
    with pytest.raises(StorageError, match="there is no column 'no_such_column'"):
        export(corpus, path, columns=["no_such_column"])
    assert [(p.name, p.read_text()) for p in target.iterdir()] == [("x.jsonl", "old")]


def test_where_it_cannot_be_written(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*: No such file or directory"):
        export(corpus, tmp_path / "missing" / "x.csv")
