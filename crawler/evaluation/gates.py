"""What quality was reached, and whether it still is: figures that a change must not lower.

``figures.json`` has what was reached; ``comity eval --record`` writes it. A figure that is lower by
more than ``SLACK`` has fallen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from crawler.evaluation import duplicates, text

SLACK: Final = 0.01
REACHED: Final = Path(__file__).with_name("figures.json")
# Name of an evaluation -> its figures by name, shares from 0 to 1.
EVALUATIONS: Final[Mapping[str, Callable[[], Mapping[str, float]]]] = {
    "text": text.evaluate,
    "duplicates": lambda: asdict(duplicates.evaluate()),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure of quality."""

    evaluation: str  # a key of EVALUATIONS
    name: str
    value: float  # as it is now, 0..1
    reached: float | None  # as it was recorded; None: it is new

    @property
    def fallen(self) -> bool:
        """Whether it is lower than it may be."""
        return self.reached is not None and self.value < self.reached - SLACK


def reached(path: Path = REACHED) -> dict[str, dict[str, float]]:
    """The recorded figures by evaluation."""
    found: dict[str, dict[str, float]] = json.loads(path.read_text())
    return found


def measured(before: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    """All figures as they are now, beside those of before. Takes some seconds."""
    return [
        Figure(evaluation, name, value, before.get(evaluation, {}).get(name))
        for evaluation, evaluate in EVALUATIONS.items()
        for name, value in evaluate().items()
    ]


def record(figures: list[Figure], path: Path = REACHED) -> None:
    """Write figures as those that were reached, rounded to three digits."""
    table: dict[str, dict[str, float]] = {}
    for figure in figures:
        table.setdefault(figure.evaluation, {})[figure.name] = round(figure.value, 3)
    path.write_text(json.dumps(table, indent=2) + "\n")
