"""A small HTTP proxy on loopback: tunnels, and forwards requests in absolute form."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from types import TracebackType
from urllib.parse import urlsplit

Route = tuple[str, int] | int  # where a name's connections go, or the status they are refused with


class ProxyServer:
    """``routes``: by host name or literal; others are answered 502. Keeps the heads it got."""

    def __init__(self, routes: dict[str, Route], *, credentials: str = "") -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._routes = routes
        self._wants = base64.b64encode(credentials.encode()) if credentials else b""
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def url(self, credentials: str = "") -> str:
        return f"http://{credentials}{'@' if credentials else ''}127.0.0.1:{self.port}"

    async def __aenter__(self) -> ProxyServer:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: asyncio.StreamWriter | None = None
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.heads.append(head)
                    method, target, _ = head.split(b" ", 2)
                    url = urlsplit(b"//" + target if method == b"CONNECT" else target)
                    route = self._route(head, (url.hostname or b"").decode())
                    if isinstance(route, int):
                        status = b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\n\r\n" % route
                        writer.write(status)
                        continue
                    if method == b"CONNECT":
                        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                        there, upstream = await asyncio.open_connection(*route)
                        await asyncio.gather(_pipe(reader, upstream), _pipe(there, writer))
                        return
                    if upstream is None:
                        there, upstream = await asyncio.open_connection(*route)
                        self._tasks.add(asyncio.create_task(_pipe(there, writer)))
                    path = (url.path or b"/") + (b"?" + url.query if url.query else b"")
                    upstream.write(_without_credentials(head.replace(target, path, 1)))
        finally:
            writer.close()
            if upstream is not None:
                upstream.close()

    def _route(self, head: bytes, host: str) -> Route:
        if self._wants and b"\r\nProxy-Authorization: Basic " + self._wants not in head:
            return 407
        return self._routes.get(host, 502)


def _without_credentials(head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    return b"\r\n".join(x for x in lines if not x.lower().startswith(b"proxy-"))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
