"""The fetcher as a Scrapy download handler.

Invariants kept: one door out (http and https of a crawler share their clients, and there is no
other handler); a request without a live lease is refused, whichever way it came to the downloader.

Settings read: ``COMITY_REQUIRE_LEASE`` (True: refuse requests without a gate),
``COMITY_ALLOW_PRIVATE`` (False), ``COMITY_TRUSTED_PROXY`` (its URL, or ""),
``COMITY_SIGNING_KEY`` (a file, or ""), ``COMITY_SIGNATURE_AGENT`` and ``COMITY_SIGNATURE_FORM``
(see :class:`crawler.signing.Signer`),
``COMITY_DNS_SERVER`` ("IP:PORT", or "" for the system's),
``COMITY_PLAIN_RESPONSE`` (False; True leaves headers, flags and the body's type out of Scrapy's
response, for spiders that read the exchange), and the :class:`~crawler.fetch.wire.Limits` as
``COMITY_CONNECT_TIMEOUT, COMITY_FIRST_BYTE_TIMEOUT, COMITY_TOTAL_TIMEOUT, COMITY_MIN_RATE,
COMITY_RATE_GRACE, COMITY_RATE_WINDOW, COMITY_MAX_BODY, COMITY_MAX_DECODED, COMITY_MAX_RATIO,
COMITY_MAX_HEAD, COMITY_MAX_HEADERS``.

Request meta read: ``gate``, ``clocks``, ``forbids`` and ``refuses`` (see :meth:`Client.fetch`),
``allow_private`` (the job's say; the setting where it is missing), ``proxy`` (refused: a proxy
would contact addresses that the guard never sees). Meta written: ``exchange`` (the
:class:`~crawler.fetch.exchange.Exchange`) and ``download_latency``.

Of Scrapy's own handlers' features these are absent: cookies and redirects (never the handler's
business), per-request bind addresses, ``download_timeout`` and size meta keys (the limits above
hold), and the ``headers_received`` and ``bytes_received`` signals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakValueDictionary

from scrapy.core.downloader.handlers.base import BaseDownloadHandler
from scrapy.exceptions import NotSupported
from scrapy.http import Headers, Response
from scrapy.responsetypes import responsetypes

from crawler.fetch.client import Client, Signs
from crawler.fetch.dns import Resolver
from crawler.fetch.exchange import Exchange, LeaseMissing
from crawler.fetch.proxy import Proxy
from crawler.fetch.wire import Limits

if TYPE_CHECKING:
    from typing import Self

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

_SETTINGS: Final = {
    "connect": "COMITY_CONNECT_TIMEOUT",
    "first_byte": "COMITY_FIRST_BYTE_TIMEOUT",
    "total": "COMITY_TOTAL_TIMEOUT",
    "min_rate": "COMITY_MIN_RATE",
    "grace": "COMITY_RATE_GRACE",
    "window": "COMITY_RATE_WINDOW",
    "max_body": "COMITY_MAX_BODY",
    "max_decoded": "COMITY_MAX_DECODED",
    "max_ratio": "COMITY_MAX_RATIO",
    "max_head": "COMITY_MAX_HEAD",
    "max_headers": "COMITY_MAX_HEADERS",
}
_CODED: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})


def limits_from(settings: BaseSettings) -> Limits:
    """The limits that ``settings`` give, defaults for those they do not."""
    defaults = Limits()
    return Limits(
        **{
            field: type(getattr(defaults, field))(settings.get(name, getattr(defaults, field)))
            for field, name in _SETTINGS.items()
        }
    )


class GuardedHandler(BaseDownloadHandler):
    """Downloads http and https for one crawler; see the module's docstring for its contract.

    Raises, out of ``download_request``: ``FetchError`` (a reason code), ``LeaseError`` (nothing was
    sent), ``scrapy.exceptions.NotSupported`` (a proxy was asked for), ``ValueError`` (a header
    that cannot be sent).
    """

    lazy = True  # the client needs a running event loop: made with the first request

    _of_crawler: ClassVar[WeakValueDictionary[int, GuardedHandler]] = WeakValueDictionary()

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        settings = crawler.settings
        self._require_lease = settings.getbool("COMITY_REQUIRE_LEASE", True)
        self._plain = settings.getbool("COMITY_PLAIN_RESPONSE", False)
        self._allow_private = settings.getbool("COMITY_ALLOW_PRIVATE", False)
        self._limits = limits_from(settings)
        self._dns_server = settings.get("COMITY_DNS_SERVER") or ""
        by = settings.get("COMITY_TRUSTED_PROXY")
        self._proxy = Proxy.parse(by) if by else None
        self._signer = _signer(settings)
        self._clients: dict[bool, Client] = {}  # by whether private addresses may be contacted

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """The crawler's one handler: Scrapy asks once per scheme, and gets the same each time."""
        handler = cls._of_crawler.get(id(crawler))
        if not isinstance(handler, cls):
            handler = cls(crawler)
            cls._of_crawler[id(crawler)] = handler
        return handler

    async def download_request(self, request: Request) -> Response:
        """Fetch once; see :meth:`crawler.fetch.client.Client.fetch`."""
        exchange = await self.fetch(request, request.meta)
        request.meta["exchange"] = exchange
        request.meta["download_latency"] = exchange.seconds
        if self._plain:
            return Response(request.url, status=exchange.status, body=exchange.payload)
        return response_of(exchange)

    async def fetch(self, request: Request, passes: Mapping[str, Any]) -> Exchange:
        """The exchange of a request; ``passes`` is what else would stand in its meta."""
        proxy, gate = request.meta.get("proxy"), passes.get("gate")
        if proxy:
            raise NotSupported(
                f"proxy {proxy!r} refused: it would bypass the address guard; "
                "only an operator's COMITY_TRUSTED_PROXY may"
            )
        if gate is None and self._require_lease:
            raise LeaseMissing(f"{request} did not come out of a lease")
        return await self._client(passes.get("allow_private", self._allow_private)).fetch(
            request.url,
            method=request.method,
            headers=_pairs(request.headers),
            body=request.body,
            gate=gate,
            clocks=passes.get("clocks"),
            forbids=passes.get("forbids"),
            refuses=passes.get("refuses"),
        )

    async def close(self) -> None:
        """Close the clients; called once per scheme."""
        for client in self._clients.values():
            await client.close()

    def _client(self, allow_private: bool) -> Client:
        """The client of jobs that may, or may not, contact private addresses.

        They share no connection, so that one of the first can't serve one of the second.
        """
        client = self._clients.get(allow_private)
        if client is None:
            resolver = Resolver(self._dns_server)
            client = Client(
                self._limits,
                resolver,
                allow_private=allow_private,
                proxy=self._proxy,
                signer=self._signer,
            )
            self._clients[allow_private] = client
        return client


def _signer(settings: BaseSettings) -> Signs | None:
    """The signer that settings ask for; who does not sign does not load what it takes."""
    key_file = settings.get("COMITY_SIGNING_KEY")
    if not key_file:
        return None
    from crawler.signing import signer

    form = settings.get("COMITY_SIGNATURE_FORM") or "string"
    return signer(key_file, settings["COMITY_SIGNATURE_AGENT"], form)


def _pairs(headers: Headers) -> Iterator[tuple[bytes, bytes]]:
    for name, values in headers.items():
        for value in values:
            yield name, value


def response_of(exchange: Exchange) -> Response:
    """A response of the class its type asks for, its body decoded and its framing headers gone."""
    headers = Headers()
    for name, value in exchange.headers:
        if name.lower() not in _CODED:
            headers.appendlist(name.encode("latin-1"), value.encode("latin-1"))
    kind = responsetypes.from_args(headers=headers, url=exchange.url, body=exchange.payload)
    return kind(
        exchange.url,
        status=exchange.status,
        headers=headers,
        body=exchange.payload,
        flags=[] if exchange.truncated is None else ["truncated", exchange.truncated],
        ip_address=ip_address(exchange.ip) if exchange.ip else None,
        protocol=exchange.status_line.partition(" ")[0],
    )
