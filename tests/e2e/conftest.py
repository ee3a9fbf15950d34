"""The command as users run it, against the demo web in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crawler.demo.log import Entry, read
from crawler.demo.process import Serving, serving

if TYPE_CHECKING:
    from .projects import Project

DELAY = 0.05  # seconds; what these crawls ask for, and what the judge holds them to

# Seconds; the leases of the dead end sooner than by default, and yet not those of a worker that
# gets little processor time: it has a quarter of this to renew its heartbeat. The slowest answers
# of the demo web take a second and a half.
LEASE = 15.0
SHORT = {"COMITY_LEASE_TTL": f"{LEASE:g}s", "COMITY_TOTAL_TIMEOUT": "5s"}


@dataclass(frozen=True)
class Web:
    """A demo web that is being served."""

    at: Serving
    log: Path

    def truth(self, policy: str = "") -> dict[str, Any]:
        """Its ground truth; ``policy`` as a query string."""
        with urllib.request.urlopen(f"{self.at.control}/__truth__?policy={policy}") as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def requests(self) -> list[Entry]:
        """What has been requested so far."""
        return read(self.log)

    def options(self, signals: str = "ignore") -> list[str]:
        """What every crawl of it needs; its ground truth, too, ignores signals by default."""
        return [
            *self.at.seeds,
            *("--dns-server", self.at.dns, "--allow-private-networks", "--scope", "any"),
            *("--delay", str(DELAY), "--max-depth", "6", "--signals", signals),
        ]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """A small demo web of its own for each test: its log and its counters start empty."""
    log = tmp_path / "requests.jsonl"
    with serving(size="small", seed=7, log=log) as at:
        yield Web(at, log)


def environment(**extra: str) -> dict[str, str]:
    """The test's environment without settings of ours."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COMITY_")}
    return clean | extra


def command(*args: str) -> list[str]:
    """The command line of ``comity`` with these arguments."""
    return [sys.executable, "-m", "crawler.cli", *args]


def comity(*args: str, timeout: float = 300, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``comity`` to its end."""
    return subprocess.run(
        command(*args),
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(**env),
        check=False,
    )


@pytest.fixture(scope="session", autouse=True)
def heeded() -> None:
    """A suite in a shell's background may ignore Ctrl-C or a hang-up; what it starts must not."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def spawn() -> Iterator[Any]:
    """``spawn(*args, **env)``: a ``comity`` in a process group of its own, ended with the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*args: str, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command(*args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**env),
            start_new_session=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        finally:
            process.communicate()


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    """A Redis over TCP, the test's own."""
    from .bad_servers import redis_server

    with redis_server(tmp_path) as port:
        yield port


@pytest.fixture
def trial(tmp_path: Path, redis_port: int) -> Iterator[Project]:
    """A Scrapy project with the addon, its crawls in that Redis."""
    from .projects import project

    with project(tmp_path) as made:
        made.settings(
            COMITY_REDIS_URL=f"redis://127.0.0.1:{redis_port}/0",
            COMITY_CONTACT="ops@example.org",
            COMITY_ALLOW_PRIVATE_NETWORKS=True,
            COMITY_DELAY=0.05,
            COMITY_MAX_WAIT="5s",
        )
        yield made
