"""Measuring commands, and ending them."""

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks import machine


def test_a_command_is_measured_with_its_children(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print('x')"
    cost = machine.run([sys.executable, "-c", code], tmp_path, timeout=60)
    assert (cost.code, cost.stdout, cost.stderr) == (0, "x\n", "")
    assert cost.cpu_seconds >= 0.3
    assert cost.seconds >= 0.3
    assert cost.peak_mb > 1


def test_a_failure_is_reported_as_it_ended(tmp_path: Path) -> None:
    code = "import os, sys; print('why', file=sys.stderr); os.kill(os.getpid(), 9)"
    cost = machine.run([sys.executable, "-c", code], tmp_path, timeout=60)
    assert (cost.code, cost.stderr) == (-9, "why\n")


def test_a_command_that_takes_too_long_goes_with_what_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('pids', 'w').write(f'{child.pid}')\n"
        "time.sleep(600)"
    )
    pids = tmp_path / "pids"
    for patience in (2, 8, 32):  # on a starved machine it takes a while to get that far
        with pytest.raises(machine.TooLongError, match=f"took longer than {patience} s"):
            machine.run([sys.executable, "-c", code], tmp_path, timeout=patience)
        if pids.exists() and pids.read_text():
            break
    child = int(pids.read_text())
    deadline = time.monotonic() + 60
    while runs(child):  # the kernel takes a moment to end what was killed
        assert time.monotonic() < deadline
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether a process is there and not just waiting for its parent to notice its end."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def test_the_machine_is_described() -> None:
    described = machine.describe()
    assert described["cores"] == len(os.sched_getaffinity(0))
    assert described["cpu"]
