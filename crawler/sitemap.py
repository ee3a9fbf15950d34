"""Sitemaps: XML (urlset and index), RSS, Atom and text lists, gzipped or not. Pure.

Parsed as a stream with entity expansion off and bounded in bytes and entries; what stands before
an error is kept. An index is not followed here: its entries say so and go through the frontier.
Source: https://www.sitemaps.org/protocol.html, RSS 2.0, RFC 4287 (Atom).
"""

from __future__ import annotations

import codecs
import html
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from lxml import etree  # type: ignore[import-untyped]

from crawler import content

MAX_BYTES: Final = 50 * 1024 * 1024  # uncompressed, as the protocol says
MAX_ENTRIES: Final = 50_000
MAX_ELEMENTS: Final = 1_000_000  # of XML, of any name
MAX_URL: Final = 2_048  # characters; the protocol's limit
_CHUNK: Final = 65_536
_GZIP: Final = b"\x1f\x8b"

# What is escaped before parsing, CDATA left alone: an ampersand that starts none of XML's own
# references (unescaped, or of a declared entity, which is not to be expanded), and a "<" that
# starts nothing (past which the parser finds no entries any more).
_BARE: Final = re.compile(
    rb"<!\[CDATA\[.*?(?:\]\]>|\Z)|<(?![a-zA-Z_/!?])"
    rb"|&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});)",
    re.S,
)
_ESCAPED: Final = {b"&": b"&amp;", b"<": b"&lt;"}
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DECLARATION: Final = re.compile(r"\s*<\?xml[^>]*>")
# An address that the document ends within.
_CUT: Final = re.compile(
    rb"<(?:[\w.\-]+:)?(loc|link)(?:\s[^>]*)?(?<!/)>(?!.*</(?:[\w.\-]+:)?\1\b)(.*)", re.S
)
_TAIL: Final = 16_384  # bytes in which it is looked for
_ENDING: Final = re.compile(rb"</(?:[\w.\-]+:)?(?:urlset|sitemapindex|rss|feed|RDF)\s*>")

_ENTRIES: Final = frozenset({"url", "sitemap", "item", "entry"})
_DATES: Final = frozenset({"lastmod", "pubDate", "updated", "date"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One address that a sitemap lists."""

    loc: str  # as written, white space trimmed: http or https, not yet parsed
    lastmod: float | None = None  # unix seconds
    priority: float | None = None  # 0..1
    is_index: bool = False  # itself a sitemap


@dataclass(frozen=True, slots=True)
class Sitemap:
    """What a sitemap lists."""

    entries: tuple[Entry, ...] = ()
    invalid: int = 0  # of what it lists, that is no http(s) URL
    problem: str = ""  # "" or why entries may be missing: broken | too-large | too-many | not-one

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)


def parse_sitemap(payload: bytes, content_type: str | None = None, *, cut: bool = False) -> Sitemap:
    """The entries of a sitemap; never raises. Text lists are taken for UTF-8.

    ``cut``: the payload ended early; an address that ends with it is left out.
    """
    data, problem = _unpack(payload)
    head = data[:1024].lstrip(b"\xef\xbb\xbf\0\xff\xfe \t\r\n")
    read: list[Entry] = []
    if head.startswith(b"<"):
        if content.sniff(head) in content.HTML:
            return Sitemap(problem="not-one")
        problem = _read_xml(data, read) or problem
    else:
        text, _ = content.decode(data, content_type or "text/plain; charset=utf-8")
        whole = not (cut or problem) or text.endswith(("\n", "\r"))
        read.extend(_lines(text if whole else text[: max(text.rfind("\n"), text.rfind("\r")) + 1]))
        if not any(_fetchable(entry.loc) for entry in read):
            return Sitemap(problem=problem or "not-one")
    problem = problem or ("broken" if cut else "")
    if len(read) > MAX_ENTRIES:
        read, problem = read[:MAX_ENTRIES], problem or "too-many"
    found = tuple(entry for entry in read if _fetchable(entry.loc))
    return Sitemap(found, len(read) - len(found), problem)


def _unpack(payload: bytes) -> tuple[bytes, str]:
    """The bytes without gzip, at most MAX_BYTES of them, and what is wrong with them."""
    problem = ""
    data = payload
    if payload.startswith(_GZIP):
        inflater = zlib.decompressobj(wbits=31)
        parts: list[bytes] = []
        size = 0
        try:
            for left in range(0, len(payload), _CHUNK):
                part = inflater.decompress(payload[left : left + _CHUNK], MAX_BYTES + 1 - size)
                parts.append(part)
                size += len(part)
                if size > MAX_BYTES or inflater.eof:
                    break
        except zlib.error:
            problem = "broken"
        data = b"".join(parts)
        problem = problem or ("" if inflater.eof or size > MAX_BYTES else "broken")
    if len(data) > MAX_BYTES:
        return data[:MAX_BYTES], "too-large"
    return data, problem


def _read_xml(data: bytes, found: list[Entry]) -> str:
    """Append the entries of an XML document; returns what is wrong with it."""
    parser = etree.XMLPullParser(
        events=("end",),
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        recover=True,
    )
    if data.startswith(_UTF16):
        data = _DECLARATION.sub("", content.decode(data)[0], count=1).encode("utf-8")
    data = _BARE.sub(lambda found: _ESCAPED.get(found[0], found[0]), data)
    elements = 0
    try:
        for left in range(0, len(data), _CHUNK):
            parser.feed(data[left : left + _CHUNK])
            elements += _collect(parser, found)
            if len(found) > MAX_ENTRIES or elements > MAX_ELEMENTS:
                return "too-many"
        parser.close()
        _collect(parser, found)
    except etree.XMLSyntaxError:  # beyond recovery: what was read stays
        with suppress(UnicodeDecodeError):
            _collect(parser, found)
        return "broken"
    except UnicodeDecodeError:  # lxml read a name or text that is not UTF-8
        return "broken"
    if _ENDING.search(data[-1024:]):
        return ""
    if found and _ends_within(data, found[-1]):
        found.pop()
    return "broken"


def _ends_within(data: bytes, last: Entry) -> bool:
    """Whether a document ends within the address of its last entry, which the parser closed."""
    cut = _CUT.search(data[-_TAIL:])
    if cut is None:
        return False
    text = cut[2].decode("utf-8", "replace").strip().removeprefix("<![CDATA[")
    return html.unescape(text).strip() == last.loc


def _collect(parser: etree.XMLPullParser, found: list[Entry]) -> int:
    """Append the entries that were read since the last call; returns the number of elements."""
    count = 0
    for count, (_, element) in enumerate(parser.read_events(), 1):  # noqa: B007
        if _local(element) not in _ENTRIES:
            continue
        if len(found) <= MAX_ENTRIES:
            found.append(_entry(element))
        # Free what was read, or memory grows with the document.
        element.clear()
        parent = element.getparent()
        while parent is not None and element.getprevious() is not None:
            del parent[0]
    return count


def _local(element: etree._Element) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _entry(element: etree._Element) -> Entry:
    values: dict[str, str] = {}
    for child in element:
        name, text = _local(child), (child.text or "").strip()
        if name == "link" and not text and child.get("rel", "alternate") == "alternate":
            text = child.get("href", "").strip()
        if text:
            values.setdefault("lastmod" if name in _DATES else name, text)
    return Entry(
        values.get("loc") or values.get("link") or "",
        _time(values.get("lastmod", "")),
        _priority(values.get("priority", "")),
        _local(element) == "sitemap",
    )


def _lines(text: str) -> Iterator[Entry]:
    for line in text.splitlines()[: MAX_ENTRIES + 1]:
        if loc := line.strip():
            yield Entry(loc)


def _fetchable(loc: str) -> bool:
    return len(loc) <= MAX_URL and loc[:8].lower().startswith(("http://", "https://"))


def _priority(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0.0 <= value <= 1.0 else None


def _time(text: str) -> float | None:
    """Unix seconds of a W3C date-time (year and month suffice) or an RFC 822 date; UTC assumed."""
    try:
        moment = datetime.fromisoformat(text if len(text) != 7 else f"{text}-01")
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, IndexError):
            return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.timestamp()
    except OverflowError:
        return None
