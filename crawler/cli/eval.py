"""``comity eval``: the quality of what a crawl makes of pages, measured on fixed sets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from crawler.cli.options import AsJson

if TYPE_CHECKING:
    from crawler.evaluation import gates

app = typer.Typer(add_completion=False)


@app.command("eval")
def evaluate(
    record: Annotated[
        bool, typer.Option("--record", help="Write the figures as those to be kept to.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure main text and near-duplicates on sets made for the project.

    Exit code 1 if a figure is lower by more than 0.01 than what was reached before.
    """
    from crawler.evaluation import gates

    figures = gates.measured(gates.reached())
    if record:
        gates.record(figures)
    if as_json:
        rows = [
            {"evaluation": f.evaluation, "figure": f.name, "value": round(f.value, 4),
             "reached": f.reached, "fallen": f.fallen}
            for f in figures
        ]  # fmt: skip
        print(json.dumps(rows))
    else:
        _print(figures)
    if not record and any(figure.fallen for figure in figures):
        raise typer.Exit(1)


def _print(figures: list[gates.Figure]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("evaluation", "figure", "now", "reached", "", box=None, pad_edge=False)
    for figure in figures:
        before = "" if figure.reached is None else f"{figure.reached:.3f}"
        mark = "fallen" if figure.fallen else ""
        table.add_row(figure.evaluation, figure.name, f"{figure.value:.3f}", before, mark)
    Console().print(table)
