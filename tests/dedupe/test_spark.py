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

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]
MEMORY = 1_000_000_000


def giant(rng: random.Random) -> list[Row]:
    """Buckets that are not searched for all pairs: what is found depends on the order in them."""
    root = sketch(rng)
    bands = root[:64]
    near = [altered(rng, root, rng.choice((60, 80))) for _ in range(3 * CENTRES)]
    return [row(bands + each[64:]) for each in near]


@pytest.mark.parametrize("threshold", [0.8, 0.6])
def test_spark_finds_what_duckdb_finds(tmp_path: Path, threshold: float) -> None:
    from dedupe.spark import SparkEngine

    rng = random.Random(threshold)
    rows = corpus(rng, 200, 30)
    files = [staged(tmp_path, part) for part in (rows[:50], rows[50:])]
    results = []
    for engine in (DuckEngine, SparkEngine):
        directory = tmp_path / engine.name
        directory.mkdir()
        with closing(engine(files, directory, MEMORY)) as opened:
            results.append(found(opened, threshold))
    assert results[0] == results[1]
    assert groups(results[1][1]) == by_all_pairs(rows, threshold)


def test_spark_finds_the_same_in_giant_buckets(tmp_path: Path) -> None:
    from dedupe.spark import SparkEngine

    file = staged(tmp_path, giant(random.Random(9)))
    results = []
    for engine in (DuckEngine, SparkEngine):
        directory = tmp_path / engine.name
        directory.mkdir()
        with closing(engine([file], directory, MEMORY)) as opened:
            results.append(found(opened))
    assert results[0] == results[1]
    assert 1 < len(groups(results[0][1])) < 3 * CENTRES


def test_no_java_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dedupe.spark import SparkEngine

    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(ClusterError, match=r"JAVA_HOME \(/nowhere\): apt-get install openjdk-17"):
        SparkEngine([], tmp_path, MEMORY)


def test_an_error_of_sparks_is_one_line(tmp_path: Path) -> None:
    from dedupe.spark import SparkEngine

    engine = SparkEngine([staged(tmp_path, [row()])], tmp_path, MEMORY)
    with closing(engine), pytest.raises(ClusterError, match=r"^Spark: [^\n]*nowhere[^\n]*$"):
        engine.rows("SELECT * FROM nowhere", {})
