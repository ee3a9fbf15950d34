"""When a URL is visited again, and what its next visit has to know of the last. Pure.

Kept here: every interval lies within the job's bounds; nothing but a page known to have changed is
visited sooner than before; what is held in memory (:class:`Agenda`) is bounded.

The rates are those of Apache Nutch's AdaptiveFetchSchedule (INC_RATE 0.4, DEC_RATE 0.2 of
nutch-default.xml), the first interval is the geometric mean of the bounds: with the default ones a
little more than a day, as in Heritrix's adaptive revisiting. Conditional requests: RFC 9110 13.1.
No jitter: politeness spread the first visits, so their successors are spread alike.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from crawler.job import JobSpec

GROW: Final = 1.4  # an interval after a visit that found no change, or no page
SHRINK: Final = 0.8  # after one that found a change
DAY: Final = 86_400.0
# What is never asked for again: a site that says "gone" means it; poison kills workers.
GONE: Final = 410
NEVER: Final = frozenset({"poison"})
LONGEST_ETAG: Final = 1_000  # characters; a longer one is not worth sending back
LONGEST_DATE: Final = 100

Outcome = Literal["first", "changed", "same", "failed", "gone"]


class Before(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the last visit left for the next: travels as JSON in ``CrawlRequest.extra``."""

    etag: str = msgspec.field(default="", name="e")  # as it came
    modified: str = msgspec.field(default="", name="m")  # Last-Modified, as it came
    page: str = msgspec.field(default="", name="p")  # page_id of the visit that stored the content
    fetched: float = msgspec.field(default=0.0, name="w")  # and its time, unix seconds
    digest: str = msgspec.field(default="", name="d")  # of the payload; "": nothing to compare with
    text: str = msgspec.field(default="", name="t")  # hex digest of the text
    target: str = msgspec.field(default="", name="r")  # where it redirected to
    interval: float = msgspec.field(default=0.0, name="i")  # seconds; 0: it suggested none

    def packed(self) -> str:
        """Its JSON: no control characters in it."""
        return msgspec.json.encode(self).decode()

    @staticmethod
    def of(extra: str) -> Before | None:
        """What a request brings along; None where that is nothing, or not this."""
        if not extra:
            return None
        try:
            return msgspec.json.decode(extra, type=Before)
        except (msgspec.DecodeError, UnicodeEncodeError):
            return None

    def headers(self) -> dict[str, bytes]:
        """The conditions to send; none without the page that a 304 would stand for."""
        if not self.page:
            return {}
        pairs = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value.encode("latin-1", "replace") for name, value in pairs.items() if value}


def conditions(extra: str) -> dict[str, bytes]:
    """The conditional headers of a request with this luggage."""
    before = Before.of(extra)
    return before.headers() if before else {}


def validators(headers: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """(ETag, Last-Modified) of a response, "" where there is none that can be sent back as it is.

    A weak ETag is as good as any here (RFC 9110 13.1.2: If-None-Match compares weakly).
    """
    found = {"etag": "", "last-modified": ""}
    for name, value in headers:
        lower = name.lower()
        if lower in found and not found[lower]:
            found[lower] = value.strip()
    longest = {"etag": LONGEST_ETAG, "last-modified": LONGEST_DATE}
    good = [
        v if v.isascii() and v.isprintable() and len(v) <= longest[n] else ""
        for n, v in found.items()
    ]
    return good[0], good[1]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a visit came to, as far as recrawls care."""

    status: int = 0  # HTTP status; 0: no answer
    reason: str = ""  # why it is no success
    digest: str = ""  # of the payload
    text: str = ""  # hex digest of the text; "": none
    target: str = ""  # where it redirects to
    conditional: bool = False  # a 304 was asked for


def outcome(before: Before | None, now: Seen) -> Outcome:
    """What a visit means for the next. The same text is the same page, whatever is around it."""
    if now.status == GONE or now.reason in NEVER:
        return "gone"
    if now.status == 304:
        return "same" if now.conditional else "failed"
    if now.status == 0 or now.status >= 400 or now.reason:
        return "failed"
    if before is None or not before.digest:
        return "first"
    if now.target or before.target:
        return "same" if now.target == before.target else "changed"
    same = now.digest == before.digest or (now.text != "" and now.text == before.text)
    return "same" if same else "changed"


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often a job visits; all in seconds."""

    every: float | None  # the interval; None: adaptive
    shortest: float  # the least time between two visits of a URL
    longest: float  # the most, also for one that keeps failing

    @property
    def first(self) -> float:
        """The interval after a first visit."""
        return math.sqrt(self.shortest * self.longest) if self.every is None else self.every

    def next(self, what: Outcome, previous: float) -> float | None:
        """Seconds until the next visit; None: never. ``previous`` is 0 where there was none."""
        if what == "gone":
            return None
        interval = previous or self.first
        if what == "failed":
            return self._bounded(interval * GROW)
        if self.every is not None:
            return self.every
        factor = {"same": GROW, "changed": SHRINK}.get(what, 1.0)
        return self._bounded(interval * factor)

    def due(
        self,
        fetched: npt.NDArray[np.float64],
        intervals: npt.NDArray[np.float64],
        failed: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float64]:
        """When rows are due: unix seconds, from fetch times and suggested intervals (NaN: none).

        The job's bounds of now hold, whichever held when the rows were written.
        """
        known = np.where(np.isnan(intervals), self.first, intervals)
        bounded = np.clip(known, self.shortest, self.longest)
        if self.every is not None:
            bounded = np.where(failed, bounded, self.every)
        due: npt.NDArray[np.float64] = fetched + bounded
        return due

    def _bounded(self, interval: float) -> float:
        return min(max(interval, self.shortest), self.longest)


def schedule(spec: JobSpec) -> Schedule | None:
    """The schedule of a job; None: it visits once."""
    if spec.recrawl == "off":
        return None
    if spec.recrawl == "adaptive":
        return Schedule(None, spec.recrawl_min, spec.recrawl_max)
    every = float(spec.recrawl)
    return Schedule(every, min(every, spec.recrawl_min), max(every, spec.recrawl_max))


def brought_forward(lastmod: float, listed: float, visited: float, plan: Schedule) -> float | None:
    """When a page is due because a sitemap that was fetched at ``listed`` says it has changed.

    None: the page was visited since (also: since the sitemap was, whatever it says), or the date
    is none that can be meant (a day of grace, for time zones). Never sooner after the last visit
    than the shortest interval.
    """
    if min(lastmod, listed) <= visited or lastmod > listed + DAY:
        return None
    return visited + plan.shortest


class Due(NamedTuple):
    """A visit to come; ordered by when."""

    at: float  # unix seconds
    url: str
    visit: int  # its number
    kind: str  # page | sitemap
    depth: int
    hops: int
    via: str
    extra: str  # of the request


def successor(row: Mapping[str, Any], at: float) -> Due:
    """The visit that follows a row of the table of pages (its times as unix seconds)."""
    return Due(
        at,
        row["url"],
        (row["visit"] or 1) + 1,
        "sitemap" if row["kind"] == "sitemap" else "page",
        row["depth"] or 0,
        row["hops"] or 0,
        row["via"] or "",
        before(row).packed(),
    )


def before(row: Mapping[str, Any]) -> Before:
    """What a row leaves for the next visit: validators only of whole, stored content."""
    interval = row["recrawl_interval"] or 0.0
    status = row["fetch_status"] or 0
    if row["reason"] or status >= 400 or (status == 304 and not row["revisit_of"]) or not status:
        return Before(interval=interval)
    known = Before(
        digest=row["content_digest"] or "",
        text=row["text_digest"] or "",
        target=row["redirect_to"] or "",
        interval=interval,
    )
    if status not in (200, 304) or row["content_truncated"]:
        return known
    return msgspec.structs.replace(
        known,
        etag=row["etag"] or "",
        modified=row["last_modified"] or "",
        page=row["revisit_of"] or row["page_id"],
        fetched=row["revisit_time"] or row["fetch_time"],
    )


Key = tuple[float, str, int]
START: Final[Key] = (-math.inf, "", 0)
END: Final[Key] = (math.inf, "", 0)


class Agenda:
    """The visits to come, as many of the earliest as fit.

    Complete below its horizon: of all it was given (or would have been), it holds those; what lies
    beyond was dropped and must be given again when the horizon is reached.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[Due] = []
        self.horizon: Key = START

    def __len__(self) -> int:
        return len(self._heap)

    def open(self) -> None:
        """All that is to come will be given now: complete without end, until it is full."""
        self.horizon = END

    def add(self, due: Due) -> None:
        """Take one in, unless it lies beyond the horizon."""
        if due[:3] >= self.horizon:
            return
        heapq.heappush(self._heap, due)
        if len(self._heap) > 2 * self._most:
            self._heap = heapq.nsmallest(self._most + 1, self._heap)
            self.horizon = self._heap.pop()[:3]

    def due(self, now: float, most: int) -> list[Due]:
        """Take out the earliest of those that are due."""
        found: list[Due] = []
        while self._heap and self._heap[0].at <= now and len(found) < most:
            found.append(heapq.heappop(self._heap))
        return found

    def exhausted(self, now: float) -> bool:
        """Whether visits may be due that it does not hold."""
        return not self._heap_due(now) and self.horizon[0] <= now

    def idle(self, now: float) -> bool:
        """Whether nothing at all is due."""
        return not self._heap_due(now) and self.horizon[0] > now

    def _heap_due(self, now: float) -> bool:
        return bool(self._heap) and self._heap[0].at <= now
