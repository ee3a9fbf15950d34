"""WARC 1.1 records as bytes: pure functions, no files.

Records are serialised here rather than by warcio because this is the crawl's hot path; the tests
read everything back with warcio. Invariants kept: one gzip member per record; every record carries
a block digest, responses and revisits a payload digest too; nothing that a site sends (odd bytes,
line breaks in headers) can end a header early or start a record of its own.

Payloads are stored decoded, as Common Crawl does: the headers that described the encoded form are
kept as ``X-Crawler-Content-Encoding``, ``X-Crawler-Transfer-Encoding`` and
``X-Crawler-Content-Length``, and ``Content-Length`` is that of the stored payload.

Source: https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/
"""

from __future__ import annotations

import base64
import hashlib
import uuid
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from isal import isal_zlib

from storage.blob import StorageError

_LEVEL: Final = 1  # ISA-L: 5.3:1 on HTML at 0.05 ms per 40 KB; level 3 costs twice that for 5.6:1
_GZIP: Final = 31  # zlib's wbits for a gzip container
_ENCODED_FORM: Final = frozenset({"content-encoding", "transfer-encoding", "content-length"})
_BREAKS: Final = {13: " ", 10: " ", 0: " "}  # characters that could end a header line
_IDENTICAL: Final = (
    "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"  # WARC 1.1, 6.7.2
)
_NOT_MODIFIED: Final = (
    "http://netpreserve.org/warc/1.1/revisit/server-not-modified"  # WARC 1.1, 6.7.3
)
_CONFORMS_TO: Final = (
    "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/"
)


@dataclass(frozen=True, slots=True)
class RefersTo:
    """The earlier response whose payload a revisit record does not repeat."""

    url: str  # its WARC-Target-URI
    date: float  # its WARC-Date, unix seconds
    not_modified: bool = False  # the server said so (304); else the same payload came again


@dataclass(frozen=True, slots=True)
class RawExchange:
    """One HTTP exchange as it goes into the WARC."""

    url: str  # what was asked for
    ip: str  # address that answered
    fetch_time: float  # unix seconds, start of the exchange; microseconds are kept
    request_head: bytes  # as sent, with its blank line; empty: no request record
    status_line: str  # "HTTP/1.1 200 OK"
    headers: tuple[tuple[str, str], ...]  # raw order and case; surrogateescape for odd bytes
    payload: bytes  # content-decoded body
    payload_digest: str  # "sha1:BASE32" of payload; of a 304: of the payload it stands for
    truncated: str | None = None  # WARC-Truncated: length | time | disconnect | unspecified
    payload_type: str | None = None  # detected media type
    refers_to: RefersTo | None = None  # set: a revisit record without the payload is written


@dataclass(frozen=True, slots=True)
class Record:
    """A WARC record as it was read back."""

    type: str  # response | revisit | ...
    url: str  # WARC-Target-URI
    digest: str  # WARC-Payload-Digest
    headers: tuple[tuple[str, str], ...]  # the WARC headers
    http_head: bytes  # status line and headers, with the blank line
    payload: bytes  # decoded body; empty in a revisit


def digest(data: bytes) -> str:
    """``sha1:BASE32``, the form WARC digests customarily have."""
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def warcinfo(filename: str, fields: Mapping[str, str], now: float) -> tuple[bytes, str]:
    """The gzip member that opens a file, and its record id for ``WARC-Warcinfo-ID``."""
    described = {"format": "WARC File Format 1.1", "conformsTo": _CONFORMS_TO, **fields}
    block = b"".join(_line(name, value) for name, value in described.items())
    record_id = _record_id()
    head = [
        ("WARC-Type", "warcinfo"),
        ("WARC-Record-ID", record_id),
        ("WARC-Date", _date(now)),
        ("WARC-Filename", filename),
        ("Content-Type", "application/warc-fields"),
    ]
    return _member(head, block), record_id


def exchange(raw: RawExchange, warcinfo_id: str) -> tuple[bytes, int]:
    """Gzip members of the response (or revisit), then of its request; and the first one's length.

    A row points at the first member alone.
    """
    response_id = _record_id()
    common = [
        ("WARC-Date", _date(raw.fetch_time)),
        ("WARC-Target-URI", raw.url.replace(" ", "%20")),
        ("WARC-Warcinfo-ID", warcinfo_id),
    ]
    if raw.ip:
        common.append(("WARC-IP-Address", raw.ip))
    head = [("WARC-Record-ID", response_id), *common, *_response_fields(raw)]
    body = b"" if raw.refers_to else raw.payload
    response = _member(head, _http_head(raw) + body)
    if not raw.request_head:
        return response, len(response)
    request = [
        ("WARC-Type", "request"),
        ("WARC-Record-ID", _record_id()),
        *common,
        ("WARC-Concurrent-To", response_id),
        ("Content-Type", "application/http; msgtype=request"),
    ]
    return response + _member(request, raw.request_head), len(response)


def _response_fields(raw: RawExchange) -> Iterable[tuple[str, str]]:
    yield "WARC-Type", "revisit" if raw.refers_to else "response"
    yield "Content-Type", "application/http; msgtype=response"
    yield "WARC-Payload-Digest", raw.payload_digest
    if raw.refers_to:
        yield "WARC-Profile", _NOT_MODIFIED if raw.refers_to.not_modified else _IDENTICAL
        yield "WARC-Refers-To-Target-URI", raw.refers_to.url.replace(" ", "%20")
        yield "WARC-Refers-To-Date", _date(raw.refers_to.date)
    if raw.truncated:
        yield "WARC-Truncated", raw.truncated
    if raw.payload_type:
        yield "WARC-Identified-Payload-Type", raw.payload_type


def _http_head(raw: RawExchange) -> bytes:
    status = _clean(raw.status_line)
    if not status.startswith(b"HTTP/"):  # readers take the first line for a header otherwise
        status = b"HTTP/1.0 " + status
    lines = [status + b"\r\n"]
    for name, value in raw.headers:
        name = name.strip()
        if name.lower() in _ENCODED_FORM:
            name = f"X-Crawler-{name}"
        if name:
            lines.append(_line(name, value))
    lines.append(b"Content-Length: %d\r\n\r\n" % len(raw.payload))
    return b"".join(lines)


def _clean(text: str) -> bytes:
    text = text.translate(_BREAKS).strip()
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return text.encode("utf-8", "replace")


def _line(name: str, value: str) -> bytes:
    return b"%b: %b\r\n" % (_clean(name), _clean(value))


def _member(fields: Iterable[tuple[str, str]], block: bytes) -> bytes:
    head = b"".join(_line(name, value) for name, value in fields)
    record = b"WARC/1.1\r\n%bWARC-Block-Digest: %b\r\nContent-Length: %d\r\n\r\n%b\r\n\r\n" % (
        head,
        digest(block).encode(),
        len(block),
        block,
    )
    compressed: bytes = isal_zlib.compress(record, _LEVEL, _GZIP)
    return compressed


def _record_id() -> str:
    return f"<urn:uuid:{uuid.uuid4()}>"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read(member: bytes) -> Record:
    """The record in one gzip member, byte for byte; StorageError unless it and its digests hold."""
    unpacker = zlib.decompressobj(_GZIP)  # not ISA-L's: this one tells where the member ends
    try:
        record = unpacker.decompress(member)
    except zlib.error as error:
        raise StorageError(f"not a gzip member: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise StorageError("not exactly one gzip member")
    head, _, rest = record.partition(b"\r\n\r\n")
    version, *lines = head.decode("utf-8", "replace").split("\r\n")
    if not version.startswith("WARC/1."):
        raise StorageError("not a WARC record: it has no WARC version line")
    headers = tuple((name, value.strip()) for name, _, value in (x.partition(":") for x in lines))
    fields = dict(headers)
    length = fields.get("Content-Length", "")
    if not length.isdigit() or rest[int(length) :] != b"\r\n\r\n":
        raise StorageError("not an intact WARC record: its length is not what it says")
    block = rest[: int(length)]
    http_head, blank, payload = block.partition(b"\r\n\r\n")
    if not fields.get("Content-Type", "").startswith("application/http"):
        http_head, blank, payload = b"", b"", block
    kind = fields.get("WARC-Type", "")
    _check_digest("block", fields.get("WARC-Block-Digest"), block)
    if kind == "response":
        _check_digest("payload", fields.get("WARC-Payload-Digest"), payload)
    return Record(
        type=kind,
        url=fields.get("WARC-Target-URI", ""),
        digest=fields.get("WARC-Payload-Digest", ""),
        headers=headers,
        http_head=http_head + blank,
        payload=payload,
    )


def _check_digest(what: str, said: str | None, data: bytes) -> None:
    if said is None:
        raise StorageError(f"not an intact WARC record: it has no {what} digest")
    if said.startswith("sha1:") and said != digest(data):
        raise StorageError(f"not an intact WARC record: its {what} digest is not {said}")
