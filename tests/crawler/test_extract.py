"""crawler.extract: links, title, text, language and limits."""

from __future__ import annotations

import random
import time

import pytest

from crawler.extract import MAX_LINKS, Extracted, Link, extract

URL = "http://a.example/dir/page.html"
PARAGRAPH = (
    "The committee met on Tuesday to discuss the proposal, and after a long debate it agreed to"
    " publish the report in full before the end of the month. "
)


def page(html: str | bytes, content_type: str | None = "text/html; charset=utf-8") -> Extracted:
    payload = html.encode() if isinstance(html, str) else html
    return extract(payload, url=URL, content_type=content_type)


def urls(html: str) -> list[str]:
    return [link.url for link in page(html).links]


def test_links_of_every_kind() -> None:
    found = page(
        '<head><link rel="next" href="2.html"><link rel="stylesheet" href="s.css"></head>'
        '<a href="x.html" rel="NoFollow  external">x</a><map><area href="/y"></map>'
        '<iframe src="//b.example/z"></iframe><a name="only">n</a><a href>e</a>'
    )
    assert found.links == (
        Link("2.html", "next", "link"),
        Link("x.html", "nofollow external", "a"),
        Link("/y", "", "area"),
        Link("//b.example/z", "", "frame"),
    )
    assert [link.nofollow for link in found.links] == [False, True, False, False]
    assert found.base == URL


def test_frames() -> None:
    assert urls('<frameset><frame src="menu.html"><frame src="main.html"></frameset>') == [
        "menu.html",
        "main.html",
    ]


@pytest.mark.parametrize(
    "href",
    ["mailto:a@b", "javascript:void(0)", "JavaScript:x", "data:,x", "tel:1", "ftp://a/",
     "#top", " #t", " \n javascript:x", "java\nscript:x", "about:blank", "blob:http://a/1", ""],
)  # fmt: skip
def test_links_that_cannot_be_fetched(href: str) -> None:
    assert urls(f'<a href="{href}">x</a>') == []


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("  x.html\n", "x.html"),
        ("a\tb\r\nc", "abc"),
        ("HTTP://B.example/", "HTTP://B.example/"),
        ("x?a=1&amp;b=2#frag", "x?a=1&b=2"),
        ("path:with/colon".replace(":", "%3A"), "path%3Awith/colon"),
        ("./a:b", "./a:b"),
        ("?q=x:y", "?q=x:y"),
        ("über", "über"),
    ],
)
def test_links_are_trimmed_not_changed(href: str, url: str) -> None:
    assert urls(f'<a href="{href}">x</a>') == [url]


def test_links_are_told_once_and_followed_if_any_is() -> None:
    found = page('<a href="x#1" rel=nofollow></a><a href="x#2"></a><a href="x" rel=nofollow></a>')
    assert found.links == (Link("x", "", "a"),)


@pytest.mark.parametrize(
    ("tag", "base"),
    [
        ('<base href="/other/">', "http://a.example/other/"),
        ('<base href="http://b.example/x/y">', "http://b.example/x/y"),
        ('<base target="_blank">', URL),
        ('<base href="javascript:x">', URL),
        ('<base href="http://[bad/">', URL),
        ('<base href="/1/"><base href="/2/">', "http://a.example/1/"),
    ],
)
def test_base(tag: str, base: str) -> None:
    assert page(f"<head>{tag}</head><a href=x>x</a>").base == base


def test_title_canonical_refresh() -> None:
    found = page(
        "<title> A \n title &amp; more </title><title>no</title><svg><title>no</title></svg>"
        '<base href="/b/"><link rel="canonical" href="c#x"><link rel=canonical href=/no>'
        "<meta http-equiv=Refresh content=\"3; URL='next.html'\">"
    )
    assert (found.title, found.canonical) == ("A title & more", "http://a.example/b/c")
    assert (found.refresh, found.refresh_after) == ("http://a.example/b/next.html", 3)


def test_a_refresh_to_what_cannot_be_fetched_is_none() -> None:
    assert page("<meta http-equiv=refresh content='0;url=javascript:x'>").refresh == ""
    assert page("<link rel=canonical href=data:x>").canonical == ""


def test_headers_go_before_the_page() -> None:
    html = (
        b"<link rel=canonical href=/page><meta http-equiv=refresh content=0;/page><base href=/b/>"
    )
    headers = [("Link", '<header>; rel="canonical"'), ("Refresh", "7; url=header")]
    found = extract(
        html, url="http://a.example/d/x", headers=[*headers, ("Content-Type", "text/html")]
    )
    assert found.canonical == found.refresh == "http://a.example/d/header"
    assert found.refresh_after == 7
    found = extract(b"%PDF-1.7", url="http://a.example/d/x", headers=headers)
    assert found.canonical == "http://a.example/d/header"


def test_a_canonical_that_is_no_url_is_recorded_as_written() -> None:
    assert page("<link rel=canonical href='http://[x/'>").canonical == "http://[x/"


def test_main_text_and_language() -> None:
    menu = "".join(f'<li><a href="/{i}">Menu {i}</a></li>' for i in range(20))
    body = "".join(f"<p>{PARAGRAPH * 3}</p>" for _ in range(5))
    found = page(f"<nav><ul>{menu}</ul></nav><main><article>{body}</article></main>")
    assert found.text is not None
    assert "committee" in found.text
    assert "Menu" not in found.text
    assert found.lang == "en"
    german = (
        "Der Ausschuss trat am Dienstag zusammen, um über den Vorschlag zu beraten, und nach einer"
        " langen Debatte beschloss er, den Bericht vor dem Ende des Monats zu veröffentlichen."
    )
    assert page(f"<html lang=en><p>{german}").lang == "de"


def test_between_close_languages_the_pages_word_decides() -> None:
    text = "Der Ausschuss trat am Dienstag zusammen, um über den Vorschlag zu beraten. " * 5
    assert page(f"<p>{text}").lang == "lb"  # by a hair
    assert page(f"<html lang=de-AT><p>{text}").lang == "de"


def test_language_of_little_text_is_the_pages_word() -> None:
    assert page('<html lang="pt-BR"><p>Olá</p>').lang == "pt"
    assert page('<html lang=""><p>Olá</p>').lang == ""


def test_a_page_without_main_content_has_its_plain_text() -> None:
    assert (page("<div><nav>only this</nav></div>").text or "").strip() == "only this"


def test_headers_give_type_and_signals() -> None:
    found = extract(
        b"<title>x</title>",
        url=URL,
        headers=[("content-type", "Text/HTML; charset=ascii"), ("X-Robots-Tag", "noindex")],
    )
    assert (found.mime_type, found.title) == ("text/html", "x")
    assert [signal.name for signal in found.signals] == ["noindex"]


def test_plain_text() -> None:
    found = page("just <b>text</b> " * 20, "text/plain")
    assert (found.mime_detected, found.links) == ("text/plain", ())
    assert (found.text or "").startswith("just <b>")


@pytest.mark.parametrize(
    ("payload", "declared", "detected"),
    [
        (b"%PDF-1.7 ...", "text/html", "application/pdf"),
        (b'{"a": 1}', "application/json", "application/json"),
        (b'<?xml version="1.0"?><x/>', "application/xml", "application/xml"),
        (b"\x89PNG\r\n\x1a\n", "image/png", "image/png"),
    ],
)
def test_other_types_have_no_text(payload: bytes, declared: str, detected: str) -> None:
    found = page(payload, declared)
    assert (found.mime_type, found.mime_detected) == (declared, detected)
    assert (found.text, found.links, found.charset) == (None, (), "")


def test_xhtml() -> None:
    found = page(
        '<?xml version="1.0" encoding="iso-8859-1"?><html xmlns="http://www.w3.org/1999/xhtml">'
        '<head><title>é</title></head><body><a href="x"/></body></html>',
        "application/xhtml+xml; charset=utf-8",
    )
    assert (found.mime_detected, found.title, len(found.links)) == ("application/xhtml+xml", "é", 1)


def test_nothing_at_all() -> None:
    found = page(b"", None)
    assert found == Extracted(base=URL)


def test_bounds_are_told() -> None:
    many = "".join(f'<a href="/{i}">x</a>' for i in range(MAX_LINKS + 10))
    found = page(many)
    assert (len(found.links), found.limits) == (MAX_LINKS, ("links-cut",))
    assert page("<div>" * 100_000 + "<a href=x>").limits == ("nesting-cut",)


HOSTILE = {
    "deep": b"<div>" * 1_000_000,
    "lists": b"<ul><li>" * 200_000,
    "fonts": b"".join(b"<p><font color=%d>x" % i for i in range(50_000)),
    "attributes": b"<a " + b" ".join(b"a%d=1" % i for i in range(300_000)) + b">",
    "big": b"<p>word word word</p>" * 2_500_000,
    "nul": b"\0" * 5_000_000,
    "open": b"<" * 5_000_000,
    "tag": b"<a href='" * 500_000,
    "comment": b"<!--" * 1_000_000,
    "entities": b"&" * 5_000_000,
    "broken-utf8": b"\xed\xa0\x80\xff\xfe<p>" * 200_000,
    "surrogates": b"<p>&#xD800;&#x110000;&#0;" * 100_000,
    "refresh": b"<meta http-equiv=refresh content='" + b" " * 1_000_000 + b"'>",
    "charset": b"<meta charset=" + b"x" * 5_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_bounded(name: str) -> None:
    started = time.process_time()
    found = page(HOSTILE[name], "text/html")
    assert time.process_time() - started < 15  # some seconds on a slow machine, not minutes
    (found.text or "").encode()  # storable: no lone surrogates


def test_random_bytes_never_raise() -> None:
    rng = random.Random(1)
    markup = [
        b"<",
        b">",
        b"</",
        b"<a href=",
        b'"',
        b"'",
        b"<!--",
        b"-->",
        b"<script>",
        b"<base href=",
    ]
    for _ in range(300):
        payload = b"".join(
            rng.choice(markup) if rng.random() < 0.5 else rng.randbytes(rng.randint(0, 12))
            for _ in range(60)
        )
        for content_type in (None, "text/html", "text/plain", "x", "text/html; charset=bogus"):
            found = page(payload, content_type)
            (found.text or "").encode()
            found.title.encode()
            "".join(link.url for link in found.links).encode()
