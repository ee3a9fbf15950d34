"""Requests as they travel: what comes back is what went in, or nothing goes in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
import scrapy
from hypothesis import given
from hypothesis import strategies as st
from scrapy.http import JsonRequest
from scrapy.linkextractors import LinkExtractor

from crawler.worker.addon.luggage import Unpackable, pack, unpack, variant
from frontier.entry import MAX_EXTRA


class Quote(scrapy.Item):
    text = scrapy.Field()


@dataclass
class Author:
    name: str


class Spider(scrapy.Spider):
    name = "quotes"

    def parse(self, response: Any, **kwargs: Any) -> Any:
        """A callback."""

    def failed(self, failure: Any) -> Any:
        """An errback."""


SPIDER = Spider()
URL = "http://quotes.test/page/1"
ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary() | st.dates() | st.datetimes(timezones=st.just(UTC)) | st.decimals(allow_nan=False)
    | st.builds(Author, name=st.text())
)  # fmt: skip
KEYS = st.text() | st.integers() | st.binary() | st.just("$")
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner, inner)
        | st.sets(st.integers() | st.text()) | st.frozensets(st.binary())
    ),
    max_leaves=8,
)  # fmt: skip


def through(request: scrapy.Request) -> scrapy.Request:
    extra = pack(request, SPIDER)
    assert not set("\t\r\n") & set(extra)
    return unpack(request.url, extra, SPIDER)


@given(meta=st.dictionaries(st.text(), VALUES), kwargs=st.dictionaries(st.text(), VALUES))
def test_meta_and_arguments_come_back_as_they_were(
    meta: dict[str, Any], kwargs: dict[str, Any]
) -> None:
    back = through(scrapy.Request(URL, meta=meta, cb_kwargs=kwargs))
    expected = {k: v for k, v in meta.items() if k not in ("download_slot", "download_latency")}
    assert repr(back.meta) == repr(expected) or back.meta == expected
    assert back.cb_kwargs == kwargs


def test_all_of_a_request_comes_back() -> None:
    sent = scrapy.FormRequest(
        URL, formdata={"q": "é"}, callback=SPIDER.parse, errback=SPIDER.failed, priority=3,
        dont_filter=True, cookies=[{"name": "a", "value": "b", "domain": "quotes.test"}],
        headers={"X-Many": ["one", "two"]},
        meta={"item": Quote(text="x"), "when": date(2026, 1, 2)},
        cb_kwargs={"price": Decimal("1.50"), "at": datetime(2026, 1, 2, 3, tzinfo=UTC)},
        flags=["f"], encoding="latin-1",
    )  # fmt: skip
    back = through(sent)
    assert type(back) is scrapy.FormRequest
    assert back.to_dict(spider=SPIDER) == sent.to_dict(spider=SPIDER)
    assert isinstance(back.meta["item"], Quote)
    assert through(JsonRequest(URL, data={"a": [1]})).body == b'{"a": [1]}'


def test_a_plain_request_takes_no_room() -> None:
    assert pack(scrapy.Request(URL), SPIDER) == "{}"


def test_what_the_engine_wrote_stays_here() -> None:
    meta = {"download_slot": "quotes.test", "download_latency": 0.1, "depth": 2}
    assert through(scrapy.Request(URL, meta=meta)).meta == {"depth": 2}


def test_texts_of_selectors_and_links_travel_as_text() -> None:
    page = scrapy.http.HtmlResponse(URL, body=b"<a href=/2>two</a>")
    [link] = LinkExtractor().extract_links(page)
    back = through(scrapy.Request(URL, meta={"link_text": link.text, link.text: 1}))
    assert back.meta == {"link_text": "two", "two": 1}
    assert type(back.meta["link_text"]) is str


class Outer:
    class Inner(scrapy.Item):
        x = scrapy.Field()


class Colour(StrEnum):
    RED = "red"


def endless() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    return loop


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (scrapy.Request(URL, callback=lambda _: None), "must be methods of the spider"),
        (scrapy.Request(URL, errback=print), "must be methods of the spider"),
        (scrapy.Request(URL, meta={"a": [{"b": object()}]}), r"meta\['a'\]\[0\]\['b'\] is a"),
        (scrapy.Request(URL, cb_kwargs={"f": print}), r"cb_kwargs\['f'\] is a"),
        (scrapy.Request(URL, meta={"it": Outer.Inner(x=1)}), r"meta\['it'\] is a"),
        (scrapy.Request(URL, meta={"c": Colour.RED}), r"meta\['c'\] is a"),
        (scrapy.Request(URL, meta=endless()), "contains itself"),
        (scrapy.Request(URL, body=bytes(MAX_EXTRA)), "are the most"),
    ],
)
def test_what_cannot_travel_is_named(request_: scrapy.Request, why: str) -> None:
    with pytest.raises(Unpackable, match=why):
        pack(request_, SPIDER)


@pytest.mark.parametrize(
    "extra",
    [
        "{",
        "[]",
        '{"callback": "gone"}',
        '{"_class": "os.system"}',
        '{"_class": "subprocess.Popen"}',
        '{"meta": {"x": {"$": ["item", ["subprocess.Popen", {"args": "true"}]]}}}',
        '{"meta": {"x": {"$": ["code", "1"]}}}',
        '{"body": 7}',
    ],
)
def test_nothing_but_a_request_is_read(extra: str) -> None:
    with pytest.raises(Unpackable):
        unpack(URL, extra, SPIDER)


def test_requests_are_told_apart_by_method_body_and_wish() -> None:
    plain = scrapy.Request(URL)
    post, put = (scrapy.Request(URL, method=m, body=b"x") for m in ("POST", "PUT"))
    numbers = [
        variant(plain, ""),
        variant(plain, "start 1"),
        variant(plain, "start 2"),
        variant(post, ""),
        variant(post.replace(body=b"y"), ""),
        variant(put, ""),
    ]
    assert numbers[0] == 1
    assert len(set(numbers)) == len(numbers)
    assert all(1 << 32 < number < 1 << 49 for number in numbers[1:])
    assert variant(post, "") == variant(scrapy.Request(URL, method="POST", body=b"x"), "")
