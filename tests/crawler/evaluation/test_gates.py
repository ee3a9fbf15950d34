"""The quality of main text and of near-duplicates: figures that a change must not lower."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crawler.cli import main
from crawler.evaluation import gates
from crawler.evaluation.gates import SLACK, Figure, measured, reached, record


def test_no_figure_has_fallen() -> None:
    figures = measured(reached())
    assert [figure for figure in figures if figure.fallen] == []
    assert all(figure.reached is not None for figure in figures)  # none is missing in the file


@pytest.mark.parametrize(
    ("value", "before", "fallen"),
    [(0.9, 0.9, False), (0.9, 0.9 + SLACK, False), (0.9, 0.912, True), (0.5, None, False)],
)
def test_fallen(value: float, before: float | None, fallen: bool) -> None:
    assert Figure("text", "fast", value, before).fallen is fallen


def test_the_command_fails_for_a_fallen_figure_and_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "figures.json"
    path.write_text('{"one": {"good": 0.5, "bad": 0.9}}')
    monkeypatch.setattr(gates, "EVALUATIONS", {"one": lambda: {"good": 0.6, "bad": 0.88}})
    monkeypatch.setattr(gates, "reached", lambda: reached(path))
    monkeypatch.setattr(gates, "record", lambda figures: record(figures, path))
    assert main(["eval", "--json"]) == 1
    assert [row["fallen"] for row in json.loads(capsys.readouterr().out)] == [False, True]
    assert main(["eval", "--record"]) == 0
    capsys.readouterr()
    assert main(["eval"]) == 0
    assert "fallen" not in capsys.readouterr().out
    assert json.loads(path.read_text()) == {"one": {"good": 0.6, "bad": 0.88}}
