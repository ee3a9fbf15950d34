"""Durations and sizes as people write them, and numbers as people read them. Pure.

Durations are seconds inside the program and ``90``, ``30s``, ``10m``, ``1h30m`` or ``2d`` outside;
sizes are bytes inside and ``500MB`` (10^6) or ``2GiB`` (2^30) outside.
"""

from __future__ import annotations

import math
import re
from typing import Final

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b?")


def parse_duration(value: object) -> float:
    """Seconds from a number or from text such as ``10m``; ValueError says what was expected."""
    number = _number(value)
    if number is not None:
        return number
    text = str(value).strip().lower().replace(" ", "")
    if not isinstance(value, str) or not _DURATION.fullmatch(text):
        raise ValueError(f"not a duration: {value!r} (write 90, 30s, 10m or 1h30m)")
    return sum(float(n) * _SECONDS[unit] for n, unit in _PART.findall(text))


def parse_size(value: object) -> int:
    """Bytes from a number or from text such as ``500MB``; ValueError says what was expected."""
    number = _number(value)
    if number is not None:
        return int(number)
    found = _SIZE.fullmatch(str(value).strip().lower()) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"not a size: {value!r} (write 1000000, 500MB or 2GiB)")
    amount, power, binary = found.groups()
    return int(float(amount) * (1024 if binary else 1000) ** _POWERS[power])


def _number(value: object) -> float | None:
    """The finite number that ``value`` is or spells, None when it is something else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    if not math.isfinite(number):
        raise ValueError(f"not a finite number: {value}")
    return number


def spell_duration(seconds: float) -> str:
    """Exact text that ``parse_duration`` reads back: ``0.5s``, ``10m``, ``1h30m``, ``90.25s``."""
    if seconds < 60 or seconds != int(seconds):
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    rest, parts = int(seconds), []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(_SECONDS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def spell_size(count: int) -> str:
    """Exact text that ``parse_size`` reads back: ``500MB``, ``2GiB``, or the plain number."""
    for infix, base in (("", 1000), ("i", 1024)):
        for power in (4, 3, 2, 1):
            if count and count % base**power == 0:
                prefix = "kMGT"[power - 1] if base == 1000 else "KMGT"[power - 1]
                return f"{count // base**power}{prefix}{infix}B"
    return str(count)


def format_duration(seconds: float) -> str:
    """For reading, not exact: ``0.3s``, ``45s``, ``3m 20s``, ``2h 05m``."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02}m"


def format_size(count: float) -> str:
    """For reading, not exact: three significant digits with a decimal unit, ``12.3 MB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.3g} {unit}" if count < 999.5 else f"{count:.0f} {unit}"
