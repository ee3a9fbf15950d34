"""``comity explain`` after a crawl of the demo web: every reason, and what the command says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crawler.conclusion import Conclusion, Facts, conclude
from crawler.config import resolve
from crawler.explain import explain
from crawler.inspection import frontier_of
from frontier.url import parse

from .conftest import Web, comity
from .running import refused
from .test_crawl import rows

pytestmark = pytest.mark.timeout(240)

JOB = "default/crawl"


async def explained(web: Web, out: Path, urls: list[str]) -> dict[str, tuple[Facts, Conclusion]]:
    """What is found out about each URL."""
    settings = resolve({"dns_server": web.at.dns}).settings
    found = {}
    async with frontier_of(str(out), settings) as frontier:
        record = await frontier.registry.job(JOB)
        assert record is not None
        for url in urls:
            facts = await explain(frontier, record, parse(url), settings)
            found[url] = facts, conclude(facts)
    return found


def one_of_each(ended: dict[str, str]) -> dict[str, str]:
    """The first URL that ended for each reason."""
    return {url: reason for reason, url in sorted(((r, u) for u, r in ended.items()), reverse=True)}


async def test_what_it_says_is_what_the_crawl_did(web: Web, tmp_path: Path) -> None:
    out = tmp_path / "out"
    hidden = parse(web.at.seeds[0]).url + "never-linked"
    args = ["crawl", *web.options(), "--workers", "2", "--out", str(out), "--json"]
    done = comity(*args, "--exclude", "*never-linked*")
    assert done.returncode == 0, done.stderr
    truth, stored = web.truth(), rows(out, "url", "reason", "page_id", "duplicate_of")

    ended = one_of_each({row["url"]: row["reason"] for row in stored if row["reason"]})
    assert len(ended) > 10
    unreached = one_of_each(truth["unreached"])
    assert unreached
    kept = next(row["url"] for row in stored if not row["reason"])
    likeness = {row["page_id"]: row for row in stored}
    copy = next(row for row in stored if row["duplicate_of"])
    others = [kept, copy["url"], hidden, "http://elsewhere.example/", f"{web.at.seeds[0]}never-met"]
    found = await explained(web, out, [*ended, *unreached, *others])

    said = {url: conclusion.code for url, (_, conclusion) in found.items()}
    assert {url: said[url] for url in ended} == ended
    assert {url: said[url] for url in unreached} == unreached
    assert said[kept] == said[copy["url"]] == "stored"
    assert likeness[copy["duplicate_of"]]["url"] in found[copy["url"]][1].text
    assert said[hidden] == "excluded"
    assert said[f"{web.at.seeds[0]}never-met"] == "undiscovered"
    denied = next(url for url, reason in ended.items() if reason == "robots-denied")
    robots = found[denied][0].robots
    assert robots is not None
    assert (robots.allowed, robots.rule[:9]) == (False, "Disallow:")
    assert f"line {robots.line}: {robots.rule}" in found[denied][1].text

    before = len(web.requests())
    text = comity("explain", denied, str(out), "--dns-server", web.at.dns)
    assert (text.returncode, text.stderr) == (0, "")
    assert "robots-denied" in text.stdout
    assert robots.rule in text.stdout
    shown = comity("explain", kept, str(out), "--dns-server", web.at.dns, "--json")
    answer: dict[str, Any] = json.loads(shown.stdout)[JOB]
    assert (answer["code"], answer["facts"]["url"]["url"]) == ("stored", kept)
    assert [row["url"] for row in answer["facts"]["rows"]] == [kept]
    assert len(web.requests()) == before  # nobody was contacted
    assert "not a URL" in refused("explain", "http://", str(out))
    assert "holds no frontier" in refused("explain", kept, str(tmp_path))
    assert "no such job" in refused("explain", kept, str(out), "--name", "other")
