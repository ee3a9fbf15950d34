"""What a connection survives: bodies cut short, tarpits, floods, bombs and things not HTTP."""

from __future__ import annotations

import asyncio
import gzip
import random
import resource
import socket
import struct
import time

import brotli
import pytest

from crawler.fetch.client import Client
from crawler.fetch.exchange import FetchError

from .conftest import MakeClient
from .servers import Server, Visit, answer, says


async def failure(client: Client, url: str) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await client.fetch(url)
    return caught.value


# -- cut short, and kept


async def test_an_endless_body_is_cut_at_the_cap(make_client: MakeClient) -> None:
    async def script(visit: Visit) -> None:
        visit.writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            visit.writer.write(b"x" * 65536)
            await visit.writer.drain()

    async with Server(script) as server:
        got = await make_client(max_body=1_000_000).fetch(server.url())
    assert (len(got.payload), got.truncated) == (1_000_000, "length")


async def test_a_body_of_just_the_cap_is_whole(make_client: MakeClient) -> None:
    async with Server(answer(b"x" * 1000)) as server:
        client = make_client(max_body=1000)
        assert (await client.fetch(server.url())).truncated is None


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\npart",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nnot a size\r\n",
    ],
)
async def test_a_body_that_ends_early_is_kept(make_client: MakeClient, raw: bytes) -> None:
    async with Server(says(raw, close=True)) as server:
        got = await make_client().fetch(server.url())
    assert (got.payload, got.truncated) == (b"part", "disconnect")


async def test_a_coded_body_that_ends_early_keeps_what_decodes(make_client: MakeClient) -> None:
    whole = b"".join(b"%d " % (n * n) for n in range(20_000))
    coded = brotli.compress(whole)[:-100]
    for raw in (
        answer(coded, "Content-Encoding: br"),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n" + coded,
    ):
        async with Server(says(raw, close=True)) as server:
            got = await make_client().fetch(server.url())
        assert got.truncated == "disconnect"
        assert len(got.payload) > 1000
        assert whole.startswith(got.payload)


async def test_a_body_without_length_must_end_with_a_fin(make_client: MakeClient) -> None:
    async def script(visit: Visit) -> None:
        visit.writer.write(b"HTTP/1.1 200 OK\r\n\r\npart")
        await visit.writer.drain()
        if visit.path == "/reset":
            await asyncio.sleep(0.05)  # let the part through before the reset overtakes it
            sock = visit.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        visit.writer.transport.abort()

    async with Server(script) as server:
        client = make_client()
        assert (await client.fetch(server.url("/fin"))).truncated is None
        got = await client.fetch(server.url("/reset"))
    assert (got.payload, got.truncated) == (b"part", "disconnect")


async def test_a_body_too_long_in_coming_is_cut_by_the_clock(make_client: MakeClient) -> None:
    async def script(visit: Visit) -> None:
        visit.writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            visit.writer.write(b"x" * 1000)
            await asyncio.sleep(0.02)

    async with Server(script) as server:
        got = await make_client(total=1.4, grace=0.5, window=0.5).fetch(server.url())
    assert got.truncated == "time"
    assert len(got.payload) >= 1000
    assert 1.35 < got.seconds < 20


# -- failures, each with its reason


async def drip(visit: Visit, start: bytes) -> None:
    visit.writer.write(start)
    while True:
        visit.writer.write(b"x")
        await visit.writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
async def test_a_tarpit_is_too_slow(make_client: MakeClient, start: bytes) -> None:
    async def script(visit: Visit) -> None:
        await drip(visit, start)

    async with Server(script) as server:
        client = make_client(min_rate=1000, grace=0.2, window=0.2)
        error = await failure(client, server.url())
    assert error.reason == "too-slow"


async def test_a_stalled_body_is_too_slow(make_client: MakeClient) -> None:
    async def script(visit: Visit) -> None:
        visit.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 50_000)
        await asyncio.sleep(60)

    async with Server(script) as server:
        client = make_client(min_rate=100, grace=0.1, window=0.1)
        assert (await failure(client, server.url())).reason == "too-slow"


async def test_silence_is_a_timeout(make_client: MakeClient) -> None:
    async def script(visit: Visit) -> None:
        await asyncio.sleep(60)

    async with Server(script) as server:
        clock = time.monotonic()
        for limits in ({"first_byte": 0.2, "grace": 0.1}, {"total": 0.2, "first_byte": 30}):
            assert (await failure(make_client(**limits), server.url())).reason == "timeout"
    assert time.monotonic() - clock < 14  # the other bounds are 15 s and more


async def test_a_head_too_long_in_coming_is_a_timeout(make_client: MakeClient) -> None:
    async def script(visit: Visit) -> None:
        await drip(visit, b"HTTP/1.1 200 OK\r\nX: ")

    async with Server(script) as server:
        client = make_client(min_rate=1, grace=0.5, window=0.5, total=1.4)
        assert (await failure(client, server.url())).reason == "timeout"


async def flood_lines(visit: Visit) -> None:
    visit.writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        visit.writer.write(b"X-Flood: 1\r\n" * 100)
        await visit.writer.drain()


async def flood_value(visit: Visit) -> None:
    visit.writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        visit.writer.write(b"x" * 10_000)
        await visit.writer.drain()


async def flood_interim(visit: Visit) -> None:
    while True:
        visit.writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10)
        await visit.writer.drain()


@pytest.mark.parametrize(
    "script",
    [
        flood_lines,
        flood_value,
        flood_interim,
        says(answer(b"ok", *[f"X-{n}: 1" for n in range(250)])),
        says(answer(b"ok", *["X: " + "y" * 1500 for _ in range(100)])),
        says(answer(b"ok", "X: " + "y" * 120_000)),
    ],
    ids=["lines", "value", "interim", "many", "total", "long"],
)
async def test_a_flood_of_headers_is_stopped(make_client: MakeClient, script: object) -> None:
    async with Server(script) as server:  # type: ignore[arg-type]
        error = await failure(make_client(), server.url())
    assert error.reason == "header-flood"
    if script is flood_interim:
        assert error.partial is None  # there was no answer
        return
    assert error.partial is not None  # what came of it, as far as it can be kept
    assert (error.partial.status, error.partial.payload) == (200, b"")
    assert error.partial.truncated == "length"
    assert sum(len(n) + len(v) for n, v in error.partial.headers) <= 16_384


async def test_large_but_lawful_heads_pass(make_client: MakeClient) -> None:
    lines = ["Set-Cookie: " + "y" * 20_000, *[f"X-{n}: 1" for n in range(150)]]
    async with Server(answer(b"ok", *lines)) as server:
        got = await make_client().fetch(server.url())
    assert len(got.headers) == 152


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"<html>no head</html>\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_protocol_error(make_client: MakeClient, raw: bytes) -> None:
    async with Server(says(raw, close=True)) as server:
        error = await failure(make_client(), server.url())
    assert error.reason == "protocol-error"
    assert "\n" not in error.detail


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nX: part"])
async def test_hanging_up_before_the_body_is_a_reset(make_client: MakeClient, raw: bytes) -> None:
    async with Server(says(raw, close=True)) as server:
        assert (await failure(make_client(), server.url())).reason == "reset"


async def test_a_closed_port_is_refused(make_client: MakeClient) -> None:
    async with Server(answer()) as server:
        url = server.url()
    assert (await failure(make_client(), url)).reason == "refused"


async def test_a_body_that_does_not_decode(make_client: MakeClient) -> None:
    async with Server(answer(b"<html>plain</html>", "Content-Encoding: gzip")) as server:
        error = await failure(make_client(), server.url())
    assert error.reason == "bad-encoding"
    assert error.partial is not None
    assert (error.partial.status, error.partial.truncated) == (200, "unspecified")
    assert ("Content-Encoding", "gzip") in error.partial.headers


async def test_what_decodes_of_a_body_is_kept(make_client: MakeClient) -> None:
    coded = bytearray(gzip.compress(random.Random(1).randbytes(2_000_000)))
    coded[-8:] = bytes(8)  # its checksum
    async with Server(answer(bytes(coded), "Content-Encoding: gzip")) as server:
        error = await failure(make_client(), server.url())
    assert error.reason == "bad-encoding"
    assert error.partial is not None
    assert error.partial.payload.startswith(random.Random(1).randbytes(50_000))


async def test_a_bomb_is_defused_in_bounded_memory(make_client: MakeClient) -> None:
    coded = brotli.compress(b"\0" * 500_000_000, quality=1)
    async with Server(answer(coded, "Content-Encoding: br")) as server:
        client = make_client()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        error = await failure(client, server.url())
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert error.reason == "bomb"
    assert error.partial is not None
    assert (len(error.partial.payload), error.partial.truncated) == (1_000_000, "length")
    assert after - before < 30_000  # KB
