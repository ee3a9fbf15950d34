"""Pairs of pages at a wanted similarity."""

from collections import Counter

import pytest

from crawler.demo.rng import Rng
from crawler.demo.text import TextSpec, article
from crawler.evaluation.changes import BINS, FIRST, WAYS, bin_of, changed_pairs
from crawler.evaluation.jaccard import jaccard, pieces, shingles


def page(key: str, words: int) -> str:
    return article(TextSpec(key, "en", words)).main_text


def test_every_bin_gets_its_pairs_in_every_way() -> None:
    made = list(changed_pairs([page(str(n), 50 + 50 * n) for n in range(5)], 20, 25, Rng("2")))
    assert Counter(bin_of(pair.similarity) for pair in made) == dict.fromkeys(
        range(FIRST, BINS), 20
    )
    assert {pair.way for pair in made} == {way.__name__ for way in WAYS}
    for pair in made:
        assert pair.similarity == jaccard(shingles(pair.one), shingles(pair.other)) < 1
        assert min(shingles(text).size for text in (pair.one, pair.other)) >= 25


def test_each_way_comes_near_its_aim() -> None:
    text, others = (pieces(page(key, 1_000) + " ") for key in "ab")
    for way in WAYS:
        one, other = way(Rng("3"), text, 0.8, others)
        assert jaccard(shingles(one), shingles(other)) == pytest.approx(0.8, abs=0.05), way


def test_bins() -> None:
    assert [bin_of(j) for j in (0, 0.049, 0.05, 0.85, 0.8999, 0.9, 0.95, 1)] == [
        0, 0, 1, 17, 17, 18, 19, 19,
    ]  # fmt: skip
