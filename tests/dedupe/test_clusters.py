from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupe import clusters
from dedupe.clusters import CENTRES, ClusterError, Clusters, statements
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

MB = 1_000_000
Open = Callable[..., DuckEngine]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    with ExitStack() as stack:

        def opened(*parts: Sequence[Row], memory: int = 500 * MB) -> DuckEngine:
            directory = tmp_path_factory.mktemp("engine")
            files = [staged(tmp_path_factory.mktemp("rows"), part) for part in parts]
            return stack.enter_context(closing(DuckEngine(files, directory, memory)))

        yield opened


@settings(max_examples=12)
@given(seed=st.integers(0, 1 << 32), threshold=st.sampled_from((0.8, 0.8, 0.6, 0.9)))
def test_clusters_are_those_of_all_pairs(opened: Open, seed: int, threshold: float) -> None:
    rng = random.Random(seed)
    rows = corpus(rng, 60, rng.choice((1, 5, 20)))
    summary, marks = found(opened(rows[:20], rows[20:]), threshold)
    want = by_all_pairs(rows, threshold)
    assert groups(marks) == want
    sizes = [len(pages) for pages in want]
    assert (summary.pages, summary.largest) == (len(rows), max(sizes))
    assert summary.copies == len(rows) - len(want)
    assert summary.clusters == sum(size > 1 for size in sizes)


def test_the_order_of_rows_does_not_matter(opened: Open) -> None:
    rng = random.Random(1)
    rows = corpus(rng, 60, 5)
    _, marks = found(opened(rows))
    rng.shuffle(rows)
    assert found(opened(rows))[1] == marks


def test_the_page_fetched_first_represents_its_cluster(opened: Open) -> None:
    same = sketch(random.Random(2))
    late = row(same, fetched=9, page_id="a", source=1)
    tied = row(same, fetched=5, page_id="c")
    first = row(same, fetched=5, page_id="b")
    _, marks = found(opened([late, tied, first]))
    assert [page for page, (_, chosen) in marks.items() if chosen] == [(0, "b")]
    _, more = found(opened([late, tied, first, row(same, fetched=7)]))
    assert more[0, "b"] == marks[0, "b"]  # it keeps its name as it grows


def test_short_pages_are_compared_by_payload_and_text(opened: Open) -> None:
    rows = [
        row(content_digest="sha1:x"),
        row(content_digest="sha1:x", text_digest="t"),
        row(text_digest="t"),
        row(content_digest=None),
        row(content_digest=None),
    ]
    assert sorted(len(g) for g in groups(found(opened(rows))[1])) == [1, 1, 3]


def test_workspaces_are_never_compared(opened: Open) -> None:
    same = sketch(random.Random(3))
    rows = [
        row(same, workspace=name, content_digest="sha1:x", text_digest="t") for name in "ab" * 2
    ]
    assert sorted(len(g) for g in groups(found(opened(rows))[1])) == [2, 2]


def test_one_id_in_two_corpora_is_two_pages(opened: Open) -> None:
    rows = [row(page_id="p", source=source) for source in range(2)]
    _, marks = found(opened(rows))
    assert len({cluster for cluster, _ in marks.values()}) == 2


def test_what_is_known_already_is_no_change(opened: Open) -> None:
    rows = corpus(random.Random(4), 60, 5)
    _, marks = found(opened(rows))
    assert len(marks) == len(rows)
    for each in rows:
        key = each["source"], each["page_id"]
        each["cluster_id"], each["is_representative"] = marks[key]
    assert found(opened(rows))[1] == {}
    rows[7]["cluster_id"] = "another"
    assert list(found(opened(rows))[1]) == [(rows[7]["source"], rows[7]["page_id"])]


class Counting(DuckEngine):
    """Knows how many pairs were to be compared at once at most, and how often stars were made."""

    pairs = 0
    stars = 0

    def run(self, statement: str, values: Mapping[str, Any]) -> None:
        super().run(statement, values)
        if statement == statements("clusters")["candidates"]:
            ((pairs,),) = self.rows("SELECT count(*) FROM candidates", {})
            self.pairs = max(self.pairs, pairs)
        self.stars += statement == statements("clusters")["large_star"]


def counting(tmp_path: Path, rows: Sequence[Row]) -> Counting:
    return Counting([staged(tmp_path, rows)], tmp_path, 500 * MB)


def test_a_giant_bucket_of_pages_that_differ_is_not_compared_pair_by_pair(tmp_path: Path) -> None:
    rng = random.Random(5)
    band = sketch(rng)[:4]
    rows = [row(band + sketch(rng)[4:]) for _ in range(600)]
    with closing(counting(tmp_path, rows)) as engine:
        summary, _ = found(engine)
        assert summary.copies == 0
        assert 600 * (CENTRES - 1) / 2 < engine.pairs <= 600 * (1 + CENTRES)


def test_a_giant_bucket_of_like_pages_is_drawn_together_by_its_first(tmp_path: Path) -> None:
    rng = random.Random(6)
    root = sketch(rng)
    rows = [row(root[:4] + altered(rng, root, 12)[4:]) for _ in range(600)]
    alone = row(root[:4] + sketch(rng)[4:])
    pair = [row(root[:4] + altered(rng, alone["minhash"], 8)[4:]), alone]
    with closing(counting(tmp_path, [*rows, *pair])) as engine:
        _, marks = found(engine)
        assert sorted(len(g) for g in groups(marks)) == [2, 600]
        assert engine.pairs < 16 * 600 + 2 * CENTRES * 600  # of all bands; all pairs: 180,000 each


def test_long_chains_are_joined_in_few_rounds(tmp_path: Path) -> None:
    chain = [row(content_digest=f"c{n // 2}", text_digest=f"t{(n + 1) // 2}") for n in range(3_000)]
    with closing(counting(tmp_path, chain)) as engine:
        summary, _ = found(engine)
        assert (summary.clusters, summary.largest) == (1, 3_000)
        assert engine.stars < 20


def test_what_memory_does_not_hold_goes_to_disk(tmp_path: Path) -> None:
    rows = corpus(random.Random(7), 20_000, 4_000)
    results, spilled = [], []
    for memory in (1_000 * MB, 32 * MB):
        directory = tmp_path / str(memory)
        directory.mkdir()
        most = 0

        def told(step: str, directory: Path = directory) -> None:
            nonlocal most
            files = (directory / "spilled").glob("*") if directory.exists() else ()
            most = max(most, sum(file.stat().st_size for file in files))

        with closing(DuckEngine([staged(tmp_path, rows)], directory, memory)) as engine:
            results.append(Clusters(engine, 0.8, told).find())
        spilled.append(most)
    assert results[0] == results[1]
    assert results[0].copies > 1_000
    assert spilled[0] == 0 < spilled[1]


def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    rows = corpus(random.Random(8), 100, 5)
    little = pytest.raises(ClusterError, match=r"^8 MB of memory are too few: .* --memory$")
    with closing(DuckEngine([staged(tmp_path, rows)], tmp_path, 8 * MB)) as engine, little:
        found(engine)


def test_both_engines_have_the_same_words_of_their_own() -> None:
    assert statements("duckdb").keys() == statements("spark").keys()
    text = Path(clusters.__file__).read_text("utf-8")
    for name in statements("clusters") | statements("duckdb"):
        assert re.search(rf'"{name}"', text), name


def test_spark_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, "py4j.protocol", None)
    monkeypatch.delitem(sys.modules, "dedupe.spark", raising=False)
    with pytest.raises(ClusterError, match=r"pip install 'comity\[spark\]'"):
        importlib.import_module("dedupe.spark")
