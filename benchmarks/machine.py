"""The machine a benchmark runs on: what it is, what is installed on it, what a command costs there.

Keeps: no process outlives the call that started it; nothing that apt installs here starts a server,
now or at the next boot.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_POLICY: Final = Path("/usr/sbin/policy-rc.d")  # what invoke-rc.d asks before it starts a service
_DENY: Final = "#!/bin/sh\nexit 101\n"
_APT: Final = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
_GRACE: Final = 10.0  # seconds between asking a command to end and ending it


class BenchmarkError(Exception):
    """The benchmark cannot be run here; the message is one line that says why."""


class TooLongError(BenchmarkError):
    """A command was not over in time."""


@dataclass(frozen=True, slots=True)
class Cost:
    """A command that has ended, and what it took, the processes it waited for included."""

    code: int  # exit code; -N when signal N ended it
    seconds: float  # wall time
    cpu_seconds: float  # user and system
    peak_mb: float  # resident set of its largest process, 10^6 bytes
    stdout: str  # all of it
    stderr: str  # all of it


def describe() -> dict[str, str | int | float]:
    """Processor, cores, memory and kernel, for whoever compares numbers."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in info.splitlines() if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def tool(name: str) -> str | None:
    """The path of a command, the administrators' directories included."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def package_version(package: str) -> str | None:
    """The version of an installed Debian package; None when it is not installed."""
    if shutil.which("dpkg-query") is None:
        raise BenchmarkError("needs a Debian or Ubuntu system: there is no dpkg here")
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package],
        capture_output=True,
        text=True,
        check=False,  # unknown packages are an answer, too
    )
    status, _, version = asked.stdout.partition(" ")
    return version if status == "installed" else None


def package_files(package: str) -> list[Path]:
    """What an installed package brought."""
    listed = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.splitlines()]


def install(packages: Sequence[str]) -> None:
    """See to it that Debian packages are installed.

    Raises BenchmarkError when one is missing and cannot be installed.
    """
    missing = [name for name in packages if package_version(name) is None]
    if not missing:
        return
    command = f"apt-get install --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0:
        raise BenchmarkError(f"{', '.join(missing)} not installed; as root: {command}")
    _apt("update", "-qq")
    with _no_services():
        _apt("install", "-y", "-qq", "--no-install-recommends", *missing)
    if "nginx" in missing and shutil.which("systemctl"):
        _checked(["systemctl", "--quiet", "disable", "nginx.service"])


def unpacked(package: str, cache: Path) -> Path:
    """A Debian package's files below ``cache``, downloaded and unpacked there unless they are.

    Nothing is installed. Raises BenchmarkError.
    """
    place = cache / package
    if not place.exists():
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            _checked(["apt-get", "download", "-qq", package], Path(directory))
            (archive,) = Path(directory).glob("*.deb")
            _checked(["dpkg-deb", "-x", str(archive), f"{directory}/files"])
            Path(directory, "files").rename(place)
    return place


def wheel(requirement: str, cache: Path) -> Path:
    """A Python package's wheel in ``cache``, downloaded there unless it is: ``name==version``.

    Nothing is installed. Raises BenchmarkError.
    """
    name, _, version = requirement.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(cache.glob(pattern)):
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q"]
        _checked([*pip, "--no-deps", "--only-binary=:all:", "--dest", str(cache), requirement])
    return next(cache.glob(pattern))


def _apt(*arguments: str) -> None:
    _checked(["apt-get", *arguments])


def _checked(command: list[str], directory: Path | None = None) -> None:
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **_APT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = " ".join(done.stdout.split())[-400:]
        raise BenchmarkError(f"{' '.join(command)} failed: {tail}")


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """While inside, packages may not start services (Debian's policy-rc.d interface)."""
    if _POLICY.exists():  # somebody's own rule: an image's or an administrator's
        yield
        return
    _POLICY.write_text(_DENY, encoding="utf-8")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def run(
    command: Sequence[str], directory: Path, *, timeout: float, env: Mapping[str, str] | None = None
) -> Cost:
    """Run a command in ``directory`` (also its HOME) and measure it.

    Raises TooLongError when it is not over after ``timeout`` seconds: it and everything it
    started are then ended.
    """
    out, err = directory / "stdout", directory / "stderr"
    started = time.monotonic()
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, **(env or {}), "HOME": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,  # so that all of it can be ended at once
        )
    ended = False
    try:
        ended = _ends(process.pid, timeout)
    finally:
        usage = _reap(process, ended=ended)
    if not ended:
        raise TooLongError(f"{Path(command[0]).name} took longer than {timeout:.0f} s")
    return Cost(
        code=process.returncode,
        seconds=time.monotonic() - started,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss * 1024 / 1e6,
        stdout=out.read_text(encoding="utf-8", errors="replace"),
        stderr=err.read_text(encoding="utf-8", errors="replace"),
    )


def _ends(pid: int, timeout: float) -> bool:
    """Whether a child ends within ``timeout`` seconds; it stays to be reaped."""
    descriptor = os.pidfd_open(pid)
    try:
        readable, _, _ = select.select([descriptor], [], [], timeout)
        return bool(readable)
    finally:
        os.close(descriptor)


def _reap(process: subprocess.Popen[bytes], *, ended: bool) -> resource.struct_rusage:
    """Collect a child, ended by force with its session if need be, and what it used."""
    if not ended:
        os.killpg(process.pid, signal.SIGTERM)
        _ends(process.pid, _GRACE)
        with contextlib.suppress(ProcessLookupError):  # all gone: what was wanted
            os.killpg(process.pid, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage
