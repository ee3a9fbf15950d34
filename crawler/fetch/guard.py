"""Which addresses may be contacted, and the check of every socket before it connects.

Invariant kept: one door out. :func:`guarded_socket` is the only maker of sockets that the fetcher
has; it sees the numeric address that the very next call connects to, so neither a name that
resolves differently the second time (DNS rebinding), nor an address literal in a URL, nor a
redirect gets past it.

Sources: the IANA special-purpose address registries (RFC 6890) for IPv4 and IPv6; RFC 4291
2.5.5 (IPv4 in IPv6), RFC 3056 (6to4), RFC 6052 (NAT64), RFC 5214 (ISATAP).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiohappyeyeballs import AddrInfoType


def _v4(**networks: str) -> tuple[tuple[str, IPv4Network], ...]:
    return tuple(
        (label.replace("_", " "), IPv4Network(network))
        for label, value in networks.items()
        for network in value.split()
    )


# Refused even where private networks are allowed: no web server can stand behind these, or what
# answers there hands out a machine's credentials (cloud metadata).
_NEVER_V4: Final = _v4(
    unspecified="0.0.0.0/8",
    multicast="224.0.0.0/4",
    broadcast="255.255.255.255/32",
    cloud_metadata="169.254.169.254/32 100.100.100.200/32 192.0.0.192/32 168.63.129.16/32",
    link_local="169.254.0.0/16",
)
_NOT_GLOBAL_V4: Final = _v4(
    private="10.0.0.0/8 172.16.0.0/12 192.168.0.0/16",
    shared_by_carriers="100.64.0.0/10",
    loopback="127.0.0.0/8",
    protocol_assignments="192.0.0.0/24",
    documentation="192.0.2.0/24 198.51.100.0/24 203.0.113.0/24",
    deprecated_6to4_relay="192.88.99.0/24",
    benchmarking="198.18.0.0/15",
    reserved="240.0.0.0/4",
)

_GLOBAL_V6: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")
_LOOPBACK_V6: Final = IPv6Address("::1")
_UNSPECIFIED_V6: Final = IPv6Address("::")
_METADATA_V6: Final = IPv6Address("fd00:ec2::254")
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})
# Inside 2000::/3 and yet not for the public network.
_NOT_GLOBAL_V6: Final = tuple(
    (label, IPv6Network(network))
    for label, network in (
        ("protocol assignments (Teredo, ORCHID, benchmarking)", "2001::/23"),
        ("documentation", "2001:db8::/32"),
        ("documentation", "3fff::/20"),
    )
)
# What an operator who allows private networks means by them.
_PRIVATE_V6: Final = tuple(ip_network(n) for n in ("::1/128", "fc00::/7"))


class BlockedAddress(OSError):
    """Raised in place of a socket: the address may not be contacted; ``refusal`` says why.

    All instances read the same, so that the connector, which sums up differing failures of a
    name's addresses in an anonymous ``OSError``, hands this one on when all of them are blocked.
    """

    def __init__(self, refusal: str) -> None:
        super().__init__(errno.EACCES, "the address may not be contacted")
        self.refusal = refusal


def refusal(address: str, allow_private: bool) -> str | None:
    """Say why ``address`` may not be contacted, or None when it may.

    An address is contacted only if it is globally routable, and so is any IPv4 address embedded
    in it. Anything that is not a plain numeric address is refused.

    :param address: as handed to ``connect``: dotted quad or IPv6
    :param allow_private: let private, loopback and the like through; multicast, unspecified,
        broadcast, link-local and cloud metadata addresses are refused all the same
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return f"{address!r} is not an address"
    label = _label_v4(ip, allow_private) if ip.version == 4 else _label_v6(ip, allow_private)
    return None if label is None else f"{address} is not globally routable ({label})"


def literal_refusal(hostname: str, allow_private: bool) -> str | None:
    """The same for a URL's host, where it is an address literal: names are resolved first."""
    address = hostname.strip("[]")
    try:
        ip_address(address)
    except ValueError:
        return None
    return refusal(address, allow_private)


def meant(address: str) -> tuple[str, ...]:
    """The address, and any IPv4 address that a translator or tunnel would reach through it."""
    ip = ip_address(address)
    embedded = _embedded(ip) if isinstance(ip, IPv6Address) else None
    return (address,) if embedded is None else (address, str(embedded))


def _label_v4(ip: IPv4Address, allow_private: bool) -> str | None:
    for table in (_NEVER_V4,) if allow_private else (_NEVER_V4, _NOT_GLOBAL_V4):
        for label, network in table:
            if ip in network:
                return label
    return None


def _label_v6(ip: IPv6Address, allow_private: bool) -> str | None:
    if ip.scope_id is not None:
        return "scoped"
    embedded = _embedded(ip)
    if embedded is not None and (label := _label_v4(embedded, allow_private)) is not None:
        return f"embeds {embedded}, {label}"
    if ip.ipv4_mapped is not None or ip in _NAT64:
        return None  # decided by the IPv4 address alone
    if ip == _METADATA_V6:
        return "cloud metadata"
    if allow_private and any(ip in network for network in _PRIVATE_V6):
        return None
    if ip not in _GLOBAL_V6:
        return _kind_v6(ip)
    if not allow_private:
        for label, network in _NOT_GLOBAL_V6:
            if ip in network:
                return label
    return None


def _kind_v6(ip: IPv6Address) -> str:
    if ip == _LOOPBACK_V6:
        return "loopback"
    if ip == _UNSPECIFIED_V6:
        return "unspecified"
    if ip.is_multicast:
        return "multicast"
    if ip.is_link_local:
        return "link local"
    return "outside of global unicast"


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a translator or tunnel would send packets for ``ip`` to."""
    value = int(ip)
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip in _6TO4:
        return IPv4Address((value >> 80) & 0xFFFF_FFFF)
    if ip in _NAT64 or ((value >> 32) & 0xFFFF_FFFF) in _ISATAP:
        return IPv4Address(value & 0xFFFF_FFFF)
    return ip.teredo[1] if ip.teredo is not None else None


def guarded_socket(allow_private: bool) -> Callable[[AddrInfoType], socket.socket]:
    """Make the socket factory of a connector that contacts permitted addresses only.

    The factory raises :class:`BlockedAddress` (an ``OSError``, so that a name's next address is
    tried) instead of making a socket for any other.
    """

    def factory(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, target = info
        reason = refusal(str(target[0]), allow_private)
        if reason is not None:
            raise BlockedAddress(reason)
        return socket.socket(family=family, type=kind, proto=protocol)

    return factory
