"""Canonical links are hints, refreshes redirects or links: from the table and the server's log."""

from __future__ import annotations

import json
from pathlib import Path

from crawler.tdmrep import PATH as TDM_FILE

from .conftest import comity
from .test_crawl import rows
from .test_recrawl import Page, html, options, serving


def head(*tags: str) -> bytes:
    return f"<head>{''.join(tags)}</head>".encode() + html("text")


def refresh(value: str) -> str:
    return f'<meta http-equiv="refresh" content="{value}">'


ROBOTS = b"User-agent: *\nDisallow: /private\n"
LINKS = ("/dup?page=1", "/pdf", "/now", "/later", "/sent", "/loop", "/barred", "/away")
SITE = {
    "/robots.txt": Page(ROBOTS, type="text/plain"),
    "/": Page(html("start", *LINKS)),
    "/dup?page=1": Page(head('<link rel="canonical" href="/original">')),
    "/original": Page(head('<link rel="canonical" href="/original">')),
    "/pdf": Page(b"%PDF-1.7", type="application/pdf", headers={"Link": "</paper>; rel=canonical"}),
    "/paper": Page(html("paper")),
    "/now": Page(head(refresh("0; url=/there"))),
    "/there": Page(html("there")),
    "/later": Page(head(refresh("30; url=/slow"))),
    "/slow": Page(html("slow")),
    "/sent": Page(b"words", type="text/plain", headers={"Refresh": "2;url=/by-header"}),
    "/by-header": Page(html("by header")),
    "/loop": Page(head(refresh("0; url=/loop"))),
    "/barred": Page(head(refresh("0; url=/private"))),
    "/away": Page(
        head(refresh("0; url=http://elsewhere.test/"), '<link rel=canonical href="//b.test/">')
    ),
}


def test_hints_and_refreshes_lead_on_and_are_recorded(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(SITE) as site:
        done = comity(*options(site, out))
        asked = {each.path for each in site.asked} - {TDM_FILE}
        found = {row["url"].removeprefix(site.url): row for row in rows(out)}
    assert done.returncode == 0, done.stderr
    assert asked == SITE.keys()
    named = {path: (row["canonical"] or "").removeprefix(site.url) for path, row in found.items()}
    assert {path: url for path, url in named.items() if url} == {
        "/dup?page=1": "/original",
        "/original": "/original",
        "/pdf": "/paper",
        "/away": "http://b.test/",
    }
    sent = {path: (row["refresh_to"] or "").removeprefix(site.url) for path, row in found.items()}
    assert {path: url for path, url in sent.items() if url} == {
        "/now": "/there",
        "/sent": "/by-header",
        "/loop": "/loop",
        "/barred": "/private",
        "/away": "http://elsewhere.test/",
    }
    hops = {path: (row["depth"], row["hops"]) for path, row in found.items()}
    assert hops["/there"] == hops["/by-header"] == hops["/private"] == (1, 1)  # as redirects
    assert hops["/slow"] == hops["/original"] == hops["/paper"] == (2, 0)  # as links
    assert found["/private"]["reason"] == "robots-denied"
    assert found["/dup?page=1"]["fetch_status"] == 200  # the hint replaces nothing
    assert found["/original"]["via"] == f"{site.url}/dup?page=1"
    dropped = json.loads(done.stdout)["dropped"]
    assert dropped == {"robots-denied": 1, "redirect-loop": 1, "out-of-scope": 2}


def test_refreshes_are_bounded_as_redirects_are(tmp_path: Path) -> None:
    pages = {f"/{n}": Page(head(refresh(f"0; url=/{n + 1}"))) for n in range(20)}
    out = tmp_path / "out"
    with serving({"/": Page(html("start", "/0")), **pages}) as site:
        done = comity(*options(site, out))
        asked = {each.path for each in site.asked} - {"/robots.txt", TDM_FILE, "/"}
    assert done.returncode == 0, done.stderr
    assert asked == {f"/{n}" for n in range(11)}  # ten hops
    assert json.loads(done.stdout)["dropped"] == {"redirect-limit": 1}
