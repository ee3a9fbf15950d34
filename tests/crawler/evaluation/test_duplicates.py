"""The quality of the filter of near-duplicates: figures that must not fall."""

from dataclasses import asdict

import pytest

from crawler.evaluation import duplicates
from crawler.evaluation.duplicates import (
    LIKELY,
    NEAR,
    SURE,
    Counts,
    called,
    evaluate,
)
from crawler.evaluation.gates import SLACK, reached
from dedupe.near import needed, signature


def lowered() -> list[str]:
    """The figures that fell."""
    before = reached()["duplicates"]
    return [n for n, v in asdict(evaluate()).items() if v < before[n] - SLACK]


@pytest.mark.parametrize(
    ("threshold", "fallen"), [(0.87, ["recall_85", "recall_80"]), (0.75, ["precision"])]
)
def test_a_stricter_or_laxer_filter_is_seen(
    threshold: float, fallen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "NEEDED", needed(threshold))
    assert lowered() == fallen


def test_figures() -> None:
    counts = Counts()
    for similarity, yes in ((0.95, True), (0.92, False), (0.87, True), (0.71, True), (0.2, False)):
        counts.add(similarity, called=yes)
    assert counts.recall(SURE) == 0.5
    assert counts.recall(LIKELY) == 1.0
    assert counts.recall(NEAR) is None
    assert counts.precision() == pytest.approx(2 / 3)
    assert Counts().precision() is None


def test_a_text_that_is_too_short_is_called_nothing() -> None:
    text = signature(" ".join(map(str, range(100))))
    assert called(text, text)
    assert not called(text, None)
    assert not called(None, text)
