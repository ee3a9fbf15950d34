"""``comity config``: each effective value and where it came from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from crawler.cli.options import AsJson, ConfigFile, Given, JobFile, takes

if TYPE_CHECKING:
    from crawler.config import Resolved

app = typer.Typer(add_completion=False)
PANELS = {
    "Values": (
        "scope",
        "max_pages",
        "max_depth",
        "time_limit",
        "size_limit",
        "max_wait",
        "recrawl",
        "recrawl_min",
        "recrawl_max",
        "workers",
        "delay",
        "user_agent",
        "contact",
        "dns_server",
        "redis",
        "out",
        "workspace",
        "name",
    )
}


@app.command()
@takes(PANELS)
def config(
    given: Given, job: JobFile = None, config: ConfigFile = None, as_json: AsJson = False
) -> None:
    """Show every value and where it came from: default, file, variable or option.

    Passwords and header values are masked.
    """
    from crawler.config import resolve

    resolved = resolve(given, config=config, job=job)
    print(json.dumps(_json(resolved)) if as_json else _table(resolved))


def _table(resolved: Resolved) -> str:
    from crawler.config import FIELDS
    from crawler.schema import shown

    rows = []
    for value in resolved.values():
        default = shown(FIELDS[value.key]).default
        rows.append((value.key, value.text or (f"({default})" if default else "-"), value.origin))
    wide = max(len(row[1]) for row in rows if len(row[1]) < 40)
    return "\n".join(f"{key:<24}{text:<{wide}}  {origin}" for key, text, origin in rows)


def _json(resolved: Resolved) -> dict[str, object]:
    from crawler.config import masked

    dumped = resolved.spec.model_dump(mode="json") | resolved.settings.model_dump(mode="json")
    return {
        key: {"value": masked(key, value), "origin": resolved.origins.get(key, "default")}
        for key, value in dumped.items()
    }
