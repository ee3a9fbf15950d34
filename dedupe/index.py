"""The index of a job's pages in Redis: is this content new, and if not, whose copy is it?

The only module of this package that talks to Redis, through a client that is handed in. All keys
of a job carry one hash tag (``{d:<job>}``), so the index works on Cluster; each operation is one
script (``lua/``), atomic, so of two near-duplicates that arrive at the same instant exactly one is
kept. ``lua/table.lua`` describes the layout.

What counts as a copy, looked for in this order, all but the first compared with kept pages only:
the same payload (``exact``), the same normalised text (``same-text``), a similar text (``near``:
candidates share one of 16 bands, and their signatures must agree to ``VERIFY``). A page never
matches itself or an earlier visit of its URL; an unchanged payload of the same URL is told as
``revisit_of``. Pages are tentative until their segment is confirmed: a verdict says whether the
page it points to is ``committed``, and a forgotten segment's pages never answer again. Calls may
be repeated: the same page asked again gets the same answer and is not added twice.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b, sha1
from importlib import resources
from typing import Any, Final, Protocol

from redis.exceptions import NoScriptError, RedisError

from dedupe.near import PERMUTATIONS, VERIFY, Signature

BATCH: Final = 32  # documents per script call: some 2 ms of the server's time
_PAGE_ID_BYTES: Final = 16
_KINDS: Final = {b"k": "", b"r": "", b"e": "exact", b"t": "same-text", b"n": "near"}
_CHANCE: Final = 1 / 16  # two different minima agree in 4 bits


class DedupeError(Exception):
    """Base of what this package raises; the message is one line fit for an operator."""


class DedupeFull(DedupeError):
    """The index's server cannot write to its disk and refuses every change until it can."""


class ScriptClient(Protocol):
    """What is used of a redis.asyncio client, single server or cluster, not decoding responses."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...


@dataclass(frozen=True, slots=True)
class Document:
    """A page as the index wants to know it."""

    page_id: str  # 32 hexadecimal digits; the same for every attempt at the same visit
    url: str  # identity key of the URL: the same for all its visits
    payload_digest: str  # dedupe.exact.digest
    text_digest: bytes | None  # dedupe.exact.text_digest; None: no text to compare
    signature: Signature | None  # dedupe.near.signature; None: too short to compare


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
    """The index of one job."""

    def __init__(self, client: ScriptClient, job: str, *, verify: float = VERIFY) -> None:
        """``verify``: estimated similarity, 0..1, from which a candidate is a near-duplicate."""
        if not job or set(job) & set("{} \r\n\0"):
            raise DedupeError(f"not fit for a job's name: {job!r}")
        self._client = client
        self._root = f"{{d:{job}}}"
        self._matches = math.ceil(PERMUTATIONS * (verify * (1 - _CHANCE) + _CHANCE))

    async def check(self, document: Document, segment: str) -> DedupeVerdict:
        """The verdict on a page; unless it is an exact copy it is added, tentatively."""
        return (await self.check_many([document], segment))[0]

    async def check_many(self, documents: Sequence[Document], segment: str) -> list[DedupeVerdict]:
        """The verdicts on pages of one open segment, in order; each sees those before it."""
        verdicts: list[DedupeVerdict] = []
        for batch in _batches(documents):
            packed = [_pack(document) for document in batch]
            answers = await self._run("check", self._matches, segment, *packed)
            verdicts.extend(_verdict(answer) for answer in answers)
        return verdicts

    async def confirm(self, segment: str) -> None:
        """The segment is committed: from now on its pages may have copies dropped."""
        await self._repeat("segment", segment, "confirm")

    async def forget(self, segment: str) -> None:
        """The segment is lost: its pages are as if they had never been added."""
        await self._repeat("segment", segment, "forget")

    async def remove(self, page_id: str, payload_digest: str) -> bool:
        """Takes a page out (takedown); False when it has no record, as exact copies have none."""
        digest = _short(payload_digest.encode())
        return bool(await self._run("remove", _page_id(page_id), digest))

    async def delete(self) -> None:
        """Deletes the job's index."""
        await self._repeat("delete")

    async def _repeat(self, script: str, *args: Any) -> None:
        while await self._run(script, *args):
            pass  # each call does a bounded part

    async def _run(self, name: str, *args: Any) -> Any:
        text, sha = _script(name)
        try:
            try:
                return await self._client.evalsha(sha, 1, self._root, *args)
            except NoScriptError:
                return await self._client.eval(text, 1, self._root, *args)
        except RedisError as error:
            text = str(error).partition(" script: ")[0]
            kind = DedupeFull if text.startswith("MISCONF") else DedupeError
            raise kind(f"the duplicate index does not answer: {text}") from error


@cache
def _script(name: str) -> tuple[str, str]:
    """A script behind its prelude, and the hash it is called by."""
    folder = resources.files("dedupe") / "lua"
    table, body = ((folder / f"{part}.lua").read_text("utf-8") for part in ("table", name))
    shebang, rest = body.split("\n", 1) if body.startswith("#!") else ("", body)
    text = f"{shebang}\n{table}\n{rest}".lstrip("\n")
    return text, sha1(text.encode(), usedforsecurity=False).hexdigest()


def _batches(documents: Sequence[Document]) -> Iterator[Sequence[Document]]:
    for left in range(0, len(documents), BATCH):
        yield documents[left : left + BATCH]


def _pack(document: Document) -> bytes:
    signature = document.signature
    return b"".join(
        (
            _page_id(document.page_id),
            _short(document.url.encode("utf-8", "surrogatepass")),
            _short(document.payload_digest.encode()),
            (document.text_digest or b"\0" * 8)[:8],
            signature.packed + signature.bands if signature else b"",
        )
    )


def _page_id(text: str) -> bytes:
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        packed = b""
    if len(packed) != _PAGE_ID_BYTES or not any(packed):
        raise DedupeError(f"not a page id of 32 hexadecimal digits: {text!r}")
    return packed


def _short(value: bytes) -> bytes:
    return blake2b(value, digest_size=8).digest()


def _verdict(answer: bytes) -> DedupeVerdict:
    kind, other = answer[:1], answer[1:17].hex()
    if kind == b"k":
        return KEPT
    if kind == b"r":
        return DedupeVerdict(revisit_of=other)
    matches = int.from_bytes(answer[17:19], "little")
    similarity = (matches / PERMUTATIONS - _CHANCE) / (1 - _CHANCE)
    return DedupeVerdict(_KINDS[kind], other, similarity, bool(answer[19]))
