"""``comity demo``: the bundled web on loopback, served, and crawled."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from crawler.cli.options import AsJson, ConfigFile

app = typer.Typer(
    add_completion=False,
    name="demo",
    help="A web of many hosts on this machine: crawl it, or just serve it.",
    invoke_without_command=True,
)

Size = Annotated[str, typer.Option("--size", metavar="SIZE", help="small, default or large.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Equal seeds give equal webs.")]


@app.callback()
def demo(
    context: typer.Context,
    size: Size = "default",
    seed: Seed = 1,
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="Where the pages are stored.")
    ] = "demo-crawl",
    delay: Annotated[
        str, typer.Option("--delay", metavar="TIME", help="Shortest pause between requests.")
    ] = "100ms",
    workers: Annotated[
        str | None,
        typer.Option("--workers", metavar="N", help="Worker processes (default: one per core)."),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Serve the demo web and crawl it: no network needed."""
    if context.invoked_subcommand is not None:
        return
    from crawler.config import resolve
    from crawler.display import print_summary, showing

    _check_size(size)
    resolved = resolve({"delay": delay, "workers": workers, "out": out}, config=config)
    from crawler import app as application

    with showing(sys.stderr) as on_progress:
        summary = application.demo(
            size=size,
            seed=seed,
            settings=resolved.settings,
            out=resolved.spec.out,
            delay=resolved.spec.delay,
            workers=resolved.settings.workers,
            on_progress=on_progress,
        )
    if as_json:
        print(json.dumps(summary.json_dict()))
    else:
        print_summary(summary, sys.stdout)
    raise typer.Exit(summary.exit_code)


@app.command()
def serve(
    size: Size = "default",
    seed: Seed = 1,
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65_535, help="Of all hosts; 0: any.")
    ] = 0,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log", metavar="FILE", help="Request log, JSON lines; otherwise a temporary file."
        ),
    ] = None,
) -> None:
    """Serve the demo web until Ctrl-C or SIGTERM.

    Standard output gets one line of JSON that says where everything is: seeds, name server,
    request log, and the control port, whose /__truth__ says what a correct crawl fetches.
    """
    import uvloop

    from crawler.demo.model import DemoError
    from crawler.demo.serving import serve as serve_web
    from crawler.schema import UsageError

    _check_size(size)
    try:
        uvloop.run(serve_web(seed, size, port, log, _announce))
    except DemoError as exc:
        raise UsageError(str(exc)) from exc


def _announce(where: dict[str, Any]) -> None:
    print(json.dumps(where), flush=True)


def _check_size(size: str) -> None:
    from crawler.demo.build import SIZES
    from crawler.schema import UsageError

    if size not in SIZES:
        raise UsageError(f"--size: should be one of {', '.join(SIZES)}, not {size!r}")
