"""What the job and the settings schemas share: option metadata and one-line errors. Pure.

A key is declared once, as a field of a pydantic model, and appears under that one name in
``job.toml``, ``comity.toml``, the environment (``COMITY_*``), the command line, ``comity config``
and the documentation. Kept here: every error about a value names where the value came from.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from crawler import units

M = TypeVar("M", bound=BaseModel)


class UsageError(Exception):
    """The user asked for something that cannot be done; one line, exit code 2."""


@dataclass(frozen=True, slots=True)
class Shown:
    """How a key appears to people; attached to a field with ``Annotated``."""

    flag: str = ""  # command line flag; "" when the key has none
    metavar: str = ""  # what stands for the value in help, e.g. "N"
    unit: str = ""  # "duration" or "size": how numbers are printed
    default: str = ""  # printed instead of the default where that is computed
    secret: bool = False  # masked wherever it is printed


def shown(field: FieldInfo) -> Shown:
    """The presentation of a field; a plain one when nothing was declared."""
    return next((m for m in field.metadata if isinstance(m, Shown)), Shown())


def format_value(field: FieldInfo, value: object) -> str:
    """A value as a person would write it into a file or after a flag; "" for nothing."""
    unit = shown(field).unit
    if value is None or value in ((), [], {}, ""):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if unit == "duration" and isinstance(value, int | float):
        return units.spell_duration(value)
    if unit == "size" and isinstance(value, int):
        return units.spell_size(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {text}" for name, text in value.items())
    if isinstance(value, tuple | list):
        return " ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def format_default(field: FieldInfo) -> str:
    """The documented default; "" when a key is unset by default."""
    return shown(field).default or format_value(field, field.get_default())


def nearest(key: str, known: Iterable[str]) -> str | None:
    """The known key that ``key`` was probably meant to be, or to be a word of."""
    plain = {name.lower().replace("-", "_"): name for name in known}
    longest_first = sorted(plain, key=len, reverse=True)  # of a word's keys the shortest stays
    words = {word: plain[name] for name in longest_first for word in name.split("_")}
    for names, cutoff in ((plain, 0.6), (words, 0.75)):
        found = difflib.get_close_matches(key.lower().replace("-", "_"), names, 1, cutoff)
        if found:
            return names[found[0]]
    return None


def unknown_key(where: str, key: str, known: Iterable[str]) -> UsageError:
    """The error for a key nobody declared, naming the nearest one that somebody did."""
    near = nearest(key, known)
    hint = f"did you mean {near!r}?" if near else "'comity config' lists the known ones"
    return UsageError(f"{where}: unknown key {key!r}; {hint}")


def validate(model: type[M], values: Mapping[str, Any], where: Callable[[str], str]) -> M:
    """``model`` built from ``values``.

    Raises UsageError with the first violation; ``where(key)`` says where that key's value came
    from (a file, a variable, a flag).
    """
    try:
        return model(**values)
    except ValidationError as exc:
        first: Any = exc.errors(include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            raise unknown_key(where(key), key, model.model_fields) from None
        text = _message(first)
        raise UsageError(f"{where(key)}: {text}" if key else text) from None


# Pydantic's wording -> ours.
_WORDS: Final = (
    ("Value error, ", ""),
    ("Input should", "should"),
    ("String should", "should"),
    ("a valid tuple", "a list"),
    ("a valid string", "text"),
    ("a valid dictionary", "a table"),
    ("a valid integer", "a whole number"),
    (", unable to parse string as an integer", ""),
    (", got a number with a fractional part", ""),
    ("a valid boolean, unable to interpret input", "true or false"),
    ("a valid boolean", "true or false"),
    ("should have at least 1 character", "should not be empty"),
)


def _message(error: Mapping[str, Any]) -> str:
    """A violation in our words; the value is repeated unless the message has it."""
    text: str = error["msg"]
    for theirs, ours in _WORDS:
        text = text.replace(theirs, ours)
    given = error["input"]
    if error["type"] == "value_error" or given == "" or not isinstance(given, str | int | float):
        return text
    return f"{text}, not {given!r}"


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a TOML file; UsageError names the file, and the line of a syntax error."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from None
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise UsageError(f"{path}:{line}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as exc:
        found = re.search(r" \(at line (\d+), column \d+\)", str(exc))
        line_text = f":{found[1]}" if found else ""
        text = str(exc)[: found.start()] if found else str(exc)
        raise UsageError(f"{path}{line_text}: {text}") from None
