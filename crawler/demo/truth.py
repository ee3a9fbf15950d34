"""Ground truth: what a correct crawl of a demo web fetches, how often, and what it must not touch.

Pure, and independent of the crawler: it walks the model's links breadth first, with verdicts that
the model's maker wrote down, and uses no robots.txt, URL or HTML parser of this project.

A link has the depth of its page plus one, a redirect that of the redirecting URL. A URL listed by a
sitemap has depth 1: with sitemaps, what is fetched is independent of the crawl's order for depth
limits of 5 (the deepest plain page) and more; without, for every limit.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from crawler.demo.model import (
    RETRYABLE,
    DemoError,
    Document,
    Host,
    Link,
    Page,
    SitemapFile,
    Web,
    url,
)
from crawler.demo.policy import Policy

_SITEMAP_DEPTH = 1
# What forbids to keep a page, when it is honoured. All but nofollow, and noimageai of what is no
# image, as no page of the web is.
_WITHHOLDS = ("noindex", "noarchive", "noai", "train-ai", "tdm-reservation")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which links a crawl's scope holds, relative to its seeds."""

    kind: str  # any | host | domain | prefix
    seeds: tuple[Link, ...]

    def holds(self, link: Link) -> bool:
        """Whether a link is within.

        ``host`` compares hosts; so does ``domain``, because ``.test`` is no registry and addresses
        have no domain; ``prefix`` compares paths up to the seed's last slash as well.
        """
        if self.kind == "any":
            return True
        if self.kind == "prefix":
            return any(link.host == s.host and link.path.startswith(_folder(s)) for s in self.seeds)
        return any(link.host == seed.host for seed in self.seeds)


def _folder(seed: Link) -> str:
    path = seed.path.partition("?")[0]
    return path[: path.rfind("/") + 1]


@dataclass(frozen=True, slots=True)
class _Step:
    """A URL offered to the crawl."""

    link: Link
    depth: int
    hops: int  # redirects in a row that led here


@dataclass
class _Walk:
    """A crawl of the model in the making."""

    web: Web
    policy: Policy
    port: int
    scope: Scope
    seen: set[tuple[str, str]] = field(default_factory=set)
    must: dict[str, dict[str, Any]] = field(default_factory=dict)
    may: set[str] = field(default_factory=set)
    may_prefixes: set[str] = field(default_factory=set)
    dropped: dict[str, str] = field(default_factory=dict)
    unreached: dict[str, str] = field(default_factory=dict)
    too_far: dict[str, str] = field(default_factory=dict)  # offered, but out of scope or too deep
    contacted: set[str] = field(default_factory=set)  # hosts

    def run(self, seeds: list[Link]) -> None:
        """Visit everything there is to visit, nearest first."""
        steps = [_Step(seed, 0, 0) for seed in seeds]
        queue = [(0, 0, number) for number in range(len(steps))]
        while queue:
            step = steps[heapq.heappop(queue)[2]]
            identity = step.link.host, step.link.path
            if identity in self.seen or not self._accepts(step):
                continue
            self.seen.add(identity)
            for following in self._visit(step):
                heapq.heappush(queue, (following.depth, following.hops, len(steps)))
                steps.append(following)

    def url(self, link: Link) -> str:
        """A link's canonical URL."""
        return url(link.host, link.path, self.port)

    def _accepts(self, step: _Step) -> bool:
        """Whether a URL is in the job: what is not is no concern of the crawl."""
        address = self.url(step.link)
        if not self.scope.holds(step.link):
            self.too_far[address] = "out-of-scope"
            return False
        if self.policy.depth is not None and step.depth > self.policy.depth:
            self.too_far.setdefault(address, "too-deep")
            return False
        self.too_far.pop(address, None)
        return True

    def _visit(self, step: _Step) -> Iterator[_Step]:
        link, address = step.link, self.url(step.link)
        if link.host in self.web.refused:
            self.dropped[address] = "refused"
        elif link.host not in self.web.hosts:
            self.dropped[address] = "dns-nxdomain"
        elif step.hops > self.policy.redirects:
            self.dropped[address] = "redirect-limit"
        else:
            host = self.web.hosts[link.host]
            if link.host not in self.contacted:
                self.contacted.add(link.host)
                yield from self._sitemaps_of(host)
            page = host.page(link.path)
            if page is None:
                raise DemoError(f"the demo web links to {address}, which it does not have")
            yield from self._request(step, host, page)

    def _request(self, step: _Step, host: Host, page: Page) -> Iterator[_Step]:
        address, answer = self.url(step.link), page.answer
        lasting = answer.status in RETRYABLE
        if host.unreached:
            self.unreached[address] = host.unreached
        elif not page.allows(self.policy.agent):
            self.dropped[address] = "robots-denied"
        elif not self.policy.traps and host.trap and page.path.startswith(host.trap.prefix):
            self.may_prefixes.add(url(host.name, host.trap.prefix, self.port))
        elif lasting and answer.retry_after > self.policy.max_wait:
            self.unreached[address] = "retry-after"
            self.may.add(address)
        else:
            self.must[address] = self._entry(step, page)
            yield from self._found_on(step, page)

    def _entry(self, step: _Step, page: Page) -> dict[str, Any]:
        answer, attempts = page.answer, self.policy.attempts
        entry: dict[str, Any] = {
            "status": answer.status,
            "times": min(answer.failures + 1, attempts),
            "kind": page.kind,
            "feature": page.feature,
            "depth": step.depth,
        }
        if answer.failures >= attempts:
            entry["status"] = answer.failure_status
        if answer.status in RETRYABLE:  # how often to try is the crawler's to say
            entry |= {"times": attempts, "times_min": 1}
        if answer.truncated:  # kept as it is, or asked for again in hope
            entry |= {"times_max": attempts}
        if page.signals:
            entry["signals"] = list(page.signals)
            entry |= self._withheld(page)
        if page.kind == "page" and isinstance(page.content, Document) and answer.status == 200:
            entry["text"] = page.content.text.identity
        return entry

    def _withheld(self, page: Page) -> dict[str, str]:
        forbidden = [name for name in _WITHHOLDS if name in page.signals]
        if self.policy.signals == "ignore" or not forbidden or page.kind != "page":
            return {}
        return {"withheld": f"signal-{forbidden[0]}"}

    def _found_on(self, step: _Step, page: Page) -> Iterator[_Step]:
        answer = page.answer
        if answer.location is not None:
            yield _Step(answer.location, step.depth, step.hops + 1)
        if answer.status != 200 or answer.failures >= self.policy.attempts:
            return
        honour = self.policy.signals == "honour"
        if isinstance(page.content, SitemapFile):
            for entry in page.content.entries:
                yield _Step(entry, _SITEMAP_DEPTH, 0)
        if honour and page.nofollow:
            return
        for link in page.links:
            if not (honour and "nofollow" in link.rel):
                yield _Step(link, step.depth + 1, 0)

    def _sitemaps_of(self, host: Host) -> Iterator[_Step]:
        """Sitemap files come with the host, at the depth of a seed."""
        if not self.policy.sitemaps or host.unreached or host.closed:
            return
        paths = list(host.sitemaps)
        if self.policy.sitemaps > 1 and "/sitemap.xml" in host.pages:
            paths.append("/sitemap.xml")
        for path in dict.fromkeys(paths):
            yield _Step(Link(host.name, path), 0, 0)


def truth(web: Web, policy: Policy, port: int) -> dict[str, Any]:
    """The ground truth for a policy, as JSON values.

    - ``must``: URL -> final ``status``, how many ``times`` it is requested (``times_min`` and
      ``times_max`` where that is the crawler's to choose), row ``kind``, ``feature``, ``depth``,
      ``signals``, ``withheld`` (the reason, where these forbid to keep it) and ``text``: equal for
      pages with equal main text;
    - ``must_not``: URLs that exist, or are linked to, and must not be requested;
    - ``denied``: URLs of the web that robots.txt denies to the policy's agent, whatever its scope;
    - ``may``, ``may_prefixes``: URLs that may be requested or not;
    - ``dropped``, ``unreached``: URL -> reason code;
    - ``pages``: how many of ``must`` are pages that end with status 200 and may be kept;
    - ``near_duplicates``: [URL, URL, true Jaccard similarity of word 5-grams];
    - ``mirrors``: [URL, URL] with equal payloads on two hosts;
    - ``hosts``: host -> ``address``, ``domain``, ``crawl_delay``, ``robots`` (kind),
      ``robots_urls`` (to be fetched before any page), ``contacted``, ``closed``.

    Raises:
        DemoError: a seed is not a URL of the web.
    """
    seeds = [_seed(web, text, port) for text in policy.seeds] or [web.portal]
    walk = _Walk(web, policy, port, Scope(policy.scope, tuple(seeds)))
    walk.run(seeds)
    return {
        "policy": policy.as_json(),
        "seeds": [walk.url(seed) for seed in seeds],
        "pages": sum(_kept(entry) for entry in walk.must.values()),
        "must": walk.must,
        "must_not": sorted(_must_not(walk)),
        "denied": sorted(_denied(walk)),
        "may": sorted(walk.may),
        "may_prefixes": sorted(walk.may_prefixes),
        "dropped": walk.dropped,
        "unreached": walk.unreached,
        "near_duplicates": _near_duplicates(walk),
        "mirrors": _mirrors(walk),
        "hosts": {_authority(h.name, port): _host(walk, h) for h in web.hosts.values()},
    }


def _kept(entry: dict[str, Any]) -> bool:
    return entry["kind"] == "page" and entry["status"] == 200 and "withheld" not in entry


def _seed(web: Web, text: str, port: int) -> Link:
    try:
        parts = urlsplit(text.strip())
        name, number = (parts.hostname or "").lower(), parts.port or 80
    except ValueError:
        raise DemoError(f"policy: seed {text!r} is not a URL") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme != "http" or number != port or web.page(name, path) is None:
        raise DemoError(f"policy: seed {text!r} is not a page of this demo web")
    return Link(name, path)


def _authority(name: str, port: int) -> str:
    return name if port == 80 else f"{name}:{port}"


def _must_not(walk: _Walk) -> set[str]:
    """Everything finite that the crawl was not allowed, and what it was offered in vain."""
    wanted = walk.must.keys() | walk.may
    known = {
        url(page.host, page.path, walk.port)
        for host in walk.web.hosts.values()
        for page in host.pages.values()
        if page.kind != "robots"
    }
    return (known | walk.too_far.keys() | walk.dropped.keys() | walk.unreached.keys()) - wanted


def _denied(walk: _Walk) -> list[str]:
    return [
        url(page.host, page.path, walk.port)
        for host in walk.web.hosts.values()
        for page in host.pages.values()
        if page.kind == "page" and not page.allows(walk.policy.agent)
    ]


def _near_duplicates(walk: _Walk) -> list[list[Any]]:
    pairs = [(walk.url(a), walk.url(b), j) for a, b, j in walk.web.near_duplicates]
    return [[a, b, j] for a, b, j in pairs if a in walk.must and b in walk.must]


def _mirrors(walk: _Walk) -> list[list[str]]:
    pairs = [
        (url(one, path, walk.port), url(other, path, walk.port))
        for one, other in walk.web.mirrors
        for path, page in walk.web.hosts[one].pages.items()
        if page.kind == "page"
    ]
    return [[a, b] for a, b in pairs if a in walk.must and b in walk.must]


def _host(walk: _Walk, host: Host) -> dict[str, Any]:
    chain = [Link(host.name, "/robots.txt"), *host.robots_chain]
    return {
        "address": host.address,
        "domain": host.name,
        "crawl_delay": host.crawl_delay,
        "robots": host.robots,
        "robots_urls": [walk.url(link) for link in chain],
        "contacted": host.name in walk.contacted,
        "closed": host.closed,
    }
