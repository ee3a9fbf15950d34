"""How well near-duplicates are found: pairs of pages, counted by their true similarity."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.near_changes import BINS, FIRST, WIDTH, bin_of, changed_pairs
from benchmarks.near_judge import shingles, similar_pairs
from benchmarks.near_pages import pages
from benchmarks.near_verdicts import asked, called, candidates, signed, unlike, visited
from benchmarks.private_redis import VALKEY, private_redis
from dedupe.near import MIN_SHINGLES, Signature

NATURAL: Final = "natural"  # the way of pairs that nobody made
CHANGED: Final = 400  # pages that are changed, of each language
SURE: Final = 18  # the first bin of those that must nearly all be found: J >= 0.9
LIKELY: Final = 17  # the bin of those that must be found mostly: 0.85 <= J < 0.9
GOOD: Final = 15  # the first bin of those that may be called near-duplicates: J >= 0.75
RECALL_SURE: Final = 0.97
RECALL_LIKELY: Final = 0.90
PRECISION: Final = 0.97


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
        """The share of what is called that has a similarity of at least 0.75; None: none is."""
        called = self.called.total()
        good = sum(self.called[number] for number in range(GOOD, BINS))
        return good / called if called else None


def added(some: Iterable[Counts]) -> Counts:
    """All in one."""
    total = Counts()
    for each in some:
        total.pairs += each.pairs
        total.called += each.called
    return total


@dataclass(frozen=True, slots=True)
class Quality:
    """What was found of one language."""

    language: str
    pages: int  # all different, none too short to compare
    counts: dict[str, Counts]  # by way; "natural": all pairs of pages
    unlike: int  # verdicts of the index that are not those of the signatures

    @property
    def changed(self) -> Counts:
        """The pairs that were made."""
        return added(each for way, each in self.counts.items() if way != NATURAL)

    def faults(self, wanted: int) -> list[str]:
        """What misses its target; ``wanted``: pairs a bin, fewer say nothing."""
        faults = []
        if self.unlike:
            faults.append(f"{self.language}: {self.unlike} verdicts of the index differ")
        for name, counts in (("made", self.changed), (NATURAL, self.counts[NATURAL])):
            for what, found, target in (
                ("recall at J >= 0.9", counts.recall(range(SURE, BINS)), RECALL_SURE),
                ("recall at 0.85 <= J < 0.9", counts.recall([LIKELY]), RECALL_LIKELY),
                ("precision", counts.precision(), PRECISION),
            ):
                if found is not None and found < target:
                    faults.append(f"{self.language}, {name} pairs: {what} {found:.3f} < {target}")
        for number in range(FIRST, BINS):
            if self.changed.pairs[number] < wanted:
                few = self.changed.pairs[number]
                faults.append(f"{self.language}: {few} pairs from J = {number * WIDTH:.2f}")
        return faults


def measure(language: str, cache: Path, wanted: int) -> Quality:
    """Judge a language: all pairs of its pages, and ``wanted`` made ones in each bin.

    Raises BenchmarkError where pages or the server cannot be had.
    """
    texts = pages(language, cache)
    with private_redis(VALKEY, persist=False) as server:
        return judged(language, texts, wanted, server.url)


def judged(language: str, texts: Sequence[str], wanted: int, url: str) -> Quality:
    """The same for given pages, on a given server."""
    signatures = [signed(text) for text in texts]
    counts = {NATURAL: _natural(texts, signatures)}
    wrong = unlike(asyncio.run(visited(url, texts)), signatures)
    rng = random.Random(language)
    some = rng.sample(texts, min(CHANGED, len(texts)))
    made = list(changed_pairs(some, wanted, MIN_SHINGLES, rng))
    for pair, answer in zip(made, asyncio.run(asked(url, made)), strict=True):
        yes = called(signed(pair.one), signed(pair.other))
        wrong += yes is not answer
        counts.setdefault(pair.way, Counts()).add(pair.similarity, called=yes)
    return Quality(language, len(texts), counts, wrong)


def _natural(texts: Sequence[str], signatures: Sequence[Signature]) -> Counts:
    """Every pair of pages, those aside that have next to nothing in common."""
    sets = [shingles(text) for text in texts]
    true = similar_pairs(sets, WIDTH)
    found = {(i, j) for i, j in candidates(signatures) if called(signatures[i], signatures[j])}
    counts = Counts()
    for i, j in true.keys() | found:
        counts.add(true.get((i, j), 0.0), called=(i, j) in found)
    return counts
