"""``python -m crawler.demo`` as another process."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from crawler.demo import read
from crawler.demo.build import build

COMMAND = [sys.executable, "-m", "crawler.demo"]


@contextmanager
def running(*options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def fetch(url: str) -> Any:
    with urlopen(url, timeout=30) as response:
        return response.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_serves_until_a_signal(number: int, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with running("--size", "small", "--seed", "7", "--port", "0", "--log", str(log)) as process:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        assert where["seeds"] == [f"http://127.42.0.1:{where['port']}/"]
        assert where["dns"].startswith("127.0.0.1:")
        assert where["log"] == str(log)
        assert where["hosts"] == len(build(7, "small").hosts)
        assert b"<html" in fetch(where["seeds"][0])
        assert json.loads(fetch(where["control"] + "/__truth__?depth=1"))["pages"] > 20
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
    assert [entry.path for entry in read(log)] == ["/"]


def test_a_taken_port_is_one_line_and_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.42.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*COMMAND, "--size", "small", "--port", port],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert port in done.stderr


def test_an_unknown_size_is_bad_usage() -> None:
    done = subprocess.run(
        [*COMMAND, "--size", "huge"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "huge" in done.stderr
