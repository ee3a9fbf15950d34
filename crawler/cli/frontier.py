"""``comity frontier``: look into a frontier, a fleet's or a single crawl's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import structs

from crawler.cli import recovery
from crawler.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from frontier.client import Frontier
    from frontier.inspect import HostLine, HostView
    from frontier.model import FrontierStats

app = typer.Typer(
    add_completion=False,
    name="frontier",
    help="Look into a frontier, safe while a crawl runs; move it; rebuild it after a loss.",
    no_args_is_help=True,
)
app.add_typer(recovery.app)

Out = Annotated[
    str | None,
    typer.Argument(metavar="[DIR]", help="What --out of a crawl got; without it --redis is asked."),
]
Redis = Annotated[
    str | None, typer.Option("--redis", metavar="URL", help="The fleet's Redis (COMITY_REDIS).")
]
Workspace = Annotated[
    str | None, typer.Option("--workspace", metavar="NAME", help="Only this workspace's jobs.")
]
Job = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only the job so named.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")]

Work = Callable[["Frontier", Sequence[str]], Coroutine[Any, Any, Any]]


def _open(
    out: str | None,
    redis: str | None,
    config: Any,
    workspace: str | None,
    name: str | None,
    work: Work,
) -> Any:
    """Run ``work`` on the frontier and the jobs that the options name."""
    from crawler.config import resolve
    from crawler.inspection import chosen, frontier_of

    settings = resolve({"redis": redis}, config=config).settings

    async def run() -> Any:
        async with frontier_of(out, settings) as frontier:
            return await work(frontier, await chosen(frontier, workspace, name))

    return asyncio.run(run())


@app.command()
def stats(
    out: Out = None,
    redis: Redis = None,
    workspace: Workspace = None,
    name: Job = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Count each job's URLs by where they are; the parts add up to all accepted."""

    async def work(frontier: Frontier, jobs: Sequence[str]) -> dict[str, FrontierStats]:
        return {job: await frontier.stats(job) for job in jobs}

    found = _open(out, redis, config, workspace, name, work)
    if as_json:
        print(json.dumps({job: asdict(each) for job, each in found.items()}))
        return
    for job, each in found.items():
        print(job)
        for key, value in asdict(each).items():
            print(f"  {key:<14} {_text(value)}")


@app.command()
def hosts(
    out: Out = None,
    redis: Redis = None,
    workspace: Workspace = None,
    name: Job = None,
    limit: Limit = 50,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List hosts that have URLs left: when they are due, how many URLs, what holds them back."""

    async def work(frontier: Frontier, jobs: Sequence[str]) -> list[tuple[str, HostLine]]:
        from frontier import inspect

        lines: list[tuple[str, HostLine]] = []
        for job in jobs:
            async for line in inspect.hosts(frontier, job, page=min(limit, 500)):
                if len(lines) == limit:
                    return lines
                lines.append((job, line))
        return lines

    found = _open(out, redis, config, workspace, name, work)
    if as_json:
        print(json.dumps([{"job": job, **asdict(line)} for job, line in found]))
        return
    print(f"{'due s':>8} {'queued':>8} {'spilled':>9} {'delay s':>8}  {'held back by':<18} host")
    for _, line in found:
        why = line.blocked or (f"worker {line.worker}" if line.worker else "")
        slow = " (over its budget)" if line.slow else ""
        print(
            f"{line.due:>8.1f} {line.queued:>8,} {line.spilled:>9,} {line.delay:>8.2f}  {why:<18} "
            f"{line.host}{slow}"
        )


Host = Annotated[
    str, typer.Argument(metavar="HOST", help="A host name, host:port, or any URL of it.")
]
From = Annotated[
    str | None, typer.Option("--out", metavar="DIR", help="What --out of a crawl got.")
]


@app.command()
def host(
    host: Host,
    out: From = None,
    redis: Redis = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show one host: its clock, who holds it, what holds it back, what each job has of it."""
    from crawler.seeds import parse_seed
    from frontier.url import parse

    url = parse(parse_seed(host))

    async def work(frontier: Frontier, jobs: Sequence[str]) -> HostView:
        from frontier import inspect

        return await inspect.host(frontier, url)

    view = _open(out, redis, config, None, None, work)
    fields = asdict(view) | {"state": structs.asdict(view.state)}
    print(json.dumps(fields) if as_json else "\n".join(_host_lines(view)))


@app.command()
def peek(
    host: Host,
    out: From = None,
    redis: Redis = None,
    workspace: Workspace = None,
    name: Job = None,
    limit: Limit = 20,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the URLs of a host that would be fetched next, first the first."""
    from crawler.seeds import parse_seed
    from frontier.url import parse

    url = parse(parse_seed(host))

    async def work(frontier: Frontier, jobs: Sequence[str]) -> list[tuple[str, Any]]:
        from frontier import inspect

        return [(job, u) for job in jobs for u in await inspect.peek(frontier, job, url, limit)]

    found = _open(out, redis, config, workspace, name, work)
    for job, leased in found:
        request = leased.request
        if as_json:
            print(json.dumps({"job": job, "fp": leased.fp, **structs.asdict(request)}))
        else:
            print(f"{request.priority} depth {request.depth} {request.url}")


@app.command()
def check(
    out: Out = None,
    redis: Redis = None,
    workspace: Workspace = None,
    name: Job = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set the counters right, put stranded hosts in line.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare every counter with the real keys; exit code 1 when they differ.

    --repair lets accepted URLs that are nowhere end as `lost`, so that the job can end.
    Also names spilled URLs that cannot be read back, which are no difference.

    Looks at each host once: on a frontier of a million hosts some seconds, in steps of one
    partition, during which that partition serves nobody.
    """

    async def work(frontier: Frontier, jobs: Sequence[str]) -> Any:
        from frontier import inspect

        found = await inspect.check(frontier, jobs, repair=repair)
        return found, await inspect.set_aside(frontier, jobs)

    from frontier.inspect import problems

    found, aside = _open(out, redis, config, workspace, name, work)
    if as_json:
        lists = {"findings": found, "set_aside": aside}
        told = {key: [asdict(each) for each in each_of] for key, each_of in lists.items()}
        print(json.dumps({"repaired": repair, **told}))
    else:
        for each in aside:
            print(f"job {each.job}: {each.urls:,} URLs of {each.host}: cannot read {each.segment}")
        for line in problems(found):
            print(line)
        print(_verdict(len(found), sum(each.mends for each in found), repair=repair))
    raise typer.Exit(0 if (repair and all(each.mends for each in found)) or not found else 1)


def _verdict(count: int, mends: int, *, repair: bool) -> str:
    if not count:
        return "every URL is in exactly one place, and the counters say so"
    which = "them" if mends == count else f"{mends} of them"
    return f"{count} differences; " + (f"repaired {which}" if repair else f"--repair mends {which}")


def _host_lines(view: HostView) -> Iterable[str]:
    state = view.state
    yield f"{view.host} (partition {view.partition})"
    yield f"  may be contacted   {'now' if view.ready <= 0 else f'in {view.ready:.1f} s'}"
    if view.lease_ends is not None:
        yield f"  held by            {view.worker} for {view.job}, {view.leased} URLs, " + (
            f"for {view.lease_ends:.1f} s more"
        )
    if state.blocked_reason:
        yield f"  held back by       {state.blocked_reason}"
    yield f"  delay              {state.delay:.2f} s, penalty {state.penalty:.2f} s, " + (
        f"Crawl-delay {state.crawl_delay:g} s"
    )
    yield f"  answers in         {state.response_time:.2f} s; {state.failures} failures in a row"
    for share in view.shares:
        yield f"  {share.job}: " + ", ".join(
            f"class {cls}: {queued:,} queued, {spilled:,} spilled"
            for cls, (queued, spilled) in enumerate(zip(share.queued, share.spilled, strict=True))
            if queued or spilled
        )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count:,}" for name, count in value.items()) or "-"
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.1f}"
