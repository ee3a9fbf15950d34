"""``comity block``: the list of what the whole fleet leaves alone because somebody asked for it."""

from __future__ import annotations

import asyncio
import getpass
import json
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crawler.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from frontier.driver import Driver

app = typer.Typer(
    add_completion=False,
    name="block",
    help="Keep the whole fleet away from hosts, URLs or addresses. Workers heed a change within "
    "seconds: what is on the list is not contacted, and its URLs end as opted-out.",
    no_args_is_help=True,
)

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="TARGET...",
        help="A host (example.org, example.org:8080), a name and all below it (*.example.org), "
        "the beginning of URLs (example.org/members), an address or a network (192.0.2.0/24), "
        "whatever names lead to it.",
    ),
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="DIR", help="What --out of a crawl got: its private frontier."),
]
Redis = Annotated[
    str | None, typer.Option("--redis", metavar="URL", help="The fleet's Redis (COMITY_REDIS).")
]


def _on(
    out: str | None,
    redis: str | None,
    config: Any,
    work: Callable[[Driver], Coroutine[Any, Any, Any]],
) -> Any:
    from crawler.config import resolve
    from crawler.inspection import frontier_of

    settings = resolve({"redis": redis}, config=config).settings

    async def run() -> Any:
        async with frontier_of(out, settings) as frontier:
            return await work(frontier.driver)

    return asyncio.run(run())


def _canonical(targets: list[str]) -> list[str]:
    from crawler.schema import UsageError
    from frontier.blocks import canonical

    found = []
    for target in targets:
        try:
            found.append(canonical(target))
        except ValueError as error:
            raise UsageError(f"{target!r}: {error}") from None
    return list(dict.fromkeys(found))


@app.command()
def add(
    targets: Targets,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Who asked for it, and how.")],
    who: Annotated[
        str | None,
        typer.Option("--who", metavar="NAME", help="Who enters it (default: the system's user)."),
    ] = None,
    out: Out = None,
    redis: Redis = None,
    config: ConfigFile = None,
) -> None:
    """Put targets on the list; a target that is on it gets the new reason."""
    from crawler.schema import UsageError
    from frontier import blocks

    if not why.strip():
        raise UsageError("--why: say who asked for it, and how")
    named = who or getpass.getuser()
    entries = [blocks.Block(t, named, time.time(), why.strip()) for t in _canonical(targets)]
    _on(out, redis, config, lambda driver: blocks.put(driver, entries))
    for entry in entries:
        print(f"blocked {entry.target}")


@app.command("list")
def list_(
    out: Out = None, redis: Redis = None, config: ConfigFile = None, as_json: AsJson = False
) -> None:
    """Show the list: target, who entered it when, and why."""
    from frontier import blocks

    found: list[blocks.Block] = _on(out, redis, config, blocks.load)
    if as_json:
        lines = [{"target": b.target, "who": b.who, "when": b.when, "why": b.why} for b in found]
        print(json.dumps(lines))
        return
    for each in found:
        when = datetime.fromtimestamp(each.when, UTC).strftime("%Y-%m-%d %H:%M UTC")
        print(f"{each.target:<32} {when}  {each.who:<12} {each.why}")


@app.command()
def remove(
    targets: Targets, out: Out = None, redis: Redis = None, config: ConfigFile = None
) -> None:
    """Take targets off the list. URLs that ended as opted-out stay ended."""
    from crawler.schema import UsageError
    from frontier import blocks

    wanted = _canonical(targets)
    gone = _on(out, redis, config, lambda driver: blocks.remove(driver, wanted))
    for target in gone:
        print(f"removed {target}")
    if missing := [target for target in wanted if target not in gone]:
        raise UsageError(f"not on the list: {', '.join(missing)}")
