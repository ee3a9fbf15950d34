"""What several workers do to a frontier, each step told to a model and judged by it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

import pytest

from frontier import keys
from frontier.client import FencedSegment, Frontier, Grant, StaleLease
from frontier.driver import Call, Driver
from frontier.model import (
    CrawlRequest,
    HostState,
    Lease,
    Limits,
    RefillWant,
    SpillBatch,
    UrlResult,
)
from frontier.url import parse
from tests.frontier.model import Key, Model, Told
from tests.frontier.reality import Reality, Recorder, Store, class_of, fp_of, read

T = TypeVar("T")
T0: Final = 1_900_000_000_000
TTL: Final = 10_000  # ms of a lease
PARTITIONS: Final = 3
ALL: Final = range(PARTITIONS)
HOSTS: Final = ("x.test", "a.dom.com", "b.dom.com", "c.dom.com", "y.test", "z.org")
JOBS: Final = ("one", "two")
WORKERS: Final = ("w1", "w2", "w3")
LAST: Final = "w0"  # who clears up

Offers = Sequence[tuple[str, int, int]]  # host, number of the URL, class
Results = dict[str, Told]  # by fingerprint


async def found(driver: Driver) -> None:
    """Make an empty frontier whose fingerprints are the same every time."""
    await driver.command("FLUSHALL")
    fields = ("schema", keys.SCHEMA, "partitions", PARTITIONS, "secret", "00" * 16)
    await driver.command("HSET", keys.META, *fields)
    for p in ALL:
        await driver.command("HSET", keys.home(p), "hi", 0)


class Fleet:
    """Workers, and the frontier they share; the clock is ours."""

    def __init__(
        self, frontier: Frontier, runner: asyncio.Runner, limits: dict[str, Limits]
    ) -> None:
        self.frontier = frontier
        self.runner = runner
        self.limits = limits  # by job
        self.model = Model(T0)
        self.leases: list[tuple[str, Lease]] = []  # all that were granted, by worker
        both = [(worker, job) for worker in (*WORKERS, LAST) for job in JOBS]
        self.segments = {(worker, job): f"{worker}-{job}-0" for worker, job in both}
        self.committed: set[str] = set()
        self.store: Store = {}
        self.restarted: set[int] = set()  # partitions that have not noticed yet
        self.quiet = dict.fromkeys(ALL, 0)  # ms until which nothing may be granted
        self.lost = dict.fromkeys(ALL, 0)  # restarts that were noticed
        self.demoted: Counter[str] = Counter()  # by job
        self.kept: Counter[tuple[str, str]] = Counter()  # fast URLs by job and host or .domain
        self.crowded: set[tuple[str, str]] = set()  # job, host: refilled by a want that was old
        self.parts: dict[str, int] = {}  # by host
        self.known = False  # whether ``real`` is how things are
        self.do(found(frontier.driver))
        self.tick(0)
        self.real = self.look()

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a call that may change something."""
        self.known = False
        return self.runner.run(call)

    def look(self) -> Reality:
        """Read the keys, unless nothing has changed since."""
        if not self.known:
            self.real = self.runner.run(read(self.frontier.driver))
            self.known = True
        return self.real

    def tick(self, ms: int) -> None:
        """Time passes."""
        self.model.now += ms
        now = str(self.model.now)
        self.frontier.now = self.frontier.tails.now = self.frontier.losses.now = now

    def part(self, host: str) -> int:
        """The partition of a host."""
        if host not in self.parts:
            self.parts[host] = self.frontier.place(parse(f"http://{host}/"))[0]
        return self.parts[host]

    def silent(self, p: int) -> bool:
        """Whether a partition must not grant; the first call after a restart begins it."""
        if p in self.restarted:
            self.restarted.remove(p)
            self.quiet[p] = self.model.now + TTL + 1_000
            self.lost[p] = max(self.lost[p] + 1, self.model.now)
            for job in JOBS:
                self.do(self.frontier.losses.done(job, {p: self.lost[p]}))
        return self.quiet[p] > self.model.now

    def ready(self, host: str) -> int:
        """When a host may be contacted, in ms: the end of a quarantine counts as a contact."""
        clock, quiet = self.model.clock[host], self.quiet[self.part(host)]
        return clock if clock >= quiet else quiet + max(self.model.delay[host], 5_000)

    def restart(self, p: int) -> None:
        """Make a partition's server look as if it were another, where it has granted before."""
        if "run" in self.look().raw[keys.home(p)]:
            self.do(self.frontier.driver.command("HSET", keys.home(p), "run", "f" * 40))
            self.restarted.add(p)

    # -- URLs in

    def put(self, job: str, offers: Offers, *, force: bool) -> None:
        """Offer URLs: the new ones, and only they, are accepted or refused for now."""
        urls = [(parse(f"http://{host}/{i}"), host, cls) for host, i, cls in offers]
        requests = [(url, CrawlRequest(url.url, priority=cls)) for url, _, cls in urls]
        before = self.classes(self.look())
        call = self.frontier.add(job, requests, force=force, limits=self.limits[job])
        added = self.do(call)
        fresh = self.classes(self.look()) - before
        refused = {(job, self.frontier.place(url)[1]) for url, _ in added.refused}
        assert fresh.total() == added.accepted
        assert added.known == len(offers) - added.accepted - len(added.refused)
        taken = dict(fresh.keys())
        assert len(taken) == added.accepted
        groups = list(dict.fromkeys((host, cls) for _, host, cls in urls))  # a call goes by them
        for url, host, cls in sorted(urls, key=lambda each: groups.index(each[1:])):
            key = (job, self.frontier.place(url)[1])
            if key in refused:
                buffer = self.real.buffers.get((keys.tag(self.part(host)), job), [])
                assert len(buffer) >= self.limits[job].buffer
            else:
                assert key in taken or key in self.model.host
            if key in taken:
                self.accept(key, host, cls, taken.pop(key))
        assert not taken
        assert not force or len({url for url, _, _ in urls}) == added.accepted + len(refused)
        self.model.known[job] += added.known

    def accept(self, key: Key, host: str, offered: int, cls: int) -> None:
        """A URL was accepted, perhaps demoted: by a budget that is used up, as far as we know."""
        job, domain = key[0], "." + ".".join(host.split(".")[-2:])
        limits, kept = self.limits[job], self.kept
        if offered != cls:
            assert cls == 3
            assert limits.host_budget or limits.domain_budget or limits.domain_hosts
            self.demoted[job] += 1
        if cls < 3:
            kept[job, host] += 1
            kept[job, domain] += 1
            assert kept[job, host] <= limits.host_budget or not limits.host_budget
            assert kept[job, domain] <= limits.domain_budget or not limits.domain_budget
            its = [h for j, h in kept if j == job and h.endswith(domain) and h != domain]
            assert len(its) <= limits.domain_hosts or not limits.domain_hosts
        self.model.accept(key, host, cls)

    def classes(self, real: Reality) -> Counter[tuple[Key, int]]:
        """All that is at rest but not waiting, by URL and class."""
        found = real.entries(self.store)
        return Counter(((job, fp_of(entry)), class_of(entry)) for _, job, _, entry in found)

    def aside(self, real: Reality) -> Counter[Key]:
        """URLs in segments that could not be read."""
        found = real.entries(self.store)
        return Counter((job, fp_of(entry)) for place, job, _, entry in found if place == "aside")

    # -- leases

    def lease(
        self,
        worker: str,
        jobs: Sequence[str],
        partitions: Sequence[int],
        *,
        hosts: int = 4,
        urls: int = 8,
        again: bool = False,
    ) -> Grant:
        """Ask for hosts; ``again``: the call is repeated, as when its reply was lost."""
        quiet = {p for p in partitions if self.silent(p)}
        self.model.reap({host for host in HOSTS if self.part(host) in {*partitions} - quiet})
        weights = {"one": 1, "two": 3}
        with Recorder(self.frontier.driver) as recorder:
            call = self.frontier.lease(
                worker, jobs, partitions, hosts=hosts, urls=urls, ttl=TTL / 1000, weights=weights
            )
            grant = self.do(call)
        for lease in grant.leases:
            assert lease.partition not in quiet
            assert 0 < len(lease.urls) <= urls
            assert len(lease.urls) == 1 or self.model.delay[lease.host] <= 5_000
            self.granted(worker, lease)
        if again:
            homes = {keys.home(lease.partition) for lease in grant.leases}
            before = self.look().raw
            assert self.do(recorder.again(homes)) == recorder.replies(homes)
            assert self.look().raw == before
        return grant

    def granted(self, worker: str, lease: Lease) -> None:
        """A lease or a claim was had."""
        model = self.model
        assert self.ready(lease.host) <= model.now
        assert round(lease.state.delay * 1000) == model.delay[lease.host]
        urls = [(lease.job, leased.fp) for leased in lease.urls]
        assert len(urls) < 2 or not any(leased.request.losses for leased in lease.urls)
        for key, leased in zip(urls, lease.urls, strict=True):
            if key not in model.forced:
                assert leased.request.losses == model.losses[key]
                assert leased.request.attempts == model.attempts[key]
        if urls and not self.limits[lease.job].newest_first:
            self.in_turn(lease.host, urls)
        model.grant(lease.host, lease.job, lease.token, model.now + TTL, urls)
        self.leases.append((worker, lease))

    def in_turn(self, host: str, granted: list[Key]) -> None:
        """First come, first served, within a class, as long as a URL was never out."""
        order, aside = self.model.order, self.aside(self.look())
        turns = [order[key] for key in granted if key in order]
        assert turns == sorted(turns)
        last = dict(turns)
        for key, (cls, turn) in order.items():
            if self.model.host[key] == host and key[0] == granted[0][0] and turn < last.get(cls, 0):
                assert key in aside or key in granted or not self.model.rest[key], (
                    f"{key} came before {granted}"
                )

    def claim(self, worker: str, job: str, host: str) -> None:
        """A contact that no queue holds: it comes before whatever is queued."""
        quiet, url = self.silent(self.part(host)), parse(f"http://{host}/robots.txt")
        lease, wait = self.do(self.frontier.claim(worker, job, url, ttl=TTL / 1000))
        free = host not in self.model.held and self.ready(host) <= self.model.now
        assert (lease is not None) == (free and not quiet)
        if lease is None:
            assert wait > 0
        else:
            self.granted(worker, lease)

    def renew(self, leases: set[Lease]) -> None:
        """Hold on to what is still held."""
        kept = self.do(self.frontier.renew(leases, TTL / 1000))
        for lease in leases:
            held = self.model.held.get(lease.host)
            alive = held and held.token == lease.token and held.deadline > self.model.now
            assert (kept[lease] is not None) == bool(alive)
            if alive and held:
                held.deadline = self.model.now + TTL

    def begin(self, lease: Lease) -> None:
        """A suspect is worked on from now."""
        current = self.model.current(lease.host, lease.token)
        assert self.do(self.frontier.begin(lease)) == current
        if current:
            self.model.held[lease.host].begun = True

    def report(
        self,
        worker: str,
        lease: Lease,
        results: Results,
        *,
        doubled: bool = False,
        wait: int = 0,
        delay: int = 0,
        free: bool = True,
    ) -> None:
        """Say what became of URLs; a lost lease or segment means that nothing changes."""
        sent = [UrlResult(fp, a, s, r, ms / 1000) for fp, (a, s, r, ms) in results.items()]
        if doubled:
            sent += [UrlResult(result.fp, "return") for result in sent]
        into = {segment for action, segment, *_ in results.values() if action == "pending"}
        stale = not self.model.current(lease.host, lease.token)
        shut = bool(into & (self.model.fenced | self.model.sealed))
        state = HostState(delay=delay / 1000)
        call = self.frontier.report(lease, sent, state=state, wait=wait / 1000, free=free)
        if not stale and not shut:
            self.do(call)
            told = {(lease.job, fp): what for fp, what in results.items()}
            self.model.report(lease.host, told, wait=wait, delay=delay, free=free)
            return
        before = self.look().raw
        with pytest.raises(StaleLease if stale else FencedSegment):
            self.do(call)
        assert self.look().raw == before
        if self.segments[worker, lease.job] in into and shut:
            self.turn_over(worker, lease.job)

    # -- segments

    def turn_over(self, worker: str, job: str) -> None:
        """Begin another segment."""
        name, n = self.segments[worker, job].rsplit("-", 1)
        self.segments[worker, job] = f"{name}-{int(n) + 1}"

    def seal(self, segment: str) -> None:
        """Close a segment: what is pending on it becomes rows."""
        call = self.frontier.seal(segment, ALL)
        if segment in self.model.fenced:
            with pytest.raises(FencedSegment):
                self.do(call)
        else:
            fps = {fp for found in self.do(call).values() for fp in found}
            assert {key[1] for key, _ in self.model.pending[segment]} <= fps
            self.model.sealed.add(segment)

    def settle(self, segment: str, piece: int = 0) -> None:
        """A sealed segment is in the table: count it, wholly or in part, once or more."""
        worker, job, _ = segment.split("-")
        if self.segments[worker, job] == segment:
            self.turn_over(worker, job)
        self.committed.add(segment)
        if piece:
            self.do(self.by_piece("settle", segment, piece))
        else:
            self.do(self.frontier.settle(segment, ALL))
        left = self.look().pending.get(segment, Counter())
        assert piece or not left
        self.model.settle(segment, left.copy())

    async def by_piece(self, script: str, segment: str, most: int, *more: int) -> list[Any]:
        """One call to each partition, of a client that then dies."""
        args = [self.frontier.now, segment, most, *more]
        calls: list[Call] = [(script, keys.home(p), args) for p in ALL]
        return await self.frontier.driver.scripts(calls)

    def requeue(self, segment: str, *, aborted: bool, piece: int = 0) -> None:
        """Recovery gives up the segment of an owner who seems dead, and may come back."""
        before, had = self.look().raw, len(self.model.pending[segment])
        if piece:
            call = self.by_piece("requeue", segment, piece, int(aborted))
            refused = any(left < 0 for left, _ in self.do(call))
        else:
            again = self.do(self.frontier.requeue(segment, aborted=aborted))
            refused = again.sealed
            assert again.urls == (0 if refused else had)
        model, real = self.model, self.look()
        assert refused == (segment in model.sealed - model.fenced and not aborted)
        if refused:
            assert real.raw == before
        else:
            model.requeue(segment, real.pending.get(segment, Counter()).copy())

    # -- spilling

    def spilled(self, job: str, p: int, batch: SpillBatch, count: int) -> None:
        """The first of a batch are in the store; another spiller may have been first."""
        segment, items = f"s{len(self.store)}", batch.items[:count]
        groups: dict[tuple[int, str], list[bytes]] = {}
        self.store[segment] = groups
        for item in items:
            groups.setdefault((item.cls, item.host), []).append(item.entry)
        flat = [(cls, host, len(entries)) for (cls, host), entries in groups.items()]
        before = self.look().raw
        args = (job, p, batch.offset, len(items), segment, flat)
        done = self.do(self.frontier.tails.spill_done(*args))
        assert done == (int(before[keys.home(p)].get(f"of:{job}", 0)) == batch.offset)
        assert done or self.look().raw == before

    def wanted(self, job: str, p: int) -> list[RefillWant]:
        """Hosts that run low and whose URLs are in the store."""
        cap = self.limits[job].host_cap
        wants = self.do(self.frontier.tails.refill_wanted(job, p, cap=cap))
        return [want for want in wants if want.segment]

    def refill(self, job: str, p: int, want: RefillWant, most: int, *, lost: bool = False) -> None:
        """What a host lacked has been read, or cannot be; another may have been first."""
        before = self.look()
        cursor = f"{want.segment}\t{want.total}\t{want.consumed}"
        first = before.cursors.get((job, want.cls, want.host), [""])[0] == cursor
        last = want.consumed + min(want.room, most)
        entries = self.store[want.segment][want.cls, want.host][want.consumed : last]
        if lost:
            n = self.do(self.frontier.tails.spill_quarantine(job, p, want))
            assert n == (want.total - want.consumed if first else 0)
        else:
            assert self.do(self.frontier.tails.refill(job, p, want, entries)) == first
        assert first or self.look().raw == before.raw
