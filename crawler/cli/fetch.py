"""``comity fetch``: one page the way a crawl fetches it, with everything it would note."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from crawler.cli.options import AsJson, ConfigFile, Given, takes

app = typer.Typer(add_completion=False)
PANELS = {"How": ("user_agent", "contact", "headers", "dns_server", "allow_private_networks")}


@app.command()
@takes(PANELS)
def fetch(
    given: Given,
    url: Annotated[str, typer.Argument(metavar="URL", help="The page.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Fetch one page: robots verdict, headers, text, links and signals."""
    from crawler.config import resolve
    from crawler.display import print_fetch
    from crawler.seeds import prepared

    resolved = resolve(given, config=config)
    alone = {"seeds": (url,), "seed_files": (), "sitemaps": (), "scope": "host"}
    with prepared(resolved.spec.model_copy(update=alone)) as spec:
        from crawler import app as application

        report = application.fetch(spec.seeds[0], spec, resolved.settings)
    if as_json:
        print(json.dumps(report.json_dict()))
    else:
        print_fetch(report, sys.stdout)
    raise typer.Exit(report.exit_code)
