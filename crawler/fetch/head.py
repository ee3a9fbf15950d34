"""The head of an answer: from aiohttp's parser, or saved from what it gave up on. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aiohttp.http import RawResponseMessage

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([2-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_MOST: Final = 200  # header lines that are saved


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers; bytes read as ISO-8859-1."""

    status: int  # HTTP status code
    status_line: str  # "HTTP/1.1 200 OK"
    headers: tuple[tuple[str, str], ...]  # raw order and case

    @property
    def size(self) -> int:
        """Bytes of the header lines."""
        return sum(len(name) + len(value) + 4 for name, value in self.headers)

    def first(self, name: str) -> str:
        """The first value of a header, by its lower-case name; "" for none."""
        return next((value for given, value in self.headers if given.lower() == name), "")

    def all(self, name: str) -> str:
        """The values of a header, by its lower-case name, joined by commas."""
        return ", ".join(value for given, value in self.headers if given.lower() == name)


def parsed(message: RawResponseMessage) -> Head:
    """The head as aiohttp parsed it."""
    major, minor = message.version
    reason = message.reason.encode("utf-8", "surrogateescape").decode("latin-1")
    return Head(
        message.code,
        f"HTTP/{major}.{minor} {message.code} {reason}".rstrip(),
        tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in message.raw_headers),
    )


def saved(raw: bytes) -> Head | None:
    """What a head that was broken off says in its whole lines; None without a final status."""
    found = _STATUS.match(raw)
    while found is None:  # interim answers come before it
        _, end, raw = raw.partition(b"\r\n\r\n")
        if not end:
            return None
        found = _STATUS.match(raw)
    raw, end, _ = raw.partition(b"\r\n\r\n")
    lines = (raw + end)[found.end() :].split(b"\n")[:-1][:_MOST]
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    headers = tuple((name, value.strip()) for name, colon, value in pairs if colon and name)
    return Head(int(found[1]), found[0].decode("latin-1").rstrip(), headers)
