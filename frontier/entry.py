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
_KIND_OF = {code: kind for kind, code in _KINDS.items()}


def pack(request: CrawlRequest, fp: str, host: str) -> str:
    """Pack a request whose canonical URL is on ``host``."""
    scheme, _, rest = request.url.partition("://")
    kind = _KINDS[request.kind] + ("s" if scheme == "https" else "h")
    via = request.via.replace("\t", "%09").replace("\n", "%0A")
    return (
        f"{request.attempts}\t{request.losses}\t{fp}\t{request.priority}\t{request.reason}\t"
        f"{request.depth}\t{request.hops}\t{request.visit}\t{kind}\t{via}\t{rest[len(host) :]}"
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
        attempts, losses, fp, priority, reason, depth, hops, visit, kind, via, path = head
        request = CrawlRequest(
            url=f"{'https' if kind[1] == 's' else 'http'}://{host}{path}",
            depth=int(depth),
            kind=_KIND_OF[kind[0]],
            hops=int(hops),
            visit=int(visit),
            via=via,
            attempts=int(attempts),
            losses=int(losses),
            priority=int(priority),
            reason=reason,
            extra=extra,
        )
    except (ValueError, KeyError, IndexError) as error:
        raise FrontierError(f"malformed queue entry for {host}: {entry[:200]!r}") from error
    return LeasedUrl(fp, request)


def _checked(extra: str) -> str:
    if len(extra) > MAX_EXTRA or not _PLAIN.isdisjoint(extra):
        raise FrontierError(f"extra of a request: over {MAX_EXTRA} characters, or with line ends")
    return extra
