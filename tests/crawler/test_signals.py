"""crawler.signals: statements about use, addressed to everybody or to us."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.signals import Statement, date_of, from_headers, from_meta, from_robots_txt
from frontier.robots import parse


def names(*values: str, agent: str = "comity") -> list[str]:
    return [s.name for s in from_headers((("X-Robots-Tag", value) for value in values), agent)]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["noindex, NoFollow"], ["noindex", "nofollow"]),
        (["noindex", "noai, noimageai"], ["noindex", "noai", "noimageai"]),
        (["none"], ["noindex", "nofollow"]),
        (["nocache"], ["noarchive"]),
        (["noindex nofollow;noai"], ["noindex", "nofollow", "noai"]),  # other separators
        (["noindex,,  ,noindex"], ["noindex"]),
        (["max-snippet: 20, nosnippet"], ["nosnippet"]),
        (["noindex, max-snippet: 20, max-image-preview:large, noai"], ["noindex", "noai"]),
        (["all", "", ":", "noindexx", "index, follow"], []),
        (["x" * 2_000 + ", noindex"], ["noindex"]),  # longer than what is kept of it
        # for robots by name
        (["googlebot: noindex"], []),
        (["Comity: noindex"], ["noindex"]),
        (["comity :noindex, noai"], ["noindex", "noai"]),
        (["comitybot: noindex"], []),
        (["*: none"], ["noindex", "nofollow"]),
        (["otherbot: noindex, nofollow", "noarchive"], ["noarchive"]),
        (["noarchive, otherbot: noindex, comity: noai"], ["noarchive", "noai"]),  # joined lines
        # dates hold commas and colons
        (
            ["unavailable_after: 25 Jun 2030 15:00:00 PST, noindex"],
            ["unavailable_after", "noindex"],
        ),
        (["unavailable_after: Tue, 25 Jun 2030 15:00:00 GMT, noai"], ["unavailable_after", "noai"]),
        (["unavailable_after: 2030-06-25T15:00:00Z"], ["unavailable_after"]),
        (["otherbot: unavailable_after: 25 Jun 2010 15:00:00 PST"], []),
        (["unavailable_after"], []),
    ],
)
def test_x_robots_tag(values: list[str], found: list[str]) -> None:
    assert names(*values) == found


def test_a_job_of_another_name_is_addressed_by_it() -> None:
    assert names("comity: noindex", "mybot: noai", agent="mybot") == ["noai"]
    assert [s.name for s in from_meta("MyBot", "noai", "mybot")] == ["noai"]
    assert list(from_meta("comity", "noai", "mybot")) == []


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("25 Jun 2010 15:00:00 PST", 1277506800.0),
        ("Friday, 25-Jun-10 15:00:00 GMT", 1277478000.0),
        ("2010-06-25T15:00:00+00:00", 1277478000.0),
        ("2010-06-25", 1277424000.0),
        ("soon", None),
        ("", None),
        ("99 Foo 9999 99:99:99", None),
    ],
)
def test_dates(value: str, date: float | None) -> None:
    assert date_of(value) == date


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("train-ai=n, search=y", {"train-ai": "n", "search": "y"}),
        ("ai-use=n", {"ai-use": "n"}),
        ("bots=n", {"bots": "n"}),
        ("train-ai=n;exception=x", {"train-ai": "n"}),  # parameters
        ("Train-AI = N", {"train-ai": "n"}),  # no structured field at all
        ('train-ai="n"', {"train-ai": "n"}),
        ("train-ai=n,,=,x", {"train-ai": "n"}),
        ("train-genai=n, ai-output=n, tdm=n", {"train-ai": "n", "ai-use": "n", "bots": "n"}),
        ("train-ai", {"content-usage": ""}),  # true, which is neither y nor n
        ("train-ai=maybe", {"content-usage": ""}),
        ("nonsense", {"content-usage": ""}),
        ("", {}),
    ],
)
def test_content_usage(value: str, found: dict[str, str]) -> None:
    statements = list(from_headers([("Content-Usage", f" {value} ")]))
    assert {s.name: s.value for s in statements} == found
    assert all((s.source, s.raw) == ("header Content-Usage", value) for s in statements)


def test_both_answers_to_one_question_are_recorded() -> None:
    found = list(from_headers([("Content-Usage", "train-ai=y, train-ai=n")]))
    assert [(s.name, s.value) for s in found] == [("train-ai", "y"), ("train-ai", "n")]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("TDM-Reservation", "1", ("tdm-reservation", "1")),
        ("tdm-reservation", "true", ("tdm-reservation", "1")),
        ("tdm-reservation", "0", ("tdm-reservation", "0")),
        ("tdm-reservation", "2", ("tdm-reservation", "")),
        ("tdm-policy", "https://a.example/p.json", ("tdm-policy", "https://a.example/p.json")),
    ],
)
def test_tdm_reservation(name: str, value: str, found: tuple[str, str]) -> None:
    [header] = from_headers([(name, value), ("tdm-reservation", ""), ("Content-Type", "x")])
    [meta] = from_meta(name, value)
    assert (header.name, header.value) == (meta.name, meta.value) == found
    assert header == Statement(*found, f"header {name}", value)
    assert meta == Statement(*found, f"meta {name.lower()}", value)


def test_meta() -> None:
    assert list(from_meta("ROBOTS", " NoIndex,noarchive ")) == [
        Statement("noindex", "", "meta robots", "NoIndex,noarchive"),
        Statement("noarchive", "", "meta robots", "NoIndex,noarchive"),
    ]
    assert [s.source for s in from_meta("Comity", "noai")] == ["meta comity"]
    assert list(from_meta("googlebot", "noindex")) == []
    assert list(from_meta("description", "noindex")) == []


def test_robots_txt_says_it_with_line_and_path() -> None:
    robots = parse(
        b"License: https://a.example/l.xml\nUser-agent: *\n"
        b"Content-Signal: search=yes, ai-train=no # please\n"
        b"Content-Usage: /private train-ai=n\nContent-Signals: use=reference\n"
        b"User-agent: other\nContent-Usage: bots=n\n"
    )
    signal = "robots.txt line 3 Content-Signal"
    raw = "search=yes, ai-train=no"
    common = [
        Statement("license", "https://a.example/l.xml", "robots.txt line 1 License",
                  "https://a.example/l.xml"),
        Statement("search", "y", signal, raw),
        Statement("train-ai", "n", signal, raw),
        Statement("content-signal", "", "robots.txt line 5 Content-Signal", "use=reference"),
    ]  # fmt: skip
    usage = robots.usage_for("comity")
    assert list(from_robots_txt(usage, "/")) == common
    private = Statement("train-ai", "n", "robots.txt line 4 Content-Usage", "/private train-ai=n")
    assert list(from_robots_txt(usage, "/private/x")) == [*common[:3], private, common[3]]


_PIECES = st.sampled_from(
    [
        *("noindex", "none", "comity", "other", "unavailable_after", "Mon", "25 Jun 2010"),
        *(":", ",", ";", "=", " ", "\t", "*", "/", "%", '"', "é", "\x00", "\ud800"),
        *("train-ai", "n", "y", "?0"),
    ]
)
_VALUES = st.lists(_PIECES | st.text(max_size=4), max_size=30).map("".join)


@given(_VALUES, st.sampled_from(["X-Robots-Tag", "Content-Usage", "TDM-Reservation", "tdm-policy"]))
def test_no_value_is_too_odd(value: str, name: str) -> None:
    for statement in (*from_headers([(name, value)]), *from_meta(name, value)):
        assert statement.raw
        date_of(statement.value)
    list(from_meta("robots", value))


@given(st.lists(_VALUES, max_size=5), _VALUES)
def test_no_robots_txt_is_too_odd(values: list[str], path: str) -> None:
    body = "".join(f"Content-Usage: {value}\nContent-Signal: {value}\n" for value in values)
    usage = parse(body.encode("utf-8", "replace")).usage_for("comity")
    list(from_robots_txt(usage, "/" + path.encode("utf-8", "replace").decode()))


@given(st.text(max_size=40))
def test_any_date_is_a_time_or_none(text: str) -> None:
    assert isinstance(date_of(text), float | None)
