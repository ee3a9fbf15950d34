"""The second level of an index: over many slots, for more documents than one slot should have.

A document's record is at its *home*, the part that its payload's digest falls into; each of its
bands, and its text's digest, is an entry in the part that it falls into itself. So the work of a
check does not grow with the number of parts. No script sees two parts, and yet exactly one of two
near-duplicates is kept, as everybody goes by the same steps:

1. ``place``: a tentative record at home;
2. ``enter``: entries everywhere, and the numbers of those who are there already. Of two documents
   the one that enters a common band later sees the other;
3. ``view``: the candidates' records. Kept and similar: we are its copy. Tentative and similar: who
   has the lower number goes first. The higher waits for it. The lower challenges the higher, which
   may have looked before we entered: from then on it cannot be kept without another look;
4. ``decide``: compare-and-set from tentative to kept at home; who was challenged begins again at 2.

Numbers are totally ordered and only the higher waits, so nobody waits in a circle. Who waits for a
worker that is gone gives up after a while and is told to be its copy, which is not committed, so
nothing is dropped for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

from dedupe.document import HEAD, NO_TEXT, SIGNED
from dedupe.near import matches
from dedupe.scripts import Scripts

PARTS: Final = 16  # of an index; fixed, as every entry's place depends on it
BATCH: Final = 256  # documents at a time: a part gets some 270 entries in one call
PATIENCE: Final = 2.0  # seconds that a document waits for those before it
PAUSE: Final = 0.005  # seconds between two looks at them
_ALL: Final = 256  # values, all of which agree in equal texts
_NOBODY: Final = b"\0" * 16
Field: TypeAlias = str | bytes  # of an entry: a band as a number, or "t" and a text's digest


@dataclass(slots=True)
class _Asked:
    """One document on its way to a verdict."""

    packed: bytes
    number: int = 0  # in the whole index
    answer: bytes = b""  # as check.lua gives it; empty: not yet
    others: dict[int, list[Field]] = field(default_factory=dict)  # candidates -> fields they share
    entered: bool = False  # the candidates are as of now

    @property
    def page(self) -> bytes:
        return self.packed[:16]

    @property
    def url(self) -> bytes:
        return self.packed[16:24]

    @property
    def payload(self) -> bytes:
        return self.packed[24:32]

    def fields(self) -> list[Field]:
        """What it is found by: its text's digest, and its bands."""
        text, found = self.packed[32:HEAD], list[Field]()
        if text != NO_TEXT:
            found.append(b"t" + text)
        bands = np.frombuffer(self.packed[SIGNED:], "<u4").tolist()
        return found + [str(band - (1 << 31)) for band in bands]


class Spread:
    """The second level of one index."""

    def __init__(self, scripts: Scripts, name: str, need: int, *, dropping: bool) -> None:
        """``need``: values that agree in near-duplicates; the rest as for DedupeIndex."""
        self._scripts = scripts
        self._need = need
        self._dropping = dropping
        self.roots = [f"{{d:{name}/{part}}}" for part in range(PARTS)]

    def home(self, payload: bytes) -> str:
        """The root of the part with the record of a payload, from its digest's 8 bytes."""
        return self.roots[_part(payload)]

    async def check(self, packed: Sequence[bytes], segment: str) -> list[bytes]:
        """Verdicts in the form of check.lua's, on documents in the form that it takes."""
        found: list[bytes] = []
        for left in range(0, len(packed), BATCH):
            found.extend(await self._check(packed[left : left + BATCH], segment))
        return found

    async def _check(self, packed: Sequence[bytes], segment: str) -> list[bytes]:
        asked = [_Asked(each) for each in packed]
        await self._place(asked, segment)
        deadline = time.monotonic() + PATIENCE
        while left := [each for each in asked if not each.answer]:
            await self._enter([each for each in left if not each.entered])
            await self._decide(await self._look(left, late=time.monotonic() > deadline))
            if all(each.entered and not each.answer for each in left):
                await asyncio.sleep(PAUSE)
        return [each.answer for each in asked]

    async def _place(self, asked: Sequence[_Asked], segment: str) -> None:
        parts = _grouped((_part(each.payload), each) for each in asked)
        calls = {p: [each.packed[:SIGNED] for each in group] for p, group in parts.items()}
        for part, answers in (await self._run("place", calls, segment)).items():
            for each, answer in zip(parts[part], answers, strict=True):
                kind, sure, state = answer[:1], answer[21:22], answer[22:23]
                each.number = int.from_bytes(answer[17:21], "little") * PARTS + part
                if kind != b"p":
                    each.answer = kind + answer[1:17] + _ALL.to_bytes(2, "little") + sure
                elif state == b"k":
                    each.answer = _kept()

    async def _enter(self, asked: Sequence[_Asked]) -> None:
        """Entries for all; the candidates that they meet."""
        pairs = [(each, name) for each in asked for name in each.fields()]
        parts = _grouped((_field_part(name), (each, name)) for each, name in pairs)
        calls = {
            p: [arg for each, name in group for arg in (name, each.number)]
            for p, group in parts.items()
        }
        for each in asked:
            each.others, each.entered = {}, True
        for part, answers in (await self._run("enter", calls)).items():
            for (each, name), answer in zip(parts[part], answers, strict=True):
                for other in answer.split(b",") if answer else ():
                    each.others.setdefault(int(other), []).append(name)

    async def _look(
        self, asked: Sequence[_Asked], *, late: bool
    ) -> list[tuple[_Asked, bytes | None]]:
        """Those for whom it is time to decide, each with its answer if it is a copy."""
        pairs = [(each, other) for each in asked for other in each.others]
        parts = _grouped((other % PARTS, (each, other)) for each, other in pairs)
        calls = {
            p: [arg for me, it in group for arg in (it // PARTS, int(it > me.number))]
            for p, group in parts.items()
        }
        views: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        gone: list[tuple[Field, int]] = []
        for part, answers in (await self._run("view", calls)).items():
            for (each, other), record in zip(parts[part], answers, strict=True):
                views[each.number].append((other, record))
                if not record:
                    gone.extend((name, other) for name in each.others[other])
        await self._leave(gone)
        ready = []
        for each in asked:
            copy, waits = self._judge(each, views[each.number], late=late)
            if copy or not waits:
                ready.append((each, copy))
        return ready

    def _judge(
        self, me: _Asked, views: Iterable[tuple[int, bytes]], *, late: bool
    ) -> tuple[bytes | None, bool]:
        """(the answer of a copy, whether to wait for one that comes first)"""
        best, most, waits = None, 0, False
        for other, record in views:
            if not record or record[:16] == me.page or record[16:24] == me.url:
                continue
            same_text = any(isinstance(name, bytes) for name in me.others[other])
            same = _ALL + 1 if same_text else self._agree(me, record)
            state = record[28:29]
            first = state == b"k" or (late and state in b"tc" and other < me.number)
            if same >= self._need and first and same > most:
                kind = b"t" if same_text else b"n"
                count = min(same, _ALL).to_bytes(2, "little")
                best, most = kind + record[:16] + count + record[-1:], same
            elif same >= self._need and state in b"tc" and other < me.number:
                waits = True
        return best, waits

    def _agree(self, me: _Asked, record: bytes) -> int:
        mine = me.packed[HEAD:SIGNED]
        return matches(mine, record[29:-1]) if mine else 0

    async def _decide(self, ready: Sequence[tuple[_Asked, bytes | None]]) -> None:
        """Compare and set; what is a copy is found by its payload alone from now on."""
        parts = _grouped((each.number % PARTS, (each, copy)) for each, copy in ready)
        calls = {
            p: [
                arg
                for each, copy in group
                for arg in (each.number // PARTS, each.payload, self._state(copy))
            ]
            for p, group in parts.items()
        }
        copies: list[tuple[Field, int]] = []
        for part, answers in (await self._run("decide", calls)).items():
            for (each, copy), done in zip(parts[part], answers, strict=True):
                each.entered = bool(done)
                if done:
                    each.answer = copy or _kept()
                if copy:
                    copies.extend((name, each.number) for name in each.fields())
        await self._leave(copies)

    def _state(self, copy: bytes | None) -> str:
        if copy is None:
            return "k"
        return "x" if self._dropping and copy[-1] else "d"

    async def _leave(self, entries: Iterable[tuple[Field, int]]) -> None:
        parts = _grouped((_field_part(entry[0]), entry) for entry in entries)
        await self._run("leave", {p: [a for pair in g for a in pair] for p, g in parts.items()})

    async def _run(
        self, script: str, calls: dict[int, list[Any]], *first: Any
    ) -> dict[int, list[Any]]:
        """One call per part, all at once."""
        runs = (
            self._scripts.run(script, self.roots[p], *first, *args) for p, args in calls.items()
        )
        return dict(zip(calls, await asyncio.gather(*runs), strict=True))


def _grouped(pairs: Iterable[tuple[int, Any]]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for part, item in pairs:
        found[part].append(item)
    return found


def _part(digest: bytes) -> int:
    """By the high bits: a part's own buckets go by the low ones."""
    return int.from_bytes(digest[:4], "little") * PARTS >> 32


def _field_part(name: Field) -> int:
    return _part(name[1:]) if isinstance(name, bytes) else (int(name) + (1 << 31)) * PARTS >> 32


def _kept() -> bytes:
    return b"k" + _NOBODY + b"\0\0\0"
