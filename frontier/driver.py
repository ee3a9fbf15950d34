"""The only module of this package that knows redis-py: connections, scripts, errors.

One client serves a single server (TCP, TLS or unix socket) and Redis Cluster alike: scripts are
routed by their first key, and many calls go out in one pipeline where one server holds them all.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, cast
from urllib.parse import urlsplit

import redis.asyncio as aioredis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AuthenticationError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from frontier.model import FrontierError

OLDEST: Final = (7, 0)
CONNECTIONS: Final = 32  # per process, to one server
_BARE: Final = frozenset({"job", "credit", "lock"})  # scripts outside any partition

Call = tuple[str, str, Sequence[Any]]  # script, key it is routed by, arguments


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script, as sent."""

    text: str  # shebang, prelude and body
    sha: str  # what EVALSHA calls it by


def _load(name: str) -> Script:
    folder = resources.files("frontier") / "lua"
    body = (folder / f"{name}.lua").read_text("utf-8")
    if name not in _BARE:
        prelude = (folder / "prelude.lua").read_text("utf-8")
        shebang, rest = body.split("\n", 1) if body.startswith("#!") else ("", body)
        body = f"{shebang}\n{prelude}\n{rest}" if shebang else f"{prelude}\n{rest}"
    return Script(body, hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest())


def redact(url: str) -> str:
    """A Redis URL without its password, for messages."""
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", ":***@") if parts.password else url


class Driver:
    """Runs scripts and plain commands on a server or a cluster; maps every error."""

    def __init__(self, client: Any, url: str, *, cluster: bool) -> None:
        self.client = client
        self.url = url
        self.cluster = cluster
        self._scripts: dict[str, Script] = {}

    @classmethod
    async def connect(cls, url: str) -> Driver:
        """Connect, check the version, find out whether it is a cluster.

        Raises FrontierError: unreachable, refused credentials, too old, not a Redis URL.
        """
        options: dict[str, Any] = {
            "retry": Retry(ExponentialBackoff(cap=1.0, base=0.05), 3),
            "socket_timeout": 15.0,
            "socket_connect_timeout": 3.0,
        }
        try:
            # Callers beyond the pool wait for a connection; a worker has hundreds of tasks.
            pool = aioredis.BlockingConnectionPool.from_url(
                url, max_connections=CONNECTIONS, timeout=30.0, **options
            )
            client: Any = aioredis.Redis.from_pool(pool)
        except ValueError as error:
            raise FrontierError(f"not a Redis URL: {redact(url)} ({error})") from error
        probe = cls(client, url, cluster=False)
        try:
            info = cast("dict[str, Any]", await probe.command("INFO"))
            version = str(info.get("redis_version", "0"))
            if tuple(int(x) for x in version.split(".")[:2]) < OLDEST:
                raise FrontierError(
                    f"Redis at {redact(url)} is {version}; comity needs 7.0 or newer, or Valkey"
                )
            if not int(info.get("cluster_enabled", 0)):
                return probe
        except BaseException:
            await client.aclose()
            raise
        await client.aclose()
        try:
            nodes = RedisCluster.from_url(url, **options)
            await nodes.initialize()
        except RedisError as error:
            raise FrontierError(f"Redis Cluster at {redact(url)}: {error}") from error
        return cls(nodes, url, cluster=True)

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()

    async def command(self, *args: Any) -> Any:
        """One plain command."""
        try:
            return await self.client.execute_command(*args)
        except (RedisError, OSError, TimeoutError) as error:
            raise self._mapped(error) from error

    async def script(self, name: str, key: str, args: Sequence[Any]) -> Any:
        """One script; loads it when the server does not know it (restart, failover)."""
        script = self._script(name)
        try:
            try:
                return await self.client.execute_command("EVALSHA", script.sha, 1, key, *args)
            except NoScriptError:
                return await self.client.execute_command("EVAL", script.text, 1, key, *args)
        except (RedisError, OSError, TimeoutError) as error:
            raise self._mapped(error) from error

    async def scripts(self, calls: Sequence[Call]) -> list[Any]:
        """Many scripts; replies in the order of the calls.

        One round trip on a single server; on a cluster the calls run side by side. An error of
        any call is raised after all have run.
        """
        if len(calls) == 1 or self.cluster:
            return list(await asyncio.gather(*(self.script(*call) for call in calls)))
        replies = await self._pipeline(calls)
        for i, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):
                replies[i] = await self.script(*calls[i])
            elif isinstance(reply, Exception):
                raise self._mapped(reply) from reply
        return replies

    async def _pipeline(self, calls: Sequence[Call]) -> list[Any]:
        try:
            async with self.client.pipeline(transaction=False) as pipe:
                for name, key, args in calls:
                    pipe.execute_command("EVALSHA", self._script(name).sha, 1, key, *args)
                return cast("list[Any]", await pipe.execute(raise_on_error=False))
        except (RedisError, OSError, TimeoutError) as error:
            raise self._mapped(error) from error

    def _script(self, name: str) -> Script:
        if name not in self._scripts:
            self._scripts[name] = _load(name)
        return self._scripts[name]

    def _mapped(self, error: Exception) -> FrontierError:
        where = f"Redis at {redact(self.url)}"
        if isinstance(error, AuthenticationError):
            return FrontierError(f"{where} refused the credentials: {error}")
        if isinstance(error, (ResponseError, RedisClusterException)):
            return FrontierError(f"{where} answered: {error}")
        return FrontierError(f"{where} cannot be reached: {error or type(error).__name__}")
