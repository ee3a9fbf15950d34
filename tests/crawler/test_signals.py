"""crawler.signals: statements about use, addressed to everybody or to us."""

from __future__ import annotations

import pytest

from crawler.extract import extract
from crawler.signals import Signal, directives, from_headers, from_meta


def names(*values: str) -> list[str]:
    return [signal.name for signal in from_headers(("X-Robots-Tag", value) for value in values)]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["noindex, NoFollow"], ["noindex", "nofollow"]),
        (["noindex", "noai, noimageai"], ["noindex", "noai", "noimageai"]),
        (["googlebot: noindex"], []),
        (["Comity: noindex"], ["noindex"]),
        (["*: none"], ["none"]),
        (["otherbot: noindex, nofollow", "noarchive"], ["noarchive"]),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noindex"], ["noindex"]),
        (["max-snippet: 20, nosnippet"], ["nosnippet"]),
        (["noindex, max-snippet: 20"], ["noindex"]),
        (["all", "", ":", "noindexx"], []),
    ],
)
def test_x_robots_tag(values: list[str], found: list[str]) -> None:
    assert names(*values) == found


def test_other_headers_are_recorded_as_written() -> None:
    found = list(
        from_headers(
            [
                ("Content-Usage", " train-ai=n, search=y "),
                ("TDM-Reservation", "1"),
                ("tdm-policy", "https://a.example/policy.json"),
                ("Content-Type", "text/html"),
            ]
        )
    )
    assert found == [
        Signal("content-usage", "header Content-Usage", "train-ai=n, search=y"),
        Signal("tdm-reservation", "header TDM-Reservation", "1"),
        Signal("tdm-policy", "header tdm-policy", "https://a.example/policy.json"),
    ]


def test_meta() -> None:
    assert list(from_meta("ROBOTS", " NoIndex,noarchive ")) == [
        Signal("noindex", "meta robots", "NoIndex,noarchive"),
        Signal("noarchive", "meta robots", "NoIndex,noarchive"),
    ]
    assert [s.source for s in from_meta("Comity", "noai")] == ["meta comity"]
    assert list(from_meta("googlebot", "noindex")) == []
    assert [s.raw for s in from_meta("tdm-reservation", "1")] == ["1"]


def test_the_most_restrictive_wins() -> None:
    page = extract(
        b'<meta name="robots" content="index, noarchive"><meta name="comity" content="none">',
        url="http://a.example/",
        content_type="text/html",
        headers=[("X-Robots-Tag", "noai")],
    )
    assert page.directives == {"noai", "noarchive", "none", "noindex", "nofollow"}
    assert directives([]) == frozenset()
