"""Scrapy projects as ``scrapy startproject`` makes them, run as people run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .conftest import environment

ADDON = 'ADDONS = {"crawler.worker.Addon": 100}\n'


@dataclass
class Project:
    """A project in a directory of its own."""

    root: Path

    def settings(self, **values: Any) -> None:
        """Add to its settings.py, after the addon."""
        path = self.root / "trial" / "settings.py"
        lines = "".join(f"{name} = {value!r}\n" for name, value in values.items())
        path.write_text(f"{path.read_text()}\n{ADDON}{lines}")

    def add(self, path: str, code: str) -> None:
        """A file of its package."""
        (self.root / "trial" / path).write_text(code)

    def run(self, *args: str, out: str) -> subprocess.Popen[str]:
        """``scrapy crawl`` with these arguments: items to OUT.jl, the log to OUT.log."""
        with (self.root / f"{out}.log").open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "scrapy", "crawl", *args, "-o", f"{out}.jl"],
                cwd=self.root,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def items(self, *outs: str) -> list[dict[str, Any]]:
        """What runs have put out so far; of a killed one, its whole lines."""
        found = []
        for out in outs:
            path = self.root / f"{out}.jl"
            text = path.read_text() if path.exists() else ""
            found += [json.loads(line) for line in text.splitlines(True) if line.endswith("\n")]
        return found

    def log(self, out: str) -> str:
        """What a run has said."""
        return (self.root / f"{out}.log").read_text()


@contextmanager
def project(directory: Path) -> Iterator[Project]:
    """A fresh project; whatever still runs in it is killed in the end."""
    made = Project(directory / "trial")
    command = [sys.executable, "-m", "scrapy", "startproject", "trial", str(made.root)]
    subprocess.run(command, check=True, capture_output=True, cwd=directory, env=environment())
    yield made


def ended(process: subprocess.Popen[str], within: float = 120.0) -> int:
    """The exit code; a process that takes longer is killed with its children."""
    try:
        return process.wait(within)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


@dataclass(frozen=True)
class Asked:
    """A request that the site got."""

    method: str
    path: str
    headers: dict[str, str]  # lower-case names
    body: bytes
    start: float  # time.monotonic()
    end: float


class Site:
    """A site on an address of its own: ``answer(path, body)`` -> (status, headers, body)."""

    def __init__(self, address: str, answer: Any) -> None:
        self.asked: list[Asked] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                start = time.monotonic()
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, payload = answer(self.path, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)
                told = {name.lower(): value for name, value in self.headers.items()}
                end = time.monotonic()
                site.asked.append(Asked(self.command, self.path, told, body, start, end))

            do_POST = do_GET  # noqa: N815 - the name is theirs

            def log_message(self, *args: Any) -> None:
                """Not on the test's output."""

        self.server = ThreadingHTTPServer((address, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{address}:{self.server.server_address[1]}"

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [each.path for each in self.asked]


@contextmanager
def serving(address: str, answer: Any) -> Iterator[Site]:
    """The site, while it is served."""
    site = Site(address, answer)
    thread = threading.Thread(target=site.server.serve_forever)
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join()
