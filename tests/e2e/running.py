"""The command run to its end, with a look at what it leaves running."""

from __future__ import annotations

import os
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from .conftest import comity

BOUND = 60.0  # seconds within which a mistake must be told, on a slow and busy machine too
NOWHERE = ["crawl", "http://127.0.0.1:1/", "--allow-private-networks", "--workers", "1"]


def run(*args: str, timeout: float = BOUND, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``comity``; fails when it takes longer, leaves a process behind or shows a traceback."""
    mark = uuid.uuid4().hex
    done = comity(*args, timeout=timeout, MARK=mark, **env)
    assert not left(mark)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def refused(*args: str, timeout: float = BOUND, **env: str) -> str:
    """Run ``comity`` on something wrong: exit code 2 and one line, which is returned."""
    done = run(*args, timeout=timeout, **env)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    found = re.fullmatch(r"comity: error: ([^\n]+)\n", done.stderr)
    assert found is not None, done.stderr
    return found[1]


def left(mark: str) -> dict[int, str]:
    """Processes of a run that are still there after a moment: pid and command line."""
    deadline = time.monotonic() + 20
    while (found := marked(mark) | orphans()) and time.monotonic() < deadline:
        time.sleep(0.05)  # polling interval, bounded by the deadline
    return found


def workers(parent: int) -> list[int]:
    """Worker processes of a crawl that run now, the oldest first."""
    return sorted(
        pid for pid, line in _processes() if "crawler.worker" in line and _parent(pid) == parent
    )


def marked(mark: str) -> dict[int, str]:
    """Processes that inherited MARK, and their private servers (which overwrite what they got)."""
    found = {
        pid: line
        for pid, line in _processes()
        if f"MARK={mark}".encode() in _read(pid, "environ") and pid != os.getpid()
    }
    servers = {pid: line for pid, line in _processes() if _is_server(line)}
    return found | {pid: line for pid, line in servers.items() if _parent(pid) in found}


def orphans() -> dict[int, str]:
    """Private servers, anybody's, whose crawl is gone; they go too, in a moment."""
    known = dict(_processes())
    return {
        pid: line
        for pid, line in known.items()
        if _is_server(line) and _of_a_crawl(pid) and "python" not in known.get(_parent(pid), "")
    }


def _is_server(line: str) -> bool:
    return "unixsocket:" in line


def _of_a_crawl(pid: int) -> bool:
    """Whether a server works in a crawl's state directory: others run such servers, too."""
    try:
        where = str(Path(f"/proc/{pid}/cwd").readlink()).removesuffix(" (deleted)")
    except OSError:
        return False
    return "comity/" in where and where.endswith("/redis")


def _processes() -> Iterator[tuple[int, str]]:
    """Every process that is no zombie: pid and command line."""
    for pid in [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]:
        if line := _read(pid, "cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip():
            yield pid, line


def _parent(pid: int) -> int:
    found = re.search(rb"^PPid:\s+(\d+)", _read(pid, "status"), re.MULTILINE)
    return int(found[1]) if found else 0


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""
