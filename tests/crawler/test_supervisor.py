"""Workers are replaced when they die or freeze, and left alone while Redis is away."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from crawler import supervisor
from crawler.config import Settings
from crawler.supervisor import BLIND, STARTUP, Supervisor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time that supervisors go by: ``clock.now``, seconds."""
    found = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(supervisor, "time", SimpleNamespace(monotonic=lambda: found.now))
    return found


@pytest.fixture
def one(tmp_path: Path, clock: SimpleNamespace) -> Iterator[Supervisor]:
    """A supervisor of one real worker, which waits for its Redis."""
    settings = Settings(redis=f"unix://{tmp_path}/none.sock", workers=1)
    found = Supervisor(settings, "default/crawl", tmp_path, io.StringIO())
    found.start()
    yield found
    found.hurry()
    found.drain()


def look_until(one: Supervisor, clock: SimpleNamespace, moment: float, *living: str) -> None:
    """Look as often as a parent does while Redis answers."""
    while clock.now < moment:
        clock.now += BLIND / 4
        one.look(set(living))


def test_one_without_a_heartbeat_is_replaced(one: Supervisor, clock: SimpleNamespace) -> None:
    [first] = one.children
    look_until(one, clock, clock.now + STARTUP - 1)
    assert one.children == [first]
    look_until(one, clock, clock.now + 2)
    [second] = one.children
    assert second is not first
    assert first.process.poll() is not None


def test_one_with_a_heartbeat_stays(one: Supervisor, clock: SimpleNamespace) -> None:
    [first] = one.children
    look_until(one, clock, clock.now + 2 * STARTUP, f"{first.name}.1a2b")
    assert one.children == [first]


def test_nobody_could_beat_while_redis_was_away(one: Supervisor, clock: SimpleNamespace) -> None:
    [first] = one.children
    look_until(one, clock, clock.now + 2 * STARTUP, f"{first.name}.1a2b")
    clock.now += BLIND + 1
    look_until(one, clock, clock.now + STARTUP - 1)
    assert one.children == [first]
    look_until(one, clock, clock.now + 2)
    assert one.children != [first]
