"""What a server that may have lost writes is told again, job by job; see lua/reconcile.lua.

Replication and the append-only file lag behind, so a promoted replica or a restarted server may
lack what had been acknowledged. It grants nothing of a job before it has been told of the rows that
the table got meanwhile: one row per visit (invariant 6) holds, whatever was lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from frontier import keys
from frontier.driver import Call, Driver

CHUNK: Final = 400  # rows per call

Row = tuple[int, str, str]  # partition, fingerprint, reason ("": done)


class Losses:
    """Reconciliation of partitions; for one event loop."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.now = ""  # as Frontier.now

    async def look(self, job: str, partitions: Iterable[int]) -> dict[int, float]:
        """Of these partitions, those that are not reconciled with a job.

        With each, the time in unix seconds until which all that was written is there.
        """
        wanted = list(partitions)
        replies = await self._run([self._call(p, job, "", ()) for p in wanted])
        found = zip(wanted, replies, strict=True)
        return {p: since / 1000 for p, (_, since) in found if since >= 0}

    async def tell(self, job: str, rows: Iterable[Row]) -> None:
        """These have their rows in the table: they are finished, wherever they are."""
        flat: dict[int, list[str]] = defaultdict(list)
        for p, fp, reason in rows:
            flat[p] += (fp, reason)
        step = 2 * CHUNK
        await self._run(
            [
                self._call(p, job, "", told[i : i + step])
                for p, told in flat.items()
                for i in range(0, len(told), step)
            ]
        )

    async def done(self, job: str, losses: Mapping[int, int]) -> None:
        """These losses, by partition, are made good: a job's URLs may be granted there again."""
        await self._run([self._call(p, job, str(n), ()) for p, n in losses.items()])

    async def segments(self, job: str, p: int) -> dict[str, bool]:
        """The segments of a job that URLs are pending on in a partition; whether each is sealed."""
        found = await self._driver.command("HGETALL", f"{keys.tag(p)}:g")
        out = {}
        for name, state in found.items():
            mark, _, owner = state.decode().partition("\n")
            if owner == job and mark in {"o", "s"}:
                out[name.decode()] = mark == "s"
        return out

    async def held(self, segment: str, urls: Mapping[int, int]) -> bool:
        """Whether a sealed segment still has all its URLs, so many per partition.

        Asked before its commit: a server may have lost the seal, and have given the URLs to others.
        """
        args = [(p, [self.now, segment, n]) for p, n in urls.items()]
        return all(await self._run([("held", keys.home(p), each) for p, each in args]))

    def _call(self, p: int, job: str, up_to: str, told: Iterable[str]) -> Call:
        return "reconcile", keys.home(p), [self.now, job, up_to, *told]

    async def _run(self, calls: list[Call]) -> list[Any]:
        return await self._driver.scripts(calls) if calls else []
