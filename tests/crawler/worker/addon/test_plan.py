"""What a project's settings come to."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import scrapy
from scrapy.crawler import Crawler
from scrapy.settings import Settings

from crawler.job import UsageError
from crawler.worker import Addon
from crawler.worker.addon.plan import Plan, plan

REDIS = {"COMITY_REDIS_URL": "redis://localhost:6379/0"}


def planned(spider: str = "quotes", **values: Any) -> Plan:
    return plan(Settings(REDIS | values, priority="project"), spider)


def test_a_redis_is_all_it_takes() -> None:
    made = planned()
    assert made.job == "default/quotes"
    assert not made.keeps
    assert (made.spec.dedupe, made.spec.signals, made.spec.delay) == ("off", ("ignore",), 1.0)
    assert made.turns == 0


def test_keys_of_jobs_and_workers_are_taken_as_text_or_values() -> None:
    made = planned(
        COMITY_OUT="s3://bucket/x", COMITY_JOB="team/run-1", COMITY_DELAY="250ms",
        COMITY_DNS_SERVER="127.0.0.1:53", COMITY_CONTENT_TYPES="text/html image/*",
    )  # fmt: skip
    assert made.keeps
    assert made.job == "team/run-1"
    assert made.spec.delay == 0.25
    assert made.spec.content_types == ("text/html", "image/*")
    assert made.settings.dns_server == "127.0.0.1:53"


def test_what_scrapy_calls_it_counts_where_the_project_says_so() -> None:
    made = planned(USER_AGENT="quotebot/2.0", DOWNLOAD_DELAY=3, CONCURRENT_REQUESTS=7)
    assert made.spec.user_agent == "quotebot/2.0"
    assert made.spec.delay == 3.0
    assert made.turns == 7
    assert planned(DOWNLOAD_DELAY=3, COMITY_DELAY=2).spec.delay == 2.0


@pytest.mark.parametrize(
    ("spider", "name"),
    [("Quotes To Scrape", "quotes-to-scrape"), ("--", "spider"), ("é", "spider")],
)
def test_a_job_is_called_as_its_spider_as_far_as_that_goes(spider: str, name: str) -> None:
    assert planned(spider).spec.name == name


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"COMITY_REDIS_URL": None}, "COMITY_REDIS_URL is not set"),
        ({"COMITY_REDIS_URL": "http://x"}, "COMITY_REDIS_URL: not a Redis URL"),
        ({"COMITY_OTU": "x"}, "did you mean 'COMITY_OUT'"),
        ({"COMITY_SCOPE": "any"}, "COMITY_SCOPE: that is for the spider"),
        ({"COMITY_RECRAWL": "1d"}, "COMITY_RECRAWL: that is for the spider"),
        ({"COMITY_DEDUPE": "drop"}, "COMITY_DEDUPE needs COMITY_OUT"),
        ({"COMITY_DELAY": "soon"}, "COMITY_DELAY: "),
        ({"COMITY_LEASE_TTL": 10}, "lease_ttl"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        planned(**values)


def updated(**values: Any) -> Settings:
    """The settings of a project after the addon."""
    settings = Settings(values, priority="project")
    spider = type("Quotes", (scrapy.Spider,), {"name": "quotes", "custom_settings": {}})
    addon = Addon.from_crawler(Crawler(spider, settings))
    addon.update_settings(settings)
    return settings


def test_what_must_be_is_set_above_the_project_and_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "comity.addon"):
        settings = updated(
            **REDIS, ROBOTSTXT_OBEY=True, DOWNLOAD_DELAY=2, RETRY_ENABLED=True,
            AUTOTHROTTLE_ENABLED=True, SCRAPER_SLOT_MAX_ACTIVE_SIZE=1000, CONCURRENT_REQUESTS=4,
            DOWNLOAD_HANDLERS={"ftp": "x.Ftp"}, SCHEDULER="x.Scheduler",
        )  # fmt: skip
    assert not settings.getbool("ROBOTSTXT_OBEY")
    assert not settings.getbool("RETRY_ENABLED")
    assert not settings.getbool("AUTOTHROTTLE_ENABLED")
    assert settings.getint("DOWNLOAD_DELAY") == settings.getint("CONCURRENT_REQUESTS") == 0
    assert settings.getint("SCRAPER_SLOT_MAX_ACTIVE_SIZE") == 2**40  # nothing backs out
    assert settings["SCHEDULER"].endswith("AddonScheduler")
    assert set(settings["DOWNLOAD_HANDLERS"]) == {"http", "https"}
    assert not settings["DOWNLOAD_HANDLERS_BASE"]
    said = [record.getMessage() for record in caplog.records]
    for name in (
        "ROBOTSTXT_OBEY", "DOWNLOAD_DELAY", "RETRY_ENABLED", "AUTOTHROTTLE_ENABLED", "SCHEDULER",
        "SCRAPER_SLOT_MAX_ACTIVE_SIZE", "CONCURRENT_REQUESTS", "DOWNLOAD_HANDLERS",
    ):  # fmt: skip
        assert sum(line.startswith(f"{name} = ") for line in said) == 1, (name, said)
    assert "COMITY_CONTACT is not set" in said[0]


def test_a_project_that_cannot_join_crawls_nothing() -> None:
    settings = updated(COMITY_REDIS_URL="")
    assert settings["SCHEDULER"].endswith("AddonScheduler")
    assert any(str(name).endswith("StartMiddleware") for name in settings["SPIDER_MIDDLEWARES"])
