"""A site that means harm: each trick ends in its reason, in time and in little memory."""

from __future__ import annotations

import gzip
import json
import socketserver
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import brotli
import pytest
from backports import zstd

from .running import workers
from .test_crawl import rows, wait_for

pytestmark = pytest.mark.timeout(240)

ADDRESS = "127.9.7.1"
METADATA = "169.254.169.254"
ZEROS = bytes(200_000_000)
MEMORY = 180_000  # KB that a worker may grow by until it has committed: less than a body of ZEROS
BODY = 2_000_000  # bytes read of one


def bombs() -> dict[str, bytes]:
    """ZEROS in each coding."""
    return {
        "gzip": gzip.compress(ZEROS, 1),
        "deflate": zlib.compress(ZEROS, 1),
        "br": brotli.compress(ZEROS, quality=1),
        "zstd": zstd.compress(ZEROS, 1),
    }


# Ways to write an address that nobody may contact; each under a path of its own.
HIDDEN = {
    "mapped": f"http://[::ffff:{METADATA}]/mapped",
    "nat64": "http://[64:ff9b::a9fe:a9fe]/nat64",
    "6to4": "http://[2002:a9fe:a9fe::1]/6to4",
    "decimal": "http://2852039166/decimal",
    "hex": "http://0xa9fea9fe/hex",
    "octal": "http://0251.0376.0251.0376/octal",
    "short": "http://169.16689662/short",
    "userinfo": f"http://{ADDRESS}:80@{METADATA}/userinfo",
    "backslash": f"http:\\\\{METADATA}\\backslash",
    "full-width": "http://１６９.254.169.254/full-width",
}


class Site:
    """Answers raw bytes, as long as the other side listens."""

    def __init__(self) -> None:
        self.bombs = bombs()
        self.asked: list[str] = []
        self.seconds: dict[str, float] = {}  # until the other side had had enough
        site = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                path = self.rfile.readline(9999).split(b" ")[1].decode()
                while self.rfile.readline(9999).strip():
                    pass
                site.asked.append(path)
                began = time.monotonic()
                with suppress(OSError):
                    for part in site.answer(path):
                        self.wfile.write(part)
                site.seconds[path] = time.monotonic() - began

        self.server = socketserver.ThreadingTCPServer((ADDRESS, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{ADDRESS}:{self.server.server_address[1]}"

    def answer(self, path: str) -> Iterator[bytes]:
        """What each path does."""
        match path.strip("/").split("/"):
            case [""]:
                yield self._page()
            case ["bomb", coding]:
                body = self.bombs[coding]
                yield _head(f"Content-Encoding: {coding}", f"Content-Length: {len(body)}")
                yield body
            case ["headers"]:
                yield b"HTTP/1.1 200 OK\r\n"
                while True:
                    yield b"X-More: and more\r\n" * 1000
            case ["header"]:
                yield b"HTTP/1.1 200 OK\r\nX-Long: "
                while True:
                    yield b"x" * 10_000
            case ["drip"]:
                yield _head()
                while True:
                    yield b"x"
                    time.sleep(0.2)  # what it is to drip
            case ["endless"]:
                yield _head()
                while True:
                    yield b"<p>more and more" * 1000
            case ["moved", name]:
                yield f"HTTP/1.1 302 Found\r\nLocation: {MOVED[name]}\r\n\r\n".encode()
            case _:
                yield b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    def _page(self) -> bytes:
        paths = [f"/bomb/{coding}" for coding in self.bombs]
        paths += ["/headers", "/header", "/drip", "/endless", *(f"/moved/{name}" for name in MOVED)]
        links = "".join(f'<a href="{link}">x</a>' for link in [*paths, *HIDDEN.values()])
        body = f"<!doctype html><meta charset=utf-8><p>{links}".encode()
        return _head(f"Content-Length: {len(body)}") + body


MOVED = {"metadata": f"http://{METADATA}/moved", "local": "http://169.254.1.1/moved"}


def _head(*headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/html", *headers, "", ""]
    return "\r\n".join(lines).encode()


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever)
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join()


def most_memory(crawl: subprocess.Popen[str]) -> int:
    """The most that the crawl's worker has had in memory so far, in KB."""
    [pid] = workers(crawl.pid)
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def test_each_trick_ends_in_its_reason_in_time_and_in_little_memory(
    tmp_path: Path, spawn: Any
) -> None:
    out = tmp_path / "out"
    with serving() as site:
        crawl = spawn(
            "crawl", site.url, "--allow-private-networks", "--scope", "any", "--delay", "0",
            "--contact", "ops@example.org", "--workers", "1", "--out", str(out), "--json",
            COMITY_MAX_BODY=str(BODY), COMITY_TOTAL_TIMEOUT="12s",
        )  # fmt: skip
        memory = {}
        for path in ("/bomb/gzip", "/drip", "/moved/local"):
            wait_for(lambda path=path: path in site.asked, crawl)
            memory[path] = most_memory(crawl)
        stdout, stderr = crawl.communicate(timeout=150)
    assert crawl.returncode == 0, stderr
    found = {
        row["url"].removeprefix(site.url): (row["reason"], row["content_truncated"])
        for row in rows(out, "url", "reason", "content_truncated")
    }
    assert found.pop("/") == (None, None)
    assert found.pop("/endless") == (None, "length")
    assert found.pop("/drip") == ("too-slow", "time")
    for coding in site.bombs:
        assert found.pop(f"/bomb/{coding}") == ("bomb", "length")
    for flood in ("/headers", "/header"):
        assert found.pop(flood) == ("header-flood", "length")
    for name in MOVED:
        assert found.pop(f"/moved/{name}") == (None, None)
    assert {reason for reason, _ in found.values()} == {"blocked-address"}
    names = {url.rsplit("/", 1)[1] for url in found}
    assert names == {*HIDDEN, "moved"}, stdout
    assert json.loads(stdout)["dropped"] == {"blocked-address": len(HIDDEN) + len(MOVED)}
    # Four bodies of ZEROS and two heads without end came before the drip, an endless body after.
    assert memory["/drip"] - memory["/bomb/gzip"] < len(ZEROS) // 2_000
    assert memory["/moved/local"] - memory["/drip"] < MEMORY
    assert max(site.seconds.values()) < 30, site.seconds
