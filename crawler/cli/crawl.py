"""``comity crawl``: crawl from seeds to a corpus, and show how it goes."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crawler.cli.options import AsJson, ConfigFile, Given, JobFile, takes

if TYPE_CHECKING:
    from crawler.config import Settings
    from crawler.job import JobSpec

app = typer.Typer(add_completion=False)
PANELS = {
    "What to crawl": (
        "seed_files",
        "sitemaps",
        "scope",
        "include",
        "exclude",
        "content_types",
        "max_pages",
        "max_depth",
        "time_limit",
        "size_limit",
        "max_wait",
        "order",
        "host_pages",
        "domain_pages",
        "recrawl",
        "recrawl_min",
        "recrawl_max",
    ),
    "How": (
        "workers",
        "weight",
        "delay",
        "user_agent",
        "contact",
        "headers",
        "signals",
        "text",
        "dedupe",
        "dns_server",
        "allow_private_networks",
        "redis",
    ),
    "Where to": ("out", "workspace", "name"),
}


@app.command()
@takes(PANELS)
def crawl(
    given: Given,
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[URL]...",
            help="URLs to start from; a bare host name is read as https://.",
            show_default=False,
        ),
    ] = None,
    job: JobFile = None,
    config: ConfigFile = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--export",
            metavar="FILE",
            help="At the end, also write the stored pages to a .jsonl, .csv (each also .gz) "
            "or .parquet file.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the job in --out; what is done stays done."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be fetched and why; fetch no page."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Crawl the web from URLs, politely, into WARC files and a table of pages.

    Ctrl-C drains: what is fetched is stored, and --resume goes on from there.
    """
    from crawler.config import resolve
    from crawler.schema import UsageError
    from crawler.seeds import prepared

    if dry_run and resume:
        raise UsageError("--dry-run says what a new crawl would start with: leave out --resume")
    _check_export(export)
    resolved = resolve(given | {"seeds": urls}, config=config, job=job)
    with prepared(resolved.spec, required=not resume) as spec:
        if dry_run:
            _dry_run(spec, resolved.settings, as_json)
        else:
            _crawl(spec, resolved.settings, resume, export, as_json)


def _crawl(
    spec: JobSpec, settings: Settings, resume: bool, export: Path | None, as_json: bool
) -> None:
    from crawler import app as application
    from crawler.display import print_summary, showing

    with showing(sys.stderr) as on_progress:
        summary = application.crawl(spec, settings, resume=resume, on_progress=on_progress)
    if as_json:
        print(json.dumps(summary.json_dict()))
    else:
        print_summary(summary, sys.stdout)
    if export is not None:  # last, so that its failure hides nothing
        sys.stdout.flush()
        application.export(spec, export)
    raise typer.Exit(summary.exit_code)


def _dry_run(spec: JobSpec, settings: Settings, as_json: bool) -> None:
    from crawler import app as application
    from crawler.display import dry_run_line

    lines = application.dry_run(spec, settings)
    if as_json:
        print(json.dumps({"urls": [line.json_dict() for line in lines]}))
        return
    for line in lines:
        print(dry_run_line(line))


def _check_export(export: Path | None) -> None:
    """Refuse before the crawl what could not be written after it."""
    if export is None:
        return
    from crawler.schema import UsageError
    from storage.export import format_of

    format_of(export)
    if export.is_dir():
        raise UsageError(f"-o: cannot write {export}: it is a directory")
    try:
        tempfile.TemporaryFile(dir=export.parent).close()
    except OSError as exc:
        raise UsageError(f"-o: cannot write {export}: {exc.strerror}") from None
