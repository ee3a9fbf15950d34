"""The judge of similarity."""

import random

import pytest

from crawler.evaluation.jaccard import jaccard, pieces, shingles, tokens
from dedupe import near
from tests.dedupe import texts


def test_the_judge_cuts_words_and_the_characters_of_scripts_without_spaces() -> None:
    assert tokens("Straße, 2 x.") == ["strasse", "2", "x"]
    assert tokens("我们ok 走。テスト") == ["我", "们", "ok", "走", "テ", "ス", "ト"]
    assert tokens("قَالَ : نَعَم") == ["قَالَ", "نَعَم"]
    for text in ("¿Qué tal? 日本 x ", "", "...", "a"):
        assert "".join(pieces(text)) == text
    assert pieces("¿Qué tal? 日本 x ") == ["¿Qué ", "tal? ", "日", "本 ", "x "]


@pytest.mark.parametrize("script", ["latin", "cyrillic", "arabic", "han"])
def test_the_judge_and_the_judged_see_the_same_shingles(script: str) -> None:
    for text in (texts.joined(texts.words(random.Random(n), 90, script), script) for n in range(5)):
        assert shingles(text).size == near.shingles(text).size


def test_similarity_is_that_of_the_sets() -> None:
    rng = random.Random(1)
    first = texts.words(rng, 300)
    second = texts.edited(rng, first, 9)
    one, other = (shingles(texts.joined(each)) for each in (first, second))
    assert jaccard(one, other) == pytest.approx(texts.jaccard(first, second))
    assert jaccard(one, one) == 1.0
    assert jaccard(one, shingles("")) == jaccard(shingles(""), shingles("a b c d")) == 0.0
