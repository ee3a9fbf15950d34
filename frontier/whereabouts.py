"""Where one URL of a job is: a look into every place that invariant 4 of the design names.

Reads page by page and changes nothing, so it is safe on a busy frontier of any size. A URL may
move while the places are looked at one after another; :func:`find` then looks once more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from frontier import entry, inspect, keys
from frontier.client import Frontier
from frontier.model import CrawlRequest
from frontier.spill import object_key
from frontier.spillfile import SpillDamaged, SpillSegment
from frontier.url import Url

PAGE: Final = 1000  # entries read at a time
LOOKS: Final = 2  # at all places, where a URL that was seen is nowhere

Objects = Callable[[str], bytes | None]  # spilled segments by key; None: there is none


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A URL's place in a job."""

    visit: int  # which visit this is about
    seen: bool  # the job's seen-set holds it
    place: str = ""  # queued | leased | pending | waiting | spilled; "": nowhere
    request: CrawlRequest | None = None  # as it stands there
    ahead: int | None = None  # with queued: URLs of its host and class before it
    due: float | None = None  # with waiting: unix seconds
    segment: str = ""  # with pending: whose commit it waits for; with spilled: "" is the buffer
    reason: str = ""  # with pending: what its row will say; "" done


async def find(
    frontier: Frontier, job: str, url: Url, visit: int = 1, objects: Objects = lambda _: None
) -> Whereabouts:
    """Where a visit of a URL is; without ``objects`` spilled segments are not looked into.

    Raises FrontierError, and what ``objects`` raises.
    """
    p, fp = frontier.place(url, visit)
    found = await frontier.driver.script("seen", keys.home(p), [frontier.now, job, fp])
    if found != b"1":
        return Whereabouts(visit, seen=False)
    look = _Look(frontier, job, url, visit, fp, keys.tag(p), objects)
    for _ in range(LOOKS):
        for place in (look.leased, look.queued, look.waiting, look.pending, look.spilled):
            where = await place()
            if where is not None:
                return where
    return Whereabouts(visit, seen=True)


@dataclass(frozen=True, slots=True)
class _Look:
    """One URL that is looked for."""

    frontier: Frontier
    job: str
    url: Url
    visit: int
    fp: str
    tag: str  # prefix of its partition's keys
    objects: Objects

    def _is(self, line: str) -> bool:
        return line.split("\t", 3)[2:3] == [self.fp]

    def _at(self, line: str) -> CrawlRequest:
        return entry.unpack(line, self.url.host).request

    async def _list(self, key: str) -> AsyncIterator[str]:
        """A list's items, a page at a time."""
        first, page = 0, [b""] * PAGE
        while len(page) == PAGE:
            page = await self.frontier.driver.command("LRANGE", key, first, first + PAGE - 1)
            first += PAGE
            for item in page:
                yield item.decode()

    async def leased(self) -> Whereabouts | None:
        view = await inspect.host(self.frontier, self.url)
        if view.lease_ends is None or view.job != self.job:
            return None
        blob = await self.frontier.driver.command("GET", f"{self.tag}:u:{self.url.host}") or b""
        for line in blob.decode().splitlines():
            if self._is(line):
                return Whereabouts(self.visit, True, "leased", self._at(line))
        return None

    async def queued(self) -> Whereabouts | None:
        for cls in range(4):
            before = 0
            async for line in self._list(f"{self.tag}:q:{self.job}:{cls}:{self.url.host}"):
                if self._is(line):
                    request = self._at(line)
                    return Whereabouts(self.visit, True, "queued", request, ahead=before)
                before += 1
        return None

    async def _scan(self, command: str, *args: str) -> AsyncIterator[tuple[bytes, Any]]:
        """A hash's fields and values, or a sorted set's members and scores."""
        key, *more = args
        cursor: Any = 0
        while True:
            found = await self.frontier.driver.command(command, key, cursor, *more, "COUNT", PAGE)
            cursor, page = found
            for pair in page.items() if isinstance(page, dict) else page:
                yield pair
            if not int(cursor):
                return

    async def waiting(self) -> Whereabouts | None:
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self.url.host) + "\n*"
        key = f"{self.tag}:w:{self.job}"
        async for member, due in self._scan("ZSCAN", key, "MATCH", pattern):
            line = member.decode().partition("\n")[2]
            if self._is(line):
                when = float(due) / 1000
                return Whereabouts(self.visit, True, "waiting", self._at(line), due=when)
        return None

    async def pending(self) -> Whereabouts | None:
        async for name, state in self._scan("HSCAN", f"{self.tag}:g"):
            if state.decode().split("\n")[1:2] != [self.job]:
                continue
            segment = name.decode()
            async for heading, blob in self._scan("HSCAN", f"{self.tag}:p:{segment}"):
                host, *lines = blob.decode().split("\n")
                line = next(filter(self._is, lines), None)
                if host == self.url.host and line is not None:
                    reason = heading.decode().split("\t")[3]
                    return Whereabouts(
                        self.visit, True, "pending", self._at(line), segment=segment, reason=reason
                    )
        return None

    async def spilled(self) -> Whereabouts | None:
        async for item in self._list(f"{self.tag}:o:{self.job}"):
            _, host, line = item.split("\n")
            if host == self.url.host and self._is(line):
                return Whereabouts(self.visit, True, "spilled", self._at(line))
        for cls in range(4):
            async for cursor in self._list(f"{self.tag}:z:{self.job}:{cls}:{self.url.host}"):
                segment, total, consumed = cursor.split("\t")
                for line in await self._stored(segment, cls, int(consumed), int(total)):
                    if self._is(line):
                        request = self._at(line)
                        return Whereabouts(self.visit, True, "spilled", request, segment=segment)
        return None

    async def _stored(self, segment: str, cls: int, consumed: int, total: int) -> list[str]:
        """What a spilled segment still holds of the host; nothing where it cannot be read."""
        key = object_key(int(self.tag[2:-1]), segment)
        data = await asyncio.to_thread(self.objects, key)
        try:
            stored = SpillSegment.parse(data or b"")
            entries = stored.read(cls, self.url.host, consumed, total - consumed)
        except SpillDamaged:  # `comity frontier stats` counts it
            return []
        return [raw.decode() for raw in entries]
