"""Signed crawls, judged by the requests that servers got and a directory as sites fetch it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from crawler.worker import STOPPED
from tests.verifier import Verified, verify

from .conftest import environment
from .running import NOWHERE, refused, run
from .test_proxy import proxied
from .test_recrawl import Asked, Page, html, serving

pytestmark = pytest.mark.timeout(240)

AGENT = "https://bot.example"
OPTIONS = ("--allow-private-networks", "--delay", "0.1", "--contact", "me@example.org", "--json")


def keyed(place: Path, **more: str) -> tuple[dict[str, str], bytes]:
    """The settings of who has a key, and what that one publishes."""
    key = str(place / "key.pem")
    run("identity", "key", key)
    env = {"COMITY_SIGNING_KEY": key, "COMITY_SIGNATURE_AGENT": AGENT} | more
    return env, run("identity", "directory", **env).stdout.encode()


def verified(asked: Asked, directory: bytes) -> Verified:
    """What the signature of a request says, which is good when the request came."""
    found = verify(asked.headers.items(), directory)
    assert found is not None, asked
    came = asked.started + time.time() - time.monotonic()
    assert found.created <= came + 0.1
    assert found.expires == found.created + 60 > came
    return found


def requests_of(out: Path) -> list[dict[str, str]]:
    """The headers of every request in the WARC files."""
    files = [io.BytesIO(path.read_bytes()) for path in out.rglob("*.warc.gz")]
    records = (record for file in files for record in ArchiveIterator(file))
    return [dict(r.http_headers.headers) for r in records if r.rec_type == "request"]


def test_every_request_of_a_crawl_is_signed_and_stored_as_it_was_sent(tmp_path: Path) -> None:
    env, directory = keyed(tmp_path)

    def recovers() -> bytes:
        site.pages["/busy"].status = 200
        return html("busy")

    pages = {
        "/robots.txt": Page(status=302, headers={"Location": "/rules"}),
        "/rules": Page(b"User-agent: *\nDisallow:\n", type="text/plain"),
        "/": Page(html("start", "/moved", "/busy", "/odd%zz|path?q[]=^")),
        "/moved": Page(status=301, headers={"Location": "/there"}),
        "/there": Page(html("there")),
        "/busy": Page(recovers, status=503, headers={"Retry-After": "1"}),
        "/odd%zz|path?q[]=^": Page(html("odd")),
        "/mapped": Page(html("mapped")),
    }
    out = tmp_path / "out"
    with serving(pages) as site:
        pages["/sitemap.xml"] = Page(
            f"<urlset><url><loc>{site.url}/mapped</loc></url></urlset>".encode(), type="text/xml"
        )
        done = run(
            *("crawl", f"{site.url}/", "--sitemap", f"{site.url}/sitemap.xml", "--workers", "2"),
            *(*OPTIONS, "--out", str(out)),
            **env,
        )
        log = list(site.asked)
    assert done.returncode == 0, done.stderr
    paths = [asked.path for asked in log]
    assert set(paths) == {*pages, "/.well-known/tdmrep.json"}
    assert paths.count("/busy") == 2
    found = [verified(asked, directory) for asked in log]
    assert len({each.nonce for each in found}) == len(log)
    assert {each.agent for each in found} == {AGENT}
    assert {asked.headers["From"] for asked in log} == {"me@example.org"}

    # Of a visit the last answer is stored (decision 2), with the request as the site got it.
    stored = {headers["Signature"]: headers for headers in requests_of(out)}
    assert stored == {a.headers["Signature"]: a.headers for a in log if a.status != 503}


def test_requests_through_a_proxy_are_signed_in_the_form_that_is_asked_for(tmp_path: Path) -> None:
    env, directory = keyed(tmp_path, COMITY_SIGNATURE_FORM="dictionary")
    with serving({"/": Page(html("start"))}) as site, proxied("site.test", site.url) as proxy:
        done = run(
            *("crawl", "http://site.test/", "--workers", "1", *OPTIONS),
            *("--out", str(tmp_path / "out")),
            COMITY_TRUSTED_PROXY=proxy.url("me:s3cret"),
            **env,
        )
        log = list(site.asked)
    assert done.returncode == 0, done.stderr
    assert [asked.path for asked in log][-1] == "/"
    for asked in log:
        assert asked.headers["Host"] == "site.test"
        assert asked.headers["Signature-Agent"] == f'sig1="{AGENT}"'
        verified(asked, directory)


def test_a_key_that_cannot_be_used_is_told_before_anything_is_done(tmp_path: Path) -> None:
    env, _ = keyed(tmp_path)
    out, key = tmp_path / "out", Path(env["COMITY_SIGNING_KEY"])
    commands = (
        (*NOWHERE, "--out", str(out)),
        ("fetch", "http://127.0.0.1:1/", "--allow-private-networks"),
        ("worker", "--redis", "redis://127.0.0.1:1"),
    )
    key.chmod(0o604)
    for command in commands:
        assert refused(*command, **env).startswith(f"{key} is open to others (mode 0604)")
    key.unlink()
    for command in commands:
        assert refused(*command, **env) == f"cannot read {key}: No such file or directory"
    alone = {"COMITY_SIGNING_KEY": str(key)}
    assert refused(*commands[0], **alone).startswith("signing_key needs signature_agent: ")
    assert not out.exists()
    # A crawl that is left to workers elsewhere needs none.
    found = refused(*commands[0][:2], "--workers", "0", "--out", str(out), **env)
    assert found.startswith("--workers 0 leaves the crawl to workers elsewhere")


def test_a_worker_whose_key_has_gone_meanwhile_says_so(tmp_path: Path) -> None:
    settings = {
        "signing_key": str(tmp_path / "gone.pem"),
        "signature_agent": AGENT,
        "redis": "redis://127.0.0.1:1",
    }
    given = {"settings": settings, "job": "default/crawl", "name": "w", "spool": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "crawler.worker"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(),
    )
    assert done.returncode == 1
    gone = settings["signing_key"]
    assert done.stderr == f"w: {STOPPED}cannot read {gone}: No such file or directory\n"
