"""The demo web as a site: which page a request is for, and how it is answered.

Keeps the one piece of state that the web has: how often each failing URL was asked for.
"""

from __future__ import annotations

import gzip
import math
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from email.utils import formatdate
from types import MappingProxyType
from typing import Final

import brotli
import zstandard

from crawler.demo import render
from crawler.demo.http import Reply, Request
from crawler.demo.log import Entry, RequestLog
from crawler.demo.model import Answer, Host, Page, Raw, SitemapFile, Web

_METHODS: Final = ("GET", "HEAD")


def _raw_deflate(body: bytes) -> bytes:
    """Deflate without the zlib wrapper that RFC 9110 asks for, as some servers send it."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


_CODERS: Final[Mapping[str, tuple[str, Callable[[bytes], bytes]]]] = MappingProxyType(
    {
        "gzip": ("gzip", lambda body: gzip.compress(body, 5, mtime=0)),
        "deflate": ("deflate", lambda body: zlib.compress(body, 6)),
        "deflate-raw": ("deflate", _raw_deflate),
        "br": ("br", lambda body: bytes(brotli.compress(body, quality=4))),
        "zstd": ("zstd", lambda body: zstandard.ZstdCompressor(level=3).compress(body)),
    }
)


class DemoSite:
    """Answers for every host of a web."""

    def __init__(self, web: Web, port: int, log: RequestLog, slowness: float) -> None:
        """Serve a web at a port; delays and drips are multiplied by ``slowness``."""
        self._hosts = {
            host.name if port == 80 else f"{host.name}:{port}": host for host in web.hosts.values()
        }
        self._port = port
        self._log = log
        self._slowness = slowness
        self._asked: Counter[tuple[str, str]] = Counter()
        self.statuses: Counter[int] = Counter()

    def reset(self) -> None:
        """Forget how often failing URLs were asked for: they fail anew."""
        self._asked.clear()

    def respond(self, request: Request) -> Reply:
        """The reply to a request; a name asked for at another host's address gets 421."""
        host = self._hosts.get(request.headers.get("host", "").lower())
        if host is None:
            return _text(404 if "host" in request.headers else 400, "no such host here")
        if host.address != request.address:
            return _text(421, "this host lives at another address")
        if request.method not in _METHODS:
            return _text(405, "only GET and HEAD", ("Allow", ", ".join(_METHODS)))
        page = host.page(request.target)
        if page is None:
            return _text(404, "no such page")
        answer = page.answer
        if answer.failures:
            self._asked[host.name, page.path] += 1
            if self._asked[host.name, page.path] <= answer.failures:
                return self._failure(answer, answer.failure_status, [], None)
        if answer.status >= 400:
            headers = render.headers(page, self._port)
            return self._failure(
                answer, answer.status, headers, render.body(page, host, self._port)
            )
        return self._page(host, page, request.headers.get("accept-encoding", ""))

    def ended(self, request: Request, reply: Reply, end: float, size: int, aborted: bool) -> None:
        """Log a request."""
        retry_at = reply.retry_at or (end + reply.retry_after if reply.retry_after else 0.0)
        self.statuses[reply.status] += 1
        self._log.write(
            Entry(
                host=request.headers.get("host", ""),
                address=request.address,
                method=request.method,
                path=request.target,
                start=request.start,
                end=end,
                status=reply.status,
                user_agent=request.headers.get("user-agent", ""),
                bytes=size,
                port=request.port,
                connection=request.connection,
                retry_at=retry_at,
                aborted=aborted,
            )
        )

    def _failure(
        self, answer: Answer, status: int, headers: list[tuple[str, str]], body: bytes | None
    ) -> Reply:
        found = headers or [("Content-Type", "text/html; charset=utf-8")]
        retry_at = 0.0
        if answer.retry_after and answer.retry_date:
            # Dates have whole seconds: the next one, so that the wait is never shorter.
            retry_at = float(math.ceil(time.time() + answer.retry_after))
            found.append(("Retry-After", formatdate(retry_at, usegmt=True)))
        elif answer.retry_after:
            found.append(("Retry-After", str(answer.retry_after)))
        content = render.error_body(status) if body is None else body
        seconds = 0.0 if retry_at else float(answer.retry_after)
        return Reply(status, found, content, retry_after=seconds, retry_at=retry_at)

    def _page(self, host: Host, page: Page, accepted: str) -> Reply:
        answer = page.answer
        headers = render.headers(page, self._port)
        body = render.body(page, host, self._port)
        coder = _CODERS.get(host.coding)
        if coder and _compressible(page) and coder[0] in codings(accepted):
            body = coder[1](body)
            headers += [("Content-Encoding", coder[0]), ("Vary", "Accept-Encoding")]
        return Reply(
            answer.status,
            headers,
            body,
            delay=answer.delay * self._slowness,
            drip=answer.drip * self._slowness,
            truncated=answer.truncated,
            framing=answer.framing,
        )


def codings(accepted: str) -> frozenset[str]:
    """The content codings that an Accept-Encoding header names and does not refuse with q=0."""
    found = set()
    for part in accepted.lower().split(","):
        name, _, parameter = part.partition(";")
        key, _, weight = parameter.strip().partition("=")
        if not (key.strip() == "q" and weight.strip(" 0.") == ""):
            found.add(name.strip())
    return frozenset(found)


def _compressible(page: Page) -> bool:
    """Cut-off, packed and padded bodies go as they are: their codings would be a fault of ours."""
    content = page.content
    packed = isinstance(content, SitemapFile) and content.gzip
    padded = isinstance(content, Raw) and content.padding > 0
    return page.answer.status == 200 and not (page.answer.truncated or packed or padded)


def _text(status: int, message: str, *headers: tuple[str, str]) -> Reply:
    return Reply(status, [("Content-Type", "text/plain"), *headers], f"{message}\n".encode())
