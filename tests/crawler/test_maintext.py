"""The main text of a page: what it holds, and how much of a hostile page is looked at."""

from __future__ import annotations

import time

import pytest
from selectolax.lexbor import LexborHTMLParser

from crawler.extract import extract
from crawler.maintext import LARGEST, Mode, main_text, token_f1

PROSE = "The river ran past the mill, and past the church. Nobody looked up, as it was late. "
MODES: tuple[Mode, ...] = ("fast", "precise", "plain")


def text(html: str, mode: Mode = "fast") -> str:
    return main_text(html, LexborHTMLParser(html), mode) or ""


def page(main: str, around: str = "") -> str:
    menu = "<nav><ul>" + "<li><a href=/>Menu entry</a></li>" * 20 + "</ul></nav>"
    return f"<html><body>{menu}{around}<div id=x>{main}</div><footer>Footer words</footer></body>"


@pytest.mark.parametrize(
    ("one", "other", "f1"),
    [
        ("", "", 1.0),
        ("a b", "", 0.0),
        ("a b c d", "a b c d", 1.0),
        ("a b c d", "d c b a", 1.0),
        ("a a b", "a b b", 2 / 3),
        ("a b c", "a", 0.5),
        ("日本語", "日本", 0.8),
        ("don't stop", "don t stop", 1.0),
    ],
)
def test_token_f1(one: str, other: str, f1: float) -> None:
    assert token_f1(one, other) == pytest.approx(f1)


@pytest.mark.parametrize("mode", ["fast", "precise"])
def test_menus_comments_and_related_links_are_left_out(mode: Mode) -> None:
    around = f"<div class=cookie-consent><p>{PROSE}</p></div>"
    comments = f"<div class=comments><p>{'A reader wrote this, briefly. ' * 3}</p></div>"
    found = text(page(f"<h1>Mill</h1><p>{PROSE * 3}</p><p>{PROSE * 2}</p>{comments}", around), mode)
    assert found.split("\n")[0] == "Mill"
    assert found.count("The river ran") == 5
    for noise in ("Menu entry", "Footer words", "A reader wrote"):
        assert noise not in found


def test_plain_keeps_all_and_off_nothing() -> None:
    html = page(f"<p>{PROSE}</p>")
    assert "Menu entry" in text(html, "plain")
    assert main_text(html, LexborHTMLParser(html), "off") is None
    assert extract(html.encode(), url="http://a.test/", mode="off").text is None
    assert extract(PROSE.encode(), url="http://a.test/", content_type="text/plain").text == PROSE


def test_a_page_without_prose_has_some_text_all_the_same() -> None:
    assert "Only this" in text("<body><div>Only this</div></body>")
    assert text("") == ""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "html",
    [
        "<body>" + "<div>" * 400 + f"<p>{PROSE}" * 20_000,
        "<body>" + "<div>" * 400 + f"<div><p>{PROSE}</p></div>" * 20_000,
        "<p>" + "word " * 400_000,
        "<body><div>" + "<a href=x>abc def ghi</a> " * 80_000,
        "<body>" + f"<ul><li>{PROSE}" * 390 + "<li>x" * 100_000,
        "<p>\ud800 broken \udfff" + PROSE * 10,
        "<p" * 50_000,
    ],
)
def test_hostile_pages_take_bounded_time(html: str, mode: Mode) -> None:
    started = time.thread_time()
    page = extract(html.encode("utf-8", "surrogatepass"), url="http://a.test/", mode=mode)
    assert page.text is not None
    assert time.thread_time() - started < 20  # that would be without bounds: minutes


def test_a_page_beyond_all_measure_is_taken_as_it_is() -> None:
    found = extract(b"<p>" + PROSE.encode() * (LARGEST // 80), url="http://a.test/")
    assert "text-plain" in found.limits
