"""How a URL is packed in a queue: tab-separated text that Lua can split and people can read.

``attempts TAB losses TAB fingerprint TAB class TAB reason TAB payload``, where the payload is
``depth TAB hops TAB visit TAB kind+scheme TAB via TAB path [TAB extra]``; the host is the queue's.
Canonical URLs hold no tab or line feed (WHATWG strips them), so no escaping is needed.
"""

from __future__ import annotations

from typing import Final

from frontier.model import CrawlRequest, FrontierError, LeasedUrl

MAX_EXTRA: Final = 65_536  # characters
_PLAIN: Final = frozenset("\t\r\n")  # what a field cannot hold
_KINDS = {"page": "p", "sitemap": "s"}
_SCHEMES = {"s": "https://", "h": "http://"}
_CODES = {k + s: (kind, _SCHEMES[s]) for kind, k in _KINDS.items() for s in _SCHEMES}


def pack(request: CrawlRequest, fp: str, host: str) -> str:
    """Pack a request whose canonical URL is on ``host``."""
    url, via = request.url, request.via
    secure = url[4] == "s"  # http or https, or it were not canonical
    if "\t" in via or "\n" in via:
        via = via.replace("\t", "%09").replace("\n", "%0A")
    return (
        f"{request.attempts}\t{request.losses}\t{fp}\t{request.priority}\t{request.reason}\t"
        f"{request.depth}\t{request.hops}\t{request.visit}\t"
        f"{_KINDS[request.kind]}{'s' if secure else 'h'}\t{via}\t"
        f"{url[len(host) + (8 if secure else 7) :]}"
        + (f"\t{_checked(request.extra)}" if request.extra else "")
    )


def unpack(entry: str, host: str) -> LeasedUrl:
    """The request and fingerprint of an entry from the queue of ``host``.

    Raises FrontierError when the entry is not one that :func:`pack` wrote.
    """
    try:
        head, extra = entry.split("\t", 11), ""
        if len(head) == 12:
            extra = head.pop()
        attempts, losses, fp, priority, reason, depth, hops, visit, code, via, path = head
        kind, scheme = _CODES[code]
        request = CrawlRequest(  # by place, which is faster: the fields in their order
            f"{scheme}{host}{path}", int(depth), kind, int(hops), int(visit), via,
            int(attempts), int(losses), int(priority), reason, extra,
        )  # fmt: skip
    except (ValueError, KeyError, IndexError) as error:
        raise FrontierError(f"malformed queue entry for {host}: {entry[:200]!r}") from error
    return LeasedUrl(fp, request)


def _checked(extra: str) -> str:
    if len(extra) > MAX_EXTRA or not _PLAIN.isdisjoint(extra):
        raise FrontierError(f"extra of a request: over {MAX_EXTRA} characters, or with line ends")
    return extra
