"""What a job does not store is cut off, told with its reason, and not taken for a page."""

from __future__ import annotations

import json
from pathlib import Path

from storage.corpus import Corpus

from .conftest import comity
from .test_crawl import check_records, rows
from .test_recrawl import Page, html, options, serving

PNG = b"\x89PNG\r\n\x1a\n" + bytes(5_000)
NAMES = ("picture", "liar", "shy", "style", "binary", "plain", "secret")
SITE = {
    "/robots.txt": Page(b"User-agent: *\nDisallow: /secret\n", type="image/png"),
    "/": Page(html("start", *(f"/{name}" for name in NAMES))),
    "/picture": Page(PNG, type="image/png", headers={"ETag": '"1"'}),
    "/liar": Page(PNG + html("hidden", "/never"), type="text/html"),
    "/shy": Page(b"<!doctype html>" + html("shown", "/deeper"), type="application/octet-stream"),
    "/style": Page(b"a { color: red }", type="text/css"),
    "/binary": Page(b"\0\1\2\3", type="application/octet-stream"),
    "/plain": Page(b"words", type="text/plain"),
    "/deeper": Page(html("deep")),
    "/map": Page(b"<urlset><url><loc>/deeper</loc></url></urlset>", type="image/png"),
}
REASONS = {
    "/": None,
    "/picture": "content-type",
    "/liar": "content-type",
    "/shy": None,
    "/style": "content-type",
    "/binary": "content-type",
    "/plain": None,
    "/secret": "robots-denied",
    "/deeper": None,
}


def test_what_is_not_stored_is_cut_off_and_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(SITE) as site:
        done = comity(*options(site, out, "--sitemap", f"{site.url}/map"))
    assert done.returncode == 0, done.stderr
    found = {row["url"].removeprefix(site.url): row for row in rows(out)}
    assert {path: row["reason"] for path, row in found.items()} == REASONS
    cut = {path: row for path, row in found.items() if row["reason"] == "content-type"}
    for row in cut.values():
        assert (row["fetch_status"], row["content_truncated"]) == (200, "unspecified")
        assert (row["text"], row["etag"], row["duplicate_of"]) == (None, None, None)
    detected = {path: row["content_mime_detected"] for path, row in found.items()}
    assert (detected["/liar"], detected["/binary"]) == ("image/png", "application/octet-stream")
    assert (detected["/picture"], detected["/shy"]) == (None, "text/html")
    assert found["/picture"]["content_mime_type"] == "image/png"
    check_records(out)
    with Corpus(str(out)) as corpus:
        assert corpus.info().pages == 4
        assert corpus.record(found["/picture"]).payload == b""
        assert b"Content-Type: image/png" in corpus.record(found["/picture"]).http_head
        assert corpus.record(found["/liar"]).payload == PNG[:1445]
    summary = json.loads(done.stdout)
    assert (summary["pages"], summary["dropped"]["content-type"]) == (4, 4)
    assert [row["fetch_status"] for row in rows(out, kind="sitemap")] == [200]


def test_a_job_says_what_it_stores(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(SITE) as site:
        types = ("--content-type", "text/html", "--content-type", "image/*")
        done = comity(*options(site, out, *types))
    assert done.returncode == 0, done.stderr
    reasons = {row["url"].removeprefix(site.url): row["reason"] for row in rows(out)}
    assert reasons == REASONS | {"/picture": None, "/liar": None, "/plain": "content-type"}
    with Corpus(str(out)) as corpus:
        [picture] = [row for row in rows(out) if row["url"].endswith("/picture")]
        assert corpus.record(picture).payload == PNG


def test_what_is_no_media_type_is_refused(tmp_path: Path) -> None:
    done = comity("crawl", "http://127.0.0.1:1/", "--content-type", "html", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "--content-type: " in done.stderr
    assert "not a media type: 'html'" in done.stderr
