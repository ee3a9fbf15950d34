"""``comity corpus``: look into what crawls have stored."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crawler.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    import pyarrow as pa

    from storage.corpus import Corpus
    from storage.warc import Record

ENGINES = ("duckdb", "spark")
KINDS = ("page", "revisit", "robots", "tdmrep", "sitemap", "all")
FORMATS = ("table", "jsonl", "csv")

app = typer.Typer(
    add_completion=False,
    name="corpus",
    help="Look into a stored corpus: what a crawl's --out got.",
    no_args_is_help=True,
)

Root = Annotated[
    str, typer.Argument(metavar="DIR", help="What --out got: a directory or s3://bucket/prefix.")
]
Workspace = Annotated[
    str | None, typer.Option("--workspace", metavar="NAME", help="Only this workspace's jobs.")
]
Job = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only the job so named.")]


@app.command()
def info(
    root: Root, workspace: Workspace = None, name: Job = None, as_json: AsJson = False
) -> None:
    """Count what is stored: pages, hosts, bytes, duplicates, statuses, reasons, languages."""
    from dataclasses import asdict

    from storage.corpus import Corpus

    with Corpus(root, workspace=workspace, job=name) as corpus:
        counts = asdict(corpus.info())
    print(json.dumps(counts) if as_json else _info_table(counts))


@app.command()
def pages(
    root: Root,
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="table, jsonl or csv.")
    ] = "table",
    kind: Annotated[
        str,
        typer.Option(
            "--kind", metavar="KIND", help="page, revisit, robots, tdmrep, sitemap or all."
        ),
    ] = "page",
    workspace: Workspace = None,
    name: Job = None,
) -> None:
    """List the stored visits, one per line.

    jsonl and csv give every column of every row: times as ISO 8601, bytes as Base64.
    """
    from storage.corpus import Corpus
    from storage.export import write

    _one_of("--format", form, FORMATS)
    _one_of("--kind", kind, KINDS)
    with Corpus(root, workspace=workspace, job=name) as corpus:
        wanted = None if kind == "all" else kind
        if form == "table":
            columns = ("fetch_status", "reason", "duplicate_kind", "lang", "url", "title")
            _print_table(corpus.pages(columns, kind=wanted))
        else:
            write(corpus.pages(kind=wanted), sys.stdout.buffer, form)


@app.command()
def show(
    root: Root,
    url: Annotated[str, typer.Argument(metavar="URL", help="The page.")],
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Write the stored body of the newest visit, nothing else."),
    ] = False,
    workspace: Workspace = None,
    name: Job = None,
) -> None:
    """Show all that is stored of one URL: its rows, and the exchange of the newest."""
    from crawler.schema import UsageError
    from crawler.seeds import parse_seed
    from storage.corpus import Corpus

    with Corpus(root, workspace=workspace, job=name) as corpus:
        rows = corpus.show(parse_seed(url))
        if not rows:
            raise UsageError(f"{root} has no visit of {url}")
        record = next((corpus.record(row) for row in reversed(rows) if row["warc_filename"]), None)
        if raw:
            _write_body(corpus, record, url)
            return
        for row in rows:
            print(_row_text(row))
        if record:
            print(_indented("exchange", record.http_head.decode("latin-1")))


@app.command()
def dedupe(
    roots: Annotated[
        list[str],
        typer.Argument(metavar="DIR...", help="What --out of crawls got: directories or s3://..."),
    ],
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME", help="duckdb (this machine) or spark.")
    ] = "duckdb",
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="SHARE",
            min=0.5,
            max=0.95,
            help="Similarity from which two texts are one content; otherwise the jobs' own, 0.8.",
        ),
    ] = None,
    memory: Annotated[
        str,
        typer.Option("--memory", metavar="SIZE", help="Memory of the engine; the rest is on disk."),
    ] = "4GB",
    temp: Annotated[
        str | None,
        typer.Option(
            "--temp", metavar="DIR", help="Disk for what is under way; otherwise the system's."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what there is; change nothing.")
    ] = False,
    workspace: Workspace = None,
    name: Job = None,
    redis: Annotated[
        str | None,
        typer.Option(
            "--redis", metavar="URL", help="Of the fleet whose jobs run meanwhile (COMITY_REDIS)."
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Find pages with one content, over all jobs; write who represents whom into the tables.

    Pages of a workspace are compared by payload, text and sketch. Each page with content gets a
    cluster_id, and is_representative says which page of a cluster to keep: the earliest.
    """
    from dataclasses import asdict

    from crawler import clustering
    from crawler.config import resolve

    _one_of("--engine", engine, ENGINES)
    plan = clustering.Plan(engine, threshold, _size("--memory", memory), temp, dry_run)
    settings = resolve({"redis": redis}, config=config).settings

    def told(step: str) -> None:
        if sys.stderr.isatty() and not as_json:
            print(step, file=sys.stderr)

    counts = asdict(clustering.dedupe(roots, plan, settings, told, workspace, name))
    print(json.dumps(counts) if as_json else _info_table(counts))


def _size(flag: str, text: str) -> int:
    from crawler.schema import UsageError
    from crawler.units import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


def _write_body(corpus: Corpus, record: Record | None, url: str) -> None:
    """The body to standard output; a revisit's from the record that it refers to."""
    from crawler.schema import UsageError

    if record and record.type == "revisit":
        target = dict(record.headers)["WARC-Refers-To-Target-URI"]
        digest = record.digest
        found = (
            corpus.record(row)
            for row in corpus.show(target)
            if row["warc_filename"] and row["content_digest"] == digest
        )
        record = next((each for each in found if each.type == "response"), None)
    if record is None:
        raise UsageError(f"no answer is stored for {url}")
    sys.stdout.buffer.write(record.payload)


def _one_of(flag: str, value: str, choices: Iterable[str]) -> None:
    from crawler.schema import UsageError

    if value not in choices:
        raise UsageError(f"{flag}: should be one of {', '.join(choices)}, not {value!r}")


def _info_table(counts: Mapping[str, Any]) -> str:
    from crawler.units import format_size

    lines = []
    for key, value in counts.items():
        if isinstance(value, dict):
            text = ", ".join(f"{name} {count:,}" for name, count in value.items()) or "-"
        elif key == "bytes":
            text = format_size(value)
        else:
            text = f"{value:,}" if isinstance(value, int) else str(value)
        lines.append(f"{key:<16} {text}")
    return "\n".join(lines)


def _print_table(batches: Iterable[pa.RecordBatch]) -> None:
    """A line per row, as wide as the terminal; whole lines where there is none."""
    from crawler.display import printable

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(f"{'status':<12} {'dup':<5} {'lang':<4} url  title"[:width])
    for batch in batches:
        for row in batch.to_pylist():
            status = str(row["fetch_status"] or row["reason"] or "")
            cells = f"{status:<12} {row['duplicate_kind'] or '-':<5} {row['lang'] or '-':<4}"
            line = f"{cells} {row['url']}  {printable(row['title'] or '')}".rstrip()
            print(line[:width])


def _row_text(row: Mapping[str, Any]) -> str:
    """Every column that holds something, one per line; text last and indented."""
    lines = [
        f"{key:<26} {_cell(value)}"
        for key, value in row.items()
        if value is not None and key != "text"
    ]
    return "\n".join(lines) + "\n" + _indented("text", row["text"] or "")


def _cell(value: Any) -> str:
    from crawler.display import printable

    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return printable(value.isoformat() if hasattr(value, "isoformat") else str(value))


def _indented(title: str, text: str) -> str:
    from crawler.display import printable

    lines = [f"  {printable(line)}" for line in text.splitlines() if line.strip()]
    return "\n".join([title, *lines, ""]) if lines else ""
