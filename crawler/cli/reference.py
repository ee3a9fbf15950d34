"""The generated parts of docs/cli.md and docs/configuration.md.

``python -m crawler.cli.reference`` rewrites them; a test compares, so that no option and no
setting can be undocumented or wrongly documented.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from crawler.cli import COMMANDS, load
from crawler.config import ENV_PREFIX, Settings
from crawler.job import JobSpec
from crawler.schema import format_default, shown

_MARKED: Final = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n".join(part for name in COMMANDS for part in _command(f"comity {name}", load(name)))


def job_keys() -> str:
    """The keys of a job."""
    return _keys(JobSpec)


def settings_keys() -> str:
    """The settings of the fleet and its workers."""
    return _keys(Settings)


SECTIONS: Final[Mapping[str, Callable[[], str]]] = {
    "commands": commands,
    "job": job_keys,
    "settings": settings_keys,
}


def rewritten(text: str) -> str:
    """A document with every marked section filled in anew."""
    return _MARKED.sub(lambda m: f"{m[1]}\n{SECTIONS[m[2]]()}\n{m[3]}", text)


def _command(path: str, command: Any) -> Iterator[str]:
    yield f"### `{path}`\n"
    yield f"{command.help.strip()}\n"
    own = [p for p in command.params if p.name != "help"]
    if own:
        yield "| option | meaning |\n| --- | --- |"
        yield from (_parameter(p) for p in own)
        yield ""
    for name, child in getattr(command, "commands", {}).items():
        yield from _command(f"{path} {name}", child)


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
    else:
        name = " ".join(filter(None, (", ".join(parameter.opts), parameter.metavar)))
    default = parameter.default
    note = "" if default is None or default is False or callable(default) else default
    extra = f" (default: {note})" if note else ""
    return f"| `{_cell(name)}` | {_cell(parameter.help)}{extra} |"


def _keys(model: type[JobSpec] | type[Settings]) -> str:
    lines = ["| key | option | variable | default | meaning |", "| --- | --- | --- | --- | --- |"]
    for key, field in model.model_fields.items():
        flag = shown(field).flag or ("`URL...`" if key == "seeds" else "")
        default = format_default(field)
        cells = (
            f"`{key}`",
            f"`{flag}`" if flag.startswith("-") else flag,
            f"`{ENV_PREFIX}{key.upper()}`",
            default if shown(field).default else f"`{default}`" if default else "unset",
            field.description or "",
        )
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def main(docs: Path) -> None:
    """Rewrite the generated sections of the documents in a directory."""
    for path in sorted(docs.glob("*.md")):
        text = path.read_text("utf-8")
        if (new := rewritten(text)) != text:
            path.write_text(new, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
