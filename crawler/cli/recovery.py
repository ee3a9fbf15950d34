"""``comity frontier export``, ``import`` and ``rebuild``: to another server, and after a loss."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from crawler.cli.options import AsJson, ConfigFile, JobFile

if TYPE_CHECKING:
    from crawler.config import Settings
    from crawler.rebuild import Rebuilt
    from frontier.dump import Moved

app = typer.Typer(add_completion=False)

EVERY = 5.0  # seconds between lines that say how it goes
File = Annotated[
    str, typer.Argument(metavar="FILE|-", help="The export; - is standard output or input.")
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="DIR", help="What --out of a crawl got: its private frontier."),
]
Redis = Annotated[
    str | None, typer.Option("--redis", metavar="URL", help="The fleet's Redis (COMITY_REDIS).")
]


@app.command("export")
def export_(
    file: File,
    out: Out = None,
    redis: Redis = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Write a whole frontier to a file, for another server: single, cluster, Redis or Valkey.

    Nobody may use it meanwhile: stop its crawls and workers first. The file has all that the
    frontier has: header values and other secrets too.
    """
    from crawler.inspection import frontier_of
    from frontier import dump

    settings = _settings(redis, config)

    async def run() -> Moved:
        async with frontier_of(out, settings) as frontier:
            with _written(file) as sink:
                return await dump.export(frontier, sink, _shown("exported keys"))

    _tell_moved(asyncio.run(run()), "exported", as_json, to_stdout=file == "-")


@app.command("import")
def import_(
    file: File,
    out: Out = None,
    redis: Redis = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Fill an empty database with an exported frontier.

    What an interrupted import leaves is of no use to anybody: empty it and import again.
    """
    from crawler.inspection import empty_database
    from frontier import dump

    settings = _settings(redis, config)

    async def run() -> Moved:
        with _read(file) as source:
            async with empty_database(out, settings) as driver:
                return await dump.load(driver, source, _shown("imported keys"))

    _tell_moved(asyncio.run(run()), "imported", as_json)


@app.command()
def rebuild(
    corpus: Annotated[
        str,
        typer.Option("--from", metavar="CORPUS", help="What --out of the lost crawl got."),
    ],
    out: Annotated[
        str | None,
        typer.Argument(
            metavar="[DIR]",
            help="Make the private frontier of this output directory; without it and --redis, "
            "that of the corpus.",
        ),
    ] = None,
    redis: Redis = None,
    workspace: Annotated[
        str | None, typer.Option("--workspace", metavar="NAME", help="Only this workspace's jobs.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Only the job so named.")
    ] = None,
    job: JobFile = None,
    no_links: Annotated[
        bool,
        typer.Option(
            "--no-links",
            help="Leave out the links of the stored pages: what was not fetched stays unknown.",
        ),
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a job's frontier anew from its stored pages, after Redis was lost with all its data.

    Into an empty database; then crawl --resume goes on. What is stored is not fetched again, and no
    host is contacted early. At the end it says what could not be known.
    """
    from crawler.job import load_job

    given = load_job(job) if job else None
    settings = _settings(redis, config)

    async def run() -> Rebuilt:
        return await _rebuild(corpus, workspace, name, given, out, settings, links=not no_links)

    report = asyncio.run(run())
    if as_json:
        print(json.dumps(asdict(report)))
    else:
        print("\n".join(_lines(report)))


async def _rebuild(
    root: str,
    workspace: str | None,
    name: str | None,
    given: Any,
    out: str | None,
    settings: Settings,
    *,
    links: bool,
) -> Rebuilt:
    from crawler.inspection import empty_database
    from crawler.jobfile import of_corpus
    from crawler.rebuild import Rebuild
    from crawler.schema import UsageError
    from frontier.client import Frontier
    from storage.corpus import Corpus

    with Corpus(root, workspace=workspace, job=name) as corpus:
        if len(corpus.layouts) > 1:
            there = ", ".join(layout.prefix for layout in corpus.layouts)
            raise UsageError(f"{root} holds several jobs: choose one with --name ({there})")
        saved = of_corpus(corpus.store, corpus.layouts[0], given)
        private = out or (None if settings.redis else corpus.store.root)
        # Workers that a lost Redis left behind hold hosts until their leases end.
        quiet = saved.spec.delay if private else settings.lease_ttl + 1
        async with empty_database(private, settings) as driver:
            frontier = await Frontier.open(driver.url, partitions=settings.partitions)
            try:
                rebuild = Rebuild(frontier, corpus, saved, links=links, quiet=quiet)
                return await rebuild.run(_Shown())
            finally:
                await frontier.close()


def _settings(redis: str | None, config: Path | None) -> Settings:
    from crawler.config import resolve

    return resolve({"redis": redis}, config=config).settings


@contextmanager
def _written(file: str) -> Iterator[BinaryIO]:
    """A file that is there only when it is whole, and for its owner alone."""
    if file == "-":
        yield sys.stdout.buffer
        return
    path = Path(file)
    part = path.with_name(f".{path.name}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _read(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as source:
        yield source


class _Shown:
    """A line on standard error every few seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, what: str, count: int) -> None:
        if time.monotonic() - self._last >= EVERY:
            self._last = time.monotonic()
            print(f"{what}: {count:,}", file=sys.stderr)


def _shown(what: str) -> Callable[[int], None]:
    shown = _Shown()
    return lambda count: shown(what, count)


def _tell_moved(moved: Moved, verb: str, as_json: bool, *, to_stdout: bool = False) -> None:
    stream = sys.stderr if to_stdout else sys.stdout
    if as_json:
        print(json.dumps(asdict(moved)), file=stream)
        return
    line = f"{verb} {moved.keys:,} keys with {moved.items:,} items, {moved.partitions} partitions"
    print(line, file=stream)


def _lines(report: Rebuilt) -> Iterator[str]:
    dropped = ", ".join(f"{name} {count:,}" for name, count in sorted(report.dropped.items()))
    yield f"{report.job} in {report.out}"
    yield f"  rows read          {report.rows:,} ({report.rows_per_s:,.0f}/s)"
    yield f"  URLs seen          {report.seen:,}: done {report.done:,}, dropped {dropped or '0'}"
    yield f"  hosts with a clock {report.hosts:,}"
    yield f"  pages read again   {report.pages_read:,}"
    yield f"  URLs queued        {report.queued:,}, of them spilled before {report.spilled:,}"
    if report.committed:
        yield f"  segments committed {report.committed:,} that were on their way"
    if report.pages_left is not None:
        yield f"  page budget left   {report.pages_left:,}"
    yield f"  took               {report.seconds:.1f} s"
    yield "could not be known:"
    for line in report.unknown:
        yield f"  {line}"
