"""The only module of this package that knows redis-py: connections, scripts, errors.

One client serves a single server (TCP, TLS or unix socket) and Redis Cluster alike: scripts are
routed by their first key, and many calls go out in one pipeline where one server holds them all.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, cast

import redis.asyncio as aioredis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from frontier.model import FrontierError, FrontierFull

OLDEST: Final = (7, 0)
CONNECTIONS: Final = 32  # per process, to one server
FIRST_ANSWER: Final = 6.0  # seconds that a server has to say what it is
_BARE: Final = frozenset({"job", "credit", "refund", "lock"})  # scripts outside any partition

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
    url = re.sub(r"(?<=//)([^/@?#]*?):([^/?#]*)@", r"\1:***@", url)
    return re.sub(r"([?&]password=)[^&#]*", r"\1***", url)


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
            info = await probe._first_answer()
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

    async def _first_answer(self) -> dict[str, Any]:
        """INFO of a server that is new enough, soon; FrontierError for anything else."""
        try:
            async with asyncio.timeout(FIRST_ANSWER):
                info = cast("dict[str, Any]", await self.command("INFO"))
        except TimeoutError as error:
            raise FrontierError(
                f"no answer within {FIRST_ANSWER:g} s at {redact(self.url)}: is it a Redis?"
            ) from error
        version = str(info.get("redis_version", "0"))
        if tuple(int(x) for x in version.split(".")[:2]) < OLDEST:
            raise self._too_old(version)
        return info

    def _too_old(self, version: str) -> FrontierError:
        return FrontierError(
            f"Redis at {redact(self.url)} is {version}; comity needs 7.0 or newer, or Valkey"
        )

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
        text = str(error)
        if isinstance(error, AuthenticationError):
            if "already authenticated" in text or "required" in text.lower():
                text = "it wants a password: redis://:PASSWORD@HOST:PORT/0"
            return FrontierError(f"{where} refused the credentials: {text}")
        if isinstance(error, InvalidResponse):
            return FrontierError(f"{where} does not speak the Redis protocol: {text}")
        if "unknown command" in text and "HELLO" in text:  # it came with 6.0
            return self._too_old("older than 6.0")
        if "MISCONF" in text:  # by redis-py's class or, from within a script, only by its text
            text = text.partition("MISCONF ")[2].partition(" script: ")[0]
            return FrontierFull(f"{where} cannot write to its disk: {text}")
        if isinstance(error, (ResponseError, RedisClusterException)):
            return FrontierError(f"{where} answered: {text}")
        return FrontierError(f"{where} cannot be reached: {error or type(error).__name__}")
