"""dedupe.near: the estimate is right, the same everywhere, and bounded."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH

from dedupe import near
from dedupe.near import MIN_SHINGLES, VALUES, Signature, estimate, signature
from tests.dedupe.texts import edited, jaccard, joined, ngrams, words

GOLDEN = Path(__file__).parent / "golden_signatures.json"


def signed(text: str) -> Signature:
    found = signature(text)
    assert found is not None
    return found


def test_shape() -> None:
    found = signed(joined(words(random.Random(1), 500)))
    assert (len(found.packed), len(found.bands), found.shingles) == (128, 64, 496)


@pytest.mark.parametrize("script", ["latin", "cyrillic", "arabic", "han"])
def test_estimates_are_unbiased_and_as_tight_as_the_theory_says(script: str) -> None:
    rng = random.Random(7)
    errors = []
    for _ in range(120):
        first = words(rng, rng.choice([60, 300, 1_500]), script)
        second = edited(rng, first, rng.randint(0, len(first) // 12), script)
        a, b = signed(joined(first, script)), signed(joined(second, script))
        errors.append(estimate(a.packed, b.packed) - jaccard(first, second))
    # sqrt(P(1-P)/256) / (15/16) with P = J + (1-J)/16 is at most 0.033.
    assert abs(float(np.mean(errors))) < 0.012
    assert float(np.std(errors)) < 0.038


def test_shingles_are_exact() -> None:
    rng = random.Random(3)
    first = words(rng, 800)
    second = edited(rng, first, 20)
    a, b = near.shingles(joined(first)), near.shingles(joined(second))
    assert len(a) == len(ngrams(first))
    assert len(np.intersect1d(a, b)) / len(np.union1d(a, b)) == pytest.approx(
        jaccard(first, second), abs=1e-9
    )


def test_unrelated_texts_share_nothing() -> None:
    rng = random.Random(5)
    signatures = [signed(joined(words(rng, 400))) for _ in range(60)]
    pairs = [(a, b) for i, a in enumerate(signatures) for b in signatures[:i]]
    assert max(estimate(a.packed, b.packed) for a, b in pairs) < 0.15
    assert not any(_shared_bands(a, b) for a, b in pairs)


def _shared_bands(a: Signature, b: Signature) -> int:
    return int(np.count_nonzero(np.frombuffer(a.bands, "<u4") == np.frombuffer(b.bands, "<u4")))


def test_bands_find_what_is_similar() -> None:
    rng = random.Random(11)
    found = total = 0
    while total < 150:
        first = words(rng, 400)
        second = edited(rng, first, rng.randint(4, 8))
        if jaccard(first, second) < 0.85:
            continue
        total += 1
        found += _shared_bands(signed(joined(first)), signed(joined(second))) > 0
    assert found / total > 0.97  # 0.994 at J = 0.85, more above


def test_values_load_as_datasketch_minhash() -> None:
    rng = random.Random(13)
    first = words(rng, 600)
    text, other = joined(first), joined(edited(rng, first, 15))
    true = jaccard(text.split(), other.split())
    one, two = loaded(near.values(text)), loaded(near.values(other))
    assert one.jaccard(two) == pytest.approx(true, abs=0.08)
    assert one.jaccard(one) == 1.0
    stored = [loaded(near.unpacked(signed(each).packed)) for each in (text, other)]
    assert estimate(signed(text).packed, signed(other).packed) == pytest.approx(
        near.similarity(round(VALUES * stored[0].jaccard(stored[1])))
    )
    lsh = MinHashLSH(num_perm=VALUES, params=tuple(near.shape()))
    lsh.insert("one", one)
    assert lsh.query(two) == ["one"]


def loaded(values: np.ndarray | None) -> MinHash:
    assert values is not None
    return MinHash(num_perm=VALUES, hashvalues=values, scheme="affine32")


def test_the_sketch_of_a_union_is_the_least_of_both() -> None:
    rng = random.Random(14)
    for count in (1, 2, 30, 700, 5_000):
        one, two = (
            np.unique(np.array([rng.getrandbits(32) for _ in range(count)], np.uint32))
            for _ in range(2)
        )
        union = near._sketch(np.union1d(one, two).astype(np.uint32))
        merged = MinHash(num_perm=VALUES, hashvalues=near._sketch(one), scheme="affine32")
        merged.merge(MinHash(num_perm=VALUES, hashvalues=near._sketch(two), scheme="affine32"))
        assert (merged.hashvalues == union).all()


def test_bands_are_those_of_datasketchs_optimiser() -> None:
    for threshold in (0.5, 0.7, 0.8, 0.9, 0.95):
        theirs = MinHashLSH(threshold=threshold, num_perm=near.BANDED, weights=(0.05, 0.95))
        assert near.shape(threshold) == (theirs.b, theirs.r)
    text = joined(words(random.Random(15), 500))
    bands, _ = near.shape(0.9)
    found = signature(text, threshold=0.9)
    assert found is not None
    assert len(found.bands) == 4 * bands


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, World! This is -- a test.", "hello world this is a test"),
        ("Größe ÄNDERN ist\u00a0nicht  leicht «oder»", "größe ändern ist nicht leicht oder"),
        ("ΟΔΥΣΣΕΥΣ ΚΑΙ ΠΗΝΕΛΟΠΗ ΣΤΗΝ ΙΘΑΚΗ ΠΑΛΙ", "οδυσσευς και πηνελοπη στην ιθακη παλι"),
        ("今天 天气，很好！我们去", "今天天气很好我们去"),
    ],
)
def test_case_punctuation_and_spacing_do_not_count(one: str, other: str) -> None:
    assert near.shingles(one).tolist() == near.shingles(other).tolist() != []


def test_word_boundaries_count() -> None:
    assert not set(near.shingles("ab c d e f").tolist()) & set(near.shingles("a bc d e f").tolist())


@pytest.mark.parametrize(
    "text", ["中文没有空格", "これはペンです", "ภาษาไทยไม่มี", "ភាសាខ្មែរ", "ພາສາລາວບໍ່ມີ", "မြန်မာစာ"]
)
def test_scripts_without_spaces_make_character_shingles(text: str) -> None:
    assert len(near.shingles(text)) >= len(text) - 5  # combining marks count as characters


@pytest.mark.parametrize(
    "text",
    [
        "",
        "word",
        "a b c d",
        "!?… — ✂ 😀😀😀 " * 100,
        "\ud800\udfff" * 500,
        "\0" * 10_000,
        "one two three four five six",
    ],
)
def test_too_little_text_has_no_signature(text: str) -> None:
    assert signature(text) is None


def test_the_least_number_of_shingles() -> None:
    parts = words(random.Random(17), MIN_SHINGLES + 4)
    assert signed(joined(parts)).shingles == MIN_SHINGLES
    assert signature(joined(parts[:-1])) is None
    assert signature(joined(parts[:5]), minimum=1) is not None


def test_hostile_texts_take_bounded_time() -> None:
    rng = random.Random(19)
    mixed = [
        chr(rng.choice([rng.randrange(0x110000), rng.randrange(0x3000)])) for _ in range(50_000)
    ]
    started = time.process_time()
    assert signature("word " * 10_000_000) is None  # one shingle, 50 MB
    assert signature("x" * 50_000_000) is None
    signature("".join(mixed) * 40)
    signature("\u0301\u0316" * 1_000_000)
    signature(" ".join(map(str, range(500_000))))
    assert time.process_time() - started < 10


def test_only_the_first_million_characters_count() -> None:
    text = " ".join(map(str, range(200_000)))
    assert len(text) > near.MAX_CHARS
    assert signature(text) == signature(text[: near.MAX_CHARS])


def test_estimate_of_equal_and_of_chance() -> None:
    assert estimate(b"\x12" * 128, b"\x12" * 128) == 1.0
    assert estimate(b"\x12" * 128, b"\x34" * 128) == 0.0


def golden_texts() -> dict[str, str]:
    texts = {
        script: joined(words(random.Random(23), 300, script), script)
        for script in ("latin", "cyrillic", "arabic", "han")
    }
    texts["mixed"] = " ".join(texts.values())
    texts["thai"] = "ภาษาไทยเป็นภาษาที่ไม่มีช่องว่างระหว่างคำ และตัวเลข 123 " * 3
    texts["cases"] = "ÄÖÜ ß ẞ İı ΣΑΣ ǅ ﬁ Ⅷ K Å " + texts["latin"].upper()
    return texts


def test_the_same_in_every_version() -> None:
    stored = json.loads(GOLDEN.read_text())
    for name, text in golden_texts().items():
        found = signed(text)
        assert [found.packed.hex(), found.bands.hex(), found.shingles] == stored[name], name


def test_the_same_in_every_process() -> None:
    text = golden_texts()["mixed"]
    code = (
        "import sys; from dedupe.near import signature;"
        "print(signature(sys.stdin.buffer.read().decode()).packed.hex())"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=text.encode(),
            capture_output=True,
            check=True,
            cwd=Path(near.__file__).parents[1],
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        assert done.stdout.decode().strip() == signed(text).packed.hex()
