"""The index of pages in Redis: is this content new, and if not, whose copy is it?

An index is a job's, or one that the jobs of a workspace share. All its keys carry one hash tag
(``{d:<name>}``); ``lua/table.lua`` describes the layout. On Cluster one slot takes documents up to
a number; later ones go to a second level that spreads over slots (``spread.py``).

What counts as a copy, looked for in this order, all but the first compared with kept pages only:
the same payload (``exact``), the same normalised text (``same-text``), a similar text (``near``:
candidates share a band, and their signatures must agree to the threshold). A page never matches
itself or an earlier visit of its URL; an unchanged payload of the same URL is told as
``revisit_of``. Pages are tentative until their segment is confirmed: a verdict says whether the
page it points to is ``committed``, and a forgotten segment's pages never answer again. Calls may
be repeated: the same page asked again gets the same answer and is not added twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dedupe.document import Document, pack, page_id, short
from dedupe.near import THRESHOLD, needed, similarity
from dedupe.scripts import DedupeError, DedupeFull, ScriptClient, Scripts
from dedupe.spread import Spread

__all__ = ["DedupeError", "DedupeFull", "DedupeIndex", "DedupeVerdict", "Document", "ScriptClient"]

BATCH: Final = 32  # documents per script call: some 5 ms of the server's time
_NO_ROOM: Final = b"s"  # a verdict that the second level must give
_KINDS: Final = {"k": "", "r": "", "e": "exact", "t": "same-text", "n": "near"}


@dataclass(frozen=True, slots=True)
class DedupeVerdict:
    """Whether a page repeats another."""

    kind: str = ""  # "" kept | exact | same-text | near
    duplicate_of: str | None = None  # page id of the page it repeats
    similarity: float = 0.0  # estimated Jaccard similarity to it, 1.0 unless near; 0.0 when kept
    committed: bool = False  # that page's segment is committed: only then may a copy be dropped
    revisit_of: str | None = None  # page id of an earlier visit of the URL with the same payload


KEPT: Final = DedupeVerdict()


class DedupeIndex:
    """One index."""

    def __init__(
        self,
        client: ScriptClient,
        name: str,
        *,
        threshold: float = THRESHOLD,
        dropping: bool = False,
        room: int = 0,
    ) -> None:
        """``threshold``: estimated similarity, 0..1, from which a candidate is a near-duplicate.

        ``dropping``: the caller drops copies of committed pages, so none is told to be a copy of
        one that was dropped. ``room``: documents that one slot takes, 0: any number.
        """
        if not name or set(name) & set("{} \r\n\0"):
            raise DedupeError(f"not fit for an index's name: {name!r}")
        self._scripts = Scripts(client)
        self._root = f"{{d:{name}}}"
        need = needed(threshold)
        self._check = (need, room, int(dropping))
        self._spread = Spread(self._scripts, name, need, dropping=dropping) if room else None

    async def check(self, document: Document, segment: str) -> DedupeVerdict:
        """The verdict on a page; unless it is an exact copy it is added, tentatively."""
        return (await self.check_many([document], segment))[0]

    async def check_many(self, documents: Sequence[Document], segment: str) -> list[DedupeVerdict]:
        """The verdicts on pages of one open segment, in order; each sees those before it."""
        packed = [pack(document) for document in documents]
        answers: list[bytes] = []
        for first in range(0, len(packed), BATCH):
            batch = packed[first : first + BATCH]
            answers += await self._scripts.run("check", self._root, *self._check, segment, *batch)
        left = [i for i, answer in enumerate(answers) if answer[:1] == _NO_ROOM]
        if left and self._spread is not None:
            found = await self._spread.check([packed[i] for i in left], segment)
            for i, answer in zip(left, found, strict=True):
                answers[i] = answer
        return [_verdict(answer) for answer in answers]

    async def confirm(self, segment: str) -> None:
        """The segment is committed: from now on its pages may have copies dropped."""
        await self._everywhere("segment", segment, "confirm")

    async def forget(self, segment: str) -> None:
        """The segment is lost: its pages are as if they had never been added."""
        await self._everywhere("segment", segment, "forget")

    async def remove(self, page: str, payload_digest: str) -> bool:
        """Takes a page out (takedown); False when it has no record, as exact copies have none."""
        digest = short(payload_digest.encode())
        roots = [self._root, self._spread.home(digest)] if self._spread else [self._root]
        found = [await self._scripts.run("remove", r, page_id(page), digest) for r in roots]
        return any(found)

    async def expire(self, seconds: float) -> None:
        """Delete the index in so many seconds; 0: keep it, or begin anew where it has expired."""
        await asyncio.gather(*(self._expire(root, round(seconds * 1000)) for root in self._roots()))

    async def delete(self) -> None:
        """Deletes the index."""
        await self._everywhere("delete")

    async def empty(self) -> bool:
        """Whether no page was ever added, or all is gone."""
        return not await self._scripts.run("size", self._root)

    def _roots(self) -> list[str]:
        return [self._root, *(self._spread.roots if self._spread else ())]

    async def _everywhere(self, script: str, *args: str) -> None:
        await asyncio.gather(*(self._repeat(script, root, *args) for root in self._roots()))

    async def _repeat(self, script: str, root: str, *args: str) -> None:
        while await self._scripts.run(script, root, *args):
            pass  # each call does a bounded part

    async def _expire(self, root: str, milliseconds: int) -> None:
        at = 0
        while at >= 0:
            at = await self._scripts.run("expire", root, milliseconds, at)
        if at < -1:
            await self._repeat("delete", root)


def _verdict(answer: bytes) -> DedupeVerdict:
    """What a script said."""
    kind, other = chr(answer[0]), answer[1:17].hex()
    if kind == "k":
        return KEPT
    if kind == "r":
        return DedupeVerdict(revisit_of=other)
    alike = similarity(int.from_bytes(answer[17:19], "little"))
    return DedupeVerdict(_KINDS[kind], other, alike, bool(answer[19]))
