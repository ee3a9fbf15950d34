"""The way of links into the frontier: filtered, batched, acknowledged.

A fingerprint enters the filter of recently added links only after the frontier acknowledged it,
so a failed call loses nothing. A segment is sealed after :meth:`Links.flush`: by then every
outlink of its pages has been acknowledged, or, where the frontier takes no more for now, travels
with the segment (docs/decisions/0007).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final

from crawler.worker.watch import Watch
from frontier.client import Added, Frontier
from frontier.model import CrawlRequest, FrontierBusy, FrontierError, Limits
from frontier.url import InvalidUrl, Url, parse
from storage.blob import StorageError

BATCH: Final = 256  # links that are worth a call at once
LATENCY: Final = 0.25  # seconds a link waits for company
FAILED: Final = 0.5  # seconds after a failed call before the next one
FILTER: Final = 200_000  # recently added links remembered
CROWD: Final = 20_000  # waiting links above which fetching pauses
TAKEN: Final = 1_000  # links of a segment that are offered at a time

packed: Callable[[CrawlRequest], tuple[Any, ...]] = attrgetter(*CrawlRequest.__struct_fields__)
"""A request as it travels with a segment: its fields in order, which only ever grow at the end."""


def unpacked(values: Sequence[Any]) -> tuple[Url, CrawlRequest]:
    """A request from :func:`packed`; StorageError for anything else."""
    try:
        request = CrawlRequest(*values)
        return parse(request.url), request
    except (TypeError, InvalidUrl) as error:
        raise StorageError(f"not an outlink: {values!r:.200}") from error


class Links:
    """Outgoing links of one job; for one event loop."""

    def __init__(
        self, frontier: Frontier, job: str, limits: Limits, watch: Watch | None = None
    ) -> None:
        self._frontier = frontier
        self._job = job
        self._limits = limits
        self.watch = watch  # looks for traps; None: nobody does
        self._waiting: dict[str, tuple[Url, CrawlRequest]] = {}  # by fingerprint
        self._known: dict[str, None] = {}  # ordered: the oldest go first
        self._since = 0.0  # when the oldest waiting link came
        self._rest = 0.0  # time.monotonic() until which the frontier takes no more
        self._lock = asyncio.Lock()
        self.on_added: Callable[[Added], None] | None = None  # told what adds came to

    def offer(self, url: Url, request: CrawlRequest) -> bool:
        """Take a link in scope, which goes out with the next flush; False if it has been taken."""
        _, fp = self._frontier.place(url, request.visit)
        if fp in self._known or fp in self._waiting:
            return False
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting[fp] = (url, request)
        return True

    def forget(self) -> None:
        """The frontier may have lost what it acknowledged: let links be new again."""
        self._known.clear()

    @property
    def waiting(self) -> bool:
        """Whether links wait that the frontier would take."""
        return bool(self._waiting) and time.monotonic() >= self._rest

    @property
    def due(self) -> bool:
        """Whether it is time to flush."""
        if not self.waiting:
            return False
        return len(self._waiting) >= BATCH or time.monotonic() - self._since >= LATENCY

    @property
    def crowded(self) -> bool:
        """Whether so many links wait that no more pages should be fetched for now."""
        return len(self._waiting) >= CROWD

    async def flush(self) -> None:
        """Return when every link offered so far is acknowledged.

        Raises FrontierBusy when the frontier takes no more for now, FrontierError when it fails.
        """
        async with self._lock:
            if not self._waiting:
                return
            batch = dict(self._waiting)
            offers, demoted = await self.watch.judge(batch) if self.watch else (batch, {})
            try:
                added = await self._frontier.add(self._job, offers.values(), limits=self._limits)
            except FrontierError as error:
                rest = error.retry_after if isinstance(error, FrontierBusy) else FAILED
                self._rest = time.monotonic() + rest
                raise
            if self.watch:
                self.watch.added(offers, demoted, added.new)
            refused = {url for url, _ in added.refused}
            for fp, (url, _) in batch.items():
                if url not in refused:
                    self._waiting.pop(fp, None)
                    self._known[fp] = None
            while len(self._known) > FILTER:
                del self._known[next(iter(self._known))]
        self._rest = time.monotonic() + added.retry_after
        self._tell(added)

    async def take_in(self, batches: Iterator[list[Any]]) -> None:
        """Offer links that travelled with a segment; errors as for :meth:`flush`, and StorageError.

        After an error it may be called again, from the beginning.
        """
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            for i in range(0, len(batch), TAKEN):
                offers = [unpacked(values) for values in batch[i : i + TAKEN]]
                self._tell(await self._frontier.add(self._job, offers, limits=self._limits))

    async def let_travel(self, batches: Iterator[list[Any]]) -> None:
        """Wait no longer for links that travel with a segment: it brings them in later."""
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            for values in batch:
                url, request = unpacked(values)
                self._waiting.pop(self._frontier.place(url, request.visit)[1], None)

    def _tell(self, added: Added) -> None:
        """Say where hosts are due, and whether all were taken."""
        if self.on_added is not None:
            self.on_added(added)
        if added.refused:
            message = f"the frontier takes no more links of job {self._job} for now"
            raise FrontierBusy(message, added.retry_after)
