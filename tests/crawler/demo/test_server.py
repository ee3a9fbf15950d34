"""The server over real sockets: every feature as the model promises it."""

import asyncio
import gzip
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import brotli
import dns.asyncquery
import dns.message
import pytest
import zstandard

from crawler.demo import DemoError, DemoServer, read, render
from crawler.demo.model import Document, Host, Page, Raw, SitemapFile

WAIT = 60.0  # seconds; far more than anything here takes


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[DemoServer]:
    async with DemoServer(7, "small", log=tmp_path / "log.jsonl", slowness=0.2) as running:
        yield running


@pytest.fixture
async def stuck(tmp_path: Path) -> AsyncIterator[DemoServer]:
    """One whose slow pages take longer than any test."""
    async with DemoServer(7, "small", log=tmp_path / "log.jsonl", slowness=10_000) as running:
        yield running


@dataclass
class Got:
    status: int
    headers: dict[str, str]
    body: bytes
    pieces: int = 1


async def send(server: DemoServer, address: str, raw: bytes) -> Got:
    """Send bytes, read to the end of the connection, no questions asked."""
    async with asyncio.timeout(WAIT):
        reader, writer = await asyncio.open_connection(address, server.port)
        try:
            writer.write(raw)
            data, pieces = b"", 0
            while piece := await reader.read(65536):
                data += piece
                pieces += 1
        finally:
            writer.close()
            await writer.wait_closed()
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Got(int(first.split()[1]), headers, body, pieces)


async def get(
    server: DemoServer, host: Host, path: str, extra: str = "", method: str = "GET"
) -> Got:
    where = f"{host.name}:{server.port}"
    raw = f"{method} {path} HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n{extra}\r\n"
    return await send(server, host.address, raw.encode())


def pages(server: DemoServer, test: Callable[[Page], bool]) -> list[tuple[Host, Page]]:
    found = [(h, p) for h in server.web.hosts.values() for p in h.pages.values() if test(p)]
    assert found
    return found


def plain(body: bytes, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") == "chunked":
        rest, body = body, b""
        while rest != b"0\r\n\r\n":
            size, _, rest = rest.partition(b"\r\n")
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
    decode: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        "gzip": gzip.decompress,
        "br": brotli.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
        "deflate": lambda data: zlib.decompress(data, 15 if data[0] & 0xF == 8 else -15),
    }
    return decode[headers.get("content-encoding", "")](body)


async def test_every_page_is_served_as_the_model_has_it(server: DemoServer) -> None:
    for host in server.web.hosts.values():
        for page in host.pages.values():
            answer = page.answer
            if answer.truncated or answer.failures:
                continue
            got = await get(server, host, page.path, "Accept-Encoding: gzip, br, zstd, deflate\r\n")
            assert got.status == answer.status, page.path
            assert plain(got.body, got.headers) == render.body(page, host, server.port)
            if got.status == 200 and isinstance(page.content, Document):
                declared = page.content.charset.header
                assert ("charset" in got.headers["content-type"]) == bool(declared)
            for name, value in answer.headers:
                assert got.headers[name.lower()] == value.lower()


async def test_traps_are_endless(server: DemoServer) -> None:
    for host in server.web.hosts.values():
        if host.trap is None:
            continue
        path = host.trap.entry
        for _ in range(30):
            page = host.page(path)
            assert page is not None
            path = page.links[0].path
        assert (await get(server, host, path)).status == 200
        assert (await get(server, host, host.trap.prefix + "nonsense")).status == 404


async def test_codings_only_as_accepted(server: DemoServer) -> None:
    seen = set()
    for host in server.web.hosts.values():
        page = host.pages.get("/")
        if page is None or page.answer.status != 200 or not host.coding:
            continue
        coding = host.coding.removesuffix("-raw")
        seen.add(coding)
        assert "content-encoding" not in (await get(server, host, "/")).headers
        refused = await get(server, host, "/", f"Accept-Encoding: {coding};q=0, other\r\n")
        assert "content-encoding" not in refused.headers
        got = await get(server, host, "/", f"Accept-Encoding: {coding.upper()};q=0.5\r\n")
        assert got.headers["content-encoding"] == coding
        assert got.headers["vary"] == "accept-encoding"
    assert "gzip" in seen
    assert len(seen) >= 3


async def test_failing_urls_recover_after_their_count(server: DemoServer) -> None:
    forms = set()
    for host, page in pages(server, lambda page: page.answer.failures > 0):
        answer = page.answer
        for _ in range(answer.failures):
            before = time.time()
            got = await get(server, host, page.path)
            after = time.time()
            assert got.status == answer.failure_status
            header = got.headers.get("retry-after")
            assert (header is not None) == bool(answer.retry_after)
            if header and answer.retry_date:
                until = parsedate_to_datetime(header).timestamp() - answer.retry_after
                assert before <= until < after + 1.5
            elif header:
                assert int(header) == answer.retry_after
            forms.add((answer.failure_status, header and header.isdecimal()))
        assert (await get(server, host, page.path)).status == 200
    assert forms >= {(429, True), (429, False), (429, None), (503, True), (503, False), (503, None)}
    server.reset()
    host, page = pages(server, lambda page: page.answer.failures > 0)[0]
    assert (await get(server, host, page.path)).status == page.answer.failure_status


async def test_slow_answers_take_their_time(server: DemoServer) -> None:
    for host, page in pages(server, lambda page: page.answer.delay > 0):
        start = time.monotonic()
        assert (await get(server, host, page.path)).status == 200
        assert time.monotonic() - start >= page.answer.delay * 0.2


async def test_dripping_bodies_come_in_pieces(server: DemoServer) -> None:
    for host, page in pages(server, lambda page: page.answer.drip > 0):
        start = time.monotonic()
        got = await get(server, host, page.path)
        assert time.monotonic() - start >= page.answer.drip * 0.2 * 0.99
        assert got.pieces >= 4
        assert got.body == render.body(page, host, server.port)


async def test_truncated_bodies_end_before_their_announced_length(server: DemoServer) -> None:
    for host, page in pages(server, lambda page: page.answer.truncated):
        got = await get(server, host, page.path, "Accept-Encoding: gzip, br, zstd, deflate\r\n")
        whole = render.body(page, host, server.port)
        assert got.status == 200
        assert whole.startswith(got.body)
        assert 0 < len(got.body) < len(whole) < int(got.headers["content-length"])
        assert got.body.count(b"<a ") == len(page.links)  # all links lie in what is sent


async def test_framing(server: DemoServer) -> None:
    for host, page in pages(server, lambda page: page.answer.framing == "close")[:1]:
        raw = f"GET {page.path} HTTP/1.1\r\nHost: {host.name}:{server.port}\r\n\r\n"
        got = await send(server, host.address, raw.encode())
        assert got.headers["connection"] == "close"
        assert "content-length" not in got.headers
    for host, page in pages(server, lambda page: page.answer.framing == "chunked")[:1]:
        assert (await get(server, host, page.path)).headers["transfer-encoding"] == "chunked"


async def test_robots_files(server: DemoServer) -> None:
    sizes = {}
    for host in server.web.hosts.values():
        got = await get(server, host, "/robots.txt")
        sizes[host.robots] = len(got.body)
        if host.unreached == "robots-unreachable":
            assert got.status == 503
        elif host.robots_chain:
            assert got.status == 301
            assert host.robots_chain[0].path in got.headers["location"]
        if host.robots == "crlf-bom":
            assert got.body.startswith(b"\xef\xbb\xbf")
            assert b"\r\n" in got.body
        for path in host.sitemaps:
            assert f"Sitemap: http://{host.name}:{server.port}{path}".encode() in got.body
    assert sizes["big"] > 500 * 1024


async def test_sitemaps(server: DemoServer) -> None:
    kinds = set()
    for host, page in pages(server, lambda page: page.kind == "sitemap"):
        assert isinstance(page.content, SitemapFile)
        got = await get(server, host, page.path)
        body = gzip.decompress(got.body) if page.content.gzip else plain(got.body, got.headers)
        for entry in page.content.entries:
            escaped = entry.path.replace("&", "&amp;")
            assert f"<loc>http://{entry.host}:{server.port}{escaped}</loc>".encode() in body
        kinds.add((page.content.index, page.content.gzip))
    assert kinds == {(False, False), (True, False), (False, True)}


async def test_keep_alive_pipelining_and_head(server: DemoServer) -> None:
    host = server.web.hosts[server.web.portal.host]
    ask = f"{{}} / HTTP/1.1\r\nHost: {host.name}:{server.port}\r\n{{}}\r\n"
    raw = ask.format("HEAD", "") + ask.format("GET", "Content-Length: 2\r\n") + "xx"
    raw += ask.format("GET", "Connection: close\r\n")
    got = await send(server, host.address, raw.encode())
    rest = got.body
    assert rest.startswith(b"HTTP/1.1 200 OK")  # HEAD had no body
    assert rest.count(b"HTTP/1.1 200 OK") == 2
    entries = read(server.log_path)
    assert [entry.method for entry in entries] == ["HEAD", "GET", "GET"]
    assert len({entry.connection for entry in entries}) == 1


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("nonsense\r\n\r\n", 400),
        ("GET http://x/ HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n", 404),
        ("GET /none HTTP/1.0\r\nHost: {host}\r\n\r\n", 404),
        ("POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: {named}\r\nConnection: close\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 413),
        ("GET /" + "x" * 70_000, 431),
    ],
)
async def test_bad_requests_get_an_answer(server: DemoServer, raw: str, status: int) -> None:
    portal = server.web.portal.host
    named = next(name for name in server.web.names)
    raw = raw.replace("{host}", f"{portal}:{server.port}").replace(
        "{named}", f"{named}:{server.port}"
    )
    assert (await send(server, portal, raw.encode())).status == status


async def test_nothing_listens_where_nothing_should(server: DemoServer) -> None:
    nobodys = "127.99.0.1"  # 127.0.0.1 is where other servers of other tests may listen
    for address in [*server.web.refused, nobodys]:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(address, server.port)


async def test_names_resolve_to_the_addresses_that_serve_them(server: DemoServer) -> None:
    where, _, port = server.dns_address.partition(":")
    for name, address in server.web.names.items():
        query = dns.message.make_query(name, "A")
        response = await dns.asyncquery.udp(query, where, port=int(port), timeout=WAIT)
        assert str(response.answer[0][0]) == address


async def control(server: DemoServer, path: str, method: str = "GET") -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, server.control_url + path) as response,
    ):
        text = await response.text()
        return response.status, text if "log" in path else await response.json()


async def test_the_control_port_tells_everything(server: DemoServer) -> None:
    status, truth = await control(server, "/__truth__?depth=3&scope=any&clocks=host,address")
    assert status == 200
    assert truth == server.truth("depth=3&scope=any&clocks=host,address")
    assert truth["seeds"] == server.seeds
    assert (await control(server, "/__truth__"))[1]["policy"]["depth"] == 6
    status, error = await control(server, "/__truth__?depth=many")
    assert status == 400
    assert "depth" in error["error"]
    status, seeds = await control(server, "/__seeds__")
    assert seeds["seeds"] == server.seeds
    assert len(seeds["homes"]) > 40
    host = server.web.hosts[server.web.portal.host]
    await get(server, host, "/", "User-Agent: test/1 (+mailto:a@b)\r\n")
    status, log = await control(server, "/__log__")
    assert '"user_agent": "test/1 (+mailto:a@b)"' in log
    status, counts = await control(server, "/__stats__")
    assert counts["requests"] == 1
    assert counts["statuses"] == {"200": 1}
    assert (await control(server, "/__reset__", "POST"))[0] == 200
    assert (await control(server, "/__reset__"))[0] == 404
    assert (await control(server, "/else"))[0] == 404


async def test_requests_are_logged_before_the_client_has_the_answer(server: DemoServer) -> None:
    host, page = pages(server, lambda page: page.answer.drip > 0)[0]
    begin = time.time()
    got = await get(server, host, page.path)
    entry = read(server.log_path)[-1]
    assert begin <= entry.start <= entry.end <= time.time()
    assert entry.end - entry.start >= page.answer.drip * 0.2 * 0.99
    assert (entry.host, entry.path) == (f"{host.name}:{server.port}", page.path)
    assert (entry.address, entry.port) == (host.address, server.port)
    assert (entry.status, entry.aborted) == (200, False)
    assert entry.bytes > len(got.body)


async def ask_slow(server: DemoServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a slow page, and see the server wait with its answer."""
    host, page = pages(server, lambda page: page.answer.delay > 0)[0]
    reader, writer = await asyncio.open_connection(host.address, server.port)
    writer.write(f"GET {page.path} HTTP/1.1\r\nHost: {host.name}:{server.port}\r\n\r\n".encode())
    await writer.drain()
    async with asyncio.timeout(WAIT):
        while not (await control(server, "/__stats__"))[1]["connections"] > 1:
            pass
    return reader, writer


async def test_a_client_that_leaves_is_logged_as_such(stuck: DemoServer) -> None:
    _, writer = await ask_slow(stuck)
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(WAIT):
        while not (entries := read(stuck.log_path)):
            await control(stuck, "/__stats__")
    assert entries[-1].aborted


async def test_retry_after_stands_in_the_log(server: DemoServer) -> None:
    for host, page in pages(server, lambda page: page.answer.failures > 0 and page.kind == "page"):
        await get(server, host, page.path)
        entry = read(server.log_path)[-1]
        if page.answer.retry_after:
            assert entry.retry_at - entry.end >= page.answer.retry_after - 0.001
        else:
            assert entry.retry_at == 0


async def test_a_log_that_was_not_asked_for_is_gone_at_the_end() -> None:
    async with DemoServer(7, "small") as server:
        where = server.log_path
        assert where.exists()
    assert not where.exists()


async def test_two_servers_share_addresses_but_not_ports() -> None:
    async with DemoServer(7, "small") as one, DemoServer(7, "small") as other:
        assert one.port != other.port
        assert one.seeds != other.seeds


async def test_a_port_that_is_taken_is_a_clear_error(server: DemoServer) -> None:
    with pytest.raises(DemoError, match=f"port {server.port}"):
        await DemoServer(7, "small", port=server.port).start()


async def test_a_log_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="directory"):
        await DemoServer(7, "small", log=tmp_path).start()


async def test_a_server_can_be_stopped_with_clients_connected(stuck: DemoServer) -> None:
    reader, writer = await ask_slow(stuck)
    await stuck.stop()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await reader.readexactly(1)
    writer.close()


def test_contents_are_documents_files_or_sitemaps() -> None:
    web = DemoServer(7, "small").web
    kinds = {"page": Document, "robots": Raw, "sitemap": SitemapFile}
    for host in web.hosts.values():
        for page in host.pages.values():
            assert isinstance(page.content, kinds[page.kind])
