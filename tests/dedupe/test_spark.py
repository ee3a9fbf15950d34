"""The other engine finds the same, to the letter; ``make test-spark`` runs this."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from dedupe.clusters import CENTRES, ClusterError
from dedupe.duck import DuckEngine
from tests.dedupe.corpora import (
    Row,
    altered,
    by_all_pairs,
    corpus,
    found,
    groups,
    row,
    sketch,
    staged,
)

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1_200)]
MEMORY = 1_000_000_000


def giant(rng: random.Random) -> list[Row]:
    """Buckets that are not searched for all pairs: what is found depends on the order in them."""
    root = sketch(rng)
    bands = root[:64]
    near = [altered(rng, root, rng.choice((60, 80))) for _ in range(3 * CENTRES)]
    return [row(bands + each[64:]) for each in near]


def test_spark_finds_what_duckdb_finds(tmp_path: Path) -> None:
    from dedupe.spark import SparkEngine

    rng = random.Random(9)
    rows, alike = corpus(rng, 200, 30), giant(rng)
    files = [staged(tmp_path, part) for part in (rows[:50], rows[50:], alike)]
    results = []
    for engine in (DuckEngine, SparkEngine):
        directory = tmp_path / engine.name
        directory.mkdir()
        with closing(engine(files, directory, MEMORY)) as opened:
            results.append(found(opened))
    assert results[0] == results[1]
    together = groups(results[1][1])
    of_giant = {page for page in together if next(iter(page))[1] in {r["page_id"] for r in alike}}
    assert together - of_giant == by_all_pairs(rows, 0.8)
    assert len(by_all_pairs(alike, 0.8)) < len(of_giant) < len(alike)


def test_no_java_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dedupe.spark import SparkEngine

    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(ClusterError, match=r"JAVA_HOME \(/nowhere\): apt-get install openjdk-17"):
        SparkEngine([], tmp_path, MEMORY)


def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    from dedupe.spark import SparkEngine

    with pytest.raises(
        ClusterError, match=r"^100 MB .* too few for Spark: .* 512MiB with --memory"
    ):
        SparkEngine([], tmp_path, 100_000_000)


def test_an_error_of_sparks_is_one_line(tmp_path: Path) -> None:
    from dedupe.spark import SparkEngine

    engine = SparkEngine([staged(tmp_path, [row()])], tmp_path, MEMORY)
    with closing(engine), pytest.raises(ClusterError, match=r"^Spark: [^\n]*nowhere[^\n]*$"):
        engine.rows("SELECT * FROM nowhere", {})
