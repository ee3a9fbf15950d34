"""The demo web on loopback: hosts, DNS responder and control port, started and stopped as one.

Every address is bound by itself, never the wildcard: what no host lives at refuses connections.
"""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from crawler.demo.build import build
from crawler.demo.dns import DnsProtocol
from crawler.demo.http import HttpProtocol, Reply, Request
from crawler.demo.log import RequestLog
from crawler.demo.model import DemoError, Web, url
from crawler.demo.policy import Policy, parse
from crawler.demo.site import DemoSite
from crawler.demo.truth import truth

_CONTROL: Final = "127.0.0.1"
_BACKLOG: Final = 512
_TRIES: Final = 20  # for a port that is free on every address


class DemoServer:
    """A running demo web; use as an async context manager.

    Attributes valid while it runs: ``web``, ``port``, ``seeds`` (URLs), ``dns_address`` (IP:PORT),
    ``control_url``, ``log_path``.
    """

    def __init__(
        self,
        seed: int = 1,
        size: str = "default",
        *,
        port: int = 0,
        log: Path | None = None,
        slowness: float = 1.0,
    ) -> None:
        """Make the web; nothing listens yet.

        Args:
            seed: names the web, together with ``size``.
            size: small, default or large.
            port: of all hosts; 0: one that is free.
            log: file that requests are appended to; None: a temporary one, gone at the end.
            slowness: factor on the seconds that slow responses take; 0: none is slow.

        Raises:
            DemoError: the size is not known.
        """
        self.web: Web = build(seed, size)
        self.port = port
        self.dns_address = ""
        self.control_url = ""
        self.log_path = Path() if log is None else log
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._keep_log = log is not None
        self._slowness = slowness
        self._log: RequestLog | None = None
        self._site: DemoSite | None = None
        self._servers: list[asyncio.Server] = []
        self._connections: set[HttpProtocol] = set()
        self._dns: tuple[asyncio.DatagramTransport, DnsProtocol] | None = None

    async def __aenter__(self) -> Self:
        """Start listening."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening."""
        await self.stop()

    @property
    def seeds(self) -> list[str]:
        """The URL from which everything is reached."""
        return [url(self.web.portal.host, self.web.portal.path, self.port)]

    def homes(self) -> list[str]:
        """The front page of every host that has one."""
        return [
            url(host.name, "/", self.port) for host in self.web.hosts.values() if "/" in host.pages
        ]

    def truth(self, policy: Policy | str = "") -> dict[str, Any]:
        """The ground truth for a policy, or for a query string that describes one.

        Raises:
            DemoError: the query string is not a policy.
        """
        known = parse(policy) if isinstance(policy, str) else policy
        return truth(self.web, known, self.port)

    def announcement(self) -> dict[str, Any]:
        """What a user of the server needs to know, as JSON values."""
        return {
            "seeds": self.seeds,
            "dns": self.dns_address,
            "control": self.control_url,
            "port": self.port,
            "log": str(self.log_path),
            "hosts": len(self.web.hosts),
            "pages": sum(
                page.kind == "page"
                for host in self.web.hosts.values()
                for page in host.pages.values()
            ),
        }

    def statistics(self) -> dict[str, Any]:
        """Counts since the start, as JSON values."""
        return {
            "requests": 0 if self._log is None else self._log.count,
            "statuses": {} if self._site is None else dict(sorted(self._site.statuses.items())),
            "dns_queries": 0 if self._dns is None else self._dns[1].queries,
            "connections": len(self._connections),
        }

    def reset(self) -> None:
        """Forget which URLs have failed how often, so that another crawl meets the same web."""
        if self._site is not None:
            self._site.reset()

    async def start(self) -> None:
        """Listen on every address, on the control port and for DNS queries.

        Raises:
            DemoError: the port is taken, or the log cannot be written.
        """
        if not self._keep_log:
            self._temporary = tempfile.TemporaryDirectory(prefix="comity-demo-")
            self.log_path = Path(self._temporary.name) / "requests.jsonl"
        try:
            await self._listen()
        except OSError as error:
            await self.stop()
            raise DemoError(f"demo web: {error.filename or 'network'}: {error.strerror}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything; what is under way is cut off."""
        for server in self._servers:
            server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.closed for connection in connections))
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
        if self._dns is not None:
            self._dns[0].close()
            self._dns = None
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    async def _listen(self) -> None:
        log = self._log = RequestLog(self.log_path)
        sockets = _bind(self.web.addresses, self.port)
        self.port = sockets[0].getsockname()[1]
        site = self._site = DemoSite(self.web, self.port, log, self._slowness)
        await self._serve(lambda: HttpProtocol(site, self._connections), sockets)
        control = _bind((_CONTROL,), 0)
        self.control_url = "http://{}:{}".format(*control[0].getsockname())
        await self._serve(lambda: HttpProtocol(_Control(self), self._connections), control)
        names = self.web.names
        self._dns = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: DnsProtocol(names), local_addr=(_CONTROL, 0)
        )
        self.dns_address = "{}:{}".format(*self._dns[0].get_extra_info("sockname"))

    async def _serve(
        self, protocol: Callable[[], HttpProtocol], sockets: list[socket.socket]
    ) -> None:
        """Accept connections on bound sockets, which belong to the servers from here on."""
        loop = asyncio.get_running_loop()
        with ExitStack() as orphans:
            for bound in sockets:
                orphans.callback(bound.close)
            for bound in sockets:
                server = await loop.create_server(protocol, sock=bound, backlog=_BACKLOG)
                self._servers.append(server)
            orphans.pop_all()


def _bind(addresses: tuple[str, ...], wanted: int) -> list[socket.socket]:
    """Sockets bound to one port on every address; port 0: one that is free on all of them.

    Raises:
        DemoError: there is no such port.
    """
    for _ in range(1 if wanted else _TRIES):
        sockets: list[socket.socket] = []
        port = wanted
        try:
            for address in addresses:
                bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                sockets.append(bound)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.bind((address, port))
                port = bound.getsockname()[1]
        except OSError as error:
            for bound in sockets:
                bound.close()
            problem = error
        else:
            return sockets
    raise DemoError(f"demo web, port {wanted or 'any'}: {problem.strerror}") from problem


class _Control:
    """The control port's site: truth, seeds, log, statistics."""

    def __init__(self, server: DemoServer) -> None:
        self._server = server

    def respond(self, request: Request) -> Reply:
        """JSON for ``/__truth__?...``, ``/__seeds__``, ``/__stats__``; the log for ``/__log__``."""
        parts = urlsplit(request.target)
        try:
            if parts.path == "/__truth__":
                return _json(200, self._server.truth(parts.query))
            if parts.path == "/__seeds__":
                return _json(200, {"seeds": self._server.seeds, "homes": self._server.homes()})
            if parts.path == "/__stats__":
                return _json(200, self._server.statistics())
            if parts.path == "/__log__":
                body = self._server.log_path.read_bytes()
                return Reply(200, [("Content-Type", "application/jsonl")], body)
            if parts.path == "/__reset__" and request.method == "POST":
                self._server.reset()
                return _json(200, {"reset": True})
        except DemoError as error:
            return _json(400, {"error": str(error)})
        return _json(
            404, {"error": "one of __truth__, __seeds__, __log__, __stats__; POST __reset__"}
        )

    def ended(self, request: Request, reply: Reply, end: float, size: int, aborted: bool) -> None:
        """Requests for control are not logged."""


def _json(status: int, value: Mapping[str, Any]) -> Reply:
    body = json.dumps(value, ensure_ascii=False).encode() + b"\n"
    return Reply(status, [("Content-Type", "application/json")], body)
