"""The frontier's tests run on a single server and on a cluster, one each per test process.

Each test gets an empty database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import pytest

from frontier.client import Frontier
from frontier.driver import Driver
from frontier.embedded import EmbeddedServer
from tests.cluster import Cluster, cluster


class Served(Protocol):
    """What a test may know of the server that it got."""

    @property
    def url(self) -> str: ...


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """For tests that leave its nodes as they are."""
    with cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


# Not of session scope: both servers stay, whatever the order in which the tests come.
@pytest.fixture(params=["embedded", "shared_cluster"])
def server(request: pytest.FixtureRequest) -> Served:
    running: Served = request.getfixturevalue(request.param)
    return running


@pytest.fixture
async def frontier(server: Served) -> AsyncIterator[Frontier]:
    driver = await Driver.connect(server.url)
    await driver.command("FLUSHALL")
    await driver.close()
    opened = await Frontier.open(server.url, partitions=4)
    yield opened
    await opened.close()
