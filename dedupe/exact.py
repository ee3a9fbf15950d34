"""Exact duplicates: digests of the decoded payload and of the normalised text. Pure."""

from __future__ import annotations

from base64 import b32encode
from hashlib import blake2b, sha1
from typing import Final

TEXT_DIGEST_BYTES: Final = 16
_SLICE: Final = 1 << 20  # characters normalised at a time, so that memory stays bounded


def digest(payload: bytes) -> str:
    """``sha1:`` and 32 base-32 digits, as in WARC-Payload-Digest and Common Crawl's index.

    SHA-1 names content here as the archives do; nothing trusts it against forgery.
    """
    return "sha1:" + b32encode(sha1(payload, usedforsecurity=False).digest()).decode("ascii")


def text_digest(text: str) -> bytes | None:
    """16 bytes that are equal for texts that differ in case and white space only.

    None for a text without any visible character: empty pages are not copies of each other. Never
    raises: lone surrogates count as the characters they are.
    """
    state = blake2b(digest_size=TEXT_DIGEST_BYTES)
    some = gap = False  # something was hashed; white space came since
    for left in range(0, len(text), _SLICE):
        part = text[left : left + _SLICE].casefold()
        words = part.split()
        if words:
            if some and (gap or part[0].isspace()):
                state.update(b" ")
            state.update(" ".join(words).encode("utf-8", "surrogatepass"))
            some = True
        gap = part[-1].isspace() if words else True
    return state.digest() if some else None
