"""The frontier's fixtures serve here too, on a single server."""

from __future__ import annotations

import pytest

from frontier.embedded import EmbeddedServer
from tests.frontier.conftest import embedded, frontier

__all__ = ["embedded", "frontier", "server"]


@pytest.fixture
def server(embedded: EmbeddedServer) -> EmbeddedServer:
    return embedded
