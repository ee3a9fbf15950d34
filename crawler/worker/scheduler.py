"""Scrapy's scheduler over host leases: a hand-over point, not a queue.

What may be fetched, and when, is decided by leases before a request gets here, so the requests
that wait are those of this turn of the event loop. The engine asks by polling every five seconds;
``engine.crawl`` both enqueues and wakes it.
"""

from __future__ import annotations

from collections import deque

from scrapy import Request
from scrapy.core.scheduler import BaseScheduler


class LeaseScheduler(BaseScheduler):
    """First in, first out; everything in it may be contacted now."""

    def __init__(self) -> None:
        self._ready: deque[Request] = deque()

    def has_pending_requests(self) -> bool:
        """Whether requests wait for the engine."""
        return bool(self._ready)

    def enqueue_request(self, request: Request) -> bool:
        """Take a request that is due now."""
        self._ready.append(request)
        return True

    def next_request(self) -> Request | None:
        """The next request, if there is one."""
        return self._ready.popleft() if self._ready else None
