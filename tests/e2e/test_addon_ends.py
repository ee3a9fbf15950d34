"""How the crawl of a plugged-in project ends, when all is not well."""

from __future__ import annotations

from typing import Any

import pytest

from .projects import Project, ended, serving

pytestmark = pytest.mark.timeout(300)
ADDRESS = "127.9.8.3"

SPIDER = """
import scrapy
from scrapy import signals
from scrapy.exceptions import IgnoreRequest


class EndsSpider(scrapy.Spider):
    name = "ends"

    @classmethod
    def from_crawler(cls, crawler, *args, **kwargs):
        spider = super().from_crawler(crawler, *args, **kwargs)
        spider.scheduled = 0
        crawler.signals.connect(spider.count, signals.request_scheduled)
        return spider

    def count(self, request):
        self.scheduled += 1
        if self.scheduled > 3:
            raise IgnoreRequest("enough")

    async def start(self):
        for n in range(5):
            yield scrapy.Request(f"{self.site}/{n}")
        yield scrapy.Request("http://127.9.8.4:9/", errback=self.failed)
        raise ValueError("on purpose")

    def parse(self, response):
        yield {"url": response.url.rpartition("/")[2], "scheduled": self.scheduled}

    def failed(self, failure):
        yield {"failed": failure.type.__name__, "why": failure.value.__cause__.reason}
"""


def page(path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    return (404, {}, b"") if path == "/robots.txt" else (200, {"Content-Type": "text/html"}, b"x")


def test_a_start_that_fails_and_a_handler_that_refuses(trial: Project) -> None:
    trial.add("spiders/ends.py", SPIDER)
    with serving(ADDRESS, page) as site:
        assert ended(trial.run("ends", "-a", f"site={site.url}", out="out"), 60) == 0
    items = trial.items("out")
    assert [item["url"] for item in items] == ["0", "1", "2"]
    assert {item["scheduled"] for item in items} == {6}  # once each, however often they wait
    assert "start() failed" in trial.log("out")
    assert "ValueError: on purpose" in trial.log("out")


def test_what_has_to_wait_too_long_is_left_for_another_run(trial: Project) -> None:
    trial.add("spiders/ends.py", SPIDER.replace("self.scheduled > 3", "False"))
    trial.settings(COMITY_MAX_WAIT="3s")
    with serving(ADDRESS, page) as site:
        crawl = ["ends", "-a", f"site={site.url}"]
        assert ended(trial.run(*crawl, out="first"), 60) == 0
        left = "job default/ends ended (max-wait) with 1 requests left"
        assert left in trial.log("first"), trial.log("first")
        again: dict[str, Any] = {"COMITY_MAX_WAIT": "200s"}
        trial.settings(**again)
        assert ended(trial.run(*crawl, out="second"), 200) == 0
        assert trial.items("second") == [
            {"failed": "DownloadConnectionRefusedError", "why": "refused"}
        ]
        pages = [path for path in site.paths() if path != "/robots.txt"]
    assert sorted(pages) == ["/0", "/1", "/2", "/3", "/4"]
