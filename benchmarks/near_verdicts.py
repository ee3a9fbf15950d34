"""What Comity calls a near-duplicate: by the signatures alone, and by the index in Redis.

The two ways agree or one is wrong: ``called`` (of ``crawler.evaluation.duplicates``) compares
signatures outside the index, ``asked`` and ``visited`` ask a real one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b
from itertools import combinations
from typing import Final

import numpy as np
import redis.asyncio as aioredis

from crawler.evaluation.changes import Pair
from crawler.evaluation.duplicates import NEEDED
from dedupe.exact import digest, text_digest
from dedupe.index import DedupeIndex, DedupeVerdict, Document
from dedupe.near import Signature, matches, signature, similarity

_FLUSHED: Final = 1_000  # pairs after which the server is emptied: an index takes 10 kB at least


def signed(text: str) -> Signature:
    """The signature of a text that is long enough to have one."""
    found = signature(text)
    if found is None:
        raise ValueError("a text that is too short to compare")
    return found


def candidates(signatures: Sequence[Signature]) -> set[tuple[int, int]]:
    """All pairs (i < j) that have a band in common."""
    pages: dict[tuple[int, int], list[int]] = defaultdict(list)
    for page, each in enumerate(signatures):
        for band, value in enumerate(np.frombuffer(each.bands, "<u4").tolist()):
            pages[band, value].append(page)
    return {pair for some in pages.values() for pair in combinations(some, 2)}


def document(name: str, text: str) -> Document:
    """A page as a worker hands it to the index; no two have the same payload."""
    return Document(
        page_id=blake2b(name.encode(), digest_size=16).hexdigest(),
        url=f"http://localhost/{name}",
        payload_digest=digest(name.encode()),
        text_digest=text_digest(text),
        signature=signature(text),
    )


async def asked(url: str, pairs: Sequence[Pair]) -> list[bool]:
    """For each pair, in an index of its own, whether the index calls the second page a copy."""
    client = aioredis.Redis.from_url(url)
    said = []
    try:
        for number, pair in enumerate(pairs):
            index = DedupeIndex(client, f"pair{number}")
            both = [document("one", pair.one), document("other", pair.other)]
            said.append(bool((await index.check_many(both, "segment"))[1].kind))
            if number % _FLUSHED == 0:
                await client.flushdb()
    finally:
        await client.flushdb()
        await client.aclose()
    return said


async def visited(url: str, texts: Sequence[str]) -> list[DedupeVerdict]:
    """The verdicts of one index on pages, one after another."""
    client = aioredis.Redis.from_url(url)
    try:
        pages = [document(str(number), text) for number, text in enumerate(texts)]
        return await DedupeIndex(client, "all").check_many(pages, "segment")
    finally:
        await client.flushdb()
        await client.aclose()


def unlike(verdicts: Sequence[DedupeVerdict], signatures: Sequence[Signature]) -> int:
    """How many verdicts differ from what signatures say: a page is a copy where a kept page before
    it has a band in common with it and enough matches, and is as similar as the best of those."""
    before: dict[int, list[int]] = defaultdict(list)
    for one, other in candidates(signatures):
        before[other].append(one)
    wrong = 0
    for page, verdict in enumerate(verdicts):
        kept = [signatures[other] for other in before[page] if not verdicts[other].kind]
        best = max((matches(each.packed, signatures[page].packed) for each in kept), default=0)
        wrong += verdict.similarity != (similarity(best) if best >= NEEDED else 0.0)
    return wrong
