"""Which addresses a fetch reaches: the guard on every socket, and names that change their mind."""

from __future__ import annotations

import pytest

from crawler.fetch.client import Client
from crawler.fetch.dns import DnsPolicy
from crawler.fetch.exchange import FetchError

from .conftest import MakeClient
from .servers import DnsServer, Server, answer


async def reason(client: Client, url: str) -> str:
    with pytest.raises(FetchError) as caught:
        await client.fetch(url)
    return caught.value.reason


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::1]",
        "[64:ff9b::7f00:1]",
    ],
)
async def test_private_addresses_are_not_contacted(make_client: MakeClient, host: str) -> None:
    async with Server(answer()) as server:
        client = make_client(allow_private=False)
        assert await reason(client, server.url(host=host)) == "blocked-address"
        assert server.connections == 0


async def test_a_mapped_address_is_contacted_where_its_ipv4_address_may_be(
    make_client: MakeClient,
) -> None:
    async with Server(answer()) as server:
        got = await make_client().fetch(server.url(host="[::ffff:127.0.0.1]"))
        assert got.ip == "::ffff:127.0.0.1"


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "[::]", "[fe80::1]"])
async def test_leave_for_private_networks_is_not_leave_for_all(
    make_client: MakeClient, host: str
) -> None:
    assert await reason(make_client(), f"http://{host}:1/") == "blocked-address"


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0177.0.0.1", "0x7f.1", "0x7f000001"])
@pytest.mark.parametrize("allow_private", [False, True])
async def test_odd_notations_reach_nothing(
    make_client: MakeClient, host: str, allow_private: bool
) -> None:
    # The URL parser makes canonical addresses of these; one that slips by must not connect.
    async with DnsServer({}) as dns, Server(answer()) as server:
        client = make_client(allow_private=allow_private, dns_server=dns.address)
        assert await reason(client, server.url(host=host)) in (
            "invalid-url",
            "dns-nxdomain",
            "blocked-address",
        )
        assert server.connections == 0


async def test_names_are_judged_by_what_they_resolve_to(make_client: MakeClient) -> None:
    zone = {"inside.test": [["127.0.0.1"]], "both.test": [["127.0.0.1", "::1", "10.0.0.1"]]}
    async with DnsServer(zone) as dns, Server(answer()) as server:
        client = make_client(allow_private=False, dns_server=dns.address)
        for name in zone:
            assert await reason(client, server.url(host=name)) == "blocked-address"
        assert server.connections == 0


async def test_permitted_addresses_of_a_mixed_name_are_used(make_client: MakeClient) -> None:
    zone = {"mixed.test": [["169.254.169.254", "127.0.0.2"]]}
    async with DnsServer(zone) as dns, Server(answer(), host="127.0.0.2") as server:
        got = await make_client(dns_server=dns.address).fetch(server.url(host="mixed.test"))
        assert got.ip == "127.0.0.2"


async def test_the_address_checked_is_the_address_contacted(make_client: MakeClient) -> None:
    zone = {"rebind.test": [["127.0.0.2"], ["169.254.169.254"], ["127.0.0.3"]]}
    policy = DnsPolicy(min_ttl=0)
    closing = answer(b"ok", "Connection: close")
    async with DnsServer(zone) as dns, Server(closing, host="127.0.0.2") as server:
        client = make_client(dns_server=dns.address, dns_policy=policy)
        url = server.url(host="rebind.test")
        assert (await client.fetch(url)).ip == "127.0.0.2"
        assert dns.count("rebind.test") == 1  # resolved once, and that answer was used
        assert await reason(client, url) == "blocked-address"
        assert dns.count("rebind.test") == 2
        assert server.connections == 1


async def test_a_kept_connection_keeps_its_address(make_client: MakeClient) -> None:
    zone = {"rebind.test": [["127.0.0.2"], ["169.254.169.254"]]}
    policy = DnsPolicy(min_ttl=0)
    async with DnsServer(zone) as dns, Server(answer(), host="127.0.0.2") as server:
        client = make_client(dns_server=dns.address, dns_policy=policy)
        for _ in range(3):
            assert (await client.fetch(server.url(host="rebind.test"))).ip == "127.0.0.2"
        assert dns.count("rebind.test") == 1


async def test_names_fail_with_the_resolvers_reason(make_client: MakeClient) -> None:
    zone = {"broken.test": ["servfail"], "silent.test": ["silent"]}
    async with DnsServer(zone) as dns:
        client = make_client(dns_server=dns.address)
        hasty = make_client(dns_server=dns.address, dns_policy=DnsPolicy(timeout=0.2))
        assert await reason(client, "http://gone.test/") == "dns-nxdomain"
        assert await reason(client, "http://broken.test/") == "dns-servfail"
        assert await reason(hasty, "http://silent.test/") == "dns-timeout"


async def test_the_host_header_is_the_name(make_client: MakeClient) -> None:
    zone = {"one.test": [["127.0.0.2"]], "two.test": [["127.0.0.2"]]}
    async with DnsServer(zone) as dns, Server(answer(), host="127.0.0.2") as server:
        client = make_client(dns_server=dns.address)
        for name in zone:
            await client.fetch(server.url(host=name))
        # Hosts on one address never share a connection: each is a lease of its own.
        assert [visit.connection for visit in server.visits] == [1, 2]
    assert f"\r\nHost: two.test:{server.port}\r\n".encode() in server.visits[1].head


async def test_userinfo_is_not_sent(make_client: MakeClient) -> None:
    async with Server(answer()) as server:
        await make_client().fetch(f"http://user:secret@127.0.0.1:{server.port}/")
    assert b"secret" not in server.visits[0].head
    assert b"uthorization" not in server.visits[0].head
