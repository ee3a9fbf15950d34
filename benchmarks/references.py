"""A third reading of the pages, by lxml: what refers to a URL, and how.

Only asked about URLs that one crawler has and the other has not, to tell why. Written apart from
the crawler's own extraction, which is one of the things compared.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import lxml.etree  # type: ignore[import-untyped]
import lxml.html  # type: ignore[import-untyped]

from benchmarks.sites import target_of

_LINKS: Final = frozenset({"a", "area", "iframe", "frame", "link rel=next", "link rel=prev"})
# What makes each crawler's set of pages; wget2 1.99 leaves refreshes alone.
FOLLOWED: Final = {"Comity": _LINKS | {"meta refresh"}, "wget2": _LINKS}
_CSS_URL: Final = re.compile(r"""url\(\s*["']?([^"')\s]+)|@import\s+["']([^"']+)""")
_REFRESH: Final = re.compile(r"""^[\d.\s]*[;,]\s*(?:url\s*=\s*)?["']?([^"']+)""", re.IGNORECASE)

References = dict[str, dict[str, str]]  # target -> kind of reference -> a page that has it


def find(
    wanted: set[str], pages: Mapping[str, str], base: str, file: Callable[[str], Path]
) -> References:
    """References to the ``wanted`` targets of one site.

    ``pages`` are the targets to be read, with their media type; ``base`` is the site's root URL;
    ``file`` gives the file that answers a target.
    """
    found: References = defaultdict(dict)
    if not wanted:
        return found
    host = urlsplit(base).netloc
    for page, media_type in pages.items():
        for kind, link in _links(file(page), media_type):
            try:
                url = urljoin(urljoin(base, page), link.strip())
            except ValueError:  # not a URL: it leads nowhere
                continue
            if urlsplit(url).netloc == host and (target := target_of(url)) in wanted:
                found[target].setdefault(kind, page)
    return found


def _links(file: Path, media_type: str) -> Iterable[tuple[str, str]]:
    if media_type == "text/html":
        return html_links(file.read_bytes())
    if media_type == "text/css":
        text = file.read_text(encoding="utf-8", errors="replace")
        return [("CSS url()", match[1] or match[2]) for match in _CSS_URL.finditer(text)]
    return []


def html_links(payload: bytes) -> Iterator[tuple[str, str]]:
    """(kind, link as written) of a page; kind is the element, for ``link`` with its rel.

    A ``base`` element is applied.
    """
    try:
        document = lxml.html.document_fromstring(payload)
    except lxml.etree.ParserError:  # an empty page
        return
    bases = document.xpath("//base[@href]")
    base = bases[0].get("href") if bases else ""
    for element, attribute, link, _ in document.iterlinks():
        if element.tag != "base" and element.tag != "meta":
            yield _kind(element, attribute), urljoin(base, link)
    for element in document.xpath("//meta[@http-equiv and @content]"):
        if element.get("http-equiv").lower() == "refresh":
            match = _REFRESH.match(element.get("content"))
            if match:
                yield "meta refresh", urljoin(base, match[1])


def _kind(element: lxml.html.HtmlElement, attribute: str | None) -> str:
    tag = str(element.tag)
    if tag == "link":
        return f"link rel={element.get('rel', '')}"
    if attribute is None or attribute == "style":
        return "CSS url()"
    return tag
