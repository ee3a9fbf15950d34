"""The model: determinism, the invariant of depths, and that every link is written right."""

import hashlib
import subprocess
import sys
from collections import Counter

import ada_url
import pytest
from selectolax.lexbor import LexborHTMLParser

from crawler.demo import render
from crawler.demo.build import SIZES, build
from crawler.demo.href import FORMS, JUNK
from crawler.demo.model import DemoError, Document, Page, Web, url
from crawler.demo.traps import Calendar, Sessions, Spiral
from tests.crawler.demo.resolving import resolve

PORT = 8123
GOLDEN = {
    (7, "small"): "1075b8235ffa93d25ae2490eea300e35ab8009ddc27eebf3982ad72d88711e6e",
    (1, "default"): "0464808eb62429fb2287da8140340c70c97893dc10deb30f71b829c0e7e0e082",
}


def bodies(web: Web) -> str:
    state = hashlib.sha256()
    for host in web.hosts.values():
        for page in host.pages.values():
            if page.path != "/robots.txt" or host.robots != "big":
                state.update(render.body(page, host, PORT))
    return state.hexdigest()


@pytest.mark.parametrize(("seed", "size"), GOLDEN)
def test_a_web_follows_from_seed_and_size(seed: int, size: str) -> None:
    assert build(seed, size).digest() == GOLDEN[seed, size]


def test_another_process_makes_the_same_web() -> None:
    code = (
        "from crawler.demo.build import build; from tests.crawler.demo.test_build import bodies;"
        "web = build(7, 'small'); print(web.digest(), bodies(web))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    web = build(7, "small")
    assert other.stdout.split() == [web.digest(), bodies(web)]


def test_seeds_differ() -> None:
    assert build(1, "small").digest() != build(2, "small").digest()


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(DemoError, match="small, default, large"):
        build(1, "huge")


@pytest.mark.parametrize("seed", range(6))
def test_any_seed_gives_a_web_of_every_size(seed: int) -> None:
    for size in ("small", "default"):
        web = build(seed, size)
        assert abs(len(web.hosts) - SIZES[size].hosts) < 20
        assert web.portal.path == "/"


def test_sizes_follow_a_power_law_within_bounds() -> None:
    web = build(1, "default")
    sizes = sorted((len(host.pages) for host in web.hosts.values()), reverse=True)
    assert 3000 <= sum(sizes) <= 5000
    assert sizes[0] <= 200  # the largest host bounds how long a polite crawl takes
    assert sizes[0] > 3 * sizes[10] > 6 * sizes[60]


def test_several_names_share_an_address_and_addresses_stand_alone() -> None:
    web = build(1, "default")
    shared = Counter(host.address for host in web.hosts.values() if host.name != host.address)
    assert max(shared.values()) >= 3
    assert all(address.startswith("127.") for address in web.addresses)
    assert not set(web.addresses) & web.refused
    assert not set(web.names) & web.absent
    by_address = [host for host in web.hosts.values() if host.name == host.address]
    assert len(by_address) > len(web.hosts) // 3


def test_depth_never_depends_on_the_way() -> None:
    """A link leads one level down, or to a page that was discovered before by every way."""
    web = build(3, "default")
    for host in web.hosts.values():
        for page in host.pages.values():
            for link in page.links:
                target = web.page(link.host, link.path)
                if target is None or target.depth < 0:
                    continue
                assert target.depth <= page.depth + 1 or page.depth < 0
            if page.answer.location is not None:
                target = web.page(page.answer.location.host, page.answer.location.path)
                assert target is not None
                assert page.kind == "robots" or target.depth in (page.depth, 1)


def html_links(page: Page, body: bytes) -> list[str]:
    assert isinstance(page.content, Document)
    tree = LexborHTMLParser(body.decode(page.content.charset.actual))
    node = tree.css_first("base")
    here = url(page.host, page.path, PORT)
    base = here if node is None else ada_url.join_url(here, node.attributes["href"] or "")
    return [resolve(base, str(anchor.attributes["href"])) for anchor in tree.css("a[href]")]


@pytest.mark.parametrize("seed", [1, 7])
def test_links_as_written_resolve_to_their_targets(seed: int) -> None:
    """Holds for every form of link, against the WHATWG resolver of another project (ada)."""
    web = build(seed, "default")
    forms: Counter[str] = Counter()
    checked = 0
    for host in web.hosts.values():
        for page in host.pages.values():
            content = page.content
            if not isinstance(content, Document) or page.answer.status != 200:
                continue
            if content.media == "text/plain":
                assert not page.answer.truncated
                continue
            found = [
                link
                for link in html_links(page, render.body(page, host, PORT))
                if link.startswith("http") and link != url(page.host, page.path, PORT)
            ]
            wanted = [url(link.host, link.path, PORT) for link in page.links]
            wanted = [link for link in wanted if link != url(page.host, page.path, PORT)]
            assert sorted(found) == sorted(wanted), (page.host, page.path)
            forms.update(link.form for link in page.links)
            checked += bool(content.junk)
    assert set(forms) == set(FORMS)
    assert checked > 10


@pytest.mark.parametrize("junk", JUNK)
def test_junk_leads_nowhere(junk: str) -> None:
    here = f"http://127.0.0.9:{PORT}/a/b.html"
    assert resolve(here, junk) in ("", here) or not resolve(here, junk).startswith("http")


def test_urls_of_the_web_are_canonical() -> None:
    web = build(1, "default")
    for host in web.hosts.values():
        for page in host.pages.values():
            mine = url(page.host, page.path, PORT)
            assert ada_url.URL(mine).href == mine


def test_mirrors_have_equal_bytes() -> None:
    web = build(1, "default")
    assert web.mirrors
    for one, other in web.mirrors:
        first, second = web.hosts[one], web.hosts[other]
        assert first.pages.keys() == second.pages.keys()
        assert first.address != second.address
        for path, page in first.pages.items():
            copy = second.pages[path]
            assert render.body(page, first, PORT) == render.body(copy, second, PORT)


def test_near_duplicates_cover_the_scale_of_similarity() -> None:
    web = build(1, "small")
    known = sorted(similarity for _, _, similarity in web.near_duplicates)
    assert known[0] < 0.55
    assert known[-1] == 1.0
    assert sum(0.7 <= value <= 0.9 for value in known) >= 6


def test_every_promised_feature_is_there_in_every_size() -> None:
    for size in ("small", "default"):
        web = build(2, size)
        pages = [page for host in web.hosts.values() for page in host.pages.values()]
        assert {301, 302, 303, 307, 308, 404, 410, 500, 503} <= {p.answer.status for p in pages}
        assert {429, 503} <= {p.answer.failure_status for p in pages}
        assert any(p.answer.failure_status == 429 and not p.answer.retry_after for p in pages)
        assert {p.answer.framing for p in pages} == {"length", "chunked", "close"}
        features = {page.feature for page in pages}
        assert {"truncated", "slow", "drip", "loop", "self-loop", "long-chain"} <= features
        signals = {signal for page in pages for signal in page.signals}
        assert {"noindex", "nofollow", "noai"} <= signals
        traps = {type(host.trap) for host in web.hosts.values() if host.trap}
        assert traps == {Calendar, Sessions, Spiral}


def test_hosts_of_the_default_web_use_every_coding() -> None:
    codings = {host.coding for host in build(2, "default").hosts.values()}
    assert codings == {"", "gzip", "br", "zstd", "deflate", "deflate-raw"}
