"""Where things lie below the root, and how segments are named.

    <workspace>/<job>/warc/YYYY/MM/DD/<segment>.warc.gz    raw exchanges
    <workspace>/<job>/pages/                               Delta table, data files staged inside it
    <workspace>/<job>/staged/<segment>.json                manifests of staged, unsettled segments
    <workspace>/<job>/recent/<segment>.links.zst           their outlinks, and for an hour longer
    <workspace>/<job>/recent/<segment>.json                manifests settled within an hour

Invariant kept: no name given by a user can leave its workspace and job.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from storage.blob import StorageError

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SEGMENT: Final = re.compile(r"(\d{14})-[A-Za-z0-9._-]+-[0-9a-f]{8}")
_STAMP: Final = "%Y%m%d%H%M%S"


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of one job; all are relative to the store's root."""

    workspace: str  # tenant
    job: str  # job id

    def __post_init__(self) -> None:
        for what, name in (("workspace", self.workspace), ("job", self.job)):
            if not _NAME.fullmatch(name):
                raise StorageError(
                    f"not a {what} name: {name!r} (letters, digits, '.', '_' and '-', up to 128)"
                )

    @property
    def prefix(self) -> str:
        return f"{self.workspace}/{self.job}"

    @property
    def table(self) -> str:
        return f"{self.prefix}/pages"

    @property
    def staged(self) -> str:
        return f"{self.prefix}/staged"

    def warc_key(self, segment: str) -> str:
        """Also the rows' ``warc_filename``: it resolves below what ``--out`` got."""
        day = segment_time(segment).strftime("%Y/%m/%d")
        return f"{self.prefix}/warc/{day}/{segment}.warc.gz"

    def data_key(self, path: str) -> str:
        """Of a data file that the Delta log knows as ``path``."""
        return f"{self.table}/{path}"

    def manifest_key(self, segment: str) -> str:
        return f"{self.staged}/{segment}.json"

    @property
    def recent(self) -> str:
        return f"{self.prefix}/recent"

    def settled_key(self, segment: str) -> str:
        """Of a manifest whose URLs are settled."""
        return f"{self.recent}/{segment}.json"

    def links_key(self, segment: str) -> str:
        return f"{self.recent}/{segment}.links.zst"


def new_segment_id(worker: str, now: float) -> str:
    """``YYYYMMDDhhmmss-<worker>-<8 hex>``: sorts by opening time (UTC), unique per call."""
    stamp = datetime.fromtimestamp(now, UTC).strftime(_STAMP)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", worker)[:64] or "_"
    return f"{stamp}-{name}-{secrets.token_hex(4)}"


def segment_time(segment: str) -> datetime:
    """When the segment was opened (UTC, whole seconds); StorageError for what is no segment id."""
    match = _SEGMENT.fullmatch(segment)
    try:
        if match is not None:
            return datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        pass  # 14 digits that are no time: the same answer
    raise StorageError(f"not a segment id: {segment!r}")


def is_segments(path: str) -> bool:
    """Whether a table's data file came with a segment; others were made of such files later."""
    return _SEGMENT.fullmatch(path.rpartition("/")[2].removesuffix(".parquet")) is not None
