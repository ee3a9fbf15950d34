"""Clusters of pages with one content, over whole corpora, after the fact.

Purpose: pipelines get each text once, whichever job brought it. The statements stand in ``sql/``;
here is their order, and the engines that run them implement :class:`Engine`. Two pages are of one
cluster if they have the same payload, the same text, or sketches that share a band and agree to the
threshold; and if there is a chain of such pages between them. Invariants kept: one page of each
cluster represents it, the one that was fetched first (ties: the least page id); the same pages give
the same clusters in every engine and every order; pages of different workspaces are never compared.

Bands are made of the sketches as they are stored, of 4 bits per value. Two different values agree
in 4 bits once in 16 times, so at least as many pairs meet in a bucket as in the crawl's own index.

Exact within bounds: a bucket of more than CENTRES pages that are not known to be alike is not
searched for all pairs, so a pair that meets in such buckets only may be missed. The candidates of a
band are at most CENTRES times its pages, where all pairs would be their square.

Components are found by alternating large-star and small-star (Kiveris et al., "Connected Components
in MapReduce and Beyond", SoCC 2014): a number of rounds that grows with the logarithm of a cluster.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, Protocol

import pyarrow as pa

from dedupe.near import VALUES, needed, shape

CENTRES: Final = 64  # pages of a bucket that are compared with all others of it
# Each bucket's first page draws those like it together; what is left apart is then compared fully.
_PASSES: Final = (1, CENTRES)
_STATEMENT: Final = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)

_FIELDS: Final[list[pa.Field[Any]]] = [
    pa.field("source", pa.int32(), nullable=False),  # number of the table it is from
    pa.field("workspace", pa.string(), nullable=False),
    pa.field("day", pa.string(), nullable=False),  # handed back with the changes
    pa.field("page_id", pa.string(), nullable=False),  # unique within its source
    pa.field("fetched", pa.int64(), nullable=False),  # microseconds since 1970
    pa.field("content_digest", pa.string()),
    pa.field("text_digest", pa.string()),
    pa.field("minhash", pa.binary()),  # 128 bytes, as near.Signature.packed
    pa.field("cluster_id", pa.string()),  # as found by an earlier run
    pa.field("is_representative", pa.bool_()),
]
STAGED: Final = pa.schema(_FIELDS)
"""The relation ``staged`` of an engine: one row per page."""


class ClusterError(Exception):
    """Clusters cannot be made; the message is one line fit for an operator."""


class Engine(Protocol):
    """Runs statements on tables of its own, which go with it. Raises ClusterError."""

    @property
    def name(self) -> str:
        """Of its own statements, in ``sql/<name>.sql``."""

    def run(self, statement: str, values: Mapping[str, Any]) -> None:
        """Run a statement without an answer; ``values`` stand where it says ``:name``."""

    def rows(self, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of a query."""

    def arrow(self, statement: str, values: Mapping[str, Any]) -> pa.Table:
        """The rows of a query as an Arrow table."""

    def close(self) -> None:
        """Drop what is left."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was found."""

    pages: int  # that were compared
    clusters: int  # of two pages or more
    copies: int  # pages that another one represents
    largest: int  # pages of the largest cluster


class Clusters:
    """The clusters of what an engine has as ``staged`` (STAGED). ``told`` hears of each step."""

    def __init__(self, engine: Engine, threshold: float, told: Callable[[str], None]) -> None:
        self._engine = engine
        self._threshold = threshold
        self._told = told
        self._statements = statements("clusters") | statements(engine.name)

    def find(self) -> Summary:
        """Find them; once."""
        for step in ("functions", "pages", "sketches", "equal"):
            self._told(f"preparing: {step}")
            self._run(step)
        self._settle()
        for centres in _PASSES:
            self._compare(centres)
            self._settle()
        self._run("changes")
        ((pages, clusters, copies, most),) = self._rows("summary")
        return Summary(pages, clusters, int(copies), most + 1 if most else min(pages, 1))

    def changed(self) -> Iterator[tuple[int, str, int]]:
        """Source, day and number of the pages whose cluster is not what was staged with them."""
        yield from self._rows("days")

    def marks(self, source: int, day: str) -> pa.Table:
        """Of such pages: page_id, cluster_id, is_representative."""
        return self._engine.arrow(self._statements["marks"], {"source": source, "day": day})

    def _compare(self, centres: int) -> None:
        bands, width = shape(self._threshold)
        self._run("empty")
        for band in range(bands):
            self._told(f"comparing pages with {centres} of each bucket: band {band + 1} of {bands}")
            self._run("candidates", start=band * width + 1, width=width, centres=centres)
        self._told("comparing sketches")
        self._run("verified", most=VALUES - needed(self._threshold))
        self._run("compared")

    def _settle(self) -> None:
        """Make stars of the edges: every page linked to the first one of its cluster."""
        while not self._rows("settled")[0][0]:
            self._told("joining clusters")
            for step in ("large_star", "small_star"):
                for part in (step, "forget_edges", "next_edges"):
                    self._run(part)

    def _run(self, step: str, **values: Any) -> None:
        self._engine.run(self._statements[step], values)

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._engine.rows(self._statements[query], {})


@cache
def statements(name: str) -> dict[str, str]:
    """The named statements of ``sql/<name>.sql``."""
    text = (resources.files("dedupe") / "sql" / f"{name}.sql").read_text("utf-8")
    return {found[1]: found[2].strip() for found in _STATEMENT.finditer(text)}
