"""A Scrapy project plugged in by one setting: its spider on two workers."""

from __future__ import annotations

from collections import Counter

import pytest

from crawler.demo.judge import judge
from storage.corpus import Corpus

from .bad_servers import joined
from .conftest import DELAY, Web
from .projects import Project, ended
from .test_crawl import wait_for

pytestmark = pytest.mark.timeout(300)

# As ``scrapy genspider -t crawl`` would have it, but for the seeds.
QUOTES = """
import os
from pathlib import Path
import scrapy
from scrapy.linkextractors import LinkExtractor


class QuotesSpider(scrapy.Spider):
    name = "quotes"

    async def start(self):
        with Path("started").open("a") as log:
            log.write(f"{os.getpid()}\\n")
        for url in self.seeds.split():
            yield scrapy.Request(url, callback=self.parse)

    def parse(self, response):
        if not isinstance(response, scrapy.http.TextResponse):
            return
        yield {"url": response.url, "title": response.css("title::text").get()}
        for link in LinkExtractor().extract_links(response):
            yield response.follow(link, callback=self.parse)
"""


@pytest.mark.parametrize("stored", [True, False])
def test_a_spider_as_startproject_has_it_on_two_workers(
    web: Web, redis_port: int, trial: Project, stored: bool
) -> None:
    trial.add("spiders/quotes.py", QUOTES)
    trial.settings(
        COMITY_DELAY=DELAY, COMITY_DNS_SERVER=web.at.dns, DEPTH_LIMIT=6,
        **({"COMITY_OUT": str(trial.root / "out"), "COMITY_SIGNALS": "ignore"} if stored else {}),
    )  # fmt: skip
    seeds = f"seeds={' '.join(web.at.seeds)}"
    fleet = [trial.run("quotes", "-a", seeds, out=out) for out in ("one", "two")]
    wait_for(lambda: joined(redis_port) == 2)
    assert [ended(worker) for worker in fleet] == [0, 0], trial.log("one") + trial.log("two")
    for out in ("one", "two"):
        assert "finish_reason': 'finished'" in trial.log(out)
        assert "ROBOTSTXT_OBEY = True gives way to False" in trial.log(out)
        assert "DOWNLOAD_DELAY = 1 gives way to 0" in trial.log(out)
        assert "was never awaited" not in trial.log(out)
        assert "was destroyed" not in trial.log(out)
    assert len((trial.root / "started").read_text().split()) == 1
    one, two = trial.items("one"), trial.items("two")
    assert one
    assert two
    urls = Counter(item["url"] for item in one + two)
    assert max(urls.values()) == 1
    asked = web.requests()
    truth = web.truth()
    report = judge(asked, truth, DELAY)
    assert not report.early, report.summary()
    assert not report.overlaps, report.summary()
    assert not report.robots_violations, report.summary()
    pages = {e.url for e in asked if e.status == 200 and e.url in truth["must"]}
    must = {u for u, e in truth["must"].items() if e["status"] == 200}
    # Scrapy's link extractor passes over some: of pages that only a canonical link leads to, PDFs.
    assert len(must - pages) <= 0.03 * len(must), must - pages
    if stored:
        with Corpus(str(trial.root / "out"), job="quotes") as corpus:
            rows = [r for b in corpus.pages(("url", "fetch_status")) for r in b.to_pylist()]
            assert not list(corpus.verify())
        kept = Counter(r["url"] for r in rows if r["fetch_status"] == 200)
        assert max(kept.values()) == 1
        assert urls.keys() <= kept.keys()
