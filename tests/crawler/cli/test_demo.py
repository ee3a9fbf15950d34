"""`comity demo serve` as a process."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path


def test_serve_says_where_it_is_and_ends_when_told(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    command = ["demo", "serve", "--size", "small", "--log", str(log)]
    with subprocess.Popen(
        [sys.executable, "-m", "crawler.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            where = json.loads(process.stdout.readline())
            with urllib.request.urlopen(where["seeds"][0], timeout=60) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, b"")
    assert len(log.read_text().splitlines()) == 1
