"""Differences between two crawlers, and what explains them."""

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from benchmarks import references
from benchmarks.compare import Comparison, compare

HTML = "text/html"


# page -> target -> kind: what a reading of the pages would find
Web = dict[str, dict[str, str]]


def compared(
    wget2: dict[str, str],
    comity: dict[str, str],
    web: Web | None = None,
    answers: dict[str, str] | None = None,
) -> Comparison:
    def refer(wanted: Collection[str], pages: Mapping[str, str]) -> references.References:
        found: references.References = {}
        for page in pages:
            for target, kind in (web or {}).get(page, {}).items():
                if target in wanted:
                    found.setdefault(target, {}).setdefault(kind, page)
        return found

    return compare("site", wget2, comity, refer, answers or {})


def test_equal_sets_need_no_explanation() -> None:
    both = {"/": HTML, "/a": HTML, "/x.txt": "text/plain"}
    comparison = compared(both, both)
    assert not comparison.differences
    assert comparison.both() == comparison.count(both) == 2
    assert comparison.types() == [HTML, "text/plain"]


def test_what_only_images_and_style_sheets_refer_to_is_no_page_of_ours() -> None:
    both = {"/": HTML}
    (found,) = compared(both | {"/x": "image/png"}, both, {"/": {"/x": "img"}}).differences
    assert (found.why, found.explained) == ("no link of those Comity follows: img", True)
    assert found.example == "/"


@pytest.mark.parametrize("kind", sorted(references.FOLLOWED["Comity"]))
def test_a_link_that_comity_did_not_follow_is_a_fault(kind: str) -> None:
    both = {"/": HTML, "/b": HTML}
    web = {"/": {"/a": "img"}, "/b": {"/a": kind}}
    assert [d.example for d in compared(both | {"/a": HTML}, both, web).unexplained] == ["/b"]


@pytest.mark.parametrize(
    ("kind", "unexplained"), [("a", 1), ("frame", 1), ("meta refresh", 0), ("img", 0)]
)
def test_a_page_more_is_explained_by_what_wget2_does_not_follow(
    kind: str, unexplained: int
) -> None:
    both = {"/": HTML}
    comparison = compared(both, both | {"/a": HTML}, {"/": {"/a": kind}})
    assert len(comparison.differences) == 1
    assert len(comparison.unexplained) == unexplained


def test_what_follows_from_a_difference_is_told_from_its_cause() -> None:
    both = {"/": HTML}
    web = {"/": {"/a": "a"}, "/a": {"/b": "a"}, "/b": {"/a": "a"}}
    comparison = compared(both | {"/a": HTML, "/b": HTML}, both, web)
    assert [d.target for d in comparison.unexplained] == ["/a"]


def test_what_came_otherwise_is_a_fault_whatever_refers_to_it() -> None:
    both = {"/": HTML}
    web = {"/": {"/a": "img"}}
    comparison = compared(both | {"/a": HTML}, both, web, {"/a": "500 http-5xx"})
    assert [d.why for d in comparison.unexplained] == ["Comity asked and got 500 http-5xx"]


def test_what_nothing_refers_to_is_a_fault_on_both_sides() -> None:
    assert len(compared({"/a": HTML}, {"/b": HTML}).unexplained) == 2


def test_links_of_a_page_by_kind() -> None:
    page = b"""<base href="/d/"><link rel=stylesheet href=s.css><a href="a#x">a</a>
    <img src=i.png><iframe src=f></iframe><p style="background: url(p.png)">
    <meta http-equiv=Refresh content="0; URL='r'"><!-- <a href=comment> -->"""
    assert set(references.html_links(page)) == {
        ("link rel=stylesheet", "/d/s.css"),
        ("a", "/d/a#x"),
        ("img", "/d/i.png"),
        ("iframe", "/d/f"),
        ("CSS url()", "/d/p.png"),
        ("meta refresh", "/d/r"),
    }


def test_an_empty_page_has_no_links() -> None:
    assert not list(references.html_links(b""))


def test_references_are_found_through_pages_and_style_sheets(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("<a href='/q?x#y'>q</a> <a href='http://other/z'>z</a>")
    (tmp_path / "s").write_text("@import url(\"t.css\"); @import 'u.css'; b {b: url( v.png )}")
    pages = {"/p": HTML, "/s": "text/css"}
    wanted = {"/q?x", "/z", "/t.css", "/u.css", "/v.png"}
    found = references.find(wanted, pages, "http://h/", lambda t: tmp_path / t.lstrip("/"))
    assert found == {
        "/q?x": {"a": "/p"},
        "/t.css": {"CSS url()": "/s"},
        "/u.css": {"CSS url()": "/s"},
        "/v.png": {"CSS url()": "/s"},
    }
