"""Rows on their way to the table: checked, written into a segment's journal, and read from there.

Invariant kept: what is in a journal fits the table, as a bad row found at sealing would take its
segment with it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pyarrow as pa

from storage.blob import StorageError
from storage.table import COLUMNS, FILLED, MARKS, PARTITION

_REQUIRED: Final = tuple(c.name for c in COLUMNS if c.required)
_INTS: Final = {c.name: 1 << (c.type.bit_width - 1) for c in COLUMNS if pa.types.is_integer(c.type)}
_TIMES: Final = {c.name for c in COLUMNS if pa.types.is_timestamp(c.type)}
_FLOATS: Final = {c.name for c in COLUMNS if pa.types.is_floating(c.type)} | _TIMES
_BYTES: Final = {c.name for c in COLUMNS if pa.types.is_binary(c.type)}
_LAST_TIME: Final = 253_402_300_800  # unix seconds of the year 10000: beyond any date type
_GIVEN: Final = frozenset(c.name for c in COLUMNS) - FILLED - frozenset(MARKS)


def check_row(row: Mapping[str, Any]) -> None:
    """StorageError unless the row fits the schema; times are unix seconds here."""
    for name in _REQUIRED:
        if row.get(name) is None:
            raise StorageError(f"row without {name}: {row.get('url')!r}")
    for name, value in row.items():
        if value is None:
            continue
        if name not in _GIVEN:
            raise StorageError(f"not a column to be given: {name!r}")
        if name in _INTS:
            fits = type(value) is int and -_INTS[name] <= value < _INTS[name]
        elif name in _FLOATS:
            fits = isinstance(value, float | int)
        elif name in _BYTES:
            fits = isinstance(value, bytes)
        else:
            fits = isinstance(value, str)
        if name in _TIMES:
            fits = fits and 0 <= value < _LAST_TIME
        if not fits:
            raise StorageError(f"column {name} cannot hold {value!r:.80}")


def pack_row(row: Mapping[str, Any]) -> bytes:
    """One JSON line for a checked row. Characters that UTF-8 has no form for become U+FFFD."""
    plain = {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in row.items()
        if value is not None
    }
    try:
        return orjson.dumps(plain)
    except orjson.JSONEncodeError:  # a lone surrogate in some string
        for name, value in plain.items():
            if isinstance(value, str):
                plain[name] = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return orjson.dumps(plain)


def unpack_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row from its JSON, changed in place: values as Arrow takes them, and ``fetch_date``."""
    for name in _BYTES & row.keys():
        row[name] = base64.b64decode(row[name])
    for name in _TIMES & row.keys():
        row[name] = datetime.fromtimestamp(row[name], UTC)
    row[PARTITION] = row["fetch_time"].date()
    return row
