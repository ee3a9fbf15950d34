"""What the documents say of options and settings is what the code does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crawler.cli import COMMANDS, load
from crawler.cli.reference import SECTIONS, rewritten
from crawler.config import FIELDS
from crawler.schema import shown
from frontier.tracking import BY_OWNER

DOCS = Path(__file__).parent.parent / "docs"


def every_command(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from every_command(f"{path} {name}", child)


TREE = [pair for name in COMMANDS for pair in every_command(name, load(name))]


@pytest.mark.parametrize("name", ["cli.md", "configuration.md"])
def test_generated_sections_are_up_to_date(name: str) -> None:
    text = (DOCS / name).read_text("utf-8")
    assert rewritten(text) == text, "run: python -m crawler.cli.reference"


def test_every_section_is_used() -> None:
    text = "".join(path.read_text("utf-8") for path in DOCS.glob("*.md"))
    for section in SECTIONS:
        assert text.count(f"<!-- generated: {section} -->") == 1


@pytest.mark.parametrize("key", FIELDS)
def test_every_key_has_a_meaning(key: str) -> None:
    field = FIELDS[key]
    assert field.description, key
    text = (DOCS / "configuration.md").read_text("utf-8")
    assert f"| `{key}` |" in text
    if not field.is_required() and field.default_factory:
        assert shown(field).default, f"{key}: a computed default is described"


@pytest.mark.parametrize(("path", "command"), TREE, ids=[path for path, _ in TREE])
def test_every_command_option_and_argument_has_a_meaning(path: str, command: Any) -> None:
    assert command.help
    text = (DOCS / "cli.md").read_text("utf-8")
    assert f"### `comity {path}`" in text
    for parameter in command.params:
        assert parameter.help, parameter.name


@pytest.mark.parametrize("owner", BY_OWNER)
def test_every_tracking_parameter_is_listed(owner: str) -> None:
    names = " ".join(f"`{name}`" for name in BY_OWNER[owner].split())
    assert f"| {owner} | {names} |" in (DOCS / "cli.md").read_text("utf-8")


def test_every_flag_of_the_schema_is_an_option_of_some_command() -> None:
    offered = {flag for _, command in TREE for p in command.params for flag in p.opts}
    wanted = {shown(field).flag for field in FIELDS.values()} - {""}
    assert wanted <= offered
