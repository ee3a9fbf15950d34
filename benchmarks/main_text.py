"""Main text: how well, and how fast, beside resiliparse and trafilatura in the same run.

    python -m benchmarks.main_text [--cache DIR] [--pages N] [--labelled DIR]...

Pages are documentation of Debian packages, whose makers mark the main part: what is in it, less
menus and anchors, is the truth. ``--labelled`` adds directories of pages ``NAME.html``, each with
its main text in ``NAME.txt`` beside it, or in ``../txt``. Prints a table (Markdown): mean F1 of
tokens, and CPU ms per page, each way's own parse of it included. Exit code 2: it cannot be run.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Final

import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree
from selectolax.lexbor import LexborHTMLParser

from benchmarks import machine
from benchmarks.machine import BenchmarkError
from crawler import content
from crawler.maintext import main_text, token_f1

# Debian package -> the element that its pages are about.
PACKAGES: Final = {
    "python3.11-doc": "div[role=main]",
    "apache2-doc": "#page-content",
    "openjdk-17-doc": "main",
    "rust-doc": "main",
}
LARGEST: Final = 300_000  # bytes of a page
LEAST: Final = 80  # words of a truth
_AROUND: Final = "script,style,template,nav,a.headerlink"

WAYS: Final[dict[str, Callable[[str], str | None]]] = {
    "fast": lambda html: main_text(html, LexborHTMLParser(html), "fast"),
    "precise": lambda html: main_text(html, LexborHTMLParser(html), "precise"),
    "plain": lambda html: main_text(html, LexborHTMLParser(html), "plain"),
    "resiliparse main content": lambda html: extract_plain_text(
        HTMLTree.parse(html), main_content=True
    ),
    "trafilatura fast": lambda html: trafilatura.extract(html, fast=True),
    "trafilatura": lambda html: trafilatura.extract(html),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.main_text", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    cache = Path(tempfile.gettempdir()) / "comity-benchmarks"
    parser.add_argument("--cache", type=Path, default=cache, metavar="DIR")
    parser.add_argument("--pages", type=int, default=100, metavar="N", help="of each package")
    parser.add_argument("--labelled", type=Path, action="append", default=[], metavar="DIR")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)  # what trafilatura cannot read is its result
    options.cache.mkdir(parents=True, exist_ok=True)
    sets: dict[str, list[tuple[str, str]]] = {}
    try:
        for package in PACKAGES:
            sets[package] = list(documented(package, options.cache, options.pages))
    except BenchmarkError as error:
        print(f"main_text: {error}", file=sys.stderr)
        return 2
    for directory in options.labelled:
        sets[directory.name] = list(labelled(directory))
    print("\n".join(table(sets)))
    return 0


def documented(package: str, cache: Path, most: int) -> Iterator[tuple[str, str]]:
    """Pages of a package, the same each time, with what is in their main element."""
    root = machine.unpacked(package, cache) / "usr/share/doc"
    files = sorted(path for path in root.rglob("*.html") if path.is_file())
    random.Random(1).shuffle(files)
    found = 0
    for path in files:
        if found == most:
            return
        payload = path.read_bytes()
        truth = marked(payload, PACKAGES[package]) if len(payload) <= LARGEST else ""
        if len(truth.split()) >= LEAST:
            found += 1
            yield content.decode(payload, None)[0], truth


def marked(payload: bytes, selector: str) -> str:
    """The text of a page's main element; "" where it has none."""
    node = LexborHTMLParser(content.decode(payload, None)[0]).css_first(selector)
    if node is None:
        return ""
    for noise in reversed(node.css(_AROUND)):
        noise.decompose()
    return node.text(separator=" ")


def labelled(directory: Path) -> Iterator[tuple[str, str]]:
    """Pages whose main text lies beside them."""
    for page in sorted(directory.glob("*.html")):
        beside = (page.with_suffix(".txt"), directory.parent / "txt" / f"{page.stem}.txt")
        truth = next((path for path in beside if path.exists()), None)
        if truth is not None:
            yield content.decode(page.read_bytes(), None)[0], truth.read_text()


def table(sets: dict[str, list[tuple[str, str]]]) -> Iterator[str]:
    """Lines of the result."""
    yield f"| way | {' | '.join(f'{name} ({len(pages)})' for name, pages in sets.items())} | ms |"
    yield "| --- |" + " ---: |" * (len(sets) + 1)
    for way, take in WAYS.items():
        reached: dict[str, list[float]] = defaultdict(list)
        spent = []
        for name, pages in sets.items():
            for html, truth in pages:
                started = time.thread_time()
                text = take(html) or ""
                spent.append(time.thread_time() - started)
                reached[name].append(token_f1(text, truth))
        shares = " | ".join(f"{fmean(reached[n]):.3f}" if reached[n] else "" for n in sets)
        yield f"| {way} | {shares} | {1000 * fmean(spent):.2f} |"


if __name__ == "__main__":
    sys.exit(main())
