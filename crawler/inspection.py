"""Opening a frontier to look into it: a fleet's, a running crawl's, or one that is stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from crawler.app import state_directory
from crawler.config import Settings
from crawler.job import JobSpec, UsageError
from frontier.client import Frontier
from frontier.driver import Driver, redact
from frontier.embedded import EmbeddedServer, running
from frontier.model import FrontierError


@asynccontextmanager
async def frontier_of(out: str | None, settings: Settings) -> AsyncIterator[Frontier]:
    """The frontier of the fleet at ``settings.redis``, or the private one of a crawl's output.

    A stopped crawl's server is started for the while. Raises UsageError, FrontierError.
    """
    with ExitStack() as stack:
        url = place(out, settings, stack)
        frontier = await Frontier.open(url, partitions=None)
        try:
            yield frontier
        finally:
            await frontier.close()


@asynccontextmanager
async def empty_database(out: str | None, settings: Settings) -> AsyncIterator[Driver]:
    """The database of a frontier to be made: a fleet's, or in the private one of a crawl's output.

    Raises UsageError, FrontierError: it is not empty.
    """
    with ExitStack() as stack:
        driver = await Driver.connect(place(out, settings, stack, new=True))
        try:
            if await driver.command("DBSIZE"):
                raise FrontierError(
                    f"the database at {redact(driver.url)} is not empty: use an empty one"
                    + (f", or remove {_directory(out)}" if out else "")
                )
            yield driver
        finally:
            await driver.close()


def place(out: str | None, settings: Settings, stack: ExitStack, *, new: bool = False) -> str:
    """The URL of the frontier that the options name; ``new``: its server may have to be made."""
    if out is not None:
        return _private(out, stack, new=new)
    if settings.redis is None:
        raise UsageError("whose frontier? give --redis URL, or the DIR that --out of a crawl got")
    return settings.redis


def alive(out: str) -> str | None:
    """The URL of the private frontier of a crawl that is running; None where none is."""
    return running(_directory(out))


def _directory(out: str) -> Path:
    return state_directory(JobSpec(out=out)) / "redis"


def _private(out: str, stack: ExitStack, *, new: bool) -> str:
    directory = _directory(out)
    if not new and not directory.is_dir():
        raise UsageError(f"{out} holds no frontier: give the DIR that --out of a crawl got")
    return running(directory) or stack.enter_context(EmbeddedServer(directory)).url


async def chosen(frontier: Frontier, workspace: str | None, name: str | None) -> list[str]:
    """The ids of the jobs that these options name; all without options. UsageError for none."""
    jobs = [record.name for record in await frontier.registry.jobs()]
    found = [job for job in jobs if _matches(job, workspace, name)]
    if not found:
        there = ", ".join(jobs) or "none"
        raise UsageError(f"no such job in this frontier; there: {there}")
    return found


def _matches(job: str, workspace: str | None, name: str | None) -> bool:
    owner, _, title = job.partition("/")
    return workspace in {None, owner} and name in {None, title}
