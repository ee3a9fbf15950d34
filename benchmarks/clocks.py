"""What the clocks that hosts share cost: CPU per reservation, of the server and of its client.

    python -m benchmarks.clocks [--server redis-server] [--calls 20000]

Prints one JSON object per case; CPU is what the kernel counted, in microseconds per call. A lease
takes two calls where nobody disputes its windows. Exit code 2: it cannot be run here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from benchmarks import machine
from benchmarks.machine import BenchmarkError
from benchmarks.private_redis import VALKEY, PrivateRedis, private_redis
from frontier.client import Frontier
from frontier.windows import SharedClock, TurnedAway, Window, Windows

CLOCK: Final = SharedClock("192.0.2.1", 0.5)
Ask = Callable[[Windows, int], Awaitable[Window | TurnedAway]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clocks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--server", default=VALKEY, help="valkey, or a redis-server command")
    parser.add_argument("--calls", type=int, default=20_000)
    options = parser.parse_args(arguments)
    _say(machine=machine.describe(), load=os.getloadavg()[0])
    try:
        for name, ask in CASES.items():
            with private_redis(options.server, persist=True) as server:
                asyncio.run(_case(server, name, ask, options.calls))
    except BenchmarkError as error:
        print(f"clocks: {error}", file=sys.stderr)
        return 2
    return 0


def _say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


async def _case(server: PrivateRedis, name: str, ask: Ask, calls: int) -> None:
    """So many calls, sixteen at a time, as a worker's leases make them."""
    frontier = await Frontier.open(server.url)
    try:
        await _again(frontier.windows, 0)
        for n in range(100):
            await ask(frontier.windows, n)
        [key, *_] = server.commands.keys("*:k:*")
        size = server.commands.memory_usage(key)
        started, cpu, mine = time.monotonic(), server.cpu(), time.process_time()
        for n in range(0, calls, 16):
            await asyncio.gather(*(ask(frontier.windows, 100 + n + i) for i in range(16)))
        _say(
            case=name,
            server=server.version(),
            server_cpu_us=round((server.cpu() - cpu) / calls * 1e6, 1),
            client_cpu_us=round((time.process_time() - mine) / calls * 1e6, 1),
            us=round((time.monotonic() - started) / calls * 1e6, 1),
            bytes_per_clock=size,
            load=round(os.getloadavg()[0], 1),
        )
    finally:
        await frontier.close()


def _again(windows: Windows, n: int) -> Awaitable[Window | TurnedAway]:
    return windows.reserve(CLOCK, "www.example.org", want=9, ttl=60)


def _new(windows: Windows, n: int) -> Awaitable[Window | TurnedAway]:
    clock = SharedClock(f"198.18.{n // 256}.{n % 256}", 0.5)
    return windows.reserve(clock, f"www{n}.example.org", want=9, ttl=60)


def _crowd(windows: Windows, n: int) -> Awaitable[Window | TurnedAway]:
    return windows.reserve(CLOCK, f"www{n}.example.org", want=9, ttl=60)


def _entry(windows: Windows, n: int) -> Awaitable[Window | TurnedAway]:
    return windows.reserve(CLOCK, "www.example.org", short=False, ttl=60)


CASES: Final[dict[str, Ask]] = {
    "its own window again": _again,
    "a clock of its own": _new,
    "turned away": _crowd,
    "whether to come in": _entry,
}

if __name__ == "__main__":
    sys.exit(main())
