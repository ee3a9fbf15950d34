"""The records a demo web is made of. Pure; nothing here knows a port, a socket or a crawler.

Invariants:
- everything follows from (seed, size), in every process and Python version (`Web.digest`);
- a page's ``depth``, the number of links from the portal, does not depend on the order in which a
  crawl meets links: a link leads either one level down, or to a page that every crawl has
  discovered before it can fetch the page that holds the link. So what a crawl to a depth fetches
  is one set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

from crawler.demo.text import TextSpec

PRODUCT: Final = "comity"  # the product token that robots.txt files of the demo web address
RETRYABLE: Final = frozenset({429, 500, 502, 503, 504})  # statuses that a crawler asks for again


class DemoError(Exception):
    """Base of what the demo web raises; the message is one line fit for an operator."""


@dataclass(frozen=True, slots=True)
class Link:
    """A reference to a page of the demo web, and how it is written."""

    host: str  # host name or address, without port
    path: str  # canonical path and query
    form: str = "rooted"  # one of crawler.demo.href.FORMS
    rel: str = ""  # the rel attribute


@dataclass(frozen=True, slots=True)
class Answer:
    """How a server treats requests for one URL."""

    status: int = 200  # in the end
    location: Link | None = None  # of a redirect
    failures: int = 0  # this many first requests get failure_status instead
    failure_status: int = 0
    retry_after: int = 0  # seconds, sent with error statuses; 0: header absent
    retry_date: bool = False  # Retry-After as an HTTP date instead of seconds
    delay: float = 0.0  # seconds before the first byte
    drip: float = 0.0  # seconds over which the body trickles
    truncated: bool = False  # connection closed before the announced length
    framing: str = "length"  # length | chunked | close
    headers: tuple[tuple[str, str], ...] = ()  # further response headers

    def first_status(self) -> int:
        """The status that the first request gets."""
        return self.failure_status if self.failures else self.status


@dataclass(frozen=True, slots=True)
class Charset:
    """The encoding of a page, and what is claimed about it."""

    actual: str = "utf-8"  # a Python codec
    header: str = "utf-8"  # charset parameter of Content-Type; "": none
    meta: str = "utf-8"  # <meta charset>; "": none


@dataclass(frozen=True, slots=True)
class Document:
    """An HTML page's content."""

    text: TextSpec
    charset: Charset = field(default_factory=Charset)
    media: str = "text/html"  # text/html | application/xhtml+xml | text/plain
    template: int = 0  # layout around the main text
    robots_meta: str = ""  # <meta name=robots content>
    base: str = ""  # <base href>, a rooted path
    canonical: bool = False  # <link rel=canonical> to itself
    junk: tuple[str, ...] = ()  # hrefs that no crawler should follow


@dataclass(frozen=True, slots=True)
class Raw:
    """Content given as text, such as a robots.txt."""

    text: str  # "{port}" stands for the demo's port
    media: str = "text/plain"
    newline: str = "\n"
    bom: bool = False
    padding: int = 0  # bytes of comment lines put where the text says "{padding}"


@dataclass(frozen=True, slots=True)
class SitemapFile:
    """A sitemap or sitemap index (sitemaps.org)."""

    entries: tuple[Link, ...]  # pages, or sitemaps when index is set
    index: bool = False
    gzip: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Anything with a URL on the demo web."""

    host: str
    path: str  # canonical path and query
    depth: int  # links from the portal; -1: no links lead here
    content: Document | Raw | SitemapFile
    kind: str = "page"  # page | robots | sitemap
    feature: str = ""  # what is special about it; "": nothing
    links: tuple[Link, ...] = ()
    answer: Answer = field(default_factory=Answer)
    allowed: bool = True  # by robots.txt, to the product token of this project
    allowed_others: bool = True  # by robots.txt, to any other crawler
    signals: tuple[str, ...] = ()  # usage signals that restrict it, e.g. noindex

    @property
    def nofollow(self) -> bool:
        """Whether the page asks that none of its links be followed."""
        return "nofollow" in self.signals

    def allows(self, agent: str) -> bool:
        """Whether robots.txt lets an agent (a product token) fetch this page."""
        return self.allowed if agent.lower() == PRODUCT else self.allowed_others


class Trap(Protocol):
    """An endless part of a host, made up page by page."""

    @property
    def prefix(self) -> str:
        """Every path in the trap begins so."""

    @property
    def entry(self) -> str:
        """The path by which it is entered."""

    def page(self, path: str) -> Page | None:
        """The page at a path, None outside of the trap."""


@dataclass(frozen=True, slots=True)
class Host:
    """One host: unit of politeness, owner of a robots.txt."""

    name: str  # DNS name, or the address itself
    address: str  # loopback address that serves it
    pages: Mapping[str, Page]  # by path; robots.txt and sitemaps included
    robots: str  # kind of its robots.txt
    crawl_delay: float = 0.0  # seconds, from its robots.txt
    robots_chain: tuple[Link, ...] = ()  # where its robots.txt redirects, hop by hop
    unreached: str = ""  # reason why none of its pages can be had: robots-unreachable | parked
    closed: bool = False  # robots.txt denies everything
    sitemaps: tuple[str, ...] = ()  # paths listed in robots.txt
    coding: str = ""  # content coding it prefers; "": identity
    trap: Trap | None = None

    def page(self, path: str) -> Page | None:
        """The page at a path and query."""
        found = self.pages.get(path)
        if found is None and self.trap is not None and path.startswith(self.trap.prefix):
            return self.trap.page(path)
        return found


@dataclass(frozen=True)
class Web:
    """A whole demo web."""

    seed: int
    size: str
    hosts: Mapping[str, Host]  # by name
    portal: Link  # the page from which everything is reached
    near_duplicates: tuple[tuple[Link, Link, float], ...]  # with true 5-gram Jaccard similarity
    mirrors: tuple[tuple[str, str], ...]  # pairs of hosts with equal content
    refused: frozenset[str]  # addresses where nothing listens
    absent: frozenset[str]  # names that do not exist

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """Every address that a server has to listen on, the portal's first."""
        first = self.hosts[self.portal.host].address
        return tuple(dict.fromkeys((first, *(host.address for host in self.hosts.values()))))

    @cached_property
    def names(self) -> Mapping[str, str]:
        """DNS names and their addresses."""
        return {h.name: h.address for h in self.hosts.values() if h.name != h.address}

    def page(self, host: str, path: str) -> Page | None:
        """The page at a host and path, None where there is none."""
        found = self.hosts.get(host)
        return None if found is None else found.page(path)

    def digest(self) -> str:
        """SHA-256 of all that is finite: equal digests, equal webs."""
        state = hashlib.sha256(f"{self.seed} {self.size} {self.portal}".encode())
        for name in sorted(self.hosts):
            state.update(repr(self.hosts[name]).encode())
        state.update(repr((self.near_duplicates, self.mirrors)).encode())
        state.update(repr((sorted(self.refused), sorted(self.absent))).encode())
        return state.hexdigest()


def url(host: str, path: str, port: int) -> str:
    """The canonical (WHATWG-serialised) URL of a page."""
    return f"http://{host}{'' if port == 80 else f':{port}'}{path}"
