"""Stored WARC files and the rows that point into them, checked with warcio.

Nothing of the crawler's own code reads a WARC here: the point is that others can.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from warcio.archiveiterator import ArchiveIterator

from benchmarks.machine import BenchmarkError

COLUMNS: Final = (
    "url",
    "content_digest",
    "warc_filename",
    "warc_record_offset",
    "warc_record_length",
)
_RECORD: Final = re.compile(r"^  offset \d+ .* (\w+)$")
_VERDICT: Final = re.compile(r"^    (.+)$")
# What the checker may say of a record; a revisit has no payload to compute a digest of.
_GOOD: Final = frozenset({"digest pass", "digest present but not checked (revisit)"})


@dataclass(slots=True)
class WarcReport:
    """What was found in the WARC files of a crawl."""

    files: int = 0
    bytes: int = 0  # compressed
    records: Counter[str] = field(default_factory=Counter)  # by type
    bad_files: list[str] = field(default_factory=list)  # that `warcio check` refuses
    bad_records: Counter[str] = field(default_factory=Counter)  # its word -> records
    rows: int = 0  # that point at a record
    bad_rows: list[str] = field(default_factory=list)  # whose record is not their own

    def faults(self) -> list[str]:
        """What does not hold, a line each; finding nothing at all is a fault, too."""
        words = [f"warcio check: {n} records: {word}" for word, n in self.bad_records.items()]
        faults = [*self.bad_files, *words, *self.bad_rows]
        if not (self.files and self.rows):
            faults.append(f"{self.files} WARC files, {self.rows} rows that point into them")
        return faults


def check(root: Path, rows: Iterable[Mapping[str, Any]]) -> WarcReport:
    """Check all WARC files below ``root``, and the record of every row (with COLUMNS)."""
    report = WarcReport()
    for path in sorted(root.rglob("*.warc.gz")):
        report.files += 1
        report.bytes += path.stat().st_size
        _check_file(report, path)
    for row in rows:
        report.rows += 1
        report.bad_rows += [f"{row['url']}: {fault}" for fault in row_faults(root, row)]
    return report


def _check_file(report: WarcReport, path: Path) -> None:
    command = [str(_warcio()), "check", "-v", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        report.bad_files.append(f"{path.name}: {(done.stdout + done.stderr)[-300:]}")
    records, bad = read_verdicts(done.stdout)
    report.records += records
    report.bad_records += bad


def _warcio() -> Path:
    command = Path(sys.executable).with_name("warcio")
    if not command.exists():
        raise BenchmarkError(f"no warcio beside {sys.executable}: pip install warcio")
    return command


def read_verdicts(output: str) -> tuple[Counter[str], Counter[str]]:
    """What `warcio check -v` said: records by type, and the verdicts that are not good."""
    records: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    for line in output.splitlines():
        if record := _RECORD.match(line):
            records[record[1]] += 1
        elif (verdict := _VERDICT.match(line)) and verdict[1] not in _GOOD:
            bad[verdict[1]] += 1
    return records, bad


def row_faults(root: Path, row: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the record that a row points at; nothing when it is the row's."""
    with (root / row["warc_filename"]).open("rb") as file:
        file.seek(row["warc_record_offset"])
        member = file.read(row["warc_record_length"])
    if len(member) != row["warc_record_length"]:
        yield "the file ends before its record"
    count = 0
    for record in ArchiveIterator(io.BytesIO(member)):
        count += 1
        kind, digest = record.rec_type, record.rec_headers.get_header("WARC-Payload-Digest")
        if kind not in {"response", "revisit"}:
            yield f"its record is a {kind}"
        if record.rec_headers.get_header("WARC-Target-URI") != row["url"]:
            yield f"its record is of {record.rec_headers.get_header('WARC-Target-URI')}"
        if digest != row["content_digest"]:
            yield f"its record says {digest}, it says {row['content_digest']}"
        payload = record.raw_stream.read()
        if kind == "response" and sha1(payload) != row["content_digest"]:
            yield f"its payload has {sha1(payload)}, it says {row['content_digest']}"
    if count != 1:
        yield f"{count} records where one should be"


def sha1(payload: bytes) -> str:
    """A digest as WARC files customarily have it."""
    digest = hashlib.sha1(payload, usedforsecurity=False).digest()
    return "sha1:" + base64.b32encode(digest).decode()
