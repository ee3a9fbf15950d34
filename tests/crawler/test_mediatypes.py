"""crawler.mediatypes: what a job wants, by header and by first bytes."""

from __future__ import annotations

import pytest

from crawler.mediatypes import DEFAULT, MediaTypes, effective, media_pattern

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
HTML = b"<!doctype html><title>x</title>"


@pytest.mark.parametrize(
    ("declared", "beginning", "found"),
    [
        ("text/html", HTML, "text/html"),
        ("text/html", PNG, "image/png"),
        ("text/plain", PNG, "image/png"),
        ("text/plain", HTML, "text/plain"),
        ("text/plain", b"\0\1\2", "application/octet-stream"),
        ("text/html", b"", "text/html"),
        ("", b"", ""),
        ("", HTML, "text/html"),
        ("application/octet-stream", HTML, "text/html"),
        ("application/octet-stream", PNG, "image/png"),
        ("application/octet-stream", b"\0\1\2", "application/octet-stream"),
        ("*/*", b"%PDF-1.7", "application/pdf"),
        ("application/json", b"42", "application/json"),
        ("application/json", PNG, "image/png"),
        ("application/rss+xml", b"<rss>", "application/rss+xml"),
        ("application/pdf", b"\n\n%PDF", "application/pdf"),
        ("application/pdf", PNG, "image/png"),
        ("application/epub+zip", b"PK\x03\x04", "application/epub+zip"),
        ("image/svg+xml", b"<svg >", "image/svg+xml"),
    ],
)
def test_what_an_answer_is(declared: str, beginning: bytes, found: str) -> None:
    assert effective(declared, beginning) == found


@pytest.mark.parametrize(
    ("header", "beginning", "why"),
    [
        ("text/html; charset=utf-8", None, None),
        ("application/ld+json", None, None),
        ("APPLICATION/RSS+XML", None, None),
        ("image/png", None, "it is image/png"),
        ("image/svg+xml", None, "it is image/svg+xml"),
        ("text/css", None, "it is text/css"),
        ("", None, None),
        ("html", None, None),
        ("application/octet-stream", None, None),
        ("text/html", PNG, "it is image/png, not text/html"),
        ("application/octet-stream", PNG, "it is image/png, not application/octet-stream"),
        ("application/octet-stream", HTML, None),
        ("", b"PK\x03\x04", "it is application/zip"),
        ("", b"", None),
    ],
)
def test_what_is_refused_by_default(header: str, beginning: bytes | None, why: str | None) -> None:
    assert MediaTypes(DEFAULT).refuses(header, beginning) == why


def test_patterns() -> None:
    types = MediaTypes(["image/*", "application/pdf"])
    assert [
        t for t in ("image/png", "image/", "text/html", "application/pdfx") if types.wants(t)
    ] == [
        "image/png",
        "image/",
    ]
    assert types.refuses("text/html", None) == "it is text/html"
    assert types.refuses("image/png", PNG) is None
    assert types.refuses("image/png", HTML) is None  # a label is believed where it may be true
    everything = MediaTypes(["*/*"])
    assert everything.refuses("x-odd/y", None) is None
    assert everything.refuses("", b"\0") is None


def test_only_media_types_are_patterns() -> None:
    assert media_pattern(" Image/* ") == "image/*"
    for text in ("", "html", "text/html; charset=x", "a/b/c", "text /html"):
        with pytest.raises(ValueError, match="not a media type"):
            media_pattern(text)
