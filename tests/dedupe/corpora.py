"""Made-up corpora as engines take them, and what their clusters are by comparing all pairs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dedupe.clusters import STAGED, Clusters, Engine, Summary
from dedupe.near import PACKED_BYTES, matches, needed, shape

Page = tuple[int, str]  # source, page id
Row = dict[str, Any]
_numbers = itertools.count()


def sketch(rng: random.Random) -> bytes:
    return rng.randbytes(PACKED_BYTES)


def altered(rng: random.Random, packed: bytes, values: int) -> bytes:
    """With so many of its 256 values, at random places, others than before."""
    nibbles = bytearray(packed.hex().encode())
    for at in rng.sample(range(len(nibbles)), values):
        nibbles[at] = rng.choice([d for d in b"0123456789abcdef" if d != nibbles[at]])
    return bytes.fromhex(nibbles.decode())


def row(minhash: bytes | None = None, **columns: Any) -> Row:
    """A page that is like no other, but for what is given."""
    number = next(_numbers)
    return {
        "source": 0,
        "workspace": "default",
        "day": "2026-11-20",
        "page_id": f"{number:032x}",
        "fetched": 1_795_000_000_000_000 + number,
        "content_digest": f"sha1:{number}",
        "text_digest": None,
        "minhash": minhash,
        "cluster_id": None,
        "is_representative": None,
        **columns,
    }


def corpus(rng: random.Random, pages: int, families: int) -> list[Row]:
    """Pages around some sketches, at all distances; some share a payload, a text or nothing."""
    roots = [sketch(rng) for _ in range(families)]
    rows = []
    for _ in range(pages):
        near = altered(rng, rng.choice(roots), rng.choice((0, 4, 16, 30, 40, 48, 60, 90)))
        columns: Row = {
            "source": rng.randrange(2),
            "workspace": rng.choice(("one", "two")),
            "day": f"2026-11-{rng.randint(20, 22)}",
            "page_id": f"{rng.getrandbits(128):032x}",
            "fetched": rng.randrange(pages),  # ties are common
        }
        if rng.random() < 0.1:
            columns["content_digest"] = f"sha1:same-{rng.randrange(pages // 8)}"
        if rng.random() < 0.2:
            columns["text_digest"] = f"text-{rng.randrange(pages // 8)}"
        rows.append(row(near if rng.random() < 0.9 else None, **columns))
    return rows


def staged(directory: Path, rows: Sequence[Row]) -> Path:
    file = directory / f"staged-{next(_numbers)}.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows), schema=STAGED), file)
    return file


def found(engine: Engine, threshold: float = 0.8) -> tuple[Summary, dict[Page, tuple[str, bool]]]:
    """Each changed page's cluster and place."""
    clusters = Clusters(engine, threshold, lambda step: None)
    summary = clusters.find()
    marks: dict[Page, tuple[str, bool]] = {}
    for source, day, count in clusters.changed():
        table = clusters.marks(source, day)
        assert table.num_rows == count
        for each in table.to_pylist():
            marks[source, each["page_id"]] = each["cluster_id"], each["is_representative"]
    return summary, marks


def groups(marks: dict[Page, tuple[str, bool]]) -> set[frozenset[Page]]:
    """The pages that are together, checking that one of each group represents it."""
    members: dict[str, set[Page]] = {}
    for page, (cluster, _) in marks.items():
        members.setdefault(cluster, set()).add(page)
    for cluster, pages in members.items():
        assert sum(marks[page][1] for page in pages) == 1, cluster
    return {frozenset(pages) for pages in members.values()}


def by_all_pairs(rows: Sequence[Row], threshold: float) -> set[frozenset[Page]]:
    parent = list(range(len(rows)))

    def root(at: int) -> int:
        while parent[at] != at:
            at = parent[at]
        return at

    for i, j in itertools.combinations(range(len(rows)), 2):
        if _alike(rows[i], rows[j], threshold):
            parent[root(i)] = root(j)
    members: dict[int, set[Page]] = {}
    for at, each in enumerate(rows):
        members.setdefault(root(at), set()).add((each["source"], each["page_id"]))
    return {frozenset(pages) for pages in members.values()}


def _alike(a: Row, b: Row, threshold: float) -> bool:
    if a["workspace"] != b["workspace"]:
        return False
    if any(a[name] and a[name] == b[name] for name in ("content_digest", "text_digest")):
        return True
    one, other = a["minhash"], b["minhash"]
    if one is None or other is None or matches(one, other) < needed(threshold):
        return False
    return one == other or any(
        x == y for x, y in zip(_bands(one, threshold), _bands(other, threshold), strict=True)
    )


def _bands(packed: bytes, threshold: float) -> Iterable[str]:
    bands, rows = shape(threshold)
    digits = packed.hex()
    return [digits[at : at + rows] for at in range(0, bands * rows, rows)]
