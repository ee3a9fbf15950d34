"""crawler.content: media types and character sets."""

from __future__ import annotations

import pytest

from crawler.content import declared_type, decode, sniff


@pytest.mark.parametrize(
    ("header", "essence"),
    [
        ("Text/HTML; charset=x", "text/html"),
        ("text/html,text/html", "text/html"),
        (None, ""),
        ("", ""),
        ("html", ""),
        ("; charset=utf-8", ""),
    ],
)
def test_declared_type(header: str | None, essence: str) -> None:
    assert declared_type(header) == essence


@pytest.mark.parametrize(
    ("payload", "declared", "found"),
    [
        (b"", "text/html", ""),
        (b"  <!DOCTYPE HTML><p>", "", "text/html"),
        (b"<!-- c --><html>", "application/octet-stream", "text/html"),
        (b"no tag here", "text/html", "text/html"),
        (b"<html>", "text/plain", "text/plain"),
        (b"\xef\xbb\xbf<html>", "", "text/html"),
        (b"<?xml version='1.0'?><rss>", "text/html", "application/rss+xml"),
        (b"<feed xmlns='x'>", "", "application/atom+xml"),
        (b"<?xml version='1.0'?><!-- <b> --><urlset>", "", "application/xml"),
        (b"<?xml version='1.0'?><!DOCTYPE html><html>", "", "application/xhtml+xml"),
        (b'<svg width="1">', "", "image/svg+xml"),
        (b'{"a":1}', "text/html", "text/html"),
        (b'[{"a":1}]', "", "application/json"),
        (b"{ brace", "", "text/plain"),
        (b"a,b\n1,2", "text/csv", "text/csv"),
        (b"words", "application/octet-stream", "text/plain"),
        (b"\0\1\2\3", "text/html", "application/octet-stream"),
        (b"\xff\xfe<\0p\0", "", "text/plain"),
        (b"%PDF-1.4", "text/plain", "application/pdf"),
        (b"\x1f\x8b\x08\0", "", "application/gzip"),
        (b"PK\x03\x04", "", "application/zip"),
        (b"\xff\xd8\xff\xe0", "", "image/jpeg"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "", "image/webp"),
        (b"BMW builds cars", "", "text/plain"),
        (b"\0\0\0\x20ftypisom", "", "video/mp4"),
    ],
)
def test_sniff(payload: bytes, declared: str, found: str) -> None:
    assert sniff(payload, declared) == found


RUSSIAN = "Привет, мир. Это русский текст для проверки кодировки страницы."
JAPANESE = "日本語のテキストです。文字コードを確かめるための文章。"


@pytest.mark.parametrize(
    ("payload", "header", "charset", "text"),
    [
        ("é".encode(), "text/html; charset=utf-8", "utf-8", "é"),
        (b"\xe9", "text/html; charset=ISO-8859-1", "windows-1252", "é"),
        (b"\x80", "text/html; charset='latin1'", "windows-1252", "€"),
        ("\ufeffé".encode(), "text/html; charset=latin1", "utf-8", "é"),
        ("é".encode("utf-16"), "text/html; charset=utf-8", "utf-16-le", "é"),
        (RUSSIAN.encode("cp1251"), "text/html; charset=windows-1251", "windows-1251", RUSSIAN),
        (RUSSIAN.encode("koi8-r"), "text/html;charset=KOI8-R", "koi8-r", RUSSIAN),
        (JAPANESE.encode("cp932"), "text/html; charset=x-sjis", "shift_jis", JAPANESE),
        (JAPANESE.encode("euc-jp"), "text/html; charset=euc-jp", "euc-jp", JAPANESE),
        ("中文".encode("gb18030"), "text/html; charset=gb2312", "gb18030", "中文"),
        ("中文".encode("big5"), "text/html; charset=big5", "big5", "中文"),
        ("한국".encode("cp949"), "text/html; charset=euc-kr", "euc-kr", "한국"),
        ("é".encode(), None, "utf-8", "é"),
        ("é".encode(), "text/html; charset=nonsense", "utf-8", "é"),
        (RUSSIAN.encode("cp1251"), None, "windows-1251", RUSSIAN),
        # declared wrongly: what decodes without an error wins
        (RUSSIAN.encode("cp1251"), "text/html; charset=utf-8", "windows-1251", RUSSIAN),
        ("é".encode(), "text/html; charset=ascii", "windows-1252", "Ã©"),
        # declared rightly, with a flaw
        (RUSSIAN.encode() + b"\xff.", "text/html; charset=utf-8", "utf-8", RUSSIAN + "\ufffd."),
        # a character cut off at the end
        (RUSSIAN.encode()[:-2] + b"\xd1", "text/html; charset=utf-8", "utf-8", RUSSIAN[:-2]),
    ],
)
def test_decode(payload: bytes, header: str | None, charset: str, text: str) -> None:
    found, name = decode(payload, header)
    assert name == charset
    assert found.startswith(text) if text == RUSSIAN[:-2] else found == text


@pytest.mark.parametrize(
    ("head", "charset"),
    [
        (b'<meta charset="windows-1251">', "windows-1251"),
        (b"<META http-equiv=x content='text/html; charset=koi8-r'>", "koi8-r"),
        (b'<?xml version="1.0" encoding="windows-1251"?>', "windows-1251"),
    ],
)
def test_declared_inside(head: bytes, charset: str) -> None:
    found, name = decode(head + RUSSIAN.encode(charset))
    assert name == charset
    assert found.endswith(RUSSIAN)


def test_utf16_in_meta_is_a_mistake() -> None:
    assert decode("<meta charset=utf-16>é".encode())[1] == "utf-8"


@pytest.mark.parametrize("payload", [b"", bytes(range(256)) * 10, b"\xff" * 1_000, b"\xfe\xff\xd8"])
@pytest.mark.parametrize(
    "label", ["utf-8", "x-user-defined", "utf-7", "replacement", "iso-2022-jp", "utf-16", "\0", "é"]
)
def test_never_an_exception(payload: bytes, label: str) -> None:
    text, name = decode(payload, f"text/html; charset={label}")
    text.encode()
    payload.decode(name, "replace")  # a name that Python knows
