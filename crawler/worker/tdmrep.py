"""TDM files as the fleet knows them: one look per authority and day, after robots.txt.

The file is asked for under the host's lease and clocks, and only if robots.txt lets us. No answer,
or an error, means that the host does not take part, as the protocol has it; but a file that was
read holds until a look says otherwise. Redirects are followed within the host alone.
"""

from __future__ import annotations

import time
import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from crawler.fetch.exchange import Exchange, LeaseError
from crawler.tdmrep import MAX_BODY, NONE, PATH, Reservations, parse
from crawler.worker.hold import LONGEST_SLEEP, Hold, header
from crawler.worker.robots import HOPS
from crawler.worker.rows import redirect_target
from crawler.worker.visit import Answer
from frontier import policy
from frontier.robots import Robots
from frontier.url import InvalidUrl, Url
from frontier.url import parse as parse_url

if TYPE_CHECKING:
    from crawler.worker.process import Worker

REMEMBERED: Final = 20_000  # authorities in this worker's memory
AGAIN: Final = 600.0  # seconds after which a file that could not be had is looked for again


class Copy(msgspec.Struct, frozen=True):
    """A TDM file in Redis."""

    body: bytes  # deflated; empty: there is none
    expires: float  # unix seconds: look again after
    segment: str = ""  # that holds the row of the contact it is from, or may have lost it


class TdmBook:
    """This worker's view of all TDM files; for one event loop."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._known: OrderedDict[str, tuple[float, Reservations]] = OrderedDict()

    async def view(self, url: Url, hold: Hold, robots: Robots) -> Reservations | None:
        """What the URL's authority says, fetching it under ``hold`` if need be.

        None: not now; the host's clock says when.
        """
        authority = f"{url.scheme}://{url.host}"
        known = self._known.get(authority)
        if known is not None and known[0] > time.time():
            return known[1]
        frontier = self._worker.frontier
        blob = await frontier.reservations(url)
        copy = msgspec.msgpack.decode(blob, type=Copy) if blob else None
        lost = copy is not None and await self._worker.robots.lost(copy.segment)
        if copy is None or copy.expires <= time.time() or lost:
            if not robots.verdict(hold.job.product, PATH).allowed:
                return NONE
            answer, segment = await self._fetch(parse_url(PATH, url.url), hold, robots)
            if isinstance(answer, LeaseError):
                return None
            copy = replace(judge(answer, copy, hold.wait), segment=segment)
            blob = msgspec.msgpack.encode(copy)
            await frontier.put_reservations(url, blob, copy.expires - time.time() + AGAIN)
        found = parse(zlib.decompress(copy.body)) if copy.body else NONE
        self._known[authority] = (copy.expires, found)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found if hold.wait <= LONGEST_SLEEP else None

    def forget(self) -> None:
        """Read all copies anew: some may be from contacts whose rows were lost."""
        self._known.clear()

    async def _fetch(self, url: Url, hold: Hold, robots: Robots) -> tuple[Answer, str]:
        """The answer at the end of the redirects, and the segment of its row."""
        for hop in range(HOPS + 1):
            if hop:
                hold.goes_on()
            answer, _, segment = await self._worker.robots.contact(url, hold, 1, kind="tdmrep")
            target = redirect_target(answer) if isinstance(answer, Exchange) else None
            try:
                there = parse_url(target) if target else None
            except InvalidUrl:
                break
            if there is None or there.host != hold.lease.host:
                break
            if not robots.verdict(hold.job.product, there.path).allowed:
                break
            url = there
        return answer, segment


def judge(answer: Answer, before: Copy | None, host_wait: float) -> Copy:
    """The copy that follows from an answer; one that was cut off on its way is none."""
    now = time.time()
    kind = policy.robots_decision(answer.status) if isinstance(answer, Exchange) else "disallow"
    if not isinstance(answer, Exchange) or kind == "disallow" or answer.truncated is not None:
        expires = now + max(AGAIN, host_wait)
        return replace(before, expires=expires) if before else Copy(b"", expires)
    body = answer.payload[:MAX_BODY] if kind == "parse" else b""
    age = policy.cache_seconds(header(answer, "cache-control"))
    return Copy(zlib.compress(body, 6) if body else b"", now + age)
