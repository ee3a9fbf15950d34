"""The address policy, and the socket factory that applies it."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.fetch.guard import BlockedAddress, guarded_socket, meant, refusal

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:0808:0808::1",
]

# Private networks: refused by default, open with allow_private.
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "198.51.100.7",
    "203.0.113.9",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "240.0.0.1",
    "255.255.255.254",
    "::1",
    "fd00::1",
    "fc00::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:7f00:1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a00:1",
    "2002:7f00:1::1",
    "2002:a00:1::",
    "2002:c0a8:101::1",
    "2001:db8::1",
    "3fff::1",
    "2001:2::1",
    "2001:10::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2606:4700::5efe:10.0.0.1",
    "2606:4700::200:5efe:192.168.0.1",
]

# Refused always: nothing to crawl there, or credentials to lose.
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "169.254.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "::",
    "ff02::1",
    "ff0e::1",
    "fe80::1",
    "fe80::1%1",
    "2606:4700::1111%1",
    "fec0::1",
    "fd00:ec2::254",
    "::ffff:0.0.0.0",
    "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "::ffff:224.0.0.1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "4000::1",
    "5f00::1",
]

NAT64 = IPv6Network("64:ff9b::/96")

NOT_ADDRESSES = ["", "localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.0.0.1 ", "1"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_contacted(address: str) -> None:
    assert refusal(address, allow_private=False) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_leave(address: str) -> None:
    assert refusal(address, allow_private=False) is not None
    assert refusal(address, allow_private=True) is None


@pytest.mark.parametrize("address", [*NEVER, *NOT_ADDRESSES])
def test_some_addresses_are_never_contacted(address: str) -> None:
    assert refusal(address, allow_private=False) is not None
    assert refusal(address, allow_private=True) is not None


def test_the_refusal_names_the_embedded_address() -> None:
    said = refusal("64:ff9b::7f00:1", allow_private=False)
    assert said == "64:ff9b::7f00:1 is not globally routable (embeds 127.0.0.1, loopback)"


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_passes_that_python_calls_private(address: IPv4Address) -> None:
    if refusal(str(address), allow_private=False) is None:
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "64:ff9b::{}"]))
def test_a_translated_address_passes_only_if_the_ipv4_address_does(
    address: IPv4Address, form: str
) -> None:
    plain = refusal(str(address), allow_private=False) is None
    assert (refusal(form.format(address), allow_private=False) is None) == plain


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_passes_outside_of_global_unicast(address: IPv6Address) -> None:
    if refusal(str(address), allow_private=False) is None:
        translated = address.ipv4_mapped is not None or address in NAT64
        assert translated or int(address) >> 125 == 1


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("192.0.2.7", ()),
        ("2606:4700::1", ()),
        ("::ffff:192.0.2.7", ("192.0.2.7",)),
        ("64:ff9b::c000:207", ("192.0.2.7",)),
        ("2002:c000:207::1", ("192.0.2.7",)),
    ],
)
def test_an_address_means_what_it_leads_to_as_well(address: str, inside: tuple[str, ...]) -> None:
    assert meant(address) == (address, *inside)


def test_the_factory_makes_sockets_for_permitted_addresses_only() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    with pytest.raises(BlockedAddress) as caught:
        guarded_socket(allow_private=False)(info)
    assert caught.value.refusal == "127.0.0.1 is not globally routable (loopback)"
    with guarded_socket(allow_private=True)(info) as sock:
        assert sock.family == socket.AF_INET
