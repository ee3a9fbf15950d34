"""What near-duplicates cost: CPU per signature and per verdict, memory per page; beside peers.

CPU is this process's own, the least of several rounds, as others may use the machine. The peers do
the same work in their own ways: word 5-grams, 128 permutations, and the same 16 bands of 8, so that
they find as much. They know neither segments nor page ids of 16 bytes, and what they answer are
candidates, whose signatures nobody has compared yet.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import redis.asyncio as aioredis
from datasketch import MinHash, MinHashLSH
from rensa import RMinHash, RMinHashLSH

from benchmarks.private_redis import VALKEY, PrivateRedis, private_redis
from crawler.evaluation.jaccard import pieces
from dedupe.index import BATCH, DedupeIndex, Document
from dedupe.near import PACKED_BYTES, SHINGLE, THRESHOLD, Signature, shape, signature

WORDS: Final = 1_500  # of a text whose signature is timed
TEXTS: Final = 50  # such texts, different ones
ROUNDS: Final = 5  # of which the fastest counts
PERMUTATIONS: Final = 128  # of the peers
SIGNATURE_MS: Final = 0.25  # the most that a signature may cost
VERDICT_MS: Final = 0.10  # and a verdict, in full calls
BYTES: Final = 450  # and a page's memory, once there are a million
_MILLION: Final = 1_000_000
_SEGMENT: Final = 10_000  # pages of a segment
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Cost:
    """A line of the table."""

    what: str
    who: str  # did it
    number: float  # per page
    unit: str  # ms | bytes
    most: float | None = None  # that it may be
    server: float | None = None  # CPU of the Redis server per page, ms

    @property
    def missed(self) -> bool:
        """Whether it is more than it may be."""
        return self.most is not None and self.number > self.most


def signatures(pages: Iterable[str]) -> Iterator[Cost]:
    """CPU for the signature of a text of WORDS words, tokenising included."""
    words = pieces(" ".join(pages))
    starts = range(0, len(words) - WORDS, WORDS)
    texts = ["".join(words[start : start + WORDS]) for start in islice(starts, TEXTS)]
    makers: tuple[tuple[str, Callable[[str, int], object], float | None], ...] = (
        ("Comity", lambda text, _: signature(text), SIGNATURE_MS),
        ("datasketch", lambda text, _: _datasketch(_grams(text)), None),
        ("rensa", lambda text, _: _rensa(_grams(text)), None),
    )
    for who, make, most in makers:
        took = min(_timed(make, texts) for _ in range(ROUNDS))
        yield Cost("signature", who, took, "ms", most)


def verdicts(count: int) -> Iterator[Cost]:
    """CPU for asking about a page and adding it, of ``count`` that are all different."""
    pages = list(documents(count))
    for together, most in ((BATCH, VERDICT_MS), (1, None)):
        with private_redis(VALKEY, persist=False) as server:
            took = min(asyncio.run(_asked(server, pages, together)) for _ in range(ROUNDS))
        yield Cost(f"verdict, {together} a call", "Comity", took[0], "ms", most, took[1])
    datasketches = [_datasketch([str(number)]) for number in range(count)]
    theirs = min(_timed(_looking_up(_datasketch_lsh()), datasketches) for _ in range(ROUNDS))
    yield Cost("verdict", "datasketch, in memory", theirs, "ms")
    rensas = [_rensa([str(number)]) for number in range(count)]
    theirs = min(_timed(_looking_up(_rensa_lsh()), rensas) for _ in range(ROUNDS))
    yield Cost("verdict", "rensa, in memory", theirs, "ms")


def memory(count: int) -> Cost:
    """Bytes of Redis per page, of ``count`` that are all different."""
    with private_redis(VALKEY, persist=False) as server:
        before = server.used_memory()
        asyncio.run(_fill(server.url, count))
        each = (server.used_memory() - before) / count
    most = BYTES if count >= _MILLION else None
    return Cost(f"memory of {count:,} pages", "Comity", each, "bytes", most)


def datasketch_redis(count: int) -> Iterator[Cost]:
    """Time and memory of the peer that stores in Redis, for ``count`` different pages."""
    sketches = (_datasketch([str(number)]) for number in range(count))
    with private_redis(VALKEY, persist=False) as server:
        path = server.url.removeprefix("unix://")
        lsh = _datasketch_lsh({"type": "redis", "redis": {"unix_socket_path": path}})
        before, busy = server.used_memory(), server.busy()
        took = _timed(_looking_up(lsh), sketches)
        busy = (server.busy() - busy) * 1000 / count
        yield Cost("verdict", "datasketch, in Redis", took, "ms", None, busy)
        each = (server.used_memory() - before) / count
        yield Cost(f"memory of {count:,} pages", "datasketch, in Redis", each, "bytes")


def documents(count: int) -> Iterator[Document]:
    """Pages that have nothing in common with each other."""
    rng = np.random.default_rng(1)
    for number in range(count):
        some = rng.bytes(32 + PACKED_BYTES + 4 * shape().bands)
        packed, bands = some[32 : 32 + PACKED_BYTES], some[32 + PACKED_BYTES :]
        yield Document(
            page_id=some[:16].hex(),
            url=f"https://example.org/{number}",
            payload_digest=f"sha1:{some[:16].hex()}",
            text_digest=some[16:32],
            signature=Signature(packed, bands, WORDS),
        )


async def _asked(
    server: PrivateRedis, pages: Sequence[Document], together: int
) -> tuple[float, float]:
    """Milliseconds per page: of this process, of the server."""
    client = aioredis.Redis.from_url(server.url)
    await client.flushdb()
    index = DedupeIndex(client, "verdicts")
    began, busy = time.process_time(), server.busy()
    for first in range(0, len(pages), together):
        await index.check_many(pages[first : first + together], "segment")
    took = time.process_time() - began, server.busy() - busy
    await client.aclose()
    return took[0] * 1000 / len(pages), took[1] * 1000 / len(pages)


async def _fill(url: str, count: int) -> None:
    """An index as a crawl leaves it: all segments are committed."""
    client = aioredis.Redis.from_url(url)
    index = DedupeIndex(client, "memory")
    coming = documents(count)
    number = 0
    while some := list(islice(coming, _SEGMENT)):
        await index.check_many(some, f"segment{number}")
        await index.confirm(f"segment{number}")
        number += 1
    await client.aclose()


def _timed(work: Callable[[Any, int], object], over: Iterable[Any]) -> float:
    """Milliseconds of this process's CPU for each; making what it goes over is not counted."""
    total, count = 0.0, 0
    for each in over:
        count += 1
        began = time.process_time()
        work(each, count)
        total += time.process_time() - began
    return total * 1000 / count


def _looking_up(lsh: Any) -> Callable[[Any, int], object]:
    """Asks for candidates, then adds: what a verdict is to the peers."""

    def look_up(sketch: Any, number: int) -> None:
        lsh.query(sketch)
        lsh.insert(number, sketch)

    return look_up


def _datasketch_lsh(storage: dict[str, Any] | None = None) -> MinHashLSH:
    return MinHashLSH(num_perm=PERMUTATIONS, params=tuple(shape()), storage_config=storage)


def _rensa_lsh() -> RMinHashLSH:
    return RMinHashLSH(THRESHOLD, PERMUTATIONS, shape().bands)


def _grams(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return [" ".join(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)]


def _datasketch(grams: list[str]) -> MinHash:
    sketch = MinHash(PERMUTATIONS)
    sketch.update_batch([gram.encode() for gram in grams])
    return sketch


def _rensa(grams: list[str]) -> RMinHash:
    sketch = RMinHash(PERMUTATIONS, 1)
    sketch.update(grams)
    return sketch
