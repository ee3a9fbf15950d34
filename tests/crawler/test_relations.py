"""crawler.relations: Link and Refresh headers."""

from __future__ import annotations

import pytest

from crawler.relations import canonical_link, refresh, refresh_header


@pytest.mark.parametrize(
    ("content", "target", "seconds"),
    [
        ("0;url=x", "x", 0),
        ("0; URL = x y", "x y", 0),
        ('5,url="a b"', "a b", 5),
        ("3; URL='next.html'", "next.html", 3),
        ("0010.9; x.html", "x.html", 10),
        (".5 x", "x", 0),
        ("99999999999;x", "x", float("inf")),
        ("10", None, 0),
        ("", None, 0),
        ("0;url=", None, 0),
        ("x.html", None, 0),
    ],
)
def test_refresh(content: str, target: str | None, seconds: float) -> None:
    assert refresh(content) == (None if target is None else (target, seconds))


def test_the_first_refresh_header_holds() -> None:
    headers = [("Link", "</l>"), ("REFRESH", "1;/a"), ("Refresh", "0;/b")]
    assert refresh_header(headers) == ("/a", 1)
    assert refresh_header(headers[:1]) is None


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ('</c>; rel="canonical"', "/c"),
        ("<http://a.example/c?x=1,2;3>;rel=Canonical", "http://a.example/c?x=1,2;3"),
        ('</p>; rel=prev, < /c > ; title="a, <b>; c" ; REL = "nofollow canonical"', "/c"),
        ("</a>; rel=x; rel=canonical, </b>; rel=canonical", "/b"),
        ('</a>; rel=canonical; anchor="#part", </b>; rel=canonical', "/b"),
        ("</a>; rel=alternate", ""),
        ("</a>", ""),
        ("/a; rel=canonical", ""),
        ("", ""),
    ],
)
def test_canonical_link(value: str, target: str) -> None:
    assert canonical_link([("X", "</x>; rel=canonical"), ("link", value)]) == target


@pytest.mark.parametrize(
    "value",
    [
        "<" * 100_000,
        "<a>" + ";" * 100_000,
        "<a>;a=" * 20_000,
        "<a>" + " " * 100_000,
        '<a>;a="' * 9_000,
    ],
    ids=["targets", "empty", "parameters", "space", "quotes"],
)
def test_noise_is_passed_over(value: str) -> None:
    assert canonical_link([("Link", value)]) == ""
    assert refresh(value) is None
