"""Seeded choices that come out the same in every process and Python version.

Invariant: only ``random.Random.random`` is used, the one method whose sequence the standard library
promises to keep for a given seed; every other choice is derived from it here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Rng:
    """A stream of choices named by a key; equal keys give equal streams."""

    __slots__ = ("_next",)

    def __init__(self, key: str) -> None:
        # A demo web needs repeatability, not secrecy.
        self._next = random.Random(key).random  # noqa: S311

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._next() < probability

    def below(self, bound: int) -> int:
        """An integer in ``0 <= n < bound``."""
        return int(self._next() * bound)

    def between(self, low: int, high: int) -> int:
        """An integer in ``low <= n <= high``."""
        return low + self.below(high - low + 1)

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def picks(self, items: Sequence[T], count: int) -> list[T]:
        """``count`` items, repeats allowed."""
        step, size = self._next, len(items)
        return [items[int(step() * size)] for _ in range(count)]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Up to ``count`` different items, in drawn order."""
        pool = list(items)
        taken: list[T] = []
        while pool and len(taken) < count:
            taken.append(pool.pop(self.below(len(pool))))
        return taken
