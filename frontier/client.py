"""The frontier as workers see it: offer URLs, lease hosts, report, seal, settle.

Keeps invariants 1 to 5 of the design by leaving every transition to one atomic script; this
module only packs, routes by partition and unpacks. Times given to scripts are milliseconds; lease
deadlines count from when the call was *sent*, on CLOCK_BOOTTIME, which a suspended machine counts
too.
"""

from __future__ import annotations

import contextlib
import math
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from frontier import entry, keys
from frontier.driver import Call, Driver, Reply
from frontier.losses import Losses
from frontier.model import (
    CrawlRequest,
    FrontierError,
    FrontierStats,
    HostState,
    Lease,
    Limits,
    Report,
    UrlResult,
)
from frontier.offers import Batch, Offer, batches
from frontier.registry import Registry
from frontier.tails import Tails
from frontier.url import Url, fingerprints, partition
from frontier.windows import Windows, boottime

RETRY_AFTER = 1.0  # seconds after which refused URLs may be offered again
SOFT, HARD = 0.70, 0.85  # shares of the server's memory: short heads from here, no URLs from there
SHORT_HEAD = 16  # URLs per host kept in Redis, at least, when its memory is short
SEGMENT = 1000  # spilled URLs that are worth an object in the store
SETTLE = 500  # leases per settle call, URLs (and those of one lease) per requeue call
_PARTS = ("accepted", "queued", "leased", "pending", "waiting", "spilled", "quarantined")
_COUNTED = (*_PARTS, "done", "seen")  # fields of the counters and of FrontierStats alike
_LIMITS = Limits()
_ACTIONS = {"pending": "p", "retry": "w", "return": "r"}
SLOW_MS = 5_000  # a host slower than this gets one URL per lease


@dataclass(frozen=True, slots=True)
class Added:
    """What an add came to."""

    accepted: int  # URLs that are new
    known: int  # URLs that had been seen
    due: dict[int, float]  # partition -> seconds until the job's next host there
    new: frozenset[str] = frozenset()  # fingerprints of the accepted ones
    refused: tuple[tuple[Url, CrawlRequest], ...] = ()  # not taken for now: offer them again
    retry_after: float = 0.0  # seconds after which
    laden: tuple[int, ...] = ()  # partitions with enough URLs to spill


@dataclass(frozen=True, slots=True)
class Grant:
    """What one lease call over some partitions gave."""

    leases: tuple[Lease, ...]
    due: dict[int, float | None]  # partition -> seconds until its next host; None: it has none
    laden: tuple[tuple[str, int], ...] = ()  # (job, partition) with URLs to spill or to call back
    losses: dict[int, int] = field(default_factory=dict)  # partition -> last loss of writes


@dataclass(frozen=True, slots=True)
class Requeued:
    """What giving up a segment came to."""

    urls: int  # that will be fetched again
    sealed: bool = False  # it is sealed, and the caller has no abort: its other URLs are pending


class StaleLease(FrontierError):
    """The lease was lost: nothing that its holder said has changed anything."""


class FencedSegment(FrontierError):
    """The segment takes no more URLs: its owner came back too late, or it is not its own."""


class Frontier:
    """A deployment's frontier; make it with :meth:`open`."""

    def __init__(self, driver: Driver, registry: Registry, partitions: int, secret: bytes) -> None:
        self.driver = driver
        self.registry = registry
        self.partitions = partitions
        self._fingerprint = fingerprints(secret)
        self.tails = Tails(driver)
        self.losses = Losses(driver)
        self.windows = Windows(driver, partitions)
        self.now = ""  # ms as text, for tests and simulation; "" is the server's time

    @classmethod
    async def open(cls, url: str, *, partitions: int | None = 64) -> Frontier:
        """Connect to a frontier, making it where the database is empty; None: take what is there.

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

    def place(self, url: Url, visit: int = 1) -> tuple[int, str]:
        """(partition, fingerprint) of a URL's visit; a later visit is another one to the filter."""
        return partition(url.domain, self.partitions), self.fingerprint(url, visit)

    def fingerprint(self, url: Url, visit: int = 1) -> str:
        """What the frontier knows a URL's visit by."""
        return str(self._fingerprint(url.key if visit == 1 else f"{url.key} {visit}"))

    async def add(
        self, job: str, offers: Iterable[Offer], *, force: bool = False, limits: Limits = _LIMITS
    ) -> Added:
        """Offer URLs to a job: those not seen before are queued; with ``force``, all.

        Beyond the limits URLs are spilled, or refused for now: nothing is dropped.
        """
        flags = ("f" if force else "") + ("n" if limits.newest_first else "")
        bounds = [limits.buffer, limits.host_budget, limits.domain_budget, limits.domain_hosts]
        calls: list[Call] = []
        sent: list[Batch] = []
        refused: list[Offer] = []
        for batch in batches(offers, self.partitions, self.fingerprint):
            cap = self._cap(batch.partition, limits.host_cap)
            if cap is None:
                refused += batch.offers()
                continue
            args = [self.now, job, flags, cap, *bounds, *batch.arguments()]
            calls.append(("add", keys.home(batch.partition), args))
            sent.append(batch)
        known = 0
        new: list[str] = []
        due: dict[int, float] = {}
        laden: list[int] = []
        for batch, (codes, wait, waiting) in zip(sent, await self._run(calls), strict=True):
            known += codes.count(b"0")
            new += [fp for fp, code in zip(batch.fps(), codes.decode(), strict=True) if code == "1"]
            due[batch.partition] = max(0, wait) / 1000
            if waiting >= SEGMENT:
                laden.append(batch.partition)
            if b"2" in codes:
                taken = zip(batch.offers(), codes.decode(), strict=True)
                refused += [offer for offer, code in taken if code == "2"]
        pause = RETRY_AFTER if refused else 0.0
        return Added(len(new), known, due, frozenset(new), tuple(refused), pause, tuple(laden))

    def _cap(self, p: int, cap: int) -> int | None:
        """URLs per host that a partition's server has room for; None: for none at all."""
        memory = self.driver.memory(keys.home(p))
        share = memory.used / memory.limit if memory.limit else 0.0
        if share >= HARD:
            return None
        return max(SHORT_HEAD, cap // 16) if cap and share >= SOFT else cap

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
        weights: Mapping[str, int] | None = None,
    ) -> Grant:
        """Ask partitions for up to ``hosts`` hosts each, with up to ``urls`` URLs each.

        Jobs share by ``weights`` (1 where it names none), counted in URLs.
        """
        wanted, sent = list(partitions), boottime()
        args = [self.now, worker, uuid.uuid4().hex, int(ttl * 1000), hosts, urls, SLOW_MS, 32]
        shares = [x for job in jobs for x in (job, (weights or {}).get(job, 1))]
        calls: list[Call] = [("lease", keys.home(p), [*args, *shares]) for p in wanted]
        leases: list[Lease] = []
        unsafe: list[Lease] = []
        due: dict[int, float | None] = {}
        laden: list[tuple[str, int]] = []
        losses: dict[int, int] = {}
        for p, answer in zip(wanted, await self._answers(calls), strict=True):
            reply = answer.value
            if reply is None:  # what was granted there comes back when its time is over
                due[p] = RETRY_AFTER
                continue
            due[p] = None if reply[1] < 0 else reply[1] / 1000
            laden += [(job.decode(), p) for job in reply[2]]
            losses[p] = reply[3]
            (leases if answer.safe else unsafe).extend(_leases(reply[4:], p, sent + ttl))
        await self._hand_back(unsafe)
        return Grant(tuple(leases), due, tuple(laden), losses)

    async def _hand_back(self, leases: Sequence[Lease]) -> None:
        """Give back what no replica has confirmed, unused: else its URLs would count as lost."""
        if leases:
            with contextlib.suppress(FrontierError):  # then they come back at their deadlines
                await self.report_all([Report(x, (), x.state, 0.0, True) for x in leases])

    async def claim(
        self, worker: str, job: str, url: Url, *, ttl: float
    ) -> tuple[Lease | None, float]:
        """Lease the host of one URL that no queue holds; or the seconds until asking again."""
        p, sent = partition(url.domain, self.partitions), boottime()
        args = [self.now, worker, int(ttl * 1000), job, url.host]
        [reply] = await self._safely([("claim", keys.home(p), args)])
        token, wait, state = reply or (0, RETRY_AFTER * 1000, b"")
        if not token:
            return None, wait / 1000
        return Lease(url.host, job, p, int(token), sent + ttl, _state(state)), 0.0

    async def renew(self, leases: Iterable[Lease], ttl: float) -> dict[Lease, Lease | None]:
        """Move deadlines to ``ttl`` seconds from now; None for each lease that is lost.

        A lease whose server does not answer, or whose replica did not confirm, stays as it is.
        """
        groups: dict[int, list[Lease]] = defaultdict(list)
        for lease in leases:
            groups[lease.partition].append(lease)
        sent, calls = boottime(), []
        for p, held in groups.items():
            flat = [x for lease in held for x in (lease.host, lease.token)]
            calls.append(("renew", keys.home(p), [self.now, int(ttl * 1000), *flat]))
        out: dict[Lease, Lease | None] = {}
        for held, reply in zip(groups.values(), await self._safely(calls), strict=True):
            if reply is None:
                out.update(zip(held, held, strict=True))
                continue
            for lease, code in zip(held, reply.decode(), strict=True):
                out[lease] = replace(lease, expires=sent + ttl) if code == "1" else None
        return out

    async def begin(self, lease: Lease) -> bool:
        """Say that the one URL of a lease, which was out on lost ones, is worked on from now.

        Only then does its lease count as another loss, should it be lost too. False: it is.
        """
        args = [self.now, lease.host, lease.token]
        [reply] = await self._run([("begin", keys.home(lease.partition), args)])
        return bool(reply)

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
        told = await self.report_all([Report(lease, results, state, wait, free)])
        if isinstance(told[0], FrontierError):
            raise told[0]
        return told[0]

    async def report_all(
        self, reports: Sequence[Report]
    ) -> list[float | StaleLease | FencedSegment | None]:
        """Many reports, one call per partition; each with what :meth:`report` returns or raises."""
        groups: dict[int, list[int]] = defaultdict(list)
        for i, report in enumerate(reports):
            groups[report.lease.partition].append(i)
        calls: list[Call] = [
            ("report", keys.home(p), [self.now, *(x for i in at for x in _told(reports[i]))])
            for p, at in groups.items()
        ]
        out: list[float | StaleLease | FencedSegment | None] = [None] * len(reports)
        for at, reply in zip(groups.values(), await self._run(calls), strict=True):
            for i, code, due in zip(at, reply[::2], reply[1::2], strict=True):
                host = reports[i].lease.host
                if code == 0:
                    out[i] = StaleLease(f"the lease of {host} is lost")
                elif code < 0:
                    text = f"a segment of the lease of {host} is closed, or another job's"
                    out[i] = FencedSegment(text)
                else:
                    out[i] = None if due < 0 else due / 1000
        return out

    # -- segments

    async def seal(self, segment: str, partitions: Iterable[int]) -> dict[int, list[str]]:
        """Close a segment; the fingerprints pending on it per partition: only these become rows.

        Raises FencedSegment when recovery has given it up.
        """
        wanted = list(partitions)
        replies = await self._run([("seal", keys.home(p), [self.now, segment]) for p in wanted])
        out: dict[int, list[str]] = {}
        for p, (held, blobs) in zip(wanted, replies, strict=True):
            if not held:
                raise FencedSegment(f"segment {segment} was given up by recovery")
            out[p] = [fp for blob in blobs for fp in _pending(blob.decode())]
        return out

    async def settle(self, segment: str, partitions: Iterable[int]) -> None:
        """Count a committed segment's URLs as finished. The caller has seen the commit."""
        for p in partitions:
            while await self.driver.script("settle", keys.home(p), [self.now, segment, SETTLE]):
                pass

    async def requeue(
        self, segment: str, *, aborted: bool, partitions: Iterable[int] | None = None
    ) -> Requeued:
        """Give up a dead owner's segment, everywhere or in some partitions; put its URLs back.

        ``aborted`` says that the caller has won the abort of the sealed segment in the table. An
        owner that died at its seal may have sealed it in some partitions only.
        """
        total = 0
        for p in range(self.partitions) if partitions is None else partitions:
            left = 1
            while left:
                args = [self.now, segment, SETTLE, int(aborted)]
                left, n = await self.driver.script("requeue", keys.home(p), args)
                if left < 0:
                    return Requeued(total, sealed=True)
                total += n
        return Requeued(total)

    async def retire(self) -> None:
        """Before the server is stopped in order: with nothing leased it needs no quarantine."""
        for p in range(self.partitions):
            if not await self.driver.command("ZCARD", f"{keys.tag(p)}:l"):
                await self.driver.command("HDEL", keys.home(p), "run")

    # -- looking

    async def stats(self, job: str, *, hosts: bool = True) -> FrontierStats:
        """Where a job's URLs are, summed over partitions (not a snapshot: they move meanwhile).

        Without ``hosts``, which takes a look at each leased host, those count as waiting.
        """
        args = [self.now, job, int(hosts)]
        calls: list[Call] = [("status", keys.home(p), args) for p in range(self.partitions)]
        sums: dict[str, int] = defaultdict(int)
        numbers, due, doubtful = [0, 0, 0], None, 0
        for flat, ready, leased, waiting, wait, doubt in await self._run(calls):
            doubtful += doubt
            for name, value in _pairs(flat):
                sums[name] += int(value)
            numbers = [numbers[0] + ready, numbers[1] + leased, numbers[2] + waiting]
            if wait >= 0:
                due = wait / 1000 if due is None else min(due, wait / 1000)
        dropped = {name[2:]: n for name, n in sums.items() if name.startswith("d:")}
        demoted = {name[8:]: n for name, n in sums.items() if name.startswith("demoted:")}
        return FrontierStats(
            **{name: sums[name] for name in _COUNTED},
            dropped=dropped,
            demoted=demoted,
            refetched=sums["refetch"],
            finished=sums["finished"],
            hosts_ready=numbers[0],
            hosts_leased=numbers[1],
            hosts_waiting=numbers[2],
            next_ready=due,
            doubtful=doubtful,
        )

    async def unreached(self, job: str, default: str) -> dict[str, int]:
        """URLs still queued or waiting, by what holds them back; ``default`` where nothing does."""
        sums: dict[str, int] = defaultdict(int)
        for p in range(self.partitions):
            first, page = 0, 500
            while True:
                args = [self.now, job, first, page]
                found, flat = await self.driver.script("unreached", keys.home(p), args)
                for reason, n in _pairs(flat):
                    sums[reason or default] += int(n)
                if found < page:
                    break
                first += page
        return dict(sums)

    # -- copies of files that speak for a whole authority

    async def robots(self, url: Url) -> bytes | None:
        """The fleet's copy of an authority's robots.txt, as :meth:`put_robots` stored it."""
        return await self._copy(keys.robots(*self._authority(url)))

    async def put_robots(self, url: Url, copy: bytes, seconds: float) -> None:
        """Share a copy for ``seconds``; only the holder of the host's lease does."""
        await self._put_copy(keys.robots(*self._authority(url)), copy, seconds)

    async def reservations(self, url: Url) -> bytes | None:
        """The same of its tdmrep.json."""
        return await self._copy(keys.reservations(*self._authority(url)))

    async def put_reservations(self, url: Url, copy: bytes, seconds: float) -> None:
        """As :meth:`put_robots`."""
        await self._put_copy(keys.reservations(*self._authority(url)), copy, seconds)

    def _authority(self, url: Url) -> tuple[int, str]:
        return partition(url.domain, self.partitions), f"{url.scheme}://{url.host}"

    async def _copy(self, key: str) -> bytes | None:
        found: bytes | None = await self.driver.command("GET", key)
        return found

    async def _put_copy(self, key: str, copy: bytes, seconds: float) -> None:
        await self.driver.command("SET", key, copy, "PX", max(1, int(seconds * 1000)))

    async def _answers(self, calls: Sequence[Call]) -> list[Reply]:
        """Replies, each with whether a failover may take it back; an error when all failed."""
        replies = await self.driver.each(calls, replicated=True) if calls else []
        if replies and all(reply.error is not None for reply in replies):
            assert replies[0].error is not None  # noqa: S101 - for the type checker
            raise replies[0].error
        return replies

    async def _safely(self, calls: Sequence[Call]) -> list[Any]:
        """Replies that a failover cannot take back, None for others; an error when all failed."""
        return [reply.value if reply.safe else None for reply in await self._answers(calls)]

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        return await self.driver.scripts(calls) if calls else []


def _told(report: Report) -> list[Any]:
    args: list[Any] = [
        report.lease.host,
        report.lease.token,
        int(report.free),
        max(0, math.ceil(report.wait * 1000)),
        round(report.state.delay * 1000),
        msgspec.msgpack.encode(report.state),
        report.state.blocked_reason,
    ]
    groups: dict[tuple[str, str, str, float], list[str]] = {}
    for r in report.results:
        key = (r.action, r.segment, r.reason, r.wait)
        if (fps := groups.get(key)) is None:
            groups[key] = [r.fp]
        else:
            fps.append(r.fp)
    args.append(len(groups))
    if len(groups) == 1 and _all(report):  # no URL has to be named, or looked for
        [(_, segment, reason, _)] = groups
        return [*args, "p", segment, reason, 0, "*"]
    for (action, segment, reason, wait), fps in groups.items():
        args += (_ACTIONS[action], segment, reason, round(wait * 1000), len(fps))
        args += fps
    return args


def _all(report: Report) -> bool:
    """Whether it says of each of its lease's URLs that they are pending."""
    said = {r.fp for r in report.results if r.action == "pending"}
    return len(said) == len(report.lease.urls) and said == {u.fp for u in report.lease.urls}


def _pending(blob: str) -> Iterator[str]:
    """The fingerprints of a lease's pending URLs, as seal.lua gives them."""
    return (line.split("\t", 3)[2] for line in blob.split("\n")[1:-1])


def _leases(rows: Iterable[Any], p: int, expires: float) -> Iterator[Lease]:
    for host, job, token, state, _, blob in rows:
        name = host.decode()
        found = tuple(entry.unpack(e, name) for e in blob.decode().split("\n")[:-1])
        yield Lease(name, job.decode(), p, int(token), expires, _state(state), found)


def _state(blob: bytes) -> HostState:
    return msgspec.msgpack.decode(blob, type=HostState) if blob else HostState()


def _pairs(flat: Any) -> Iterable[tuple[str, Any]]:
    items = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return ((name.decode(), value) for name, value in items)
