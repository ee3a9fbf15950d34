"""What the bytes of an answer are, and what characters they stand for. Pure; nothing raises.

Media type: by signature first, by look second, with the server's word in doubt (after the WHATWG
MIME Sniffing Standard, with the textual types told apart that it leaves to the server). Character
set: byte order mark, then header, then ``meta`` or XML declaration, then detection; labels mean
what the WHATWG Encoding Standard says they mean (``iso-8859-1`` is windows-1252).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
OCTETS: Final = "application/octet-stream"

SNIFFED: Final = 1_445  # bytes looked at for the type (the standard's resource header)
_PRESCAN: Final = 4_096  # bytes looked at for a declared charset
_MAGIC: Final = (
    (b"%PDF-", "application/pdf"), (b"%!PS-Adobe-", "application/postscript"),
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"), (b"BM", "image/bmp"),
    (b"\x00\x00\x01\x00", "image/x-icon"), (b"\x1f\x8b\x08", "application/gzip"),
    (b"PK\x03\x04", "application/zip"), (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"), (b"OggS\x00", "application/ogg"),
    (b"ID3", "audio/mpeg"), (b"\x1aE\xdf\xa3", "video/webm"), (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"), (b"\x28\xb5\x2f\xfd", "application/zstd"),
)  # fmt: skip
_RIFF: Final = {b"WEBP": "image/webp", b"AVI ": "video/avi", b"WAVE": "audio/wave"}
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
_HTML_LOOK: Final = re.compile(
    rb"\s*(?:<!doctype\s+html|<!--|<(?:html|head|script|iframe|h1|div|font|table|a|style|title|b"
    rb"|body|br|p|meta|link|ul|span|main|article|section|nav|header)[\s/>])",
    re.I,
)
_XML_LOOK: Final = re.compile(
    rb"\s*<\?xml[\s?]|\s*<(?:rss|feed|urlset|sitemapindex|svg)[\s>]", re.I
)
_XML_ROOT: Final = re.compile(rb"<([a-zA-Z_][\w.\-]*(?::[\w.\-]+)?)[\s/>]")
_XML_TYPES: Final = {
    b"html": "application/xhtml+xml", b"rss": "application/rss+xml",
    b"feed": "application/atom+xml", b"svg": "image/svg+xml",
}  # fmt: skip
_JSON_LOOK: Final = re.compile(rb'\s*(?:\{\s*["}]|\[\s*(?:["\[{\]\-\d]|true|false|null))')
_BINARY: Final = bytes(set(range(0x20)) - set(b"\t\n\x0c\r\x1b"))

_META_CHARSET: Final = re.compile(rb"<meta\s[^>]*?charset\s*=\s*[\"']?\s*([^\s\"'/>;]+)", re.I)
_XML_CHARSET: Final = re.compile(rb"\s*<\?xml\s[^>]*?encoding\s*=\s*[\"']([^\"'>]+)[\"']", re.I)
_TYPE_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", re.I)
# Python codecs that know all characters of the standard's encodings, and the names to report.
_CODECS: Final = {
    "gbk": "gb18030", "euc_kr": "cp949", "shift_jis": "cp932", "big5": "big5hkscs",
    "iso8859-11": "cp874",
}  # fmt: skip
_NAMES: Final = {
    "cp949": "euc-kr", "cp932": "shift_jis", "big5hkscs": "big5", "euc_jp": "euc-jp",
    "iso2022_jp": "iso-2022-jp", "mac-roman": "macintosh", "cp866": "ibm866",
}  # fmt: skip
_HIGH: Final = bytes(range(0x80, 0x100))


def declared_type(content_type: str | None) -> str:
    """The media type a Content-Type names, lower case, no parameters; "" when it names none."""
    essence = (content_type or "").split(";", 1)[0].split(",", 1)[0].strip().lower()
    return essence if "/" in essence and " " not in essence else ""


def sniff(payload: bytes, declared: str = "") -> str:
    """The media type the bytes show, given what the server declared; "" for no bytes.

    ``text/plain`` is never turned into HTML, which sites rely on to show source.
    """
    head = payload[:SNIFFED]
    if not head:
        return ""
    by_magic = _signature(head)
    if by_magic:
        return by_magic
    text = any(head.startswith(bom) for bom, _ in _BOMS)
    if not text and len(head.translate(None, _BINARY)) != len(head):
        # Control characters: not text, save for UTF-16 without a mark, which only its label tells.
        return declared if declared in HTML and b"<\0" in head else OCTETS
    plain = head.removeprefix(codecs.BOM_UTF8)
    if _XML_LOOK.match(plain):
        return _xml_type(plain)
    if declared != "text/plain" and (_HTML_LOOK.match(plain) or declared in HTML):
        return "application/xhtml+xml" if declared == "application/xhtml+xml" else "text/html"
    if declared != "text/plain" and _JSON_LOOK.match(plain):
        return "application/json"
    return declared if declared.startswith("text/") else "text/plain"


def decode(payload: bytes, content_type: str | None = None) -> tuple[str, str]:
    """The characters and the charset (the standard's name, lower case) they were decoded with.

    The first declared charset that decodes without an error wins; without one the declared charset
    is kept if errors are few, else the bytes are asked. A character cut off at the end is no error.
    """
    text, codec = _decode(payload, content_type)
    name = re.sub(r"^cp(?=125|874)", "windows-", re.sub(r"^iso8859", "iso-8859", codec))
    return text, _NAMES.get(codec, name)


def _decode(payload: bytes, content_type: str | None) -> tuple[str, str]:
    for bom, name in _BOMS:
        if payload.startswith(bom):
            return payload[len(bom) :].decode(name, "replace"), name
    declared = list(dict.fromkeys(_declared(payload, content_type)))
    for name in declared:
        text = _strict(payload, name)
        if text is not None:
            return text, name
    high = len(payload) - len(payload.translate(None, _HIGH))
    for name in declared:
        text = payload.decode(name, "replace")
        if text.count("\ufffd") * 4 < high:
            return text, name
    return _detected(payload, declared)


def _signature(head: bytes) -> str:
    for magic, name in _MAGIC:
        if head.startswith(magic) and (magic != b"BM" or b"\0" in head[:16]):
            return name
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], "")
    return "video/mp4" if head[4:8] == b"ftyp" else ""


def _xml_type(head: bytes) -> str:
    root = _XML_ROOT.search(head)
    return _XML_TYPES.get(root.group(1).lower() if root else b"", "application/xml")


def _declared(payload: bytes, content_type: str | None) -> Iterator[str]:
    if content_type and (found := _TYPE_CHARSET.search(content_type)):
        yield from _codec(found.group(1))
    head = payload[:_PRESCAN]
    for pattern in (_XML_CHARSET, _META_CHARSET):
        inside = pattern.search(head)
        if inside:
            for name in _codec(inside.group(1).decode("latin-1")):
                # A declaration that ASCII bytes spell cannot stand in UTF-16.
                yield "utf-8" if name.startswith("utf-16") else name


def _codec(label: str) -> Iterator[str]:
    name = map_encoding_to_html5(label.strip().lower(), False)
    if name:
        yield _CODECS.get(name, name)


def _strict(payload: bytes, name: str) -> str | None:
    try:
        return codecs.getincrementaldecoder(name)("strict").decode(payload)
    except UnicodeError:
        return None


def _detected(payload: bytes, declared: list[str]) -> tuple[str, str]:
    guesses = ["utf-8", *_codec(detect_encoding(payload) or "cp1252"), *declared, "cp1252"]
    for name in guesses:
        text = _strict(payload, name)
        if text is not None:
            return text, name
    name = declared[0] if declared else guesses[1]
    return payload.decode(name, "replace"), name
