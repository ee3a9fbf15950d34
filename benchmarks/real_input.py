"""Real pages: what Comity stores of them, against what wget2 reaches.

    python -m benchmarks.real_input [--package NAME]... [--keep DIR]

Serves the HTML of Debian documentation packages with nginx on loopback, lets wget2 and then
``comity crawl`` fetch all of it, and compares. Prints tables (Markdown) and, as the last line, one
JSON object. Exit code 0: every difference is explained and every check holds; 1: not so; 2: the
benchmark cannot be run here. Invariant kept: the judges (wget2, nginx's log, lxml, warcio, the
files on disk) share no code with the crawler that is judged.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import machine, references, sites, warcs
from benchmarks.compare import Comparison, compare, fetched
from benchmarks.machine import BenchmarkError, Cost
from benchmarks.report import Manners, Result
from benchmarks.sites import Hit, Site, lay_out, serving, target_of
from storage.corpus import Corpus

PACKAGES: Final = ("python3.11-doc", "apache2-doc")
WORKERS: Final = 2
_TIMEOUT: Final = 120.0  # seconds for each of the two crawls
_COLUMNS: Final = (*warcs.COLUMNS, "kind", "fetch_status", "content_mime_type", "reason")
_NOT_FOUND_BY_WGET2: Final = 8  # its exit code when some answers were errors: dead links

Row = dict[str, Any]


class CrawlError(Exception):
    """Comity failed; the message says how."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_input", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--package",
        action="append",
        metavar="NAME",
        help=f"Debian package with an HTML tree; repeatable (default: {', '.join(PACKAGES)})",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep logs and corpus in DIR")
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # leave all contexts in order, quietly
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        with _workplace(options.keep) as directory:
            result = measure(options.package or PACKAGES, directory)
            print(result.markdown())
            print(json.dumps(result.record()))
    except BenchmarkError as error:
        print(f"real_input: {error}", file=sys.stderr)
        return 2
    except CrawlError as error:
        print(f"real_input: {error}", file=sys.stderr)
        return 1
    return 1 if result.faults() else 0


@contextlib.contextmanager
def _workplace(keep: Path | None) -> Iterator[Path]:
    """A directory for everything: the one to be kept, or one that is gone afterwards."""
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise BenchmarkError(f"{keep} is not empty")
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    directory = Path(tempfile.mkdtemp(prefix="comity-real-input-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def measure(packages: Sequence[str], directory: Path) -> Result:
    """Run both crawlers and compare; BenchmarkError when one of them cannot be run."""
    machine.install([*sites.PACKAGES, "wget2", *packages])
    web = lay_out(packages, ["wget2", "comity"], directory)
    theirs = [site for site in web if site.client == "wget2"]
    ours = [site for site in web if site.client == "comity"]
    out = directory / "corpus"
    with serving(web, directory):
        wget2 = _wget2(theirs, directory / "wget2")
        comity = _comity(ours, directory / "comity", out)
    summary = _summary(comity)
    with Corpus(str(out)) as corpus:
        rows = [row for batch in corpus.pages(_COLUMNS, kind=None) for row in batch.to_pylist()]
    pages = {site.name: _pages_of(site, rows) for site in ours}
    logs = {site.name: site.hits() for site in ours}
    served = {url: d for site in ours for url, d in _served(site, pages[site.name]).items()}
    digests = {row["url"]: row["content_digest"] for row in rows}
    return Result(
        versions=_versions(packages),
        machine=machine.describe(),
        wget2=wget2,
        comity=comity,
        summary=summary,
        comparisons=[_compared(a, b, pages[b.name]) for a, b in zip(theirs, ours, strict=True)],
        wget2_manners={site.name: Manners.of(site.hits()) for site in theirs},
        comity_manners={name: Manners.of(hits) for name, hits in logs.items()},
        altered=[url for url, digest in served.items() if digest != digests[url]],
        copies=len(served) - len(set(served.values())),
        unstored=[url for site in ours for url in _unstored(site, logs[site.name], rows)],
        warcs=warcs.check(out, [row for row in rows if row["warc_filename"]]),
    )


def _wget2(targets: Sequence[Site], directory: Path) -> Cost:
    """All that wget2 finds: any depth, robots.txt obeyed, no other hosts, no pauses."""
    directory.mkdir()
    command = [
        machine.tool("wget2") or "wget2",
        "--recursive",
        "--level=inf",
        "--robots=on",
        "--tries=1",
        "--no-hsts",
        "--quiet",
        *(site.url for site in targets),
    ]
    cost = machine.run(command, directory, timeout=_TIMEOUT)
    if cost.code not in {0, _NOT_FOUND_BY_WGET2}:
        raise BenchmarkError(f"wget2 ended with code {cost.code}: {cost.stderr[-300:].strip()}")
    return cost


def _comity(targets: Sequence[Site], directory: Path, out: Path) -> Cost:
    """The crawl that is judged."""
    directory.mkdir()
    command = [
        str(Path(sys.executable).with_name("comity")),
        "crawl",
        *(site.url for site in targets),
        "--allow-private-networks",
        "--delay=0",
        "--signals=ignore",  # as those that it is compared with
        f"--workers={WORKERS}",
        f"--out={out}",
        "--json",
    ]
    try:
        cost = machine.run(command, directory, timeout=_TIMEOUT)
    except machine.TooLongError as error:
        raise CrawlError(str(error)) from error
    if cost.code:
        raise CrawlError(f"comity ended with code {cost.code}: {cost.stderr[-2000:].strip()}")
    return cost


def _summary(comity: Cost) -> dict[str, Any]:
    """The one line on standard output."""
    lines = comity.stdout.splitlines()
    if len(lines) != 1:
        raise CrawlError(f"comity --json printed {len(lines)} lines, not one")
    summary: dict[str, Any] = json.loads(lines[0])
    return summary


def _pages_of(site: Site, rows: Sequence[Row]) -> dict[str, Row]:
    """Target -> row, of a site's visits of kind page."""
    return {
        target_of(row["url"]): row
        for row in rows
        if row["kind"] == "page" and row["url"].startswith(site.url)
    }


def _stored(pages: dict[str, Row]) -> dict[str, str]:
    """Target -> media type of the stored pages."""
    return {
        target: row["content_mime_type"] or ""
        for target, row in pages.items()
        if row["fetch_status"] == 200 and row["warc_filename"]
    }


def _compared(theirs: Site, ours: Site, pages: dict[str, Row]) -> Comparison:
    """wget2's set of a site and Comity's, differences explained by a third reading of the pages."""
    hits = theirs.hits()
    wget2, comity = fetched(hits), _stored(pages)
    answers = {hit.target: str(hit.status) for hit in hits if hit.target not in wget2}
    answers |= {
        target: f"{row['fetch_status']} {row['reason'] or ''}".strip()
        for target, row in pages.items()
        if target not in comity
    }
    refer = partial(references.find, base=theirs.url, file=theirs.file)
    return compare(theirs.name, wget2, comity, refer, answers)


def _served(site: Site, pages: dict[str, Row]) -> dict[str, str]:
    """URL -> digest of the file on disk, for the stored pages of a site."""
    return {
        pages[target]["url"]: warcs.sha1(site.file(target).read_bytes())
        for target in _stored(pages)
    }


def _unstored(site: Site, hits: Sequence[Hit], rows: Sequence[Row]) -> Iterator[str]:
    """What was answered, whatever the status, and is in no row."""
    known = {target_of(row["url"]) for row in rows if row["url"].startswith(site.url)}
    for target in {hit.target for hit in hits} - known:
        yield site.url.rstrip("/") + target


def _versions(packages: Sequence[str]) -> dict[str, str]:
    debian = {name: machine.package_version(name) or "" for name in ("nginx", "wget2", *packages)}
    return {"comity": importlib.metadata.version("comity"), **debian}


if __name__ == "__main__":
    sys.exit(main())
