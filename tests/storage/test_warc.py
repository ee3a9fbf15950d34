"""What the serialiser writes, read back by warcio."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from storage import warc
from storage.blob import StorageError
from tests.storage.samples import INFO, exchange

URL = "http://a.example/x?y=1"


def write(*exchanges: warc.RawExchange) -> bytes:
    opening, info_id = warc.warcinfo("x.warc.gz", INFO, 1_795_000_000.25)
    return opening + b"".join(warc.exchange(each, info_id)[0] for each in exchanges)


def read(data: bytes) -> list[tuple[Any, bytes]]:
    """(record, payload) of each record, by warcio, with every digest checked."""
    found = []
    for record in ArchiveIterator(io.BytesIO(data), check_digests="raise"):
        found.append((record, record.content_stream().read()))
        assert record.digest_checker.passed is not False
    return found


def header(record: Any, name: str) -> str | None:
    value: str | None = record.rec_headers.get_header(name)
    return value


def test_an_exchange_is_a_response_and_its_request() -> None:
    payload = b"<html>" * 100
    raw = exchange(URL, payload, fetch_time=1_795_000_001.123456, payload_type="text/html")
    (info, _), (response, body), (request, asked) = read(write(raw))
    assert info.rec_type == "warcinfo"
    assert response.rec_type == "response"
    assert body == payload
    assert header(response, "WARC-Target-URI") == URL
    assert header(response, "WARC-Date") == "2026-11-18T11:06:41.123456Z"
    assert header(response, "WARC-IP-Address") == "127.0.0.7"
    assert header(response, "WARC-Payload-Digest") == warc.digest(payload)
    assert header(response, "WARC-Identified-Payload-Type") == "text/html"
    assert header(response, "WARC-Warcinfo-ID") == header(info, "WARC-Record-ID")
    assert header(request, "WARC-Concurrent-To") == header(response, "WARC-Record-ID")
    assert request.http_headers.get_header("Host") == "a.example"
    assert asked == b""
    for record in (info, response, request):
        assert header(record, "WARC-Block-Digest")


def test_warcinfo_describes_the_writer() -> None:
    ((info, body),) = read(write())
    assert header(info, "WARC-Filename") == "x.warc.gz"
    assert b"format: WARC File Format 1.1\r\n" in body
    assert b"software: comity/test\r\n" in body


def test_headers_of_the_encoded_form_are_renamed() -> None:
    raw = exchange(
        URL,
        b"decoded",
        headers=(
            ("content-encoding", "gzip"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "999"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
        ),
    )
    head = read(write(raw))[1][0].http_headers
    assert head.headers == [
        ("X-Crawler-content-encoding", "gzip"),
        ("X-Crawler-Transfer-Encoding", "chunked"),
        ("X-Crawler-Content-Length", "999"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Content-Length", "7"),
    ]


def test_a_revisit_names_what_it_repeats_and_has_no_payload() -> None:
    raw = exchange(URL, b"same", refers_to=warc.RefersTo("http://b.example/", 1_795_000_000.0))
    revisit, body = read(write(raw))[1]
    assert revisit.rec_type == "revisit"
    assert body == b""
    assert header(revisit, "WARC-Profile") == (
        "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
    )
    assert header(revisit, "WARC-Refers-To-Target-URI") == "http://b.example/"
    assert header(revisit, "WARC-Refers-To-Date") == "2026-11-18T11:06:40.000000Z"
    assert header(revisit, "WARC-Payload-Digest") == warc.digest(b"same")
    assert header(revisit, "WARC-Block-Digest")


def test_an_answer_that_nothing_has_changed_is_a_revisit_of_its_own_profile() -> None:
    refers_to = warc.RefersTo(URL, 1_795_000_000.0, not_modified=True)
    raw = exchange(
        URL, b"", status_line="HTTP/1.1 304 Not Modified", refers_to=refers_to,
        payload_digest=warc.digest(b"as it was"),
    )  # fmt: skip
    members, length = warc.exchange(raw, "<urn:uuid:0>")
    assert warc.read(members[:length]).payload == b""
    [_, (revisit, body), *_] = read(write(raw))
    assert (revisit.rec_type, body) == ("revisit", b"")
    assert revisit.http_headers.get_statuscode() == "304"
    assert header(revisit, "WARC-Profile") == (
        "http://netpreserve.org/warc/1.1/revisit/server-not-modified"
    )
    assert header(revisit, "WARC-Refers-To-Target-URI") == URL
    assert header(revisit, "WARC-Refers-To-Date") == "2026-11-18T11:06:40.000000Z"
    assert header(revisit, "WARC-Payload-Digest") == warc.digest(b"as it was")


def test_truncation_is_said() -> None:
    response, _ = read(write(exchange(URL, truncated="time")))[1]
    assert header(response, "WARC-Truncated") == "time"


def test_a_row_can_point_at_the_response_alone() -> None:
    raw = exchange(URL, b"payload")
    members, length = warc.exchange(raw, "<urn:uuid:0>")
    record = warc.read(members[:length])
    assert (record.type, record.url, record.payload) == ("response", URL, b"payload")
    assert record.digest == raw.payload_digest
    assert record.http_head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")
    assert warc.read(members[length:]).type == "request"


def test_a_site_cannot_break_out_of_a_header() -> None:
    evil = "x\r\n\r\nWARC/1.1\r\nWARC-Type: response"
    raw = exchange(
        URL + evil, b"p", status_line=f"HTTP/1.1 200 {evil}", headers=((evil, evil), ("", "x"))
    )
    assert [record.rec_type for record, _ in read(write(raw))] == [
        "warcinfo",
        "response",
        "request",
    ]


header_text = st.text(max_size=30)
odd_bytes = st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(
    payload=st.binary(max_size=2_000),
    status=header_text | odd_bytes,
    headers=st.lists(st.tuples(header_text | odd_bytes, header_text | odd_bytes), max_size=6),
    url=st.text(max_size=40),
)
def test_any_answer_survives_the_round_trip(
    payload: bytes, status: str, headers: list[tuple[str, str]], url: str
) -> None:
    raw = exchange(f"http://a.example/{url}", payload, status_line=status, headers=tuple(headers))
    records = read(write(raw, exchange(URL, b"the next one")))
    assert [record.rec_type for record, _ in records] == [
        "warcinfo",
        "response",
        "request",
        "response",
        "request",
    ]
    assert records[1][1] == payload
    assert records[3][1] == b"the next one"
    members, length = warc.exchange(raw, "<urn:uuid:0>")
    assert warc.read(members[:length]).payload == payload


@pytest.mark.parametrize(
    "damage",
    [
        lambda member: b"",
        lambda member: b"hello",
        lambda member: member[:-20],
        lambda member: member[:30] + b"\0\0" + member[32:],
        lambda member: member + b"more",
    ],
)
def test_damage_is_noticed(damage: Any) -> None:
    members, length = warc.exchange(exchange(URL, bytes(range(256))), "<urn:uuid:0>")
    with pytest.raises(StorageError):
        warc.read(damage(members[:length]))


def test_a_wrong_digest_is_noticed() -> None:
    members, length = warc.exchange(
        exchange(URL, b"x", payload_digest=warc.digest(b"y")), "<urn:uuid:0>"
    )
    with pytest.raises(StorageError, match="payload digest"):
        warc.read(members[:length])


def test_warcio_check_finds_every_digest(tmp_path: Path) -> None:
    path = tmp_path / "x.warc.gz"
    refers_to = warc.RefersTo(URL, 1_795_000_000.0)
    path.write_bytes(
        write(exchange(URL), exchange(URL, b""), exchange(URL, b"x", refers_to=refers_to))
    )
    done = subprocess.run(
        [sys.executable, "-m", "warcio.cli", "check", "-v", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = [line.strip() for line in done.stdout.splitlines() if "digest" in line]
    assert verdicts.count("digest pass") == 6
    assert verdicts.count("digest present but not checked (revisit)") == 1
    assert len(verdicts) == 7
