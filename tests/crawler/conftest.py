"""The frontier's fixtures serve here too."""

from tests.frontier.conftest import embedded, frontier, server, shared_cluster

__all__ = ["embedded", "frontier", "server", "shared_cluster"]
