"""Sweepers on a real frontier and a real table: whoever sweeps, each visit is queued once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crawler.job import JobSpec
from crawler.worker import recrawl, visited
from crawler.worker.jobs import JobContext, make_context
from crawler.worker.recrawl import Sweeper
from frontier.client import Frontier
from frontier.model import CrawlRequest
from frontier.url import parse
from storage.blob import StorageError
from tests.crawler.worker.test_visited import BASE, Table, page

JOB = "default/demo"
NUMBERS = range(30)


@dataclass
class Jobs:
    contexts: dict[str, JobContext]


class Leasing:
    def note(self, due: dict[int, float]) -> None:
        pass


@dataclass(eq=False)
class Worker:
    """As much of a worker as a sweeper uses."""

    id: str
    frontier: Frontier
    jobs: Jobs
    leasing: Leasing = field(default_factory=Leasing)
    troubles: list[Exception] = field(default_factory=list)

    def serves(self, job: JobContext) -> bool:
        return job.state == "running"

    def trouble(self, error: Exception) -> None:
        self.troubles.append(error)


def sweeper(name: str, frontier: Frontier, job: JobContext) -> Sweeper:
    return Sweeper(Worker(name, frontier, Jobs({job.name: job})))  # type: ignore[arg-type]


@pytest.fixture
async def job(frontier: Frontier, tmp_path: Path) -> AsyncIterator[JobContext]:
    """A job whose pages were all visited an hour ago, and are due."""
    spec = JobSpec(name="demo", out=str(tmp_path / "out"), recrawl=60)
    await frontier.registry.create_job(JOB, spec.model_dump_json().encode(), b"[]")
    record = await frontier.registry.job(JOB)
    assert record is not None
    made = await make_context(frontier, record)
    urls = [parse(f"{BASE}{n}") for n in NUMBERS]
    await frontier.add(JOB, [(url, CrawlRequest(url.url)) for url in urls])
    pages = Table(made.store, tmp_path / "spool")
    now = time.time()
    pages.put(*(page(str(n), now - 3_600 - n) for n in NUMBERS))
    yield made
    made.store.close()


async def until(sweeping: Sweeper, frontier: Frontier, accepted: int, seen: int = 0) -> None:
    """Sweep until so many visits are in, and so many were known."""
    deadline = time.monotonic() + 60
    while True:
        await sweeping.sweep()
        stats = await frontier.stats(JOB)
        assert stats.accepted <= accepted
        if (stats.accepted, stats.seen) == (accepted, seen):
            return
        await asyncio.sleep(0.02)  # polling interval, bounded by the deadline
        assert time.monotonic() < deadline


async def test_what_is_due_is_queued_once_whoever_comes_after(
    frontier: Frontier, job: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recrawl, "LOCK", 0.2)
    monkeypatch.setattr(visited, "BATCH", 7)
    once, twice = len(NUMBERS), 2 * len(NUMBERS)
    first = sweeper("one", frontier, job)
    await until(first, frontier, twice)
    await frontier.registry.move_job(JOB, (), swept="")  # as if it had died before its note
    await until(sweeper("two", frontier, job), frontier, twice, seen=once)
    assert (await frontier.stats(JOB)).queued == twice
    assert job.counts["recrawls"] == once


async def test_one_sweeps_at_a_time_and_another_goes_on_from_its_note(
    frontier: Frontier, job: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (sweeper(name, frontier, job) for name in ("one", "two"))
    deadline = time.monotonic() + 60
    while not await frontier.registry.swept(JOB):
        await first.sweep()
        await second.sweep()
        assert not second._watches
        await asyncio.sleep(0.02)
        assert time.monotonic() < deadline
    assert (await frontier.stats(JOB)).accepted == 2 * len(NUMBERS)
    await frontier.registry.lock(f"recrawl:{JOB}", "one", 0)
    await until(second, frontier, 2 * len(NUMBERS))
    assert second._watches[JOB].visited.mark is not None


async def test_what_the_frontier_may_have_lost_is_offered_again(
    frontier: Frontier, job: JobContext
) -> None:
    sweeping, deadline = sweeper("one", frontier, job), time.monotonic() + 60
    while not await frontier.registry.swept(JOB):
        await sweeping.sweep()
        await asyncio.sleep(0.02)
        assert time.monotonic() < deadline
    await frontier.registry.move_job(JOB, (), lost=time.time())
    await until(sweeping, frontier, 2 * len(NUMBERS), seen=len(NUMBERS))


async def test_a_job_that_does_not_visit_again_or_is_draining_is_left_alone(
    frontier: Frontier, job: JobContext
) -> None:
    sweeping = sweeper("one", frontier, job)
    job.state = "draining"
    await sweeping.sweep()
    job.state, job.schedule = "running", None
    await sweeping.sweep()
    assert not sweeping._watches
    assert (await frontier.stats(JOB)).accepted == len(NUMBERS)


async def test_a_table_that_cannot_be_read_is_told_and_tried_again(
    frontier: Frontier, job: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recrawl, "REST", 0.05)
    worker = Worker("one", frontier, Jobs({JOB: job}))
    sweeping = Sweeper(worker)  # type: ignore[arg-type]
    log = tmp_path / "out" / job.layout.table / "_delta_log"
    log.rename(tmp_path / "away")
    deadline = time.monotonic() + 60
    while not worker.troubles:
        await sweeping.sweep()
        await asyncio.sleep(0.02)
        assert time.monotonic() < deadline
    assert all(isinstance(error, StorageError) for error in worker.troubles)
    (tmp_path / "away").rename(log)
    await until(sweeping, frontier, 2 * len(NUMBERS))
