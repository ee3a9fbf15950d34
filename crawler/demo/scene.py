"""The stage on which features are placed: all host drafts, and where a feature may go. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from crawler.demo.model import DemoError, Document, Link
from crawler.demo.rng import Rng
from crawler.demo.robots_files import BY_NAME
from crawler.demo.sketch import Node, Sketch
from crawler.demo.text import TextSpec

_DEEPEST_PARENT = 3  # features hang no deeper, so that what they add stays within normal depth
_SMALL = 12  # plain pages of hosts that can afford errors which slow a host down


@dataclass
class Scene:
    """All drafts, and what features leave behind besides pages."""

    sketches: list[Sketch]  # the portal's host first
    rng: Rng
    copies: int  # how often each feature occurs
    near_duplicates: list[tuple[Link, Link, float]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)

    @cached_property
    def general(self) -> list[Sketch]:
        """Hosts that are there for no special reason: pages on them are fetched without ado."""
        return [s for s in self.sketches if not s.role and not BY_NAME[s.robots].max_pages]

    @cached_property
    def small(self) -> list[Sketch]:
        """The small ones of the general hosts."""
        return [sketch for sketch in self.general if sketch.room <= _SMALL]

    def role(self, role: str) -> list[Sketch]:
        """Hosts kept for a role."""
        return [sketch for sketch in self.sketches if sketch.role == role]

    def kinds(self, *robots: str) -> list[Sketch]:
        """General hosts with one of these kinds of robots.txt."""
        return [sketch for sketch in self.general if sketch.robots in robots]

    def spot(self, hosts: list[Sketch] | None = None) -> tuple[Sketch, Node]:
        """A host and a plain page of it to hang something below."""
        sketch = self.rng.pick(self.general if hosts is None else hosts)
        nodes = [node for node in sketch.plain() if node.depth <= _DEEPEST_PARENT]
        return sketch, self.rng.pick([sketch.home, *nodes])

    def add(self, name: str, hosts: list[Sketch] | None = None) -> tuple[Sketch, Node]:
        """A new page that bears a feature, linked from a page picked for it."""
        sketch, parent = self.spot(hosts)
        return sketch, hang(sketch, parent, name)

    def leaves(self) -> Iterator[tuple[Sketch, Node]]:
        """Plain leaves in random order, no host twice before every host was drawn."""
        while True:
            before = drawn = 0
            for sketch in self.rng.sample(self.general, len(self.general)):
                before += 1
                if leaves := sketch.leaves():
                    drawn += 1
                    yield sketch, self.rng.pick(leaves)
            if not drawn:
                raise DemoError(f"a web of {before} hosts has no leaves left for its features")


def hang(sketch: Sketch, parent: Node, feature: str, form: str = "rooted", rel: str = "") -> Node:
    """A new page below ``parent`` and a link to it."""
    path = f"/{feature}-{len(sketch.nodes)}"
    node = sketch.attach(parent, path, document(sketch, path), feature)
    parent.descend(node, form, rel)
    return node


def document(sketch: Sketch, path: str) -> Document:
    """An ordinary page's content."""
    words = sketch.rng.between(120, 600)
    canonical = sketch.role != "mirror" and sketch.rng.chance(0.2)
    text = TextSpec(f"{sketch.name}{path}", sketch.language, words)
    return Document(text, template=sketch.template, canonical=canonical)
