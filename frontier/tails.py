"""The calls behind spilling: what leaves Redis for the store, and what comes back.

Keeps 4 (in exactly one place): the front of a buffer is trimmed by the call that registers where
it went, fenced by the buffer's offset; what comes back moves its cursor in the same call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from frontier import keys
from frontier.driver import Driver
from frontier.model import FrontierError, RefillWant, SpillBatch, SpillItem

GROUPS: Final = 1_000  # (class, host) pairs per call
PIECE: Final = 500  # entries per call


class Tails:
    """The spilled ends of a frontier's queues, per job and partition."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.now = ""  # as Frontier.now

    async def spill_read(self, job: str, p: int, most: int = 10_000) -> SpillBatch:
        """The front of the buffer, up to 1,000 different classes and hosts."""
        tag = keys.tag(p)
        offset = await self._driver.command("HGET", keys.home(p), f"of:{job}")
        found = await self._driver.command("LRANGE", f"{tag}:o:{job}", 0, most - 1)
        items: list[SpillItem] = []
        groups: set[tuple[int, str]] = set()
        for raw in found:
            cls, host, entry = raw.split(b"\n", 2)
            group = (int(cls), host.decode())
            groups.add(group)
            if len(groups) > GROUPS:
                break
            items.append(SpillItem(*group, entry))
        return SpillBatch(int(offset or 0), tuple(items))

    async def spill_done(
        self,
        job: str,
        p: int,
        offset: int,
        count: int,
        segment: str,
        groups: Sequence[tuple[int, str, int]],
    ) -> bool:
        """Trim ``count`` items that are in the store; False: somebody else was first."""
        flat = [x for group in groups for x in group]
        args = [self.now, job, offset, count, segment, *flat]
        return bool(await self._driver.script("spilled", keys.home(p), args))

    async def refill_wanted(
        self, job: str, p: int, most: int = 32, *, cap: int = 1000
    ) -> list[RefillWant]:
        """Hosts that run low and have spilled URLs; ``cap`` as in Limits.host_cap."""
        found = await self._driver.script("wanted", keys.home(p), [self.now, job, most, cap])
        wants = []
        for host, cls, cursor, room in found:
            segment, total, consumed = cursor.decode().split("\t") if cursor else ("", 0, 0)
            want = RefillWant(host.decode(), cls, segment, int(total), int(consumed), room)
            wants.append(want)
        return wants

    async def refill(self, job: str, p: int, want: RefillWant, entries: Sequence[bytes]) -> bool:
        """Queue entries behind those of the host; False: the cursor has moved, nothing changed."""
        if want.consumed + len(entries) > want.total:
            raise FrontierError(f"spilled segment {want.segment}: more URLs than were put into it")
        for i in range(0, len(entries), PIECE):
            piece = entries[i : i + PIECE]
            if await self._moved(job, p, want, want.consumed + i, piece) < 0:
                return False
        return True

    async def spill_quarantine(self, job: str, p: int, want: RefillWant) -> int:
        """Set aside the rest of a host's URLs in a segment that cannot be read; how many."""
        return max(0, await self._moved(job, p, want, want.consumed, None))

    async def _moved(
        self, job: str, p: int, want: RefillWant, consumed: int, entries: Sequence[bytes] | None
    ) -> int:
        args = [self.now, job, want.cls, want.host, want.segment, want.total, consumed]
        args += [int(entries is None), *(entries or ())]
        return int(await self._driver.script("refill", keys.home(p), args))

    async def spill_dead(self, job: str, p: int, most: int = 100) -> list[str]:
        """Segments used up for an hour: their objects may go, then :meth:`spill_forget`."""
        seconds, _ = await self._driver.command("TIME")
        now = self.now or int(seconds) * 1000
        key = f"{keys.tag(p)}:zd:{job}"
        found = await self._driver.command("ZRANGEBYSCORE", key, "-inf", now, "LIMIT", 0, most)
        return [name.decode() for name in found]

    async def spill_forget(self, job: str, p: int, segments: Sequence[str]) -> None:
        """Forget used up segments whose objects are gone."""
        if segments:
            await self._driver.command("ZREM", f"{keys.tag(p)}:zd:{job}", *segments)

    async def spill_known(self, job: str, p: int) -> set[str]:
        """Segments that are registered, used up ones among them."""
        tag = keys.tag(p)
        live = await self._driver.command("HKEYS", f"{tag}:zs:{job}")
        dead = await self._driver.command("ZRANGE", f"{tag}:zd:{job}", 0, -1)
        return {name.decode() for name in (*live, *dead)}
