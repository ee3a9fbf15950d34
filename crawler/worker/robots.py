"""robots.txt as the fleet knows it: fetched once per authority, under the host's lease, shared.

RFC 9309: 2xx is parsed, 4xx but 429 allows everything, 5xx and 429 forbid everything until a later
look succeeds, unless a file was read in the last 30 days: then that one still holds. Redirects are
followed up to five times across authorities, each under the lease of the host it leads to. A host
that gives no answer at all fails for robots.txt as it would have for the page: nothing of it is
fetched, and the attempt counts as the page's.
"""

from __future__ import annotations

import asyncio
import random
import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from crawler.fetch.exchange import Exchange, FetchError, LeaseError
from crawler.worker.hold import Hold, header
from crawler.worker.rows import redirect_target
from crawler.worker.visit import Answer, Visit, kept
from frontier import policy
from frontier.model import CrawlRequest, HostState, Lease, UrlResult, Verdict
from frontier.robots import ALLOW_ALL, DISALLOW_ALL, MAX_BODY, Robots, parse
from frontier.url import InvalidUrl, Url
from frontier.url import parse as parse_url

if TYPE_CHECKING:
    from crawler.worker.process import Worker

HOPS: Final = 5  # redirects followed (RFC 9309 2.3.1.2)
REMEMBERED: Final = 20_000  # authorities in this worker's memory
KEPT: Final = 172_800.0  # seconds a copy stays in Redis: a day longer than it is fresh, in case
_NO_HOST: Final = frozenset({"failure", "neutral"})  # effects of reasons that mean: no answer
_NO_VERDICT: Final = Verdict(HostState(), 0.0, "retry")  # beside a LeaseError: nothing happened
BUSY: Final = 10.0  # seconds until a host that others keep busy is asked for again
CLAIM_PATIENCE: Final = 30.0  # seconds to wait for another host's lease


@dataclass(frozen=True, slots=True)
class RobotsView:
    """What robots.txt says now of one authority."""

    rules: Robots  # what may be fetched
    status: int = 0  # of the answer it is from; 0: none
    wait: float = 0.0  # > 0: it cannot be had; seconds until the next look
    reason: str = ""  # with wait: robots-unreachable
    failure: Verdict | None = None  # the host did not answer: what follows for the URL


class HostBusy(LeaseError):
    """The host that robots.txt redirects to could not be leased in time.

    :param wait: seconds until it may be contacted, as far as is known
    """

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.wait = wait


class Copy(msgspec.Struct, frozen=True):
    """A robots.txt in Redis."""

    kind: str  # parse | allow | disallow
    status: int  # of the answer; 0: there was none
    body: bytes  # deflated; empty unless it is to be parsed
    expires: float  # unix seconds: look again after
    failures: int = 0  # looks in a row that found it unreachable
    fetched: float = 0.0  # unix seconds: when the file was read; 0: there is none
    segment: str = ""  # that holds the row of the contact it is from, or may have lost it


_Look = tuple[Answer, Verdict, str]  # what came, what follows for the host, segment of its row


class RobotsBook:
    """This worker's view of all robots.txt; for one event loop."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._views: OrderedDict[str, tuple[float, RobotsView]] = OrderedDict()

    async def view(self, url: Url, hold: Hold, attempts_before: int) -> RobotsView:
        """What robots.txt says of the URL's authority, fetching it under ``hold`` if need be.

        ``attempts_before`` counts contacts for the URL: a host that does not answer is one more.
        """
        authority = f"{url.scheme}://{url.host}"
        known = self._views.get(authority)
        if known is not None and known[0] > time.time():
            return _aged(*known)
        blob = await self._worker.frontier.robots(url)
        copy = msgspec.msgpack.decode(blob, type=Copy) if blob else None
        if copy is None or copy.expires <= time.time() or await self.lost(copy.segment):
            attempts = attempts_before + 1
            robots_url = parse_url("/robots.txt", url.url)
            answer, verdict, segment = await self._fetch(robots_url, hold, attempts)
            if isinstance(answer, LeaseError) and not isinstance(answer, HostBusy):
                return RobotsView(DISALLOW_ALL, wait=0.001)
            if isinstance(answer, FetchError) and policy.TABLE[answer.reason].effect in _NO_HOST:
                return RobotsView(DISALLOW_ALL, failure=verdict)
            if isinstance(answer, HostBusy) and answer.wait < BUSY:  # held by another: soon
                return RobotsView(DISALLOW_ALL, wait=BUSY, reason="robots-unreachable")
            elsewhere = answer.wait if isinstance(answer, HostBusy) else 0.0
            copy = replace(judge(answer, copy, max(hold.wait, elsewhere)), segment=segment)
            kept = max(KEPT, copy.expires - time.time())
            await self._worker.frontier.put_robots(url, msgspec.msgpack.encode(copy), kept)
        view = read(copy)
        self._views[authority] = (copy.expires, view)
        while len(self._views) > REMEMBERED:
            self._views.popitem(last=False)
        return _aged(copy.expires, view)

    def forget(self) -> None:
        """Read all copies anew: some may be from contacts whose rows were lost."""
        self._views.clear()

    async def lost(self, segment: str) -> bool:
        """Whether the row of the contact that a copy is from was lost with its worker's disk."""
        return bool(segment) and await self._worker.frontier.registry.was_lost(segment)

    async def _fetch(self, url: Url, hold: Hold, attempts: int) -> _Look:
        """The answer at the end of the redirects, what followed for its host, and its segment."""
        for hop in range(HOPS + 1):
            if url.host == hold.lease.host:
                if hop:
                    hold.goes_on()
                answer, verdict, segment = await self.contact(url, hold, attempts)
            else:
                answer, verdict, segment = await self._elsewhere(url, hold, attempts)
            target = redirect_target(answer) if isinstance(answer, Exchange) else None
            if target is None or hop == HOPS:
                break
            try:
                url = parse_url(target)
            except InvalidUrl:
                break
        return answer, verdict, segment

    async def contact(self, url: Url, hold: Hold, attempts: int, kind: str = "robots") -> _Look:
        """One request for such a file under a lease of its host; its answer becomes a row."""
        visit = Visit(hold.job, url, CrawlRequest(url.url, kind=kind), kind)
        visit.stored.add_done_callback(self._noted)
        answer = await hold.contact(visit)
        if isinstance(answer, LeaseError):
            visit.stored.cancel()
            return answer, _NO_VERDICT, ""
        try:
            verdict = await hold.judge(answer, attempts)
        except BaseException:
            visit.decided.cancel()  # the spider waits for it
            raise
        self._worker.count(visit, answer)
        visit.reason = answer.reason if isinstance(answer, FetchError) else ""
        visit.decided.set_result(kept(answer) is not None)
        if kept(answer) is None:
            visit.stored.cancel()
            return answer, verdict, ""
        await asyncio.wait([visit.stored])
        return answer, verdict, "" if visit.stored.exception() else visit.stored.result().segment

    async def _elsewhere(self, url: Url, hold: Hold, attempts: int) -> _Look:
        """The same under a lease claimed for this one request; LeaseError: it stayed busy."""
        worker, deadline = self._worker, time.monotonic() + CLAIM_PATIENCE
        while True:
            lease, wait = await worker.frontier.claim(
                worker.id, hold.job.name, url, ttl=worker.settings.lease_ttl
            )
            if lease is not None:
                look, wait = await self._claimed(url, hold, lease, attempts)
                if not isinstance(look[0], LeaseError) or not wait:
                    return look
            if not worker.serves(hold.job):
                return LeaseError("the worker or the job is stopping"), _NO_VERDICT, ""
            if time.monotonic() + wait > deadline:
                return HostBusy(f"{url.host} is busy", wait), _NO_VERDICT, ""
            await asyncio.sleep(wait)

    async def _claimed(
        self, url: Url, hold: Hold, lease: Lease, attempts: int
    ) -> tuple[_Look, float]:
        """The request under a claimed lease, and the seconds until that host's next."""
        other = Hold(self._worker, hold.job, lease)
        other.goes_on()
        self._worker.holds.add(other)
        try:
            return await self.contact(url, other, attempts), other.wait
        finally:
            self._worker.holds.discard(other)
            await self._worker.frontier.report(
                other.lease, [], state=other.state, wait=other.wait, free=True
            )

    def _noted(self, stored: asyncio.Future[UrlResult]) -> None:
        """A file that could not be stored loses its row, not the crawl."""
        if not stored.cancelled() and isinstance(error := stored.exception(), Exception):
            self._worker.trouble(error)


def judge(answer: Answer, before: Copy | None, host_wait: float) -> Copy:
    """The copy that follows from an answer, or from one that could not be read.

    A file that was cut off on its way could lack the rule that matters: it is no answer. One cut at
    the size limit is parsed, as the RFC has it. What is no answer leaves the last file that was
    read in force, if that is not too long ago, and only says when to look again.
    """
    now, status = time.time(), answer.status if isinstance(answer, Exchange) else 0
    kind = policy.robots_decision(status)
    if isinstance(answer, Exchange) and answer.truncated in ("disconnect", "time"):
        kind = "disallow" if kind == "parse" else kind
    if kind == "disallow" or not isinstance(answer, Exchange):
        failures = before.failures + 1 if before else 1
        wait = max(policy.robots_retry(failures, random.random()), host_wait)  # noqa: S311 - jitter
        if before and before.kind == "parse" and now < before.fetched + policy.ROBOTS_LAST_GOOD:
            return replace(before, expires=now + wait, failures=failures)
        return Copy("disallow", status, b"", now + wait, failures)
    body = answer.payload[: MAX_BODY + 1] if kind == "parse" else b""
    age = policy.cache_seconds(header(answer, "cache-control"))
    return Copy(kind, status, zlib.compress(body, 6), now + age, fetched=now)


def read(copy: Copy) -> RobotsView:
    """The view of a copy."""
    if copy.kind == "disallow":
        return RobotsView(DISALLOW_ALL, copy.status, 1.0, "robots-unreachable")
    rules = parse(zlib.decompress(copy.body)) if copy.kind == "parse" else ALLOW_ALL
    return RobotsView(rules, copy.status)


def _aged(expires: float, view: RobotsView) -> RobotsView:
    if not view.wait:
        return view
    wait = max(0.05, expires - time.time())
    return RobotsView(view.rules, view.status, wait, view.reason)
