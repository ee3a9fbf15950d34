"""When a job is over, as a table; and that it ends once, on a real frontier."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest

from crawler.job import JobSpec
from crawler.worker.ending import Ending, Pass, bound_reached, ended
from frontier.client import Frontier
from frontier.model import CrawlRequest, HostState, UrlResult
from frontier.registry import JobRecord
from frontier.url import parse


@dataclass(frozen=True)
class Job:
    name: str
    spec: JobSpec
    pages: int = 0

    def stored_pages(self) -> int:
        return self.pages


SPEC = JobSpec(max_wait=60.0)
RUNNING = JobRecord("j", "running", "", epoch=1, seeded=True, started=1000.0)
FINISHED = Pass(epoch=1, accepted=5, finished=5, held=0, next_ready=None)
DAMAGED = Pass(epoch=1, accepted=5, finished=3, held=0, next_ready=None, aside=2)
BLOCKED = Pass(epoch=1, accepted=5, finished=3, held=0, next_ready=61.0)


@pytest.mark.parametrize(
    ("record", "before", "now", "credit", "expected"),
    [
        (RUNNING, FINISHED, FINISHED, None, ""),
        (RUNNING, None, FINISHED, None, None),  # one pass is not a snapshot
        (RUNNING, replace(FINISHED, accepted=4, finished=4), FINISHED, None, None),  # it grew
        (RUNNING, replace(FINISHED, epoch=0), FINISHED, None, None),  # restarted in between
        (replace(RUNNING, seeded=False), FINISHED, FINISHED, None, None),  # seeds still come
        (RUNNING, DAMAGED, DAMAGED, None, "spill-damaged"),
        (RUNNING, BLOCKED, BLOCKED, None, "max-wait"),
        (RUNNING, BLOCKED, replace(BLOCKED, next_ready=59.0), None, None),  # due soon enough
        (RUNNING, BLOCKED, replace(BLOCKED, held=1), None, None),  # somebody is at work
        (RUNNING, BLOCKED, replace(BLOCKED, next_ready=0.0), 0, "max-pages"),
        (RUNNING, BLOCKED, replace(BLOCKED, next_ready=0.0), 1, None),
        (replace(RUNNING, state="draining", reason="time-limit"), None, BLOCKED, 9, "time-limit"),
        (  # interrupted while seeds still came
            replace(RUNNING, state="draining", reason="interrupted", seeded=False),
            None,
            BLOCKED,
            None,
            "interrupted",
        ),
        (
            replace(RUNNING, state="draining", reason="interrupted"),
            None,
            replace(BLOCKED, held=2),
            None,
            None,
        ),
    ],
)
def test_ended(
    record: JobRecord, before: Pass | None, now: Pass, credit: int | None, expected: str | None
) -> None:
    assert ended(SPEC, record, before, now, credit) == expected


@pytest.mark.parametrize(
    ("now", "credit", "expected"),
    [
        (FINISHED, None, None),
        (BLOCKED, None, None),
        (FINISHED, 1, None),
        (FINISHED, 0, "max-pages"),
    ],
)
def test_a_job_that_visits_again_ends_only_at_a_bound(
    now: Pass, credit: int | None, expected: str | None
) -> None:
    spec = SPEC.model_copy(update={"recrawl": "adaptive"})
    assert ended(spec, RUNNING, now, now, credit) == expected
    draining = replace(RUNNING, state="draining", reason="time-limit")
    assert ended(spec, draining, now, now, credit) == "time-limit"


@pytest.mark.parametrize(
    ("changes", "counted", "now", "expected"),
    [
        ({}, {"bytes": 10**12}, 10**9, ""),
        ({"time_limit": 30}, {}, 1029.9, ""),
        ({"time_limit": 30}, {}, 1030.0, "time-limit"),
        ({"size_limit": 100}, {"bytes": 99}, 1000.0, ""),
        ({"size_limit": 100}, {"bytes": 100}, 1000.0, "size-limit"),
    ],
)
def test_bounds(
    changes: dict[str, float], counted: dict[str, int], now: float, expected: str
) -> None:
    assert bound_reached(JobSpec(**changes), RUNNING, counted, now) == expected


async def test_a_job_ends_once_and_only_when_its_pages_are_durable(frontier: Frontier) -> None:
    registry, url = frontier.registry, parse("http://a.test/")
    await registry.create_job("j", b"{}")
    await frontier.add("j", [(url, CrawlRequest(url.url))])
    await registry.move_job("j", (), seeded=1)
    watchers = [Ending(frontier, f"w{n}") for n in range(3)]

    async def look() -> str:
        for _ in range(3):
            await asyncio.gather(*(w.watch(Job("j", SPEC)) for w in watchers))
        record = await registry.job("j")
        assert record is not None
        return record.state

    assert await look() == "running"
    grant = await frontier.lease("w", ["j"], range(4), hosts=1, urls=1, ttl=60)
    [lease] = grant.leases
    assert await look() == "running"
    results = [UrlResult(lease.urls[0].fp, "pending", "s")]
    await frontier.report(lease, results, state=HostState(), wait=0, free=True)
    assert await look() == "running"
    await frontier.seal("s", range(4))
    await frontier.settle("s", range(4))
    assert await look() == "completed"


async def test_a_budget_that_dead_workers_took_along_comes_back(frontier: Frontier) -> None:
    registry, spec = frontier.registry, JobSpec(max_pages=10)
    await registry.create_job("j", b"{}", credit=10)
    url = parse("http://a.test/")
    await frontier.add("j", [(url, CrawlRequest(url.url))])
    await registry.move_job("j", (), seeded=1)
    assert await registry.take_credit("j", 10, "dead") == (10, 0)
    ending = Ending(frontier, "w")
    for _ in range(2):
        await ending.watch(Job("j", spec, pages=7))
    record = await registry.job("j")
    assert record is not None
    assert record.state == "running"
    assert await registry.credit("j") == (3, 1)
    assert await registry.take_credit("j", 3, "w") == (3, 1)
    for _ in range(2):
        await ending.watch(Job("j", spec, pages=10))
    record = await registry.job("j")
    assert record is not None
    assert (record.state, record.reason) == ("completed", "max-pages")


async def test_what_was_seen_of_an_earlier_epoch_is_void(frontier: Frontier) -> None:
    registry = frontier.registry
    await registry.create_job("j", b"{}")
    await registry.renew_job("j", b"{}", b"[]", credit=None)
    assert not await registry.move_job("j", ("running",), at_epoch=1, state="completed")
    assert await registry.move_job("j", ("running",), at_epoch=2, state="completed")
