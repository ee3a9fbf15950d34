"""How much of an HTML text can be parsed in bounded time and memory. Pure.

HTML5 tree building is quadratic on purpose-made input, in every parser that follows the standard:
each start tag may walk the whole stack of open elements (100,000 nested ``<div>`` take ten
seconds), each attribute is compared with those before it, and each block repeats all formatting
elements that were left open (120 KB of ``<p><font color=N>`` become gigabytes of nodes). So a text
is cut before the tag that would go beyond a bound that no honest page comes near.

Small texts need no look and most others no more than a count of their tags (which can be fooled, at
the price of a second). For the rest a scan follows the standard's stack of open elements as
far as it decides depth, and errs towards too deep: what hides in comments, raw text and quoted
attributes does not close anything, and end tags close only what the standard lets them close.
Source: https://html.spec.whatwg.org/multipage/parsing.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAX_DEPTH: Final = 1_000  # open elements; browsers stop at 512
MAX_REPEATS: Final = 500_000  # formatting elements repeated in later blocks, over the whole page
MAX_TAG: Final = 10_000  # characters of one tag, attributes included, before they are counted
MAX_ATTRIBUTES: Final = 1_000  # of one tag
_FREE_TAGS: Final = 2_000  # that few can do no harm
_NAIVE_TAGS: Final = 10_000  # up to here a count of tags is enough, unless it looks deep
_CHUNK: Final = 8_192  # characters between two looks at that count

_FORMATTING: Final = frozenset(
    ["b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"]
)
_VOID: Final = frozenset(
    [
        "area",
        "base",
        "basefont",
        "bgsound",
        "br",
        "col",
        "embed",
        "frame",
        "hr",
        "image",
        "img",
        "input",
        "keygen",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
    ]
)
# End tags may be left out; they nest only by way of others, so those others are counted.
_OPTIONAL: Final = frozenset(
    [
        "a",
        "body",
        "caption",
        "colgroup",
        "dd",
        "dt",
        "head",
        "html",
        "li",
        "optgroup",
        "option",
        "p",
        "rb",
        "rp",
        "rt",
        "rtc",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
    ]
)
# Elements that an end tag of another element cannot close: "special" ones stop ordinary end tags,
# scope markers stop all.
_MARKERS: Final = frozenset(
    [
        "annotation-xml",
        "applet",
        "button",
        "desc",
        "foreignobject",
        "marquee",
        "mi",
        "mn",
        "mo",
        "ms",
        "mtext",
        "object",
        "select",
        "table",
        "template",
    ]
)
_SPECIAL: Final = _MARKERS | frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "center",
        "details",
        "dialog",
        "dir",
        "div",
        "dl",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "frameset",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hgroup",
        "iframe",
        "listing",
        "main",
        "menu",
        "nav",
        "noembed",
        "noframes",
        "noscript",
        "ol",
        "plaintext",
        "pre",
        "script",
        "search",
        "section",
        "style",
        "summary",
        "textarea",
        "title",
        "ul",
        "xmp",
    ]
)
_RAW: Final = frozenset(
    ["iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"]
)

_SPACE: Final = r"[\t\n\f\r ]"
_ATTRIBUTE: Final = (
    r"(?:=[^\t\n\f\r />=]*+|[^\t\n\f\r />=]++)"
    rf"(?:{_SPACE}*+={_SPACE}*+(?:\"[^\"]*+\"|'[^']*+'|[^\t\n\f\r >\"'][^\t\n\f\r >]*+)?+)?+"
)
_TAG: Final = re.compile(
    rf"<(?:(!--)|(/?)([a-zA-Z][^\t\n\f\r />]*+)((?:[\t\n\f\r /]++|{_ATTRIBUTE})*+)(>?))"
)
_ATTRIBUTES: Final = re.compile(_ATTRIBUTE)
_LONG_TAG: Final = re.compile(rf"<[a-zA-Z][^>]{{{MAX_TAG}}}")
_FORMATTING_TAG: Final = re.compile(
    r"<(?:[bB](?:[iI][gG])?|[cC][oO][dD][eE]|[eE][mM]|[fF][oO][nN][tT]|[iI]|[nN][oO][bB][rR]"
    r"|[sS](?:[mM][aA][lL]{2}|[tT][rR][iI][kK][eE]|[tT][rR][oO][nN][gG])?|[tT]{2}|[uU])"
    r"(?=[\t\n\f\r />])[^>]*"
)


def safe_length(html: str) -> int:
    """The number of characters that can safely be parsed; ``len(html)`` for any honest page."""
    tags = html.count("<")
    if not _LONG_TAG.search(html) and (
        tags <= _FREE_TAGS
        or (tags <= _NAIVE_TAGS and not _repeats(html, tags) and not _looks_deep(html))
    ):
        return len(html)
    return _scan(html)


def _repeats(html: str, tags: int) -> bool:
    """Whether formatting elements could be repeated too often, were none of them closed."""
    return len(set(_FORMATTING_TAG.findall(html))) * tags > MAX_REPEATS


def _looks_deep(html: str) -> bool:
    """Whether start tags outnumber end tags too far somewhere; also with many void elements."""
    depth = 0
    for left in range(0, len(html), _CHUNK):
        right = left + _CHUNK
        depth += html.count("<", left, right) - 2 * html.count("</", left, right)
        if depth > MAX_DEPTH:
            return True
    return False


class _Open:
    """The stack of open elements, as far as it decides depth, and the list of formatting ones."""

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.count: dict[str, int] = {}  # name -> how often on the stack
        self.formatting: dict[str, list[str]] = {}  # name -> open tags as written, 3 of a kind
        self.active = 0  # formatting elements that a new block repeats
        self.repeats = 0

    def start(self, name: str, tag: str) -> None:
        if name in _FORMATTING:
            same = self.formatting.setdefault(name, [])
            if same.count(tag) < 3:  # the standard's "Noah's Ark clause"
                same.append(tag)
                self.active += 1
        elif name not in _VOID:
            self.repeats += self.active
            if name not in _OPTIONAL:
                self.stack.append(name)
                self.count[name] = self.count.get(name, 0) + 1

    def end(self, name: str) -> None:
        if name in _FORMATTING:
            if self.formatting.get(name):
                self.formatting[name].pop()
                self.active -= 1
        elif self.count.get(name):
            walls = _MARKERS if name in _SPECIAL else _SPECIAL
            at = len(self.stack) - 1
            while self.stack[at] != name and self.stack[at] not in walls:
                at -= 1
            if self.stack[at] == name:
                # A form goes alone; what was opened inside stays open.
                gone = self.stack[at : at + 1] if name == "form" else self.stack[at:]
                del self.stack[at : at + len(gone)]
                for each in gone:
                    self.count[each] -= 1

    def bounded(self) -> bool:
        return len(self.stack) + self.active <= MAX_DEPTH and self.repeats <= MAX_REPEATS


def _scan(html: str) -> int:
    elements = _Open()
    for at, closes, name, tag in _tags(html):
        if closes:
            elements.end(name)
            continue
        elements.start(name, tag)
        if not elements.bounded():
            return at
        if len(tag) > MAX_TAG and len(_ATTRIBUTES.findall(tag)) > MAX_ATTRIBUTES:
            return at
    return len(html)


def _tags(html: str) -> Iterator[tuple[int, bool, str, str]]:
    """Position, whether an end tag, name and text of each tag, as a browser sees them."""
    at = 0
    while (found := _TAG.search(html, at)) is not None:
        comment, slash, name, _, end = found.groups()
        at = found.end()
        if comment:
            at = html.find("-->", at)
            if at < 0:
                return
            continue
        if not end:  # the text ends within a tag, which browsers ignore
            return
        name = name.lower()
        yield found.start(), bool(slash), name, found.group()
        if name in _RAW and not slash:
            at = _raw_end(html, name, at)


def _raw_end(html: str, name: str, at: int) -> int:
    """Where the raw text of an element ends; a script's may hold ``<!--`` with tags inside."""
    closing = re.compile(rf"</{name}(?=[\t\n\f\r />])", re.I)
    found = closing.search(html, at)
    if found and name == "script" and (hidden := html.find("<!--", at, found.start())) >= 0:
        shown = html.find("-->", hidden)
        found = closing.search(html, shown) if shown >= 0 else found
    return found.start() if found else len(html)
