"""Sample visits and segments for the storage tests."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage import warc
from storage.layout import Layout, new_segment_id
from storage.segment import PageRecord, SealedSegment, SegmentWriter
from storage.table import page_id

LAYOUT = Layout("default", "demo")
INFO = {"software": "comity/test", "http-header-user-agent": "comity/test (+mailto:a@example.org)"}


def exchange(url: str, payload: bytes = b"<p>hello", **changes: Any) -> warc.RawExchange:
    values: dict[str, Any] = {
        "url": url,
        "ip": "127.0.0.7",
        "fetch_time": time.time(),
        "request_head": b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "status_line": "HTTP/1.1 200 OK",
        "headers": (("Content-Type", "text/html"), ("Content-Length", "99")),
        "payload": payload,
        "payload_digest": warc.digest(payload),
    }
    return warc.RawExchange(**values | changes)


def page(number: int, payload: bytes | None = None, **columns: Any) -> PageRecord:
    """A fetched page number ``number``; its fp is the number."""
    url = f"http://h{number % 5}.example/{number}"
    raw = exchange(url, payload if payload is not None else f"<p>page {number}".encode() * 50)
    row = {
        "url": url,
        "url_host_name": f"h{number % 5}.example",
        "url_host_registered_domain": f"h{number % 5}.example",
        "fetch_time": raw.fetch_time,
        "fetch_status": 200,
        "content_digest": raw.payload_digest,
        "page_id": page_id("demo", url, 1),
        "kind": "page",
        "visit": 1,
        "depth": 2,
        "title": f"Page {number}",
        "text": "some text " * 20,
        "lang": "en",
        "minhash": bytes(range(16)),
        "fetch_seconds": 0.25,
    }
    return PageRecord({**row, **columns}, fp=str(number), partition=number % 3, exchange=raw)


def failure(number: int, reason: str = "dns-nxdomain") -> PageRecord:
    """A visit that ended without an answer."""
    url = f"http://gone{number}.example/"
    row = {
        "url": url,
        "fetch_time": time.time(),
        "page_id": page_id("demo", url, 1),
        "kind": "page",
        "reason": reason,
    }
    return PageRecord(row, fp=str(number), partition=number % 3)


def writer(
    directory: Path, layout: Layout = LAYOUT, worker: str = "w1", now: float | None = None
) -> SegmentWriter:
    segment = new_segment_id(worker, time.time() if now is None else now)
    return SegmentWriter(directory, layout, segment, worker, INFO)


def sealed(directory: Path, numbers: range = range(10), **options: Any) -> SealedSegment:
    """A sealed segment of pages with these numbers, all kept."""
    segment = writer(directory, **options)
    for number in numbers:
        segment.append(page(number))
    return segment.seal({str(number) for number in numbers})


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond ``size`` bytes inside the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
