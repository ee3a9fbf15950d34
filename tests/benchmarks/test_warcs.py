"""Checking WARC files and rows with warcio."""

from pathlib import Path
from typing import Any

from benchmarks import warcs
from storage import warc

PAYLOAD = b"<p>hello"
URL = "http://h/a"


def write(root: Path, payload: bytes = PAYLOAD, digest: str | None = None) -> dict[str, Any]:
    """A WARC file with one exchange, and the row that points at it."""
    info, info_id = warc.warcinfo("a.warc.gz", {}, 1.0)
    raw = warc.RawExchange(
        url=URL,
        ip="127.0.0.1",
        fetch_time=1.0,
        request_head=b"GET /a HTTP/1.1\r\n\r\n",
        status_line="HTTP/1.1 200 OK",
        headers=(("Content-Type", "text/html"),),
        payload=payload,
        payload_digest=digest or warcs.sha1(payload),
    )
    members, length = warc.exchange(raw, info_id)
    (root / "a.warc.gz").write_bytes(info + members)
    return {
        "url": URL,
        "content_digest": warcs.sha1(PAYLOAD),
        "warc_filename": "a.warc.gz",
        "warc_record_offset": len(info),
        "warc_record_length": length,
    }


def test_a_good_file_has_no_faults(tmp_path: Path) -> None:
    report = warcs.check(tmp_path, [write(tmp_path)])
    assert report.faults() == []
    assert report.records == {"warcinfo": 1, "response": 1, "request": 1}
    assert (report.files, report.rows) == (1, 1)


def test_nothing_stored_is_a_fault(tmp_path: Path) -> None:
    assert warcs.check(tmp_path, []).faults()


def test_a_wrong_digest_is_found_by_both_checks(tmp_path: Path) -> None:
    report = warcs.check(tmp_path, [write(tmp_path, b"other", warcs.sha1(PAYLOAD))])
    assert report.bad_files
    assert any("its payload has" in fault for fault in report.bad_rows)


def test_rows_that_point_elsewhere_are_found(tmp_path: Path) -> None:
    row = write(tmp_path)
    other = {**row, "url": "http://h/b"}
    assert list(warcs.row_faults(tmp_path, other)) == [f"its record is of {URL}"]
    whole = {**row, "warc_record_length": 10_000}
    assert "2 records where one should be" in list(warcs.row_faults(tmp_path, whole))
    info = {**row, "warc_record_offset": 0, "warc_record_length": row["warc_record_offset"]}
    assert "its record is a warcinfo" in list(warcs.row_faults(tmp_path, info))


def test_what_the_checker_says_is_counted() -> None:
    said = """a.warc.gz
  offset 0 WARC-Record-ID <urn:uuid:1> warcinfo
    no digest to check
  offset 9 WARC-Record-ID <urn:uuid:2> revisit
    digest present but not checked (revisit)
  offset 20 WARC-Record-ID <urn:uuid:3> response
    digest pass
"""
    records, bad = warcs.read_verdicts(said)
    assert records == {"warcinfo": 1, "revisit": 1, "response": 1}
    assert bad == {"no digest to check": 1}
