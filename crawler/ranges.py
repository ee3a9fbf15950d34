"""Networks whose addresses have a delay of their own: shared hosting, CDNs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Network, ip_address, ip_network
from typing import Final

_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052 2.1


class Ranges:
    """Delays by network; the longest prefix decides."""

    def __init__(self, delays: Mapping[str, float]) -> None:
        """``delays``: seconds by network in CIDR notation, as :func:`network` spells it."""
        found = [(ip_network(name), delay) for name, delay in delays.items()]
        self._networks = sorted(found, key=lambda each: -each[0].prefixlen)
        self.delay = lru_cache(maxsize=16_384)(self._delay)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def _delay(self, address: str) -> float | None:
        """Seconds for an address (as :func:`plain` spells it); None: nobody named its network."""
        ip = ip_address(address)
        return next((delay for net, delay in self._networks if ip in net), None)


def network(text: str) -> str:
    """The one spelling of a network; ValueError says what is wrong with it."""
    try:
        return str(ip_network(text.strip()))
    except ValueError as exc:
        raise ValueError(f"not a network: {text!r} ({exc})") from None


@lru_cache(maxsize=16_384)
def plain(address: str) -> str:
    """The one spelling of an address. An IPv6 form of an IPv4 address is that: it is one server.

    ``address`` is numeric, or ValueError.
    """
    ip = ip_address(address)
    if ip.version == 6:
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        if ip in _NAT64:
            return str(ip_address(int(ip) & 0xFFFF_FFFF))
    return str(ip)
