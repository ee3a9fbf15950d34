"""Spilled URLs come back: all, once, in their order, whatever is cut short or done by two."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from crawler.spill import SpillObjects
from frontier import spill
from frontier.spill import Spiller, SpillQueue, SpillStore
from storage.blob import StorageError, open_store
from storage.layout import Layout
from tests.frontier.conftest import Served
from tests.frontier.spilling import Crash, Gate, Gated, Make, World, opened


@pytest.fixture(params=["model", "embedded", "shared_cluster"])
def url(request: pytest.FixtureRequest) -> str | None:
    """The server of a world, if it has one."""
    if request.param == "model":
        return None
    running: Served = request.getfixturevalue(request.param)
    return running.url


@pytest.fixture
async def make(url: str | None) -> AsyncIterator[Make]:
    """Makes a world of a cap of URLs per host, and a buffer of URLs."""
    async with opened(url) as make:
        yield make


@pytest.fixture
def store(tmp_path: Path) -> SpillStore:
    return SpillObjects(open_store(str(tmp_path)), Layout("default", "j"))


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpillStore]:
    """One after another, each empty."""

    def each() -> Iterator[SpillStore]:
        while True:
            path = tmp_path_factory.mktemp("store")
            yield SpillObjects(open_store(str(path)), Layout("default", "j"))

    return each()


def objects(path: Path) -> list[Path]:
    return sorted((path / "default/j/spill").glob("*/*"))


def spiller(world: World, store: SpillStore, least: int = spill.LEAST) -> Spiller:
    return Spiller(world.queue, world.job, store, cap=world.cap, least=least, clock=world.clock)


def names(n: int, first: int = 0) -> list[str]:
    return [f"u{i}" for i in range(first, first + n)]


async def refill(mine: Spiller, p: int) -> int:
    """Refill until nothing more comes."""
    total = 0
    while n := await mine.refill(p):
        total += n
    return total


async def drain(world: World, mine: Spiller, n: int = 7) -> dict[int, list[str]]:
    """Take everything that there is, refilling meanwhile."""
    taken: dict[int, list[str]] = defaultdict(list)
    idle = 0
    while idle < 50 and any(
        await world.left()
    ):  # a lease looks at no more than 32 hosts whose URLs are all spilled
        came = await refill(mine, world.p)
        batch = await world.take(n)
        idle = 0 if batch or came else idle + 1
        for i, got in batch.items():
            taken[i] += got
    return taken


async def test_a_buffer_is_spilled_when_it_is_worth_an_object(
    make: Make, store: SpillStore, tmp_path: Path
) -> None:
    world = make(10, 5000)
    mine = spiller(world, store)
    await world.offer(0, names(1007))
    assert await mine.flush(world.p) == 0
    await world.offer(0, names(1, 1007))
    assert await mine.flush(world.p) == 1000
    assert await mine.flush(world.p) == 0
    assert len(objects(tmp_path)) == 1
    await world.offer(0, names(1, 1008))
    assert await mine.flush(world.p) == 0
    assert await mine.flush(world.p, all=True) == 1
    assert len(objects(tmp_path)) == 2
    assert await world.left() == (8, 1001)


async def test_a_full_buffer_has_room_after_a_flush(make: Make, store: SpillStore) -> None:
    world = make(10, 100)
    mine = spiller(world, store, least=50)
    offered = names(200)
    assert await world.offer(0, offered) == offered[:108]
    assert await mine.flush(world.p) == 100
    assert await world.offer(0, offered[108:]) == offered[108:]
    assert (await drain(world, mine))[0] == offered


@pytest.mark.parametrize("hosts", [1, 3, 300])
async def test_spilled_urls_come_back_in_order(make: Make, store: SpillStore, hosts: int) -> None:
    world = make(2 if hosts > 3 else 400, 20_000)
    mine = spiller(world, store)
    sent = {i: names(6 if hosts > 3 else 3000) for i in range(hosts)}
    for i, urls in sent.items():
        assert await world.offer(i, urls) == urls
    await mine.flush(world.p)
    assert await drain(world, mine, 150) == sent
    assert await world.left() == (0, 0)


async def test_new_urls_go_behind_spilled_ones(make: Make, store: SpillStore) -> None:
    world = make(10, 100)
    mine = spiller(world, store, least=5)
    await world.offer(0, names(30))
    await mine.flush(world.p)
    assert await world.take(8) == {0: names(8)}
    await world.offer(0, names(20, 30))  # the queue has room, but older ones are spilled
    assert (await drain(world, mine))[0] == names(42, 8)


async def test_classes_of_a_host_keep_their_own_order(make: Make, store: SpillStore) -> None:
    world = make(4, 100)
    mine = spiller(world, store, least=5)
    for i in range(12):
        await world.offer(0, [f"deep{i}"], cls=2)
        await world.offer(0, [f"seed{i}"], cls=0)
    taken = (await drain(world, mine, 2))[0]
    for kind in ("deep", "seed"):
        assert [t for t in taken if t.startswith(kind)] == [f"{kind}{i}" for i in range(12)]


async def test_a_refill_spills_first_what_is_still_in_the_buffer(
    make: Make, store: SpillStore
) -> None:
    world = make(10, 100)
    mine = spiller(world, store)
    await world.offer(0, names(13))
    await world.take(10)
    assert await mine.refill(world.p) == 5
    assert await world.take(10) == {0: names(5, 8)}


async def test_a_segment_and_a_push_are_bounded_in_bytes(
    make: Make, store: SpillStore, tmp_path: Path
) -> None:
    world = make(10, 5000)
    mine = spiller(world, store, least=10)
    await world.offer(0, names(410), size=60_000)
    assert await mine.flush(world.p) == 402
    read = [spill.SpillSegment.parse(path.read_bytes()) for path in objects(tmp_path)]
    counts = [segment.count(2, world.host(0)) for segment in read]
    assert sum(counts) == 402
    assert max(counts) <= spill.PIECE // 60_000
    assert len(counts) <= 5
    assert await refill(mine, world.p) == 0  # no queue runs low
    await world.take(10)
    assert 0 < await mine.refill(world.p) <= 10


async def test_a_push_is_bounded_in_urls(make: Make, store: SpillStore) -> None:
    world = make(3000, 5000)
    mine = spiller(world, store)
    await world.offer(0, names(6000))
    await mine.flush(world.p)  # of 1,000 and 2,600
    for had in (2400, 1000):
        assert {0: had} == {i: len(urls) for i, urls in (await world.take(3000)).items()}
        assert await mine.refill(world.p) == spill.PUSH
    assert (await drain(world, mine, 1000))[0] == names(2600, 3400)


async def test_a_refill_keeps_to_the_cap(make: Make, store: SpillStore) -> None:
    world = make(10, 100)
    await world.offer(0, names(30))
    await world.take(3)
    assert await refill(spiller(world, store), world.p) == 5
    assert await world.left() == (10, 17)


async def test_few_but_large_urls_are_worth_an_object(make: Make, store: SpillStore) -> None:
    world = make(10, 5000)
    await world.offer(0, names(410), size=60_000)
    assert await spiller(world, store).flush(world.p) > 402 - spill.PIECE // 60_000


@pytest.mark.parametrize("least", [5, 100_000])
async def test_urls_of_very_many_hosts_are_spilled(
    make: Make, store: SpillStore, least: int
) -> None:
    world = make(1, 20_000)
    for i in range(2500):
        await world.offer(i, names(2))
    assert await spiller(world, store, least=least).flush(world.p) >= 2000


async def test_a_segment_is_read_once_for_many_hosts(
    make: Make, store: SpillStore, tmp_path: Path
) -> None:
    world = make(10, 5000)
    mine = spiller(world, store, least=10)
    for i in range(40):
        await world.offer(i, names(30))
    await mine.flush(world.p)
    await world.take(8)
    assert await mine.refill(world.p) > 0
    for path in objects(tmp_path):
        path.unlink()
    assert await drain(world, mine) == {i: names(22, 8) for i in range(40)}


async def test_memory_of_segments_is_bounded(
    make: Make, store: SpillStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "CACHE", 1500)
    world = make(20, 5000)
    mine = spiller(world, store, least=10)
    for i in range(30):  # as many segments
        await world.offer(i, names(40))
        await mine.flush(world.p)
    assert await drain(world, mine) == {i: names(40) for i in range(30)}
    assert 1 <= len(mine._cache) < 5
    assert sum(segment.size for segment in mine._cache.values()) <= 1500


# -- objects that go


async def test_a_consumed_segment_is_deleted_an_hour_later(
    make: Make, store: SpillStore, tmp_path: Path
) -> None:
    world = make(10, 100)
    mine = spiller(world, store, least=5)
    await world.offer(0, names(30))
    await mine.flush(world.p)
    assert (await drain(world, mine))[0] == names(30)
    world.later(3500)
    assert await mine.tidy(world.p) == 0
    assert len(objects(tmp_path)) == 1
    world.later(200)
    assert await mine.tidy(world.p) == 1
    assert objects(tmp_path) == []
    assert await world.queue.spill_known(world.job, world.p) == set()


async def test_an_orphan_is_deleted_and_nothing_else(
    make: Make, store: SpillStore, tmp_path: Path
) -> None:
    world = make(10, 100)
    mine = spiller(world, store, least=5)
    await world.offer(0, names(30))
    await mine.flush(world.p)
    (used,) = objects(tmp_path)
    key = f"spill/{world.p}/{spill._new_name(world.clock())}"
    store.put(key, b"put by one that died")
    store.put(f"spill/{world.p}/README", b"not ours")
    store.put("spill/99/1000000000000-01234567", b"another partition's")
    world.later(3500)
    assert await mine.tidy(world.p) == 0
    world.later(200)
    assert await mine.tidy(world.p) == 1
    assert store.get(key) is None
    assert used in objects(tmp_path)
    assert len(objects(tmp_path)) == 3
    assert (await drain(world, mine))[0] == names(30)


class Delayed:
    """A store whose user is suspended for two hours after each put."""

    def __init__(self, inner: SpillStore, world: World) -> None:
        self._inner = inner
        self._world = world

    def put(self, key: str, data: bytes) -> None:
        self._inner.put(key, data)
        self._world.later(7200)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def together(gate: Gate, *actors: Coroutine[Any, Any, object]) -> None:
    """Run the actors of a gate, in its order."""

    async def act(i: int, actor: Coroutine[Any, Any, object]) -> None:
        try:
            await actor
        finally:
            gate.leave(i)

    await asyncio.gather(*(act(i, actor) for i, actor in enumerate(actors)))


def gated(world: World, store: SpillStore, gate: Gate, actor: int, least: int) -> Spiller:
    """A spiller whose calls are an actor's steps."""
    queue = cast(SpillQueue, Gated(world.queue, gate, actor))
    objects = cast(SpillStore, Gated(store, gate, actor))
    return Spiller(queue, world.job, objects, cap=world.cap, least=least, clock=world.clock)


async def test_one_suspended_between_put_and_registration_loses_nothing(
    make: Make, stores: Iterator[SpillStore], url: str | None
) -> None:
    """Every interleaving of a flush that takes hours with another's tidy; some on a server."""
    for when in list(combinations(range(11), 3))[
        :: 8 if url else 1
    ]:  # read, put, done; of the other, up to eight
        world, store = make(10, 100), next(stores)
        await world.offer(0, names(30))
        gate = Gate(2, [(0 if at in when else 1, "") for at in range(11)])
        late = gated(world, cast(SpillStore, Delayed(store, world)), gate, 0, 5)
        tidier = gated(world, store, gate, 1, 5)
        await together(gate, late.flush(world.p), tidier.tidy(world.p))
        known = await world.queue.spill_known(world.job, world.p)
        assert {f"spill/{world.p}/{name}" for name in known} == {*store.list("spill")}, when
        assert (await drain(world, spiller(world, store)))[0] == names(30), when


@pytest.mark.parametrize("call", range(7))
async def test_a_call_repeated_after_its_answer_was_lost_changes_nothing(
    make: Make, store: SpillStore, call: int
) -> None:
    world = make(10, 100)
    await world.offer(0, names(30))
    await world.take(8)
    gate = Gate(1, [(0, "twice" if at == call else "") for at in range(20)])
    mine = gated(world, store, gate, 0, 5)
    assert await mine.flush(world.p) == 22
    assert await mine.refill(world.p) in {0, 10}
    gate.leave(0)
    assert await world.left() == (10, 12)
    assert (await drain(world, spiller(world, store)))[0] == names(22, 8)


class Busy:
    """A queue to which somebody adds a URL with each of the first segments."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._more = 5

    async def spill_done(self, *args: Any) -> bool:
        done = await self._world.queue.spill_done(*args)
        if self._more:
            self._more -= 1
            await self._world.offer(0, [f"more{self._more}"])
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.queue, name)


async def test_a_flush_does_not_run_after_every_new_url(
    make: Make, store: SpillStore, tmp_path: Path
) -> None:
    world = make(10, 100)
    await world.offer(0, names(30))
    mine = Spiller(cast(SpillQueue, Busy(world)), world.job, store, clock=world.clock)
    assert await mine.flush(world.p, all=True) == 22
    assert len(objects(tmp_path)) == 1


# -- what cannot be read, what cannot be written


def break_object(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [break_object, Path.unlink, lambda path: path.write_bytes(b"")])
async def test_a_segment_that_cannot_be_read_is_set_aside(
    make: Make,
    store: SpillStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[Path], object],
) -> None:
    world = make(10, 100)
    mine = spiller(world, store, least=10)
    await world.offer(0, names(30))
    await world.offer(1, names(25))
    await mine.flush(world.p)
    (bad,) = objects(tmp_path)
    await world.offer(0, names(20, 30))
    await mine.flush(world.p)
    harm(bad)
    with caplog.at_level(logging.ERROR):
        taken = await drain(world, mine)
    assert taken == {0: [*names(8), *names(20, 30)], 1: names(8)}
    assert await world.left() == (0, 39)  # nothing is lost
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    for i, n in ((0, 22), (1, 17)):
        (line,) = (line for line in said if f"{n} URLs of {world.host(i)} set aside" in line)
        assert f"spill/{world.p}/{bad.name}" in line
        assert "\n" not in line
    world.later(7200)
    harmed = bad.exists()
    assert await mine.tidy(world.p) == 1  # the one that was consumed
    assert bad.exists() == harmed


async def test_a_segment_of_other_urls_is_set_aside(
    make: Make, store: SpillStore, tmp_path: Path
) -> None:
    world = make(10, 100)
    mine = spiller(world, store, least=10)
    await world.offer(0, names(30))
    await mine.flush(world.p)
    (path,) = objects(tmp_path)
    path.write_bytes(spill.write({(2, world.host(0)): [b"x"] * 23}))
    assert (await drain(world, mine))[0] == names(8)
    assert await world.left() == (0, 22)


async def test_a_store_that_fails_says_so_and_nothing_is_lost(
    make: Make, store: SpillStore, tmp_path: Path
) -> None:
    world = make(10, 100)
    mine = spiller(world, store, least=10)
    await world.offer(0, names(30))
    (tmp_path / "default").write_text("in the way")
    with pytest.raises(StorageError):
        await mine.flush(world.p)
    assert await world.left() == (8, 22)
    (tmp_path / "default").unlink()
    await mine.flush(world.p)
    await world.take(8)
    (tmp_path / "default").rename(tmp_path / "away")
    (tmp_path / "default").write_text("in the way")
    with pytest.raises(StorageError):
        await mine.refill(world.p)
    (tmp_path / "default").unlink()
    (tmp_path / "away").rename(tmp_path / "default")
    assert (await drain(world, mine))[0] == names(22, 8)


# -- any order, any crash

OFFERS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(4, 12), st.sampled_from([0, 2, 2])),
    min_size=6,
    max_size=15,
)
WORK = st.lists(
    st.sampled_from(["flush", "flush all", "refill", "refill", "tidy"]), min_size=8, max_size=12
)
TAKES = st.lists(st.sampled_from(["take", "take", "half an hour"]), min_size=6, max_size=12)


def steps(seed: int, faults: float) -> Iterator[tuple[int, str]]:
    """Whose turn is it, and does its step go wrong: for ever."""
    rng = random.Random(seed)
    while True:
        bad = rng.random() < faults
        yield rng.randrange(4), rng.choice(("before", "after", "twice")) if bad else ""


class Party:
    """Two spillers, one who offers and one who takes, each step of theirs in a given order."""

    def __init__(self, world: World, store: SpillStore, order: Iterator[tuple[int, str]]) -> None:
        self.world = world
        self.store = store
        self.gate = Gate(4, order)
        self.sent: dict[tuple[int, str], list[str]] = defaultdict(list)
        self.taken: dict[tuple[int, str], list[str]] = defaultdict(list)

    async def work(self, actor: int, jobs: Sequence[str]) -> None:
        for job in jobs:
            mine = gated(self.world, self.store, self.gate, actor, 6)
            with contextlib.suppress(Crash):
                if job.startswith("flush"):
                    await mine.flush(self.world.p, all=job == "flush all")
                else:
                    await getattr(mine, job)(self.world.p)

    async def offer(self, offers: Sequence[tuple[int, int, int]]) -> None:
        for at, (i, n, cls) in enumerate(offers):
            await self.gate.step(2)
            given = [f"{cls}-{at}-{k}" for k in range(n)]
            self.sent[i, str(cls)] += await self.world.offer(i, given, cls)

    async def take(self, takes: Sequence[str]) -> None:
        for what in takes:
            await self.gate.step(3)
            if what == "take":
                self.took(await self.world.take(3))
            else:
                self.world.later(1800)

    def took(self, batch: dict[int, list[str]]) -> None:
        for i, got in batch.items():
            for name in got:
                self.taken[i, name[0]].append(name)


@settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a schedule by seed does not shrink
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(OFFERS, WORK, WORK, TAKES, st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.3]))
def test_nothing_is_lost_or_doubled_and_order_is_kept(
    url: str | None,
    stores: Iterator[SpillStore],
    offers: list[tuple[int, int, int]],
    one: list[str],
    two: list[str],
    takes: list[str],
    seed: int,
    faults: float,
) -> None:
    async def example() -> None:
        async with opened(url) as make:
            world, store = make(4, 25), next(stores)
            party = Party(world, store, steps(seed, faults))
            await together(
                party.gate,
                *(party.work(0, one), party.work(1, two), party.offer(offers), party.take(takes)),
            )
            mine = spiller(world, store)
            party.took(await drain(world, mine))
            assert party.taken == {key: urls for key, urls in party.sent.items() if urls}
            assert await world.left() == (0, 0)
            world.later(7200)
            await mine.tidy(world.p)
            assert list(store.list(f"spill/{world.p}")) == []

    asyncio.run(example())
