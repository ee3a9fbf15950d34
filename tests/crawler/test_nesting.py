"""crawler.nesting: honest pages pass whole, purpose-made ones are cut early."""

from __future__ import annotations

import time

import pytest

from crawler import nesting
from crawler.nesting import safe_length

N = 30_000

HONEST = {
    "paragraphs": "<p>x<br>y" * N,
    "list": "<ul>" + "<li>x" * N + "</ul>",
    "table": "<table>" + "<tr><td><b>x</b><td>y" * N + "</table>",
    "divs": "<div><span class=a>x</span></div>" * N,
    "unclosed-in-blocks": "<div><span>x</div>" * N,
    "same-font": "<p><font color=red>x" * 3_000,
    "comments": "<div><!-- <div><div> --></div>" * N,
    "scripts": "<div><script>var a = '<div>';</script></div>" * N,
    "quotes": '<a title="<div>">x</a>' * N,
    "long-attribute": '<img src="data:image/png;base64,' + "A" * 100_000 + '">',
    "text": "a < b > c & d " * N,
    "wide": "<div>" * 200 + "<p>x" * N + "</div>" * 200,
}
HOSTILE = {
    "nested": "<div>" * N,
    "closed-later": "<div>" * N + "</div>" * N,
    "end-tag-in-attribute": '<div title="</div>">' * N,
    "end-tag-in-comment": "<div><!--</div>-->" * N,
    "end-tag-in-script": "<div><script></div></script>" * N,
    "end-tag-in-escaped-script": "<div><script><!--<script></script></div>--></script>" * N,
    "end-tag-behind-a-wall": "<div><object></div></object>" * N,
    "end-tag-in-table": "<div><table></div></table>" * N,
    "form-goes-alone": "<form><div></form>" * N,
    "ordinary-end-tag": "<span><div></span></div>" * N,
    "formatting": "<b><div></b>" * N,
    "upper-case": "<DIV>" * N,
    "fonts": "".join(f"<p><font color={i}>x" for i in range(N)),
    "fonts-closed-by-blocks": "".join(f"<div><font color={i}></div>" for i in range(N)),
    "attributes": "<a " + " ".join(f"a{i}" for i in range(N)) + ">",
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_pages_pass_whole(name: str) -> None:
    html = HONEST[name]
    assert safe_length(html) == len(html)
    assert nesting._scan(html) == len(html)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_are_cut(name: str) -> None:
    html = HOSTILE[name]
    assert safe_length(html) < len(html) / 2
    assert html[safe_length(html)] == "<"


def test_the_look_itself_takes_linear_time() -> None:
    started = time.process_time()
    for html in ("<a " * 10**6, '<a x="' * 10**6, "<" * 10**6, "<!--" * 10**6, "<script>" * 10**6,
                 "<script><!--" * 10**6, "</div>" * 10**6, "<a x='<a y=\"" * 10**6):  # fmt: skip
        safe_length(html)
        safe_length(html + ">")
    assert time.process_time() - started < 30
