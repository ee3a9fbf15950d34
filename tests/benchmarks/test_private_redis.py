"""A benchmark's own server."""

import pytest

from benchmarks.machine import BenchmarkError
from benchmarks.private_redis import VALKEY, private_redis


def test_a_server_is_measured_from_outside() -> None:
    with private_redis(VALKEY, persist=False) as server:
        empty, idle = server.used_memory(), server.cpu()
        server.commands.eval("for i = 1, 300000 do redis.call('SADD', 's', i) end", 0)
        assert server.used_memory() - empty > 300_000 * 8
        assert server.cpu() - idle > 0.01
        assert server.version().startswith("valkey ")


def test_a_server_that_is_not_there_is_said_so() -> None:
    with (
        pytest.raises(BenchmarkError, match="no such-redis here"),
        private_redis("such-redis", persist=False),
    ):
        pass
