"""Scripts and commands on whatever a Redis URL names; every error as one of the frontier's.

One client serves a single server (TCP, TLS or unix socket), a master behind Sentinels and Redis
Cluster alike: calls are routed by their first key, those for one node go out in one pipeline, and
what a moving cluster answers meanwhile is asked again, with backoff, for a bounded time.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    MasterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from frontier.attempts import Attempts, Request, asks, code
from frontier.model import FrontierBusy, FrontierError, FrontierFull
from frontier.nodes import Node, NodeInfo, Nodes, parse

OLDEST: Final = (7, 0)
FIRST_ANSWER: Final = 6.0  # seconds that a server has to say what it is
ACK_SECONDS: Final = 0.5  # for a replica to say that it has a call's writes
MEMORY_SECONDS: Final = 1.0  # how old an answer of :meth:`Driver.memory` may be
BUSY_SECONDS: Final = 5.0  # after which to try again where the memory is full
GLOBAL: Final = "{g}"  # tag of what belongs to the whole deployment
_EVERYWHERE: Final = frozenset({"DBSIZE", "FLUSHALL", "KEYS", "SCRIPT"})
_KEYLESS: Final = frozenset({"TIME", "PING"})
_KEY_AT: Final = {"OBJECT": 2, "MEMORY": 2}  # which argument is the key, where it is not the first
# Scripts outside any partition.
_BARE: Final = frozenset({"found", "job", "credit", "refund", "lock", "keep"})

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
        needs = re.search(r"^-- Needs: (.+)$", body, re.MULTILINE)
        parts = (
            ["prelude", *(f"_{part}" for part in needs[1].split(", "))] if needs else ["prelude"]
        )
        head = "".join((folder / f"{part}.lua").read_text("utf-8") for part in parts)
        shebang, rest = body.split("\n", 1) if body.startswith("#!") else ("", body)
        body = f"{shebang}\n{head}{rest}" if shebang else f"{head}{rest}"
    return Script(body, hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest())


def redact(url: str) -> str:
    """A Redis URL without its password, for messages."""
    url = re.sub(r"(?<=//)([^/@?#]*?):([^/?#]*)@", r"\1:***@", url)
    return re.sub(r"([?&][a-z_]*password=)[^&#]*", r"\1***", url)


@dataclass(frozen=True, slots=True)
class Reply:
    """What one of several calls came to."""

    value: Any = None  # the script's reply; None with an error
    error: FrontierError | None = None  # why there is none; the other calls have run all the same
    safe: bool = (
        True  # a replica has its writes, or none was asked for, or there is none to have them
    )


@dataclass(frozen=True, slots=True)
class Memory:
    """How full a server is, in bytes."""

    used: int  # what counts towards the limit
    limit: int  # at which it refuses; 0: none is set


class Driver:
    """Runs scripts and plain commands on a server or a cluster; maps every error."""

    def __init__(self, nodes: Nodes, url: str) -> None:
        self.url = url
        self.client = ScriptClient(self)
        self._nodes = nodes
        self._attempts = Attempts(nodes)
        self._scripts: dict[str, Script] = {}

    @property
    def cluster(self) -> bool:
        """Whether keys are spread over several servers."""
        return self._nodes.clustered

    @classmethod
    async def connect(cls, url: str) -> Driver:
        """Connect, find out what it is, check that it is fit; ``url``: see :func:`nodes.parse`.

        Raises FrontierError: not a Redis URL, unreachable, refused credentials, too old, a
        replica, a server that evicts keys.
        """
        try:
            driver = cls(Nodes(parse(url)), url)
        except ValueError as error:
            raise FrontierError(f"not a Redis URL: {redact(url)} ({error})") from error
        try:
            await driver._arrive()
        except BaseException:
            await driver.close()
            raise
        return driver

    async def close(self) -> None:
        """Close all connections."""
        await self._nodes.close()

    async def _arrive(self) -> None:
        try:
            several = len(found := await self._nodes.first()) > 1
            node, info = await self._first_answer(found)
            if info.clustered:
                await self._nodes.spread(node)
            elif several:
                raise FrontierError(
                    f"{node.name} is no node of a cluster: several addresses in "
                    f"{redact(self.url)} are for a cluster"
                )
            for each in self._nodes.masters():
                self._fit(each, await each.info(MEMORY_SECONDS))
        except ValueError as error:
            raise FrontierError(f"Redis Cluster at {redact(self.url)}: {error}") from error
        except TypeError as error:  # an option in the query that redis-py does not have
            raise FrontierError(f"not a Redis URL: {redact(self.url)} ({error})") from error
        except (RedisError, OSError) as error:
            raise self._mapped(error) from error

    async def _first_answer(self, nodes: Sequence[Node]) -> tuple[Node, NodeInfo]:
        """The first node that says what it is."""
        failure: Exception = TimeoutError()
        for node in nodes:
            try:
                async with asyncio.timeout(FIRST_ANSWER):
                    return node, await node.info()
            except TimeoutError:
                failure = FrontierError(
                    f"no answer within {FIRST_ANSWER:g} s at {redact(self.url)}: is it a Redis?"
                )
            except (RedisError, OSError) as error:
                failure = error
        raise failure

    def _fit(self, node: Node, info: NodeInfo) -> None:
        where = f"Redis at {redact(self.url)}"
        if self._nodes.elastic:
            where += f" ({node.name})"
        if tuple(int(x) for x in info.version.split(".")[:2]) < OLDEST:
            raise self._too_old(info.version)
        if not info.master:
            raise FrontierError(
                f"{where} is a replica, which takes no writes: give the URL of its master, "
                "or of its Sentinels (redis+sentinel://HOST:PORT/SERVICE)"
            )
        if info.limit and info.policy != "noeviction":
            raise FrontierError(
                f"{where} evicts keys when its memory is full, which loses URLs: set its "
                f"maxmemory-policy to noeviction, not {info.policy}"
            )

    def _too_old(self, version: str) -> FrontierError:
        return FrontierError(
            f"Redis at {redact(self.url)} is {version}; comity needs 7.0 or newer, or Valkey"
        )

    # -- calls

    async def command(self, *args: Any) -> Any:
        """One plain command, on the master that has its key.

        KEYS, DBSIZE, FLUSHALL and SCRIPT go to all masters: lists are joined, numbers added.
        """
        name = str(args[0]).upper()
        if name in _EVERYWHERE and self.cluster:
            return await self._everywhere(args)
        at = _KEY_AT.get(name, 1)
        key = GLOBAL if name in _KEYLESS or len(args) <= at else args[at]
        request = Request(key, args)
        await self._attempts.perform([request])
        if request.error is not None:
            raise self._mapped(request.error) from request.error
        return request.value

    async def commands(self, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """Many plain commands whose first argument is their key; replies in their order.

        One round trip per server. An error of any is raised after all have run.
        """
        requests = [Request(call[1], call) for call in calls]
        await self._attempts.perform(requests)
        for request in requests:
            if request.error is not None:
                raise self._mapped(request.error) from request.error
        return [request.value for request in requests]

    async def scan(self, match: str) -> AsyncIterator[bytes]:
        """Names of keys by pattern, of all masters; what stays there comes at least once."""
        for node in self._nodes.masters():
            cursor: Any = 0
            while True:
                try:
                    cursor, found = await node.command(
                        "SCAN", cursor, "MATCH", match, "COUNT", 1000
                    )
                except (RedisError, OSError) as error:
                    raise self._mapped(error) from error
                for name in found:
                    yield name
                if not int(cursor):
                    break

    async def script(self, name: str, key: str, args: Sequence[Any]) -> Any:
        """One script; loads it when the server does not know it (restart, failover)."""
        return (await self.scripts([(name, key, args)]))[0]

    async def scripts(self, calls: Sequence[Call]) -> list[Any]:
        """Many scripts; replies in the order of the calls.

        One round trip per server, all servers side by side. An error of any call is raised after
        all have run.
        """
        replies = await self.each(calls)
        for reply in replies:
            if reply.error is not None:
                raise reply.error
        return [reply.value for reply in replies]

    async def each(
        self, calls: Sequence[Call], *, replicated: bool = False, wait: float = ACK_SECONDS
    ) -> list[Reply]:
        """Many scripts, each with its own outcome, in the order of the calls.

        With ``replicated``, servers that have replicas are asked, on the connection of the calls
        and behind them (WAIT), whether one has their writes; what none has said to have within
        ``wait`` seconds is not ``safe``: it may be gone after a failover. Calls made so must
        write, each time that they are run: WAIT knows of nothing else.
        """
        requests = [self._request(*call) for call in calls]
        await self._attempts.perform(requests, wait if replicated else None)
        return [self._reply(request) for request in requests]

    def memory(self, key: str) -> Memory:
        """How full the server of a key was when last asked; not waited for, so 0 of 0 at first."""
        info = self._nodes.at(key).known(MEMORY_SECONDS)
        return Memory(info.used, info.limit) if info is not None else Memory(0, 0)

    async def nodes(self) -> dict[str, NodeInfo]:
        """What each master says of itself, by ``host:port`` or path."""
        masters = self._nodes.masters()
        try:
            found = await asyncio.gather(*(node.info(MEMORY_SECONDS) for node in masters))
        except (RedisError, OSError) as error:
            raise self._mapped(error) from error
        return {node.name: info for node, info in zip(masters, found, strict=True)}

    async def perform(self, *command: Any, key: str | bytes) -> Any:
        """One command as it is, with redis-py's own errors; for :class:`ScriptClient`."""
        request = Request(key, command)
        await self._attempts.perform([request])
        if request.error is not None:
            raise request.error
        return request.value

    def _request(self, name: str, key: str, args: Sequence[Any]) -> Request:
        if name not in self._scripts:
            self._scripts[name] = _load(name)
        script = self._scripts[name]
        keys = (1, key) if name in _BARE else (2, key, absent(key))
        return Request(
            key, ("EVALSHA", script.sha, *keys, *args), ("EVAL", script.text, *keys, *args)
        )

    def _reply(self, request: Request) -> Reply:
        if request.error is None:
            return Reply(request.value, None, request.safe)
        error = self._mapped(request.error)
        error.__cause__ = request.error
        return Reply(None, error, safe=False)

    async def _everywhere(self, args: Sequence[Any]) -> Any:
        masters = self._nodes.masters()
        try:
            replies = await asyncio.gather(*(node.command(*args) for node in masters))
        except (RedisError, OSError) as error:
            raise self._mapped(error) from error
        if isinstance(replies[0], list):
            return [item for reply in replies for item in reply]
        return sum(replies) if type(replies[0]) is int else replies[0]

    def _mapped(self, error: Exception) -> FrontierError:
        where = f"Redis at {redact(self.url)}"
        text = str(error).partition(" script: ")[0]
        if isinstance(error, FrontierError):
            return error
        if isinstance(error, AuthenticationError):
            if "already authenticated" in text or "required" in text.lower():
                text = "it wants a password: redis://:PASSWORD@HOST:PORT/0"
            return FrontierError(f"{where} refused the credentials: {text}")
        if isinstance(error, InvalidResponse):
            return FrontierError(f"{where} does not speak the Redis protocol: {text}")
        if "unknown command" in text and "HELLO" in text:  # it came with 6.0
            return self._too_old("older than 6.0")
        if isinstance(error, OutOfMemoryError) or text.startswith("OOM "):
            return FrontierBusy(f"{where} is out of memory: {text}", BUSY_SECONDS)
        if code(error) == "AWAY":
            lost = text.partition("AWAY ")[2]
            return FrontierError(f"{where}: {lost}; comity frontier rebuild restores what it can")
        if isinstance(error, TryAgainError) or asks(error):
            return FrontierBusy(f"{where} is moving a part of its keys: {text}", BUSY_SECONDS)
        if "MISCONF" in text:  # by redis-py's class or, from within a script, only by its text
            return FrontierFull(
                f"{where} cannot write to its disk: {text.partition('MISCONF ')[2]}"
            )
        for kind, meaning in _MEANINGS:
            if isinstance(error, kind):
                return FrontierError(f"{where} {meaning}: {text}")
        if isinstance(error, ResponseError):
            return FrontierError(f"{where} answered: {text}")
        return FrontierError(f"{where} cannot be reached: {error or type(error).__name__}")


_MEANINGS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (BusyLoadingError, "is still loading its data"),
    (ReadOnlyError, "is a replica, which takes no writes"),
    (MasterDownError, "has lost its master"),
    (ClusterDownError, "is a cluster that is down"),
    (MovedError, "is a cluster whose nodes do not agree on who has a key"),
)


class ScriptClient:
    """What of redis-py's client other packages may use: scripts, with its errors.

    As for the frontier's own, routing, retries and bounds are the driver's.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """A script by its digest; NoScriptError where the server does not know it."""
        return await self._run("EVALSHA", sha, numkeys, *keys_and_args)

    async def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """A script by its text."""
        return await self._run("EVAL", script, numkeys, *keys_and_args)

    async def _run(self, how: str, what: str, numkeys: int, *rest: Any) -> Any:
        keys, args = rest[:numkeys], rest[numkeys:]
        more = (*keys, absent(keys[0]), *args)
        return await self._driver.perform(how, what, numkeys + 1, *more, key=keys[0])


def absent(key: str) -> str:
    """A key that never exists, on the node of ``key``; it is declared by every script with others.

    While a slot moves to another node, the server then answers TRYAGAIN and runs nothing: it does
    so where some of several declared keys are missing. With one declared key, a script would run
    on either node, each with a part of the keys that it touches.
    """
    return f"{key.partition('}')[0]}}}:-"
