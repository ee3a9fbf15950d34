"""Running the demo web as a command: until a signal comes, within the limits of the system."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crawler.demo.server import DemoServer


async def serve(
    seed: int,
    size: str,
    port: int,
    log: Path | None,
    announce: Callable[[dict[str, Any]], None],
    *,
    slowness: float = 1.0,
) -> None:
    """Serve a demo web until SIGTERM or SIGINT; ``announce`` is told once it listens.

    Raises:
        DemoError: the size is unknown, the port taken or the log not writable.
    """
    _lift_file_limit()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with DemoServer(seed, size, port=port, log=log, slowness=slowness) as server:
            announce(server.announcement())
            await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _lift_file_limit() -> None:
    """A large web listens on hundreds of addresses: take as many files as the system gives."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
