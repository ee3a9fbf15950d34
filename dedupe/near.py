"""Near-duplicates: text -> shingles -> similarity sketch -> 4-bit signature and bands. Pure.

The main text is folded to lower case and cut into tokens: a run of letters, digits and marks is
one, and so is every single character of the scripts written without spaces (Chinese, Japanese,
Thai, Lao, Khmer, Burmese). Five tokens in a row are a shingle: word 5-grams where there are words,
character 5-grams where there are none, and the obvious mixture in mixed text.

The sketch has 256 values, by Fast Similarity Sketching (Dahlgaard, Knudsen, Thorup, FOCS 2017). As
in a MinHash, each value of two texts is equal with probability J, their Jaccard similarity, and the
sketch of a union is the element-wise minimum; so sketches load into ``datasketch.MinHash`` and
``MinHashLSH``. Instead of hashing every shingle 256 times, rounds throw each into one of 256 bins
until none is empty, two rounds for most texts. That takes a sixth of the time, and the estimate
varies less, as every bin has a winner of its own.

Two things are made of it. Bands: hashes of some values each, by which candidates are found; at the
threshold of 0.8 they are 16 of 8 (two texts share one with probability 1 - (1 - J^8)^16: 0.95 at
J = 0.8, 0.994 at 0.85, 0.9999 at 0.9). Packed: 4 bits of each value (128 bytes), by which
candidates are verified (Li and Koenig, "b-Bit Minwise Hashing", WWW 2010), with a standard error of
at most 0.028 at J = 0.8.

Kept here: the same text gives the same signature in every process, on every platform and in every
version (a golden file proves it): all arithmetic is on unsigned integers of fixed width, nothing
depends on Python's hash seed, and what counts as a letter stands below instead of coming from the
interpreter's Unicode tables (only case folding does, which Unicode keeps stable). Time and memory
are bounded: texts are compared by their first million characters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

U8: TypeAlias = NDArray[np.uint8]
U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]

VALUES: Final = 256  # of a sketch
BANDED: Final = VALUES // 2  # of them, those that bands may be made of
SHINGLE: Final = 5  # tokens
MIN_SHINGLES: Final = 25  # distinct ones; shorter texts are compared exactly only
THRESHOLD: Final = 0.8  # Jaccard similarity from which two texts are near-duplicates
SLACK: Final = 0.01  # an estimate may fall short of the threshold by that: recall first
MAX_CHARS: Final = 1_000_000  # of a text that are looked at
PACKED_BYTES: Final = VALUES // 2
CHANCE: Final = 1 / 16  # that two different values agree in 4 bits

_ROUNDS: Final = 255  # in which shingles are thrown into bins; a value's top byte is its round
_THROWS: Final = 2048  # at a time: few texts need more
_EMPTY: Final = np.uint32(0xFFFFFFFF)
_SOLO: Final = np.uint32(1 << 31)  # marks a character that is a token of its own
_CODE: Final = np.uint32((1 << 21) - 1)
_START: Final = np.uint32(1 << 21)  # added to a token's first character: "ab c" is not "a bc"
_RADIX: Final = 0x5851F42D4C957F2D  # odd, so it has an inverse modulo 2^64 (Knuth's MMIX)
_PAGE: Final = 1024  # powers of the radix are tabulated as high page x low index

# What separates tokens; all other characters are letters, digits or marks.
_SEPARATORS: Final = (
    (0x00, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0xA9), (0xAB, 0xB4), (0xB6, 0xB9),
    (0xBB, 0xBF), (0xD7, 0xD7), (0xF7, 0xF7), (0x2C2, 0x2DF), (0x37E, 0x37E), (0x387, 0x387),
    (0x55A, 0x55F), (0x589, 0x58F), (0x5BE, 0x5BE), (0x5C0, 0x5C0), (0x5C3, 0x5C3),
    (0x5C6, 0x5C6), (0x5F3, 0x5F4), (0x600, 0x60F), (0x61B, 0x61F), (0x66A, 0x66D),
    (0x6D4, 0x6D4), (0x700, 0x70F), (0x964, 0x965), (0xE2F, 0xE2F), (0xE3F, 0xE3F),
    (0xE4F, 0xE4F), (0xE5A, 0xE5B), (0xF01, 0xF17), (0x104A, 0x104F), (0x1360, 0x1368),
    (0x166D, 0x166E), (0x17D4, 0x17DB), (0x1800, 0x180A), (0x2000, 0x206F), (0x20A0, 0x20CF),
    (0x2190, 0x2BFF), (0x2E00, 0x2E7F), (0x2FF0, 0x3004), (0x3008, 0x3020), (0x3030, 0x3030),
    (0x303D, 0x303F), (0x30FB, 0x30FB), (0xD800, 0xF8FF), (0xFD3E, 0xFD3F),
    (0xFE00, 0xFE6F), (0xFEFF, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF65),
    (0xFFE0, 0xFFFF), (0x1F000, 0x1FAFF), (0xE0000, 0x10FFFF),
)  # fmt: skip
# Scripts written without spaces between words.
_SOLOS: Final = (
    (0xE01, 0xE2E), (0xE30, 0xE3E), (0xE40, 0xE4E), (0xE50, 0xE59), (0xE81, 0xEDF),
    (0x1000, 0x1049), (0x1050, 0x109F), (0x1780, 0x17D3), (0x17DC, 0x17FF), (0x2E80, 0x2FDF),
    (0x3005, 0x3007), (0x3021, 0x302F), (0x3031, 0x303C), (0x3041, 0x30FA), (0x30FC, 0x312F),
    (0x31A0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F),
    (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip
_CASED_END: Final = 0x1E944  # no character from here on has case


class Shape(NamedTuple):
    """How the first 128 values are banded."""

    bands: int
    rows: int  # values of a band


@dataclass(frozen=True, slots=True)
class Signature:
    """What a text is compared by."""

    packed: bytes  # 128 bytes: 4 bits of each of the 256 values, low nibble first
    bands: bytes  # band hashes, little-endian uint32; 16 of them at threshold 0.8
    shingles: int  # number of distinct shingles


@cache
def shape(threshold: float = THRESHOLD) -> Shape:
    """The bands that suit a threshold: datasketch's optimum where a miss costs 19 false alarms.

    A false alarm costs a comparison of signatures, a miss a copy in the corpus. At equal weights,
    its default, the optimum at 0.8 is 9 bands of 13, which find 40% of the pairs at exactly 0.8.
    """
    if threshold == THRESHOLD:
        return Shape(16, 8)  # what follows gives; it takes half a second to import
    from datasketch import MinHashLSH

    found = MinHashLSH(threshold=threshold, num_perm=BANDED, weights=(0.05, 0.95))
    return Shape(found.b, found.r)


def signature(
    text: str, *, minimum: int = MIN_SHINGLES, threshold: float = THRESHOLD
) -> Signature | None:
    """The signature of a text, or None when it has fewer than ``minimum`` distinct shingles.

    Never raises, whatever the text; some 0.2 ms for 1,500 words.
    """
    distinct = shingles(text)
    if len(distinct) < max(minimum, 1):
        return None
    sketch = _sketch(distinct)
    return Signature(_pack(sketch), _bands(sketch, shape(threshold)), len(distinct))


def values(text: str) -> U32 | None:
    """The sketch, or None for a text without any shingle.

    It loads as ``datasketch.MinHash(hashvalues=values(text), scheme="affine32")``.
    """
    distinct = shingles(text)
    return _sketch(distinct) if len(distinct) else None


def unpacked(packed: bytes) -> U32:
    """A stored signature's 256 values of 4 bits; they load as those of :func:`values` do.

    Different values agree once in 16 times by chance, so the share of equal ones overstates the
    similarity; :func:`similarity` corrects for it.
    """
    both = np.frombuffer(packed, np.uint8)
    return np.stack((both & 0x0F, both >> 4), axis=1).ravel().astype(np.uint32)


def estimate(a: bytes, b: bytes) -> float:
    """The Jaccard similarity of two texts, 0..1, from their packed signatures.

    Two different values agree in 4 bits once in 16 times; the estimate is corrected for that.
    """
    return similarity(matches(a, b))


def matches(a: bytes, b: bytes) -> int:
    """How many of the 256 values agree in their 4 bits."""
    differ = np.frombuffer(a, np.uint8) ^ np.frombuffer(b, np.uint8)
    return int(np.count_nonzero(differ & 0x0F == 0) + np.count_nonzero(differ & 0xF0 == 0))


def similarity(same: int) -> float:
    """The Jaccard similarity of which so many matches are the sign."""
    return max(0.0, (same / VALUES - CHANCE) / (1 - CHANCE))


def needed(threshold: float) -> int:
    """The matches that make a candidate a near-duplicate."""
    return math.ceil(VALUES * ((threshold - SLACK) * (1 - CHANCE) + CHANCE))


def shingles(text: str) -> U32:
    """The distinct shingles of a text as sorted 32-bit hashes; empty below five tokens."""
    codes = np.frombuffer(text[:MAX_CHARS].encode("utf-32-le", "surrogatepass"), "<u4")
    folded = _fold_table().take(codes)
    kept = folded != 0
    solo = folded >= _SOLO
    begins = kept.copy()  # a token begins at each solo, and at a letter after anything else
    begins[1:] &= ~kept[:-1] | solo[1:] | solo[:-1]
    units = folded.compress(kept) & _CODE
    starts = np.flatnonzero(begins.compress(kept))
    if len(starts) < SHINGLE:
        return np.empty(0, np.uint32)
    units[starts] += _START
    hashes = _substring_hashes(units, starts)
    hashes.sort()
    distinct: U32 = hashes[np.concatenate(([True], hashes[1:] != hashes[:-1]))]
    return distinct


def _substring_hashes(units: U32, starts: NDArray[np.intp]) -> U32:
    """A hash of each run of five tokens, from prefix sums of the polynomial sum(u[i] * r^i)."""
    pages, inverse_pages = _powers()
    count = len(units)
    powers = (pages[1][: count // _PAGE + 1, None] * pages[0]).ravel()
    sums = np.zeros(count + 1, np.uint64)
    np.cumsum(units * powers[:count], out=sums[1:])
    first = starts[: len(starts) - SHINGLE + 1]
    end = np.append(starts[SHINGLE:], count)
    shift = inverse_pages[1].take(first // _PAGE) * inverse_pages[0].take(first % _PAGE)
    # Divided by r^start, a run hashes alike wherever it stands; times r, so that its first
    # character reaches the high bits too.
    hashes: U64 = (sums[end] - sums[first]) * (shift * np.uint64(_RADIX))
    return (hashes >> np.uint64(32)).astype(np.uint32)


def _sketch(hashes: U32) -> U32:
    """Fast Similarity Sketching: each bin has the least of what was first thrown into it.

    A value is its round's number and 24 bits of the hash that won, so that lower rounds win.
    """
    best = np.full(VALUES, _EMPTY, np.uint32)
    together = max(1, _THROWS // len(hashes))
    for first in range(0, _ROUNDS, together):
        rounds = np.arange(first, min(first + together, _ROUNDS), dtype=np.uint64)[:, None]
        mixed = _mix(hashes | (rounds << np.uint64(32)))
        thrown = (mixed >> np.uint64(8)).astype(np.uint32) >> np.uint32(8)
        thrown |= rounds.astype(np.uint32) << np.uint32(24)
        np.minimum.at(best, (mixed >> np.uint64(56)).ravel(), thrown.ravel())
        if best.max() != _EMPTY:
            return best
    for empty in np.flatnonzero(best == _EMPTY).tolist():  # of texts with next to no shingles
        mixed = _mix(hashes | np.uint64(_ROUNDS + empty << 32))
        best[empty] = (mixed >> np.uint64(40)).min() | np.uint64(_ROUNDS << 24)
    return best


def _pack(sketch: U32) -> bytes:
    """Four bits of each value; which four depends on all its bits, as its top bits are near 0."""
    nibbles = ((sketch * np.uint32(0x9E3779B1)) >> np.uint32(28)).astype(np.uint8)
    packed: U8 = nibbles[0::2] | (nibbles[1::2] << np.uint8(4))
    return packed.tobytes()


def _bands(sketch: U32, banding: Shape) -> bytes:
    """A 32-bit hash of each band's values and the band's number."""
    bands, rows = banding
    weights = _weights(rows)
    sums = (sketch[: bands * rows].reshape(bands, rows) * weights[:rows]).sum(
        axis=1, dtype=np.uint64
    ) + weights[rows]
    sums += np.arange(bands, dtype=np.uint64) * weights[rows + 1]
    sums = (sums ^ (sums >> np.uint64(29))) * np.uint64(_RADIX)
    hashes: U32 = (sums >> np.uint64(32)).astype("<u4")
    return hashes.tobytes()


def _mix(z: U64) -> U64:
    """SplitMix64: 64 bits, each of which depends on all bits of the number."""
    z = z * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@cache
def _weights(rows: int) -> U64:
    """Odd 64-bit weights for a band's hash: of its values, then of a salt and its number."""
    return np.multiply.accumulate(np.full(rows + 2, 0xD1342543DE82EF95, np.uint64))


@cache
def _powers() -> tuple[tuple[U64, U64], tuple[U64, U64]]:
    """r^0..r^1023 and r^(1024 * 0)..r^(1024 * 1023); then the same of r's inverse."""

    def pages(radix: int) -> tuple[U64, U64]:
        low = np.full(_PAGE, radix, np.uint64)
        low[0] = 1
        high = np.full(_PAGE, pow(radix, _PAGE, 1 << 64), np.uint64)
        high[0] = 1
        return np.multiply.accumulate(low), np.multiply.accumulate(high)

    return pages(_RADIX), pages(pow(_RADIX, -1, 1 << 64))


@cache
def _fold_table() -> U32:
    """For each code point: 0 when it separates, else its case-folded code, marked when solo."""
    table = np.arange(0x110000, dtype=np.uint32)
    folded = [chr(code).casefold() for code in range(_CASED_END)]
    table[:_CASED_END] = [
        ord(f) if len(f) == 1 else code for code, f in enumerate(folded)
    ]  # those that fold to several characters stay as they are
    for low, high in _SOLOS:
        table[low : high + 1] |= _SOLO
    for low, high in _SEPARATORS:
        table[low : high + 1] = 0
    return table
