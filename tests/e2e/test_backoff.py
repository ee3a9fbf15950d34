"""How a crawl backs off, judged by when hosts were asked: 429s, the breaker and its one probe."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from frontier.model import Politeness
from frontier.policy import PENALTY_START

from .running import run
from .test_crawl import rows
from .test_recovery import Answer, Site, html, serving

pytestmark = pytest.mark.timeout(300)

GAP = 0.2  # seconds; the job's delay
SLOP = 1.0  # seconds by which a busy machine may be late
PAGES = 14
BREAKER = Politeness()


class Host:
    """A site of some pages that answers the n-th request for a page as it is told to."""

    def __init__(self, address: str, statuses: Callable[[int], int]) -> None:
        self.asked: list[float] = []
        self.said: list[int] = []
        self._statuses = statuses
        self.site = Site(address, self._answer)

    def _answer(self, path: str) -> Answer:
        if path in {"/robots.txt", "/.well-known/tdmrep.json"}:
            return 404, {}, b""
        self.asked.append(time.monotonic())
        self.said.append(self._statuses(len(self.asked)))
        if self.said[-1] != 200:
            return self.said[-1], {}, b""
        return html(*(f"/{n}" for n in range(PAGES))) if path == "/" else html()

    @property
    def gaps(self) -> list[float]:
        """Seconds before each request but the first."""
        return [later - earlier for earlier, later in pairwise(self.asked)]


def test_waits_double_and_come_down_in_steps_and_a_breaker_lets_one_probe_by(
    tmp_path: Path,
) -> None:
    throttled = Host("127.9.8.1", lambda n: 429 if n in {3, 4, 5} else 200)
    ill = Host("127.9.8.2", lambda n: 500 if n > 1 else 200)
    failures = range(2, 2 + BREAKER.breaker_failures)
    recovering = Host("127.9.8.3", lambda n: 500 if n in failures else 200)
    hosts = [throttled, ill, recovering]
    out = tmp_path / "out"
    with serving(*(host.site for host in hosts)):
        done = run(
            "crawl", *(host.site.url for host in hosts), "--allow-private-networks",
            "--delay", str(GAP), "--max-wait", "100s", "--workers", "2", "--out", str(out),
            timeout=250,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(gap >= GAP for host in hosts for gap in host.gaps)

    # Penalties after the 429s: from PENALTY_START, doubled each time, with a quarter of jitter.
    penalty = PENALTY_START
    for n, gap in enumerate(throttled.gaps[2:5]):
        assert penalty + GAP <= gap <= 1.25 ** (n + 1) * penalty + GAP + SLOP
        penalty *= 2
    # Down by a second per clean answer.
    falling = throttled.gaps[4:]
    assert all(later < earlier - 0.5 for earlier, later in pairwise(falling[:3]))
    assert min(falling) < GAP + SLOP
    assert throttled.said.count(429) == 3
    assert {r["url"] for r in rows(out, "url", "fetch_status") if r["fetch_status"] == 200} >= {
        f"{throttled.site.url}{n}" for n in range(PAGES)
    }

    # The breaker opens at the last of the failures in a row; then one request, and it stays open.
    opened = 1 + BREAKER.breaker_failures
    assert ill.said == [200, *[500] * (opened - 1), 500], done.stdout
    assert all(gap < 30 for gap in ill.gaps[: opened - 1])
    assert BREAKER.breaker_wait <= ill.gaps[-1] <= 1.25 * BREAKER.breaker_wait + 10 * SLOP
    # Where the probe is answered the crawl goes on, at the host's own pace.
    assert BREAKER.breaker_wait <= recovering.gaps[opened - 1]
    assert recovering.said[opened:] == [200] * (len(recovering.said) - opened)
    assert len(recovering.said) - opened >= PAGES - BREAKER.breaker_failures
    assert max(recovering.gaps[opened:]) < 40
