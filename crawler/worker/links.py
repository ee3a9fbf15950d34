"""The way of links into the frontier: filtered, batched, acknowledged.

A fingerprint enters the filter of recently added links only after the frontier acknowledged it,
so a failed call loses nothing. A segment is sealed only after :meth:`Links.flush`: by then every
outlink of its pages has been acknowledged (design, section 2).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from frontier.client import Frontier
from frontier.model import CrawlRequest
from frontier.url import Url

BATCH: Final = 256  # links that are worth a call at once
LATENCY: Final = 0.25  # seconds a link waits for company
FILTER: Final = 200_000  # recently added links remembered


class Links:
    """Outgoing links of one job; for one event loop."""

    def __init__(self, frontier: Frontier, job: str) -> None:
        self._frontier = frontier
        self._job = job
        self._waiting: dict[str, tuple[Url, CrawlRequest]] = {}  # by fingerprint
        self._known: dict[str, None] = {}  # ordered: the oldest go first
        self._since = 0.0  # when the oldest waiting link came
        self._lock = asyncio.Lock()
        self.on_due: Callable[[dict[int, float]], None] | None = None  # told where hosts are due

    def offer(self, url: Url, request: CrawlRequest) -> None:
        """Take a link in scope; it goes out with the next flush."""
        _, fp = self._frontier.place(url)
        if fp in self._known or fp in self._waiting:
            return
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting[fp] = (url, request)

    @property
    def waiting(self) -> bool:
        """Whether links have not been acknowledged yet."""
        return bool(self._waiting)

    @property
    def due(self) -> bool:
        """Whether it is time to flush."""
        if not self._waiting:
            return False
        return len(self._waiting) >= BATCH or time.monotonic() - self._since >= LATENCY

    async def flush(self) -> None:
        """Return when every link offered so far is acknowledged; FrontierError when not."""
        async with self._lock:
            if not self._waiting:
                return
            batch = dict(self._waiting)
            added = await self._frontier.add(self._job, batch.values())
            for fp in batch:
                del self._waiting[fp]
                self._known[fp] = None
            while len(self._known) > FILTER:
                del self._known[next(iter(self._known))]
        if self.on_due is not None:
            self.on_due(added.due)
