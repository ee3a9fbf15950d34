"""Texts of a known exact similarity, the same in every process."""

from __future__ import annotations

import random

LETTERS = {
    "latin": "abcdefghijklmnopqrstuvwxyz",
    "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
}
HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 3_000)]


def words(rng: random.Random, count: int, script: str = "latin") -> list[str]:
    """Made-up words; for Han, single characters."""
    if script == "han":
        return rng.choices(HAN, k=count)
    letters = LETTERS[script]
    return ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(count)]


def joined(parts: list[str], script: str = "latin") -> str:
    return ("" if script == "han" else " ").join(parts)


def edited(rng: random.Random, parts: list[str], edits: int, script: str = "latin") -> list[str]:
    """With that many words replaced, at random places."""
    copy = list(parts)
    for at in rng.sample(range(len(copy)), edits):
        copy[at] = words(rng, 1, script)[0]
    return copy


def ngrams(parts: list[str]) -> set[tuple[str, ...]]:
    """The set whose Jaccard similarity the signatures estimate."""
    return set(zip(*(parts[i:] for i in range(5)), strict=False))


def jaccard(a: list[str], b: list[str]) -> float:
    x, y = ngrams(a), ngrams(b)
    return len(x & y) / len(x | y)
