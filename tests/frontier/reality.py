"""What a frontier's keys hold, read plainly: the other side of `test_machine.py`.

It reads keys by the table in frontier/keys.py, never counters in place of what they count.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from frontier.driver import Call, Driver
from tests.frontier.model import Key, Pending

READ = {"string": "GET", "hash": "HGETALL", "zset": "ZRANGE", "list": "LRANGE", "set": "SMEMBERS"}
KINDS = {
    "string": {"u"},
    "set": {"s"},
    "zset": {"r", "rs", "w", "l", "y", "zd", "ge"},
    "list": {"q", "o", "z", "zq"},
    "hash": {"m", "c", "a", "d", "h", "v", "zs", "p", "g"},
}
TYPE = {kind: name for name, kinds in KINDS.items() for kind in kinds}
ARGS: dict[str, list[Any]] = {"zset": [0, -1, "WITHSCORES"], "list": [0, -1]}
Place = tuple[str, str]  # job, host
Store = dict[str, dict[tuple[int, str], list[bytes]]]  # segment -> class, host -> entries


def fp_of(entry: str) -> str:
    """An entry's fingerprint."""
    return entry.split("\t", 3)[2]


def class_of(entry: str) -> int:
    """An entry's class."""
    return int(entry.split("\t", 4)[3])


@dataclass
class Reality:
    """All partitions' keys, sorted by what they mean."""

    raw: dict[str, Any] = field(default_factory=dict)
    queues: dict[Place, dict[int, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    leased: dict[str, list[str]] = field(default_factory=dict)  # host -> fingerprints
    pending: dict[str, Counter[Pending]] = field(default_factory=dict)  # worker-job-n
    waiting: Counter[Key] = field(default_factory=Counter)
    buffers: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # partition, job
    cursors: dict[tuple[str, int, str], list[str]] = field(default_factory=dict)
    aside: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # job
    away: dict[Place, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    left: dict[str, int] = field(default_factory=dict)  # spilled segment -> URLs
    counters: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    ready: dict[Place, list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))
    hosts: dict[str, dict[str, str]] = field(default_factory=dict)
    deadlines: dict[str, int] = field(default_factory=dict)
    seen: Counter[Key] = field(default_factory=Counter)
    fences: dict[tuple[str, str], str] = field(default_factory=dict)  # partition, segment

    def entries(self, store: Store) -> Iterator[tuple[str, str, str, str]]:
        """(place, job, host, entry) of all that is queued, in the buffer, stored or set aside."""
        for (job, host), by_class in self.queues.items():
            for found in by_class.values():
                yield from (("queued", job, host, entry) for entry in found)
        for (_, job), found in self.buffers.items():
            for item in found:
                _, host, entry = item.split("\n", 2)
                yield "buffer", job, host, entry
        for (job, cls, host), found in self.cursors.items():
            for cursor in found:
                yield from (("stored", job, host, e) for e in _rest(store, cls, host, cursor))
        for job, found in self.aside.items():
            for text in found:
                cls_, host, cursor = text.split("\n")
                yield from (("aside", job, host, e) for e in _rest(store, int(cls_), host, cursor))


def _rest(store: Store, cls: int, host: str, cursor: str) -> list[str]:
    segment, total, consumed = cursor.split("\t")
    entries = store[segment][cls, host]
    assert len(entries) == int(total)
    return [entry.decode() for entry in entries[int(consumed) :]]


async def read(driver: Driver) -> Reality:
    """Everything there is, as long as nobody else writes."""
    found = sorted(name.decode() for name in await driver.command("KEYS", "{f*"))
    names = [name for name in found if name.split(":")[1] not in {"e", "b"}]
    kinds = [TYPE[name.split(":")[1]] for name in names]
    calls = [
        driver.command(READ[kind], name, *ARGS.get(kind, []))
        for name, kind in zip(names, kinds, strict=True)
    ]
    values = await asyncio.gather(*calls)
    reality = Reality()
    for name, value in zip(names, values, strict=True):
        _sort(reality, name, _text(value))
    return reality


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {_text(k): v if k == b"s" else _text(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_text(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return {_text(v) for v in value}
    return value


def _sort(real: Reality, name: str, value: Any) -> None:
    p, kind, *rest = name.split(":", 4)
    real.raw[name] = {k: v for k, v in value.items() if k != "hi"} if kind == "m" else value
    match kind, rest:
        case "q", (job, cls, host):
            real.queues[job, host][int(cls)] = value
        case "u", (host,):
            real.leased[host] = [fp_of(entry) for entry in value.splitlines()]
        case "p", (segment,):
            told = Counter(_pending(segment.split("-")[1], value))
            real.pending[segment] = real.pending.get(segment, Counter()) + told
        case "w", (job,):
            real.waiting.update((job, fp_of(member.split("\n", 1)[1])) for member, _ in value)
        case "o", (job,):
            real.buffers[p, job] = value
        case "z", (job, cls, host):
            real.cursors[job, int(cls), host] = value
        case "zq", (job,):
            real.aside[job] += value
        case "v", (job,):
            for name_, n in value.items():
                cls, host = name_.split("\n")
                real.away[job, host][int(cls)] += int(n)
        case "zs", (_,):
            real.left.update((segment, int(n)) for segment, n in value.items())
        case "c", (job,):
            numbers = {k: int(n) for k, n in value.items() if k not in {"sn", "sb"}}
            real.counters[job].update(numbers)
        case (("r" | "rs"), (job,)):
            for host, score in value:
                real.ready[job, host].append((kind, int(score)))
        case "h", (host,):
            real.hosts[host] = value
        case "l", ():
            real.deadlines.update((host, int(score)) for host, score in value)
        case "s", (job, _):
            real.seen.update((job, fp) for fp in value)
        case "g", ():
            real.fences.update(((p, segment), text) for segment, text in value.items())


def _pending(job: str, groups: dict[str, str]) -> Iterator[Pending]:
    for heading, text in groups.items():
        _, first, n, reason = heading.split("\t")
        fps = [fp_of(entry) for entry in text.split("\n")[1:-1]]
        assert (len(fps), fps[0]) == (int(n), first)
        yield from (((job, fp), reason) for fp in fps)


class Recorder:
    """Keeps the calls that are made, so that they can be sent again."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._calls: list[Call] = []
        self._replies: list[Any] = []

    def __enter__(self) -> Recorder:
        self._real = self._driver.scripts
        self._driver.scripts = self._record  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.scripts = self._real  # type: ignore[method-assign]

    async def _record(self, calls: Sequence[Call]) -> list[Any]:
        self._calls = list(calls)
        self._replies = await self._real(calls)
        return self._replies

    def replies(self, homes: set[str]) -> list[Any]:
        """What the calls to these partitions gave."""
        sent = zip(self._calls, self._replies, strict=True)
        return [reply for call, reply in sent if call[1] in homes]

    async def again(self, homes: set[str]) -> list[Any]:
        """What they give now."""
        calls = [call for call in self._calls if call[1] in homes]
        return await self._driver.scripts(calls) if calls else []
