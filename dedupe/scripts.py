"""Runs the index's scripts (``lua/``). The only module of this package that talks to Redis.

It does so through a client that is handed in. Each script is one operation, atomic, and touches
keys of one hash tag only, so the index works on Cluster.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import cache
from hashlib import sha1
from importlib import resources
from typing import Any, Protocol

from redis.exceptions import NoScriptError, RedisError


class DedupeError(Exception):
    """Base of what this package raises; the message is one line fit for an operator."""


class DedupeFull(DedupeError):
    """The index's server cannot write to its disk and refuses every change until it can."""


class ScriptClient(Protocol):
    """What is used of a redis.asyncio client, single server or cluster, not decoding responses."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...


class Scripts:
    """The scripts, on one server or a cluster."""

    def __init__(self, client: ScriptClient) -> None:
        self._client = client

    async def run(self, name: str, root: str, *args: Any) -> Any:
        """One script on the part of an index whose keys begin with ``root``.

        Raises DedupeError: no answer, or none that helps.
        """
        text, sha = _script(name)
        try:
            try:
                return await self._client.evalsha(sha, 1, root, *args)
            except NoScriptError:
                return await self._client.eval(text, 1, root, *args)
        except RedisError as error:
            text = str(error).partition(" script: ")[0]
            kind = DedupeFull if text.startswith("MISCONF") else DedupeError
            raise kind(f"the duplicate index does not answer: {text}") from error


@cache
def _script(name: str) -> tuple[str, str]:
    """A script behind its prelude, and the hash it is called by."""
    folder = resources.files("dedupe") / "lua"
    table, body = ((folder / f"{part}.lua").read_text("utf-8") for part in ("table", name))
    shebang, rest = body.split("\n", 1) if body.startswith("#!") else ("", body)
    text = f"{shebang}\n{table}\n{rest}".lstrip("\n")
    return text, sha1(text.encode(), usedforsecurity=False).hexdigest()
