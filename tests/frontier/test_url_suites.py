"""frontier.url against the published suites: web-platform-tests' URL data, the surt library's keys.

Each difference stands in a table here or in ``surt_cases``, with the reason.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frontier.url import InvalidUrl, parse, serialised
from tests.frontier.surt_cases import SURT, SURT_DEVIATIONS

WPT = Path(__file__).with_name("urltestdata.jsonl")
ABOUT, *CASES = map(json.loads, WPT.read_text("ascii").splitlines())

# Hosts that the data has as failures. Since June 2026 the standard takes ASCII labels as they are
# (whatwg/url#914, wpt#60476), and so does ada.
KEPT = {
    *("http://a.b.c.xn--pokxncvks", "http://a.b.c.XN--pokxncvks", "http://a.b.c.Xn--pokxncvks"),
    *("http://10.0.0.xn--pokxncvks", "http://10.0.0.XN--pokxncvks", "http://10.0.0.xN--pokxncvks"),
    "https://xn--/",
}
# href -> canonical form, where percent triplets have another spelling there (RFC 3986 6.2.2).
RESPELLED = {
    "http://example.org/a%2fc": "http://example.org/a%2Fc",
    "http://example.org/a/%2f/c": "http://example.org/a/%2F/c",
    "http://example.com/foo/%2e%2": "http://example.com/foo/%2E%2",
    "http://example.com/%2e.bar": "http://example.com/..bar",
    "http://example.com/foo%41%7a": "http://example.com/fooAz",
    "http://example.com/foo%00%51": "http://example.com/foo%00Q",
    "http://example.com/%3A%3a%3C%3c": "http://example.com/%3A%3A%3C%3C",
    "http://www/foo%2Ehtml": "http://www/foo.html",
}


def bare(href: str) -> str:
    """Without fragment and userinfo."""
    scheme, _, rest = href.partition("#")[0].partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


@pytest.mark.parametrize(
    ("text", "base", "href"), CASES, ids=[f"{n}: {ascii(c[0])[:40]}" for n, c in enumerate(CASES)]
)
def test_web_platform_tests(text: str, base: str | None, href: str | None) -> None:
    if href is None and text not in KEPT:
        with pytest.raises(InvalidUrl):
            parse(text, base)
        with pytest.raises(InvalidUrl):
            serialised(text, base)
        return
    expected = bare(href or f"{text.lower().removesuffix('/')}/")
    assert serialised(text, base) == expected
    assert parse(text, base).url == RESPELLED.get(expected, expected)


def test_the_data_is_whole_and_names_its_source() -> None:
    assert "BSD-3-Clause" in ABOUT["licence"]
    assert len(CASES) == 820
    assert sum(href is not None for _, _, href in CASES) > 200
    assert {text for text, _, href in CASES if href is None} >= KEPT
    assert {bare(href) for _, _, href in CASES if href} >= RESPELLED.keys()


@pytest.mark.parametrize(("text", "key"), SURT)
def test_surt_is_that_of_the_surt_library(text: str, key: str) -> None:
    assert parse(text).surt == key


@pytest.mark.parametrize(("text", "ours", "theirs", "why"), SURT_DEVIATIONS)
def test_surt_deviations(text: str, ours: str | None, theirs: str, why: str) -> None:
    assert why
    assert ours != theirs
    if ours is None:
        with pytest.raises(InvalidUrl):
            parse(text)
    else:
        assert parse(text).surt == ours
