"""What sites say about the use of their pages, honoured and not: from table, WARC and log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from crawler.demo.judge import judge
from crawler.tdmrep import PATH as TDM_FILE

from .conftest import DELAY, Web, comity
from .test_crawl import check_records, rows
from .test_recrawl import Page, history, html, options, serving, stop, wait_more

pytestmark = pytest.mark.timeout(600)

COLUMNS = (
    *("url", "fetch_status", "reason", "signals", "warc_filename", "content_digest"),
    *("text", "title", "minhash", "lang", "duplicate_of", "etag"),
)
CONTENT = ("content_digest", "text", "title", "minhash", "lang", "duplicate_of", "etag")


def crawl(web: Web, out: Path, signals: str, *more: str) -> dict[str, Any]:
    options = [*web.options(signals), *more]
    done = comity("crawl", *options, "--workers", "2", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def recorded(out: Path) -> set[str]:
    """The URLs that any WARC record is about, bodies or not."""
    found: set[str] = set()
    for path in out.rglob("*.warc.gz"):
        with path.open("rb") as file:
            heads = [record.rec_headers for record in ArchiveIterator(file)]
            found.update(head.get_header("WARC-Target-URI") or "" for head in heads)
    return found


def test_honoured_by_default_nothing_is_kept_or_followed_against_a_sites_word(
    web: Web, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    summary = crawl(web, out, "honour")
    truth = web.truth("signals=honour")
    report = judge(web.requests(), truth, DELAY)
    assert report.ok, report.summary()  # nofollow targets were not requested, all else was
    stored = {row["url"]: row for row in rows(out, *COLUMNS) if row["fetch_status"]}
    must = {u: e for u, e in truth["must"].items() if e["kind"] == "page"}
    assert stored.keys() - set(truth["may"]) == must.keys()
    withheld = {url: entry["withheld"] for url, entry in must.items() if "withheld" in entry}
    assert len(set(withheld.values())) == 5
    assert {u: r["reason"] for u, r in stored.items() if r["warc_filename"] is None} == withheld
    for url in withheld:
        assert not any(stored[url][column] for column in CONTENT), stored[url]
        assert stored[url]["reason"].removeprefix("signal-") in stored[url]["signals"]
    assert not recorded(out) & withheld.keys()
    check_records(out)
    assert summary["pages"] == truth["pages"]
    counted = {r: n for r, n in summary["dropped"].items() if r.startswith("signal-")}
    assert counted.pop("signal-nofollow") > 0
    assert counted == {r: list(withheld.values()).count(r) for r in withheld.values()}


def test_each_page_has_a_record_of_what_was_said(web: Web, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = crawl(web, out, "flag", "--signals", "nofollow=ignore")
    truth = web.truth()
    assert judge(web.requests(), truth, DELAY).ok
    assert summary["pages"] == truth["pages"]
    stored = {row["url"]: row for row in rows(out, *COLUMNS) if row["fetch_status"] == 200}
    assert all(row["warc_filename"] for row in stored.values())
    assert {row["reason"] for row in stored.values()} == {None, "truncated"}
    for url, entry in truth["must"].items():
        if entry["kind"] != "page" or entry["status"] != 200:
            continue
        said = json.loads(stored[url]["signals"] or '{"flagged": [], "honoured": []}')
        expected = set(entry.get("signals", ())) - {"nofollow"}
        dated = {"unavailable_after"}  # noted, whether it has passed or not
        assert set(said["flagged"]) - dated == expected, url
        assert said["honoured"] == []
    [probe] = [row for url, row in stored.items() if url.endswith("/others/a.html")]
    statement = {
        "name": "train-ai",
        "value": "n",
        "source": "robots.txt line 8 Content-Usage",
        "raw": "/others/ train-ai=n",
    }
    assert statement in json.loads(probe["signals"])["stated"]


def test_max_pages_counts_what_is_kept(web: Web, tmp_path: Path) -> None:
    first = crawl(web, tmp_path / "out", "honour", "--max-pages", "200")
    assert first["pages"] == 200
    assert sum(n for r, n in first["dropped"].items() if r.startswith("signal-no")) > 0


def test_signals_shows_where_a_page_says_what(web: Web) -> None:
    options = ["--dns-server", web.at.dns, "--allow-private-networks"]
    must = web.truth()["must"]
    url = next(u for u, e in must.items() if e.get("signals") == ["train-ai"] and "others" in u)
    done = comity("signals", url, *options, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["in_force"] == {"train-ai": "n", "search": "y"}
    assert found["follows"] == {"train-ai": "not kept", "search": "forbids nothing"}
    assert [s["source"] for s in found["signals"]] == [
        "robots.txt line 6 Content-Signal",
        "robots.txt line 8 Content-Usage",
    ]
    done = comity("signals", url, *options, "--signals", "train-ai=ignore")
    assert done.returncode == 0, done.stderr
    for line in ("robots.txt line 8 Content-Usage: /others/ train-ai=n", "train-ai=n  ignored"):
        assert f"  {line}\n" in done.stdout
    denied = next(iter(web.truth()["denied"]))
    done = comity("signals", denied, *options, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["reason"] == "robots-denied"


def tagged(value: str, **more: str) -> dict[str, str]:
    return {"X-Robots-Tag": value, **more}


def test_errors_redirects_and_pictures_obey_too(tmp_path: Path) -> None:
    links = ("/moved", "/gone", "/picture", "/ours", "/theirs")
    pages = {
        "/": Page(html("start", *links)),
        "/moved": Page(b"this way", 302, headers=tagged("noindex", Location="/target")),
        "/target": Page(html("target")),
        "/gone": Page(b"an error page", 404, headers=tagged("noarchive")),
        "/picture": Page(b"\x89PNG\r\n\x1a\n", type="image/png", headers=tagged("noimageai")),
        "/ours": Page(html("ours"), headers=tagged("mybot: noai")),
        "/theirs": Page(html("theirs"), headers=tagged("comity: noindex, nofollow")),
    }
    out = tmp_path / "out"
    with serving(pages) as site:
        done = comity(*options(site, out, "--user-agent", "mybot/1.0", "--content-type", "*/*"))
        assert done.returncode == 0, done.stderr
        found = {row["url"].removeprefix(site.url): row for row in rows(out)}
    kept = {path: row["warc_filename"] is not None for path, row in found.items()}
    assert {path for path in pages if kept[path]} == {"/", "/target", "/theirs"}
    reasons = {path: found[path]["reason"] for path in pages}
    assert reasons == dict.fromkeys(pages) | {
        "/gone": "http-404",
        "/picture": "signal-noimageai",
        "/ours": "signal-noai",
    }
    assert found["/moved"]["redirect_to"] == f"{site.url}/target"
    assert json.loads(done.stdout)["pages"] == 3


def test_what_a_site_says_later_holds_for_later_visits(tmp_path: Path, spawn: Any) -> None:
    before = Page(html("text"), headers={"ETag": '"1"'})
    after = Page(html("text"), headers=tagged("noindex", ETag='"1"'))
    out = tmp_path / "out"
    with serving({"/": before}) as site:
        crawl = spawn(*options(site, out, "--recrawl", "1s"), COMITY_SEGMENT_AGE="1s")
        wait_more(site, 3, crawl)  # robots.txt, the page, and a 304
        site.pages["/"] = after
        wait_more(site, 4, crawl)
        stop(crawl)
        found = history(out, f"{site.url}/")
    reasons = [row["reason"] for row in found]
    changed = reasons.index("signal-noindex")
    assert changed > 0
    assert set(reasons[:changed]) == {None}
    assert set(reasons[changed:]) == {"signal-noindex"}
    assert [row["warc_filename"] is None for row in found] == [bool(reason) for reason in reasons]
    assert found[changed]["fetch_status"] == 304
    assert found[changed + 1]["fetch_status"] == 200  # there is nothing to compare with


RESERVED = (
    b'[{"location": "/free/", "tdm-reservation": 0}, {"location": "/", "tdm-reservation": 1}]'
)
RESERVING = {
    "/": Page(html("start", "/page", "/free/page")),
    "/page": Page(html("page")),
    "/free/page": Page(html("free")),
    TDM_FILE: Page(RESERVED, type="application/json"),
}


def test_a_tdm_file_is_asked_for_once_and_honoured(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(RESERVING) as site:
        done = comity(*options(site, out, "--workers", "2"))
        assert done.returncode == 0, done.stderr
        paths = [each.path for each in site.asked]
        assert paths[:2] == ["/robots.txt", TDM_FILE]
        assert sorted(paths[2:]) == ["/", "/free/page", "/page"]
        site.check_polite()
        found = {row["url"].removeprefix(site.url): row for row in rows(out)}
    reasons = {path: row["reason"] for path, row in found.items()}
    withheld = "signal-tdm-reservation"
    assert reasons == {"/": withheld, "/page": withheld, "/free/page": None}
    [statement] = json.loads(found["/page"]["signals"])["stated"]
    assert statement["source"] == "tdmrep.json rule 2"
    assert json.loads(found["/free/page"]["signals"])["in_force"] == {"tdm-reservation": "0"}
    [row] = rows(out, kind="tdmrep")
    assert (row["fetch_status"], row["warc_filename"] is None) == (200, False)
    check_records(out)


@pytest.mark.parametrize(
    ("robots", "more"),
    [
        (b"", ("--signals", "tdm-reservation=ignore")),
        (b"User-agent: *\nDisallow: /.well-known/", ()),
    ],
)
def test_a_tdm_file_is_left_alone(tmp_path: Path, robots: bytes, more: tuple[str, ...]) -> None:
    out = tmp_path / "out"
    with serving(RESERVING | {"/robots.txt": Page(robots, type="text/plain")}) as site:
        done = comity(*options(site, out, *more))
        assert done.returncode == 0, done.stderr
        assert site.of(TDM_FILE) == []
    assert json.loads(done.stdout)["pages"] == 3


def test_signals_shows_the_rule_of_a_tdm_file(tmp_path: Path) -> None:
    moved = {TDM_FILE: Page(b"", 301, headers={"Location": "/tdm.json"})}
    with serving(RESERVING | moved | {"/tdm.json": Page(RESERVED)}) as site:
        done = comity("signals", f"{site.url}/page", "--allow-private-networks", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [s["source"] for s in found["signals"]] == ["tdmrep.json rule 2"]
    assert found["follows"] == {"tdm-reservation": "not kept"}
