"""Where the servers are: what a Redis URL names, which node has a key, who is its master now.

With ``frontier.driver`` the only module of this package that knows redis-py. A single server and
the master that a Sentinel names are a cluster of one node. redis-py's own cluster client is not
used: it sends ASKING and the command that it is for on different connections of its pool, refuses
callers beyond its pool instead of letting them wait, closes connections that others are using when
one of them meets CLUSTERDOWN, and cannot put WAIT behind a call on the call's connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import hiredis
import redis.asyncio as aioredis
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

CONNECTIONS: Final = 32  # per process, to one server
CONNECT_SECONDS: Final = 3.0
ALONE_SECONDS: Final = 15.0  # to answer, for a server that nobody can stand in for
SHARED_SECONDS: Final = 5.0  # to answer, where a replica may have taken over
ASK_SECONDS: Final = 2.0  # for a node or a Sentinel to say who is master
FRESH_SECONDS: Final = 2.0  # how old the number of a server's replicas may be
HOLD_SECONDS: Final = 20.0  # after its last replica has gone, a server still waits for one
SENTINEL_PORT: Final = 26379
# urlsplit does not take several addresses: it refuses brackets that are not the first.
_URL: Final = re.compile(r"([a-z+]+)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?")

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL names."""

    hosts: tuple[Address, ...]  # servers or Sentinels; empty for a unix socket
    options: dict[str, Any]  # of every connection to a server, without its address
    service: str = ""  # the name that Sentinels know the master by; empty: no Sentinels
    sentinel: dict[str, Any] = field(default_factory=dict)  # options of connections to them


def parse(url: str) -> Target:
    """Take a URL apart.

    ``redis://`` and ``rediss://`` as redis-py has them, with further addresses of a cluster after
    commas; ``unix://``; ``redis+sentinel://[user:pass@]host[:port],.../service[/db]`` and
    ``rediss+sentinel://``, where ``sentinel_username`` and ``sentinel_password`` in the query are
    for the Sentinels themselves. Raises ValueError.
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ValueError("write redis://HOST:PORT/0, rediss://... or unix:///path")
    scheme, authority, path, query = parts.groups(default="")
    base = scheme.removesuffix("+sentinel")
    if base not in ("redis", "rediss"):
        return Target((), dict(parse_url(url)))
    auth, at, places = authority.rpartition("@")
    service, port = "", 6379
    if base != scheme:
        service, _, db = path.strip("/").partition("/")
        path, port = f"/{db}", SENTINEL_PORT
        if not service:
            raise ValueError(f"a Sentinel URL ends with its service: {scheme}://.../SERVICE")
    if not path.removeprefix("/").isdecimal() and path.strip("/"):
        raise ValueError(f"a database has a number, not the name {path[1:]!r}")
    hosts: list[Address] = []
    options: dict[str, Any] = {}
    for place in places.split(","):
        if not place:
            raise ValueError("an address is empty")
        options = dict(parse_url(f"{base}://{auth}{at}{place}{path}?{query}"))
        hosts.append((options.pop("host", "localhost"), options.pop("port", port)))
    own = {name: options.pop(name) for name in list(options) if name.startswith("sentinel_")}
    if not service:
        return Target(tuple(hosts), options)
    tls = {k: v for k, v in options.items() if k.startswith("ssl_") or k == "connection_class"}
    tls |= {name.removeprefix("sentinel_"): value for name, value in own.items()}
    return Target(tuple(hosts), options, service, tls)


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a server says of itself."""

    version: str
    run_id: str  # another one after each start
    master: bool
    clustered: bool
    replicas: int  # that follow it, in sync
    used: int  # bytes that count towards the limit
    limit: int  # maxmemory; 0: none
    policy: str  # what it evicts at the limit
    read_at: float  # time.monotonic() when it was asked


class _Packing(AbstractConnection):
    """Packs commands by hiredis: in Python that takes longer than all else that a call does."""

    def pack_command(self, *args: Any) -> list[bytes]:
        name = args[0].encode() if isinstance(args[0], str) else args[0]
        try:
            return [hiredis.pack_command((*name.split(), *args[1:]))]
        except TypeError:  # it does not take all that redis-py takes
            return super().pack_command(*args)


@lru_cache
def _packing(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """A kind of connection (TCP, TLS, unix socket) that packs so."""
    return type(kind.__name__, (_Packing, kind), {})


class Node:
    """One server: a bounded pool of connections to it, and what it last said of itself."""

    def __init__(self, name: str, options: dict[str, Any], seconds: float) -> None:
        self.name = name  # "host:port", or the path of a socket
        connecting = min(CONNECT_SECONDS, seconds)
        kind = _packing(options.get("connection_class", Connection))
        # Callers beyond CONNECTIONS wait; retries are for who knows where else to ask.
        self._pool = aioredis.ConnectionPool(
            retry=Retry(NoBackoff(), 0),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            **{
                "socket_timeout": seconds,
                "socket_connect_timeout": connecting,
                **options,
                "connection_class": kind,
            },
        )
        self._client = aioredis.Redis.from_pool(self._pool)
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._scopes: set[asyncio.Timeout] = set()  # of calls on their way
        self._info: NodeInfo | None = None
        self._asking: asyncio.Task[NodeInfo] | None = None
        self._alone_since = 0.0
        self._accompanied = False

    async def command(self, *args: Any) -> Any:
        """One command."""
        async with self._place():
            return await self._client.execute_command(*args)  # type: ignore[no-untyped-call]

    async def script(self, *args: Any) -> Any:
        """One command whose reply is taken as it is.

        Past redis-py's client, whose own part (metrics, retries, callbacks) costs more than the
        rest of a call; a connection closes itself when it fails under its user.
        """
        async with self._place():
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.send_command(*args)
                return await connection.read_response()
            finally:
                await self._pool.release(connection)

    async def pipeline(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Many commands on one connection; a reply may be a ResponseError."""
        async with self._place(), self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
        return replies

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Room for one connection more; :meth:`drop` ends it, with an error."""
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes.add(scope)
                async with self._room:
                    yield
        except TimeoutError as error:
            if scope.expired():
                raise ConnectionError(f"{self.name} is no master any more") from error
            raise
        finally:
            self._scopes.discard(scope)

    async def info(self, age: float = 0.0) -> NodeInfo:
        """What it says of itself, at most ``age`` seconds old; callers at a time share a reply."""
        if self._info is not None and time.monotonic() - self._info.read_at <= age:
            return self._info
        return await asyncio.shield(self._asked())

    def known(self, age: float) -> NodeInfo | None:
        """What it last said of itself; one older than ``age`` seconds is renewed for next time."""
        if self._info is None or time.monotonic() - self._info.read_at > age:
            self._asked()
        return self._info

    def _asked(self) -> asyncio.Task[NodeInfo]:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(_heard)
        return self._asking

    async def _ask(self) -> NodeInfo:
        asked = time.monotonic()
        info = self._info = _info(await self.command("INFO"), asked)
        if info.replicas:
            self._accompanied, self._alone_since = True, 0.0
        elif self._accompanied:
            self._alone_since = self._alone_since or asked
            self._accompanied = asked - self._alone_since < HOLD_SECONDS
        return info

    def expect_replica(self) -> None:
        """It is said to have a replica; believed unless it has been asked itself."""
        self._accompanied = self._accompanied or self._info is None

    async def accompanied(self) -> bool:
        """Whether a replica has to have what is written here before it may be relied on.

        True for a while after the last one has gone: that is also what a master sees which was
        frozen and comes back after its replica was promoted, until it hears of that.
        """
        await self.info(FRESH_SECONDS)
        return self._accompanied

    async def drop(self) -> None:
        """End all calls on their way, with an error, and all connections; later calls open new.

        Not by closing what is in use under its user: one that just connects would not notice.
        """
        ended, self._scopes = self._scopes, set()
        for scope in ended:
            scope.reschedule(asyncio.get_running_loop().time())
        with contextlib.suppress(RedisError, OSError):
            await self._pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close all connections for good."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await self._client.aclose()
        await self._pool.aclose()


class Nodes:
    """The masters and what each has, found again when they have moved."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._nodes: dict[str, Node] = {}
        self._slots: list[Node] = []  # one entry per slot; empty where there is no cluster
        self._one: Node | None = None  # the only master, or the first node that answered
        self._lock = asyncio.Lock()
        self._sentinels = [
            Node(f"{host}:{port}", {**target.sentinel, "host": host, "port": port}, ASK_SECONDS)
            for host, port in (target.hosts if target.service else ())
        ]
        self.generation = 0  # +1 with each :meth:`refresh`
        self.elastic = bool(target.service)  # another server may take over

    @property
    def clustered(self) -> bool:
        """Whether keys are spread over several masters."""
        return bool(self._slots)

    async def first(self) -> list[Node]:
        """The nodes to ask what this is: the Sentinels' master, or those that the URL names."""
        if self._target.service:
            await self._ask_sentinels()
            return [self._one] if self._one else []
        found = [self._node(h) for h in self._target.hosts] or [self._node(None)]
        self._one = found[0]
        return found

    async def spread(self, node: Node) -> None:
        """Take up the cluster that ``node`` belongs to.

        Raises what asking it raises, and ValueError where it cannot be used.
        """
        view = await node.command("CLUSTER", "SLOTS")
        await self.close()  # these wait longer for an answer than is good in a cluster
        self._nodes.clear()
        self.elastic = True
        if not self._take(node, view):
            raise ValueError("not all slots of the cluster are served")

    def at(self, key: str | bytes) -> Node:
        """The master that has a key."""
        if self._slots:
            return self._slots[key_slot(key.encode() if isinstance(key, str) else key)]
        if self._one is None:
            raise RuntimeError("not connected")
        return self._one

    def masters(self) -> list[Node]:
        """All masters."""
        if not self._slots:
            return [self._one] if self._one else []
        return list(dict.fromkeys(self._slots))

    def elsewhere(self, host: str, port: int) -> Node:
        """A node that another one has named."""
        return self._node((host, port))

    def moved(self, slot: int, node: Node) -> None:
        """A slot has another master."""
        if self._slots:
            self._slots[slot] = node

    async def refresh(self, generation: int, failed: Node) -> None:
        """Find the masters again, unless that was done since ``generation``."""
        async with self._lock:
            if not self.elastic or generation != self.generation:
                return
            self.generation += 1
            before = self.masters()
            if self._target.service:
                await self._ask_sentinels()
            else:
                await self._ask_nodes(failed)
            now = self.masters()
        # Who still waits for an answer of a former master shall not wait for the time-out.
        await asyncio.gather(*(node.drop() for node in before if node not in now))

    async def close(self) -> None:
        """Close all connections."""
        nodes = (*self._nodes.values(), *self._sentinels)
        await asyncio.gather(*(node.close() for node in nodes))

    def _node(self, address: Address | None) -> Node:
        options = self._target.options
        name = str(options.get("path", "")) if address is None else f"{address[0]}:{address[1]}"
        if name not in self._nodes:
            if address is not None:
                options = {**options, "host": address[0], "port": address[1]}
            self._nodes[name] = Node(
                name, options, SHARED_SECONDS if self.elastic else ALONE_SECONDS
            )
        return self._nodes[name]

    async def _ask_sentinels(self) -> None:
        """Take up the master that a Sentinel names; ConnectionError where none does."""
        service = self._target.service
        random.shuffle(self._sentinels)
        for sentinel in self._sentinels:
            try:
                found = await sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
            except (RedisError, OSError):
                continue
            if found:
                host, port = (part.decode() if isinstance(part, bytes) else part for part in found)
                self._one = self._node((str(host), int(port)))
                return
        raise ConnectionError(f"no Sentinel that answers knows a master named {service!r}")

    async def _ask_nodes(self, failed: Node) -> None:
        """Take the first answer that covers all slots; with none, go on with what was known."""
        others = [node for node in self._nodes.values() if node is not failed]
        random.shuffle(others)
        for node in [*others, failed]:
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    view = await node.command("CLUSTER", "SLOTS")
            except (RedisError, OSError, TimeoutError):
                continue
            if self._take(node, view):
                return

    def _take(self, asked: Node, view: Any) -> bool:
        """Take up the answer to CLUSTER SLOTS: ``[[first, last, master, replica ...] ...]``."""
        slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, *nodes in view:
            found = [self._node(_address(asked, node)) for node in nodes]
            slots[first : last + 1] = [found[0]] * (last + 1 - first)
            if len(found) > 1:
                found[0].expect_replica()
        known = [node for node in slots if node is not None]
        if len(known) == len(slots):
            self._slots = known
        return len(known) == len(slots)


def _heard(task: asyncio.Task[NodeInfo]) -> None:
    """Take note of a failure that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def _address(asked: Node, node: Any) -> Address:
    host = (node[0] or b"").decode()  # empty: the one that was asked by
    return (host if host not in ("", "?") else asked.name.rpartition(":")[0], int(node[1]))


def _info(found: dict[str, Any], now: float) -> NodeInfo:
    replicas = [v for k, v in found.items() if k.startswith("slave") and isinstance(v, dict)]
    return NodeInfo(
        version=str(found.get("redis_version", "0")),
        run_id=str(found.get("run_id", "")),
        master=found.get("role", "master") == "master",
        clustered=bool(int(found.get("cluster_enabled", 0))),
        replicas=sum(1 for each in replicas if each.get("state") == "online"),
        used=int(found.get("used_memory", 0)) - int(found.get("mem_not_counted_for_evict", 0)),
        limit=int(found.get("maxmemory", 0)),
        policy=str(found.get("maxmemory_policy", "noeviction")),
        read_at=now,
    )
