"""Looking into a frontier, and putting its counters right; for operators.

Everything here is O(1) or paged, but :func:`check`, which looks at every host of a partition in
one step and says so. Nothing changes without ``repair``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from frontier import entry, keys
from frontier.client import Frontier
from frontier.model import HostState, LeasedUrl
from frontier.url import Url, partition

Places = set[tuple[str, str]]  # class, host


@dataclass(frozen=True, slots=True)
class HostLine:
    """A host in a job's line."""

    host: str
    due: float  # seconds until it may be contacted, or until its lease ends
    queued: int  # URLs in Redis
    spilled: int  # URLs in the store, or on their way there
    delay: float  # seconds between requests
    blocked: str  # reason that holds it back; "" for none
    worker: str  # who holds it; "" for nobody
    slow: bool  # has URLs over budget alone


@dataclass(frozen=True, slots=True)
class JobShare:
    """What one job has of a host."""

    job: str
    due: float | None  # seconds; None: it is not expected there
    queued: tuple[int, ...]  # URLs by class
    spilled: tuple[int, ...]  # URLs by class


@dataclass(frozen=True, slots=True)
class HostView:
    """All that is known of one host."""

    host: str
    partition: int
    state: HostState  # as its last holder left it
    ready: float  # seconds until it may be contacted
    worker: str  # who holds it; "" for nobody
    job: str  # for which job
    lease_ends: float | None  # seconds; None: nobody holds it
    leased: int  # URLs out with its holder
    shares: tuple[JobShare, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """A part of a job's account in a partition that does not hold, or one of :data:`OF_HOSTS`.

    "set aside": URLs of unreadable segments that repair has put in line again. "unknown": hosts
    with URLs of a job that the registry does not know, which repair leaves alone.
    """

    job: str
    partition: int
    part: str  # accepted, queued ... as in FrontierStats, or as above
    counted: int  # what the counter says
    real: int  # what the keys hold
    hosts: tuple[str, ...] = ()

    @property
    def mends(self) -> bool:
        """Whether repair sets it right."""
        return self.part != "unknown"


# What may be wrong with hosts, and how it is told
OF_HOSTS: Final = {
    "stranded": "have queues that no worker would look at",
    "endless": "are held by leases that would never end",
    "miscounted": "have spilled URLs other than they are counted",
    "unknown": "have URLs of a job that is not in the registry",
}


async def hosts(
    frontier: Frontier, job: str, *, partitions: Sequence[int] | None = None, page: int = 100
) -> AsyncIterator[HostLine]:
    """A job's hosts, partition by partition, each in the order in which they are due."""
    for p in range(frontier.partitions) if partitions is None else partitions:
        for kind in ("r", "rs"):
            first, found = 0, [None] * page
            while len(found) == page:
                args = [frontier.now, job, kind, first, page]
                found = await frontier.driver.script("hosts", keys.home(p), args)
                for row in found:
                    yield _line(row, slow=kind == "rs")
                first += page


async def host(frontier: Frontier, url: Url) -> HostView:
    """What is known of the host of a URL."""
    p = partition(url.domain, frontier.partitions)
    jobs = [record.name for record in await frontier.registry.jobs()]
    args = [frontier.now, url.host, *jobs]
    flat, ends, leased, now, shares = await frontier.driver.script("host", keys.home(p), args)
    record = {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}
    state = record.get("s")
    return HostView(
        host=url.host,
        partition=p,
        state=msgspec.msgpack.decode(state, type=HostState) if state else HostState(),
        ready=max(0.0, (float(record.get("t", 0)) - now) / 1000),
        worker=record.get("w", b"").decode(),
        job=record.get("j", b"").decode(),
        lease_ends=None if ends < 0 else ends / 1000,
        leased=leased,
        shares=tuple(_share(row) for row in shares),
    )


async def peek(frontier: Frontier, job: str, url: Url, most: int) -> list[LeasedUrl]:
    """The URLs that a job would fetch next on the host of ``url``; not the spilled ones."""
    tag = keys.tag(partition(url.domain, frontier.partitions))
    out: list[LeasedUrl] = []
    for cls in range(4):
        key = f"{tag}:q:{job}:{cls}:{url.host}"
        left = most - len(out)
        found = await frontier.driver.command("LRANGE", key, 0, left - 1) if left else []
        out += [entry.unpack(raw.decode(), url.host) for raw in found]
    return out


async def check(frontier: Frontier, jobs: Sequence[str], *, repair: bool) -> list[Finding]:
    """Compare the accounts of jobs with the real keys, in every partition; see check.lua.

    Every key is met thrice by SCAN, to find what no list names.
    """
    queues, stored = await _placed(frontier, "q"), await _placed(frontier, "z")
    held: dict[int, list[str]] = defaultdict(list)
    async for raw in frontier.driver.scan("{f*}:u:*"):
        tag, _, name = raw.decode().partition(":u:")
        held[int(tag[2:-1])].append(name)
    both = {place: queues[place] | stored[place] for place in {*queues, *stored}}
    out = await _unknown(frontier, both, jobs)
    for p in range(frontier.partitions):
        for job in jobs:
            hosts = sorted({host for _, host in queues.get((p, job), ())})
            cursors = sorted(f"{cls}\n{host}" for cls, host in stored.get((p, job), ()))
            lists = [each for found in (hosts, held[p], cursors) for each in (len(found), *found)]
            args = [frontier.now, job, int(repair), *lists]
            out += _findings(job, p, await frontier.driver.script("check", keys.home(p), args))
    return out


def _findings(job: str, p: int, reply: Sequence[Any]) -> Iterator[Finding]:
    rows, stranded, again, endless, miscounted = reply
    for part, counted, real in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        if counted != real:
            yield Finding(job, p, part.decode(), counted, real)
    if again:
        yield Finding(job, p, "set aside", again, 0)
    found = {"stranded": stranded, "endless": endless, "miscounted": miscounted}
    for part, hosts in found.items():
        names = tuple(sorted({name.decode() for name in hosts}))
        if names:
            yield Finding(job, p, part, 0, len(names), names)


async def _unknown(
    frontier: Frontier, places: Mapping[tuple[int, str], Places], jobs: Sequence[str]
) -> list[Finding]:
    known = {record.name for record in await frontier.registry.jobs()} | set(jobs)
    found = []
    for (p, job), there in sorted(places.items()):
        if job not in known:
            names = tuple(sorted({host for _, host in there}))
            found.append(Finding(job, p, "unknown", 0, len(names), names))
    return found


async def _placed(frontier: Frontier, kind: str) -> dict[tuple[int, str], Places]:
    """Classes and hosts that have a key of this kind, by partition and job."""
    out: dict[tuple[int, str], Places] = defaultdict(set)
    async for raw in frontier.driver.scan(f"{{f*}}:{kind}:*"):
        tag, _, rest = raw.decode().partition(f":{kind}:")
        job, cls, name = rest.split(":", 2)
        out[int(tag[2:-1]), job].add((cls, name))
    return out


def _line(row: Sequence[Any], *, slow: bool) -> HostLine:
    name, due, queued, spilled, delay, blocked, worker = row
    return HostLine(
        name.decode(), due / 1000, queued, spilled, delay / 1000,
        blocked.decode(), worker.decode(), slow,
    )  # fmt: skip


def _share(row: Sequence[Any]) -> JobShare:
    job, due, *counts = row
    wait = None if due < 0 else due / 1000
    return JobShare(job.decode(), wait, tuple(counts[:4]), tuple(counts[4:]))


@dataclass(frozen=True, slots=True)
class Aside:
    """Spilled URLs of a host that cannot be read back."""

    job: str
    host: str
    segment: str  # the object: ``spill/<partition>/<name>`` below the job's directory
    urls: int


async def set_aside(frontier: Frontier, jobs: Sequence[str], most: int = 1000) -> list[Aside]:
    """What jobs have of that: at most so many per job and partition."""
    out: list[Aside] = []
    for p in range(frontier.partitions):
        for job in jobs:
            key = f"{keys.tag(p)}:zq:{job}"
            for raw in await frontier.driver.command("LRANGE", key, 0, most - 1):
                _, host, cursor = raw.decode().split("\n")
                segment, total, consumed = cursor.split("\t")
                out.append(Aside(job, host, f"spill/{p}/{segment}", int(total) - int(consumed)))
    return out


def problems(findings: Sequence[Finding]) -> Iterator[str]:
    """A line for people per finding."""
    for found in findings:
        where = f"job {found.job}, partition {found.partition}"
        if found.part in OF_HOSTS:
            some = ", ".join(found.hosts[:3]) + (" ..." if len(found.hosts) > 3 else "")
            yield f"{where}: {found.real} hosts {OF_HOSTS[found.part]}: {some}"
        elif found.part == "accepted" and found.counted > found.real:
            yield f"{where}: {found.counted - found.real} accepted URLs are nowhere: they are lost"
        elif found.part == "set aside":
            yield f"{where}: {found.counted} URLs of unreadable segments are tried again"
        else:
            yield f"{where}: {found.part} is counted as {found.counted}, the keys hold {found.real}"
