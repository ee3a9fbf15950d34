"""The frontier's fixtures serve here too."""

from tests.frontier.conftest import frontier, server

__all__ = ["frontier", "server"]
