"""Drafts of hosts and pages while a demo web is being made; frozen into the model at the end.

Invariant: every link goes through `Node.descend` (one level down) or `Node.point_back` (to a page
that every crawl has discovered before), which is what makes a page's depth independent of order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from crawler.demo.model import Answer, Document, Host, Link, Page, Raw, SitemapFile, Trap
from crawler.demo.rng import Rng


@dataclass(eq=False)
class Node:
    """A page in the making."""

    host: str
    path: str
    depth: int  # links from the portal; -1: none lead here
    content: Document | Raw | SitemapFile
    parent: Node | None = None
    kind: str = "page"
    feature: str = ""
    answer: Answer = field(default_factory=Answer)
    allowed: bool = True
    allowed_others: bool = True
    signals: tuple[str, ...] = ()
    links: list[Link] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)
    detours: bool = False  # found by other ways than through its parent alone

    @property
    def plain(self) -> bool:
        """Whether nothing is special about the page, so that features may use it."""
        return self.kind == "page" and not self.feature and self.allowed and self.depth >= 0

    @property
    def document(self) -> Document:
        """Its content, for pages that have a document."""
        if not isinstance(self.content, Document):
            raise TypeError(f"{self.path} has no document")
        return self.content

    def descend(self, target: Node, form: str = "rooted", rel: str = "") -> None:
        """Link to a page one level down; it is discovered at that depth whoever comes first."""
        if target.depth != self.depth + 1:
            raise ValueError(f"{self.path} at {self.depth} -> {target.path} at {target.depth}")
        self.links.append(Link(target.host, target.path, form, rel))
        target.detours = target.detours or target.parent is not self

    def redirect(self, target: Node, status: int, form: str = "absolute") -> None:
        """Answer with a redirect to a page of the same depth (a hop costs none)."""
        if target.depth != self.depth:
            raise ValueError(f"{self.path} at {self.depth} -> {target.path} at {target.depth}")
        link = Link(target.host, target.path, form)
        self.answer = Answer(status=status, location=link)
        target.detours = target.detours or target.parent is not self

    def known_before(self) -> list[Node]:
        """Plain pages of the host that every crawl has discovered before it fetches this one.

        Those are the pages that dominate it in the graph of ways down, and all that they link to.
        """
        known: list[Node] = []
        node = self
        while node.parent is not None and not node.detours:
            node = node.parent
            known.append(node)
            known.extend(child for child in node.children if child is not self)
        return [node for node in known if node.plain]

    def point_back(self, target: Node, form: str = "rooted") -> None:
        """Link to a home page or a page of `known_before`."""
        self.links.append(Link(target.host, target.path, form))

    def freeze(self) -> Page:
        """The finished page."""
        return Page(
            self.host,
            self.path,
            self.depth,
            self.content,
            self.kind,
            self.feature,
            tuple(self.links),
            self.answer,
            self.allowed,
            self.allowed_others,
            self.signals,
        )


@dataclass(eq=False)
class Sketch:
    """A host in the making."""

    name: str
    address: str
    rng: Rng
    language: str
    template: int
    robots: str
    room: int  # plain pages to grow
    coding: str = ""
    nodes: list[Node] = field(default_factory=list)  # the home page first, if there is one
    files: list[Node] = field(default_factory=list)  # robots.txt, sitemaps
    role: str = ""  # what the host is for, beyond being a host
    crawl_delay: float = 0.0
    robots_chain: tuple[Link, ...] = ()
    unreached: str = ""
    closed: bool = False
    allowed_others: bool = True
    sitemaps: tuple[str, ...] = ()
    trap: Trap | None = None

    @property
    def home(self) -> Node:
        """The host's front page."""
        return self.nodes[0]

    def plain(self) -> list[Node]:
        """Pages about which nothing is special, the home page left out."""
        return [node for node in self.nodes[1:] if node.plain]

    def leaves(self) -> list[Node]:
        """Plain pages that lead nowhere deeper."""
        return [node for node in self.plain() if not node.children]

    def attach(self, parent: Node | None, path: str, content: Document, feature: str = "") -> Node:
        """A new page below ``parent`` (None: no link leads to it); the link is not made."""
        depth = -1 if parent is None else parent.depth + 1
        node = Node(self.name, path, depth, content, parent, feature=feature)
        node.allowed, node.allowed_others = not self.closed, self.allowed_others
        self.nodes.append(node)
        if parent is not None:
            parent.children.append(node)
        return node

    def freeze(self) -> Host:
        """The finished host."""
        return Host(
            name=self.name,
            address=self.address,
            pages={node.path: node.freeze() for node in (*self.nodes, *self.files)},
            robots=self.robots,
            crawl_delay=self.crawl_delay,
            robots_chain=self.robots_chain,
            unreached=self.unreached,
            closed=self.closed,
            sitemaps=self.sitemaps,
            coding=self.coding,
            trap=self.trap,
        )


def copy_host(original: Host, name: str, address: str, coding: str) -> Host:
    """A host with the same content under another name; its links stay within it."""

    def moved(link: Link) -> Link:
        return replace(link, host=name) if link.host == original.name else link

    def copied(page: Page) -> Page:
        links: Iterable[Link] = page.links
        return replace(page, host=name, links=tuple(moved(link) for link in links))

    pages = {path: copied(page) for path, page in original.pages.items()}
    return replace(original, name=name, address=address, pages=pages, coding=coding)
