"""Offers of URLs, gathered into calls: per partition and, in a call, per host and class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from frontier import entry
from frontier.model import CrawlRequest
from frontier.url import Site, Url, partition

CHUNK: Final = 256  # URLs per call: a script blocks the server while it runs

Offer = tuple[Url, CrawlRequest]


class _Group:
    """Offers of one host and class."""

    __slots__ = ("batch", "entries", "fps", "offers", "priority", "site")

    def __init__(self, batch: Batch, site: Site, priority: int) -> None:
        self.batch = batch
        self.site = site
        self.priority = priority
        self.fps: list[str] = []
        self.offers: list[Offer] = []
        self.entries: list[str] = []


class Batch:
    """Offers that one call of the script takes."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.size = 0
        self.groups: list[_Group] = []

    def arguments(self) -> list[Any]:
        """Per host and class: host, registered domain, class, number of URLs, and their entries."""
        args: list[Any] = []
        for group in self.groups:
            args += (group.site.host, group.site.domain, group.priority, len(group.entries))
            args += group.entries
        return args

    def fps(self) -> list[str]:
        """The fingerprints, in the order of the arguments."""
        return [fp for group in self.groups for fp in group.fps]

    def offers(self) -> list[Offer]:
        """The offers in the order of the arguments, which is that of the reply."""
        return [offer for group in self.groups for offer in group.offers]


def batches(
    offers: Iterable[Offer], partitions: int, fingerprint: Callable[[Url, int], str]
) -> Iterator[Batch]:
    """The offers in batches of one partition; ``fingerprint`` is that of a URL's visit."""
    open_: dict[int, Batch] = {}
    groups: dict[tuple[str, int], _Group] = {}  # of the open batches
    pack = entry.pack
    for offer in offers:
        url, request = offer
        host, priority = url.site.host, request.priority
        group = groups.get((host, priority))
        if group is None:
            p = partition(url.site.domain, partitions)
            batch = open_.get(p)
            if batch is None:
                batch = open_[p] = Batch(p)
            group = groups[host, priority] = _Group(batch, url.site, priority)
            batch.groups.append(group)
        fp = fingerprint(url, request.visit)
        group.fps.append(fp)
        group.offers.append(offer)
        group.entries.append(pack(request, fp, host))
        batch = group.batch
        batch.size += 1
        if batch.size >= CHUNK:
            yield open_.pop(batch.partition)
            for each in batch.groups:
                del groups[each.site.host, each.priority]
    yield from open_.values()
