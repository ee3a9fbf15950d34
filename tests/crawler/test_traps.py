"""crawler.traps: what a path gives away, what is counted under which name, and how much is kept."""

from __future__ import annotations

import os
import sysconfig
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import traps
from crawler.demo.build import build
from crawler.demo.policy import Policy
from crawler.demo.truth import truth
from crawler.job import JobSpec
from crawler.traps import Traps, endless, kind_of_query, patterns
from frontier.tally import Tally
from frontier.url import Url, parse

SPEC = JobSpec()
OFF = JobSpec(
    max_path_depth=0, max_repeats=0, max_query_keys=0, max_query_variants=0, stale_after=0
)
WORD = st.text("abcdefghijklmnopqrstuvwxyz-_", min_size=2, max_size=8)


def at(path: str, host: str = "a.test") -> Url:
    return parse(f"http://{host}{path}")


def judge(path: str, **bounds: int) -> str | None:
    return endless(at(path), JobSpec(**bounds))


class TestPaths:
    @given(st.integers(1, 40), st.integers(0, 45), st.booleans())
    def test_depth_is_exact(self, bound: int, depth: int, slash: bool) -> None:
        path = "".join(f"/s{n}" for n in range(depth)) + "/" * (slash or not depth)
        expected = "trap-depth" if depth > bound else None
        assert judge(path + "?q=/1/2/3/4", max_path_depth=bound, max_repeats=0) == expected

    @given(st.lists(WORD, min_size=1, max_size=4, unique=True), st.integers(1, 6))
    def test_a_repeated_sequence_is_found_from_the_first_one_too_many(
        self, words: list[str], bound: int
    ) -> None:
        step = "/" + "/".join(words)
        bounds = {"max_path_depth": 0, "max_repeats": bound}
        assert judge("/start" + step * bound + "/end", **bounds) is None
        assert judge("/start" + step * (bound + 1) + "/end", **bounds) == "trap-repeats"

    @given(st.lists(WORD, max_size=30, unique=True), st.booleans())
    def test_different_segments_are_never_repeats(self, words: list[str], slash: bool) -> None:
        path = "/" + "/".join(words) + "/" * slash
        assert judge(path, max_path_depth=0, max_repeats=1) is None

    @pytest.mark.parametrize(
        "path",
        [
            "/a/b" * 5,  # single letters, in pairs
            "/en/products/en/about/en/contact/en/products/en/about",  # not side by side
            "/x///////y",  # nothing, again and again
            "/%D0%B0/b" * 5,
        ],
    )
    def test_traps(self, path: str) -> None:
        assert endless(at(path), SPEC) == "trap-repeats"

    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/2024/01/01/01/01/01/01/index.html",
            "/tiles/0/0/0/0/0/0/0.png",
            "/dictionary/m/i/s/s/i/s/s/i/p/p/i",
            "/shard/a/a/a/a/4f3b.html",
            "/org/repo/tree/main/repo/src/repo/repo/init.py",
            "/web/20200101000000/http://example.org/a//b",
            "/search?path=/a/b/a/b/a/b/a/b/a/b/a/b",
        ],
    )
    def test_sane_paths(self, path: str) -> None:
        assert endless(at(path), SPEC) is None

    def test_bounds_can_be_off(self) -> None:
        assert endless(at("/a/b" * 500), OFF) is None

    def test_no_file_of_an_installation_is_left_out(self) -> None:
        """Paths that people made: a Python installation, and documentation where there is some."""
        seen = 0
        for root in (sysconfig.get_path("stdlib"), "/usr/share/doc"):
            for directory, _, files in os.walk(root):
                for name in files:
                    url = at(quote(os.fsencode(f"{directory}/{name}")))
                    assert endless(url, SPEC) is None
                    seen += 1
        assert seen > 500

    def test_no_page_of_the_demo_web_is_left_out(self) -> None:
        found = truth(build(7, "small"), Policy(), 8000)
        assert len(found["must"]) > 100
        assert [u for u in found["must"] if endless(parse(u), SPEC)] == []


class TestNames:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("/", []),
            ("/about.html", []),
            ("/?sid=1", ["/?"]),
            ("/item-17", ["/#"]),
            ("/index.php?id=4", ["/index.php?"]),
            ("/shop/item-3?sid=ab12", ["/shop/", "/shop/#?"]),
            ("/calendar/2030/01/02", ["/calendar/", "/calendar/#/", "/calendar/#/#/",
                                      "/calendar/#/#/#"]),
            ("/(S(k3j4))/home", ["/#/"]),
            ("/caf%C3%A9/", ["/caf%C3%A9/"]),  # digits of an escape are none
            ("/a/b/c/d/e/f/g/h?x", ["/a/", "/a/b/", "/a/b/c/", "/a/b/c/d/", "/a/b/c/d/e/",
                                    "/a/b/c/d/e/f/"]),
        ],
    )  # fmt: skip
    def test_patterns(self, path: str, expected: list[str]) -> None:
        assert patterns(at(path).path) == expected

    @given(st.text("/a1?=&-.%", max_size=60))
    def test_patterns_are_few(self, tail: str) -> None:
        found = patterns(at("/" + tail).path)
        assert len(found) == len(set(found)) <= traps.LEVELS + 1

    def test_the_kind_of_a_query_is_its_set_of_keys(self) -> None:
        one = kind_of_query("a=1&b=2")
        assert len(one) == 4
        assert {kind_of_query(q) for q in ("b=7&a=", "a=1;b=2", "a&a=1&b=2&b=3")} == {one}
        assert kind_of_query("a=1") != one
        assert kind_of_query("12345") == kind_of_query("67890") == kind_of_query("")

    @given(st.text(max_size=40))
    def test_any_query_has_a_kind(self, query: str) -> None:
        assert len(kind_of_query(at("/?" + query).path.partition("?")[2])) == 4


def told(
    watching: Traps, urls: list[Url], answer: dict[str, tuple[int, int]]
) -> list[tuple[str, int, int]]:
    """Take what is to be added and answer by kind; (kind, a, b) of each item."""
    items = watching.take(urls)
    watching.learn(items, [answer[item.kind] for item in items])
    return [(item.kind, item.a, item.b) for item in items]


class TestVerdicts:
    @pytest.mark.parametrize(
        ("pages", "new", "verdict"),
        [(199, 0, ""), (200, 3, "stale-prefix"), (200, 4, ""), (399, 7, "stale-prefix")],
    )
    def test_a_prefix_is_stale_from_the_thresholds_on(
        self, pages: int, new: int, verdict: str
    ) -> None:
        watching = Traps(SPEC)
        watching.fetched(at("/shop/x"), new=True)
        assert told(watching, [], {"p": (pages, new)}) == [("p", 1, 1)]
        assert watching.verdict(at("/shop/y?z=1")) == verdict
        assert watching.verdict(at("/other/y")) == ""
        assert watching.verdict(at("/shop/y", "b.test")) == ""

    def test_a_prefix_with_new_pages_is_good_again(self) -> None:
        watching = Traps(SPEC)
        for counts, verdict in (((250, 0), "stale-prefix"), ((260, 9), "")):
            watching.fetched(at("/shop/x"), new=True)
            told(watching, [], {"p": counts})
            assert watching.verdict(at("/shop/y")) == verdict

    def test_pages_are_added_up_until_they_are_taken(self) -> None:
        watching = Traps(SPEC)
        for n in range(10):
            watching.fetched(at(f"/shop/{n}"), new=n < 3)
        answer = {"p": (10, 3)}
        assert told(watching, [], answer) == [("p", 10, 3), ("p", 10, 3)]  # /shop/ and /shop/#
        assert told(watching, [], answer) == []

    def test_keys_beyond_the_bound_are_told_from_those_within(self) -> None:
        watching = Traps(SPEC)
        assert told(watching, [at("/list?page=1")], {"q": (0, 1)}) == [("q", 0, 0)]
        assert told(watching, [at("/list?page=2&a=1")], {"q": (0, 0)}) == [("q", 0, 0)]
        assert watching.verdict(at("/list?a=5&page=9")) == "trap-query"
        assert watching.verdict(at("/list?page=9")) == ""
        assert watching.verdict(at("/list")) == ""
        assert watching.verdict(at("/other?a=5&page=9")) == ""
        assert told(watching, [at("/list?page=3"), at("/list?page=4&a=2")], {}) == []  # known

    @pytest.mark.parametrize(("variants", "verdict"), [(10_000, ""), (10_001, "trap-query")])
    def test_queries_beyond_the_bound(self, variants: int, verdict: str) -> None:
        watching = Traps(SPEC)
        watching.accepted(at("/cal?date=1"))
        watching.accepted(at("/cal?date=2"))
        assert told(watching, [], {"q": (variants, 0)}) == [("q", 2, 0)]
        assert watching.verdict(at("/cal?date=3")) == verdict
        assert watching.verdict(at("/cal")) == ""

    def test_bounds_can_be_off(self) -> None:
        watching = Traps(OFF)
        watching.fetched(at("/shop/1?x=2"), new=False)
        watching.accepted(at("/shop/1?x=2"))
        assert watching.take([at("/shop/1?x=2")]) == []
        assert watching.verdict(at("/shop/1?x=2")) == ""

    @given(st.lists(st.sampled_from(["/a", "/b/c", "/d?e=1", "/d?f=1", "/g/1?h=2"]), max_size=20))
    def test_nothing_is_said_of_what_nothing_is_known_of(self, paths: list[str]) -> None:
        watching = Traps(SPEC)
        for path in paths:
            watching.fetched(at(path), new=False)
            watching.accepted(at(path))
        assert {watching.verdict(at(path)) for path in paths} <= {""}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traps, "NOTES", 20)
    monkeypatch.setattr(traps, "MEMORY", 30)
    watching = Traps(SPEC)
    for n in range(500):
        url = at(f"/d{n % 7}x/e?k{n}=1", f"h{n}.test")
        for _ in range(3):
            watching.fetched(url, new=False)
            watching.accepted(url)
        assert len(watching.take([])) <= 40
        items = [Tally("p", url, f"p{n}"), Tally("q", url, f"q{n}", 1), Tally("q", url, f"q{n}")]
        watching.learn(items, [(300, 0), (20_000, 0), (20_000, 0)])
    sizes = [len(value) for value in vars(watching).values() if isinstance(value, dict)]
    assert max(sizes) == 30
