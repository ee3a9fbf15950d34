"""How well near-duplicates are found: pairs of pages, counted by their true similarity."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import scipy.sparse

from benchmarks.near_pages import pages
from benchmarks.near_verdicts import asked, candidates, signed, unlike, visited
from benchmarks.private_redis import VALKEY, private_redis
from crawler.demo.rng import Rng
from crawler.evaluation.changes import BINS, FIRST, WIDTH, changed_pairs
from crawler.evaluation.duplicates import LIKELY, SURE, Counts, called
from crawler.evaluation.jaccard import Shingles, shingles
from dedupe.near import MIN_SHINGLES, Signature, signature

NATURAL: Final = "natural"  # the way of pairs that nobody made
CHANGED: Final = 400  # pages that are changed, of each language
RECALL_SURE: Final = 0.97
RECALL_LIKELY: Final = 0.90
PRECISION: Final = 0.97


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
                ("recall at J >= 0.9", counts.recall(SURE), RECALL_SURE),
                ("recall at 0.85 <= J < 0.9", counts.recall(LIKELY), RECALL_LIKELY),
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
    rng = Rng(language)
    some = rng.sample(texts, min(CHANGED, len(texts)))
    made = list(changed_pairs(some, wanted, MIN_SHINGLES, rng))
    for pair, answer in zip(made, asyncio.run(asked(url, made)), strict=True):
        yes = called(signature(pair.one), signature(pair.other))
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


def similar_pairs(texts: Sequence[Shingles], least: float) -> dict[tuple[int, int], float]:
    """All pairs (i < j) that are similar to at least ``least`` (above 0), with their similarity."""
    _, column = np.unique(np.concatenate(texts), return_inverse=True)
    starts = np.cumsum([0, *(text.size for text in texts)])
    has: Any = scipy.sparse.csr_array((np.ones(column.size, np.int32), column, starts))
    shared = scipy.sparse.triu(has @ has.T, 1).tocoo()
    sizes = np.diff(starts)
    either = sizes[shared.row] + sizes[shared.col] - shared.data
    alike = shared.data / either
    kept = np.flatnonzero(alike >= least)
    pairs = zip(shared.row[kept].tolist(), shared.col[kept].tolist(), strict=True)
    return dict(zip(pairs, alike[kept].tolist(), strict=True))
