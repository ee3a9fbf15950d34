"""scrapy-redis doing what the frontier is measured at: `pip install scrapy-redis`.

Its queue and dupefilter as its scheduler uses them: one request at a time, the dupefilter first.
Its classes are synchronous, so there is one call in flight, as in a crawl.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import redis

from benchmarks.clients import Done
from benchmarks.machine import BenchmarkError
from benchmarks.urls import url

_FILTER, _QUEUE = "bench:dupefilter", "bench:requests"


def available() -> bool:
    """Whether it is installed."""
    return importlib.util.find_spec("scrapy_redis") is not None


class ScrapyRedis:
    """Its default queue (a sorted set by priority) and its dupefilter (a set of SHA-1)."""

    def __init__(self, address: str) -> None:
        if not available():
            raise BenchmarkError("scrapy-redis is not installed: pip install scrapy-redis")
        from scrapy_redis.dupefilter import RFPDupeFilter
        from scrapy_redis.queue import PriorityQueue

        self._server = redis.Redis.from_url(address)
        self._filter = RFPDupeFilter(self._server, _FILTER)
        spider: Any = SimpleNamespace(name="bench", parse=None)
        self._queue = PriorityQueue(self._server, spider, _QUEUE)

    def add(self, numbers: Sequence[int], hosts: int) -> Done:
        """Offer the URLs of ``numbers``."""
        from scrapy import Request

        requests = [
            Request(url(n, hosts), priority=-3, meta={"depth": 3, "via": url(n + 1, hosts)})
            for n in numbers
        ]
        wall, cpu, added = time.perf_counter(), time.process_time(), 0
        for request in requests:
            if not self._filter.request_seen(request):
                self._queue.push(request)
                added += 1
        return Done(
            added=added,
            known=len(requests) - added,
            seconds=time.perf_counter() - wall,
            cpu=time.process_time() - cpu,
        )

    def pop(self) -> Done:
        """Take all requests out again; one that is out when its worker dies is lost."""
        wall, cpu, popped = time.perf_counter(), time.process_time(), 0
        while self._queue.pop() is not None:
            popped += 1
        return Done(
            settled=popped, seconds=time.perf_counter() - wall, cpu=time.process_time() - cpu
        )
