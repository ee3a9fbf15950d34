"""Scrapy's settings for a worker: the engine without what the frontier does instead.

Off: Scrapy's retry, redirect, robots, AutoThrottle, duplicate filter, cookies, per-slot delays
and remote control. Leases are the only gate, so Scrapy's own limits are raised out of the way.
``CONCURRENT_ITEMS`` at its default starts 100 tasks per response, half of all CPU time.
"""

from __future__ import annotations

import logging
from typing import Any

from scrapy.logformatter import LogFormatter

from crawler.config import FETCH_LIMITS, Settings

NO_LIMIT = 1_000_000


def scrapy_settings(settings: Settings) -> dict[str, Any]:
    """The worker's Scrapy settings."""
    handler = "crawler.fetch.handler.GuardedHandler"
    return {
        "TWISTED_REACTOR_ENABLED": False,
        "DOWNLOAD_HANDLERS_BASE": {},
        "DOWNLOAD_HANDLERS": {"http": handler, "https": handler},
        "DOWNLOADER_MIDDLEWARES_BASE": {},
        "SPIDER_MIDDLEWARES_BASE": {},
        "EXTENSIONS_BASE": {},
        "ITEM_PIPELINES": {
            "crawler.worker.pipelines.ExtractPipeline": 100,
            "crawler.worker.pipelines.ConsentPipeline": 150,
            "crawler.worker.pipelines.DedupePipeline": 200,
            "crawler.worker.pipelines.LinksPipeline": 300,
            "crawler.worker.pipelines.StorePipeline": 400,
        },
        "SCHEDULER": "crawler.worker.scheduler.LeaseScheduler",
        "LOG_FORMATTER": "crawler.worker.settings.QuietFormatter",
        "CONCURRENT_ITEMS": 1,
        "CONCURRENT_REQUESTS": 0,
        "CONCURRENT_REQUESTS_PER_DOMAIN": NO_LIMIT,
        "SCRAPER_SLOT_MAX_ACTIVE_SIZE": 2**40,
        "DOWNLOAD_DELAY": 0,
        "DOWNLOAD_DELAY_JITTER": 0,
        "COOKIES_ENABLED": False,
        "ROBOTSTXT_OBEY": False,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "LOG_ENABLED": False,
        "STATS_DUMP": False,
        "COMITY_PLAIN_RESPONSE": True,
        "COMITY_DNS_SERVER": settings.dns_server or "",
        "COMITY_TRUSTED_PROXY": settings.trusted_proxy or "",
        "COMITY_SIGNING_KEY": settings.signing_key or "",
        "COMITY_SIGNATURE_AGENT": settings.signature_agent or "",
        "COMITY_SIGNATURE_FORM": settings.signature_form,
        **{f"COMITY_{key.upper()}": getattr(settings, key) for key in FETCH_LIMITS},
    }


class QuietFormatter(LogFormatter):
    """Says nothing per request: the table has a row for each, and the counters the sums."""

    def crawled(self, request: Any, response: Any, spider: Any) -> None:  # type: ignore[override]
        """A response came."""

    def scraped(self, item: Any, response: Any, spider: Any) -> None:  # type: ignore[override]
        """An item went through the pipelines."""

    def item_error(self, item: Any, exception: Any, response: Any, spider: Any) -> Any:
        """An item did not: the lease's task is told, and says what there is to say."""
        return super().item_error(item, exception, response, spider) | {"level": logging.DEBUG}
