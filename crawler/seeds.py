"""Seeds from arguments and files, as a stream: millions of lines cost no memory.

Invariants kept: whatever is not a URL is an error that names file and line, before anything is
crawled; what comes out is canonical (``frontier.url``).
"""

from __future__ import annotations

import csv
import gzip
import ipaddress
import itertools
import json
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Final

from crawler.identity import check_identity, is_public_host
from crawler.job import JobSpec
from crawler.schema import UsageError
from frontier.url import InvalidUrl, parse

# Longest line read; above any URL that servers take, and small enough for a hostile file.
MAX_LINE: Final = 64 * 1024
_SPOOL: Final = "comity-seeds-"  # prefix of the directories that streams are kept in
_SUFFIXES: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".txt": "text",
}
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_BARE: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s/?#:@\[\]]+)(?::\d+)?(?:[/?#].*)?")

Numbered = Iterator[tuple[int, str]]  # (line number from 1, text)


def parse_seed(text: str) -> str:
    """The canonical URL of a seed.

    A name or address without a scheme gets ``https://`` when it is public, else ``http://``.
    Raises UsageError.
    """
    text = text.strip()
    if text.isprintable() and " " not in text:
        try:
            return parse(text if _SCHEME.match(text) else _with_scheme(text)).url
        except InvalidUrl as exc:
            raise UsageError(f"not a URL: {_short(text)} ({exc})") from None
    raise UsageError(f"not a URL: {_short(text)}")


def _with_scheme(text: str) -> str:
    found = _BARE.fullmatch(text)
    host = found[1] if found else ""
    if re.fullmatch(r"[\d.]+", host):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            host = ""
    if "." not in host.strip(".") and host != "localhost" and not host.startswith("["):
        raise UsageError(f"not a URL: {_short(text)}")
    return ("https://" if is_public_host(host) else "http://") + text


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:97] + "...")


def iter_seeds(spec: JobSpec) -> Iterator[str]:
    """Every seed of the job as a canonical URL: those in the spec, then those of its files."""
    for text in spec.seeds:
        yield parse_seed(text)
    for name in spec.seed_files:
        yield from read_seeds(name)


def read_seeds(name: str) -> Iterator[str]:
    """The URLs of a seeds file (``-``: standard input), canonical, in order.

    The form is told by the suffix (.txt, .csv, .tsv, .jsonl, .ndjson, .json, each with .gz), else
    by the first line; gzip by its magic bytes. Raises UsageError naming file and line.
    """
    for line, text in _records(name):
        try:
            yield parse_seed(text)
        except UsageError as exc:
            raise UsageError(f"{_title(name)}:{line}: {exc}") from None


@contextmanager
def prepared(spec: JobSpec, *, required: bool = True) -> Iterator[JobSpec]:
    """The spec with all seeds checked, streams spooled so that they can be read again.

    Reads every seed once. Raises UsageError for a bad or (when ``required``) a missing seed, and
    for a crawl that needs a contact and has none. Spooled input is deleted on leaving.
    """
    with ExitStack() as stack:
        files = tuple(
            stack.enter_context(_spooled(name)) if _is_stream(name) else name
            for name in spec.seed_files
        )
        sitemaps = tuple(_named("--sitemap", text) for text in spec.sitemaps)
        seeds = tuple(_argument(text) for text in spec.seeds)
        ready = spec.model_copy(update={"seeds": seeds, "seed_files": files, "sitemaps": sitemaps})
        count = 0
        for url in itertools.chain(sitemaps, iter_seeds(ready)):
            count += 1
            check_identity(spec, (url,))
        if required and not count:
            raise UsageError("no seeds: give URLs, --seeds FILE or --sitemap URL")
        yield ready


def _named(where: str, text: str) -> str:
    try:
        return parse_seed(text)
    except UsageError as exc:
        raise UsageError(f"{where}: {exc}") from None


def _argument(text: str) -> str:
    """A seed given by itself; a common slip, the name of a seeds file, gets a better message."""
    if "://" not in text and Path(text).is_file():
        raise UsageError(f"{text} is a file: use --seeds {text}")
    return parse_seed(text)


def _is_stream(name: str) -> bool:
    """Whether it can be read but once: standard input, a named pipe, a shell's ``<(...)``."""
    return name == "-" or Path(name).is_fifo() or Path(name).is_char_device()


@contextmanager
def _spooled(name: str) -> Iterator[str]:
    if name == "-" and sys.stdin is None:
        raise UsageError("cannot read standard input: it is closed")
    with tempfile.TemporaryDirectory(prefix=_SPOOL) as directory:
        path = Path(directory, "stdin" if name == "-" else Path(name).name)
        try:
            with path.open("wb") as spool, ExitStack() as stack:
                stream = sys.stdin.buffer
                if name != "-":
                    stream = stack.enter_context(Path(name).open("rb"))
                shutil.copyfileobj(stream, spool)
        except OSError as exc:
            raise UsageError(f"cannot read {name}: {exc.strerror or exc}") from None
        yield str(path)


def _title(name: str) -> str:
    """How errors call a file; a spooled stream keeps its own name."""
    path = Path(name)
    return path.name if path.parent.name.startswith(_SPOOL) else name


def _records(name: str) -> Numbered:
    """(line, raw seed) of a file in any of the forms."""
    title = _title(name)
    empty = True
    try:
        with _open(name) as stream:
            kind, lines = _kind(name, _lines(stream, title))
            readers = {"csv": _csv, "json": _json, "text": _text}
            for record in readers[kind](lines, title):
                empty = False
                yield record
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise UsageError(f"{title}: damaged gzip file ({exc})") from None
    except OSError as exc:
        raise UsageError(f"cannot read {title}: {exc.strerror or exc}") from None
    if empty:
        raise UsageError(f"{title}: holds no URLs")


@contextmanager
def _open(name: str) -> Iterator[BufferedIOBase]:
    with Path(name).open("rb") as stream:
        if stream.peek(2)[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield unpacked
        else:
            yield stream


def _lines(stream: BufferedIOBase, title: str) -> Numbered:
    for number in itertools.count(1):
        raw = stream.readline(MAX_LINE + 1)
        if not raw:
            return
        if len(raw) > MAX_LINE:
            raise UsageError(f"{title}:{number}: line longer than {MAX_LINE} bytes")
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise UsageError(f"{title}:{number}: not UTF-8 text") from None
        if "\0" in text:
            raise UsageError(f"{title}:{number}: not a text file")
        yield number, text


def _kind(name: str, lines: Numbered) -> tuple[str, Numbered]:
    """The form of a file, and its lines with those looked at put back."""
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix], lines
    seen: list[tuple[int, str]] = []
    for number, text in lines:
        seen.append((number, text))
        if text.strip():
            break
    return _sniff(seen[-1][1].strip() if seen else ""), itertools.chain(seen, lines)


def _sniff(first: str) -> str:
    if first.startswith("{"):
        return "json"
    if first.startswith('"') and first.endswith('"') and _delimiter(first) is None:
        return "json"
    return "text" if _delimiter(first) is None else "csv"


def _delimiter(header: str) -> str | None:
    """What separates the cells of a header that has a column ``url``; None: it has none."""
    for mark in ",;\t":
        cells = [cell.strip().strip('"').lower() for cell in header.split(mark)]
        if "url" in cells and (len(cells) > 1 or header.strip().lower() == "url"):
            return mark
    return None


def _text(lines: Numbered, title: str) -> Numbered:
    for number, text in lines:
        if text.strip() and not text.lstrip().startswith("#"):
            yield number, text


def _csv(lines: Numbered, title: str) -> Numbered:
    """Column ``url`` when the first row names one, else the first column of every row."""
    first = next(lines, None)
    if first is None:
        return
    mark = _delimiter(first[1].strip())
    only = "\t" if title.removesuffix(".gz").endswith(".tsv") else ","
    rows = csv.reader(
        (text for _, text in itertools.chain([first], lines)), delimiter=mark or only, strict=True
    )
    column = 0
    try:
        for row in rows:
            if rows.line_num == 1 and mark:
                column = [cell.strip().lower() for cell in row].index("url")
            elif any(cell.strip() for cell in row):
                yield rows.line_num, row[column] if column < len(row) else ""
    except csv.Error as exc:
        raise UsageError(f"{title}:{rows.line_num}: not CSV: {exc}") from None


def _json(lines: Numbered, title: str) -> Numbered:
    """One string, or one object with a key ``url``, per line."""
    for number, text in lines:
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise UsageError(
                f"{title}:{number}: not a line of JSON: {_short(text.strip())}"
            ) from None
        url = value.get("url") if isinstance(value, dict) else value
        if not isinstance(url, str):
            raise UsageError(
                f"{title}:{number}: neither a string nor an object with a string 'url'"
            )
        yield number, url
