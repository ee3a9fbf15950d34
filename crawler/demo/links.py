"""Links across the web, after all pages are there. Pure; keeps the invariant of `Node`."""

from __future__ import annotations

from typing import Final

from crawler.demo import href
from crawler.demo.model import Link
from crawler.demo.rng import Rng
from crawler.demo.scene import Scene
from crawler.demo.sketch import Node, Sketch

_COPYABLE: Final = ("rooted", "relative", "dots", "encoded-dots", "fragment", "spaces")
_ASCII: Final = ("rooted", "relative", "absolute", "scheme", "dots", "fragment")


def local_form(sketch: Sketch) -> str:
    """A way to write a link within a host; on mirrored hosts one that holds on the copy too."""
    if sketch.rng.chance(0.5):
        return sketch.rng.pick(("rooted", "relative"))
    return sketch.rng.pick(_COPYABLE if sketch.role == "mirror" else href.SAME_HOST)


def connect(scene: Scene) -> None:
    """Portal to all homes; a few ways down across hosts; ways back."""
    portal = scene.sketches[0].home
    for sketch in scene.sketches[1:]:
        portal.descend(sketch.home, scene.rng.pick(href.CROSS_HOST))
    _ways_down(scene)
    homes = [sketch.home for sketch in scene.sketches]
    for sketch in scene.sketches:
        for node in sketch.nodes:
            if node.answer.location is None and node.answer.status == 200:
                _ways_back(sketch, node, homes)


def _ways_down(scene: Scene) -> None:
    pool: dict[int, list[Node]] = {}
    for sketch in scene.general:
        for node in sketch.plain():
            pool.setdefault(node.depth, []).append(node)
    for sketch in scene.sketches:
        for node in sketch.nodes:
            below = pool.get(node.depth + 1)
            if sketch.role == "mirror" or not node.plain or not below:
                continue
            for _ in range(scene.rng.pick((0, 0, 0, 1, 2))):
                target = scene.rng.pick(below)
                node.descend(target, _form(scene.rng, node, target))


def _ways_back(sketch: Sketch, node: Node, homes: list[Node]) -> None:
    """To the own home, to pages known before, and from depth 2 on to any home."""
    rng = sketch.rng
    if node is not sketch.home:
        node.point_back(sketch.home, _copyable(rng))
    for target in rng.sample(node.known_before(), 3):
        node.point_back(target, _copyable(rng))
    if sketch.role == "mirror" or node.depth < 2:
        return
    for _ in range(rng.pick((0, 0, 0, 1, 2))):
        target = rng.pick(homes)
        node.point_back(target, _form(rng, node, target))


def _copyable(rng: Rng) -> str:
    return "rooted" if rng.chance(0.5) else rng.pick(_COPYABLE)


def _form(rng: Rng, node: Node, target: Node) -> str:
    if target.host != node.host:
        return rng.pick(href.CROSS_HOST)
    return rng.pick(href.SAME_HOST if node.plain else _ASCII)


def outward(node: Node, host: str, path: str) -> None:
    """Link to a host outside of the web: one that refuses connections, or does not exist."""
    node.links.append(Link(host, path, "absolute"))
