"""``comity signals``: what a page says about the use of its content, and what a job makes of it."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from crawler.cli.options import AsJson, ConfigFile, Given, takes

app = typer.Typer(add_completion=False)
PANELS = {
    "How": (
        "signals",
        "user_agent",
        "contact",
        "headers",
        "dns_server",
        "allow_private_networks",
    )
}


@app.command()
@takes(PANELS)
def signals(
    given: Given,
    url: Annotated[str, typer.Argument(metavar="URL", help="The page.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what a page says about its use and where it says it, and what a crawl makes of it.

    The page is fetched as a crawl fetches it, robots.txt first; nothing of it is kept.
    """
    from crawler.config import resolve
    from crawler.consent import Policies, consequence
    from crawler.display import print_signals
    from crawler.seeds import prepared

    resolved = resolve(given, config=config)
    policies = Policies.parse(resolved.spec.signals)
    alone = {"seeds": (url,), "seed_files": (), "sitemaps": (), "scope": "host"}
    with prepared(resolved.spec.model_copy(update=alone)) as spec:
        from crawler import app as application

        report = application.fetch(spec.seeds[0], spec, resolved.settings)
    follows = {name: consequence(name, value, policies) for name, value in report.in_force.items()}
    if as_json:
        said = report.json_dict()
        keys = ("url", "robots", "reason", "detail", "status", "signals", "in_force")
        print(json.dumps({key: said[key] for key in keys} | {"follows": follows}))
    else:
        print_signals(report, follows, sys.stdout)
    raise typer.Exit(report.exit_code)
