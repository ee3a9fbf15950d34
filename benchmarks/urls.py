"""The URLs a frontier benchmark works on, and the arithmetic about them. Pure."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable, Sequence
from typing import Final

from frontier.model import CrawlRequest
from frontier.url import Url, parse, partition

PATH: Final = 60  # bytes of path, the slash included
BATCH: Final = 256  # URLs of an add call

Offer = tuple[Url, CrawlRequest]


def url(number: int, hosts: int) -> str:
    """The canonical URL of a number; neighbours are on different hosts."""
    digest = hashlib.md5(number.to_bytes(8), usedforsecurity=False).hexdigest()
    path = f"/articles/2024/{number:012d}-{digest}"[:PATH]
    return f"https://www.site{number % hosts:07d}.com{path}"


def offer(number: int, hosts: int) -> Offer:
    """A number's URL as a link of the front page of the next host."""
    canonical = parse(url(number, hosts))
    via = f"https://www.site{(number + 1) % hosts:07d}.com/"
    return canonical, CrawlRequest(canonical.url, depth=3, via=via)


def mixture(first: int, count: int, share: float, added: int) -> list[int]:
    """``count`` numbers: a ``share`` of them below ``added``, the others up from ``first``."""
    rng = random.Random(first)
    old = round(count * share)
    if old > added:
        raise ValueError(f"{old} of {added} numbers cannot be known")
    numbers = [*range(first, first + count - old), *rng.sample(range(added), old)]
    rng.shuffle(numbers)
    return numbers


def batches(offers: Iterable[Offer], partitions: int, *, scattered: bool) -> list[list[Offer]]:
    """Add calls of at most BATCH URLs: of one partition each or, ``scattered``, as they come."""
    groups: dict[int, list[Offer]] = {}
    for each in offers:
        groups.setdefault(0 if scattered else partition(each[0].domain, partitions), []).append(
            each
        )
    return [g[i : i + BATCH] for g in groups.values() for i in range(0, len(g), BATCH)]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least a ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def false_seen(urls: int, bits: int, parts: int = 1) -> float:
    """How many of ``urls`` new URLs are expected to be taken for known ones.

    ``parts`` seen-sets share them evenly; each fingerprint is uniform over ``2**bits``. A URL is
    lost when its fingerprint is among the distinct ones before it: n - N(1 - (1 - 1/N)^n) per set,
    which is n^2 / 2N while n is far below N.
    """
    each, space = urls / parts, 2.0**bits
    if each / space < 1e-6:  # the exact form would cancel
        return parts * each * (each - 1) / 2 / space
    return parts * (each + space * math.expm1(each * math.log1p(-1 / space)))
