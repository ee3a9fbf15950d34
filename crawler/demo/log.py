"""The demo server's request log: one JSON object per line, written as responses end.

Invariant: a line is in the file before the last byte of its response is handed to the socket, so
that a crawl which has its last response finds all of its requests in the log; ``end`` is taken
before that last byte, so a gap measured here is never shorter than the one the client left.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO


@dataclass(frozen=True, slots=True)
class Entry:
    """One request."""

    host: str  # Host header: name or address, with port unless 80
    address: str  # loopback address that was connected to
    method: str
    path: str  # request target as sent
    start: float  # unix seconds; the request's head was complete
    end: float  # unix seconds; just before the last byte of the response was written
    status: int
    user_agent: str = ""
    bytes: int = 0  # of the response, head included
    port: int = 0  # that was connected to
    connection: int = 0  # serial number of the connection
    retry_at: float = 0.0  # unix seconds; what Retry-After asked for, 0: nothing
    aborted: bool = False  # the client left before the end

    @property
    def url(self) -> str:
        """The URL that was requested."""
        return f"http://{self.host}{self.path}"


class RequestLog:
    """Appends entries to a file, a line at a time."""

    def __init__(self, path: Path) -> None:
        """Open the file for appending.

        Raises:
            OSError: it cannot be opened.
        """
        self.path = path
        self.count = 0
        self._file: TextIO = path.open("a", encoding="utf-8", buffering=1)

    def write(self, entry: Entry) -> None:
        """Append an entry; other processes see it at once."""
        self._file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
        self.count += 1

    def close(self) -> None:
        """Close the file; writing is over."""
        self._file.close()


def read(path: Path) -> list[Entry]:
    """The entries of a log file, in the order they ended; an incomplete last line is left out."""
    with path.open(encoding="utf-8") as lines:
        return list(entries(lines))


def entries(lines: Iterable[str | dict[str, Any]]) -> Iterator[Entry]:
    """Entries from JSON lines, or from objects already parsed."""
    for line in lines:
        if isinstance(line, dict):
            yield Entry(**line)
        elif line.endswith(("}\n", "}")):
            yield Entry(**json.loads(line))
