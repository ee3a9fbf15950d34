"""Joining the fleet of a spider's job, and leaving it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from scrapy.utils.project import data_path

from crawler.job import JobSpec, UsageError
from crawler.worker.addon.handler import AddonHandler
from crawler.worker.addon.worker import AddonWorker
from crawler.worker.jobs import Jobs, make_context
from frontier.client import Frontier
from frontier.model import FrontierError
from frontier.registry import ENDED, JobRecord
from storage.blob import open_store, probe

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler

    from crawler.worker.addon.plan import Plan
    from crawler.worker.spider import ComitySpider

PATIENCE: Final = 15.0  # seconds that another may take to record the job


class JobOver(UsageError):
    """The job is completed: there is nothing to join, and nothing wrong."""


async def join(crawler: Crawler, spider: Spider) -> AddonWorker:
    """The worker of this process, at work. FrontierError, StorageError, UsageError: for people."""
    from crawler.worker.addon import plan_of

    plan = plan_of(crawler)
    settings = plan.settings
    frontier = await Frontier.open(str(settings.redis), partitions=settings.partitions)
    try:
        return await _joined(crawler, spider, plan, frontier)
    except BaseException:
        await frontier.close()
        raise


async def _joined(crawler: Crawler, spider: Spider, plan: Plan, frontier: Frontier) -> AddonWorker:
    scratch = "" if plan.keeps else tempfile.mkdtemp(prefix="comity-")
    try:
        if plan.keeps:
            await asyncio.to_thread(_check_store, plan.spec)
        await _record(frontier, plan, spider.name)
        worker = _worker(crawler, spider, plan, frontier, scratch)
        await worker.jobs.refresh()
        if worker.context is None:
            raise UsageError(f"job {plan.job} ended while this worker joined it")
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    worker.scratch = scratch
    worker.handler = AddonHandler.from_crawler(crawler)
    worker.attach(crawler.engine)
    worker.life = asyncio.create_task(worker.run(cast("ComitySpider", spider)))
    worker.log.info("worker %s of job %s", worker.name, plan.job)
    return worker


def _worker(
    crawler: Crawler, spider: Spider, plan: Plan, frontier: Frontier, scratch: str
) -> AddonWorker:
    host = socket.gethostname().split(".")[0]
    make = partial(make_context, keeps=plan.keeps, out=scratch)
    jobs = Jobs(frontier, plan.job, spider.logger, spider=spider.name, make=make)
    worker = AddonWorker(
        plan.settings,
        frontier,
        name=plan.settings.worker_name or f"{host}-{os.getpid()}",
        spool=Path(plan.settings.spool or data_path("comity/spool", createdir=True)),
        jobs=jobs,
        job=plan.job,
        project=spider,
    )
    if plan.turns:
        worker.turns = plan.turns
    return worker


async def leave(worker: AddonWorker) -> None:
    """Drain and go."""
    worker.let_go(())
    await asyncio.wait([worker.life])
    with suppress(FrontierError):
        await worker.frontier.registry.lock(f"start:{worker.job}", worker.id, 0)
    await worker.frontier.close()
    if worker.scratch:
        await asyncio.to_thread(shutil.rmtree, worker.scratch, ignore_errors=True)


def _check_store(spec: JobSpec) -> None:
    store = open_store(spec.out, hasty=True)
    try:
        probe(store)
    finally:
        store.close()


async def _record(frontier: Frontier, plan: Plan, spider: str) -> None:
    """Record the job, or find it recorded by another worker. UsageError: it is not to be joined."""
    registry, lock, token = frontier.registry, f"record:{plan.job}", os.urandom(8).hex()
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not await registry.lock(lock, token, PATIENCE):
        if asyncio.get_running_loop().time() > deadline:
            raise UsageError(f"another worker has been recording job {plan.job} for too long")
        await asyncio.sleep(0.1)
    try:
        record, stored = await registry.job(plan.job), plan.spec.model_dump_json().encode()
        if record is None:
            await registry.create_job(
                plan.job, stored, b"[]", credit=plan.spec.max_pages, spider=spider
            )
            return
        _check(record, spider)
        if record.state in ENDED:  # not for want of requests: see _check
            await registry.renew_job(plan.job, stored, b"[]", credit=plan.spec.max_pages)
        elif JobSpec.model_validate_json((await registry.job_spec(plan.job))[0]) != plan.spec:
            raise UsageError(
                f"job {plan.job} runs with other COMITY_ settings, or another USER_AGENT or "
                "DOWNLOAD_DELAY, than here: all workers of a job need the same"
            )
    finally:
        await registry.lock(lock, token, 0)


def _check(record: JobRecord, spider: str) -> None:
    if record.spider != spider:
        whose = f"the spider {record.spider}" if record.spider else "comity crawl"
        raise UsageError(f"job {record.name} is that of {whose}: set COMITY_JOB to another name")
    if record.state == "completed" and not record.reason:
        raise JobOver(
            f"job {record.name} is completed: for another crawl, set COMITY_JOB to another name"
        )
