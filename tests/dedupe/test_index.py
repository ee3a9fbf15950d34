"""dedupe.index: verdicts, their atomicity, and what the index costs, on a real server."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import pytest
import redis.asyncio as aioredis

from dedupe.exact import digest, text_digest
from dedupe.index import KEPT, DedupeError, DedupeIndex, DedupeVerdict, Document
from dedupe.near import Signature, estimate, signature
from tests.dedupe.texts import edited, joined, words


def page_id(name: str) -> str:
    return blake2b(name.encode(), digest_size=16).hexdigest()


def document(url: str, text: str, *, visit: int = 1, markup: str = "<p>") -> Document:
    return Document(
        page_id(f"{url} {visit}"),
        url,
        digest((markup + text).encode()),
        text_digest(text),
        signature(text),
    )


def kept(verdict: DedupeVerdict) -> bool:
    return verdict.kind == ""


@pytest.fixture
def text() -> str:
    return joined(words(random.Random(1), 400))


@pytest.fixture
def similar(text: str) -> str:
    return joined(edited(random.Random(2), text.split(), 4))


@pytest.fixture(params=["one slot", "spread"])
async def index(client: aioredis.Redis, job: str, request: pytest.FixtureRequest) -> DedupeIndex:
    """One with all its documents in one slot, or all but one on the second level."""
    if request.param == "one slot":
        return DedupeIndex(client, job)
    full = DedupeIndex(client, job, room=1)
    await full.check(document("http://first/", "first"), "s0")
    return full


async def test_exact_copy(index: DedupeIndex, text: str) -> None:
    assert await index.check(document("http://a/", text), "s1") == KEPT
    verdict = await index.check(document("http://b/", text), "s1")
    assert verdict == DedupeVerdict("exact", page_id("http://a/ 1"), 1.0, committed=False)


async def test_same_text_in_other_markup(index: DedupeIndex, text: str) -> None:
    await index.check(document("http://a/", text), "s1")
    verdict = await index.check(document("http://b/", text.upper(), markup="<div>"), "s1")
    assert (verdict.kind, verdict.duplicate_of) == ("same-text", page_id("http://a/ 1"))


async def test_near_duplicate(index: DedupeIndex, text: str, similar: str) -> None:
    first, second = document("http://a/", text), document("http://b/", similar)
    await index.check(first, "s1")
    verdict = await index.check(second, "s1")
    assert first.signature is not None
    assert second.signature is not None
    assert (verdict.kind, verdict.duplicate_of) == ("near", first.page_id)
    assert verdict.similarity == pytest.approx(
        estimate(first.signature.packed, second.signature.packed)
    )


async def test_the_nearest_is_named(index: DedupeIndex, text: str) -> None:
    rng = random.Random(4)
    far = joined(edited(rng, text.split(), 30))
    near = joined(edited(rng, text.split(), 2))
    assert kept(await index.check(document("http://far/", far), "s1"))
    assert kept(await index.check(document("http://near/", near), "s1"))
    verdict = await index.check(document("http://b/", text), "s1")
    assert verdict.duplicate_of == page_id("http://near/ 1")


async def test_what_is_not_similar_enough_is_kept(index: DedupeIndex, text: str) -> None:
    await index.check(document("http://a/", text), "s1")
    for count in (30, 60, 120):
        other = joined(edited(random.Random(count), text.split(), count))
        assert kept(await index.check(document(f"http://{count}/", other), "s1"))


async def test_short_texts_are_compared_exactly(index: DedupeIndex) -> None:
    assert kept(await index.check(document("http://a/", "Log in to go on, please"), "s1"))
    assert kept(await index.check(document("http://b/", "Log in to go on, please!"), "s1"))
    verdict = await index.check(
        document("http://c/", "log in  to go on, please", markup="<b>"), "s1"
    )
    assert verdict.kind == "same-text"


async def test_pages_without_text_are_not_copies(index: DedupeIndex) -> None:
    assert kept(await index.check(document("http://a/", "", markup="1"), "s1"))
    assert kept(await index.check(document("http://b/", "", markup="2"), "s1"))
    assert (await index.check(document("http://c/", "", markup="2"), "s1")).kind == "exact"


async def test_a_copy_of_a_near_duplicate_names_the_identical_page(
    index: DedupeIndex, text: str, similar: str
) -> None:
    await index.check(document("http://a/", text), "s1")
    await index.check(document("http://b/", similar), "s1")
    verdict = await index.check(document("http://c/", similar), "s1")
    assert (verdict.kind, verdict.duplicate_of) == ("exact", page_id("http://b/ 1"))


async def test_a_page_never_matches_itself(index: DedupeIndex, text: str, similar: str) -> None:
    first = document("http://a/", text)
    for _ in range(3):  # asked again, as after a lost answer
        assert await index.check(first, "s1") == KEPT
    second = document("http://b/", similar)
    answers = [await index.check(second, "s1") for _ in range(3)]
    assert answers[0].kind == "near"
    assert answers[1:] == answers[:-1]


async def test_an_earlier_visit_is_not_another_page(
    index: DedupeIndex, text: str, similar: str
) -> None:
    await index.check(document("http://a/", text), "s1")
    unchanged = await index.check(document("http://a/", text, visit=2), "s1")
    assert unchanged == DedupeVerdict(revisit_of=page_id("http://a/ 1"))
    assert kept(await index.check(document("http://a/", similar, visit=3), "s1"))
    assert kept(await index.check(document("http://a/", text, visit=4, markup="<i>"), "s1"))


async def test_batches_see_what_comes_before(index: DedupeIndex, text: str, similar: str) -> None:
    rng = random.Random(5)
    others = [document(f"http://{i}/", joined(words(rng, 100))) for i in range(80)]
    batch = [document("http://a/", text), *others, document("http://b/", similar)]
    verdicts = await index.check_many(batch, "s1")
    assert [v.kind for v in verdicts] == [""] * 81 + ["near"]
    assert await index.check_many([], "s1") == []


async def test_committed_only_after_confirmation(index: DedupeIndex, text: str) -> None:
    await index.check(document("http://a/", text), "s1")
    copy = document("http://b/", text)
    assert not (await index.check(copy, "s2")).committed
    await index.confirm("s2")
    assert not (await index.check(copy, "s2")).committed
    await index.confirm("s1")
    assert (await index.check(copy, "s2")).committed


async def test_forgotten_pages_never_answer(index: DedupeIndex, text: str, similar: str) -> None:
    first = document("http://a/", text)
    await index.check(first, "s1")
    await index.forget("s1")
    assert await index.check(document("http://b/", similar), "s2") == KEPT
    verdict = await index.check(first, "s2")  # fetched again
    assert (verdict.kind, verdict.duplicate_of) == ("near", page_id("http://b/ 1"))


async def test_a_page_fetched_again_outlives_its_first_segment(
    index: DedupeIndex, text: str
) -> None:
    first = document("http://a/", text)
    await index.check(first, "s1")
    await index.check(first, "s2")
    await index.forget("s1")
    assert (await index.check(document("http://b/", text), "s2")).kind == "exact"


async def test_segments_longer_than_a_call(index: DedupeIndex) -> None:
    rng = random.Random(6)
    batch = [
        Document(
            page_id(str(i)),
            str(i),
            str(i),
            None,
            Signature(rng.randbytes(128), rng.randbytes(64), 99),
        )
        for i in range(2_500)
    ]
    await index.check_many(batch, "s1")
    await index.forget("s1")
    again = [replace(d, page_id=page_id(f"{i}b"), url=f"{i}b") for i, d in enumerate(batch)]
    assert all(v == KEPT for v in await index.check_many(again, "s2"))


async def test_takedown(index: DedupeIndex, text: str, similar: str) -> None:
    first = document("http://a/", text)
    await index.check(first, "s1")
    assert await index.remove(first.page_id, first.payload_digest)
    assert not await index.remove(first.page_id, first.payload_digest)
    assert not await index.remove(page_id("unknown"), first.payload_digest)
    assert kept(await index.check(document("http://b/", similar), "s1"))


async def test_delete_leaves_no_key(index: DedupeIndex, client: aioredis.Redis, job: str) -> None:
    rng = random.Random(8)
    batch = [
        Document(
            page_id(str(i)),
            str(i),
            str(i),
            None,
            Signature(rng.randbytes(128), rng.randbytes(64), 99),
        )
        for i in range(4_000)
    ]
    await index.check_many(batch, "s1")
    assert await client.keys(f"{{d:{job}}}*")
    await index.delete()
    assert not await client.keys(f"{{d:{job}}}*")
    assert kept(await index.check(batch[0], "s1"))


async def test_buckets_stay_small_and_nothing_gets_lost_in_splits(
    index: DedupeIndex, client: aioredis.Redis, job: str
) -> None:
    rng = random.Random(9)
    batch = [
        Document(
            page_id(str(i)),
            str(i),
            str(i),
            rng.randbytes(16),
            Signature(rng.randbytes(128), rng.randbytes(64), 99),
        )
        for i in range(5_000)
    ]
    assert all(v == KEPT for v in await index.check_many(batch, "s1"))
    asked = client.pipeline(transaction=False)
    for key in await client.keys(f"{{d:{job}*"):
        asked.memory_usage(key, samples=0)
    taken = await asked.execute()
    assert 300 < sum(taken) / len(batch) < 450
    buckets = await client.keys(f"{{d:{job}}}:b:*")
    assert {await client.object("encoding", key) for key in buckets[:50]} == {b"listpack"}
    copies = [replace(d, page_id=page_id(f"{i}b"), url=f"{i}b") for i, d in enumerate(batch)]
    assert {v.kind for v in await index.check_many(copies, "s1")} == {"exact"}
    texts = [replace(d, payload_digest=d.payload_digest + "b") for d in copies]
    assert {v.kind for v in await index.check_many(texts, "s1")} == {"same-text"}
    nears = [replace(d, payload_digest=d.payload_digest + "c", text_digest=None) for d in texts]
    nears = [replace(d, page_id=page_id(f"{d.url}c"), url=f"{d.url}c") for d in nears]
    found = await index.check_many(nears, "s1")
    assert {v.kind for v in found} == {"near"}
    assert [v.duplicate_of for v in found] == [d.page_id for d in batch]


async def test_a_band_that_thousands_share_stays_bounded(index: DedupeIndex) -> None:
    rng = random.Random(10)
    bands = rng.randbytes(64)
    batch = [
        Document(page_id(str(i)), str(i), str(i), None, Signature(rng.randbytes(128), bands, 99))
        for i in range(2_000)
    ]
    assert all(v == KEPT for v in await index.check_many(batch, "s1"))
    copy = replace(batch[0], page_id=page_id("copy"), url="copy", payload_digest="copy")
    assert (await index.check(copy, "s1")).duplicate_of == batch[0].page_id


async def test_jobs_do_not_see_each_other(client: aioredis.Redis, job: str, text: str) -> None:
    for name in (job, f"{job}2"):
        assert kept(await DedupeIndex(client, name).check(document("http://a/", text), "s1"))


async def test_of_two_near_duplicates_at_once_exactly_one_is_kept(socket: Path, job: str) -> None:
    rng = random.Random(12)
    clients = [aioredis.Redis(unix_socket_path=str(socket)) for _ in range(2)]
    try:
        indexes = [DedupeIndex(each, job) for each in clients]
        for turn in range(150):
            first = words(rng, 120)
            pair = [joined(first), joined([*first[:-1], "else"])]
            verdicts = await asyncio.gather(
                *(
                    each.check(document(f"http://{side}/{turn}", pair[side]), f"s{side}")
                    for side, each in enumerate(indexes)
                )
            )
            loser = [side for side, verdict in enumerate(verdicts) if not kept(verdict)]
            assert len(loser) == 1, turn
            assert verdicts[loser[0]].duplicate_of == page_id(f"http://{1 - loser[0]}/{turn} 1")
    finally:
        for each in clients:
            await each.aclose()


async def test_scripts_come_back_after_a_flush(
    index: DedupeIndex, client: aioredis.Redis, text: str
) -> None:
    await client.script_flush()
    assert kept(await index.check(document("http://a/", text), "s1"))


@pytest.mark.parametrize("name", ["", "a b", "a}b", "{a"])
async def test_names_that_would_break_the_tag(client: aioredis.Redis, name: str) -> None:
    with pytest.raises(DedupeError, match="not fit"):
        DedupeIndex(client, name)


@pytest.mark.parametrize("bad", ["", "zz", "00" * 16, "ab" * 15])
async def test_page_ids_are_checked(index: DedupeIndex, bad: str) -> None:
    with pytest.raises(DedupeError, match="page id"):
        await index.check(Document(bad, "u", "d", None, None), "s1")


async def test_a_dead_server_is_one_clear_error(tmp_path: Path, job: str) -> None:
    client = aioredis.Redis(unix_socket_path=str(tmp_path / "none"), retry=None)
    with pytest.raises(DedupeError, match="does not answer"):
        await DedupeIndex(client, job).delete()
    await client.aclose()
