"""A page as the index of duplicates takes it, and its form on the wire. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from dedupe.near import PACKED_BYTES, Signature
from dedupe.scripts import DedupeError

NO_TEXT: Final = b"\0" * 8  # in place of a text's digest
_PAGE_ID_BYTES: Final = 16
HEAD: Final = 40  # bytes before the signature: page id 16, URL 8, payload 8, text 8
SIGNED: Final = HEAD + PACKED_BYTES  # bytes before the bands


@dataclass(frozen=True, slots=True)
class Document:
    """A page as the index wants to know it."""

    page_id: str  # 32 hexadecimal digits; the same for every attempt at the same visit
    url: str  # identity key of the URL: the same for all its visits
    payload_digest: str  # dedupe.exact.digest
    text_digest: bytes | None  # dedupe.exact.text_digest; None: no text to compare
    signature: Signature | None  # dedupe.near.signature; None: too short to compare


def pack(document: Document) -> bytes:
    """Page id 16, URL 8, payload 8, text 8; with a signature also its 128 bytes and bands."""
    signature = document.signature
    return b"".join(
        (
            page_id(document.page_id),
            short(document.url.encode("utf-8", "surrogatepass")),
            short(document.payload_digest.encode()),
            (document.text_digest or NO_TEXT)[:8],
            signature.packed + signature.bands if signature else b"",
        )
    )


def page_id(text: str) -> bytes:
    """The 16 bytes of a page id. Raises DedupeError."""
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        packed = b""
    if len(packed) != _PAGE_ID_BYTES or not any(packed):
        raise DedupeError(f"not a page id of 32 hexadecimal digits: {text!r}")
    return packed


def short(value: bytes) -> bytes:
    """Eight bytes that stand for a longer value."""
    return blake2b(value, digest_size=8).digest()
