"""Endless parts of hosts, made up page by page. Pure.

Invariant: every URL of a trap is linked from pages of one depth only, so that a depth limit cuts a
trap at the same place whatever the order of the crawl (for limits below 28).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from crawler.demo.model import Document, Link, Page
from crawler.demo.text import TextSpec

_DAY: Final = re.compile(r"/calendar/(\d{4})/(\d\d)/(\d\d)")
_ITEM: Final = re.compile(r"/shop/item-(\d{1,3})\?sid=([0-9a-f]{16})")
_SPIRAL: Final = re.compile(r"/spiral/((?:deeper/)*)")
_FIRST_YEAR: Final = 2030
_ITEMS: Final = 12


@dataclass(frozen=True, slots=True)
class Calendar:
    """A day links to the next day and to the same day of the next month, without end."""

    host: str
    depth: int  # of the first day
    prefix: str = "/calendar/"
    entry: str = f"/calendar/{_FIRST_YEAR}/01/01"

    def page(self, path: str) -> Page | None:
        """The page of a day; months have 28 days in this calendar."""
        match = _DAY.fullmatch(path)
        if match is None:
            return None
        year, month, day = (int(part) for part in match.groups())
        if year < _FIRST_YEAR or not 1 <= month <= 12 or not 1 <= day <= 28:
            return None
        months = (year - _FIRST_YEAR) * 12 + month - 1
        links = [self._day(months + 1, day)]
        if day < 28:
            links.append(self._day(months, day + 1))
        content = Document(TextSpec(f"{self.host}{path}", words=60))
        depth = self.depth + months + day - 1
        return Page(
            self.host, path, depth, content, feature="calendar-trap", links=(*links, _home(self))
        )

    def _day(self, months: int, day: int) -> Link:
        year, month = _FIRST_YEAR + months // 12, months % 12 + 1
        return Link(self.host, f"/calendar/{year:04}/{month:02}/{day:02}")


@dataclass(frozen=True, slots=True)
class Sessions:
    """A shop that puts a fresh session id into every link: few items, endless URLs."""

    host: str
    depth: int  # of the first item
    prefix: str = "/shop/"

    @property
    def entry(self) -> str:
        """The first item, as the home page links to it."""
        return self._item(0, "home")

    def page(self, path: str) -> Page | None:
        """An item under any session id; the text is the item's, the links are the session's."""
        match = _ITEM.fullmatch(path)
        if match is None or int(match[1]) >= _ITEMS:
            return None
        item, sid = int(match[1]), match[2]
        links = [
            Link(self.host, self._item((2 * item + step) % _ITEMS, sid + str(step)))
            for step in (1, 2)
        ]
        content = Document(TextSpec(f"{self.host}/shop/{item}", words=200))
        return Page(
            self.host, path, -1, content, feature="session-trap", links=(*links, _home(self))
        )

    def _item(self, item: int, origin: str) -> str:
        sid = hashlib.blake2s(f"{self.host} {origin} {item}".encode(), digest_size=8).hexdigest()
        return f"/shop/item-{item}?sid={sid}"


@dataclass(frozen=True, slots=True)
class Spiral:
    """A relative link without a leading slash that leads one directory deeper each time."""

    host: str
    depth: int  # of the entry
    prefix: str = "/spiral/"
    entry: str = "/spiral/"

    def page(self, path: str) -> Page | None:
        """The same words at every level."""
        match = _SPIRAL.fullmatch(path)
        if match is None:
            return None
        level = match[1].count("/")
        deeper = Link(self.host, path + "deeper/", "relative")
        content = Document(TextSpec(f"{self.host}/spiral", words=150))
        depth = self.depth + level
        return Page(
            self.host, path, depth, content, feature="spiral-trap", links=(deeper, _home(self))
        )


def _home(trap: Calendar | Sessions | Spiral) -> Link:
    return Link(trap.host, "/")
