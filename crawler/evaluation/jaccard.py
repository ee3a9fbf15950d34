"""The true similarity of texts: the Jaccard similarity of their sets of shingles, exactly. Pure.

The judge shares no code and no tables with what it judges: it tells letters from separators, and
scripts that are written without spaces from others, by Python's own Unicode data. Shingles stand as
64-bit hashes; that two of a language's ten million should fall together is one chance in 10^5.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Final, TypeAlias

import mmh3
import numpy as np
from numpy.typing import NDArray

Shingles: TypeAlias = NDArray[np.uint64]  # of one text: sorted, each once

SHINGLE: Final = 5  # tokens
_WEIGHTS: Final = np.multiply.accumulate(np.full(SHINGLE, 0x9E3779B97F4A7C15, np.uint64))
_TOKEN: Final = re.compile("s|w+")
_SOLO: Final = (
    "CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO", "THAI", "LAO",
    "KHMER", "MYANMAR",
)  # fmt: skip


class _Kinds(dict[int, str]):
    """For each code point: a (s)olo character, a (w)ord's, or a space."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        kind = "w" if unicodedata.category(char)[0] in "LNM" else " "
        if kind == "w" and unicodedata.name(char, "").startswith(_SOLO):
            kind = "s"
        self[code] = kind
        return kind


class _Spaced(dict[int, str]):
    """For each code point: itself, spaces around it if it is a token of its own, or a space."""

    def __missing__(self, code: int) -> str:
        kind, char = _kinds[code], chr(code)
        self[code] = f" {char} " if kind == "s" else char if kind == "w" else " "
        return self[code]


_kinds: Final = _Kinds()
_spaced: Final = _Spaced()


def pieces(text: str) -> list[str]:
    """A text cut before each of its tokens but the first; joined they are the text again.

    A token is a character of a script without spaces, or a run of letters, digits and marks.
    """
    starts = [match.start() for match in _TOKEN.finditer(text.translate(_kinds))]
    ends = [*starts[1:], len(text)]
    return [text[start:end] for start, end in zip([0, *starts[1:]], ends, strict=bool(starts))]


def tokens(text: str) -> list[str]:
    """The tokens of a text, case folded."""
    return text.translate(_spaced).casefold().split()


def shingles(text: str) -> Shingles:
    """The set of a text's runs of five tokens; empty below five tokens."""
    found = tokens(text)
    hashes = np.fromiter(map(_hash, found), np.uint64, len(found))
    count = max(0, len(found) - SHINGLE + 1)
    runs = sum(hashes[at : at + count] * _WEIGHTS[at] for at in range(SHINGLE))
    return np.unique(runs)


@cache
def _hash(token: str) -> int:
    return mmh3.hash64(token, signed=False)[0]


def jaccard(one: Shingles, other: Shingles) -> float:
    """The similarity of two texts, 0..1; 0 where neither has a shingle."""
    shared = np.intersect1d(one, other, assume_unique=True).size
    either = one.size + other.size - shared
    return shared / either if either else 0.0
