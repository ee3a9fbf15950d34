"""The real frontier under a made-up web, in virtual time: what it costs, and whether it is right.

    python -m benchmarks.simulate                       # 1e4 hosts; 1, 8 and 64 workers
    python -m benchmarks.simulate --hosts 1000000 --workers 8

Prints one JSON object per size and number of workers; the first line says what the machine is.
Exit code 0: nothing was violated; 1: something was, and is listed; 2: it cannot be run here.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import uvloop

from benchmarks import machine
from benchmarks.ledger import jain
from benchmarks.machine import BenchmarkError
from benchmarks.private_redis import VALKEY, PrivateRedis, private_redis
from benchmarks.urls import percentile
from benchmarks.virtual import T0
from benchmarks.web import PowerLawWeb
from benchmarks.world import Job, World
from frontier import inspect
from frontier.client import Frontier
from frontier.model import Limits

PARTITIONS: Final = 64
WEIGHTS: Final = (1, 2, 4)  # of the jobs
STAGES: Final = 10
MOST_URLS: Final = 500_000  # fetched, unless told otherwise
TIMED: Final = ("add", "lease", "report")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--hosts", type=int, action="append", help="(default: 10000); repeatable")
    parser.add_argument("--workers", type=int, action="append", help="(default: 1, 8 and 64)")
    parser.add_argument("--urls", type=int, help="fetched URLs after which a run is cut off")
    parser.add_argument("--hours", type=float, default=3.0, help="... and virtual time")
    parser.add_argument("--cap", type=int, default=Limits().host_cap, help="URLs per host in Redis")
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", default=VALKEY, help="valkey, or a redis-server command")
    parser.add_argument("--no-aof", action="store_true", help="without append-only file")
    options = parser.parse_args(arguments)
    _say(machine=machine.describe(), comity=importlib.metadata.version("comity"))
    right = True
    try:
        for hosts in options.hosts or [10_000]:
            for workers in options.workers or [1, 8, 64]:
                with private_redis(options.server, persist=not options.no_aof) as server:
                    said = uvloop.run(simulate(server, hosts, workers, options))
                _say(**said)
                right = right and not said["violations"] and not said["findings"]
                gc.collect()
    except BenchmarkError as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 2
    return 0 if right else 1


def _say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


@dataclass(slots=True)
class Progress:
    """A run by tenths of the URLs to fetch: what was measured at the end of each."""

    target: int
    cpu: list[float] = field(default_factory=list)  # of the server, seconds
    fetched: list[int] = field(default_factory=list)
    leased: list[dict[str, int]] = field(default_factory=list)  # by job
    ready: list[int] = field(default_factory=list)  # hosts, of the job that has fewest
    waiting: list[int] = field(default_factory=list)  # URLs that are queued or spilled

    async def mark(self, world: World, server: PrivateRedis) -> None:
        """The end of a stage."""
        stats = [await world.frontier.stats(name) for name in world.jobs]
        self.cpu.append(server.cpu())
        self.fetched.append(world.fetched)
        self.leased.append({name: job.leased for name, job in world.jobs.items()})
        self.ready.append(min(each.hosts_ready for each in stats))
        self.waiting.append(sum(each.queued + each.spilled for each in stats))
        world.meter.stage = len(self.cpu) - 1

    def fairness(self, world: World) -> float | None:
        """Jain's index of the URLs served per weight while all jobs had more than was served.

        None when turns were never scarce: then every job got all it could use.
        """
        total = dict.fromkeys(world.jobs, 0)
        scarce = False
        for i in range(1, len(self.ready)):
            if min(self.ready[i - 1], self.ready[i]) > world.turns * len(world.workers):
                scarce = True
                for name in total:
                    total[name] += self.leased[i][name] - self.leased[i - 1][name]
        shares = [n / world.jobs[name].weight for name, n in total.items()]
        return round(jain(shares), 4) if scarce else None


async def simulate(
    server: PrivateRedis, hosts: int, workers: int, options: argparse.Namespace
) -> dict[str, Any]:
    """One run; the line it comes to."""
    web = PowerLawWeb(hosts, seed=options.seed)
    limits = Limits(host_cap=options.cap)
    jobs = [Job(f"job{i}", weight, limits) for i, weight in enumerate(WEIGHTS)]
    frontier = await Frontier.open(server.url, partitions=options.partitions)
    empty = server.used_memory()
    world = World(frontier, web, jobs, workers=workers, seed=options.seed, server_cpu=server.busy)
    progress = Progress(options.urls or min(2 * hosts, MOST_URLS))
    began, server_cpu = time.perf_counter(), server.cpu()
    await _crawl(world, web, progress, server, options)
    seconds = time.perf_counter() - began
    server_cpu = server.cpu() - server_cpu
    grown = server.used_memory() - empty
    await world.balance()
    findings = list(inspect.problems(await inspect.check(frontier, list(world.jobs), repair=False)))
    said = {
        "hosts": hosts,
        "workers": workers,
        "turns": world.turns,
        "server": server.version(),
        **_totals(world, seconds, server_cpu),
        **_memory(world, server, grown),
        "virtual_s": (world.clock.now - T0) // 1000,
        "served_within_1s": _rounded(world.service.share(world.clock.now), 4),
        "wait_p50_ms": percentile(world.service.waits, 0.5),
        "fairness": progress.fairness(world),
        "per_weight": {name: job.leased // job.weight for name, job in world.jobs.items()},
        "stages": _stages(world, progress),
        "violations": world.ledger.violations,
        "examples": world.ledger.examples,
        "findings": findings,
        "load": round(os.getloadavg()[0], 1),
    }
    await frontier.close()
    return said


async def _crawl(
    world: World,
    web: PowerLawWeb,
    progress: Progress,
    server: PrivateRedis,
    options: argparse.Namespace,
) -> None:
    dice = random.Random(options.seed)
    for name in world.jobs:
        fronts = {0, *dice.sample(range(web.hosts), web.hosts // 20)}
        await world.seed(name, (web.url(host, 0) for host in sorted(fronts)))
    await progress.mark(world, server)
    last = T0 + int(options.hours * 3_600_000)
    for stage in range(1, STAGES + 1):
        goal = progress.target * stage // STAGES

        def over(goal: int = goal) -> bool:
            return world.fetched >= goal or world.clock.now >= last

        await world.run(over)
        await progress.mark(world, server)
    await world.close()


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _totals(world: World, seconds: float, server_cpu: float) -> dict[str, Any]:
    fetched, offered = (
        world.fetched,
        sum(n for (kind, _), n in world.meter.units.items() if kind == "add"),
    )
    accepted = sum(sum(each) for each in world.ledger.counts.values())
    return {
        "offered": offered,
        "accepted": accepted,
        "fetched": fetched,
        "urls_per_s": round(fetched / seconds),
        "frontier_urls_per_s": round(fetched / world.meter.wall),
        "server_cpu_us": round(server_cpu / fetched * 1e6, 1),
        "client_cpu_us": round(world.meter.cpu / fetched * 1e6, 1),
        "calls_per_url": {
            kind: round(sum(n for (k, _), n in world.meter.units.items() if k == kind) / fetched, 2)
            for kind in ("lease",)
        },
        "spilled_share": round(world.spills.spilled / accepted, 4),
    }


def _memory(world: World, server: PrivateRedis, grown: int) -> dict[str, Any]:
    """Bytes per accepted URL: seen-sets, and all the rest."""
    accepted = sum(sum(each) for each in world.ledger.counts.values())
    seen, batch = 0, []
    for key in server.commands.scan_iter(match="{f*}:s:*", count=10_000):
        batch.append(key)
        if len(batch) == 1_000:
            seen += _usage(server, batch)
            batch = []
    seen += _usage(server, batch)
    return {
        "seen_bytes": round(seen / accepted, 1),
        "other_bytes": round((grown - seen) / accepted, 1),
    }


def _usage(server: PrivateRedis, keys: Sequence[bytes]) -> int:
    pipe = server.commands.pipeline(transaction=False)
    for key in keys:
        pipe.memory_usage(key, samples=0)
    return sum(pipe.execute())


def _ratio(some: int, all_: int) -> float | None:
    return round(some / all_, 2) if all_ else None


def _stages(world: World, progress: Progress) -> list[dict[str, Any]]:
    """By tenth: URLs that wait at its end, server CPU per URL fetched, and of each kind of call
    wall time and server CPU per unit (URL added or reported, partition asked), p99 of calls."""
    out = []
    for i in range(1, len(progress.cpu)):
        urls = progress.fetched[i] - progress.fetched[i - 1]
        if not urls:
            continue
        row: dict[str, Any] = {
            "waiting": progress.waiting[i],
            "server_cpu_us": round((progress.cpu[i] - progress.cpu[i - 1]) / urls * 1e6, 1),
        }
        for kind in TIMED:
            calls = world.meter.calls[kind, i - 1]
            if calls:
                units = world.meter.units[kind, i - 1]
                row[f"{kind}_us"] = round(sum(calls) / units * 1e6, 1)
                row[f"{kind}_server_us"] = round(world.meter.server[kind, i - 1] / units * 1e6, 1)
                row[f"{kind}_p99_ms"] = round(percentile(calls, 0.99) * 1e3, 2)
        row["urls_per_add"] = _ratio(
            world.meter.units["add", i - 1], world.meter.parts["add", i - 1]
        )
        hosts, asked = world.meter.parts["lease", i - 1], world.meter.units["lease", i - 1]
        row["hosts_per_lease"] = _ratio(hosts, asked)
        row["urls_per_report"] = _ratio(
            world.meter.units["report", i - 1], len(world.meter.calls["report", i - 1])
        )
        out.append(row)
    return out


if __name__ == "__main__":
    sys.exit(main())
