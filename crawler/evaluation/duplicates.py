"""How well near-duplicates are told from others, on a small fixed set made for the project. Pure.

The set is articles of the demo web's word salad in six languages, and pairs of them at every
similarity from 0.5 up; it is the same in every process. Real pages, and the index in Redis, are
``benchmarks/near_dup.py``'s business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from crawler.demo.rng import Rng
from crawler.demo.text import TextSpec, article
from crawler.evaluation.changes import BINS, Pair, bin_of, changed_pairs
from dedupe.near import MIN_SHINGLES, THRESHOLD, Signature, matches, needed, signature

LANGUAGES: Final = ("en", "de", "ru", "ar", "zh", "ja")
SURE: Final = range(18, BINS)  # bins of those that must nearly all be found: J >= 0.9
LIKELY: Final = range(17, 18)  # of those that must be found mostly: 0.85 <= J < 0.9
NEAR: Final = range(16, 17)  # of those that are hard to tell: 0.8 <= J < 0.85
GOOD: Final = range(15, BINS)  # of those that may be called near-duplicates: J >= 0.75
_WORDS: Final = (60, 100, 150, 250, 400)  # lengths of articles
_PAIRS: Final = 30  # in each bin, of each language
NEEDED: Final = needed(THRESHOLD)  # values that agree


@dataclass(slots=True)
class Counts:
    """Pairs by bin of true similarity."""

    pairs: Counter[int] = field(default_factory=Counter)
    called: Counter[int] = field(default_factory=Counter)  # of them, called near-duplicates

    def add(self, similarity: float, *, called: bool) -> None:
        """Count one pair."""
        self.pairs[bin_of(similarity)] += 1
        self.called[bin_of(similarity)] += called

    def recall(self, bins: Iterable[int]) -> float | None:
        """The share of the bins' pairs that are called; None: there are no pairs."""
        numbers = list(bins)
        pairs = sum(self.pairs[number] for number in numbers)
        return sum(self.called[number] for number in numbers) / pairs if pairs else None

    def precision(self) -> float | None:
        """The share of what is called that has a similarity of at least 0.75; None: nothing is."""
        called = self.called.total()
        return sum(self.called[number] for number in GOOD) / called if called else None


@dataclass(frozen=True, slots=True)
class DuplicateFigures:
    """Shares, 0..1."""

    recall_90: float  # of the pairs with J >= 0.9, called near-duplicates
    recall_85: float  # with 0.85 <= J < 0.9
    recall_80: float  # with 0.8 <= J < 0.85, the first bin above the threshold
    precision: float  # of the pairs called near-duplicates, with J >= 0.75


def evaluate() -> DuplicateFigures:
    """The figures of the fixed set; the same on every machine. Takes some seconds."""
    counts = Counts()
    for language in LANGUAGES:
        for pair in pairs(language):
            yes = called(signature(pair.one), signature(pair.other))
            counts.add(pair.similarity, called=yes)
    return DuplicateFigures(
        recall_90=counts.recall(SURE) or 0.0,
        recall_85=counts.recall(LIKELY) or 0.0,
        recall_80=counts.recall(NEAR) or 0.0,
        precision=counts.precision() or 0.0,
    )


def pairs(language: str) -> list[Pair]:
    """The fixed set's pairs of one language, their true similarities with them."""
    specs = [TextSpec(f"evaluation {words}", language, words) for words in _WORDS]
    texts = [article(spec).main_text for spec in specs]
    return list(changed_pairs(texts, _PAIRS, MIN_SHINGLES, Rng(f"evaluation/{language}")))


def called(one: Signature | None, other: Signature | None) -> bool:
    """Whether the second of two pages would be called a near-duplicate of the first.

    As the index does it: they have a band in common, and enough values agree. None: too short.
    """
    if one is None or other is None:
        return False
    bands = (np.frombuffer(each.bands, "<u4") for each in (one, other))
    return bool(np.equal(*bands).any()) and matches(one.packed, other.packed) >= NEEDED
