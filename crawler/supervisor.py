"""The parent of a crawl's worker processes: starts them, watches them, ends them.

A worker that dies is replaced; one that misses its heartbeat is killed first, as a frozen worker
may wake up with leases that have run out. The kernel kills workers when the parent dies, as
their private server ends with it too; they run in sessions of their own, so that Ctrl-C reaches
the parent alone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, Final

from crawler.config import Settings
from crawler.worker import STOPPED
from frontier.embedded import die_with_parent

MOST_RESTARTS: Final = 5  # within RESTART_WINDOW, over all workers, before the crawl fails
RESTART_WINDOW: Final = 60.0
STARTUP: Final = 30.0  # seconds a worker has for its first heartbeat, or the next after an outage
BLIND: Final = 3.0  # seconds without a look that mean an outage: of Redis, or of this process
DRAIN: Final = 75.0  # seconds workers have to drain before they are killed


class Child:
    """One worker process and what it says."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], out: IO[str]) -> None:
        self.name = name
        self.process = process
        self.excused = time.monotonic() + STARTUP  # until then it may be without a heartbeat
        self.last_line = ""  # of its stderr
        self.reason = ""  # why it could not go on, once it said so
        self._out = out
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None  # noqa: S101 - opened as a pipe
        for raw in self.process.stderr:
            self.last_line = raw.decode("utf-8", "replace").rstrip()
            _, found, reason = self.last_line.partition(STOPPED)
            if found:  # the parent says it, once for all workers
                self.reason = reason
            else:
                print(self.last_line, file=self._out, flush=True)

    def ended(self) -> int | None:
        """Its exit code, when it has ended; by then all it said has been read."""
        code = self.process.poll()
        if code is not None:
            self._reader.join(5)
            if self.process.stderr is not None:
                self.process.stderr.close()
        return code


class Supervisor:
    """The workers of one crawl."""

    def __init__(self, settings: Settings, job: str, spool: Path, out: IO[str]) -> None:
        self._given = {"settings": settings.model_dump(mode="json"), "job": job}
        self._spool = spool
        self._out = out
        self._wanted = settings.workers
        self._restarts: deque[float] = deque()
        self._serial = 0
        self._looked = time.monotonic()
        self.children: list[Child] = []
        self.failure = ""  # why the crawl cannot go on

    def start(self) -> None:
        """Start as many workers as wanted."""
        for _ in range(self._wanted):
            self._start_one()

    def _start_one(self) -> None:
        self._serial += 1
        name = f"{socket.gethostname().split('.')[0]}-{os.getpid()}-{self._serial}"
        process = subprocess.Popen(
            [sys.executable, "-m", "crawler.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        assert process.stdin is not None  # noqa: S101 - opened as a pipe
        given = self._given | {"name": name, "spool": str(self._spool)}
        with process.stdin as pipe:
            pipe.write(json.dumps(given).encode())
        self.children.append(Child(name, process, self._out))

    def look(self, living: set[str]) -> None:
        """Replace the dead; kill those that missed their heartbeat. Sets ``failure``.

        While Redis does not answer, nobody looks, and no worker can beat: then all are excused.
        """
        now = time.monotonic()
        names = {worker.rpartition(".")[0] for worker in living}
        if now - self._looked > BLIND:
            for child in self.children:
                child.excused = now + STARTUP
        self._looked = now
        for child in list(self.children):
            code = child.ended()
            if code is None and child.name not in names and now > child.excused:
                print(f"{child.name} missed its heartbeat: killed", file=self._out)
                child.process.kill()
                child.process.wait()
                code = child.ended()
            if code is None:
                continue
            self.children.remove(child)
            if code == 1:  # it said why
                self.failure = child.reason or child.last_line
                return
            self._restarts.append(now)
            while now - self._restarts[0] > RESTART_WINDOW:
                self._restarts.popleft()
            if len(self._restarts) > MOST_RESTARTS:
                self.failure = (
                    f"workers keep dying (last: {child.last_line or f'exit code {code}'})"
                )
                return
            self._start_one()

    def drain(self) -> None:
        """Ask all workers to drain; kill those that take too long; reap them."""
        for child in self.children:
            child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + DRAIN
        for child in self.children:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            if child.ended() == 1 and not self.failure:
                self.failure = child.reason or child.last_line
        self.children.clear()

    def hurry(self) -> None:
        """Kill what still runs: the second Ctrl-C."""
        for child in self.children:
            if child.process.poll() is None:
                child.process.kill()
