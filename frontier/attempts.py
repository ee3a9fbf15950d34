"""Commands to the nodes that they belong to, again and elsewhere until it is no use.

What a cluster answers while it moves is no error but a matter of waiting a little or asking
somebody else: here is decided which, and for how long.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004
    InvalidResponse,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeout

from frontier.nodes import Node, Nodes

PATIENCE: Final = 15.0  # seconds for a failover, a moved slot, a loading server
LOSSES: Final = 3  # connections in a row to a server that nobody can stand in for
PAUSES: Final = (0.02, 0.5)  # seconds between attempts, doubling from the first to the second
MANY_HOPS: Final = 4  # redirections in a row, from which on it pauses between them
_SCRIPTS: Final = frozenset({"EVAL", "EVALSHA"})
_PASSING: Final = frozenset({"BUSY", "NOREPLICAS"})  # error codes without a class


@dataclass(slots=True)
class Request:
    """A command on its way, until it has a reply or no hope of one."""

    key: str | bytes  # it is routed by
    command: Sequence[Any]
    load: Sequence[Any] = ()  # what to send where the script is not known
    value: Any = None
    error: Exception | None = None
    safe: bool = True
    node: Node | None = None  # that it was last sent to
    asking: Node | None = None  # to be sent to, this once, instead of the key's master


class Attempts:
    """Sends requests to whoever has their keys."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def perform(self, requests: Sequence[Request], wait: float | None = None) -> None:
        """Send requests until each has its reply, a final error, or time is up."""
        since, pause, losses, hops = time.monotonic(), PAUSES[0], 0, 0
        while True:
            generation = self._nodes.generation
            await self._round(requests, wait)
            failed = [(r, _kind(r)) for r in requests if r.error is not None]
            requests = [r for r, kind in failed if kind != "final" and self._may(r)]
            if not requests:
                return
            kinds = {kind for _, kind in failed}
            self._redirect(failed)
            hops += 1
            if kinds <= {"load", "redirect", "final"} and hops < MANY_HOPS:
                continue
            lost = next((r.node for r, kind in failed if kind in ("lost", "away") and r.node), None)
            losses += "lost" in kinds
            stuck = "lost" in kinds and not self._nodes.elastic
            if losses > LOSSES if stuck else time.monotonic() - since > PATIENCE:
                return
            if lost is not None:
                await self._find(generation, lost)
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSES[1])

    async def _round(self, requests: Sequence[Request], wait: float | None) -> None:
        groups: dict[Node, list[Request]] = defaultdict(list)
        for request in requests:
            groups[request.asking or self._nodes.at(request.key)].append(request)
        if len(groups) == 1:
            [(node, group)] = groups.items()
            await _send(node, group, wait)
            return
        await asyncio.gather(*(_send(node, group, wait) for node, group in groups.items()))

    def _redirect(self, failed: Sequence[tuple[Request, str]]) -> None:
        """Let each request go where its answer says."""
        for request, kind in failed:
            error = request.error
            if kind == "load":
                request.command, request.load = request.load, ()
            elif isinstance(error, AskError) and request.node is not None:
                host = error.host or request.node.name.rpartition(":")[0]
                node = self._nodes.elsewhere(host, error.port)
                if isinstance(error, MovedError):
                    self._nodes.moved(error.slot_id, node)
                else:
                    request.asking = node

    def _may(self, request: Request) -> bool:
        """Whether somebody else may know a partition whose state is not where it was asked for."""
        return code(request.error) != "AWAY" or self._nodes.elastic

    async def _find(self, generation: int, failed: Node) -> None:
        # Nobody may know yet; when patience ends, the request's own error tells more.
        with contextlib.suppress(RedisError, OSError):
            await self._nodes.refresh(generation, failed)


async def _send(node: Node, requests: Sequence[Request], wait: float | None) -> None:
    """One round trip; every request has a value or an error afterwards."""
    try:
        waits = wait is not None and await node.accompanied()
        if len(requests) == 1 and not waits and requests[0].asking is None:
            [request] = requests
            call = node.script if request.command[0] in _SCRIPTS else node.command
            replies = [await call(*request.command)]
        else:
            replies = await _pipeline(node, requests, wait if waits else None)
    except (RedisError, OSError) as error:
        replies = [error] * len(requests)
        waits = False
    safe = not waits or replies.pop() is True
    for request, reply in zip(requests, replies, strict=True):
        failed = isinstance(reply, Exception)
        request.value, request.error = (None, reply) if failed else (reply, None)
        request.node, request.asking, request.safe = node, None, safe


async def _pipeline(node: Node, requests: Sequence[Request], wait: float | None) -> list[Any]:
    """The requests' replies; with ``wait`` and then, whether a replica has what they wrote."""
    commands: list[Sequence[Any]] = []
    for request in requests:
        if request.asking is not None:
            commands.append(("ASKING",))
        commands.append(request.command)
    if wait is not None:
        commands.append(("WAIT", 1, max(1, int(wait * 1000))))
    found = zip(commands, await node.pipeline(commands), strict=True)
    replies = [reply for command, reply in found if command[0] != "ASKING"]
    if wait is not None:
        replies[-1] = isinstance(replies[-1], int) and replies[-1] >= 1
    return replies


def code(error: Exception | None) -> str:
    """The code that an error reply begins with, where redis-py has no class for it."""
    return str(error).partition(" ")[0] if type(error) is ResponseError else ""


def asks(error: Exception) -> bool:
    return isinstance(error, AskError) and not isinstance(error, MovedError)


def _kind(request: Request) -> str:
    """What is to be done about an error.

    load: send the script; redirect: send it elsewhere; later: send it again; away: find the masters
    first; lost: the same, no answer came; final: nothing.
    """
    error = request.error
    if isinstance(error, NoScriptError):
        return "load" if request.load else "final"
    if isinstance(error, AskError):  # MOVED too
        return "redirect"
    if isinstance(error, (AuthenticationError, InvalidResponse)):
        return "final"
    if isinstance(error, (ReadOnlyError, ClusterDownError)):
        return "away"
    if isinstance(error, (TryAgainError, BusyLoadingError)) or code(error) in _PASSING:
        return "later"
    lost = isinstance(error, (ConnectionError, RedisTimeout, OSError))
    return "lost" if lost else "final"
