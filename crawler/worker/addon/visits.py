"""One leased request of a project, from its lease to the end of what its callback puts out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crawler.fetch.exchange import Exchange, LeaseError
from crawler.worker.rows import Findings
from crawler.worker.visit import Visit

if TYPE_CHECKING:
    from crawler.worker.segments import Reserved


class Unasked(LeaseError):
    """Nothing was sent: a middleware of the project had an answer, or would not ask."""


@dataclass(slots=True)
class AddonVisit(Visit):
    """A visit whose answer goes to a callback of the project."""

    exchange: Exchange | None = None  # what can be stored of the answer
    found: Findings = field(default_factory=Findings)  # what is known of it; its outlinks
    attempts: int | None = None  # contacts made, where its row has to be told
    room: Reserved | None = None  # where its row will go, once that was promised
    placing: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while that is decided
    put_out: int = 0  # requests that its callback, or a middleware in its stead, put out
    moved: bool = False  # a middleware put a request in its stead: a redirect, another try
    passes: dict[str, Any] = field(default_factory=dict)  # see Hold.passes

    @property
    def wanted(self) -> bool:
        """Whether the answer is the last one, which is the project's; else it comes again."""
        return not self.decided.cancelled() and self.decided.result()
