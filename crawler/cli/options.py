"""Options of the command line, made from the schema: one per key that has a flag.

Kept here: an option is declared nowhere but in ``JobSpec`` or ``Settings``, so that its name,
meaning and default are the same in a file, in the environment and in ``--help``. Values reach
the schema as text and are judged there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer

from crawler.config import FIELDS
from crawler.schema import format_default, shown

Given = dict[str, Any]  # values by schema key; None for options that were not given

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings file; otherwise comity.toml in the working directory, where there is one.",
    ),
]
JobFile = Annotated[
    Path | None,
    typer.Option("--job", metavar="FILE", help="Job file (TOML) with the keys of a job."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one line of JSON on standard output, nothing else.")
]


def takes(panels: Mapping[str, Sequence[str]]) -> Callable[[Callable[..., None]], Any]:
    """Add an option per schema key to a command; it gets them as its parameter ``given``.

    ``panels`` are headings of the help page, each with its keys.
    """

    def decorate(command: Callable[..., None]) -> Any:
        signature = inspect.signature(command, eval_str=True)
        own = [
            p.replace(kind=p.KEYWORD_ONLY)
            for p in signature.parameters.values()
            if p.name != "given"
        ]
        parameters = [*own, *_parameters(panels)]

        def run(**values: Any) -> None:
            given = {key: values.pop(key) for keys in panels.values() for key in keys}
            command(given=given, **values)

        typed: Any = run
        typed.__name__, typed.__doc__ = command.__name__, command.__doc__
        typed.__signature__ = signature.replace(parameters=parameters)
        return typed

    return decorate


def _parameters(panels: Mapping[str, Sequence[str]]) -> Iterator[inspect.Parameter]:
    for panel, keys in panels.items():
        for key in keys:
            yield inspect.Parameter(
                key,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[_type(key), _option(key, panel)],
            )


def _type(key: str) -> Any:
    annotation = FIELDS[key].annotation
    if annotation is bool:
        return bool | None
    return list[str] | None if get_origin(annotation) in (tuple, dict) else str | None


def _option(key: str, panel: str) -> Any:
    field = FIELDS[key]
    look = shown(field)
    repeatable = get_origin(field.annotation) in (tuple, dict)
    notes = [note for note in ("repeatable" if repeatable else "", _default(key)) if note]
    return typer.Option(
        look.flag,
        metavar=look.metavar or None,
        help=" ".join([field.description or "", *(f"({note})" for note in notes)]),
        show_default=False,
        rich_help_panel=panel,
    )


def _default(key: str) -> str:
    default = format_default(FIELDS[key])
    return f"default: {default}" if default else ""
