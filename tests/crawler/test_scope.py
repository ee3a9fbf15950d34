"""crawler.scope: regions around seeds, patterns, reasons."""

from __future__ import annotations

import time

import pytest

from crawler.scope import KINDS, Scope
from frontier.url import InvalidUrl, parse

SEEDS = ("https://www.example.org/docs/intro.html?v=1", "http://127.0.0.5:8080/a/")

# (kind, in scope, out of scope)
REGIONS = [
    (
        "host",
        ("http://www.example.org/x", "https://www.example.org/", "http://127.0.0.5:8080/b"),
        ("https://example.org/docs/", "https://www.example.org:8443/", "http://127.0.0.5/"),
    ),
    (
        "domain",
        ("https://example.org/", "http://a.b.example.org:81/", "http://127.0.0.5/"),
        ("https://example.com/", "https://example.org.evil.net/", "http://127.0.0.6:8080/a/"),
    ),
    (
        "prefix",
        (
            "https://www.example.org/docs/",
            "http://www.example.org/docs/deep/er/page?x=/../",
            "http://127.0.0.5:8080/a/b",
        ),
        (
            "https://www.example.org/docs",
            "https://www.example.org/docsy/x",
            "https://www.example.org/?/docs/",
            "https://www.example.org/docs/../x",
            "http://127.0.0.5:8080/ab",
        ),
    ),
    ("any", ("https://anywhere.example/", "http://[::1]:81/"), ()),
]


@pytest.mark.parametrize(("kind", "inside", "outside"), REGIONS)
def test_regions(kind: str, inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    scope = Scope.from_strings(kind, SEEDS)
    assert [scope.check(parse(url)) for url in (*SEEDS, *inside)] == [None] * (2 + len(inside))
    assert [scope.check(parse(url)) for url in outside] == ["out-of-scope"] * len(outside)


def test_kinds_are_the_four() -> None:
    assert [kind for kind, _, _ in REGIONS] == list(KINDS)
    with pytest.raises(ValueError, match="unknown scope 'site': one of host, domain, prefix, any"):
        Scope.build("site", [])


def test_private_suffixes_are_domains_of_their_own() -> None:
    scope = Scope.from_strings("domain", ["https://someone.github.io/"])
    assert scope.check(parse("https://www.someone.github.io/")) is None
    assert scope.check(parse("https://another.github.io/")) == "out-of-scope"


def test_no_seeds_no_region() -> None:
    for kind in ("host", "domain", "prefix"):
        assert Scope.build(kind, []).check(parse("https://example.org/")) == "out-of-scope"


def test_depth() -> None:
    scope, url = Scope.from_strings("any", []), parse("https://example.org/")
    assert scope.check(url, 3, 3) is None
    assert scope.check(url, 4, 3) == "too-deep"
    assert scope.check(url, 10**9, None) is None
    assert scope.check(url, 0, 0) is None


URL = "https://www.example.org:8443/a/b.html?q=1&r=[2]"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*", True),
        ("*.html*", True),
        ("*.html", False),
        ("https://www.example.org:8443/a/*", True),
        ("https://www.example.org/*", False),
        ("http://*", False),
        ("*://*/a/*", True),
        (URL, True),
        (URL[:-1], False),
        # only * is special
        ("*?q=1*", True),
        ("*?z=1*", False),
        ("*/b?html*", False),
        ("*[2]", True),
        ("*[a-z]*", False),
        ("*/A/*", False),
        # path and query
        ("/a/*", True),
        ("/b*", False),
        ("/a/b.html?q=*", True),
        # without scheme
        ("www.example.org:8443/*", True),
        ("www.example.org:8443", False),
        ("example.org/*", False),
        # regular expressions are searched for
        ("re:/a/", True),
        (r"re:^https?://www\.[^/]+/a/b\.html\?q=\d", True),
        ("re:^/a/", False),
        ("re:(?i)B.HTML", True),
        ("re:", True),
    ],
)
def test_patterns(pattern: str, matches: bool) -> None:
    url = parse(URL)
    include = Scope.from_strings("any", [], include=[pattern])
    exclude = Scope.from_strings("any", [], exclude=[pattern])
    assert include.check(url) == (None if matches else "excluded")
    assert exclude.check(url) == ("excluded" if matches else None)


def test_one_include_is_enough_and_one_exclude_wins() -> None:
    scope = Scope.from_strings("any", [], ["*/a/*", "*/b/*"], ["*.pdf", "re:secret"])
    assert scope.check(parse("https://example.org/b/x")) is None
    assert scope.check(parse("https://example.org/c/x")) == "excluded"
    assert scope.check(parse("https://example.org/a/x.pdf")) == "excluded"
    assert scope.check(parse("https://example.org/a/secret.html")) == "excluded"


def test_region_before_patterns_before_depth() -> None:
    scope = Scope.from_strings("host", ["https://example.org/"], exclude=["*/x"])
    assert scope.check(parse("https://example.com/x"), 9, 1) == "out-of-scope"
    assert scope.check(parse("https://example.org/x"), 9, 1) == "excluded"
    assert scope.check(parse("https://example.org/y"), 9, 1) == "too-deep"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("re:(", r"pattern 're:\(' is not a regular expression: missing \)"),
        ("re:[z-a]", "pattern 're:.*' is not a regular expression"),
        ("", "empty pattern"),
        (" ", "empty pattern"),
    ],
)
def test_bad_patterns_are_named(pattern: str, message: str) -> None:
    for keyword in ("include", "exclude"):
        with pytest.raises(ValueError, match=message):
            Scope.from_strings("any", [], **{keyword: [pattern]})


def test_bad_seeds_are_refused() -> None:
    with pytest.raises(InvalidUrl, match="no scheme"):
        Scope.from_strings("host", ["example.org"])


def test_many_seeds_cost_nothing_per_url() -> None:
    seeds = [parse(f"https://h{n % 500}.example/dir{n}/page") for n in range(20_000)]
    url = parse("https://h7.example/" + "x/" * 200 + "y")
    for kind in ("host", "domain", "prefix"):
        scope = Scope.build(kind, seeds)
        started = time.process_time()
        for _ in range(1_000):
            scope.check(url)
        assert time.process_time() - started < 1


def test_globs_cannot_be_made_slow() -> None:
    scope = Scope.from_strings("any", [], exclude=["*" + "a*" * 100 + "b"])
    started = time.process_time()
    assert scope.check(parse("https://example.org/" + "a" * 8_000)) is None
    assert time.process_time() - started < 0.5
