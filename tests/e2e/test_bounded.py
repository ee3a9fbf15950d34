"""One host with more URLs than Redis is to keep: the rest goes to the store, and all of it back."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from frontier import keys
from frontier.registry import SegmentRecord
from storage.corpus import Corpus

from .bad_servers import redis_server
from .conftest import SHORT, comity
from .running import workers
from .test_crawl import rows, wait_for
from .test_recovery import Answer, Site, html, serving

pytestmark = pytest.mark.timeout(600)

JOB = "default/crawl"
LEAVES = 200  # per list
BALLAST = 50_000_000  # bytes beside which it does not matter what a connection takes
TURN = 8  # URLs that a worker takes at a time, and that may come back on top of a full queue


class Lists:
    """A site of lists that are served one after another, as many as are let through."""

    def __init__(self, address: str, lists: int, *, open_lists: int) -> None:
        self.leaves = [f"/leaf/{n}" for n in range(lists * LEAVES)]
        self.site = Site(address, self._answer)
        self._count = lists
        self._open = open_lists
        self._turn = threading.Condition()

    @property
    def pages(self) -> set[str]:
        """The URLs of all pages."""
        lists = [f"list/{n}" for n in range(self._count)]
        return {f"{self.site.url}{path}" for path in ("", *lists, *(x[1:] for x in self.leaves))}

    def let(self, more: int) -> None:
        """Let so many more lists through."""
        with self._turn:
            self._open += more
            self._turn.notify_all()

    def _answer(self, path: str) -> Answer:
        if path == "/":
            return html(*(f"/list/{n}" for n in range(self._count)))
        if path.startswith("/list/"):
            n = int(path.removeprefix("/list/"))
            with self._turn:
                self._turn.wait_for(lambda: n < self._open, timeout=20)
            return html(*self.leaves[n * LEAVES : (n + 1) * LEAVES])
        return html() if path.startswith("/leaf/") else (404, {}, b"")


class Redis:
    """What a crawl's Redis has of its one host."""

    def __init__(self, port: int, host: str) -> None:
        self.url = f"redis://127.0.0.1:{port}/0"
        self.client = redis.Redis(port=port)
        self._host = host
        self.most = 0  # URLs in queues at once, as far as was seen

    def queued(self) -> int:
        """URLs in the host's queues now; noted."""
        names = self.client.keys(f"{{f*}}:q:{JOB}:*:{self._host}")
        now = sum(self.client.llen(name) for name in names)
        self.most = max(self.most, now)
        return now

    def counted(self, part: str) -> int:
        """The job's URLs by where they are."""
        found = (self.client.hget(n, part) for n in self.client.keys(f"{{f*}}:c:{JOB}"))
        return sum(int(n or 0) for n in found)

    def of_segments(self, kind: str) -> set[str]:
        """Spilled segments with URLs left (zs), or used up ones (zd)."""
        command = "HKEYS" if kind == "zs" else "ZRANGE"
        more = () if kind == "zs" else (0, -1)
        names = self.client.keys(f"{{f*}}:{kind}:{JOB}")
        return {s.decode() for n in names for s in self.client.execute_command(command, n, *more)}

    def share(self, share: float) -> None:
        """Set the limit so that this share of it is in use; 0: no limit."""
        used = self.client.info("memory")["used_memory"]
        self.client.config_set("maxmemory", int(used / share) if share else 0)


@contextmanager
def redis_of(lists: Lists, directory: Path) -> Iterator[Redis]:
    with redis_server(directory) as port:
        found = Redis(port, lists.site.url.split("/")[2])
        try:
            yield found
        finally:
            found.client.close()


def crawl(spawn: Any, lists: Lists, url: str, out: Path, job: str, workers_: int) -> Any:
    """Start a crawl of the site with these keys of a job file."""
    file = out.with_suffix(".toml")
    file.write_text(f'dedupe = "off"\n{job}')
    return spawn(
        "crawl", lists.site.url, "--job", str(file), "--redis", url, "--out", str(out),
        "--allow-private-networks", "--delay", "0", "--workers", str(workers_), "--json", **SHORT,
    )  # fmt: skip


def spilled(out: Path) -> list[Path]:
    """Objects with spilled URLs, the oldest first."""
    return sorted(p for p in out.glob("default/crawl/spill/*/*") if re.match(r"\d{13}-", p.name))


def summary_of(process: subprocess.Popen[str], at: Redis) -> dict[str, Any]:
    """Look at the queues until the crawl ends; its summary."""
    wait_for(lambda: at.queued() < 0 or process.poll() is not None, seconds=200)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    found: dict[str, Any] = json.loads(stdout)
    return found


def stored_once(out: Path) -> set[str]:
    """The URLs of all pages, each of which has one row."""
    pages = rows(out, "url", "page_id")
    assert max(Counter(row["page_id"] for row in pages).values()) == 1
    with Corpus(str(out)) as corpus:
        assert not list(corpus.verify())
    return {row["url"] for row in pages}


def test_what_a_host_has_too_much_is_spilled_and_outlives_its_workers(
    tmp_path: Path, spawn: Any
) -> None:
    out = tmp_path / "out"
    lists = Lists("127.9.1.1", 8, open_lists=8)
    with redis_of(lists, tmp_path) as at, serving(lists.site):
        process = crawl(spawn, lists, at.url, out, "host_queue = 100\n", 2)
        wait_for(lambda: at.queued() >= 0 and spilled(out), process)
        for pid in workers(process.pid):  # one of them wrote it
            os.kill(pid, signal.SIGKILL)
        summary = summary_of(process, at)
        assert summary["unreached"] == {}
        assert stored_once(out) == lists.pages
        assert at.counted("spilled") == 0
        assert 60 < at.most <= 100 + TURN
        assert not at.of_segments("zs")
        assert at.of_segments("zd") <= {path.name for path in spilled(out)}  # for another hour
        checked = comity("frontier", "check", "--redis", at.url)
        assert checked.returncode == 0, checked.stdout


def test_a_damaged_segment_is_set_aside_and_told(tmp_path: Path, spawn: Any) -> None:
    out = tmp_path / "out"
    lists = Lists("127.9.1.2", 14, open_lists=0)
    with redis_of(lists, tmp_path) as at, serving(lists.site):
        process = crawl(spawn, lists, at.url, out, "host_queue = 100\n", 1)

        def grown(objects: int) -> bool:
            lists.let(1)  # nothing is read back while lists come: they are of a class before
            before = at.counted("accepted")
            wait_for(lambda: at.counted("accepted") > before, process)
            return len(spilled(out)) >= objects

        wait_for(lambda: grown(2), process)
        _, second = spilled(out)
        data = bytearray(second.read_bytes())
        data[-1] ^= 1  # in the last block: what comes before it can be read
        second.write_bytes(data)
        lists.let(99)
        summary = summary_of(process, at)
        lost = summary["unreached"]["spill-damaged"]
        assert summary["unreached"] == {"spill-damaged": lost}
        assert summary["reason"] == "spill-damaged"
        missing = lists.pages - stored_once(out)
        assert len(missing) == lost > 0
        fetched = [path for path in lists.site.paths if path.startswith("/leaf/")]
        assert fetched == [f for f in lists.leaves if f"{lists.site.url}{f[1:]}" not in missing]
        checked = comity("frontier", "check", "--redis", at.url)
        assert f"{lost:,} URLs of {lists.site.url.split('/')[2]}" in checked.stdout
        assert second.name in checked.stdout


def test_full_memory_delays_links_and_loses_none(tmp_path: Path, spawn: Any) -> None:
    out = tmp_path / "out"
    lists = Lists("127.9.1.3", 12, open_lists=0)
    with redis_of(lists, tmp_path) as at, serving(lists.site):
        process = crawl(spawn, lists, at.url, out, 'segment_age = "1s"\n', 1)

        def after_more(condition: Callable[[], bool]) -> bool:
            lists.let(1)
            with suppress(AssertionError):
                wait_for(condition, seconds=3)
            return condition()

        wait_for(lambda: at.counted("accepted") > 12, process)  # the lists
        at.client.setrange("ballast", BALLAST, b"x")
        at.share(0.77)
        wait_for(lambda: after_more(lambda: at.counted("spilled") > 0), process)
        assert at.queued() < 0.8 * 1000  # what is kept of a host while there is room
        at.share(0.92)

        def travelling() -> bool:
            records = at.client.hvals(keys.SEGMENTS)
            return any(msgspec.msgpack.decode(r, type=SegmentRecord).settled for r in records)

        wait_for(lambda: after_more(travelling), process)
        at.share(0)
        lists.let(99)
        summary = summary_of(process, at)
        assert summary["unreached"] == {}
        assert stored_once(out) == lists.pages
