"""How much the frontier takes: URLs per second, CPU per URL, bytes per URL, time of a lease call.

    python -m benchmarks.frontier [--server redis-server] [--case add]... [--long]

Prints one JSON object per case; the first line says what the machine is. CPU is what the kernel
counted, per URL and in microseconds: 4.0 is a core's worth at 250,000 URLs a second, whoever else
uses the machine. Exit code 2: it cannot be run here.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from benchmarks import machine
from benchmarks.clients import Clients, Done, Task, clients
from benchmarks.machine import BenchmarkError
from benchmarks.private_redis import VALKEY, PrivateRedis, private_redis
from benchmarks.scrapy_redis_peer import ScrapyRedis
from benchmarks.urls import BATCH, batches, false_seen, mixture, offer, percentile
from benchmarks.virtual import MemoryStore
from frontier.client import Frontier
from frontier.model import Limits
from frontier.spill import Spiller
from frontier.url import Url

PARTITIONS: Final = 64
SHARES: Final = {"fresh": 0.0, "45% known": 0.45, "95% known": 0.95}
_QUEUES: Final = ("q", "r", "h")  # key families that hold what is queued, by the second part


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frontier", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--case", action="append", choices=sorted(CASES), help="(default: all)")
    parser.add_argument("--server", default=VALKEY, help="valkey, or a redis-server command")
    parser.add_argument("--urls", type=int, default=200_000, help="of the throughput cases")
    parser.add_argument("--hosts", type=int, default=1_000)
    parser.add_argument("--no-aof", action="store_true", help="without append-only file")
    parser.add_argument("--long", action="store_true", help="sizes of 1e7 URLs, too")
    parser.add_argument("--huge", action="store_true", help="1e8 URLs in the seen-set, too")
    options = parser.parse_args(arguments)
    _say(
        machine=machine.describe(),
        comity=importlib.metadata.version("comity"),
        load=os.getloadavg()[0],
    )
    try:
        for name in options.case or CASES:
            CASES[name](options)
    except BenchmarkError as error:
        print(f"frontier: {error}", file=sys.stderr)
        return 2
    return 0


def _say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def measured(
    server: PrivateRedis, group: Clients, tasks: Sequence[Task], **said: Any
) -> list[Done]:
    """Run tasks side by side, print the line."""
    group.prepare(tasks)
    before = server.cpu()
    done = group.go()
    return _cost(done, server.cpu() - before, server=server.version(), clients=len(tasks), **said)


def _cost(done: list[Done], server_cpu: float, **said: Any) -> list[Done]:
    urls = sum(d.added + d.known + d.settled for d in done)
    seconds = max(d.seconds for d in done)
    _say(
        **said,
        urls=urls,
        added=sum(d.added for d in done),
        seconds=round(seconds, 3),
        urls_per_s=round(urls / seconds),
        client_cpu_us=round(sum(d.cpu for d in done) / urls * 1e6, 2),
        server_cpu_us=round(server_cpu / urls * 1e6, 2),
        load=round(os.getloadavg()[0], 1),
    )
    return done


def _split(task: Task, count: int) -> list[Task]:
    """A task shared out to ``count`` clients: numbers and partitions."""
    each = task.count // count
    return [
        replace(task, first=task.first + i * each, count=each, client=i, clients=count)
        for i in range(count)
    ]


def case_add(options: argparse.Namespace) -> None:
    """Adds: fresh, half known, mostly known; one partition per call as a worker's, or scattered."""
    for count in (1, 4):
        for hosts, scattered in ((options.hosts, False), (options.hosts, True), (1, False)):
            for name, share in SHARES.items():
                with (
                    private_redis(options.server, persist=not options.no_aof) as server,
                    clients(server.url, count, PARTITIONS) as group,
                ):
                    cap = 0 if hosts == 1 else 1_000
                    task = Task(
                        "add",
                        count=options.urls,
                        hosts=hosts,
                        scattered=scattered,
                        host_cap=cap,
                    )
                    if share:
                        group.prepare(_split(task, count))
                        group.go()
                        task = replace(task, first=options.urls, added=options.urls, known=share)
                    label = f"add, {name}" + (", scattered" if scattered else "")
                    measured(server, group, _split(task, count), case=label, hosts=hosts)


def case_lease(options: argparse.Namespace) -> None:
    """Lease, report, seal and settle all; then while adds go on."""
    for count in (1, 4):
        with (
            private_redis(options.server, persist=not options.no_aof) as server,
            clients(server.url, count, PARTITIONS) as group,
        ):
            task = Task("add", count=options.urls, hosts=options.hosts)
            group.prepare(_split(task, count))
            group.go()
            drain = replace(task, kind="drain")
            done = measured(server, group, _split(drain, count), case="lease+settle")
            _expect(sum(d.settled for d in done), options.urls)
            group.prepare(_split(replace(task, first=options.urls), count))
            group.go()
            old = 2 * options.urls
            mixed = replace(task, kind="mixed", first=old, added=old, known=0.45)
            measured(server, group, _split(mixed, count), case="mixed")


def _expect(found: int, wanted: int) -> None:
    if found != wanted:
        raise RuntimeError(f"{wanted} URLs expected, {found} found")


def case_latency(options: argparse.Namespace) -> None:
    """Seconds of a lease call (8 hosts x 8 URLs, one partition) as the queues grow."""
    sizes = [10**5, 10**6, *([10**7] if options.long else [])]
    with (
        private_redis(options.server, persist=not options.no_aof) as server,
        clients(server.url, 1, PARTITIONS) as group,
    ):
        made = queued = 0
        for size in sizes:
            while queued < size:
                step = min(size - queued, 200_000)
                hosts = max(options.hosts, sizes[-1] // 500)  # a host's queue is bounded
                group.prepare([Task("add", first=made, count=step, hosts=hosts)])
                added = group.go()[0].added
                _expect(added, step)
                made, queued = made + added, queued + added
            calls = min(2_000, size // 200)  # they must not empty it
            group.prepare([Task("latency", count=calls, first=made)])
            done = group.go()[0]
            queued -= done.settled
            marks = {f"p{q}_ms": round(percentile(done.calls, q / 100) * 1e3, 2) for q in (50, 99)}
            worst = round(max(done.calls) * 1e3, 2)
            _say(
                case="lease call",
                server=server.version(),
                queued=size,
                calls=calls,
                **marks,
                max_ms=worst,
            )


def case_memory(options: argparse.Namespace) -> None:
    """Bytes of Redis per URL: with its queue entry, and seen alone."""
    sizes = [10**5, 10**6]
    sizes += [10**7] if options.long or options.huge else []
    sizes += [10**8] if options.huge else []
    for size in sizes:
        with (
            private_redis(options.server, persist=False) as server,
            clients(server.url, 1, PARTITIONS) as group,
        ):
            group.prepare([Task("add", job="warm", count=20_000)])
            group.go()  # scripts and buffers are not the URLs'
            _drop(server, lambda kind, job: job == "warm")
            empty, queued = server.used_memory(), 0.0
            for first in range(0, size, 200_000):
                count = min(200_000, size - first)
                group.prepare(
                    [Task("add", first=first, count=count, hosts=max(1_000, count // 100))]
                )
                _expect(group.go()[0].added, count)
                if not first:
                    queued = (server.used_memory() - empty) / count
                _drop_queues(server)
            seen = (server.used_memory() - empty) / size
            _bytes(server, size, 1, seen, queued)
    with private_redis(options.server, persist=False) as server:
        asyncio.run(_small_jobs(server, 1_000, 1_000))


def _bytes(server: PrivateRedis, urls: int, jobs: int, seen: float, queued: float) -> None:
    _say(
        case="bytes per URL",
        server=server.version(),
        urls=urls,
        jobs=jobs,
        seen_bytes=round(seen, 2),
        with_queue_bytes=round(queued, 1),
    )


async def _small_jobs(server: PrivateRedis, jobs: int, each: int) -> None:
    frontier = await Frontier.open(server.url, partitions=PARTITIONS)
    empty = server.used_memory()
    for job in range(jobs):
        made = [offer(number, 1_000) for number in range(job * each, (job + 1) * each)]
        _expect((await frontier.add(f"job{job:04d}", made)).accepted, each)
    queued = (server.used_memory() - empty) / jobs / each
    _drop_queues(server)
    _bytes(server, jobs * each, jobs, (server.used_memory() - empty) / jobs / each, queued)
    await frontier.close()


def _drop_queues(server: PrivateRedis) -> None:
    """Delete what is queued, so that the seen-sets and their counters are left."""
    _drop(server, lambda kind, job: kind in _QUEUES)


def _drop(server: PrivateRedis, which: Callable[[str, str], bool]) -> None:
    """Delete keys of partitions by their kind and their job."""
    names = [key.decode() for key in server.commands.scan_iter(match="{f*", count=5_000)]
    parts = ((name, *f"{name}:".split(":", 3)[1:3]) for name in names)
    keys = [name for name, kind, job in parts if which(kind, job)]
    for chunk in _chunks(keys, 1_000):
        server.commands.unlink(*chunk)


def _chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def case_one_host(options: argparse.Namespace) -> None:
    """Bytes of Redis beside the seen-set, as one host has more and more URLs: most are spilled."""
    for size in (10**5, 10**6, *([10**7] if options.long else [])):
        with private_redis(options.server, persist=False) as server:
            asyncio.run(_one_host(server, size))


async def _one_host(server: PrivateRedis, size: int) -> None:
    frontier, store = await Frontier.open(server.url, partitions=1), MemoryStore()
    spiller = Spiller(frontier.tails, "bench", store)
    empty = server.used_memory()
    for first in range(0, size, BATCH):
        made = [offer(number, 1) for number in range(first, min(size, first + BATCH))]
        added = await frontier.add("bench", made, limits=Limits(host_cap=1_000))
        _expect(added.accepted, len(made))
        if added.laden:
            await spiller.flush(0)
    _expect((await frontier.stats("bench")).accepted, size)
    full = server.used_memory()
    _drop(server, lambda kind, job: kind == "s")
    left = server.used_memory()
    _say(
        case="one host",
        server=server.version(),
        urls=size,
        seen_bytes=round((full - left) / size, 2),
        other_bytes=left - empty,
        segments=len(store.objects),
        store_bytes=round(sum(map(len, store.objects.values())) / size, 1),
    )
    await frontier.close()


class _Narrow(Frontier):
    """A frontier whose fingerprints have fewer bits."""

    bits = 52

    def fingerprint(self, url: Url, visit: int = 1) -> str:
        return str(int(super().fingerprint(url, visit)) >> (52 - self.bits))


def case_false_seen(options: argparse.Namespace) -> None:
    """New URLs taken for known ones at 32 bits, against the formula; and what it says of 52."""
    with private_redis(options.server, persist=False) as server:
        asyncio.run(_collide(server, 10**6, 32))


async def _collide(server: PrivateRedis, urls: int, bits: int) -> None:
    frontier = await _Narrow.open(server.url, partitions=1)
    frontier.bits = bits  # type: ignore[attr-defined]
    known = 0
    for first in range(0, urls, 50_000):
        made = (offer(n, 2_000) for n in range(first, min(urls, first + 50_000)))
        for batch in batches(made, 1, scattered=True):
            known += (await frontier.add("bench", batch)).known
    await frontier.close()
    _say(
        case="false seen",
        urls=urls,
        bits=bits,
        measured=known,
        expected=round(false_seen(urls, bits), 1),
        at_52_bits_1e9_urls_64_partitions=round(false_seen(10**9, 52, 64), 2),
    )


def case_peer(options: argparse.Namespace) -> None:
    """scrapy-redis: the same adds, then pops, and its bytes per URL."""
    count = min(options.urls, 50_000)
    for name, share in SHARES.items():
        with private_redis(options.server, persist=not options.no_aof) as server:
            peer = ScrapyRedis(server.url)
            said = {"server": server.version(), "peer": "scrapy-redis", "clients": 1}
            empty = server.used_memory()
            if share:
                peer.add(range(count), options.hosts)
                peer.pop()
            numbers = mixture(count, count, share, count)
            before = server.cpu()
            done = peer.add(numbers, options.hosts)
            _cost([done], server.cpu() - before, case=f"add, {name}", **said)
            full, before = server.used_memory(), server.cpu()
            done = peer.pop()
            _cost([done], server.cpu() - before, case="pop", **said)
            if not share:
                _bytes(
                    server, count, 1, (server.used_memory() - empty) / count, (full - empty) / count
                )


CASES: Final[dict[str, Callable[[argparse.Namespace], None]]] = {
    "add": case_add,
    "lease": case_lease,
    "latency": case_latency,
    "memory": case_memory,
    "one-host": case_one_host,
    "false-seen": case_false_seen,
    "peer": case_peer,
}

if __name__ == "__main__":
    sys.exit(main())
