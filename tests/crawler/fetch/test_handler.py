"""The fetcher as Scrapy sees it."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.exceptions import NotSupported
from scrapy.http import HtmlResponse, Response

from crawler.fetch.exchange import Exchange, FetchError, LeaseExpired, LeaseMissing
from crawler.fetch.handler import GuardedHandler, limits_from
from crawler.fetch.wire import Limits
from crawler.keyfile import create, directory
from crawler.schema import UsageError
from tests.verifier import fields_of, verify

from .servers import Server, answer

MakeHandler = Callable[..., GuardedHandler]


def crawler_with(**settings: Any) -> Crawler:
    return Crawler(Spider, {"TWISTED_REACTOR_ENABLED": False, **settings})


@pytest.fixture
async def make_handler() -> AsyncIterator[MakeHandler]:
    """``make_handler(NAME=value)``: a handler that may contact loopback, over its settings."""
    handlers: list[GuardedHandler] = []

    def make(**settings: Any) -> GuardedHandler:
        crawler = crawler_with(COMITY_ALLOW_PRIVATE=True, **settings)
        handlers.append(GuardedHandler.from_crawler(crawler))
        return handlers[-1]

    yield make
    for handler in handlers:
        await handler.close()


def leased(url: str, **options: Any) -> Request:
    return Request(url, meta={"gate": lambda: True}, **options)


async def test_a_page_comes_back_as_its_type_asks(make_handler: MakeHandler) -> None:
    page = "<html><title>Grüße</title></html>".encode("latin-1")
    raw = answer(
        gzip.compress(page),
        "Content-Type: text/html; charset=ISO-8859-1",
        "Content-Encoding: gzip",
        "X-Two: 1",
        "X-Two: 2",
    )
    async with Server(raw) as server:
        request = leased(server.url(), headers={"User-Agent": "comity/1", "Accept": "text/html"})
        response = await make_handler().download_request(request)
    assert isinstance(response, HtmlResponse)
    assert response.css("title::text").get() == "Grüße"
    assert response.headers.getlist("X-Two") == [b"1", b"2"]
    assert "Content-Encoding" not in response.headers
    assert (response.status, response.protocol) == (200, "HTTP/1.1")
    assert str(response.ip_address) == "127.0.0.1"
    exchange = request.meta["exchange"]
    assert isinstance(exchange, Exchange)
    assert exchange.payload == page
    assert ("Content-Encoding", "gzip") in exchange.headers
    assert b"\r\nUser-Agent: comity/1\r\nAccept: text/html\r\n" in server.visits[0].head
    assert b"\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" in server.visits[0].head


async def test_a_plain_response_leaves_the_rest_to_the_exchange(make_handler: MakeHandler) -> None:
    async with Server(answer(b"<html>", "Content-Type: text/html")) as server:
        request = leased(server.url())
        response = await make_handler(COMITY_PLAIN_RESPONSE=True).download_request(request)
    assert type(response) is Response
    assert (response.body, len(response.headers)) == (b"<html>", 0)
    assert len(request.meta["exchange"].headers) == 2


async def test_truncation_is_flagged(make_handler: MakeHandler) -> None:
    async with Server(answer(b"x" * 100)) as server:
        request = leased(server.url())
        response = await make_handler(COMITY_MAX_BODY=10).download_request(request)
    assert response.flags == ["truncated", "length"]
    assert response.body == b"x" * 10


async def test_a_request_without_a_lease_is_refused(make_handler: MakeHandler) -> None:
    async with Server(answer()) as server:
        with pytest.raises(LeaseMissing, match="did not come out of a lease"):
            await make_handler().download_request(Request(server.url()))
        assert server.connections == 0
        open_handler = make_handler(COMITY_REQUIRE_LEASE=False)
        assert (await open_handler.download_request(Request(server.url()))).status == 200


async def test_an_expired_lease_is_refused(make_handler: MakeHandler) -> None:
    async with Server(answer()) as server:
        request = Request(server.url(), meta={"gate": lambda: False})
        with pytest.raises(LeaseExpired):
            await make_handler().download_request(request)
        assert not server.visits


async def test_a_proxy_is_refused(make_handler: MakeHandler) -> None:
    request = leased("http://a.example/")
    request.meta["proxy"] = "http://127.0.0.1:3128"
    with pytest.raises(NotSupported, match="bypass the address guard"):
        await make_handler().download_request(request)


async def test_private_networks_are_closed_by_default() -> None:
    handler = GuardedHandler.from_crawler(crawler_with())
    async with Server(answer()) as server:
        with pytest.raises(FetchError) as caught:
            await handler.download_request(leased(server.url()))
    assert caught.value.reason == "blocked-address"
    await handler.close()


async def test_http_and_https_share_a_handler() -> None:
    crawler = crawler_with()
    first, second = GuardedHandler.from_crawler(crawler), GuardedHandler.from_crawler(crawler)
    other = GuardedHandler.from_crawler(crawler_with())
    assert first is second
    assert other is not first
    for handler in (first, second, other):
        await handler.close()


def test_limits_come_from_settings() -> None:
    assert limits_from(crawler_with().settings) == Limits()
    given = crawler_with(COMITY_TOTAL_TIMEOUT="7", COMITY_MAX_BODY="1000").settings
    assert limits_from(given) == Limits(total=7.0, max_body=1000)


SPIDER = """
    import asyncio, sys
    import scrapy
    from scrapy.crawler import AsyncCrawlerProcess

    class One(scrapy.Spider):
        name = "one"
        custom_settings = {
            "DOWNLOAD_HANDLERS": {
                "http": "crawler.fetch.handler.GuardedHandler",
                "https": "crawler.fetch.handler.GuardedHandler",
            },
            "COMITY_ALLOW_PRIVATE": True,
            "REMOTE_CONTROL_ENABLED": False,
            "TELNETCONSOLE_ENABLED": False,
        }

        async def start(self):
            yield scrapy.Request(sys.argv[1], meta={"gate": lambda: True})

        def parse(self, response):
            print(response.status, response.css("title::text").get(), response.meta["exchange"].ip)

    process = AsyncCrawlerProcess(
        {"TWISTED_REACTOR_ENABLED": sys.argv[2] == "reactor", "LOG_LEVEL": "WARNING"}
    )
    process.crawl(One)
    process.start()
"""


@pytest.mark.parametrize("engine", ["reactor", "no reactor"])
async def test_inside_scrapy(engine: str) -> None:
    page = answer(b"<html><title>hi</title></html>", "Content-Type: text/html")
    async with Server(page) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", textwrap.dedent(SPIDER), server.url(), engine),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert (out.decode().strip(), err.decode()) == ("200 hi 127.0.0.1", "")


async def test_requests_are_signed_with_the_key_of_the_settings(
    make_handler: MakeHandler, tmp_path: Path
) -> None:
    key = create(tmp_path / "key.pem")
    settings = {
        "COMITY_SIGNING_KEY": str(tmp_path / "key.pem"),
        "COMITY_SIGNATURE_AGENT": "https://bot.example",
    }
    async with Server(answer()) as server:
        request = leased(server.url(), headers={"Signature": "sig1=:AAAA:"})
        await make_handler(**settings).download_request(request)
        dictionary = make_handler(**settings, COMITY_SIGNATURE_FORM="dictionary")
        await dictionary.download_request(leased(server.url()))
    for visit, agent in zip(server.visits, ('"', 'sig1="'), strict=True):
        found = verify(fields_of(visit.head), directory([key]).encode())
        assert found is not None
        assert (found.keyid, found.agent) == (key.id, "https://bot.example")
        assert dict(fields_of(visit.head))["Signature-Agent"].startswith(agent)


def test_a_key_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    missing = str(tmp_path / "no")
    with pytest.raises(UsageError, match=f"cannot read {missing}: No such file"):
        GuardedHandler.from_crawler(
            crawler_with(COMITY_SIGNING_KEY=missing, COMITY_SIGNATURE_AGENT="https://bot.example")
        )


def test_who_does_not_sign_does_not_load_what_it_takes() -> None:
    code = """
        import sys
        from scrapy import Spider
        from scrapy.crawler import Crawler
        from crawler.fetch.handler import GuardedHandler
        GuardedHandler.from_crawler(Crawler(Spider, {"TWISTED_REACTOR_ENABLED": False}))
        assert not {"crawler.signing", "http_message_signatures"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
