"""Requests are signed when they are written, each anew; judged from what servers got."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crawler.fetch.exchange import FetchError, LeaseExpired
from crawler.keyfile import SigningKey, directory
from crawler.signing import Signer
from tests.verifier import Verified, fields_of, verify

from .conftest import MakeClient
from .proxying import ProxyServer
from .servers import Server, Visit, answer
from .test_dial import Log
from .test_tls import Authority

KEY = SigningKey.of(Ed25519PrivateKey.generate())
PUBLISHED = directory([KEY]).encode()
AGENT = "https://bot.example"
SIGNED = {"signature", "signature-agent", "signature-input"}


def signer() -> Signer:
    return Signer(KEY, AGENT)


def verified(head: bytes) -> Verified:
    found = verify(fields_of(head), PUBLISHED)
    assert found is not None
    return found


async def test_each_request_is_signed_and_recorded_as_it_was_sent(make_client: MakeClient) -> None:
    async with Server(answer()) as server:
        client = make_client(signer=signer())
        # Of a URL only the authority is signed: what else is in it may be as odd as it likes.
        paths = ("/", "/%zz|^{}[]?q='\"<>", "/x?y=1")
        got = [await client.fetch(server.url(path)) for path in paths]
        posted = await client.fetch(server.url("/"), method="POST", body=b"a=b")
    heads = [visit.head for visit in server.visits]
    assert [each.request_head for each in (*got, posted)] == heads
    assert server.visits[-1].body == b"a=b"
    assert len({verified(head).nonce for head in heads}) == len(heads)
    for each in got:
        assert verified(each.request_head).created <= each.started


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_authority_has_its_port_and_brackets(make_client: MakeClient, host: str) -> None:
    async with Server(answer(), host=host) as server:
        got = await make_client(signer=signer()).fetch(server.url())
    name = f"[{host}]" if ":" in host else host
    assert dict(fields_of(server.visits[0].head))["Host"] == f"{name}:{server.port}"
    assert verified(got.request_head)


async def test_a_signature_is_made_after_the_gate_and_not_at_all_where_it_is_shut(
    make_client: MakeClient,
) -> None:
    events: list[str] = []

    class Noting(Signer):
        def sign(self, head: bytes, origin: str) -> bytes:
            events.append("sign")
            return super().sign(head, origin)

    def gate(opens: bool) -> Callable[[], bool]:
        return lambda: events.append("gate") or opens  # type: ignore[func-returns-value]

    async with Server(answer()) as server:
        client = make_client(signer=Noting(KEY, AGENT))
        with pytest.raises(LeaseExpired):
            await client.fetch(server.url(), gate=gate(opens=False))
        assert events == ["gate"]
        await client.fetch(server.url(), gate=gate(opens=True))
    assert events == ["gate", "gate", "sign"]
    assert len(server.visits) == 1


async def test_a_request_is_signed_when_it_is_written_however_long_connecting_took(
    make_client: MakeClient,
) -> None:
    began = int(time.time())

    async def until_the_next_second(_: str) -> None:
        while int(time.time()) == began:
            await asyncio.sleep(0.02)

    async with Server(answer()) as server:
        clocks = Log(step=until_the_next_second)
        got = await make_client(signer=signer()).fetch(server.url(), clocks=clocks)
    assert began < verified(got.request_head).created <= got.started


async def test_headers_of_a_request_do_not_spoil_its_signature(make_client: MakeClient) -> None:
    mine = [
        (b"Signature", b"sig1=:AAAA:"),
        (b"signature-input", b"sig1=()"),
        (b"SIGNATURE-AGENT", b'"https://evil.example"'),
        (b"X-Mine", b"1"),
    ]
    async with Server(answer()) as server:
        await make_client(signer=signer()).fetch(server.url(), headers=mine)
        await make_client().fetch(server.url(), headers=mine)
    ours, theirs = (visit.head for visit in server.visits)
    assert verified(ours).agent == AGENT
    assert b"X-Mine: 1\r\n" in ours
    assert b"evil" not in ours
    assert all(b"\r\n%b: %b\r\n" % header in theirs for header in mine)  # nobody else signs


async def test_unsigned_requests_say_nothing_of_signatures(make_client: MakeClient) -> None:
    async with Server(answer()) as server:
        got = await make_client().fetch(server.url())
    assert got.request_head == server.visits[0].head
    assert not SIGNED & {name.lower() for name, _ in fields_of(got.request_head)}


async def test_what_fails_was_signed_too(make_client: MakeClient) -> None:
    async with Server(answer(b"x" * 10, "Content-Encoding: gzip")) as server:
        with pytest.raises(FetchError) as caught:
            await make_client(signer=signer()).fetch(server.url())
    assert caught.value.partial is not None
    assert caught.value.partial.request_head == server.visits[0].head
    assert verified(server.visits[0].head)


async def test_a_request_after_a_dropped_connection_is_signed_anew(make_client: MakeClient) -> None:
    async def hang_up_once(visit: Visit) -> None:
        if visit.number > 1:
            visit.writer.write(answer())
        else:
            visit.writer.close()

    async with Server(hang_up_once) as server:
        client = make_client(signer=signer())
        with pytest.raises(FetchError):
            await client.fetch(server.url())
        await client.fetch(server.url())
    first, second = (verified(visit.head) for visit in server.visits)
    assert first.nonce != second.nonce


async def test_requests_through_a_proxy_are_signed_for_their_hosts(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path, "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with (
        Server(answer()) as plain,
        Server(answer(), tls=authority.context("good.example")) as secure,
        ProxyServer(
            {
                "a_b.example": ("127.0.0.1", plain.port),
                "good.example": ("127.0.0.1", secure.port),
            },
            credentials="me:s3cret",
        ) as proxy,
    ):
        client = make_client(signer=signer(), proxy=proxy.url("me:s3cret"))
        got = [
            await client.fetch("http://a_b.example/x"),
            await client.fetch("http://a_b.example:81/x"),
            await client.fetch("https://good.example/"),
        ]
    heads = [visit.head for visit in (*plain.visits, *secure.visits)]
    assert [each.request_head for each in got] == heads
    assert [dict(fields_of(head))["Host"] for head in heads] == [
        "a_b.example",
        "a_b.example:81",
        "good.example",
    ]
    assert len({verified(head).nonce for head in heads}) == 3
    assert b"\r\nProxy-Authorization: " in proxy.heads[0]
    assert not SIGNED & {name.lower() for name, _ in fields_of(proxy.heads[-1])}  # CONNECT
