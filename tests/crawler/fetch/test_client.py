"""One request, one answer, against servers on loopback that do as they please."""

from __future__ import annotations

import asyncio
import gzip
import time
from dataclasses import dataclass, field

import pytest
import uvloop

from crawler.fetch.client import Client, parse_target, request_head
from crawler.fetch.dns import Resolver
from crawler.fetch.exchange import FetchError, LeaseExpired
from crawler.fetch.wire import Limits
from crawler.mediatypes import DEFAULT, MediaTypes

from .conftest import MakeClient
from .servers import Server, Visit, answer, says

AGENT = [(b"User-Agent", b"comity/1 (+mailto:a@b.example)"), (b"From", b"a@b.example")]


async def failure(client: Client, url: str) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await client.fetch(url, headers=AGENT)
    return caught.value


# -- what is recorded


async def test_an_exchange_is_recorded_as_it_went_over_the_wire(make_client: MakeClient) -> None:
    raw = (
        b"HTTP/1.1 203 Non-Authoritative  Information\r\nsErVeR: odd \r\nX-B: 1\r\n"
        b"X-A: caf\xc3\xa9\r\nx-b: 2\r\nContent-Length: 5\r\n\r\nhello"
    )
    before = time.time()
    async with Server(raw) as server:
        url = server.url("/a%2Fb/?x=%20&&y=#fragment")
        got = await make_client().fetch(url, headers=AGENT)
    assert got.request_head == server.visits[0].head
    assert (
        got.request_head
        == (
            f"GET /a%2Fb/?x=%20&&y= HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            "User-Agent: comity/1 (+mailto:a@b.example)\r\nFrom: a@b.example\r\n"
            "Accept-Encoding: gzip, deflate, br, zstd\r\n\r\n"
        ).encode()
    )
    assert (got.url, got.ip, got.status) == (url, "127.0.0.1", 203)
    assert got.status_line == "HTTP/1.1 203 Non-Authoritative  Information"
    assert got.headers == (
        ("sErVeR", "odd"),
        ("X-B", "1"),
        ("X-A", "cafÃ©"),  # the bytes as ISO-8859-1: nothing lost
        ("x-b", "2"),
        ("Content-Length", "5"),
    )
    assert (got.payload, got.truncated) == (b"hello", None)
    assert before <= got.started <= time.time()
    assert 0 < got.seconds < 20
    assert got.finished_mono <= time.monotonic()


async def test_seconds_run_from_the_write_to_the_end_of_the_body(make_client: MakeClient) -> None:
    async def script(visit: Visit) -> None:
        visit.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        await asyncio.sleep(0.2)
        visit.writer.write(b"b")

    async with Server(script) as server:
        got = await make_client().fetch(server.url())
    assert 0.2 <= got.seconds < 20
    assert got.finished_mono - server.visits[0].at >= 0.19


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_without_a_body(make_client: MakeClient, status: str) -> None:
    raw = f"HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\n\r\n".encode()
    async with Server(raw) as server:
        client = make_client()
        for _ in range(2):
            got = await client.fetch(server.url())
            assert (got.payload, got.truncated) == (b"", None)
        assert server.connections == 1


async def test_an_answer_to_head_has_no_body(make_client: MakeClient) -> None:
    async with Server(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n") as server:
        got = await make_client().fetch(server.url(), method="HEAD")
    assert (got.payload, got.truncated) == (b"", None)
    assert server.visits[0].head.startswith(b"HEAD / HTTP/1.1\r\n")


async def test_a_body_is_sent(make_client: MakeClient) -> None:
    async with Server(answer()) as server:
        client = make_client()
        await client.fetch(server.url(), method="POST", body=b"a=1")
        await client.fetch(server.url(), method="POST")
    assert server.visits[0].body == b"a=1"
    assert b"\r\nContent-Length: 3\r\n" in server.visits[0].head
    assert b"\r\nContent-Length: 0\r\n" in server.visits[1].head


async def test_interim_answers_are_skipped(make_client: MakeClient) -> None:
    raw = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + answer(b"final")
    async with Server(raw) as server:
        got = await make_client().fetch(server.url())
    assert (got.status, got.payload) == (200, b"final")


async def test_redirects_are_not_followed(make_client: MakeClient) -> None:
    async with Server(answer(b"", "Location: /elsewhere", status="302 Found")) as server:
        got = await make_client().fetch(server.url())
        assert (got.status, len(server.visits)) == (302, 1)
    assert ("Location", "/elsewhere") in got.headers


async def test_no_cookie_comes_back(make_client: MakeClient) -> None:
    async with Server(answer(b"", "Set-Cookie: a=b")) as server:
        client = make_client()
        await client.fetch(server.url())
        await client.fetch(server.url())
    assert b"ookie" not in server.visits[1].head


async def test_an_ipv6_literal(make_client: MakeClient) -> None:
    async with Server(answer(), host="::1") as server:
        got = await make_client().fetch(server.url())
    assert got.ip == "::1"
    assert f"\r\nHost: [::1]:{server.port}\r\n".encode() in server.visits[0].head


# -- the request


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/",
        "file:///etc/passwd",
        "data:text/html,x",
        "http:///",
        "http://a.example:0/",
        "http://a.example:65536/",
        "http://a b.example/",
        "http://a.example/a b",
        "http://a.example/\r\nX: y",
        "http://a.example/é",
        "http://ä.example/",
        "http://good.example\\@evil.example/",
        "http://[::1/",
        "//a.example/",
        "",
    ],
)
def test_what_is_not_a_canonical_url_is_refused(url: str) -> None:
    with pytest.raises(FetchError) as caught:
        parse_target(url)
    assert caught.value.reason == "invalid-url"


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("http://a.example", "a.example", 80, "a.example", "/"),
        ("HTTPS://A.example:443/?", "a.example", 443, "a.example", "/?"),
        ("http://u:p@a.example:8080/x#f", "a.example", 8080, "a.example:8080", "/x"),
        ("http://u@x@a.example?q#f?", "a.example", 80, "a.example", "/?q"),
        ("http://[2001:db8::1]:80/", "2001:db8::1", 80, "[2001:db8::1]", "/"),
        ("http://a_b.example/%C3%A9|{}\\", "a_b.example", 80, "a_b.example", "/%C3%A9|{}\\"),
    ],
)
def test_a_url_is_sent_verbatim(url: str, host: str, port: int, authority: str, path: str) -> None:
    target = parse_target(url)
    assert (target.host, target.port, target.authority, target.path) == (
        host,
        port,
        authority,
        path,
    )


def test_headers_that_are_not_the_callers_are_left_out() -> None:
    target = parse_target("http://a.example/")
    mine = [
        (b"Host", b"evil.example"),
        (b"Content-Length", b"7"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"close"),
        (b"Proxy-Authorization", b"Basic eDp5"),
        (b"X-Mine", b"1"),
        (b"accept-encoding", b"identity"),
    ]
    assert request_head("GET", target, mine, 0) == (
        b"GET / HTTP/1.1\r\nHost: a.example\r\nX-Mine: 1\r\naccept-encoding: identity\r\n\r\n"
    )


@pytest.mark.parametrize(
    "header", [(b"X", b"a\r\nY: b"), (b"X", b"a\nb"), (b"X\r\nY", b"a"), (b"", b"a"), (b"X", b"\0")]
)
def test_headers_cannot_inject(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="not a header"):
        request_head("GET", parse_target("http://a.example/"), [header], 0)


def test_methods_cannot_inject() -> None:
    with pytest.raises(ValueError, match="not a method"):
        request_head("GET / HTTP/1.1\r\nX:", parse_target("http://a.example/"), [], 0)


# -- the gate


async def test_the_gate_is_asked_once_right_before_the_write(make_client: MakeClient) -> None:
    asked: list[int] = []
    async with Server(answer()) as server:
        client = make_client()
        for _ in range(2):
            await client.fetch(server.url(), gate=lambda: asked.append(len(server.visits)) is None)
    assert asked == [0, 1]


async def test_nothing_is_written_under_an_expired_lease(make_client: MakeClient) -> None:
    async with Server(answer()) as server:
        client = make_client()
        await client.fetch(server.url())
        with pytest.raises(LeaseExpired, match="/late"):
            await client.fetch(server.url("/late"), gate=lambda: False)
        await client.fetch(server.url("/after"))
    assert [visit.path for visit in server.visits] == ["/", "/after"]


async def test_the_gate_is_not_asked_without_a_connection(make_client: MakeClient) -> None:
    asked: list[bool] = []
    async with Server(answer()) as server:
        url = server.url()
    with pytest.raises(FetchError):
        await make_client().fetch(url, gate=lambda: asked.append(True) is None)
    assert not asked


# -- connections


async def test_a_connection_is_kept_for_the_host(make_client: MakeClient) -> None:
    async with Server(answer()) as server:
        client = make_client()
        for _ in range(5):
            await client.fetch(server.url())
    assert [visit.connection for visit in server.visits] == [1] * 5


@pytest.mark.parametrize("line", ["Connection: close", "Keep-Alive: timeout=1"])
async def test_a_connection_about_to_close_is_not_reused(
    make_client: MakeClient, line: str
) -> None:
    async with Server(answer(b"ok", line)) as server:
        client = make_client()
        for _ in range(2):
            await client.fetch(server.url())
    assert [visit.connection for visit in server.visits] == [1, 2]


async def test_a_connection_closed_while_idle_is_replaced(make_client: MakeClient) -> None:
    async with Server(says(answer(), close=True)) as server:
        client = make_client()
        for _ in range(5):
            await client.fetch(server.url())
    assert [visit.connection for visit in server.visits] == [1, 2, 3, 4, 5]


async def test_a_fin_not_yet_seen_by_the_loop_is_looked_for(make_client: MakeClient) -> None:
    async with Server(answer()) as server:
        client = make_client()
        await client.fetch(server.url())
        server.visits[0].writer.transport.close()  # closes within the loop's next turn
        await asyncio.sleep(0)  # this very turn: the FIN is out, and ours not yet read
        await client.fetch(server.url())
    assert [visit.connection for visit in server.visits] == [1, 2]


async def test_a_request_is_never_sent_twice(make_client: MakeClient) -> None:
    async def script(visit: Visit) -> None:
        if visit.number == 1:
            visit.writer.write(answer())
        else:
            visit.writer.close()  # read, logged, and dropped: the dead-line race at its worst

    async with Server(script) as server:
        client = make_client()
        await client.fetch(server.url())
        error = await failure(client, server.url("/second"))
        assert error.reason == "reset"
        assert [visit.path for visit in server.visits] == ["/", "/second"]


async def test_unasked_bytes_are_not_taken_for_the_next_answer(make_client: MakeClient) -> None:
    async with Server(answer(b"asked")) as server:
        client = make_client()
        await client.fetch(server.url())
        server.visits[0].writer.write(answer(b"poison"))
        await server.visits[0].writer.drain()
        for _ in range(3):
            got = await client.fetch(server.url())
            assert got.payload == b"asked"


async def test_a_body_longer_than_announced_is_cut_and_the_line_dropped(
    make_client: MakeClient,
) -> None:
    async with Server(answer(b"hello") + b" and more") as server:
        client = make_client()
        for _ in range(2):
            got = await client.fetch(server.url())
            assert (got.payload, got.truncated) == (b"hello", None)
    assert [visit.connection for visit in server.visits] == [1, 2]


# -- cancellation


async def test_cancelling_a_fetch_closes_its_connection(make_client: MakeClient) -> None:
    arrived = asyncio.Event()
    gone = asyncio.Event()

    async def script(visit: Visit) -> None:
        arrived.set()
        await visit.writer.wait_closed()
        gone.set()

    async with Server(script) as server:
        fetching = asyncio.create_task(make_client().fetch(server.url()))
        await arrived.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        server.visits[0].writer.transport.abort()
        await asyncio.wait_for(gone.wait(), 60)


# -- the loop that workers run on


def test_on_uvloop() -> None:
    async def main() -> None:
        async with Server(answer()) as server:
            client = Client(Limits(), Resolver(), allow_private=True)
            strict = Client(Limits(), Resolver(), allow_private=False)
            try:
                for _ in range(3):
                    assert (await client.fetch(server.url())).payload == b"ok"
                assert server.connections == 1
                for url in (server.url(), server.url(host="localhost")):
                    assert (await failure(strict, url)).reason == "blocked-address"
                server.visits[0].writer.transport.close()
                await asyncio.sleep(0)
                assert (await client.fetch(server.url())).payload == b"ok"
                assert server.connections == 2
            finally:
                await client.close()
                await strict.close()

    uvloop.run(main())


# -- answers that are not read on

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


@dataclass
class Endless:
    """A script that sends a picture of 50 MB for as long as the client takes it."""

    head: str  # status and Content-Type
    sent: int = 0  # bytes that the kernel took
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)  # the client did

    async def __call__(self, visit: Visit) -> None:
        visit.writer.write(f"HTTP/1.1 {self.head}\r\nContent-Length: 50000000\r\n\r\n".encode())
        piece = PNG + bytes(65_536 - len(PNG))
        try:
            while self.sent < 50_000_000:
                visit.writer.write(piece)
                await visit.writer.drain()
                self.sent += len(piece)
        except ConnectionError:
            self.hung_up.set()


async def cut_off(client: Client, url: str, types: MediaTypes) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await client.fetch(url, refuses=types.refuses)
    assert caught.value.reason == "content-type"
    return caught.value


@pytest.mark.parametrize(
    ("label", "kept"),
    [("image/png", 0), ("text/html", 1445), ("application/octet-stream", 1445), ("", 1445)],
)
async def test_a_large_picture_is_not_transferred(
    make_client: MakeClient, label: str, kept: int
) -> None:
    script = Endless(f"200 OK\r\nContent-Type: {label}" if label else "200 OK")
    async with Server(script) as server:
        problem = await cut_off(make_client(), server.url(), MediaTypes(DEFAULT))
        await asyncio.wait_for(script.hung_up.wait(), 30)
    assert script.sent < 10_000_000  # what the kernel's buffers hold, at most
    assert problem.partial is not None
    assert (problem.partial.status, problem.partial.truncated) == (200, "unspecified")
    assert len(problem.partial.payload) == kept
    assert "image/png" in problem.detail


async def test_what_is_wanted_is_read_to_its_end(make_client: MakeClient) -> None:
    page = b"<!doctype html>" + b"x" * 100_000
    raw = answer(gzip.compress(page), "Content-Encoding: gzip", "Content-Type: x")
    async with Server(raw) as server:
        client = make_client()
        for _ in range(2):
            got = await client.fetch(server.url(), refuses=MediaTypes(DEFAULT).refuses)
            assert (got.payload, got.truncated) == (page, None)
        assert server.connections == 1


async def test_a_short_body_is_looked_at_when_it_ends(make_client: MakeClient) -> None:
    raw = answer(gzip.compress(PNG), "Content-Encoding: gzip", "Content-Type: text/html")
    async with Server(raw) as server:
        problem = await cut_off(make_client(), server.url(), MediaTypes(DEFAULT))
    assert problem.partial is not None
    assert problem.partial.payload == PNG


@pytest.mark.parametrize("status", ["404 Not Found", "503 Service Unavailable", "302 Found"])
async def test_other_answers_than_successes_end_without_their_bodies(
    make_client: MakeClient, status: str
) -> None:
    async with Server(Endless(f"{status}\r\nContent-Type: image/png")) as server:
        got = await make_client().fetch(server.url(), refuses=MediaTypes(DEFAULT).refuses)
    assert (got.status, got.payload, got.truncated) == (int(status[:3]), b"", "unspecified")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_an_answer_without_a_body_has_nothing_to_refuse(
    make_client: MakeClient, status: str
) -> None:
    raw = f"HTTP/1.1 {status}\r\nContent-Type: image/png\r\n\r\n".encode()
    async with Server(raw) as server:
        got = await make_client().fetch(server.url(), refuses=MediaTypes(DEFAULT).refuses)
    assert got.truncated is None
