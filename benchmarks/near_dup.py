"""Near-duplicates: how well they are found among real pages, and what that costs.

    python -m benchmarks.near_dup                      # all, some ten minutes
    python -m benchmarks.near_dup --case quality --language ar --language zh

Quality: pages of Debian's documentation in six languages, all pairs of them, and pairs made of
them at every similarity; how many of each similarity are called near-duplicates, by the signatures
and by the index in Redis, which must agree. Cost: CPU per signature and per verdict, and memory per
page, beside datasketch and rensa. Prints tables (Markdown) and, as the last line, one JSON object.
Exit code 0: all targets are met; 1: not so; 2: it cannot be run here. Packages are downloaded with
apt-get and pip, and unpacked, not installed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from benchmarks import machine, near_costs, near_quality
from benchmarks.machine import BenchmarkError
from benchmarks.near_costs import Cost
from benchmarks.near_pages import LANGUAGES, download, pages
from benchmarks.near_quality import Quality
from benchmarks.near_report import markdown, record
from frontier.embedded import die_with_parent

CASES: Final = ("quality", "speed", "memory")
CACHE: Final = Path(__file__).parent / ".cache"
_PACKAGES: Final = ("comity", "numpy", "datasketch", "rensa")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _options(arguments)
    cache = options.cache
    try:
        if set(options.case) & {"quality", "speed"}:
            download(cache)
        qualities = list(_qualities(options, cache)) if "quality" in options.case else []
        costs = list(_costs(options, cache))
    except BenchmarkError as error:
        print(f"near_dup: {error}", file=sys.stderr)
        return 2
    faults = [fault for each in qualities for fault in each.faults(options.pairs)]
    faults += [f"{c.what}, {c.who}: {c.number:.3g} {c.unit} > {c.most}" for c in costs if c.missed]
    print(markdown(qualities, costs, faults))
    print(json.dumps(_about() | record(qualities, costs, faults)))
    return 1 if faults else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.near_dup", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--case", action="append", choices=CASES, help="repeatable (default: all)")
    add("--language", action="append", choices=LANGUAGES, help="repeatable (default: all)")
    add("--pairs", type=int, default=1_000, metavar="N", help="made per bin (default: 1000)")
    add("--processes", type=int, default=2, metavar="N", help="that judge languages (default: 2)")
    add("--asked", type=int, default=20_000, metavar="N", help="pages for the time of a verdict")
    add("--pages", type=int, action="append", metavar="N", help="in memory; repeatable")
    add("--peer", type=int, default=100_000, metavar="N", help="pages in datasketch's memory")
    add(
        "--cache",
        type=Path,
        default=CACHE,
        metavar="DIR",
        help="for packages (default: benchmarks/.cache)",
    )
    options = parser.parse_args(arguments)
    options.case = options.case or CASES
    options.language = options.language or LANGUAGES
    options.pages = options.pages or [100_000, 1_000_000]
    return options


def _qualities(options: argparse.Namespace, cache: Path) -> Iterator[Quality]:
    judge = partial(near_quality.measure, cache=cache, wanted=options.pairs)
    context = get_context("spawn")
    with ProcessPoolExecutor(options.processes, context, die_with_parent) as pool:
        yield from pool.map(judge, options.language)


def _costs(options: argparse.Namespace, cache: Path) -> Iterator[Cost]:
    if "speed" in options.case:
        yield from near_costs.signatures(pages("en", cache))
        yield from near_costs.verdicts(options.asked)
    if "memory" in options.case:
        yield from map(near_costs.memory, options.pages)
        yield from near_costs.datasketch_redis(options.peer)


def _about() -> dict[str, Any]:
    versions = {name: version(name) for name in _PACKAGES}
    return {"benchmark": "near_dup", "versions": versions, "machine": machine.describe()}


if __name__ == "__main__":
    sys.exit(main())
