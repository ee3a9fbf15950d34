"""Cold tails of queues to object storage and back: invariants 4, 5 and 7 of the design.

What a host has beyond its cap waits in a bounded buffer in the frontier. The spiller puts the
buffer's front to the store as one immutable segment, then one script trims the buffer and registers
a cursor for each class and host. When a queue runs low, the spiller reads on at the oldest cursor,
and one script pushes what was read and advances that cursor. So each URL is in exactly one place,
and any step may be cut short or done by two at once:

- put, not registered: the URLs are still in the buffer, the object is an orphan, which `tidy`
  deletes once the buffer's front has moved past it, so that it cannot be registered any more;
- registered by somebody else first: the buffer has moved on, this object is deleted;
- read, not pushed; or pushed by somebody else first: the cursor tells, nothing changes;
- consumed: the object lives for another hour, so that a replica promoted late finds it again.

Whatever the store raises passes through as it is; nothing has been lost then, ask again later.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from frontier.model import RefillWant, SpillBatch, SpillItem
from frontier.spillfile import SpillDamaged, SpillSegment, write

LEAST: Final = 1000  # URLs that make a segment worth an object
MOST: Final = 10_000  # URLs in a segment
PIECE: Final = 8 * 1024 * 1024  # bytes of entries in a segment, and so in one push
PUSH: Final = 1000  # URLs in one push
CACHE: Final = 32 * 1024 * 1024  # bytes of segments kept in memory
GRACE: Final = 3600.0  # seconds that whoever put an object has to register it, undisturbed
_FIRST: Final = 1000  # URLs to ask for before their size is known; with `extra` they may have 64 KB
_NAME: Final = re.compile(r"(\d{13})-[0-9a-f]{8}")

_log = logging.getLogger("comity.frontier")


class SpillQueue(Protocol):
    """The frontier's side of spilling: a method for each script, hence more than six."""

    async def spill_read(self, job: str, p: int, most: int = MOST) -> SpillBatch:
        """The front of the buffer, with at most 1,000 distinct classes and hosts."""

    async def spill_done(
        self,
        job: str,
        p: int,
        offset: int,
        count: int,
        segment: str,
        groups: Sequence[tuple[int, str, int]],
    ) -> bool:
        """Trim ``count`` items and register their cursors; False: the buffer has moved on."""

    async def spill_known(self, job: str, p: int) -> set[str]:
        """All segments registered and not yet forgotten."""

    async def spill_dead(self, job: str, p: int, most: int = 100) -> list[str]:
        """Segments wholly consumed an hour ago."""

    async def spill_forget(self, job: str, p: int, segments: Sequence[str]) -> None:
        """Segments whose objects are deleted."""

    async def refill_wanted(
        self, job: str, p: int, most: int = 32, *, cap: int = 1000
    ) -> list[RefillWant]:
        """Oldest cursors of hosts whose queues run low, with room up to ``cap`` URLs per host."""

    async def refill(self, job: str, p: int, want: RefillWant, entries: Sequence[bytes]) -> bool:
        """Push entries and advance the cursor by as many; False: stale cursor, nothing changed."""

    async def spill_quarantine(self, job: str, p: int, want: RefillWant) -> int:
        """Set a cursor aside whose URLs cannot be read; how many there are (0: stale cursor)."""


class SpillStore(Protocol):
    """A job's objects. Blocking; safe to call from several threads; raises errors of its own."""

    def put(self, key: str, data: bytes) -> None:
        """Store an object, whole and durable when this returns."""

    def get(self, key: str) -> bytes | None:
        """An object; None if the store says for certain that it has none of that key."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    def list(self, prefix: str) -> Iterable[str]:
        """Keys of all objects below the directory ``prefix``."""


class Spiller:
    """Spills and refills the queues of one job; several may do so at once, in any processes.

    ``cap`` is the job's cap of URLs per host (`Limits.host_cap`), up to which queues are refilled;
    without one, by `PUSH`.
    ``clock`` is unix seconds; nothing but the age of orphans depends on it.
    """

    def __init__(
        self,
        queue: SpillQueue,
        job: str,
        store: SpillStore,
        *,
        cap: int = 1000,
        least: int = LEAST,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._job = job
        self._store = store
        self._cap = cap or PUSH
        self._least = min(least, LEAST)  # a batch of 1,000 hosts may have no more than that
        self._clock = clock
        self._most = _FIRST
        self._cache: OrderedDict[str, SpillSegment] = OrderedDict()  # by key, last used last

    async def flush(self, p: int, *, all: bool = False) -> int:  # noqa: A002 - says it best
        """Spill a partition's buffer until it has less than ``least`` URLs; how many went.

        With ``all``, what is left then too.
        """
        total = 0
        while True:
            batch = await self._queue.spill_read(self._job, p, self._most)
            items = batch.items[: _within(item.entry for item in batch.items)]
            cut = len(items) < len(batch.items)
            enough = cut or len(items) >= min(self._least, self._most)
            if not items or not (enough or all):
                return total
            if not await self._spill(p, batch.offset, items):
                return total  # somebody else is at it
            total += len(items)
            if not enough:
                return total

    async def _spill(self, p: int, offset: int, items: Sequence[SpillItem]) -> bool:
        segment = _new_name(self._clock())
        key = object_key(p, segment)
        data, groups = await asyncio.to_thread(_pack, items)
        self._most = _fitting(items)
        await asyncio.to_thread(self._store.put, key, data)
        queue, job = self._queue, self._job
        # A call that a driver repeated after losing the answer is refused, and has been done.
        done = await queue.spill_done(job, p, offset, len(items), segment, groups)
        if not done and segment not in await queue.spill_known(job, p):
            await asyncio.to_thread(self._store.delete, key)
            return False
        return True

    async def refill(self, p: int) -> int:
        """Bring URLs back to queues of a partition that run low; how many came.

        Does a bounded part of the work: call again until it returns 0. What cannot be read is set
        aside and logged.
        """
        wants = await self._wanted(p)
        if any(not want.segment for want in wants) and await self.flush(p, all=True):
            wants = await self._wanted(p)
        total = 0
        for want in wants:
            if not want.segment:  # its URLs came to the buffer since
                continue
            try:
                entries = await self._read(p, want)
            except SpillDamaged as error:
                await self._set_aside(p, want, error)
                continue
            if entries and await self._queue.refill(self._job, p, want, entries):
                total += len(entries)
        return total

    async def _wanted(self, p: int) -> list[RefillWant]:
        return await self._queue.refill_wanted(self._job, p, cap=self._cap)

    async def _read(self, p: int, want: RefillWant) -> list[bytes]:
        """The next entries of a cursor. Raises SpillDamaged, and what the store raises."""
        segment = await self._segment(object_key(p, want.segment))
        found = segment.count(want.cls, want.host)
        if found != want.total:
            raise SpillDamaged(
                f"it has {found} URLs of {want.host} in class {want.cls}, not {want.total}"
            )
        most = max(0, min(want.room, want.total - want.consumed, PUSH))
        return segment.read(want.cls, want.host, want.consumed, most)

    async def _segment(self, key: str) -> SpillSegment:
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        data = await asyncio.to_thread(self._store.get, key)
        if data is None:
            raise SpillDamaged("it is gone from the store")
        segment = self._cache[key] = SpillSegment.parse(data)
        size = sum(each.size for each in self._cache.values())
        while size > CACHE and len(self._cache) > 1:
            size -= self._cache.popitem(last=False)[1].size
        return segment

    async def _set_aside(self, p: int, want: RefillWant, error: SpillDamaged) -> None:
        self._cache.pop(object_key(p, want.segment), None)
        urls = await self._queue.spill_quarantine(self._job, p, want)
        if urls:
            _log.error(
                "job %s: cannot read spill segment %s: %s; %d URLs of %s set aside",
                self._job,
                object_key(p, want.segment),
                error,
                urls,
                want.host,
            )

    async def tidy(self, p: int) -> int:
        """Delete a partition's consumed segments and orphans; how many objects went.

        Lists the partition's objects: not for every minute.
        """
        queue, job, gone = self._queue, self._job, 0
        while dead := await queue.spill_dead(job, p):
            await self._delete(object_key(p, segment) for segment in dead)
            await queue.spill_forget(job, p, dead)
            gone += len(dead)
        keys = await asyncio.to_thread(lambda: list(self._store.list(f"spill/{p}")))
        orphans = await self._unknown(p, _named_before(keys, self._clock() - GRACE))
        if orphans:
            # Whoever put one may have been suspended since. Its URLs are at the buffer's front, or
            # were: once that has moved, it comes too late to register its object.
            await self.flush(p, all=True)
            orphans = await self._unknown(p, orphans)
            await self._delete(orphans)
        return gone + len(orphans)

    async def _unknown(self, p: int, keys: Sequence[str]) -> list[str]:
        """Those of the keys that no cursor leads to."""
        if not keys:
            return []
        known = {object_key(p, segment) for segment in await self._queue.spill_known(self._job, p)}
        return [key for key in keys if key not in known]

    async def _delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._cache.pop(key, None)
            await asyncio.to_thread(self._store.delete, key)


def _pack(items: Sequence[SpillItem]) -> tuple[bytes, list[tuple[int, str, int]]]:
    """(file, groups as `spill_done` takes them) of items in the buffer's order."""
    groups: dict[tuple[int, str], list[bytes]] = defaultdict(list)
    for item in items:
        groups[item.cls, item.host].append(item.entry)
    return write(groups), [(cls, host, len(entries)) for (cls, host), entries in groups.items()]


def _within(entries: Iterable[bytes]) -> int:
    """How many of the first entries have at most PIECE bytes together; one at least, if any."""
    size = n = 0
    for n, entry in enumerate(entries, 1):
        size += len(entry)
        if size > PIECE:
            return max(1, n - 1)
    return n


def _fitting(items: Sequence[SpillItem]) -> int:
    """How many items of about this size have PIECE bytes together: what to ask for next."""
    mean = sum(len(item.entry) for item in items) // len(items) + 1
    return max(1, min(MOST, PIECE // mean))


def object_key(p: int, segment: str) -> str:
    """Where a spilled segment lies, below its job's place in the store."""
    return f"spill/{p}/{segment}"


def _new_name(now: float) -> str:
    """``<unix ms, 13 digits>-<8 hex>``: sorts by time, unique per call."""
    return f"{int(now * 1000):013d}-{secrets.token_hex(4)}"


def _named_before(keys: Iterable[str], since: float) -> list[str]:
    """Keys of segments named before ``since``; others' objects are none of our business."""
    found = [(key, _NAME.fullmatch(key.rpartition("/")[2])) for key in keys]
    return [key for key, match in found if match and int(match[1]) < since * 1000]
