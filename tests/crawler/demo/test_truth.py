"""The truth against crawls of the model in adverse orders, and its account of each policy."""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.demo.build import build
from crawler.demo.model import DemoError, Link, Web, url
from crawler.demo.policy import Policy
from crawler.demo.policy import parse as policy
from crawler.demo.truth import truth

PORT = 8123
Found = tuple[Link, int, int]  # link, depth, redirect hops
Order = Callable[[list[Found], random.Random], int]


@cache
def web(seed: int, size: str) -> Web:
    return build(seed, size)


def crawl(site: Web, limit: int, order: Order, rng: random.Random) -> dict[str, int]:
    """A crawl that takes queued URLs in any order and keeps the depth of first discovery."""
    fetched: dict[str, int] = {}
    queue: list[Found] = [(site.portal, 0, 0)]
    seen = {(site.portal.host, site.portal.path)}
    while queue:
        at = order(queue, rng)
        queue[at], queue[-1] = queue[-1], queue[at]
        link, depth, hops = queue.pop()
        host = site.hosts.get(link.host)
        page = None if host is None else host.page(link.path)
        if host is None or page is None or host.unreached or not page.allowed or hops > 10:
            continue
        if page.answer.status == 503 and page.answer.retry_after > 300:
            continue
        fetched[url(link.host, link.path, PORT)] = depth
        found: list[Found] = []
        if page.answer.location is not None:
            found.append((page.answer.location, depth, hops + 1))
        if page.answer.status == 200:
            found.extend((target, depth + 1, 0) for target in page.links)
        for target, level, count in found:
            identity = (target.host, target.path)
            if level <= limit and identity not in seen:
                seen.add(identity)
                queue.append((target, level, count))
    return fetched


def newest(queue: list[Found], _: random.Random) -> int:
    return len(queue) - 1


def oldest(_: list[Found], __: random.Random) -> int:
    return 0


def anywhere(queue: list[Found], rng: random.Random) -> int:
    return rng.randrange(len(queue))


def deepest(queue: list[Found], _: random.Random) -> int:
    return max(range(len(queue)), key=lambda at: queue[at][1])


def same_host(queue: list[Found], rng: random.Random) -> int:
    favourite = rng.choice(queue)[0].host
    return next(at for at, item in enumerate(queue) if item[0].host == favourite)


def expected(site: Web, limit: int) -> dict[str, int]:
    must = truth(site, Policy(depth=limit), PORT)["must"]
    return {address: entry["depth"] for address, entry in must.items()}


@pytest.mark.parametrize("order", [newest, oldest, anywhere, deepest, same_host])
@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 5, 6, 8])
def test_a_crawl_in_any_order_fetches_the_same_set(order: Order, limit: int) -> None:
    site = web(7, "small")
    assert crawl(site, limit, order, random.Random(limit)) == expected(site, limit)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.integers(1, 7), st.randoms(use_true_random=False))
def test_any_web_to_any_depth_in_random_order(seed: int, limit: int, rng: random.Random) -> None:
    site = web(seed, "small")
    assert crawl(site, limit, anywhere, rng) == expected(site, limit)


@pytest.mark.parametrize("order", [newest, anywhere])
def test_the_default_web_in_random_and_depth_first_order(order: Order) -> None:
    site = web(1, "default")
    for limit in (2, 4, 6):
        assert crawl(site, limit, order, random.Random(3)) == expected(site, limit)


def test_depths_are_those_of_the_model() -> None:
    site = web(1, "default")
    for address, entry in truth(site, Policy(), PORT)["must"].items():
        host, path = address.removeprefix("http://").split(f":{PORT}", 1)
        page = site.page(host, path)
        assert page is not None
        assert entry["depth"] == page.depth or page.feature == "session-trap"


def test_one_seed_reaches_everything_that_is_linked_and_allowed() -> None:
    site = web(1, "default")
    known = truth(site, Policy(), PORT)
    for host in site.hosts.values():
        for page in host.pages.values():
            if page.kind != "page" or host.unreached or page.feature == "sitemap-only":
                continue
            address = url(page.host, page.path, PORT)
            wanted = page.allowed and page.feature not in ("long-chain", "landing", "retry-later")
            assert (address in known["must"]) >= wanted
            assert (address in known["must"]) != (address in known["must_not"] + known["may"])


def test_reasons_of_what_is_not_fetched() -> None:
    known = truth(web(7, "small"), Policy(), PORT)
    assert set(known["dropped"].values()) == {
        "robots-denied",
        "refused",
        "dns-nxdomain",
        "redirect-limit",
    }
    assert set(known["unreached"].values()) == {"robots-unreachable", "parked", "retry-after"}
    assert not known["must"].keys() & set(known["must_not"])
    assert known["may"] == [
        u for u, reason in known["unreached"].items() if reason == "retry-after"
    ]


def test_patience_turns_a_long_wait_into_a_request() -> None:
    known = truth(web(7, "small"), Policy(max_wait=10_000), PORT)
    assert "retry-after" not in known["unreached"].values()
    later = next(e for e in known["must"].values() if e["feature"] == "retry-later")
    assert later == {
        "status": 503,
        "times": 3,
        "times_min": 1,
        "kind": "page",
        "feature": "retry-later",
        "depth": 1,
    }


def counts(query: str) -> dict[str, Any]:
    return truth(web(7, "small"), policy(query), PORT)


def test_depth_cuts_traps() -> None:
    def trapped(limit: int) -> int:
        must = counts(f"depth={limit}")["must"]
        return sum(entry["feature"] == "session-trap" for entry in must.values())

    assert [trapped(limit) for limit in (1, 2, 3, 6)] == [0, 1, 3, 31]


def test_without_traps_their_urls_may_or_may_not_be_fetched() -> None:
    known = counts("traps=0&depth=none")
    assert len(known["may_prefixes"]) == 3
    assert not any(entry["feature"].endswith("-trap") for entry in known["must"].values())


def test_scope_host_stays_on_the_seeds_host() -> None:
    known = counts("scope=host")
    portal = known["seeds"][0]
    assert known["must"]
    assert all(address.startswith(portal) for address in known["must"])
    assert sum(host["contacted"] for host in known["hosts"].values()) == 1


def test_scope_prefix_holds_what_is_below_the_seed() -> None:
    site = web(7, "small")
    page = next(
        page
        for host in site.hosts.values()
        for page in host.pages.values()
        if page.path.count("/") == 2 and page.path.endswith("/") and len(page.links) > 4
    )
    seed = url(page.host, page.path, PORT)
    known = truth(site, Policy(scope="prefix", seeds=(seed,)), PORT)
    assert len(known["must"]) > 1
    assert all(address.startswith(seed) for address in known["must"])


def test_honoured_signals_leave_out_what_lies_below() -> None:
    ignored, honoured = counts("signals=ignore")["must"], counts("signals=honour")["must"]
    features = {ignored[address]["feature"] for address in ignored.keys() - honoured.keys()}
    assert features == {"below-nofollow", "rel-nofollow"}
    assert not honoured.keys() - ignored.keys()


def test_honoured_signals_say_what_may_be_kept() -> None:
    ignored, honoured = counts("signals=ignore"), counts("signals=honour")
    withheld = {u: e["withheld"] for u, e in honoured["must"].items() if "withheld" in e}
    reasons = {"noindex", "noarchive", "noai", "train-ai", "tdm-reservation"}
    assert set(withheld.values()) == {f"signal-{name}" for name in reasons}
    assert not any("withheld" in entry for entry in ignored["must"].values())
    pages = sum(e["kind"] == "page" and e["status"] == 200 for e in honoured["must"].values())
    assert honoured["pages"] == pages - len(withheld)


def test_sitemaps_add_their_pages() -> None:
    none, listed, known = (counts(f"sitemaps={n}")["must"] for n in (0, 1, 2))
    assert none.keys() < listed.keys() < known.keys()
    added = [listed[address] for address in listed.keys() - none.keys()]
    assert sorted((e["kind"], e["feature"]) for e in added) == [
        *[("page", "sitemap-only")] * 6,
        *[("sitemap", "")] * 4,
    ]


def test_another_agent_has_other_rights() -> None:
    mine, others = counts(""), counts("agent=otherbot")
    assert set(mine["denied"]) != set(others["denied"])
    assert len(others["must"]) < len(mine["must"])


def test_unreachable_hosts_and_mirrors_are_told() -> None:
    known = counts("")
    assert known["mirrors"]
    assert len(known["near_duplicates"]) == 14
    kinds = {host["robots"] for host in known["hosts"].values()}
    assert {"none", "closed", "delay-1", "unavailable", "redirect-host"} <= kinds
    for host in known["hosts"].values():
        assert host["address"].startswith("127.")
        assert host["robots_urls"][0].endswith("/robots.txt")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("depth=-1", "depth"),
        ("depth=none", "traps must be 0"),
        ("scope=galaxy", "any, host, domain, prefix"),
        ("colour=red", "unknown key 'colour'"),
        ("max_wait=nan", "max_wait"),
        ("max_wait=soon", "max_wait"),
        ("clocks=host,moon", "clocks"),
        ("agent=", "agent"),
        ("policy=depth%3Dx", "depth"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(query: str, message: str) -> None:
    with pytest.raises(DemoError, match=message):
        policy(query)


@pytest.mark.parametrize(
    "seed",
    [
        "http://127.42.0.1:1/",
        "nonsense",
        "http://[x",
        f"http://127.42.0.1:{PORT}/absent",
        "http://h:x/",
    ],
)
def test_a_seed_outside_of_the_web_is_refused(seed: str) -> None:
    with pytest.raises(DemoError, match="seed"):
        truth(web(7, "small"), Policy(seeds=(seed,)), PORT)


def test_a_policy_is_read_from_a_query_string() -> None:
    query = "depth=6&scope=any&traps=1&signals=ignore&sitemaps=0&clocks=host&max_wait=300"
    assert policy(query) == Policy()
    assert policy("policy=depth%3D2%26scope%3Dhost") == Policy(depth=2, scope="host")
    assert policy("clocks=host,address").clocks == ("host", "address")
    assert policy("seed=http://a/&seeds=http://b/").seeds == ("http://a/", "http://b/")
