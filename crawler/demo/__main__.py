"""``python -m crawler.demo``: serve the demo web until SIGTERM; one JSON line says where it is."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import uvloop

from crawler.demo.build import SIZES
from crawler.demo.model import DemoError
from crawler.demo.serving import serve


def _announce(where: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(where) + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run the server; 0 after a signal, 1 when it could not start."""
    parser = argparse.ArgumentParser(prog="python -m crawler.demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="names the web (default: 1)")
    parser.add_argument(
        "--size", choices=SIZES, default="default", help="how large (default: default)"
    )
    parser.add_argument("--port", type=int, default=0, help="of all hosts; 0: a free one (default)")
    parser.add_argument(
        "--log", type=Path, help="request log, JSON lines (default: a temporary file)"
    )
    parser.add_argument(
        "--slowness", type=float, default=1.0, help="factor on slow responses' seconds (default: 1)"
    )
    known = parser.parse_args(arguments)
    try:
        uvloop.run(
            serve(known.seed, known.size, known.port, known.log, _announce, slowness=known.slowness)
        )
    except DemoError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
