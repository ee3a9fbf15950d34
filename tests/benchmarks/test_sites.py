"""Reading nginx's log, and nginx itself where it is installed."""

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.sites import (
    PACKAGES,
    Hit,
    Site,
    free_port,
    overlaps,
    parse_log,
    serving,
    site_root,
    spelling,
    target_of,
)


def test_the_root_is_where_most_pages_are_below_an_index() -> None:
    names = ["d/x.html", "d/m/index.html", "d/m/a.html", "d/m/en/index.html", "d/n/index.html"]
    assert site_root(map(Path, names)) == Path("d/m")
    assert site_root([Path("d/x.html"), Path("d/index.txt")]) is None


def hit(start: float, end: float) -> Hit:
    return Hit("/", start, end, 200, "text/html", 1, "test", 1)


def test_requests_one_after_another_do_not_overlap() -> None:
    assert overlaps([hit(1.0, 1.5), hit(1.5, 1.5), hit(1.5, 2.0), hit(3.0, 4.0)]) == 0


def test_a_request_that_begins_before_any_earlier_one_ended_overlaps() -> None:
    # the long one is still under way when the third begins, though the second has ended
    assert overlaps([hit(1.2, 1.3), hit(1.0, 2.0), hit(1.4, 1.5), hit(2.0, 2.1)]) == 2


def test_a_log_line_becomes_a_hit() -> None:
    line = {
        "end": 1700000000.5,
        "seconds": 0.25,
        "target": "/a%7eb?c=%7e",
        "status": 200,
        "type": "text/html; charset=utf-8",
        "bytes": 7,
        "agent": "comity",
        "connection": 3,
    }
    assert parse_log([json.dumps(line), ""]) == [
        Hit("/a~b?c=%7e", 1700000000.25, 1700000000.5, 200, "text/html", 7, "comity", 3)
    ]


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("/%61", "/a"),
        ("/a%20b", "/a b"),
        ("/a(b)", "/a%28b%29"),
        ("/caf%c3%a9", "/caf%C3%A9"),
    ],
)
def test_spellings_of_a_path_are_one(written: str, same: str) -> None:
    assert spelling(written) == spelling(same)


def test_spelling_keeps_what_servers_tell_apart() -> None:
    assert len({spelling(t) for t in ("/a", "/A", "/a/", "/a?", "/a?b", "/a%3Fb", "/a%25b")}) == 7


def test_the_target_of_a_url() -> None:
    assert target_of("http://127.0.0.1:80/a%7E?b=1") == "/a~?b=1"


def installed() -> bool:
    """Whether there is what serving takes."""
    if machine.tool("dpkg-query") is None:
        return False
    return all(machine.package_version(name) for name in PACKAGES)


@pytest.mark.skipif(not installed(), reason=f"not installed: {' '.join(PACKAGES)}")
def test_served_files_are_logged_with_their_types(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "index.html").write_text("<p>front")
    (root / "a" / "index.html").write_text("<p>inner")
    (root / "a" / "x.css").write_text("p {}")
    address = "127.10.200.1"
    site = Site("test", root, "test", address, free_port(address), tmp_path / "access.log")
    with serving([site], tmp_path):
        for target in ("", "a", "a/x.css"):
            with urllib.request.urlopen(site.url + target) as answer:
                assert answer.read() == site.file("/" + target).read_bytes()
        with ThreadPoolExecutor(8) as threads:
            assert len(list(threads.map(fetch, [site.url] * 64))) == 64
    hits = site.hits()
    assert [(h.target, h.status, h.type) for h in hits[:4]] == [
        ("/", 200, "text/html"),
        ("/a", 301, "text/html"),
        ("/a/", 200, "text/html"),
        ("/a/x.css", 200, "text/css"),
    ]
    assert overlaps(hits[:4]) == 0
    assert overlaps(hits) > 0


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return bytes(answer.read())
