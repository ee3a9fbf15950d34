"""Annotated pages in many layouts, made for the project: what is on them, and what they are about.

The words are the demo web's salad; what tells main text from the rest is the markup, which follows
what is common on the web: landmarks or none, classes that say something or nothing, paragraphs or
line breaks, comments, menus, related links, notices. Pure: the same pages in every process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Final, TypeAlias

from crawler.demo.rng import Rng
from crawler.demo.text import TextSpec, article

LANGUAGES: Final = ("en", "de", "fr", "ru", "el", "ar", "zh", "ja")


@dataclass(frozen=True, slots=True)
class Annotated:
    """A page and its main text."""

    name: str  # layout and language
    layout: str
    html: str
    main: str  # the text that an extractor should find


@dataclass(slots=True)
class _Writer:
    """Makes texts of one page, and notes those that are main."""

    language: str
    layout: str
    main: list[str] = field(default_factory=list)
    count: int = 0

    def text(self, words: int) -> str:
        """Some sentences that are not main."""
        self.count += 1
        spec = TextSpec(f"{self.layout} {self.count}", self.language, words)
        return " ".join(article(spec).paragraphs)

    def own(self, words: int) -> str:
        """Some sentences that are."""
        self.main.append(self.text(words))
        return self.main[-1]

    def title(self) -> str:
        """A few words."""
        self.count += 1
        return article(TextSpec(f"{self.layout} {self.count}", self.language, 4)).title

    def heading(self) -> str:
        """A few words that are main."""
        self.main.append(self.title())
        return self.main[-1]

    def links(self, number: int, around: str = "li") -> str:
        """Links one after another."""
        each = (f'<{around}><a href="/{n}">{self.title()}</a></{around}>' for n in range(number))
        return "".join(each)


def _article(w: _Writer) -> str:
    """A news article of today: landmarks, figures, related links within, comments below."""
    body = "".join(f"<p>{w.own(45)}</p>" for _ in range(3))
    return f"""<header><div class=logo><a href=/>{w.title()}</a></div>
<nav><ul>{w.links(9)}</ul></nav></header><main><article><h1>{w.heading()}</h1>
<div class="meta byline"><a href=/a>{w.title()}</a> <time>2026-03-01</time></div>
<div class="share-buttons"><a href=#>f</a> <a href=#>x</a></div>{body}
<div class="related-links"><h3>{w.title()}</h3><ul>{w.links(4)}</ul></div>
<p>{w.own(60)}</p><blockquote>{w.own(20)}</blockquote></article>
<section class=comments><h2>{w.title()}</h2><div class=comment>{w.text(25)}</div>
<div class=comment>{w.text(30)}</div></section></main>
<footer><p>{w.text(20)}</p><ul>{w.links(6)}</ul></footer>"""


def _breaks(w: _Writer) -> str:
    """An article of old: tables for layout, line breaks for paragraphs, no class that helps."""
    body = "<br><br>".join(w.own(50) for _ in range(4))
    menu = "".join(f"<a href=/{n}>{w.title()}</a><br>" for n in range(10))
    return f"""<table width=100%><tr><td colspan=3><font size=5>{w.title()}</font></td></tr><tr>
<td width=150 valign=top>{menu}</td><td valign=top><b>{w.heading()}</b><br><br>{body}</td>
<td width=120 valign=top><a href=/ad>{w.title()}</a><br>{menu[:200]}</td></tr>
<tr><td colspan=3 align=center><small>{w.title()} 1999-2004</small></td></tr></table>"""


def _forum(w: _Writer) -> str:
    """A thread: every post is main, what stands around each is not."""
    posts = "".join(
        f"""<div class="post" id=p{n}><div class="postprofile"><a href=/u{n}>{w.title()}</a>
<dl><dt>Posts: {n * 7}</dt></dl></div><div class="postbody"><div class="content">{w.own(40)}</div>
<div class="signature">{w.title()}</div></div><ul class="post-buttons toolbar"><li><a href=#>+</a>
</li><li><a href=#>!</a></li></ul></div>"""
        for n in range(5)
    )
    return f"""<div id=wrap><div id=page-header><div class=navbar><ul>{w.links(7)}</ul></div></div>
<div id=page-body><h2>{w.heading()}</h2><div class=pagination><a href=?2>2</a></div>{posts}
<div class=pagination><a href=?2>2</a></div></div><div class=copyright>{w.title()}</div></div>"""


def _product(w: _Writer) -> str:
    """A product: description and details are main; prices, baskets, and what others bought not."""
    rows = "".join(f"<tr><th>{w.title()}</th><td>{w.own(6)}</td></tr>" for _ in range(5))
    others = "".join(
        f'<div class=card><a href=/p{n}><img src=x.jpg alt=""><span>{w.title()}</span></a>'
        f"<span class=price>{n}9.90</span></div>"
        for n in range(6)
    )
    return f"""<div class=topbar>{w.links(5, "span")}</div><div role=navigation>{w.links(12)}</div>
<div class="breadcrumbs">{w.links(3, "span")}</div><div class="product-page"><h1>{w.heading()}</h1>
<div class=price-box>19.90 <button>{w.title()}</button></div>
<div class="description"><p>{w.own(60)}</p><p>{w.own(40)}</p></div><table class=specs>{rows}</table>
</div><div class="recommendations">{others}</div><div class="newsletter-signup"><p>{w.text(20)}</p>
<form><input><button>ok</button></form></div><footer>{w.links(10)}</footer>"""


def _docs(w: _Writer) -> str:
    """Documentation: headings, code, lists and definitions; a table of contents beside it."""
    items = "".join(f"<li>{w.own(12)}</li>" for _ in range(4))
    terms = "".join(f"<dt>{w.heading()}</dt><dd><p>{w.own(25)}</p></dd>" for _ in range(3))
    code = "def river(bridge):\n    return [garden for garden in bridge if garden]\n"
    w.main.append(code)
    return f"""<div class=related><ul>{w.links(5)}</ul></div><div class=document>
<div class=documentwrapper><div class=bodywrapper><div class=body role=main><section id=a>
<h1>{w.heading()}<a class=headerlink href=#a>¶</a></h1><p>{w.own(40)}</p><ul>{items}</ul>
<div class=highlight><pre>{code}</pre></div><section id=b><h2>{w.heading()}</h2><p>{w.own(35)}</p>
<dl>{terms}</dl></section></section></div></div></div><div class=sphinxsidebar><h3>{w.title()}</h3>
<ul>{w.links(14)}</ul></div></div><div class=footer>{w.title()}</div>"""


def _listing(w: _Writer) -> str:
    """A list of articles, each with a line or two of its own."""
    entries = "".join(
        f'<li class=entry><h3><a href="/{n}">{w.heading()}</a></h3><p>{w.own(22)}</p>'
        f"<span class=tags><a href=#>{w.title()}</a></span></li>"
        for n in range(8)
    )
    return f"""<nav>{w.links(8, "span")}</nav><div class=container><div class=content>
<h1>{w.heading()}</h1><ul class=results>{entries}</ul><div class=pagination><a href=2>2</a></div>
</div><aside class=sidebar><h4>{w.title()}</h4><ul>{w.links(9)}</ul></aside></div>"""


def _plain(w: _Writer) -> str:
    """Nested boxes with names that mean nothing, a cookie notice, text in boxes and paragraphs."""
    boxes = "".join(f'<div class="x{n}"><p>{w.own(40)}</p></div>' for n in range(3))
    return f"""<div id=app><div class=a1><a href=/>{w.title()}</a>{w.links(8, "div")}</div>
<div class=b7><div class=c3><h1>{w.heading()}</h1><div class=lead>{w.own(35)}</div>{boxes}</div>
<div class=d4><div class=e2><a href=/1>{w.title()}</a></div><div class=e2><a href=/2>{w.title()}</a>
</div><div class=e2><a href=/3>{w.title()}</a></div></div></div></div>
<div class="cookie-consent"><p>{w.text(45)}</p><button>{w.title()}</button></div>"""


_Layout: TypeAlias = Callable[[_Writer], str]
LAYOUTS: Final[dict[str, _Layout]] = {
    "article": _article,
    "line breaks": _breaks,
    "forum": _forum,
    "product": _product,
    "docs": _docs,
    "listing": _listing,
    "boxes": _plain,
}


def pages() -> Iterator[Annotated]:
    """Every layout in every language."""
    for layout, make in LAYOUTS.items():
        for language in LANGUAGES:
            writer = _Writer(language, layout)
            body = make(writer)
            title = escape(Rng(f"{layout}/{language}").pick(writer.main)[:60])
            html = (
                f'<!doctype html><html lang="{language}"><head><meta charset=utf-8>'
                f"<title>{title}</title><style>p {{ margin: 0 }}</style></head>"
                f"<body>{body}<script>let menu = 'menu';</script></body></html>"
            )
            yield Annotated(f"{layout} {language}", layout, html, "\n".join(writer.main))
