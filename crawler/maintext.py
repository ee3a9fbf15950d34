"""The text that a page is about, without what stands around it. Pure.

``fast`` goes by paragraphs: what looks like prose (length, punctuation, few links) gives points to
all that it stands in, as in Readability; from the body down, the part that holds nearly all of a
part's points is taken for it, as long as there is one. What is left of menus, shares and comments
in it goes by names and links. Its tree is the one that links were read from, so this takes no
second parse. Where it finds next to nothing, or the page is built to take long, resiliparse's main
content is taken, which goes by names.

Invariant kept: bounded. Nesting is bounded before (:mod:`crawler.nesting`), what is looked at of
nested parts is here, and so is the size of what others are asked about.

``precise`` has both, and where they differ, trafilatura's fast mode decides: it takes ten times as
long, and is needed for a few. Measurements: benchmarks/README.md; why: docs/decisions/0020.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from functools import lru_cache
from typing import Final, Literal

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree
from selectolax.lexbor import LexborHTMLParser, LexborNode

_log: Final = logging.getLogger("comity.extract")
Mode = Literal["fast", "precise", "plain", "off"]

LARGEST: Final = 5_000_000  # characters; larger pages are lists or data: plain text
SLOWEST: Final = 300_000  # characters of a page that trafilatura is asked about
_LONGEST: Final = 500_000  # and resiliparse's main content: deep pages take it a second by then
_SHARE: Final = 0.75  # of a part's points, that one of its parts must hold to stand for it
_LEAST: Final = 25  # characters of a paragraph that counts
_LITTLE: Final = 200  # characters of a result below which it may be none
_AGREE: Final = 0.85  # F1 of two results' tokens from which they are the same text
_STEPS: Final = 200_000  # from a part of a page to the one around it
_READ: Final = 20  # times the length of a part, that are read of its own parts
_NAMES: Final = 500  # characters of an element's names that are looked at
_SCRAP: Final = 0.3  # of the shorter result: a third one shorter than that is none

_AROUND: Final = (
    "script,style,noscript,template,svg,nav,footer,aside,button,select,iframe,[hidden],"
    "[aria-hidden=true],[role=navigation],[role=complementary],[role=search],[role=dialog],"
    "[role=banner],[role=contentinfo],a.headerlink"
)
_PROSE: Final = "p,pre,blockquote,td,dd,li,div,section,center,font"
_PARTS: Final = "div,ul,ol,section,table,dl,p,form"
_WHOLE: Final = frozenset({"p", "pre", "blockquote"})  # all that is in them is theirs
_INNER: Final = frozenset({"p", "pre", "blockquote", "td", "dd", "li"})  # stand for their parent
_NOISE: Final = re.compile(
    r"comment|shar(?:e|ing)|social|related|recommend|sidebar|breadcrumb|promo|newsletter|subscri|"
    r"cookie|consent|advert|sponsor|footer|masthead|outbrain|taboola|popup|modal|paginat|toolbar|"
    r"disqus|login|signup|menu|widget|\bnav|\bad[s-]|\btags?\b|more-|most-|trending|read-?next|"
    r"skip|copyright",
    re.I,
)
_PAGE: Final = re.compile(r"article|body|content|entry|main|post|text|story|column", re.I)
_STOPS: Final = re.compile(r"[,،、，;。．.!?！？։।]")
# A word; or a character of the scripts that write without spaces.
_TOKEN: Final = re.compile(r"[\u0e00-\u0e7f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")


def main_text(html: str, tree: LexborHTMLParser, mode: Mode) -> str | None:
    """The text of a page, paragraphs on lines of their own; None for ``off``.

    ``tree`` is the page as parsed; ``fast`` and ``precise`` take apart what they do not need of it.
    """
    if mode == "off":
        return None
    if mode == "plain" or len(html) > LARGEST:
        return extract_plain_text(HTMLTree.parse(html))
    found = by_paragraphs(tree)
    if mode == "fast":
        return found if len(found) >= _LITTLE else by_rules(html, found)
    return _precise(html, found)


def by_paragraphs(tree: LexborHTMLParser) -> str:
    """The part of a page that its prose is in; "" for one without. Takes the tree apart."""
    body = tree.body
    if body is None:
        return ""
    for node in reversed(body.css(_AROUND)):
        node.decompose()
    points = _Points(body)
    for node in body.css(_PROSE):
        points.add(node)
    part = points.holder()
    return "" if part is None else _pruned(part)


def by_rules(html: str, otherwise: str = "") -> str:
    """Resiliparse's main content; where there is none, the longer of its plain text and another."""
    tree = HTMLTree.parse(html)
    text = extract_plain_text(tree, main_content=True) if len(html) <= _LONGEST else ""
    if len(text.strip()) >= max(1, len(otherwise)):
        return text
    return otherwise or extract_plain_text(tree)


def _precise(html: str, found: str) -> str:
    other = by_rules(html)
    if len(found) < _LITTLE <= len(other):
        found = other
    if len(html) > SLOWEST or token_f1(found, other) >= _AGREE:
        return found
    third = _slowly(html)
    return third if len(third) >= _SCRAP * min(len(found), len(other)) else found


def _slowly(html: str) -> str:
    """Trafilatura's fast mode; "" where it finds nothing, or fails on the page."""
    import trafilatura  # half a second to load: only where it is asked for

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # what it cannot read is no error
    try:
        return trafilatura.extract(html, fast=True, include_comments=False) or ""
    except Exception:  # of a library, on a page of somebody else's: there is a text without it
        _log.warning("trafilatura failed on a page", exc_info=True)
        return ""


def token_f1(text: str, other: str) -> float:
    """The F1 of two texts' tokens, counted, without order; 1 for two empty ones."""
    ours, theirs = Counter(_tokens(text)), Counter(_tokens(other))
    shared = sum((ours & theirs).values())
    total = sum(ours.values()) + sum(theirs.values())
    return 2 * shared / total if total else 1.0


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


class _Points:
    """Which parts of a body hold how much of its prose; parts go by the memory of their nodes."""

    def __init__(self, body: LexborNode) -> None:
        self._body = body.mem_id
        self._nodes = {self._body: body}
        self._own: dict[int, float] = {}  # points of prose directly in a part
        self._points: dict[int, float] = {}  # of all that is in it, noise counted less
        self._worth: dict[int, float] = {}  # what points in a part are worth: its names may be bad
        self._above: dict[int, int] = {}  # the part that it is directly in
        self._steps = 0

    def add(self, node: LexborNode) -> None:
        """Count an element if it is prose of its own."""
        tag = node.tag
        text = node.text(deep=tag in _WHOLE).strip()
        length = len(text)
        if length < _LEAST:
            return
        linked = _linked(node) / length if tag in _WHOLE and tag != "pre" else 0.0
        holder = node.parent if tag in _INNER else node
        if linked > 0.5 or holder is None:
            return
        points = (1 + len(_STOPS.findall(text)) + 2 * min(length / 100, 3)) * (1 - linked)
        key = holder.mem_id
        self._nodes.setdefault(key, holder)
        self._own[key] = self._own.get(key, 0.0) + points

    def holder(self) -> LexborNode | None:
        """The smallest part that still has nearly all; None: no prose, or too much to look at."""
        for key, points in self._own.items():
            self._carry_up(key, points)
            if self._steps > _STEPS:
                return None
        points_of, key = self._points, self._body
        within: dict[int, list[int]] = {}
        for below, above in self._above.items():
            within.setdefault(above, []).append(below)
        while key in within:
            best = max(within[key], key=points_of.__getitem__)
            if points_of[best] < _SHARE * points_of[key]:
                break
            key = best
        return self._nodes[key] if points_of.get(key) else None

    def _carry_up(self, key: int, points: float) -> None:
        """Give the points of one part to all that it stands in."""
        while True:
            self._steps += 1
            worth = self._worth.get(key)
            if worth is None:
                worth = self._worth[key] = 0.3 if _noisy(self._nodes[key]) else 1.0
            points *= worth
            self._points[key] = self._points.get(key, 0.0) + points
            above = self._above.get(key)
            if above is None:
                parent = None if key == self._body else self._nodes[key].parent
                if parent is None:
                    return
                above = self._above[key] = parent.mem_id
                self._nodes.setdefault(above, parent)
            key = above


def _pruned(part: LexborNode) -> str:
    """The text of a part without lists of links and what is named as noise."""
    left, noise, gone = _READ * len(part.text()), [], set[int]()
    linked = _linked_within(part)
    for node in part.css(_PARTS):
        key = node.mem_id
        if key in gone:
            continue
        in_links = linked.get(key, 0) if node.tag != "p" else 0
        noisy = _noisy(node)
        if not in_links and not noisy:
            continue
        text = node.text()
        length, left = len(text.strip()), left - len(text)
        if left < 0:
            break
        links = length < 2_000 and in_links > 0.6 * length
        if length and (links or (length < 1_500 and noisy)):
            noise.append(node)
            gone.update(each.mem_id for each in node.css(_PARTS))
    for node in noise:
        node.decompose()
    html = part.html
    return extract_plain_text(HTMLTree.parse(html)) if html else ""


def _linked_within(part: LexborNode) -> dict[int, int]:
    """Characters that are links, by the element they stand in; of a part and all in it."""
    found: dict[int, int] = {}
    top, steps = part.mem_id, 0
    for link in part.css("a"):
        length, node = len(link.text()), link.parent
        while node is not None and steps < _STEPS:
            steps += 1
            key = node.mem_id
            found[key] = found.get(key, 0) + length
            node = None if key == top else node.parent
    return found


def _linked(node: LexborNode) -> int:
    """Characters of its text that are links."""
    return sum(len(link.text()) for link in node.css("a"))


def _noisy(node: LexborNode) -> bool:
    """Whether its names say that it is not what the page is about."""
    attributes = node.attributes
    names = f"{attributes.get('class') or ''} {attributes.get('id') or ''}"
    return len(names) > 1 and _name_noise(names[:_NAMES])


@lru_cache(maxsize=10_000)  # a site has few names, and many elements with them
def _name_noise(names: str) -> bool:
    return _NOISE.search(names) is not None and _PAGE.search(names) is None
