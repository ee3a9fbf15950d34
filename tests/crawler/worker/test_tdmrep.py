"""What follows from an answer for tdmrep.json, and for how long."""

from __future__ import annotations

import time
import zlib
from dataclasses import replace

import pytest

from crawler.fetch.exchange import FetchError
from crawler.worker.tdmrep import AGAIN, Copy, judge

from .test_robots import answer

FILE = b'[{"location": "/", "tdm-reservation": 1}]'
DAY = 86_400


@pytest.mark.parametrize(
    ("status", "body", "seconds"),
    [(200, FILE, DAY), (404, b"", DAY), (403, b"", DAY), (302, b"", DAY), (500, b"", AGAIN)],
)
def test_by_status(status: int, body: bytes, seconds: float) -> None:
    copy = judge(answer(status, FILE), None, 0.0)
    assert (zlib.decompress(copy.body) if copy.body else b"") == body
    assert copy.expires == pytest.approx(time.time() + seconds, abs=5)


@pytest.mark.parametrize(
    "failed",
    [
        answer(429),
        answer(503),
        FetchError("timeout", "no answer"),
        replace(answer(200, FILE[:20]), truncated="disconnect"),
    ],
)
def test_a_file_that_was_read_holds_until_a_look_says_otherwise(failed: object) -> None:
    before = judge(answer(200, FILE), None, 0.0)
    copy = judge(failed, before, 0.0)  # type: ignore[arg-type]
    assert copy.body == before.body
    assert copy.expires == pytest.approx(time.time() + AGAIN, abs=5)
    assert judge(failed, None, 5_000.0) == Copy(b"", pytest.approx(time.time() + 5_000, abs=5))  # type: ignore[arg-type]
    assert judge(answer(404), before, 0.0).body == b""


def test_a_server_may_say_how_long() -> None:
    hour = judge(answer(200, FILE, Cache_Control="max-age=3600"), None, 0.0)
    assert hour.expires == pytest.approx(time.time() + 3600, abs=5)
