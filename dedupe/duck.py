"""Clusters on one machine, by DuckDB: the module that knows it, and maps its errors.

Invariant kept: no more memory is used than was said; what does not fit goes to a directory that is
the engine's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from dedupe.clusters import ClusterError

_PER_THREAD: Final = 125_000_000  # bytes that DuckDB's guide to tuning wants at least
_VALUE: Final = re.compile(r":(\w+)")


class DuckEngine:
    """An :class:`~dedupe.clusters.Engine` over Parquet files with the columns of STAGED.

    ``directory`` is empty and takes what ``memory`` (bytes) does not hold.
    """

    name: Final = "duckdb"

    def __init__(self, files: Sequence[Path], directory: Path, memory: int) -> None:
        with _mapped(memory):
            self._memory = memory
            self._db = duckdb.connect(
                str(directory / "clusters.duckdb"),
                config={
                    "memory_limit": f"{memory}B",
                    "threads": max(1, min(os.cpu_count() or 1, memory // _PER_THREAD)),
                    "temp_directory": str(directory / "spilled"),
                    "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False,
                },
            )
            self._db.read_parquet([str(file) for file in files]).create_view("staged")

    def run(self, statement: str, values: Mapping[str, Any]) -> None:
        with _mapped(self._memory):
            self._db.execute(_marked(statement), dict(values))

    def rows(self, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with _mapped(self._memory):
            found: list[tuple[Any, ...]] = self._query(statement, values).fetchall()
            return found

    def arrow(self, statement: str, values: Mapping[str, Any]) -> pa.Table:
        with _mapped(self._memory):
            found: pa.Table = self._query(statement, values).to_arrow_table()
            return found

    def close(self) -> None:
        self._db.close()

    def _query(self, statement: str, values: Mapping[str, Any]) -> Any:
        return self._db.sql(_marked(statement), params=dict(values))


def _marked(statement: str) -> str:
    """Where values stand, as DuckDB marks it."""
    return _VALUE.sub(r"$\1", statement)


@contextmanager
def _mapped(memory: int) -> Iterator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise ClusterError(
            f"{memory / 1e6:,.0f} MB of memory are too few: give more with --memory"
        ) from error
    except duckdb.Error as error:
        raise ClusterError(f"DuckDB: {' '.join(str(error).split())[:300]}") from error
