"""frontier.robots: the published suites, RFC 9309, and whatever bytes a server may send."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier.robots import (
    ALLOW_ALL,
    DISALLOW_ALL,
    MAX_BODY,
    RobotsVerdict,
    UsageLine,
    parse,
    path_of,
)
from tests.frontier.robots_cases import GOOGLE, RFC9309, Case
from tests.frontier.robots_commons import BUECHER, CRAWL_DELAYS, CRAWLER_COMMONS, Delay
from tests.frontier.robots_deviations import DELAY_DEVIATIONS, DEVIATIONS

# The same examples each time, and no verdict on how busy the machine is.


def _check(case: Case) -> None:
    robots = parse(case.robots.encode())
    for expected, paths in ((True, case.allowed), (False, case.denied)):
        for path in paths:
            # As given, and as a crawled URL would have it: the verdict must not depend on that.
            for spelling in {path or "/", path_of("http://foo.bar" + path)}:
                verdict = robots.verdict(case.agent, spelling)
                assert verdict.allowed is expected, (path, spelling, verdict)


@pytest.mark.parametrize("case", GOOGLE)
def test_google_suite(case: Case) -> None:
    _check(case)


def test_google_suite_is_whole_but_for_the_deviations() -> None:
    assert sum(len(case.allowed) + len(case.denied) for case in GOOGLE) == 142
    assert sum(whose == "Google denies" for _, whose, _ in DEVIATIONS) == 145 - 142


@pytest.mark.parametrize("case", CRAWLER_COMMONS)
def test_crawler_commons_suite(case: Case) -> None:
    _check(case)


@pytest.mark.parametrize("case", RFC9309)
def test_rfc_9309(case: Case) -> None:
    _check(case)


@pytest.mark.parametrize(("case", "whose", "why"), DEVIATIONS)
def test_deviations(case: Case, whose: str, why: str) -> None:
    assert whose
    assert why
    _check(case)


@pytest.mark.parametrize("delay", [*CRAWL_DELAYS, *(delay for delay, _, _ in DELAY_DEVIATIONS)])
def test_crawler_commons_delays(delay: Delay) -> None:
    assert parse(delay.robots.encode()).crawl_delay(delay.agent) == delay.seconds


def test_latin_1_spoils_only_the_rules_that_need_it() -> None:
    robots = parse(BUECHER.encode("latin-1"))
    assert robots.verdict("mybot", "/b%C3%BCcher/1").allowed
    assert not robots.verdict("mybot", "/b%FCcher/1").allowed
    assert not robots.verdict("mybot", "/könyvek/1").allowed
    assert robots.verdict("goodbot", "/b%C3%BCcher/1").allowed


def test_verdict_names_rule_and_line() -> None:
    robots = parse(b"\xef\xbb\xbfUser-agent: *\r\n\r\nDisallow: /Z\xc3\xbc # no\rAllow: /z$\n")
    assert robots.verdict("any", "/Z%C3%BC/x") == RobotsVerdict(False, "/Zü", 3)
    assert robots.verdict("any", "/z") == RobotsVerdict(True, "/z$", 4)
    assert robots.verdict("any", "/") == RobotsVerdict(True, None, None)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "\n"])
def test_lines_are_counted_alike_whatever_ends_them(ending: str, last: str) -> None:
    text = f"User-Agent: foo\nAllow: /some\nUser-Agent: bar\n\n\nDisallow: /{last}"
    robots = parse(text.replace("\n", ending).encode())
    assert robots.verdict("bar", "/") == RobotsVerdict(False, "/", 6)
    assert robots.verdict("foo", "/some") == RobotsVerdict(True, "/some", 2)


@pytest.mark.parametrize(
    ("start", "read"),
    [
        (b"\xef\xbb\xbf", True),
        (b"\xef\xbb", True),
        (b"\xef", True),
        (b"\xef\x11\xbf", False),
        (b"\n\xef\xbb\xbf", False),
    ],
)
def test_byte_order_mark(start: bytes, read: bool) -> None:
    robots = parse(start + b"User-agent: *\nDisallow: /\n")
    assert robots.verdict("any", "/").allowed is not read


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_needs_its_mark(encoding: str) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    body = mark + "User-agent: *\nDisallow: /ü\n".encode(encoding)
    assert not parse(body).verdict("any", "/%C3%BC").allowed


@pytest.mark.parametrize(
    "agent", ["comity", "Comity", "comity/1.0", "comity/1.0 (+https://example.org/bot)"]
)
def test_the_product_token_is_what_counts(agent: str) -> None:
    robots = parse(b"User-agent: *\nAllow: /\nUser-agent: COMITY/0.9\nDisallow: /a\n")
    assert not robots.verdict(agent, "/a").allowed
    assert robots.verdict("comit", "/a").allowed
    assert robots.verdict("comity2", "/a").allowed


def test_star_is_a_group_not_a_name() -> None:
    robots = parse(b"User-agent: * (all)\nDisallow: /a\nUser-agent: *bot\nDisallow: /b\n")
    assert not robots.verdict("any", "/a").allowed
    assert robots.verdict("any", "/b").allowed


def test_robots_txt_itself_is_always_allowed() -> None:
    robots = parse(b"User-agent: *\nDisallow: /\n")
    assert robots.verdict("any", "/robots.txt").allowed
    assert DISALLOW_ALL.verdict("any", "/robots.txt").allowed


def test_blanket_verdicts_name_no_rule() -> None:
    assert ALLOW_ALL.verdict("any", "/x") == RobotsVerdict(True, None, None)
    assert DISALLOW_ALL.verdict("any", "/x") == RobotsVerdict(False, None, None)
    assert DISALLOW_ALL.crawl_delay("any") is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("10", 10.0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("0", 0.0),
        ("10 s", 10.0),
        ("10 seconds # really", 10.0),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("1/10", None),
        ("9" * 400, 1e9),
    ],
)
def test_crawl_delay_values(value: str, seconds: float | None) -> None:
    assert parse(f"User-agent: *\nCrawl-delay: {value}\n".encode()).crawl_delay("any") == seconds


def test_crawl_delay_is_the_agents_own() -> None:
    """As crawler-commons: independent of the groups' rules, never taken over from ``*``."""
    robots = parse(
        b"User-agent: mybot\nCrawl-delay: 10\nUser-agent: yourbot\nDisallow: /private/\n\n"
        b"User-agent: *\nAllow: /\n\nUser-agent: yourbot\nDisallow: /login/\n\n"
        b"User-agent: *\nCrawl-delay: 30\n"
    )
    assert robots.crawl_delay("mybot") == 10
    assert robots.crawl_delay("yourbot") is None
    assert robots.crawl_delay("other") == 30
    assert not robots.verdict("mybot", "/private/").allowed
    assert not robots.verdict("yourbot", "/login/").allowed


def test_of_several_crawl_delays_the_longest_counts() -> None:
    robots = parse(b"User-agent: a\nUser-agent: b\nCrawl-delay: 5\nCrawl-delay: 2\nDisallow: /x\n")
    assert robots.crawl_delay("a") == robots.crawl_delay("b") == 5
    assert parse(b"Crawl-delay: 5\n").crawl_delay("a") is None


def test_sitemaps_are_global_in_order_and_once_each() -> None:
    robots = parse(
        b"Sitemap: https://a.example/1.xml\nUser-agent: x\nDisallow: /\nsite-map: /2.XML\n"
        b"Sitemap https://a.example/3.xml\nSITEMAP:https://a.example/1.xml\nSitemap:\n"
    )
    assert robots.sitemaps == ("https://a.example/1.xml", "/2.XML", "https://a.example/3.xml")


def test_usage_lines_belong_to_their_group() -> None:
    robots = parse(
        b"License: https://a.example/license.xml\nUser-agent: *\n"
        b"Content-Signal: search=yes, ai-train=no # please\nDisallow:\n\nUser-agent: One\n"
        b"User-agent: two\nContent-Usage: /x train-ai=n\nContent-Signals: ai-input=yes\n"
        b"Disallow: /\n"
    )
    licence = UsageLine("license", "https://a.example/license.xml", 1, ())
    signal = UsageLine("content-signal", "search=yes, ai-train=no", 3, ("*",))
    usage = UsageLine("content-usage", "/x train-ai=n", 8, ("one", "two"))
    signals = UsageLine("content-signal", "ai-input=yes", 9, ("one", "two"))
    assert robots.usage == (licence, signal, usage, signals)
    assert robots.usage_for("TWO/1.0") == (licence, usage, signals)
    assert robots.usage_for("other") == (licence, signal)
    assert not robots.verdict("one", "/").allowed


def test_only_the_first_500_kib_are_read_and_no_half_line() -> None:
    head = b"User-agent: *\nDisallow: /early\n"
    filler = b"# " + b"x" * 97 + b"\n"
    body = head + filler * ((MAX_BODY - len(head) - 60) // len(filler))
    cut = body + b"#" * (MAX_BODY - len(body) - 15) + b"\nDisallow: /late/private\n"
    assert cut[:MAX_BODY].endswith(b"Disallow: /lat")
    robots = parse(cut)
    assert not robots.verdict("any", "/early").allowed
    assert robots.verdict("any", "/late").allowed
    assert robots.verdict("any", "/late/private").allowed


def test_no_pattern_and_no_file_makes_it_slow() -> None:
    wild = b"User-agent: *\n" + b"".join(
        b"Disallow: /" + b"*a" * 20 + b"*%d\n" % number for number in range(8_000)
    )
    files = {
        "one rule of stars": b"User-agent: *\nDisallow: /" + b"*a" * 8_000 + b"b\n",
        "many rules of stars": wild,
        "agents": b"User-agent: a\n" * 30_000 + b"Disallow: /\n" * 10_000,
        "delays": b"user-agent: a\n" * 18_000 + b"crawl-delay: 1\n" * 17_000,
        "usage": b"user-agent: a\n" * 18_000 + b"license: x\n" * 23_000,
        "one rule many times": b"User-agent: *\n" + b"Disallow: /*aab*aab$\n" * 24_000,
        "brackets": b"<html>" + b"<" * MAX_BODY,
        "blanks": b"User-agent: *\nDisallow:" + b" " * MAX_BODY,
    }
    for name, body in files.items():
        started = time.process_time()
        parse(body).verdict("a", "/" + "a" * 8_000)
        assert time.process_time() - started < 3, name


def test_usage_lines_of_one_run_hold_its_agents_once() -> None:
    first, second = parse(b"User-agent: a\nUser-agent: b\nLicense: 1\nLicense: 2\n").usage
    assert first.agents is second.agents


def test_a_delay_after_an_unreadable_name_is_nobodys() -> None:
    robots = parse("User-agent: a\nDisallow: /\nUser-agent: ü\nCrawl-delay: 5\n".encode())
    assert robots.crawl_delay("a") is None


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://example.org/a?b#c", "/a?b"),
        ("", "/"),
        ("example.org", "/"),
        ("example.org/a#b", "/a"),
        ("example.org?a", "/?a"),
        ("//a/b/c", "/b/c"),
        ("a", "/"),
        ("a/", "/"),
        ("a/b", "/b"),
        ("example.org/a;b#c", "/a;b"),
        ("example.org;a", "/;a"),
        ("ftp://example.org/a", "/a"),
        ("http://exa mple.org/a", "/a"),
        ("http://exa mple.org", "/"),
        ("/a?u=x://y/z", "/a?u=x://y/z"),
        ("/a", "/a"),
        ("https://example.org/ü", "/%C3%BC"),
        ("https://example.org/" + "x" * 20_000, "/" + "x" * 20_000),
    ],
)
def test_path_of_anything(url: str, path: str) -> None:
    assert path_of(url) == path


LINES = st.lists(
    st.tuples(
        st.sampled_from(["User-agent", "Disallow", "Allow", "Crawl-delay", "Sitemap", "License"]),
        st.sampled_from([":", " :", " ", "", "::"]),
        st.text(alphabet="/*$%aA2f.?=&# :<>é\x00\t", max_size=12),
    ),
    max_size=12,
)


NASTY = [
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff\xd8",
        b"\r",
        b"\n",
        b"\r\n",
        b"\x0b\x0c",
        b"\x85",
        b"\0",
    ),
    *(
        b":",
        b": :",
        b"#",
        b"User-agent:",
        b"user-agent *",
        b"User-agent: *\n",
        b"USERAGENT : a,b\n",
    ),
    *(
        b"Disallow:",
        b"Disallow: %",
        b"%2",
        b"%%41%",
        b"%zz",
        b"$",
        b"*$",
        b"**",
        b"*" * 50 + b"$\n",
    ),
    *(b"Allow: /index.htm", b"Allow:/*index.html$", b"Crawl-delay: 1e999\n", b"Crawl-delay:-0x1"),
    *(b"Sitemap: http://[", b"<html>", b"<a<b>", b"\xc3", b"\xed\xa0\x80", b"License", b"\t \t"),
]


@given(
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(NASTY)), max_size=30).map(b"".join),
    st.text(max_size=20),
    st.text(max_size=40),
)
def test_parsing_never_raises(body: bytes, agent: str, path: str) -> None:
    robots = parse(body)
    assert isinstance(robots.verdict(agent, path).allowed, bool)
    robots.crawl_delay(agent)
    robots.usage_for(agent)


@given(LINES, st.text(alphabet="/*$%aA2f.?=&é", max_size=20))
def test_likely_lines_never_raise_and_name_their_line(
    lines: list[tuple[str, str, str]], path: str
) -> None:
    body = "User-agent: *\n" + "\n".join(map("".join, lines))
    verdict = parse(body.encode()).verdict("any", "/" + path)
    if verdict.line is None:
        assert verdict.allowed
        assert verdict.rule is None
    else:
        named = body.splitlines()[verdict.line - 1]
        assert verdict.rule is not None
        assert verdict.rule in named


@given(LINES)
def test_a_file_twice_says_what_it_says_once(lines: list[tuple[str, str, str]]) -> None:
    body = ("User-agent: *\n" + "\n".join(map("".join, lines)) + "\n").encode()
    for path in ("/", "/a", "/%2f", "/a?a=a"):
        once = parse(body).verdict("any", path)
        assert parse(body + body).verdict("any", path).allowed is once.allowed
