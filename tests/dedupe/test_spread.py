"""dedupe.spread: one of two alike is kept, whatever comes between any two of its steps."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as aioredis
from redis.crc import key_slot

from dedupe import spread
from dedupe.index import KEPT, DedupeIndex, Document
from dedupe.near import estimate
from frontier.driver import Driver
from tests.cluster import SLOTS, cluster
from tests.dedupe.test_index import document, page_id
from tests.dedupe.texts import edited, joined, words


class Slow:
    """A client whose every call may be overtaken by others'."""

    def __init__(self, client: aioredis.Redis, seed: str) -> None:
        self._client = client
        self._random = random.Random(seed)

    async def evalsha(self, *args: Any) -> Any:
        for _ in range(self._random.randrange(12)):
            await asyncio.sleep(0)
        return await self._client.evalsha(*args)

    async def eval(self, *args: Any) -> Any:
        return await self._client.eval(*args)


class Dying:
    """A client that is gone once it was to run a script of that name."""

    def __init__(self, client: aioredis.Redis, script: str) -> None:
        from dedupe.scripts import _script

        self._client, self._last = client, _script(script)[1]

    async def evalsha(self, sha: str, *args: Any) -> Any:
        if sha == self._last:
            await asyncio.Event().wait()
        return await self._client.evalsha(sha, *args)

    async def eval(self, *args: Any) -> Any:
        return await self._client.eval(*args)


async def full(client: Any, job: str, *, dropping: bool = False) -> DedupeIndex:
    """An index whose first level takes no more."""
    index = DedupeIndex(client, job, dropping=dropping, room=1)
    await index.check(document("http://first/", "first"), "s0")
    return index


@pytest.fixture
async def index(client: aioredis.Redis, job: str) -> DedupeIndex:
    return await full(client, job)


def family(rng: random.Random, members: int) -> list[Document]:
    """Pages any two of which are near-duplicates."""
    text = words(rng, 200)
    return [
        document(f"http://{rng.random()}/", joined(edited(rng, text, 1))) for _ in range(members)
    ]


def alike(a: Document, b: Document) -> float:
    assert a.signature is not None
    assert b.signature is not None
    return estimate(a.signature.packed, b.signature.packed)


async def test_of_many_alike_at_once_exactly_one_is_kept(client: aioredis.Redis, job: str) -> None:
    rng = random.Random(21)
    await full(client, job)
    workers = [DedupeIndex(Slow(client, f"{job}{n}"), job, room=1) for n in range(6)]
    for turn in range(25):
        pages = [family(rng, 6) for _ in range(4)]
        batches = [list(batch) for batch in zip(*pages, strict=True)]  # one of each per worker
        for batch in batches:
            rng.shuffle(batch)
        verdicts = await asyncio.gather(
            *(
                w.check_many(b, f"s{n}")
                for n, (w, b) in enumerate(zip(workers, batches, strict=True))
            )
        )
        found = dict(
            zip(
                (d.page_id for d in itertools.chain(*batches)),
                itertools.chain(*verdicts),
                strict=True,
            )
        )
        for members in pages:
            kept = [d for d in members if not found[d.page_id].kind]
            assert len(kept) == 1, turn
            others = [found[d.page_id] for d in members if d is not kept[0]]
            assert {v.duplicate_of for v in others} == {kept[0].page_id}


async def test_a_chain_loses_no_text(client: aioredis.Redis, job: str) -> None:
    """Of a ~ b ~ c, where a and c differ: whoever is no copy of a kept page is kept."""
    rng = random.Random(22)
    await full(client, job)
    workers = [DedupeIndex(Slow(client, f"{job}{n}"), job, room=1) for n in range(8)]
    text, chain = words(rng, 200), []
    for n in range(8):
        text = edited(rng, text, 2)
        chain.append(document(f"http://{n}/", joined(text)))
    assert alike(chain[0], chain[-1]) < 0.75 < 0.85 < alike(chain[0], chain[1])
    found = await asyncio.gather(*(w.check(d, "s1") for w, d in zip(workers, chain, strict=True)))
    kept = {d.page_id for d, v in zip(chain, found, strict=True) if v == KEPT}
    assert {v.duplicate_of for v in found if v != KEPT} <= kept
    assert len(kept) < len(chain)


@pytest.mark.parametrize("script", ["enter", "decide"])
async def test_a_worker_that_dies_on_the_way_holds_nobody_up(
    client: aioredis.Redis, job: str, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "PATIENCE", 0.3)
    first, second, third = family(random.Random(23), 3)
    index = await full(client, job)
    dying = DedupeIndex(Dying(client, script), job, room=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await dying.check(first, "lost")
    verdict = await index.check(second, "s1")
    assert not verdict.committed
    assert verdict.duplicate_of in (None, first.page_id)
    await index.forget("lost")
    again = await index.check(third, "s1")
    assert again.duplicate_of == (None if verdict.kind else second.page_id)


async def test_what_was_interrupted_is_done_anew(
    client: aioredis.Redis, job: str, index: DedupeIndex
) -> None:
    first, second = family(random.Random(24), 2)
    dying = DedupeIndex(Dying(client, "decide"), job, room=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await dying.check(first, "s1")
    assert await index.check(first, "s1") == KEPT
    assert (await index.check(second, "s1")).duplicate_of == first.page_id


@pytest.mark.parametrize("level", ["first", "second"])
async def test_nothing_is_a_copy_of_what_was_dropped(
    client: aioredis.Redis, job: str, level: str
) -> None:
    first, second, _ = family(random.Random(25), 3)
    index = DedupeIndex(client, job, dropping=True)
    if level == "second":
        index = await full(client, job, dropping=True)
    assert await index.check(first, "s1") == KEPT
    await index.confirm("s1")
    dropped = await index.check(second, "s2")
    assert (dropped.duplicate_of, dropped.committed) == (first.page_id, True)
    assert await index.check(second, "s3") == dropped  # asked again
    twin = Document(page_id("twin"), "http://twin/", second.payload_digest, *_text(second))
    assert (await index.check(twin, "s2")).duplicate_of == first.page_id


def _text(page: Document) -> tuple[Any, Any]:
    return page.text_digest, page.signature


async def test_a_copy_that_is_fetched_again_after_the_commit_is_dropped_too(
    client: aioredis.Redis, job: str
) -> None:
    for number, index in enumerate(
        (DedupeIndex(client, job, dropping=True), await full(client, f"{job}2", dropping=True))
    ):
        first, second = family(random.Random(26 + number), 2)
        await index.check(first, "s1")
        assert not (await index.check(second, "s2")).committed
        await index.confirm("s1")
        assert (await index.check(second, "s3")).committed
        twin = Document(page_id("twin"), "http://twin/", second.payload_digest, *_text(second))
        assert (await index.check(twin, "s3")).duplicate_of == first.page_id


async def test_an_index_expires_and_is_kept(client: aioredis.Redis, job: str) -> None:
    index = await full(client, job)
    rng = random.Random(27)
    pages = [document(f"http://{n}/", joined(words(rng, 60))) for n in range(100)]
    await index.check_many(pages, "s1")
    await index.confirm("s1")

    async def ends() -> set[bool]:
        keys = [key async for key in client.scan_iter(f"{{d:{job}*", count=1000)]
        return {await client.pttl(key) > 0 for key in keys}

    assert await ends() == {False}
    await index.expire(1000)
    assert await ends() == {True}
    await index.expire(0)
    assert await ends() == {False}
    await index.expire(0.05)
    deadline = time.monotonic() + 30
    while len(await client.keys(f"{{d:{job}*")) > 17 and time.monotonic() < deadline:
        await asyncio.sleep(0.01)  # polling interval, bounded by the deadline
    await index.expire(0)
    assert await ends() == set()
    assert await index.empty()


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    with cluster(tmp_path / "cluster") as nodes:
        opened = await Driver.connect(nodes.url)
        yield opened
        await opened.close()


async def test_on_a_cluster_an_index_spreads_over_its_masters(driver: Driver, job: str) -> None:
    index = DedupeIndex(driver.client, job, room=20)
    rng = random.Random(28)
    texts = [words(rng, 60) for _ in range(400)]
    pages = [document(f"http://{n}/", joined(text)) for n, text in enumerate(texts)]
    assert set(await index.check_many(pages, "s1")) == {KEPT}
    await index.confirm("s1")
    similar = [
        document(f"http://copy/{n}", joined([*text[:-1], "else"])) for n, text in enumerate(texts)
    ]
    verdicts = await index.check_many(similar, "s2")
    assert [v.duplicate_of for v in verdicts] == [d.page_id for d in pages]
    assert {v.committed for v in verdicts} == {True}
    assert await index.check(pages[300], "s1") == KEPT
    assert await index.remove(pages[300].page_id, pages[300].payload_digest)
    keys = await driver.command("KEYS", f"{{d:{job}*")
    assert {3 * key_slot(key) // SLOTS for key in keys} == {0, 1, 2}
    await index.delete()
    assert not await driver.command("KEYS", f"{{d:{job}*")
