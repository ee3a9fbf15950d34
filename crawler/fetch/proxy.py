"""The trusted proxy: the operator's own, through which all requests go where one is named.

It stands where the address guard stood: names are resolved by it, so which addresses are contacted
is for it to decide, and unknown here. Address literals in URLs are checked all the same. Nothing
but the operator's setting makes a request go through a proxy.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from yarl import URL

_VARIABLES: Final = ("http_proxy", "https_proxy", "all_proxy")
_REFUSES: Final = 403  # the answer to CONNECT by which a proxy keeps an address to itself
_CANNOT: Final = frozenset({502, 503, 504})  # it tried


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy: https goes through a tunnel (RFC 9110 9.3.6), http in absolute form."""

    url: URL  # with credentials, where it wants them

    @staticmethod
    def parse(text: str) -> Proxy:
        """From ``http://[USER:PASSWORD@]HOST[:PORT]``; ValueError for anything else."""
        try:
            url = URL(text)
        except ValueError:
            url = URL()
        if url.scheme != "http" or not url.host or url.path not in ("", "/") or url.query_string:
            raise ValueError("not a proxy's URL (write http://HOST:PORT)")
        return Proxy(url)

    @property
    def host(self) -> str:
        """Its name or address, an IPv6 literal without brackets."""
        return self.url.raw_host or ""

    def forward(self, head: bytes, authority: str) -> bytes:
        """A plain request's head as the proxy gets it (RFC 9112 3.2.2); RFC 9110 11.7.2."""
        method, _, rest = head.partition(b" ")
        head = b"%b http://%b%b" % (method, authority.encode("ascii"), rest)
        if self.url.user is None:
            return head
        secret = base64.b64encode(f"{self.url.user}:{self.url.password or ''}".encode())
        return head[:-2] + b"Proxy-Authorization: Basic " + secret + b"\r\n\r\n"


def tunnel_reason(status: int) -> str:
    """The reason code for a refused CONNECT: the host's, where the proxy could not reach it."""
    if status == _REFUSES:
        return "blocked-address"
    return "unreachable" if status in _CANNOT else "proxy-error"


def ignored(environ: Mapping[str, str], trusted: str | None) -> str:
    """One line about proxies that the environment names and nobody trusts; "" for none."""
    found = [name for name in environ if name.lower() in _VARIABLES and environ[name]]
    if trusted or not found:
        return ""
    are = "is" if len(found) == 1 else "are"
    return (
        f"{', '.join(sorted(found))} {are} ignored, hosts are contacted directly: a proxy would "
        "bypass the address guard; trusted_proxy names one that may"
    )
