"""A page's bytes: HTML around an article, robots.txt, sitemaps. Pure.

The port is known only when a server listens, so it enters here and not in the model.
"""

from __future__ import annotations

import codecs
import gzip
import html
from typing import Final

from crawler.demo import href
from crawler.demo.model import Document, Host, Link, Page, Raw, SitemapFile, url
from crawler.demo.text import article

_BOMS: Final = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
_SITEMAP_NS: Final = "http://www.sitemaps.org/schemas/sitemap/0.9"
_COMMENT: Final = (
    "# This line only takes up room, so that the file grows beyond what is read of it.\n"
)


def body(page: Page, host: Host, port: int) -> bytes:
    """The decoded payload of a page."""
    content = page.content
    if isinstance(content, SitemapFile):
        return _sitemap(content, port)
    if isinstance(content, Raw):
        return _raw(page, content, host, port)
    if page.answer.location is not None:
        target = html.escape(_location(page.answer.location, page, port))
        return f'<!doctype html><title>Moved</title><a href="{target}">here</a>'.encode()
    if page.answer.status >= 400:
        return f"<!doctype html><title>Error</title><h1>{page.answer.status}</h1>".encode()
    text = _plain(content) if content.media == "text/plain" else _html(page, content, port)
    charset = content.charset.actual
    return _BOMS.get(charset, b"") + text.encode(charset, "xmlcharrefreplace")


def error_body(status: int) -> bytes:
    """What goes with an error that passes."""
    return f"<!doctype html><title>Error</title><h1>{status}</h1><p>Try later.</p>".encode()


def headers(page: Page, port: int) -> list[tuple[str, str]]:
    """Content-Type, Location and the page's own headers (no framing, no coding)."""
    content = page.content
    found = list(page.answer.headers)
    if isinstance(content, SitemapFile):
        found.append(("Content-Type", "application/gzip" if content.gzip else "application/xml"))
    elif isinstance(content, Raw):
        found.append(("Content-Type", content.media))
    elif page.answer.status != 200:
        found.append(("Content-Type", "text/html; charset=utf-8"))
    else:
        declared = content.charset.header
        suffix = f"; charset={declared}" if declared else ""
        found.append(("Content-Type", content.media + suffix))
    if page.answer.location is not None:
        found.append(("Location", _location(page.answer.location, page, port)))
    return found


def _location(link: Link, page: Page, port: int) -> str:
    return href.write(link, page.path, port)


def _plain(content: Document) -> str:
    return article(content.text).main_text + "\n"


def _html(page: Page, content: Document, port: int) -> str:
    words = article(content.text)
    base = content.base or page.path
    anchors = [_anchor(page, link, base, port) for link in page.links]
    anchors += [
        f'<a href="{html.escape(junk)}">{html.escape(junk[:12])}</a>' for junk in content.junk
    ]
    inline = [] if page.answer.truncated else anchors[1 : len(words.paragraphs)]
    menu = anchors[:1] + anchors[1 + len(inline) :]
    paragraphs = [f"<p>{html.escape(text)}</p>" for text in words.paragraphs]
    for number, anchor in enumerate(inline):
        paragraphs[number] = paragraphs[number].removesuffix("</p>") + f" {anchor}</p>"
    title = html.escape(words.title)
    main = f"<h1>{title}</h1>\n" + "\n".join(paragraphs)
    return _LAYOUTS[content.template % len(_LAYOUTS)].format(
        opening=_opening(content),
        head=_head(page, content, port),
        title=title,
        menu="\n".join(f"<li>{anchor}</li>" for anchor in menu),
        main=main,
    )


def _opening(content: Document) -> str:
    if content.media == "application/xhtml+xml":
        return '<html xmlns="http://www.w3.org/1999/xhtml">'
    return f'<!doctype html>\n<html lang="{content.text.language}">'


def _head(page: Page, content: Document, port: int) -> str:
    lines = []
    if content.charset.meta:
        lines.append(f'<meta charset="{content.charset.meta}"/>')
    if content.base:
        lines.append(f'<base href="{content.base}"/>')
    if content.robots_meta:
        lines.append(f'<meta name="robots" content="{content.robots_meta}"/>')
    if content.canonical:
        lines.append(f'<link rel="canonical" href="{url(page.host, page.path, port)}"/>')
    return "\n".join(lines)


def _anchor(page: Page, link: Link, base: str, port: int) -> str:
    rel = f' rel="{link.rel}"' if link.rel else ""
    target = html.escape(href.write(link, base, port))
    name = "Home" if link.host == page.host else link.host
    label = html.escape(link.path.strip("/").split("/")[-1][:24] or name)
    return f'<a href="{target}"{rel}>{label}</a>'


_LAYOUTS: Final = (
    "{opening}<head>{head}<title>{title}</title></head>\n<body>\n<nav><ul>\n{menu}\n</ul></nav>\n"
    "<main><article>\n{main}\n</article></main>\n<footer>All words reserved</footer>\n"
    "</body></html>\n",
    "{opening}<head>{head}<title>{title} | Demo web</title></head>\n<body>\n"
    '<div id="header">Demo web</div><ul class="menu">\n{menu}\n</ul>\n'
    '<div id="content" class="content">\n{main}\n</div>\n'
    '<div id="footer">All words reserved</div>\n</body></html>\n',
    "{opening}<head>{head}<title>{title}</title></head>\n<body>\n"
    "<header><ul>\n{menu}\n</ul></header>\n"
    "<section>\n{main}\n</section>\n<aside>Filed under words</aside>\n</body></html>\n",
)


def _raw(page: Page, content: Raw, host: Host, port: int) -> bytes:
    text = content.text
    if content.padding:
        text = text.replace("{padding}", _COMMENT * (content.padding // len(_COMMENT)))
    if page.kind == "robots":
        text += "".join(f"Sitemap: {url(host.name, path, port)}\n" for path in host.sitemaps)
    text = text.replace("\n", content.newline)
    return (codecs.BOM_UTF8 if content.bom else b"") + text.encode()


def _sitemap(content: SitemapFile, port: int) -> bytes:
    outer, inner = ("sitemapindex", "sitemap") if content.index else ("urlset", "url")
    entries = "\n".join(
        f"<{inner}><loc>{html.escape(url(link.host, link.path, port))}</loc></{inner}>"
        for link in content.entries
    )
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{outer} xmlns="{_SITEMAP_NS}">\n{entries}\n'
        f"</{outer}>\n"
    ).encode()
    return gzip.compress(text, 6, mtime=0) if content.gzip else text
