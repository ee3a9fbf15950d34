"""Answers by the line: ``--batch`` of commands that judge many things at once.

Kept here: one line of JSON for each line read, in order and at once, so that the other end may wait
for an answer before it writes on; a line that makes no sense gets an answer, too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Batch = Annotated[
    str | None,
    typer.Option(
        "--batch", metavar="FILE", help="Answer each line of a file (- is standard input) by JSON."
    ),
]


class BadLine(ValueError):
    """A line that cannot be answered; the message says why."""


def answer_each(source: str, answer: Callable[[str], Mapping[str, Any]]) -> None:
    """Print what ``answer`` gives for each line of a file, "-" for standard input, as JSON.

    A line comes without its end. Where ``answer`` raises BadLine, or the line is not UTF-8, what is
    printed has the one key ``error``.
    """
    with sys.stdin.buffer if source == "-" else Path(source).open("rb") as lines:
        for line in lines:
            try:
                # Lone surrogates pass: URLs may be asked about as scripts hold them.
                text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogatepass")
                found = answer(text)
            except UnicodeDecodeError:
                found = {"error": "not UTF-8"}
            except BadLine as error:
                found = {"error": str(error)}
            print(json.dumps(found), flush=True)


def alone(batch: str | None, **others: object) -> bool:
    """Whether a batch is asked for; UsageError if anything that it leaves no place for is given."""
    from crawler.schema import UsageError

    if batch is None:
        return False
    for name, given in others.items():
        if given:
            raise UsageError(f"--batch reads what is asked from lines: leave out {name}")
    return True
