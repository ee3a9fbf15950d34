"""What one contact with a web server came to: an exchange, a fetch error, or no contact at all.

Invariant kept: every drop has a reason; a ``FetchError`` cannot be made without one of
``frontier.model.REASONS``.
"""

from __future__ import annotations

from dataclasses import dataclass

from frontier.model import REASONS


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, as they went over the wire (chunking and codings undone)."""

    url: str  # the URL asked for, verbatim
    ip: str  # the host's address; "": a proxy alone knows it
    started: float  # unix seconds, just before the request was written
    seconds: float  # from just before the request was written to the end of the body
    finished_mono: float  # time.monotonic() at the end of the body; the host's delay runs from here
    request_head: bytes  # as the host gets it: request line, headers, empty line
    status: int  # HTTP status code
    status_line: str  # "HTTP/1.1 200 OK"
    headers: tuple[tuple[str, str], ...]  # raw order and case; the bytes read as ISO-8859-1
    payload: bytes  # the body with its content codings undone
    truncated: str | None  # WARC-Truncated: length | time | disconnect | unspecified; None: whole


class FetchError(Exception):
    """A contact that gave no usable answer.

    :param reason: one of ``frontier.model.REASONS``
    :param detail: one line for an operator

    ``partial`` is the answer as far as it can be kept, where there was a status line.
    """

    def __init__(self, reason: str, detail: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is not a reason code")
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.partial: Exchange | None = None


class LeaseError(Exception):
    """The request was not sent, because nothing entitles us to contact its host now.

    Not an outcome of the URL: it goes back to the frontier as it was.
    """


class LeaseMissing(LeaseError):
    """The request carries no gate: it did not come out of a lease."""


class LeaseExpired(LeaseError):
    """The gate refused, just before the write: too little of the lease is left."""
