"""Pages changed to a wanted similarity, in the ways in which pages of the web differ. Pure.

Each way takes a page's pieces (``jaccard.pieces``), the similarity that is wanted, and pieces of
other pages of the language. What comes out is measured by the judge, so that nothing depends on how
near a way comes to its aim.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from crawler.demo.rng import Rng
from crawler.evaluation.jaccard import SHINGLE, jaccard, pieces, shingles

Way: TypeAlias = Callable[[Rng, list[str], float, Sequence[str]], tuple[str, str]]

WIDTH: Final = 0.05  # of a bin of similarity
BINS: Final = 20
FIRST: Final = 10  # the first bin that is filled: from 0.5
_TRIES: Final = 20  # for each pair wanted


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts, and how similar they are."""

    one: str
    other: str
    similarity: float  # the true one, 0..1
    way: str  # in which they were made


def bin_of(similarity: float) -> int:
    """The number of a similarity's bin; 1.0 falls into the last."""
    return min(int(similarity / WIDTH + 1e-9), BINS - 1)


def words(rng: Rng, page: list[str], wanted: float, others: Sequence[str]) -> tuple[str, str]:
    """Single words replaced, here and there."""
    edits = _count(len(page) * (1 - (1 - _lost(wanted)) ** (1 / SHINGLE)), page)
    changed = list(page)
    for at in rng.sample(range(len(page)), edits):
        changed[at] = rng.pick(others)
    return "".join(page), "".join(changed)


def boilerplate(rng: Rng, page: list[str], wanted: float, others: Sequence[str]) -> tuple[str, str]:
    """Another header and another footer around the same body."""
    size = _count(len(page) * _lost(wanted), page)
    head, at = rng.between(0, size), rng.below(max(1, len(others) - size))
    material = list(others[at : at + size])
    body = page[head : len(page) - (size - head)]
    return "".join(page), "".join(material[:head] + body + material[head:])


def reordering(rng: Rng, page: list[str], wanted: float, _: Sequence[str]) -> tuple[str, str]:
    """The same passages in another order."""
    cuts = _count(len(page) * (1 - (1 - _lost(wanted)) ** (1 / (SHINGLE - 1))), page[1:])
    at = sorted(rng.sample(range(1, len(page)), cuts))
    blocks = [page[a:b] for a, b in zip([0, *at], [*at, len(page)], strict=True)]
    moved = rng.sample(blocks, len(blocks))
    return "".join(page), "".join(piece for block in moved for piece in block)


def truncation(rng: Rng, page: list[str], wanted: float, _: Sequence[str]) -> tuple[str, str]:
    """The end, or the beginning, is missing."""
    kept = _count(len(page) * wanted, page)
    return "".join(page), "".join(page[:kept] if rng.chance(0.5) else page[-kept:])


def template(rng: Rng, page: list[str], wanted: float, others: Sequence[str]) -> tuple[str, str]:
    """Two pages of one template: a field, which recurs, has another value on each."""
    step = max(1, len(page) // _count(len(page) * _lost(wanted) / SHINGLE, page))
    one, other = list(page), list(page)
    first, second = rng.pick(others), rng.pick(others)
    for at in range(rng.below(step), len(page), step):
        one[at], other[at] = first, second
    return "".join(one), "".join(other)


WAYS: Final[tuple[Way, ...]] = (words, boilerplate, reordering, truncation, template)


def changed_pairs(pages: Sequence[str], wanted: int, least: int, rng: Rng) -> Iterator[Pair]:
    """``wanted`` pairs in each bin from FIRST on, made in all ways by turns.

    Each text has at least ``least`` shingles, and no two of a pair have the same. A bin has fewer
    pairs where none of the pages can be brought there.
    """
    cut, known = [pieces(page) for page in pages], {page: shingles(page) for page in pages}
    others = [piece for page in cut for piece in page]
    left = Counter(dict.fromkeys(range(FIRST, BINS), wanted))
    for turn in range(wanted * len(left) * _TRIES):
        short = [number for number, count in left.items() if count > 0]
        if not short:
            return
        aim = (rng.pick(short) + rng.below(100) / 100) * WIDTH
        way = WAYS[turn % len(WAYS)]
        one, other = way(rng, rng.pick(cut), aim, others)
        sets = known[one] if one in known else shingles(one), shingles(other)
        similarity, size = jaccard(*sets), min(each.size for each in sets)
        if left[bin_of(similarity)] > 0 and size >= least and similarity < 1.0:
            left[bin_of(similarity)] -= 1
            yield Pair(one, other, similarity, way.__name__)


def _lost(wanted: float) -> float:
    """The share of a page's shingles that are to be others: of n, k leave J = (n - k) / (n + k)."""
    return (1 - wanted) / (1 + wanted)


def _count(ideal: float, of: Sequence[str]) -> int:
    return max(1, min(round(ideal), len(of)))
