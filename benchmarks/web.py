"""A web that is made up, for simulations: power laws of size, links and behaviour. Pure.

The same seed gives the same web, page by page, whoever asks in whatever order. Links lead from the
front page of host 0 to every page, where no host fails; nothing is stored but the hosts' sizes.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final

from frontier.model import Outcome
from frontier.url import Site, Url

FANOUT: Final = 4  # pages that a page is the parent of; front pages that a front page leads to
LINKS: Final = 8  # further links of a page, on average
LOCAL: Final = 0.75  # share of these that stay on their host
FARMS: Final = 97  # registered domains that share a twentieth of all hosts
_SLUG: Final = "a-title-of-some-length-as-most-pages-have-one-today"


@dataclass(frozen=True, slots=True)
class Kind:
    """How hosts of a kind behave."""

    share: float  # of all hosts
    seconds: float  # median response time; log-normal
    spread: float  # its sigma
    failing: float  # share of contacts that fail
    reasons: tuple[str, ...]  # how


KINDS: Final = (
    Kind(0.70, 0.15, 0.5, 0.005, ("http-5xx", "reset", "timeout")),
    Kind(0.22, 0.8, 0.6, 0.02, ("http-5xx", "truncated", "timeout")),
    Kind(0.05, 4.0, 0.8, 0.3, ("http-5xx", "http-503", "timeout")),
    Kind(0.02, 10.0, 0.0, 1.0, ("connect-timeout",)),
    Kind(0.01, 0.3, 0.5, 0.1, ("http-429",)),
)
_STATUS: Final = {"http-5xx": 500, "http-503": 503, "http-429": 429}
_LONGEST: Final = 30.0  # seconds: where a fetch gives up


@dataclass(frozen=True, slots=True)
class Visit:
    """What a contact came to."""

    outcome: Outcome
    links: tuple[Url, ...]  # of the page, in its order


class PowerLawWeb:
    """Hosts of Zipf's sizes; their pages are trees, crossed by links to what is popular."""

    def __init__(self, hosts: int, *, mean: float = 30.0, exponent: float = 0.9, seed: int = 1):
        weights = [(i + 1) ** -exponent for i in range(hosts)]
        scale = hosts * mean / sum(weights)
        self._ends = array("Q", accumulate(max(1, round(w * scale)) for w in weights))
        self._seed = seed
        self.hosts = hosts
        self.pages = self._ends[-1]

    def size(self, host: int) -> int:
        """Pages of a host."""
        return self._ends[host] - (self._ends[host - 1] if host else 0)

    def url(self, host: int, page: int) -> Url:
        """The canonical URL of a page; page 0 is the host's front page."""
        site = _site(host)
        path = f"/{page}/{_SLUG}" if page else "/"
        return Url(site.origin + path, path, site)

    def visit(self, url: str, attempts: int, now: float) -> Visit:
        """Contact number ``attempts`` with a URL that this web has."""
        host, page = _number(url)
        rng = random.Random(f"{self._seed} {host} {page} {attempts}")
        outcome = self._outcome(self.kind(host), attempts, rng)
        if outcome.reason:
            return Visit(outcome, ())
        return Visit(outcome, tuple(self.url(*at) for at in self._links(host, page)))

    def kind(self, host: int) -> Kind:
        """How a host behaves; the largest ones well, or a crawl would hang on one of them."""
        if host < 10:
            return KINDS[0]
        at = random.Random(f"{self._seed} kind {host}").random()
        for kind in KINDS:
            at -= kind.share
            if at < 0:
                return kind
        return KINDS[0]

    @staticmethod
    def _outcome(kind: Kind, attempts: int, rng: random.Random) -> Outcome:
        seconds = min(kind.seconds * rng.lognormvariate(0.0, kind.spread), _LONGEST)
        if rng.random() >= kind.failing:
            return Outcome("", 200, seconds, attempts=attempts)
        reason = rng.choice(kind.reasons)
        asked = str(rng.randrange(1, 30)) if reason == "http-429" and rng.random() < 0.5 else None
        if reason == "timeout":
            seconds = _LONGEST
        return Outcome(reason, _STATUS.get(reason, 0), seconds, asked, attempts)

    def _links(self, host: int, page: int) -> Iterator[tuple[int, int]]:
        size = self.size(host)
        yield from ((host, k) for k in _children(page) if k < size)
        if page == 0:
            yield from ((other, 0) for other in _children(host) if other < self.hosts)
        rng = random.Random(f"{self._seed} links {host} {page}")
        for _ in range(rng.randrange(2 * LINKS + 1)):
            if rng.random() < LOCAL:
                yield host, int(size * rng.random() ** 3)
            else:
                other = bisect_right(self._ends, rng.randrange(self.pages))
                yield other, int(self.size(other) * rng.random() ** 3)


def _children(number: int) -> range:
    return range(number * FANOUT + 1, number * FANOUT + FANOUT + 1)


@lru_cache(maxsize=200_000)
def _site(host: int) -> Site:
    domain = f"farm{host % FARMS}.net" if host % 20 == 19 else f"site{host}.com"
    name = f"h{host}.{domain}"
    return Site(f"https://{name}", "https", name, name, 443, domain)


def _number(url: str) -> tuple[int, int]:
    """(host, page) of a URL."""
    _, _, name, page, *_ = url.split("/")
    return int(name[1 : name.index(".")]), int(page or 0)
