import pytest

from crawler.demo.text import LANGUAGES, TextSpec, article, edits_for, shingles, similarity


def test_a_spec_gives_the_same_article_every_time() -> None:
    spec = TextSpec("some key", "de", 200)
    assert article(spec) == article(spec)
    assert article(spec) != article(TextSpec("other key", "de", 200))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_makes_sentences_of_its_own_script(language: str) -> None:
    made = article(TextSpec("k", language, 120))
    assert made.title
    assert made.main_text.startswith(made.title)
    assert len(made.paragraphs) >= 2
    spaced = language not in ("zh", "ja")
    assert (" " in made.paragraphs[0]) is spaced
    if spaced:
        assert sum(len(text.split()) for text in made.paragraphs) == 120


@pytest.mark.parametrize("target", [0.97, 0.9, 0.85, 0.8, 0.7, 0.5])
@pytest.mark.parametrize("language", ["en", "ru"])
def test_edits_bring_a_text_to_the_similarity_asked_for(target: float, language: str) -> None:
    words = 420
    base = TextSpec("near", language, words)
    changed = TextSpec("near", language, words, edits_for(target, words))
    assert similarity(base, changed) == pytest.approx(target, abs=0.03)
    assert article(base).title == article(changed).title


def test_edits_change_exactly_that_many_words() -> None:
    one = article(TextSpec("e", "en", 300)).main_text.casefold().replace(".", "").split()
    two = article(TextSpec("e", "en", 300, 7)).main_text.casefold().replace(".", "").split()
    assert sum(a != b for a, b in zip(one, two, strict=True)) == 7


def test_similarity_of_equal_and_of_unrelated_texts() -> None:
    spec = TextSpec("a", "en", 300)
    assert similarity(spec, spec) == 1.0
    assert similarity(spec, TextSpec("b", "en", 300)) < 0.01


def test_shingles_ignore_case_and_full_stops() -> None:
    assert shingles("One two three. Four five") == {("one", "two", "three", "four", "five")}
    assert shingles("too short") == frozenset()
