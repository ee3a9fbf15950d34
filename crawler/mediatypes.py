"""Which answers a job reads and stores, by what they are. Pure.

A type is clearly another than those wanted, or it is not: then the first bytes decide, as many as
the WHATWG MIME Sniffing Standard looks at. They overrule a label where it says nothing
(``application/octet-stream``, no label) and where they contradict it: what has a picture's
signature is no text, whatever it is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from crawler.content import OCTETS, SNIFFED, declared_type, sniff

DEFAULT: Final = (
    *("text/html", "application/xhtml+xml", "text/plain", "application/pdf"),
    *("application/json", "application/*+json"),
    *("text/xml", "application/xml", "application/*+xml"),
)
_PATTERN: Final = re.compile(r"[a-z0-9!#$&^_.+*-]+/[a-z0-9!#$&^_.+*-]+")  # RFC 6838 4.2, and *
# Labels that say nothing (WHATWG MIME Sniffing, 7.1; the first is what servers say in doubt).
_VAGUE: Final = frozenset({OCTETS, "unknown/unknown", "application/unknown", "*/*", ""})
_TEXT: Final = re.compile(
    r"text/.*|application/(?:json|xml|javascript|ecmascript|yaml|x-ndjson|sql)|.*\+(?:json|xml)"
)
# What many formats are packed in: such a signature contradicts no label.
_PACKED: Final = frozenset({OCTETS, "application/zip", "application/gzip", "application/ogg"})


def media_pattern(text: str) -> str:
    """A media type, or a pattern with * for any characters; ValueError for anything else."""
    lower = text.strip().lower()
    if not _PATTERN.fullmatch(lower):
        raise ValueError(f"not a media type: {text!r} (write text/html, image/* or */*)")
    return lower


def effective(declared: str, beginning: bytes) -> str:
    """What an answer is, given its label and its first bytes; the label where there are none."""
    detected = sniff(beginning, declared)
    if not detected or declared in _VAGUE:
        return detected or declared
    if _TEXT.fullmatch(declared):
        return declared if _TEXT.fullmatch(detected) else detected
    return declared if _TEXT.fullmatch(detected) or detected in _PACKED else detected


class MediaTypes:
    """The types that a job wants; patterns as :func:`media_pattern` gives them."""

    def __init__(self, patterns: Iterable[str]) -> None:
        globs = (re.escape(each).replace(r"\*", ".*") for each in patterns)
        self._wanted = re.compile("|".join(globs))
        self._all = self.wants("*/*")

    def wants(self, media_type: str) -> bool:
        """Whether answers of a type are stored."""
        return self._wanted.fullmatch(media_type) is not None

    def refuses(self, content_type: str, beginning: bytes | None) -> str | None:
        """Why an answer is not to be read on, in words; None: it is.

        :param content_type: the header, "" for none
        :param beginning: the first ``SNIFFED`` decoded bytes, or all there are; None: not known yet
        """
        if self._all:
            return None
        declared = declared_type(content_type)
        if beginning is None:
            known = declared if declared not in _VAGUE else ""
            return f"it is {known}" if known and not self.wants(known) else None
        found = effective(declared, beginning[:SNIFFED])
        if not found or self.wants(found):
            return None
        return f"it is {found}" + (f", not {declared}" if declared not in ("", found) else "")
