"""What the whole deployment shares: its shape, jobs, workers, open segments, locks."""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from frontier import keys
from frontier.driver import Driver, redact
from frontier.model import FrontierError

LOST_KEPT: Final = 3 * 86_400.0  # seconds: longer than any copy of a robots.txt
RUNNABLE = "running"
ENDED = ("paused", "completed", "failed")


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as the deployment knows it."""

    name: str  # its id
    state: str  # running | draining | paused | completed | failed
    reason: str  # why it is in that state
    epoch: int  # +1 with each (re)start; completion passes of an older one do not count
    seeded: bool  # all seeds are in
    started: float  # unix seconds of the last (re)start
    spider: str = ""  # of a Scrapy project, whose own workers serve it alone; "": any worker does


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A segment between its first byte and its settlement."""

    job: str  # whose pages
    worker: str  # who writes it
    staged: bool = False  # its files and manifest are in the store
    settled: bool = False  # committed and settled; only its outlinks are not all in yet


class Registry:
    """Deployment-wide records; every method is one or two plain commands."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def found(self, partitions: int | None) -> tuple[int, bytes]:
        """Check the deployment, or make it in an empty database: (partitions, secret).

        ``partitions`` None takes it as it is, and makes none.
        """
        where = redact(self._driver.url)
        meta = await self._hash(keys.META)
        if not meta:
            if partitions is None:
                raise FrontierError(f"the database at {where} holds no frontier")
            if await self._driver.command("DBSIZE") and not await self._hash(keys.META):
                raise FrontierError(
                    f"the database at {where} holds something that is not Comity's: "
                    "use an empty one"
                )
            args = [keys.SCHEMA, partitions, secrets.token_hex(16)]
            await self._driver.script("found", keys.META, args)
            meta = await self._hash(keys.META)
        there, secret = _shape(meta, where)
        if partitions not in {None, there}:
            raise FrontierError(
                f"the frontier at {where} has {there} partitions, not {partitions}: "
                f"set partitions to {there}"
            )
        if "made" not in meta:  # a partition whose record is missing later has lost its state
            for p in range(there):
                await self._driver.command("HSETNX", keys.home(p), "hi", 0)
            await self._driver.command("HSET", keys.META, "made", 1)
        return there, secret

    async def unfinished(self, what: str) -> None:
        """Let nobody open this frontier until "" says that it is whole."""
        if what:
            await self._driver.command("HSET", keys.META, "unfinished", what)
        else:
            await self._driver.command("HDEL", keys.META, "unfinished")

    # -- jobs

    async def create_job(
        self,
        name: str,
        spec: bytes,
        region: bytes = b"",
        *,
        credit: int | None = None,
        spider: str = "",
    ) -> None:
        """Record a job as running, unseeded, with a page budget (None: no bound).

        ``spec`` and ``region`` (what its scope was built to) are kept for the workers as they are.
        """
        fields: list[Any] = ["spec", spec, "region", region, "state", RUNNABLE, "reason", ""]
        fields += ["seeded", 0, "epoch", 1, "started", time.time()]
        if credit is not None:
            fields += ["credit", credit]
        if spider:
            fields += ["spider", spider]
        await self._driver.command("HSET", keys.job(name), *fields)
        await self._driver.command("SADD", keys.JOBS, name)

    async def job(self, name: str) -> JobRecord | None:
        """A job's record."""
        fields = ("state", "reason", "epoch", "seeded", "started", "spider")
        found = await self._driver.command("HMGET", keys.job(name), *fields)
        if found[0] is None:
            return None
        state, reason, epoch, seeded, started, spider = (_text(value or b"") for value in found)
        return JobRecord(name, state, reason, int(epoch), seeded == "1", float(started), spider)

    async def swept(self, name: str) -> bytes:
        """How far the recrawls of a job have come, as ``move_job(swept=...)`` noted; may be b""."""
        found: bytes | None = await self._driver.command("HGET", keys.job(name), "swept")
        return found or b""

    async def lost(self, name: str) -> float:
        """When something of a job may last have been lost, in unix seconds; 0: never."""
        found = await self._driver.command("HGET", keys.job(name), "lost")
        return float(found or 0)

    async def job_spec(self, name: str) -> tuple[bytes, bytes]:
        """What :meth:`create_job` was given: (spec, region)."""
        spec, region = await self._driver.command("HMGET", keys.job(name), "spec", "region")
        return spec, region

    async def renew_job(self, name: str, spec: bytes, region: bytes, *, credit: int | None) -> None:
        """Let an ended job run again: another epoch, unseeded, with this spec and budget."""
        key = keys.job(name)
        fields: list[Any] = ["spec", spec, "region", region, "reason", "", "seeded", 0]
        if credit is None:
            await self._driver.command("HDEL", key, "credit")
        else:
            fields += ["credit", credit]
        await self._driver.command("HSET", key, *fields, "started", time.time())
        await self._driver.command("HINCRBY", key, "epoch", 1)
        await self._driver.command("HSET", key, "state", RUNNABLE)

    async def jobs(self) -> list[JobRecord]:
        """All jobs."""
        names = sorted(n.decode() for n in await self._driver.command("SMEMBERS", keys.JOBS))
        found = [await self.job(name) for name in names]
        return [record for record in found if record]

    async def move_job(
        self,
        name: str,
        expected: tuple[str, ...],
        *,
        at_epoch: int | None = None,
        **fields: str | int | float,
    ) -> bool:
        """Change a job's fields if its state is one of ``expected`` (empty: any).

        With ``at_epoch``, only while it is in that epoch: what was seen of an earlier one is void.
        """
        flat = [x for pair in fields.items() for x in pair]
        args = [",".join(expected), "" if at_epoch is None else at_epoch, *flat]
        return bool(await self._driver.script("job", keys.job(name), args))

    async def take_credit(
        self, name: str, pages: int, worker: str, *, refunds: int | None = None
    ) -> tuple[int, int]:
        """Take from a job's page budget (or, negative, give back): (granted, refunds so far).

        A give-back names the refunds of its take: what was refunded since is not given back again.
        One call per worker and job at a time, or a repeated request is not told apart.
        """
        args = [pages, worker, uuid.uuid4().hex, "" if refunds is None else refunds]
        granted, so_far = await self._driver.script("credit", keys.job(name), args)
        return int(granted), int(so_far)

    async def credit(self, name: str) -> tuple[int | None, int]:
        """(what is left of a job's page budget, None where it has none; refunds so far)."""
        left, refunds = await self._driver.command("HMGET", keys.job(name), "credit", "refunds")
        return None if left is None else int(left), int(refunds or 0)

    async def refund(self, name: str, pages: int, refunds: int) -> bool:
        """Set a used-up budget, if nobody has since :meth:`credit` gave ``refunds``."""
        return bool(await self._driver.script("refund", keys.job(name), [pages, refunds]))

    async def count(self, name: str, sums: dict[str, int]) -> None:
        """Add to what the workers counted for a job."""
        for field, n in sums.items():
            await self._driver.script("keep", keys.stats(name), ["HINCRBY", field, n])

    async def counted(self, name: str) -> dict[str, int]:
        """What the workers counted for a job."""
        return {k: int(v) for k, v in (await self._hash(keys.stats(name))).items()}

    # -- workers and segments

    async def beat(self, worker: str, ttl: float) -> None:
        """Say that a worker lives for ``ttl`` more seconds, by the server's clock."""
        until = await self._now_ms() + ttl * 1000
        await self._driver.script("keep", keys.WORKERS, ["ZADD", until, worker])

    async def leave(self, worker: str) -> None:
        """A worker has drained and goes."""
        await self._driver.command("ZREM", keys.WORKERS, worker)

    async def living(self) -> set[str]:
        """Workers whose heartbeat is not over."""
        now = await self._now_ms()
        alive = await self._driver.command("ZRANGEBYSCORE", keys.WORKERS, now, "+inf")
        return {name.decode() for name in alive}

    async def put_segment(self, segment: str, record: SegmentRecord) -> None:
        """Record a segment before its first byte, and again when it is staged."""
        args = ["HSET", segment, msgspec.msgpack.encode(record)]
        await self._driver.script("keep", keys.SEGMENTS, args)

    async def keep_segment(self, segment: str, record: SegmentRecord) -> None:
        """Record a segment where its record has been lost."""
        packed = msgspec.msgpack.encode(record)
        await self._driver.script("keep", keys.SEGMENTS, ["HSETNX", segment, packed])

    async def drop_segment(self, segment: str) -> None:
        """Forget a settled or requeued segment."""
        await self._driver.command("HDEL", keys.SEGMENTS, segment)

    async def mark_lost(self, segment: str) -> None:
        """Before its URLs are put back: remember for days that a segment's rows may be lost."""
        now = time.time()
        await self._driver.command("ZADD", keys.LOST_SEGMENTS, now, segment)
        await self._driver.command("ZREMRANGEBYSCORE", keys.LOST_SEGMENTS, "-inf", now - LOST_KEPT)

    async def was_lost(self, segment: str) -> bool:
        """Whether :meth:`mark_lost` was told of a segment."""
        return await self._driver.command("ZSCORE", keys.LOST_SEGMENTS, segment) is not None

    async def last_lost(self) -> str:
        """The segment that was lost last; "" for none."""
        found = await self._driver.command("ZRANGE", keys.LOST_SEGMENTS, -1, -1)
        return found[0].decode() if found else ""

    async def segment(self, segment: str) -> SegmentRecord | None:
        """One segment; None once it is settled or requeued."""
        found = await self._driver.command("HGET", keys.SEGMENTS, segment)
        return None if found is None else msgspec.msgpack.decode(found, type=SegmentRecord)

    async def segments(self) -> dict[str, SegmentRecord]:
        """All segments not yet settled."""
        found = await self._hash(keys.SEGMENTS)
        return {k: msgspec.msgpack.decode(v, type=SegmentRecord) for k, v in found.items()}

    # -- locks

    async def lock(self, name: str, token: str, ttl: float) -> bool:
        """Take or keep a lock for ``ttl`` seconds; 0 leaves it. False when another holds it."""
        args = [token, int(ttl * 1000)]
        return bool(await self._driver.script("lock", keys.lock(name), args))

    async def _now_ms(self) -> float:
        seconds, micros = await self._driver.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def _hash(self, key: str) -> dict[str, bytes]:
        found: dict[bytes, bytes] = await self._driver.command("HGETALL", key)
        return {_text(k): v for k, v in found.items()}


def _shape(meta: dict[str, bytes], where: str) -> tuple[int, bytes]:
    """What a deployment's record says: (partitions, secret). Raises FrontierError."""
    if "unfinished" in meta:
        what = _text(meta["unfinished"])
        raise FrontierError(
            f"the database at {where} is what an interrupted {what} left: empty it, "
            f"then {what} again"
        )
    schema = _text(meta.get("schema", b"none"))
    if schema != keys.SCHEMA:
        raise FrontierError(
            f"the frontier at {where} has schema {schema}, not {keys.SCHEMA}: finish its crawls "
            "with the comity that made it; or empty the database and make it anew from the stored "
            "pages (comity frontier rebuild)"
        )
    try:
        partitions, secret = int(meta["partitions"]), bytes.fromhex(meta["secret"].decode())
    except KeyError as error:
        raise _damaged(where, f"it has no {error.args[0]}") from error
    except ValueError as error:
        raise _damaged(where, f"its partitions or its secret: {error}") from error
    if partitions < 1 or not secret:
        raise _damaged(where, f"it has {partitions} partitions, a secret of {len(secret)} bytes")
    return partitions, secret


def _damaged(where: str, why: str) -> FrontierError:
    return FrontierError(f"the record of the frontier at {where} ({keys.META}) is damaged: {why}")


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
