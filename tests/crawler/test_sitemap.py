"""crawler.sitemap: every dialect, and what is saved of broken ones."""

from __future__ import annotations

import gzip
import time

import pytest

from crawler.sitemap import MAX_ENTRIES, Entry, parse_sitemap

NS = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def urlset(count: int) -> bytes:
    body = "".join(f"<url><loc>http://a.example/{i}</loc></url>" for i in range(count))
    return f'<?xml version="1.0" encoding="UTF-8"?><urlset {NS}>{body}</urlset>'.encode()


def test_urlset() -> None:
    found = parse_sitemap(
        f"""<?xml version="1.0"?><urlset {NS} xmlns:n="http://www.google.com/schemas/sitemap-news">
        <url><loc> http://a.example/?a=1&amp;b=2 </loc><lastmod>2024-01-02T03:04:05Z</lastmod>
        <priority>0.8</priority><n:news><n:title>T</n:title></n:news></url>
        <url><loc>ftp://a.example/</loc></url><url><loc>/relative</loc></url>
        <url><loc>https://a.example/2</loc><priority>7</priority><lastmod>soon</lastmod></url>
        </urlset>""".encode()
    )
    assert found.problem == ""
    assert list(found) == [
        Entry("http://a.example/?a=1&b=2", 1704164645.0, 0.8),
        Entry("https://a.example/2"),
    ]


def test_index_entries_say_so() -> None:
    found = parse_sitemap(
        b"<sitemapindex><sitemap><loc>http://a.example/1.xml.gz</loc><lastmod>2024-05</lastmod>"
        b"</sitemap></sitemapindex>"
    )
    assert list(found) == [Entry("http://a.example/1.xml.gz", 1714521600.0, is_index=True)]


def test_rss_and_atom() -> None:
    rss = parse_sitemap(
        b"<rss><channel><link>http://a.example/</link><item><link>http://a.example/1</link>"
        b"<pubDate>Mon, 02 Jan 2006 15:04:05 GMT</pubDate></item></channel></rss>"
    )
    assert list(rss) == [Entry("http://a.example/1", 1136214245.0)]
    atom = parse_sitemap(
        b'<feed xmlns="http://www.w3.org/2005/Atom"><entry><link rel="self" href="http://b/s"/>'
        b'<link href="http://a.example/2"/><updated>2024-05-01</updated></entry></feed>'
    )
    assert list(atom) == [Entry("http://a.example/2", 1714521600.0)]


def test_text_list() -> None:
    found = parse_sitemap("\ufeffhttp://a.example/ü\r\n# no\nHTTPS://b.example/2 \n".encode())
    assert [entry.loc for entry in found] == ["http://a.example/ü", "HTTPS://b.example/2"]


def test_gzip() -> None:
    assert len(parse_sitemap(gzip.compress(urlset(10))).entries) == 10


def test_utf16() -> None:
    text = (
        '<?xml version="1.0" encoding="utf-16"?><urlset><url><loc>http://a/é</loc></url></urlset>'
    )
    found = parse_sitemap(text.encode("utf-16"))
    assert (found.problem, list(found)) == ("", [Entry("http://a/é")])


def test_bare_ampersands_are_taken_as_written() -> None:
    found = parse_sitemap(
        b"<urlset><url><loc>http://a/?a=1&b=2</loc></url>"
        b"<url><loc><![CDATA[http://a/?q=1&r=2]]></loc></url></urlset>"
    )
    assert [entry.loc for entry in found] == ["http://a/?a=1&b=2", "http://a/?q=1&r=2"]


def test_entities_are_not_expanded() -> None:
    bomb = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    found = parse_sitemap(
        f'<!DOCTYPE u [<!ENTITY e0 "x">{bomb}<!ENTITY f SYSTEM "file:///etc/passwd">]><urlset>'
        "<url><loc>http://a/&e11;</loc></url><url><loc>http://a/&f;</loc></url></urlset>".encode()
    )
    assert [entry.loc for entry in found] == ["http://a/&e11;", "http://a/&f;"]


@pytest.mark.parametrize("cut", [200, 1_000, 3_000])
def test_broken_ones_are_salvaged(cut: int) -> None:
    found = parse_sitemap(urlset(100)[:cut])
    assert found.problem == "broken"
    assert 0 < len(found.entries) < 100


def test_an_address_that_the_end_cuts_is_left_out() -> None:
    whole = urlset(30)
    listed = [f"http://a.example/{i}" for i in range(30)]
    for cut in range(200, len(whole)):
        found = [entry.loc for entry in parse_sitemap(whole[:cut])]
        assert found == listed[: len(found)]
        assert len(found) >= whole[:cut].count(b"</url>") - 1
    rss = b"<rss><item><link>http://a.example/1</link></item><item><link>http://a.example/2?a&amp;b"
    assert [entry.loc for entry in parse_sitemap(rss)] == ["http://a.example/1"]
    complete = b"<urlset><url><loc>http://a.example/1</loc><lastmod>2024"
    assert [entry.loc for entry in parse_sitemap(complete)] == ["http://a.example/1"]


def test_the_last_line_of_a_list_that_was_cut_is_left_out() -> None:
    for ending in ("\n", "\r\n"):
        text = ending.join(["http://a.example/1", "http://a.example/2", "http://a.example/3"])
        found = parse_sitemap(text.encode(), cut=True)
        assert [entry.loc for entry in found] == ["http://a.example/1", "http://a.example/2"]
        assert found.problem == "broken"
        assert len(parse_sitemap((text + ending).encode(), cut=True).entries) == 3
        assert len(parse_sitemap(text.encode()).entries) == 3


def test_entries_that_are_no_addresses_are_counted() -> None:
    found = parse_sitemap(
        b"<urlset><url><loc>http://a.example/1</loc></url><url><loc>/2</loc></url><url/>"
        b"<url><loc>ftp://a.example/3</loc></url><url><loc>http://a.example/"
        + b"x" * 3_000
        + b"</loc></url></urlset>"
    )
    assert (len(found.entries), found.invalid, found.problem) == (1, 4, "")
    assert parse_sitemap(b"http://a.example/1\nnone\n\n").invalid == 1


def test_an_error_in_the_middle_costs_one_entry() -> None:
    data = urlset(10).replace(b"/4</loc>", b"/<4</loc>")
    assert {entry.loc for entry in parse_sitemap(data)} >= {
        f"http://a.example/{i}" for i in range(10) if i != 4
    }


def test_cut_gzip_is_salvaged() -> None:
    found = parse_sitemap(gzip.compress(urlset(20_000))[:20_000])
    assert found.problem == "broken"
    assert len(found.entries) > 1_000


def test_bounds() -> None:
    assert parse_sitemap(urlset(MAX_ENTRIES + 5)).problem == "too-many"
    assert len(parse_sitemap(urlset(MAX_ENTRIES + 5)).entries) == MAX_ENTRIES
    assert parse_sitemap(gzip.compress(b" " * 60_000_000, 1)).problem == "too-large"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0\1\2",
        b"\x1f\x8bxx",
        b"<html><body>404</body></html>",
        b"<",
        b"&",
        b"<!DOCTYPE html>x",
    ],
)
def test_what_is_no_sitemap_yields_nothing(payload: bytes) -> None:
    found = parse_sitemap(payload)
    assert not found.entries
    assert found.problem


def test_hostile_input_takes_bounded_time() -> None:
    started = time.process_time()
    for payload in (
        b"<urlset><url>" + b"<image/>" * 2_000_000,
        b"<urlset>" * 500_000,
        b"<urlset>" + b"<![CDATA[" * 500_000,
        b"<urlset><url><loc>" + b"&" * 5_000_000,
    ):
        parse_sitemap(payload)
    assert time.process_time() - started < 30
