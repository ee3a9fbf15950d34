"""The frontier as workers see it: offer URLs, lease hosts, report, seal, settle.

Keeps invariants 1 to 5 of the design by leaving every transition to one atomic script; this
module only packs, routes by partition and unpacks. Times given to scripts are milliseconds; lease
deadlines count from when the call was *sent*, on CLOCK_BOOTTIME, which a suspended machine counts
too.
"""

from __future__ import annotations

import math
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from frontier import entry, keys
from frontier.driver import Call, Driver
from frontier.model import (
    CrawlRequest,
    FrontierError,
    FrontierStats,
    HostState,
    Lease,
    UrlResult,
)
from frontier.registry import Registry
from frontier.url import Url, fingerprint, partition

CHUNK = 256  # URLs per add call
SETTLE = 500  # URLs per settle or requeue call
_ACTIONS = {"pending": "p", "retry": "w", "return": "r"}
SLOW_MS = 5_000  # a host slower than this gets one URL per lease


def boottime() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Added:
    """What an add came to."""

    accepted: int  # URLs that are new
    known: int  # URLs that had been seen
    due: dict[int, float]  # partition -> seconds until the job's next host there


@dataclass(frozen=True, slots=True)
class Grant:
    """What one lease call over some partitions gave."""

    leases: tuple[Lease, ...]
    due: dict[int, float | None]  # partition -> seconds until its next host; None: it has none


class StaleLease(FrontierError):
    """The lease was lost: nothing that its holder said has changed anything."""


class FencedSegment(FrontierError):
    """The segment was given up by recovery: its owner came back too late."""


class Frontier:
    """A deployment's frontier; make it with :meth:`open`."""

    def __init__(self, driver: Driver, registry: Registry, partitions: int, secret: bytes) -> None:
        self.driver = driver
        self.registry = registry
        self.partitions = partitions
        self._secret = secret
        self.now = ""  # ms as text, for tests and simulation; "" is the server's time

    @classmethod
    async def open(cls, url: str, *, partitions: int = 64) -> Frontier:
        """Connect to a frontier, making it where the database is empty.

        Raises FrontierError: unreachable, too old, another partition count or schema, a database
        that holds something else.
        """
        driver = await Driver.connect(url)
        try:
            registry = Registry(driver)
            found, secret = await registry.found(partitions)
        except BaseException:
            await driver.close()
            raise
        return cls(driver, registry, found, secret)

    async def close(self) -> None:
        """Close the connections."""
        await self.driver.close()

    # -- URLs in

    def place(self, url: Url) -> tuple[int, str]:
        """(partition, fingerprint) of a URL."""
        return partition(url.domain, self.partitions), str(fingerprint(url.key, self._secret))

    async def add(
        self, job: str, offers: Iterable[tuple[Url, CrawlRequest]], *, force: bool = False
    ) -> Added:
        """Offer URLs to a job: those not seen before are queued; with ``force``, all."""
        groups: dict[int, list[str]] = defaultdict(list)
        for url, request in offers:
            p, fp = self.place(url)
            packed = entry.pack(request, fp, url.host)
            groups[p] += [fp, url.host, str(request.priority), packed]
        calls: list[Call] = []
        where: list[int] = []
        for p, flat in groups.items():
            for i in range(0, len(flat), 4 * CHUNK):
                args = [self.now, job, "1" if force else "", *flat[i : i + 4 * CHUNK]]
                calls.append(("add", keys.tag(p), args))
                where.append(p)
        accepted = known = 0
        due: dict[int, float] = {}
        for p, (codes, wait) in zip(where, await self._run(calls), strict=True):
            accepted += codes.count(b"1")
            known += codes.count(b"0")
            due[p] = max(0, wait) / 1000
        return Added(accepted, known, due)

    # -- leases

    async def lease(
        self,
        worker: str,
        jobs: Sequence[str],
        partitions: Iterable[int],
        *,
        hosts: int,
        urls: int,
        ttl: float,
    ) -> Grant:
        """Ask partitions for up to ``hosts`` hosts each, with up to ``urls`` URLs each."""
        wanted, sent = list(partitions), boottime()
        args = [self.now, worker, uuid.uuid4().hex, int(ttl * 1000), hosts, urls, SLOW_MS, 32]
        calls: list[Call] = [("lease", keys.tag(p), [*args, *jobs]) for p in wanted]
        leases: list[Lease] = []
        due: dict[int, float | None] = {}
        for p, reply in zip(wanted, await self._run(calls), strict=True):
            due[p] = None if reply[1] < 0 else reply[1] / 1000
            for host, job, token, state, entries in reply[2:]:
                name = host.decode()
                found = tuple(entry.unpack(e.decode(), name) for e in entries)
                lease = Lease(name, job.decode(), p, int(token), sent + ttl, _state(state), found)
                leases.append(lease)
        return Grant(tuple(leases), due)

    async def claim(
        self, worker: str, job: str, url: Url, *, ttl: float
    ) -> tuple[Lease | None, float]:
        """Lease the host of one URL that no queue holds; or the seconds until asking again."""
        p, sent = partition(url.domain, self.partitions), boottime()
        args = [self.now, worker, int(ttl * 1000), job, url.host]
        token, wait, state = await self.driver.script("claim", keys.tag(p), args)
        if not token:
            return None, wait / 1000
        return Lease(url.host, job, p, int(token), sent + ttl, _state(state)), 0.0

    async def renew(self, leases: Iterable[Lease], ttl: float) -> dict[Lease, Lease | None]:
        """Move deadlines to ``ttl`` seconds from now; None for each lease that is lost."""
        groups: dict[int, list[Lease]] = defaultdict(list)
        for lease in leases:
            groups[lease.partition].append(lease)
        sent, calls = boottime(), []
        for p, held in groups.items():
            flat = [x for lease in held for x in (lease.host, lease.token)]
            calls.append(("renew", keys.tag(p), [self.now, int(ttl * 1000), *flat]))
        out: dict[Lease, Lease | None] = {}
        for held, reply in zip(groups.values(), await self._run(calls), strict=True):
            for lease, code in zip(held, reply.decode(), strict=True):
                out[lease] = replace(lease, expires=sent + ttl) if code == "1" else None
        return out

    async def report(
        self,
        lease: Lease,
        results: Sequence[UrlResult],
        *,
        state: HostState,
        wait: float,
        free: bool,
    ) -> float | None:
        """Say what became of URLs; with ``free`` give the host back, ready in ``wait`` seconds.

        Returns the seconds until the job's next host in that partition (None: there is none).
        Raises StaleLease, FencedSegment; nothing has changed then.
        """
        args: list[Any] = [
            self.now,
            lease.host,
            lease.token,
            int(free),
            max(0, math.ceil(wait * 1000)),
            round(state.delay * 1000),
            msgspec.msgpack.encode(state),
            state.blocked_reason,
        ]
        for r in results:
            args += [r.fp, _ACTIONS[r.action], r.segment, r.reason, round(r.wait * 1000)]
        code, due = await self.driver.script("report", keys.tag(lease.partition), args)
        if code == 0:
            raise StaleLease(f"the lease of {lease.host} is lost")
        if code < 0:
            raise FencedSegment(f"a segment of the lease of {lease.host} was given up by recovery")
        return None if due < 0 else due / 1000

    # -- segments

    async def seal(self, segment: str, partitions: Iterable[int]) -> dict[int, list[str]]:
        """Close a segment; the fingerprints pending on it per partition: only these become rows.

        Raises FencedSegment when recovery has given it up.
        """
        wanted = list(partitions)
        replies = await self._run([("seal", keys.tag(p), [self.now, segment]) for p in wanted])
        out: dict[int, list[str]] = {}
        for p, (held, fps) in zip(wanted, replies, strict=True):
            if not held:
                raise FencedSegment(f"segment {segment} was given up by recovery")
            out[p] = [fp.decode() for fp in fps]
        return out

    async def settle(self, segment: str, partitions: Iterable[int]) -> None:
        """Count a committed segment's URLs as finished. The caller has seen the commit."""
        for p in partitions:
            while await self.driver.script("settle", keys.tag(p), [self.now, segment, SETTLE]):
                pass

    async def requeue(self, segment: str, *, aborted: bool) -> int | None:
        """Give up a dead owner's segment everywhere and put its URLs back.

        ``aborted`` says that the caller has won the abort of the sealed segment in the table.
        Returns how many URLs will be fetched again; None when it is sealed and not aborted.
        """
        total = 0
        for p in range(self.partitions):
            left = 1
            while left:
                args = [self.now, segment, SETTLE, int(aborted)]
                left, n = await self.driver.script("requeue", keys.tag(p), args)
                if left < 0:
                    return None
                total += n
        return total

    # -- looking

    async def stats(self, job: str) -> FrontierStats:
        """Where a job's URLs are, summed over partitions (not a snapshot: they move meanwhile)."""
        calls: list[Call] = [
            ("status", keys.tag(p), [self.now, job]) for p in range(self.partitions)
        ]
        sums: dict[str, int] = defaultdict(int)
        hosts, due = [0, 0, 0], None
        for flat, ready, leased, waiting, wait in await self._run(calls):
            for name, value in _pairs(flat):
                sums[name] += int(value)
            hosts = [hosts[0] + ready, hosts[1] + leased, hosts[2] + waiting]
            if wait >= 0:
                due = wait / 1000 if due is None else min(due, wait / 1000)
        parts = ("accepted", "queued", "leased", "pending", "waiting", "done", "seen")
        dropped = {name[2:]: n for name, n in sums.items() if name.startswith("d:")}
        return FrontierStats(
            **{name: sums[name] for name in parts},
            dropped=dropped,
            refetched=sums["refetch"],
            finished=sums["finished"],
            hosts_ready=hosts[0],
            hosts_leased=hosts[1],
            hosts_waiting=max(0, hosts[2] - hosts[1]),
            next_ready=due,
        )

    async def unreached(self, job: str, default: str) -> dict[str, int]:
        """URLs still queued or waiting, by what holds them back; ``default`` where nothing does."""
        sums: dict[str, int] = defaultdict(int)
        for p in range(self.partitions):
            first, page = 0, 500
            while True:
                args = [self.now, job, first, page]
                hosts, retries, flat = await self.driver.script("unreached", keys.tag(p), args)
                for reason, n in _pairs(flat):
                    sums[reason or default] += int(n)
                if max(hosts, retries) < page:
                    break
                first += page
        return dict(sums)

    # -- robots.txt copies

    async def robots(self, url: Url) -> bytes | None:
        """The fleet's copy of an authority's robots.txt, as :meth:`put_robots` stored it."""
        key = keys.robots(partition(url.domain, self.partitions), f"{url.scheme}://{url.host}")
        found: bytes | None = await self.driver.command("GET", key)
        return found

    async def put_robots(self, url: Url, copy: bytes, seconds: float) -> None:
        """Share a copy for ``seconds``; only the holder of the host's lease does."""
        key = keys.robots(partition(url.domain, self.partitions), f"{url.scheme}://{url.host}")
        await self.driver.command("SET", key, copy, "PX", max(1, int(seconds * 1000)))

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        return await self.driver.scripts(calls) if calls else []


def _state(blob: bytes) -> HostState:
    return msgspec.msgpack.decode(blob, type=HostState) if blob else HostState()


def _pairs(flat: Any) -> Iterable[tuple[str, Any]]:
    items = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return ((name.decode(), value) for name, value in items)
