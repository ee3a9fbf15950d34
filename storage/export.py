"""A plain export: the rows of a corpus as one file that any tool reads.

JSON lines and CSV carry every column under its own name: times as ISO 8601 with Z, bytes as
Base64, nulls as null or an empty field. Invariant kept: the target file is the old one or the whole
new one.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from storage.blob import StorageError, mapped
from storage.corpus import Corpus
from storage.table import schema_of

_FORMATS: Final = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}


def format_of(path: Path) -> str:
    """jsonl, csv or parquet, by the file's suffix (".gz" may follow); StorageError if neither."""
    name = path.name.lower()
    stem = name.removesuffix(".gz")
    found = _FORMATS.get(Path(stem).suffix)
    if found is None or (found == "parquet" and stem != name):
        raise StorageError(
            f"cannot tell the export format of {path.name}: end it in .jsonl, .jsonl.gz, .csv, "
            ".csv.gz or .parquet"
        )
    return found


def export(
    corpus: Corpus,
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    kind: str | None = "page",
    where: pc.Expression | None = None,
) -> int:
    """Write the corpus's rows to ``path``, which is replaced when all is written; rows written.

    The format follows the suffix; ``columns``, ``kind`` and ``where`` as in Corpus.pages.
    """
    form = format_of(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    batches = corpus.pages(columns, kind=kind, where=where)
    with mapped(f"write {path}"):
        try:
            with _opened(temporary, compressed=path.name.lower().endswith(".gz")) as out:
                rows = write(batches, out, form, columns)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return rows


def write(
    batches: Iterable[pa.RecordBatch],
    out: IO[bytes],
    form: str,
    columns: Sequence[str] | None = None,
) -> int:
    """Write batches (of these columns) to an open binary file as jsonl, csv or parquet.

    Returns the number of rows.
    """
    schema = schema_of(columns)
    if form == "jsonl":
        return _write_jsonl(batches, out)
    if form == "csv":
        return _write_csv(batches, out, schema)
    if form == "parquet":
        return _write_parquet(batches, out, schema)
    raise StorageError(f"not an export format: {form!r}")


def _write_jsonl(batches: Iterable[pa.RecordBatch], out: IO[bytes]) -> int:
    rows = 0
    for batch in batches:
        lines = [
            orjson.dumps(row, _encode, orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)
            for row in batch.to_pylist()
        ]
        out.write(b"".join(lines))
        rows += len(lines)
    return rows


def _encode(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _write_csv(batches: Iterable[pa.RecordBatch], out: IO[bytes], schema: pa.Schema) -> int:
    rows = 0
    plain = pa.schema([pa.field(f.name, _csv_type(f.type)) for f in schema])
    with pa_csv.CSVWriter(out, plain) as writer:
        for batch in batches:
            arrays = [_csv_column(batch.column(f.name)) for f in schema]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=plain))
            rows += batch.num_rows
    return rows


def _csv_type(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_binary(kind) or pa.types.is_timestamp(kind) else kind


def _csv_column(values: pa.Array[Any]) -> pa.Array[Any]:
    if pa.types.is_binary(values.type):
        texts = [None if v is None else base64.b64encode(v).decode() for v in values.to_pylist()]
        return pa.array(texts, pa.string())
    if pa.types.is_timestamp(values.type):
        return pc.strftime(values, "%Y-%m-%dT%H:%M:%SZ")
    return values


def _write_parquet(batches: Iterable[pa.RecordBatch], out: IO[bytes], schema: pa.Schema) -> int:
    rows = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch.select(schema.names))
            rows += batch.num_rows
    return rows


@contextlib.contextmanager
def _opened(path: Path, *, compressed: bool) -> Iterator[IO[bytes]]:
    with path.open("xb") as file:
        if not compressed:
            yield file
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6) as packed:
            yield packed  # type: ignore[misc]
