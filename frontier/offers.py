"""Offers of URLs, gathered into calls: per partition and, in a call, per host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from frontier import entry
from frontier.model import CrawlRequest
from frontier.url import Url

CHUNK: Final = 256  # URLs per call: a script blocks the server while it runs

Offer = tuple[Url, CrawlRequest]


class Batch:
    """Offers that one call of the script takes."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self._offers: dict[str, list[Offer]] = {}  # by host
        self._flat: dict[str, list[Any]] = {}  # by host: fingerprint, class, entry of each
        self._size = 0

    def put(self, offer: Offer, fp: str) -> bool:
        """Take an offer; whether the batch is full now."""
        url, request = offer
        host = url.site.host
        flat = self._flat.get(host)
        if flat is None:
            flat = self._flat[host] = []
            self._offers[host] = []
        flat += (fp, request.priority, entry.pack(request, fp, host))
        self._offers[host].append(offer)
        self._size += 1
        return self._size >= CHUNK

    def arguments(self) -> list[Any]:
        """Per host: host, registered domain, number of URLs, and three per URL."""
        args: list[Any] = []
        for host, flat in self._flat.items():
            offers = self._offers[host]
            args += (host, offers[0][0].site.domain, len(offers))
            args += flat
        return args

    def fps(self) -> list[str]:
        """The fingerprints, in the order of the arguments."""
        return [fp for flat in self._flat.values() for fp in flat[::3]]

    def offers(self) -> list[Offer]:
        """The offers in the order of the arguments, which is that of the reply."""
        return [offer for offers in self._offers.values() for offer in offers]


def batches(
    offers: Iterable[Offer], place: Callable[[Url, int], tuple[int, str]]
) -> Iterator[Batch]:
    """The offers in batches; ``place`` gives partition and fingerprint of a URL and visit."""
    open_: dict[int, Batch] = {}
    for offer in offers:
        partition, fp = place(offer[0], offer[1].visit)
        batch = open_.get(partition)
        if batch is None:
            batch = open_[partition] = Batch(partition)
        if batch.put(offer, fp):
            yield open_.pop(partition)
    yield from open_.values()
