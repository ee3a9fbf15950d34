"""What spiders of a plugged-in project may rely on, and what it is told when they may not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from frontier import keys
from storage.corpus import Corpus

from .bad_servers import joined
from .conftest import comity
from .projects import Project, Site, ended, serving
from .test_crawl import wait_for

pytestmark = pytest.mark.timeout(300)
ADDRESS = "127.9.8.1"

SPIDER = """
import asyncio
import scrapy


class TrialSpider(scrapy.Spider):
    name = "trial"

    async def start(self):
        yield scrapy.Request(self.site + "/", meta={"tag": ("a", 1)}, cb_kwargs={"n": 7})
        yield {"from": "start"}

    def parse(self, response, n):
        meta = response.meta
        yield {"from": "parse", "tag": list(meta["tag"]), "n": n, "depth": meta["depth"]}
        for word in ("one", "two", "one"):
            yield self.post("/search", formdata={"q": word})
        for _ in range(2):
            yield self.post("/again", formdata={"q": "x"}, dont_filter=True)
        oat = {"flavour": "oat"}
        yield scrapy.Request(self.site + "/cookies", cookies=oat, callback=self.found)
        yield scrapy.Request(self.site + "/moved", callback=self.moved)
        yield scrapy.Request(self.site + "/self", callback=self.found)
        yield scrapy.Request(self.site + "/canned", meta={"canned": True}, callback=self.found)
        yield scrapy.Request(self.site + "/inline", callback=self.inline)
        yield scrapy.Request(
            self.site + "/proxy", meta={"proxy": "http://127.0.0.1:1"}, callback=self.found,
            errback=self.failed,
        )
        for path in ("/gone", "/private/x"):
            yield scrapy.Request(self.site + path, callback=self.found, errback=self.failed)
        yield scrapy.Request(self.site + "/unpackable", meta={"it": object()})
        yield scrapy.Request(self.site + "/lambda", callback=lambda response: None)
        yield scrapy.Request(self.site + "/late", priority=-1, callback=self.found)

    def post(self, path, **how):
        return scrapy.FormRequest(self.site + path, callback=self.found, **how)

    def found(self, response):
        yield {"from": response.url.removeprefix(self.site), "body": response.text}

    def moved(self, response):
        yield {"from": "moved", "url": response.url, "via": response.meta["redirect_urls"]}

    async def inline(self, response):
        other = await self.crawler.engine.download_async(scrapy.Request(self.site + "/borrowed"))
        yield {"from": "inline", "body": other.text}
        try:
            await self.crawler.engine.download_async(scrapy.Request(self.site + "/private/y"))
        except scrapy.exceptions.IgnoreRequest as error:
            yield {"from": "denied", "why": str(error)}

    async def failed(self, failure):
        yield {"from": "errback", "url": failure.request.url, "kind": failure.type.__name__}
        yield scrapy.Request(self.site + "/after" + failure.request.url[-1], callback=self.found)
"""

MIDDLEWARES = """
from scrapy.http import TextResponse


class Mark:
    def process_request(self, request):
        request.headers["X-Project"] = "yes"
        request.headers["User-Agent"] = "somebody else"
        if request.meta.get("canned"):
            return TextResponse(request.url, body=b"canned", request=request)


class Outputs:
    async def process_spider_output(self, response, result):
        async for each in result:
            if isinstance(each, dict):
                each["seen"] = True
            yield each
"""

PIPELINES = """
import asyncio


class Slow:
    async def process_item(self, item):
        await asyncio.sleep(0.05)
        return item | {"piped": True}
"""


def answer(path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    headers = {"Content-Type": "text/html"}
    match path:
        case "/robots.txt":
            return 200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /private/\n"
        case "/moved":
            return 302, {"Location": "/target"}, b""
        case "/self":
            return 302, {"Location": "/self", "Set-Cookie": "been=here"}, b""
        case "/gone":
            return 410, headers, b"gone"
        case _:
            return 200, headers, b"%b %b" % (path.encode(), body)


@pytest.fixture
def site() -> Iterator[Site]:
    visits: list[str] = []

    def once(path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        visits.append(path)
        if path == "/self" and visits.count(path) > 1:
            return 200, {"Content-Type": "text/html"}, b"been here"
        return answer(path, body)

    with serving(ADDRESS, once) as at:
        yield at


def crawled(trial: Project, site: Site) -> tuple[dict[str, list[dict[str, Any]]], str]:
    """Items by where they are from, and the log, of one worker that had all to itself."""
    trial.add("spiders/trial.py", SPIDER)
    trial.add("middlewares.py", MIDDLEWARES)
    trial.add("pipelines.py", PIPELINES)
    trial.settings(
        DOWNLOADER_MIDDLEWARES={"trial.middlewares.Mark": 543},
        SPIDER_MIDDLEWARES={"trial.middlewares.Outputs": 543},
        ITEM_PIPELINES={"trial.pipelines.Slow": 300},
    )
    worker = trial.run("trial", "-a", f"site={site.url}", out="out")
    assert ended(worker) == 0, trial.log("out")
    found: dict[str, list[dict[str, Any]]] = {}
    for item in trial.items("out"):
        found.setdefault(item["from"], []).append(item)
    return found, trial.log("out")


def test_what_a_spider_may_rely_on(trial: Project, site: Site) -> None:
    found, log = crawled(trial, site)
    [parsed] = found.pop("parse")
    assert parsed == {
        "from": "parse", "tag": ["a", 1], "n": 7, "depth": 0, "seen": True, "piped": True,
    }  # fmt: skip
    assert len(found.pop("start")) == 1
    assert sorted(i["body"] for i in found.pop("/search")) == ["/search q=one", "/search q=two"]
    assert [i["body"] for i in found.pop("/again")] == ["/again q=x"] * 2
    assert found.pop("moved")[0]["via"] == [f"{site.url}/moved"]
    assert found.pop("/self")[0]["body"] == "been here"
    assert found.pop("/canned")[0]["body"] == "canned"
    assert found.pop("inline")[0]["body"] == "/borrowed "
    assert found.pop("denied")[0]["why"].startswith("robots-denied: ")
    told = {i["url"].removeprefix(site.url): i["kind"] for i in found.pop("errback")}
    assert told == {
        "/gone": "HttpError", "/private/x": "IgnoreRequest", "/proxy": "NotSupported",
    }  # fmt: skip
    assert found.keys() == {"/cookies", "/late", "/aftere", "/afterx", "/aftery"}
    asked = {each.path: each for each in site.asked}
    assert asked["/cookies"].headers["cookie"] == "flavour=oat"
    assert "been=here" in asked["/self"].headers["cookie"]
    assert "/canned" not in asked
    assert not any(path.startswith("/private/") for path in asked)
    pages = [each for each in site.asked if each.path != "/robots.txt"]
    assert {each.headers["x-project"] for each in pages} == {"yes"}
    assert all("ops@example.org" in each.headers["user-agent"] for each in site.asked)
    assert site.paths().index("/late") > site.paths().index("/cookies")
    for one, other in zip(site.asked, site.asked[1:], strict=False):
        assert other.start - one.end >= 0.049, (one.path, other.path)
    assert f"<GET {site.url}/unpackable> was not taken by the fleet: meta['it'] is a" in log
    assert f"<GET {site.url}/lambda> was not taken by the fleet: Function" in log
    assert "'comity/not_taken': 2" in log


def test_explain_of_a_job_that_stores_nothing_and_of_one_that_does(
    trial: Project, site: Site, redis_port: int
) -> None:
    crawled(trial, site)
    where = ["--redis", f"redis://127.0.0.1:{redis_port}/0", "--name", "trial", "--json"]
    said = json.loads(comity("explain", f"{site.url}/target", *where).stdout)
    assert said["default/trial"]["code"] == "done", said
    out = str(trial.root / "out")
    trial.settings(COMITY_OUT=out, COMITY_JOB="kept")
    crawled(trial, site)
    with Corpus(out, job="kept") as corpus:
        rows = [r for b in corpus.pages(("url", "reason")) for r in b.to_pylist()]
    ends = {r["url"].removeprefix(site.url): r["reason"] for r in rows}
    assert ends["/canned"] == ends["/proxy"] == "middleware"
    assert ends["/private/x"] == "robots-denied"
    assert ends["/gone"] == "http-410"
    assert ends["/target"] is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"COMITY_REDIS_URL": ""}, "COMITY_REDIS_URL is not set"),
        ({"COMITY_REDIS_URL": "redis://127.0.0.1:1/0"}, "127.0.0.1:1"),
        ({"COMITY_DELEY": 1}, "did you mean 'COMITY_DELAY'?"),
        ({"COMITY_SEEDS": "http://x.test/"}, "COMITY_SEEDS: that is for the spider"),
        ({"COMITY_MAX_PAGES": 3}, "COMITY_MAX_PAGES needs COMITY_OUT"),
        ({"COMITY_JOB": "a/B!"}, "COMITY_JOB: not a name"),
        ({"USER_AGENT": "Mozilla/5.0 (X11)"}, "COMITY_USER_AGENT: names a browser"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    trial: Project, site: Site, settings: dict[str, Any], said: str
) -> None:
    trial.add("spiders/trial.py", SPIDER)
    trial.settings(**settings)
    assert ended(trial.run("trial", "-a", f"site={site.url}", out="out")) == 1
    errors = [line for line in trial.log("out").splitlines() if "ERROR" in line]
    assert len(errors) == 1, trial.log("out")
    assert said in errors[0]
    assert "Traceback" not in trial.log("out")
    assert not site.asked


SLOW = """
import asyncio
from pathlib import Path
import scrapy


class SlowSpider(scrapy.Spider):
    name = "slow"

    async def start(self):
        yield scrapy.Request(self.site + "/slow", callback=self.parse)

    async def parse(self, response):
        with Path("begun").open("a") as log:
            log.write(f"{self.who}\\n")
        yield scrapy.Request(self.site + "/next", callback=self.done)
        while self.who == "one":
            await asyncio.sleep(1)
        yield {"who": self.who}

    def done(self, response):
        yield {"next": self.who}
"""


def test_a_request_is_done_when_its_callback_has_put_out_its_last(
    trial: Project, site: Site, redis_port: int
) -> None:
    trial.add("spiders/slow.py", SLOW)
    trial.settings(COMITY_LEASE_TTL=8, COMITY_TOTAL_TIMEOUT=2, COMITY_SEGMENT_AGE=1)
    one = trial.run("slow", "-a", f"site={site.url}", "-a", "who=one", out="one")
    wait_for(lambda: "/next" in site.paths(), one)  # the host did not wait for the callback
    two = trial.run("slow", "-a", f"site={site.url}", "-a", "who=two", out="two")
    wait_for(lambda: joined(redis_port) == 2, two)
    os.killpg(one.pid, signal.SIGKILL)
    one.wait()
    assert ended(two) == 0, trial.log("two")
    assert (trial.root / "begun").read_text().split() == ["one", "two"]
    assert {"who": "two"} in trial.items("two")
    assert site.paths().count("/slow") == 2


def test_a_job_that_is_over_is_not_begun_again(trial: Project, site: Site) -> None:
    trial.add("spiders/trial.py", SPIDER)
    crawl = ["trial", "-a", f"site={site.url}", "-s", "CLOSESPIDER_PAGECOUNT=1"]
    assert ended(trial.run(*crawl, out="first")) == 0  # one worker leaves; the job goes on
    assert ended(trial.run("trial", "-a", f"site={site.url}", out="second")) == 0
    assert "'finish_reason': 'finished'" in trial.log("second"), trial.log("second")
    assert ended(trial.run("trial", "-a", f"site={site.url}", out="third")) == 0
    assert "is completed: for another crawl, set COMITY_JOB" in trial.log("third")
    paths = site.paths()
    assert paths.count("/") == paths.count("/target") == paths.count("/cookies") == 1


START = """
import asyncio
import scrapy


class StartSpider(scrapy.Spider):
    name = "start"

    async def start(self):
        for n in range(3):
            yield scrapy.Request(f"{self.site}/{n}", dont_filter=True)
        while self.who == "one":
            await asyncio.sleep(1)
        yield scrapy.Request(f"{self.site}/last")

    def parse(self, response):
        yield {"url": response.url}
"""


def test_start_is_taken_over_from_a_dead_worker_and_asks_nothing_twice(
    trial: Project, site: Site, redis_port: int
) -> None:
    trial.add("spiders/start.py", START)
    trial.settings(COMITY_LEASE_TTL=8, COMITY_TOTAL_TIMEOUT=2, COMITY_SEGMENT_AGE=1)
    one = trial.run("start", "-a", f"site={site.url}", "-a", "who=one", out="one")
    wait_for(lambda: "/2" in site.paths(), one)
    wait_for(lambda: not pending(redis_port), one)
    os.killpg(one.pid, signal.SIGKILL)
    one.wait()
    two = trial.run("start", "-a", f"site={site.url}", "-a", "who=two", out="two")
    assert ended(two) == 0, trial.log("two")
    assert [path for path in site.paths() if path != "/robots.txt"] == ["/0", "/1", "/2", "/last"]
    urls = [item["url"].rpartition("/")[2] for item in trial.items("one", "two")]
    assert urls == ["0", "1", "2", "last"]  # what was done is in the killed one's feed


def pending(port: int) -> bool:
    """Whether something of a job is on its way to being done."""
    with redis.Redis(port=port) as client:
        return bool(client.hlen(keys.SEGMENTS))


LARGE = """
import asyncio
import scrapy


class LargeSpider(scrapy.Spider):
    name = "large"
    begun = 0

    async def start(self):
        for n in range(3):
            yield scrapy.Request(f"{self.site}/{n}")

    async def parse(self, response):
        self.begun += 1
        while self.begun < 3:
            await asyncio.sleep(0.05)
        yield {"size": len(response.body)}
"""


def test_large_answers_in_slow_callbacks_hold_nobody_up(trial: Project) -> None:
    def large(path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        return (404, {}, b"") if path == "/robots.txt" else (200, {}, bytes(6_000_000))

    trial.add("spiders/large.py", LARGE)
    with serving(ADDRESS, large) as site:
        worker = trial.run("large", "-a", f"site={site.url}", out="out")
        assert ended(worker) == 0, trial.log("out")
    assert [item["size"] for item in trial.items("out")] == [6_000_000] * 3


FILES = """
import scrapy
from scrapy.linkextractors import LinkExtractor
from scrapy.spiders import CrawlSpider, Rule


class FilesSpider(CrawlSpider):
    name = "files"
    rules = [Rule(LinkExtractor(allow=r"/\\d+$"), callback="page", follow=True)]

    async def start(self):
        yield scrapy.Request(self.site + "/0")

    def page(self, response):
        name = response.url.removeprefix(self.site)
        yield {"url": name, "file_urls": [self.site + "/file" + name]}
"""


def test_crawl_spiders_and_media_pipelines_on_workers_that_come_and_go(
    trial: Project, redis_port: int
) -> None:
    def linked(path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path == "/robots.txt":
            return 404, {}, b""
        if path.startswith("/file/"):
            return 200, {"Content-Type": "application/octet-stream"}, path.encode()
        at = int(path[1:])
        links = "".join(f"<a href=/{n}>x</a>" for n in range(at + 1, min(at + 4, 13)))
        return 200, {"Content-Type": "text/html"}, links.encode()

    trial.add("spiders/files.py", FILES)
    trial.settings(
        ITEM_PIPELINES={"scrapy.pipelines.files.FilesPipeline": 1}, FILES_STORE="files",
        COMITY_LEASE_TTL=10, COMITY_TOTAL_TIMEOUT=4,
    )  # fmt: skip
    with serving(ADDRESS, linked) as site:
        crawl = ["files", "-a", f"site={site.url}"]
        first = trial.run(*crawl, out="first")
        wait_for(lambda: "/file/1" in site.paths(), first)
        os.killpg(first.pid, signal.SIGINT)  # it finishes what it has begun, and leaves
        assert ended(first) == 0, trial.log("first")
        second = trial.run(*crawl, out="second")
        assert ended(second) == 0, trial.log("second")
    items = trial.items("first", "second")
    assert sorted(item["url"] for item in items) == sorted(f"/{n}" for n in range(1, 13))
    assert all(len(item["files"]) == 1 for item in items)
    pages = [path for path in site.paths() if path != "/robots.txt"]
    assert len(pages) == len(set(pages)) == 25
