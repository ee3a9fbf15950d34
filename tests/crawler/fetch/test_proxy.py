"""Requests through a trusted proxy, a real one on loopback."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from crawler.fetch.exchange import Exchange, FetchError
from crawler.fetch.proxy import Proxy, ignored

from .conftest import MakeClient
from .proxying import ProxyServer
from .servers import Server, answer
from .test_dial import List, Log
from .test_tls import Authority

AGENT = [(b"User-Agent", b"comity/1")]


async def failure(make_client: MakeClient, proxy: str, url: str, **options: bool) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await make_client(proxy=proxy, **options).fetch(url, headers=AGENT)
    return caught.value


async def test_http_goes_in_absolute_form_on_kept_connections(make_client: MakeClient) -> None:
    async with (
        Server(answer(b"hello")) as server,
        ProxyServer({"a.example": ("127.0.0.1", server.port)}, credentials="me:s3cret") as proxy,
    ):
        client = make_client(allow_private=False, proxy=proxy.url("me:s3cret"))
        for _ in range(2):
            got = await client.fetch("http://a.example/x?y=1", headers=AGENT)
            assert (got.payload, got.ip, got.url) == (b"hello", "", "http://a.example/x?y=1")
    asked = b"GET http://a.example/x?y=1 HTTP/1.1\r\nHost: a.example\r\nUser-Agent: comity/1\r\n"
    assert all(head.startswith(asked) for head in proxy.heads)
    assert (len(proxy.heads), proxy.connections) == (2, 1)
    # What is recorded is what the host got: nothing of the proxy, least of all its password.
    assert got.request_head == server.visits[0].head
    assert b"roxy" not in got.request_head


async def test_https_goes_through_a_tunnel(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path, "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    tls = authority.context("good.example")
    async with Server(answer(b"hello"), tls=tls) as server:
        routes = dict.fromkeys(("good.example", "bad.example"), ("127.0.0.1", server.port))
        async with ProxyServer({**routes}, credentials="me:s3cret") as proxy:
            client = make_client(allow_private=False, proxy=proxy.url("me:s3cret"))
            for _ in range(2):
                got = await client.fetch("https://good.example/", headers=AGENT)
                assert (got.payload, got.ip) == (b"hello", "")
            assert len(server.visits) == 2
            with pytest.raises(FetchError) as caught:
                await client.fetch("https://bad.example/")
            assert caught.value.reason == "tls-name"  # checked from here to the host
    assert (len(proxy.heads), proxy.connections) == (2, 2)
    secret = base64.b64encode(b"me:s3cret")
    assert proxy.heads[0].startswith(b"CONNECT good.example:443 HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic " + secret in proxy.heads[0]
    assert server.visits[0].head == got.request_head


@pytest.mark.parametrize(
    ("status", "reason"),
    [(403, "blocked-address"), (502, "unreachable"), (504, "unreachable"), (407, "proxy-error")],
)
async def test_a_tunnel_that_is_refused(make_client: MakeClient, status: int, reason: str) -> None:
    async with ProxyServer({"a.example": status}) as proxy:
        assert (await failure(make_client, proxy.url(), "https://a.example/")).reason == reason


async def test_trouble_with_the_proxy_is_not_the_hosts(make_client: MakeClient) -> None:
    async with ProxyServer({"a.example": 200}, credentials="me:s3cret") as proxy:
        for url in ("http://a.example/", "https://a.example/"):
            found = await failure(make_client, proxy.url("me:wrong"), url)
            assert found.reason == "proxy-error"
        gone = proxy.url()
    for by in (gone, "http://proxy.invalid:1"):
        for url in ("http://a.example/", "https://a.example/"):
            assert (await failure(make_client, by, url)).reason == "proxy-error"


async def test_literals_are_still_guarded(make_client: MakeClient) -> None:
    async with ProxyServer({"10.0.0.1": 200, "::1": 200}) as proxy:
        for url in ("http://10.0.0.1/", "https://10.0.0.1/", "http://[::1]/"):
            found = await failure(make_client, proxy.url(), url, allow_private=False)
            assert found.reason == "blocked-address"
        for url in ("http://169.254.169.254/", "http://[fd00:ec2::254]/"):
            assert (await failure(make_client, proxy.url(), url)).reason == "blocked-address"
    assert proxy.connections == 0


async def test_no_address_is_known_to_clocks_or_lists(make_client: MakeClient) -> None:
    async with (
        Server(answer()) as server,
        ProxyServer({"a.example": ("127.0.0.1", server.port)}) as proxy,
    ):
        client, log = make_client(proxy=proxy.url()), Log()
        got: Exchange = await client.fetch(
            "http://a.example/", clocks=log, forbids=List({"127.0.0.1"})
        )
    assert got.status == 200
    assert log.events == ["admit", "", ""]


@pytest.mark.parametrize("text", ["", "proxy:3128", "https://proxy:3128", "http://", "http://p/x"])
def test_what_is_no_proxy(text: str) -> None:
    with pytest.raises(ValueError, match="not a proxy's URL"):
        Proxy.parse(text)


def test_proxies_of_the_environment_are_named_unless_one_is_trusted() -> None:
    environ = {"HTTPS_PROXY": "http://p:1", "http_proxy": "http://p:1", "ALL_PROXY": "", "NO": "x"}
    assert ignored(environ, None).startswith("HTTPS_PROXY, http_proxy are ignored, ")
    assert ignored({"ALL_PROXY": "socks5://p"}, None).startswith("ALL_PROXY is ignored, ")
    assert ignored(environ, "http://mine:3128") == ""
    assert ignored({"NO_PROXY": "x"}, None) == ""
