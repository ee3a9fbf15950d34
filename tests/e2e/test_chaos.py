"""Workers, their parent and Redis fail at random for a while: then the crawl ends, and ends right.

Every kind of trouble comes at least once, each while pages are being fetched; in which order, how
often and for how long comes from a seed, which a failure names.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crawler.config import Settings
from crawler.demo.judge import judge
from storage.corpus import Corpus

from .conftest import Web, comity
from .durable import DurableRedis, durable_redis
from .running import workers
from .test_crawl import rows, told, wait_for

pytestmark = pytest.mark.timeout(600)

SEED = int(os.environ.get("CHAOS_SEED", "1"))
LEASE = 11.0  # seconds; Redis grants nothing for so long and a second more after each restart
DELAY = 0.5  # seconds between requests to a host: so that the crawl lasts as long as its troubles
ENV = {"COMITY_LEASE_TTL": f"{LEASE:g}s", "COMITY_TOTAL_TIMEOUT": "5s"}
MORE = 1  # troubles beyond one of each kind
AWAY = (1.0, 4.0)  # seconds for which Redis is away at a time
BETWEEN = (5, 40)  # requests between two troubles


class Chaos:
    """A crawl that is troubled: its parent, its workers, its Redis."""

    def __init__(
        self, web: Web, redis: DurableRedis, start: Callable[..., Any], late: subprocess.Popen[str]
    ) -> None:
        self._web = web
        self._redis = redis
        self._start = start
        self._late = late  # a worker of nobody's: no parent ends it while it is frozen
        self._rng = random.Random(SEED)
        self.crawl: subprocess.Popen[str] = start()

    def run(self) -> None:
        """Trouble of every kind in a random order; all the while a worker is frozen."""
        self._fetched(60)
        wait_for(
            lambda: any(name.startswith("late.") for name in self._redis.holders()), self.crawl
        )
        self._say("freeze_late")
        self._late.send_signal(signal.SIGSTOP)
        awake = time.monotonic() + LEASE + 1
        kinds = [self.kill_worker, self.kill_redis, self.freeze_redis, self.pause_redis]
        steps = self._rng.sample([*kinds, self.kill_parent], 5) + self._rng.choices(kinds, k=MORE)
        for step in steps:
            self._say(step.__name__)
            step()
            self._fetched(self._rng.randint(*BETWEEN))
        self._past(awake)
        self._say("thaw_late")
        self._late.send_signal(signal.SIGCONT)  # it held hosts that are others' by now

    def _say(self, what: str) -> None:
        print(f"seed {SEED}, {len(self._web.requests())} requests: {what}")

    def _fetched(self, more: int) -> None:
        """The crawl goes on: so many more requests."""
        before = len(self._web.requests())
        wait_for(lambda: len(self._web.requests()) >= before + more, self.crawl)

    def _past(self, moment: float) -> None:
        wait_for(lambda: time.monotonic() >= moment, self.crawl)

    def kill_worker(self) -> None:
        victim = self._rng.choice(wait_for(lambda: workers(self.crawl.pid), self.crawl))
        os.kill(victim, signal.SIGKILL)

    def kill_parent(self) -> None:
        self.crawl.kill()
        self.crawl.communicate()
        self.crawl = self._start("--resume")

    def kill_redis(self) -> None:
        self._redis.kill()
        self._past(time.monotonic() + self._rng.uniform(*AWAY))
        self._redis.start()

    def freeze_redis(self) -> None:
        self._redis.freeze()
        self._past(time.monotonic() + self._rng.uniform(*AWAY))
        self._redis.thaw()

    def pause_redis(self) -> None:
        self._redis.pause(self._rng.uniform(*AWAY))


def test_a_crawl_through_chaos_stores_the_truth_politely(
    web: Web, tmp_path: Path, spawn: Any
) -> None:
    out, home = tmp_path / "out", tmp_path / "home"
    home.mkdir()
    with durable_redis(tmp_path / "redis") as redis:
        where = ["--redis", redis.url, "--dns-server", web.at.dns]

        def start(*more: str) -> Any:
            options = ["--delay", str(DELAY), "--workers", "2", "--max-wait", "100s"]
            options += ["--out", str(out), "--json", *more]
            return spawn("crawl", *web.options(), *where, *options, **ENV)

        late = spawn("worker", *where, "--name", "late", HOME=str(home), **ENV)
        chaos = Chaos(web, redis, start, late)
        chaos.run()
        stdout, stderr = chaos.crawl.communicate(timeout=300)
        print(stdout, stderr)
        assert chaos.crawl.returncode == 0
        late.send_signal(signal.SIGTERM)
        assert late.wait(120) == 0
        all_accounted_for(redis.url)
    check_corpus(web, out)
    report = judge(web.requests(), web.truth(), DELAY, refetches=True)
    report.early = told(report.early, LEASE)
    assert report.ok, report.summary()


def all_accounted_for(redis: str) -> None:
    """Every URL is in one place, by the frontier's own account: finished, or of a blocked host."""
    checked = comity("frontier", "check", "--redis", redis)
    assert checked.returncode == 0, checked.stdout
    [counts] = json.loads(comity("frontier", "stats", "--redis", redis, "--json").stdout).values()
    assert counts["leased"] == counts["pending"] == 0
    assert counts["accepted"] == counts["finished"] + counts["queued"] + counts["waiting"]


def check_corpus(web: Web, out: Path) -> None:
    """The pages are the ground truth's, each once, and as they were fetched."""
    truth = web.truth()
    stored = rows(out, "url", "fetch_status", "page_id", "reason")
    assert max(Counter(row["page_id"] for row in stored).values()) == 1
    got = {row["url"] for row in stored if row["fetch_status"]} - set(truth["may"])
    assert got == {u for u, e in truth["must"].items() if e["kind"] == "page"}
    assert "poison" not in {row["reason"] for row in stored}
    with Corpus(str(out)) as corpus:
        assert not list(corpus.verify())


def test_a_worker_that_starts_while_redis_is_away_waits_for_it(tmp_path: Path) -> None:
    """Its parent had no trouble; were it to give up, the whole crawl would end."""
    with durable_redis(tmp_path / "redis") as redis:
        redis.kill()
        settings = Settings(redis=redis.url).model_dump(mode="json")
        given = {"settings": settings, "job": "default/crawl", "name": "w", "spool": str(tmp_path)}
        command = [sys.executable, "-m", "crawler.worker"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stderr=pipe, text=True) as worker:
            try:
                assert worker.stdin is not None
                assert worker.stderr is not None
                worker.stdin.write(json.dumps(given))
                worker.stdin.close()
                assert "waiting" in worker.stderr.readline()
                redis.start()
                wait_for(lambda: redis.living() == 1)
            finally:
                worker.kill()
