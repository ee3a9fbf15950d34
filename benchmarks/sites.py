"""Real web sites on loopback: HTML trees of Debian packages, served by a private nginx.

Keeps: every client gets addresses of its own, so that the logs of two crawlers never mix; nginx
listens on loopback only, writes below the given directory only, and is gone with the context. One
nginx process with one clock writes the log, so that times in it can be compared exactly; and each
answer is held back for a moment, as otherwise nginx would be done with a small file before it looks
at the next request, and its log could not show requests that were under way at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from benchmarks.machine import BenchmarkError, package_files, tool

_READY: Final = 10.0  # seconds nginx gets to start or stop
_MIME_TYPES: Final = Path("/etc/nginx/mime.types")
_TYPES: Final = "text/plain text/css application/javascript application/json image/svg+xml text/xml"
_ECHO: Final = "libnginx-mod-http-echo"  # Debian's package of the module that can wait
_HELD: Final = 0.002  # seconds that each answer is held back
_CONFIG: Final = """
load_module {echo};
daemon off;
worker_processes 1;
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  include {mime_types};
  default_type application/octet-stream;
  log_format exchange escape=json '{{"end":$msec,"seconds":$request_time,"target":"$request_uri",'
    '"status":$status,"type":"$sent_http_content_type","bytes":$body_bytes_sent,'
    '"agent":"$http_user_agent","connection":$connection}}';
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  sendfile on;
  keepalive_requests 1000000;
  gzip on;
  gzip_comp_level 1;
  gzip_types {types};
{servers}
}}
"""
_SERVER: Final = """  server {{
    listen {address}:{port};
    access_log {log} exchange;
    location / {{
      echo_sleep {held};
      echo_exec @tree;
    }}
    location @tree {{
      root {root};
      index index.html;
    }}
  }}
"""
PACKAGES: Final = ("nginx", _ECHO)  # what serving takes


@dataclass(frozen=True, slots=True)
class Site:
    """A tree of static files as one client sees it."""

    name: str  # of the package it comes from
    root: Path  # directory that is served
    client: str  # who is to crawl it here; each has a log of its own
    address: str  # loopback address, of this site and client alone
    port: int  # TCP
    log: Path  # access log

    @property
    def url(self) -> str:
        """Where a crawl begins."""
        return f"http://{self.address}:{self.port}/"

    def hits(self) -> list[Hit]:
        """The requests so far, in the order they ended."""
        if not self.log.exists():
            return []
        return parse_log(self.log.read_text(encoding="utf-8").splitlines())

    def file(self, target: str) -> Path:
        """The file that answers a request target."""
        path = self.root / unquote(target.partition("?")[0]).lstrip("/")
        return path / "index.html" if path.is_dir() else path


@dataclass(frozen=True, slots=True)
class Hit:
    """One request, as nginx logged it."""

    target: str  # path and query, in one spelling of its percent escapes
    start: float  # unix seconds, whole milliseconds: nginx began to read it
    end: float  # unix seconds, whole milliseconds: the response had been sent
    status: int
    type: str  # media type of the response, without parameters
    bytes: int  # of the body as sent
    agent: str  # User-Agent
    connection: int  # serial number


def parse_log(lines: Iterable[str]) -> list[Hit]:
    """Hits from the lines of an access log."""
    return [_hit(json.loads(line)) for line in lines if line]


def _hit(entry: dict[str, str | int | float]) -> Hit:
    end = float(entry["end"])
    return Hit(
        target=spelling(str(entry["target"])),
        start=round(end - float(entry["seconds"]), 3),  # exact: nginx subtracts milliseconds
        end=end,
        status=int(entry["status"]),
        type=str(entry["type"]).partition(";")[0].strip(),
        bytes=int(entry["bytes"]),
        agent=str(entry["agent"]),
        connection=int(entry["connection"]),
    )


def spelling(target: str) -> str:
    """One spelling for all that mean the same path and query: escapes where they are needed.

    Written apart from the crawler's own canonical form, which is one of the things compared.
    """
    path, mark, query = target.partition("?")
    return quote(unquote(path), safe="/~!$&'()*+,;=:@-._") + mark + query


def target_of(url: str) -> str:
    """The request target of a URL, in that spelling."""
    parts = urlsplit(url)
    return spelling(parts.path + (f"?{parts.query}" if parts.query else ""))


def overlaps(hits: Iterable[Hit]) -> int:
    """How many requests began before an earlier one of the same site had ended."""
    count, busy_until = 0, 0.0
    for hit in sorted(hits, key=lambda hit: (hit.start, hit.end)):
        count += hit.start < busy_until
        busy_until = max(busy_until, hit.end)
    return count


def tree(package: str) -> Path:
    """The root of an installed package's web site."""
    root = site_root(package_files(package))
    if root is None:
        raise BenchmarkError(f"package {package} has no index.html, so nowhere to begin")
    return root


def site_root(files: Iterable[Path]) -> Path | None:
    """Of the directories with an index.html, the one with the most HTML files below it."""
    pages = [path for path in files if path.suffix == ".html"]
    below = Counter(parent for page in pages for parent in page.parents)
    roots = {page.parent for page in pages if page.name == "index.html"}
    return max(roots, key=lambda root: (below[root], -len(root.parts), str(root)), default=None)


def lay_out(packages: Sequence[str], clients: Sequence[str], directory: Path) -> list[Site]:
    """A site for every package and client, on addresses of 127.10.0.0/16."""
    port = free_port("127.10.1.1")
    return [
        Site(
            name=package,
            root=tree(package),
            client=client,
            address=f"127.10.{c}.{p}",
            port=port,
            log=directory / f"{client}-{package}.log",
        )
        for c, client in enumerate(clients, 1)
        for p, package in enumerate(packages, 1)
    ]


def free_port(address: str) -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(sites: Sequence[Site], directory: Path) -> Iterator[None]:
    """Serve the sites while inside; afterwards nginx is gone and all logs are complete."""
    binary = tool("nginx")
    if binary is None:
        raise BenchmarkError("there is no nginx")
    config = directory / "nginx.conf"
    config.write_text(_config(sites, directory), encoding="utf-8")
    process = subprocess.Popen(
        [binary, "-p", str(directory), "-c", str(config), "-e", str(directory / "error.log")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for site in sites:
            _wait(process, site, directory)
        yield
    finally:
        _stop(process)


def _config(sites: Sequence[Site], directory: Path) -> str:
    servers = "".join(
        _SERVER.format(
            address=site.address, port=site.port, root=site.root, log=site.log, held=_HELD
        )
        for site in sites
    )
    modules = [path for path in package_files(_ECHO) if path.suffix == ".so"]
    return _CONFIG.format(
        # nginx would make its worker `nobody`, who cannot read trees in our private directories
        user="user root root;" if os.geteuid() == 0 else "",
        echo=modules[0],
        directory=directory,
        mime_types=_MIME_TYPES,
        types=_TYPES,
        servers=servers,
    )


def _wait(process: subprocess.Popen[bytes], site: Site, directory: Path) -> None:
    """Return when the site can be connected to."""
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((site.address, site.port), 1):
            return
        time.sleep(0.02)  # polling interval, bounded by the deadline
    log = directory / "error.log"
    said = log.read_text(encoding="utf-8").strip() if log.exists() else ""
    raise BenchmarkError(f"nginx does not serve {site.url}: {said[-300:] or 'no message'}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End nginx, responses under way first; its master takes its worker along."""
    for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL):
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):  # the next signal is less patient
            process.wait(_READY)
            return
