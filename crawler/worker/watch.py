"""Looks for traps on the way of links into the frontier: one call beside each batch of links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from msgspec.structs import replace

from crawler.job import JobSpec
from crawler.traps import Traps
from frontier.client import Frontier
from frontier.model import CrawlRequest
from frontier.tally import tally
from frontier.url import Url

SLOW = 3  # the class that goes last
Offers = dict[str, tuple[Url, CrawlRequest]]  # by fingerprint


class Watch:
    """The traps of one job, as far as this worker meets them."""

    def __init__(self, frontier: Frontier, job: str, spec: JobSpec, counts: Counter[str]) -> None:
        self._frontier = frontier
        self._job = job
        self._spec = spec
        self._counts = counts
        self._traps = Traps(spec)
        self.fetched = self._traps.fetched

    async def judge(self, offers: Offers) -> tuple[Offers, dict[str, str]]:
        """The same offers, some in the slow class; and why those may be part of a trap.

        What is known is as of now: URLs of one batch do not count for each other. Raises
        FrontierError; what was to be counted is then not counted.
        """
        traps = self._traps
        items = traps.take(url for url, _ in offers.values())
        if items:
            marks = self._spec.max_query_keys
            found = await tally(self._frontier, self._job, items, window=traps.window, marks=marks)
            traps.learn(items, found)
        reasons: dict[str, str] = {}
        for fp, (url, request) in offers.items():
            if request.kind == "page" and (reason := traps.verdict(url)):
                reasons[fp] = reason
        slow = {fp: (offers[fp][0], replace(offers[fp][1], priority=SLOW)) for fp in reasons}
        return offers | slow, reasons

    def added(self, offers: Offers, reasons: dict[str, str], new: Collection[str]) -> None:
        """Count what was new to the frontier."""
        for fp in new:
            self._traps.accepted(offers[fp][0])
            if fp in reasons:
                self._counts[f"demoted:{reasons[fp]}"] += 1
