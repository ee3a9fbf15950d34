"""One embedded server per test process; each test gets an empty database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from frontier.client import Frontier
from frontier.driver import Driver
from frontier.embedded import EmbeddedServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    directory: Path = tmp_path_factory.mktemp("redis")
    with EmbeddedServer(directory) as running:
        yield running


@pytest.fixture
async def frontier(server: EmbeddedServer) -> AsyncIterator[Frontier]:
    driver = await Driver.connect(server.url)
    await driver.command("FLUSHALL")
    await driver.close()
    opened = await Frontier.open(server.url, partitions=4)
    yield opened
    await opened.close()
