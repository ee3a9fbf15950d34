"""``comity worker``: one worker on its own, for as long as it is wanted."""

from __future__ import annotations

import typer

from crawler.cli.options import ConfigFile, Given, takes

app = typer.Typer(add_completion=False)
PANELS = {"How": ("redis", "dns_server", "spool", "worker_name")}


@app.command()
@takes(PANELS)
def worker(given: Given, config: ConfigFile = None) -> None:
    """Join a fleet: serve every runnable job of a Redis until told to stop.

    SIGTERM and Ctrl-C drain: leases are returned, the open segment is committed.
    """
    from crawler.config import resolve
    from crawler.schema import UsageError

    settings = resolve(given, config=config).settings
    if settings.redis is None:
        raise UsageError("a worker needs --redis URL (or COMITY_REDIS) to find its fleet")
    from crawler import app as application

    raise typer.Exit(application.run_worker(settings))
