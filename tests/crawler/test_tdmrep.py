"""crawler.tdmrep: which rule of a TDM file holds for a path, and what it says."""

from __future__ import annotations

import json

import pytest

from crawler.signals import Statement, from_tdmrep
from crawler.tdmrep import MOST, NONE, parse

FILE = json.dumps(
    [
        {"location": "/a/open.html$", "tdm-reservation": 0},
        {"location": "/a/", "tdm-reservation": 1, "tdm-policy": "https://a.test/terms"},
        {"location": "*.jpg", "tdm-reservation": "1"},
        {"location": "/a/open.html", "tdm-reservation": 1},
    ]
).encode()


def said(body: bytes, path: str) -> dict[str, str]:
    return {s.name: s.value for s in from_tdmrep(parse(body), path)}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/a/open.html", "0"),  # the first that matches, not the longest
        ("/a/open.html?x=1", "1"),
        ("/a/b", "1"),
        ("/A/b", None),
        ("/b/x.jpg", "1"),
        ("/b/x.png", None),
        ("/", None),
    ],
)
def test_the_first_rule_that_matches_decides(path: str, value: str | None) -> None:
    assert said(FILE, path).get("tdm-reservation") == value


def test_a_statement_names_its_rule() -> None:
    [reservation, policy] = from_tdmrep(parse(FILE), "/a/b")
    raw = '{"location":"/a/","tdm-reservation":1,"tdm-policy":"https://a.test/terms"}'
    assert reservation == Statement("tdm-reservation", "1", "tdmrep.json rule 2", raw)
    assert policy == Statement("tdm-policy", "https://a.test/terms", "tdmrep.json rule 2", raw)


@pytest.mark.parametrize(
    "body",
    [
        b'{"location": "/", "tdm-reservation": 1}',  # not in a list
        b'\xef\xbb\xbf [{"Location": "/", "TDM-Reservation": true}]',
        b'["junk", 7, null, {"tdm-reservation": 1}]',  # nowhere is everywhere
        b'[{"location": 5, "tdm-reservation": 1}]',
        b'[{"location": "", "tdm-reservation": 1}]',
        b'[{"location": "page", "tdm-reservation": 1}]',
        b'[{"location": "https://a.test/page", "tdm-reservation": 1}]',
        b'[{"location": "https://a.test", "tdm-reservation": 1}]',
        b'[{"location": "/%70age", "tdm-reservation": 1}]',
    ],
)
def test_slips_of_the_pen_reserve_all_the_same(body: bytes) -> None:
    assert said(body, "/page") == {"tdm-reservation": "1"}


@pytest.mark.parametrize(
    "body", [b"", b"<!doctype html>Not found", b"not here", b"[]", b"{}", b"[[]]"]
)
def test_what_says_nothing(body: bytes) -> None:
    assert said(body, "/page") == {}


def test_what_is_broken_is_recorded() -> None:
    body = b'[{"location": "/", "tdm-reservation": 1}'
    [statement] = from_tdmrep(parse(body), "/page")
    assert statement == Statement("tdm-reservation", "", "tdmrep.json", body.decode())
    assert said(b'[{"tdm-reservation": "perhaps"}]', "/page") == {"tdm-reservation": ""}
    assert list(from_tdmrep(NONE, "/page")) == []


def test_it_is_bounded() -> None:
    rules = [{"location": f"/{n}$", "tdm-reservation": 1} for n in range(MOST + 5)]
    assert len(parse(json.dumps(rules).encode()).rules) == MOST
    deep = parse(b"[" * 500_000)
    assert len(deep.unreadable) == 1_000
