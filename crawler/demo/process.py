"""The demo web in a process of its own, so that it shares no event loop with who crawls it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crawler.demo.model import DemoError
from frontier.embedded import die_with_parent


@dataclass(frozen=True, slots=True)
class Serving:
    """A running demo web."""

    seeds: tuple[str, ...]  # where a crawl starts
    dns: str  # IP:PORT of its name server
    control: str  # URL that /__truth__ and the like are under
    port: int  # of all its hosts


@contextmanager
def serving(*, size: str = "default", seed: int = 1, log: Path | None = None) -> Iterator[Serving]:
    """Run ``python -m crawler.demo`` until the block is left."""
    command = [sys.executable, "-m", "crawler.demo", "--size", size, "--seed", str(seed)]
    if log is not None:
        command += ["--log", str(log)]
    with subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=die_with_parent,
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - opened as a pipe
            line = process.stdout.readline()
            if not line:
                raise DemoError(f"the demo web did not start (exit code {process.wait(10)})")
            said = json.loads(line)
            yield Serving(tuple(said["seeds"]), said["dns"], said["control"], said["port"])
        finally:
            process.terminate()
            process.wait(10)
