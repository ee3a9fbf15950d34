"""The Delta table of pages: its schema, and the one module that knows delta-rs and maps its errors.

One row per visit that ended: with an answer, or with the reason why there was none. Invariants
kept: the schema is described here and nowhere else; a commit carries transaction ids and fails
(CommitConflict) if any of them was committed after the snapshot it is made from was taken.
Statistics leave out every column that holds page content, so that an erased page does not live on
in the log.

Measured (delta-rs 1.6): a commit does not refresh the table object it was made with; conflicting
transaction ids are refused only against a snapshot from before them, and silently accepted on a
later one. So callers look, and commit with the object they looked at.
"""

from __future__ import annotations

import re
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Field,
    Transaction,
    WriterProperties,
)
from deltalake.exceptions import (
    CommitFailedError,
    DeltaError,
    TableNotFoundError,
)
from deltalake.transaction import AddAction

from storage.blob import BlobStore, StorageError, StorageFull, StorageUnavailable, os_error

_EVOLVE_ATTEMPTS: Final = 12  # looks at an older table before its new columns are given up
TRANSACTION_DAYS: Final = 30  # how long the table remembers which segments it has


# Kinds of rows that no queue held: files fetched on the way to others.
ASIDE: Final = frozenset({"robots", "tdmrep"})


class CommitConflict(StorageError):
    """Another commit came between the snapshot and this one: look again."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table."""

    name: str
    type: pa.DataType
    description: str  # goes into the table's own metadata
    required: bool = False  # the caller of append() must give it


_TEXT: Final = pa.string()
_TIME: Final = pa.timestamp("us", "UTC")

# Names up to warc_record_length are those of Common Crawl's index, with its meaning where not said.
COLUMNS: Final[tuple[Column, ...]] = (
    Column("url", _TEXT, "Canonical URL that was asked for", required=True),
    Column("url_surtkey", _TEXT, "SURT form of the URL: sorts by domain, then path"),
    Column("url_host_name", _TEXT, "Host name without port"),
    Column("url_host_registered_domain", _TEXT, "Registered domain, or the address of a literal"),
    Column("fetch_time", _TIME, "Start of the exchange, or when the visit ended", required=True),
    Column("fetch_status", pa.int16(), "HTTP status; null when there was no answer"),
    Column("content_digest", _TEXT, "sha1:BASE32 of the stored payload, as in the WARC record"),
    Column("content_mime_type", _TEXT, "Media type as the server said"),
    Column("content_mime_detected", _TEXT, "Media type as the bytes say"),
    Column("content_charset", _TEXT, "Character set the payload was decoded with"),
    Column("content_languages", _TEXT, "Languages of the text, ISO-639-3, comma-separated"),
    Column(
        "content_truncated",
        _TEXT,
        "Why the payload is cut short, in WARC's words; null: whole",
    ),
    Column(
        "warc_filename",
        _TEXT,
        "WARC file, relative to the corpus root; null without answer, or when it must not be kept",
    ),
    Column("warc_record_offset", pa.int64(), "Offset of the record's gzip member, in bytes"),
    Column("warc_record_length", pa.int64(), "Length of the record's gzip member, in bytes"),
    Column("page_id", _TEXT, "Id of the visit, from job, URL key and visit number", required=True),
    Column("workspace", _TEXT, "Tenant"),
    Column("job", _TEXT, "Job id"),
    Column(
        "kind",
        _TEXT,
        "page, robots, tdmrep or sitemap; revisit: a page as it was (by a 304, or byte for byte)",
        required=True,
    ),
    Column("reason", _TEXT, "Why the visit is no success: drop or failure code; null when it is"),
    Column(
        "visit",
        pa.int64(),
        "1 for the first fetch, +1 per recrawl; from 2**32 on: a request of a Scrapy project that "
        "differs from others to its URL by more than that",
    ),
    Column("depth", pa.int32(), "Links from a seed; redirects do not count"),
    Column("via", _TEXT, "URL it was found on; null for seeds"),
    Column("title", _TEXT, "Title of the page"),
    Column("text", _TEXT, "Main text"),
    Column("lang", _TEXT, "Main language of the text, ISO-639-1"),
    Column("minhash", pa.binary(), "MinHash signature of the text; null when too short"),
    Column("duplicate_of", _TEXT, "page_id of the earlier page that this one repeats"),
    Column("duplicate_kind", _TEXT, "exact (same payload), same-text or near (similar text)"),
    Column("similarity", pa.float32(), "Estimated Jaccard similarity to duplicate_of; 1 for exact"),
    Column("signals", _TEXT, "JSON: what the site says about use of its content, and what holds"),
    Column("robots", _TEXT, "The robots.txt rule that decided"),
    Column("redirect_to", _TEXT, "Target of a redirect, absolute"),
    Column("fetch_ip", _TEXT, "Address that answered"),
    Column("fetch_seconds", pa.float32(), "Duration of the exchange"),
    Column("attempts", pa.int32(), "Contacts made for this visit"),
    Column("worker", _TEXT, "Worker that fetched it"),
    Column("segment", _TEXT, "Segment that brought the row; the commit's transaction id"),
    Column("hops", pa.int32(), "Redirects in a row that led here"),
    Column("etag", _TEXT, "ETag of the content, as sent; asked with at the next visit"),
    Column("last_modified", _TEXT, "Last-Modified of the content, as sent"),
    Column("text_digest", _TEXT, "Hex digest of the text without case and white space; recrawls"),
    Column("revisit_of", _TEXT, "Of a revisit: page_id of the visit that stored the content"),
    Column("revisit_time", _TIME, "Of a revisit: fetch_time of that visit"),
    Column("recrawl_interval", pa.float64(), "Seconds until the next visit, as this one suggests"),
    Column("canonical", _TEXT, "URL that the page names as its own (rel=canonical), absolute"),
    Column("refresh_to", _TEXT, "Where a Refresh (header or meta) sends readers soon, absolute"),
    Column(
        "cluster_id",
        _TEXT,
        "Of pages of one content, as `comity corpus dedupe` found",
    ),
    Column("is_representative", pa.bool_(), "Whether it is the one page of its cluster to keep"),
    Column("fetch_date", pa.date32(), "Day of fetch_time (UTC); the table is partitioned by it"),
)
PARTITION: Final = "fetch_date"  # pruning by day costs one more file only at midnight
STATISTICS: Final = ("url_host_name", "url_host_registered_domain")
# What the segment writer fills in itself.
FILLED: Final = frozenset(
    {"workspace", "job", "worker", "segment", "fetch_date"}
    | {"warc_filename", "warc_record_offset", "warc_record_length"}
)
MARKS: Final = ("cluster_id", "is_representative")  # given to committed rows, by Snapshot.mark()

SCHEMA: Final = pa.schema(
    [pa.field(c.name, c.type, metadata={"comment": c.description}) for c in COLUMNS]
)
FILE_SCHEMA: Final = SCHEMA.remove(SCHEMA.get_field_index(PARTITION))  # of the Parquet files

_NAMES: Final = frozenset(SCHEMA.names)


def schema_of(columns: Sequence[str] | None) -> pa.Schema:
    """The schema of these columns, all for None; StorageError naming one that does not exist."""
    if columns is None:
        return SCHEMA
    for name in columns:
        if name not in _NAMES:
            raise StorageError(
                f"there is no column {name!r} (there are: {', '.join(SCHEMA.names)})"
            )
    return pa.schema([SCHEMA.field(name) for name in columns])


def page_id(job: str, key: str, visit: int) -> str:
    """The id of a visit: 32 hex digits of BLAKE2b over job, identity key of the URL, and visit."""
    return blake2b(f"{job}\0{key}\0{visit}".encode("utf-8", "replace"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class DataFile:
    """A staged Parquet file of rows of one day."""

    path: str  # relative to the table: "fetch_date=2026-11-20/<segment>.parquet"
    day: str  # ISO date, the partition
    rows: int
    size: int  # bytes
    lowest: dict[str, str]  # of the STATISTICS columns, where not all null
    highest: dict[str, str]
    nulls: dict[str, int]

    def add_action(self) -> AddAction:
        stats = {
            "numRecords": self.rows,
            "minValues": self.lowest,
            "maxValues": self.highest,
            "nullCount": self.nulls,
        }
        return AddAction(
            path=self.path,
            size=self.size,
            partition_values={PARTITION: self.day},
            modification_time=time.time_ns() // 1_000_000,
            data_change=True,
            stats=orjson.dumps(stats).decode(),
        )


class Snapshot:
    """The table at one version; it does not move when others, or it, commit."""

    def __init__(self, table: DeltaTable, uri: str) -> None:
        self._table = table
        self._uri = uri

    @property
    def version(self) -> int:
        return int(self._table.version())

    def transaction(self, app_id: str) -> int | None:
        """The version last committed under this id; None if never (or beyond retention)."""
        with _mapped(f"read {self._uri}"):
            version: int | None = self._table.transaction_version(app_id)
        return version

    def commit(self, files: Iterable[DataFile], app_ids: Iterable[str], version: int) -> None:
        """Add the files in one commit, marked with ``version`` under each of ``app_ids``.

        Raises CommitConflict if any id was committed since this snapshot was taken. After any other
        StorageError it is open whether the commit happened: look at a new snapshot.
        """
        now = time.time_ns() // 1_000_000
        marks = [Transaction(app_id, version, now) for app_id in app_ids]
        with _mapped(f"commit to {self._uri}"):
            self._table.create_write_transaction(
                [file.add_action() for file in files],
                "append",
                SCHEMA,
                partition_by=[PARTITION],
                commit_properties=CommitProperties(app_transactions=marks),
            )

    def mark(self, day: str, marks: pa.Table, memory: int) -> None:
        """Give rows of one day the values of their MARKS columns, by ``page_id``, in one commit.

        Only files that hold such a row are written anew; what they held else is copied.
        ``memory`` bounds, in bytes, what is not spilled to disk meanwhile. Raises CommitConflict if
        that day's rows were changed, or joined by others, since this snapshot was taken.
        """
        plain = ColumnProperties(statistics_enabled="NONE")
        kept = dict.fromkeys(STATISTICS, ColumnProperties(statistics_enabled="CHUNK"))
        with _mapped(f"mark pages in {self._uri}"):
            self._table.merge(
                marks,
                f"t.{PARTITION} = date '{date.fromisoformat(day)}' and t.page_id = s.page_id",
                source_alias="s",
                target_alias="t",
                max_spill_size=memory,
                writer_properties=WriterProperties(
                    compression="ZSTD", default_column_properties=plain, column_properties=kept
                ),
            ).when_matched_update({name: f"s.{name}" for name in MARKS}).execute()

    def files(self) -> frozenset[str]:
        """Its data files, as :class:`DataFile` names them."""
        with _mapped(f"read {self._uri}"):
            return frozenset(f.path for f in self._dataset(None).get_fragments())

    def files_since(self, when: float) -> frozenset[str]:
        """Those of its data files that were committed after ``when``, unix seconds, as files()."""
        with _mapped(f"read {self._uri}"):
            added = pa.table(self._table.get_add_actions()).select(["path", "modification_time"])
            times = added["modification_time"].cast(pa.int64()).to_pylist()
            named = zip(added["path"].to_pylist(), times, strict=True)
            return frozenset(str(path) for path, at in named if at and at > when * 1000)

    def batches(
        self,
        columns: Sequence[str] | None,
        where: pads.Expression | None,
        rows: int,
        files: Container[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """All rows as batches of at most ``rows``; only a few batches are in memory at a time.

        With ``files``, only what these hold of it.
        """
        names = schema_of(columns).names
        with _mapped(f"read {self._uri}"):
            # No readahead: its threads crash the interpreter when a reader leaves early and exits.
            yield from self._dataset(files).to_batches(
                columns=names,
                filter=where,
                batch_size=rows,
                batch_readahead=0,
                fragment_readahead=0,
                use_threads=False,
            )

    def _dataset(self, files: Container[str] | None) -> pads.FileSystemDataset:
        found: Any = self._table.to_pyarrow_dataset()
        lacking = [field for field in SCHEMA if field.name not in found.schema.names]
        if lacking:  # a table from before these columns, read by itself
            found = found.replace_schema(pa.schema([*found.schema, *lacking]))
        if files is not None:
            wanted = [f for f in found.get_fragments() if f.path in files]
            found = pads.FileSystemDataset(wanted, found.schema, found.format, found.filesystem)
        whole: pads.FileSystemDataset = found
        return whole


class PagesTable:
    """The table at ``<store root>/<path>``."""

    def __init__(self, store: BlobStore, path: str) -> None:
        self.uri = f"{store.root}/{path}"

    def ensure(self) -> None:
        """Create the table unless it is there, and give one from before them the newer columns.

        Any number of processes may do so at once, also while others commit.
        """
        with _mapped(f"create {self.uri}"):
            if not DeltaTable.is_deltatable(self.uri, storage_options=self._options()):
                try:
                    self._create()
                except DeltaError:
                    # lost the race, or a real failure: the table being there tells which
                    if not DeltaTable.is_deltatable(self.uri, storage_options=self._options()):
                        raise
        for attempt in range(_EVOLVE_ATTEMPTS):
            with _mapped(f"add columns to {self.uri}"):
                table = DeltaTable(self.uri, storage_options=self._options())
                known = {field.name: field.type for field in table.schema().fields}
                lacking = [field for field in SCHEMA if field.name not in known]
                for field in map(Field.from_arrow, SCHEMA):
                    if field.type != known.get(field.name, field.type):
                        raise StorageError(
                            f"the table {self.uri} is of an earlier version: its column "
                            f"{field.name} is of another type; choose another place"
                        )
                if not lacking:
                    return
                try:
                    table.alter.add_columns([Field.from_arrow(field) for field in lacking])
                except DeltaError:  # lost a race, with this or another commit: look again
                    if attempt == _EVOLVE_ATTEMPTS - 1:
                        raise

    def _create(self) -> None:
        DeltaTable.create(
            self.uri,
            SCHEMA,
            mode="error",
            partition_by=[PARTITION],
            name="pages",
            description="One row per visit of a crawl; see the columns' comments",
            configuration={
                "delta.dataSkippingStatsColumns": ",".join(STATISTICS),
                "delta.setTransactionRetentionDuration": f"interval {TRANSACTION_DAYS} days",
            },
            storage_options=self._options(),
        )

    def snapshot(self, version: int | None = None) -> Snapshot:
        """This version, by default the newest; StorageError if there is none."""
        with _mapped(f"open {self.uri}"):
            table = DeltaTable(self.uri, version=version, storage_options=self._options())
            return Snapshot(table, self.uri)

    def _options(self) -> dict[str, str]:
        if not self.uri.startswith("s3://"):
            return {}
        from storage.s3 import storage_options  # boto3: only where there is S3

        return storage_options(self.uri)


def day_of(row: Mapping[str, Any]) -> str:
    """The partition of an unpacked row, as the log spells it."""
    day: date = row[PARTITION]
    return day.isoformat()


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    try:
        yield
    except CommitFailedError as error:
        raise CommitConflict(f"cannot {what}: {_one_line(error)}") from error
    except TableNotFoundError as error:
        raise StorageError(f"cannot {what}: there is no table") from error
    except OSError as error:
        if error.errno is not None:
            raise os_error(error, what) from error
        line = _one_line(error)
        if "os error 28" in line or "No space left" in line:
            raise StorageFull(f"cannot {what}: No space left on device") from error
        if "403 Forbidden" in line or "privileges" in line:
            raise StorageError(f"cannot {what}: the S3 credentials are refused") from error
        raise StorageUnavailable(f"cannot {what}: {line}") from error
    except (DeltaError, pa.ArrowException) as error:
        raise StorageError(f"cannot {what}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    """delta-rs reports a coloured tree of causes; the first 300 characters of it on one line."""
    plain = re.sub(r"\x1b\[[0-9;]*m|↳", "", str(error))
    return " ".join(plain.split())[:300]
