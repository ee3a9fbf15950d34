"""Makes a demo web from a seed and a size. Pure.

Steps: a roster of hosts (what each is for, its robots.txt, how large), a tree of plain pages on
each, features attached to them, then links across. `crawler.demo.sketch` says what links may do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from crawler.demo import features, links
from crawler.demo.model import Answer, DemoError, Link, Raw, Web
from crawler.demo.rng import Rng
from crawler.demo.robots_files import BY_NAME, KINDS, RobotsKind
from crawler.demo.scene import Scene, document
from crawler.demo.sketch import Node, Sketch, copy_host
from crawler.demo.text import LANGUAGES


@dataclass(frozen=True, slots=True)
class Size:
    """How large a web is."""

    hosts: int  # about, portal included
    largest: int  # plain pages of the largest host
    exponent: float  # of the power law of host sizes
    copies: int  # how often each feature occurs


SIZES: Final = {
    "small": Size(hosts=48, largest=28, exponent=0.7, copies=1),
    "default": Size(hosts=240, largest=150, exponent=0.6, copies=3),
    "large": Size(hosts=1000, largest=400, exponent=0.6, copies=10),
}
_ROLES: Final = (  # what some hosts are for: role, robots.txt kind, plain pages
    ("calendar", "none", 5),
    ("sessions", "allow", 5),
    ("spiral", "empty", 4),
    ("mirror", "none", 8),
    ("slow", "allow", 4),
    ("drip", "none", 4),
    ("retry-later", "none", 1),
    *((f"flaky-{number}", "none", 6) for number in range(len(features.FLAKY))),
)
_CODINGS: Final = ("", "", "", "", "gzip", "gzip", "gzip", "br", "zstd", "deflate")
_NAMES: Final = (
    "alder ash aspen beech birch cedar elm fir hazel holly ivy juniper larch lime maple oak "
    "olive pear pine plane poplar rowan spruce willow yew"
)
_WORDS: Final = (
    "river garden market winter bridge morning letter story house village harbour mountain "
    "school window summer evening forest valley stone paper water bread weather music history"
)
_ACCENTED: Final = (
    "caf%C3%A9",
    "na%C3%AFve",
    "%C3%A9t%C3%A9",
    "two%20words",
    "%D1%80%D0%B5%D0%BA%D0%B0",
)
_NAMES_PER_ADDRESS: Final = 3
_DEEPEST: Final = 5  # of plain pages: within any sensible depth limit


def build(seed: int = 1, size: str = "default") -> Web:
    """The web for a seed and a size (a key of SIZES); equal arguments give equal webs.

    Raises:
        DemoError: the size is not known.
    """
    if size not in SIZES:
        raise DemoError(f"unknown demo size {size!r}: one of {', '.join(SIZES)}")
    shape = SIZES[size]
    rng = Rng(f"demo/{seed}/{size}")
    sketches = _roster(shape, rng)
    _name(sketches, seed, rng)
    for sketch in sketches:
        _grow(sketch)
    hubs = [hub for sketch in sketches if (hub := _robots(sketch))]
    scene = Scene(sketches, rng, shape.copies)
    features.apply(scene)
    links.connect(scene)
    twins = _twins(sketches)
    hosts = {sketch.name: sketch.freeze() for sketch in (*sketches, *hubs)}
    for original, copy, address in twins:
        coding = "" if hosts[original].coding else "gzip"
        hosts[copy] = copy_host(hosts[original], copy, address, coding)
    return Web(
        seed=seed,
        size=size,
        hosts=hosts,
        portal=Link(sketches[0].name, "/"),
        near_duplicates=tuple(scene.near_duplicates),
        mirrors=tuple((original, copy) for original, copy, _ in twins),
        refused=frozenset(scene.refused),
        absent=frozenset(scene.absent),
    )


def _roster(shape: Size, rng: Rng) -> list[Sketch]:
    """Portal, hosts by falling size, then the small ones kept for something special."""
    roles = [role for role in _ROLES for _ in range(1 if shape.copies == 1 else 2)]
    lottery = [kind for kind in KINDS for _ in range(kind.weight)]
    free = shape.hosts - 1 - len(roles) - len(KINDS)
    kinds = [*KINDS, *rng.picks(lottery, free)]
    general = rng.sample([kind for kind in kinds if not kind.max_pages], len(kinds))
    limited = [kind for kind in kinds if kind.max_pages]
    roster = [_host(rng, "allow", 8, "portal")]
    for rank, kind in enumerate(general, 1):
        roster.append(_host(rng, kind.name, max(4, round(shape.largest / rank**shape.exponent))))
    roster += [_host(rng, kind.name, kind.max_pages) for kind in limited]
    roster += [_host(rng, kind, room, role) for role, kind, room in roles]
    return roster


def _host(rng: Rng, robots: str, room: int, role: str = "") -> Sketch:
    language = "en" if rng.chance(0.5) else rng.pick(LANGUAGES)
    return Sketch(
        name="",
        address="",
        rng=rng,
        language=language,
        template=rng.below(3),
        robots=robots,
        room=room,
        coding=rng.pick(_CODINGS),
        role=role,
    )


def _name(sketches: list[Sketch], seed: int, rng: Rng) -> None:
    """Every other host gets a DNS name, several names to an address; the rest own an address."""
    named = sketches[1::2]
    names = _NAMES.split()
    shared = max(1, len(named) // _NAMES_PER_ADDRESS)
    for number, sketch in enumerate(named):
        sketch.name = f"{names[number % len(names)]}-{number}.demo.test"
        sketch.address = _address(43, number % shared)
    for number, sketch in enumerate(sketches[::2]):
        sketch.name = sketch.address = _address(42, number)
    for sketch in sketches:
        sketch.rng = Rng(f"host/{seed}/{sketch.name}/{rng.below(1 << 30)}")


def _address(block: int, number: int) -> str:
    return f"127.{block}.{number // 250}.{number % 250 + 1}"


def _grow(sketch: Sketch) -> None:
    """A home page and a tree below it, level by level."""
    kind, rng = BY_NAME[sketch.robots], sketch.rng
    sketch.crawl_delay, sketch.unreached = kind.crawl_delay, kind.unreached
    sketch.closed, sketch.allowed_others = not kind.allowed, kind.allowed_others
    home = sketch.attach(None, "/", document(sketch, "/"))
    home.depth = 0 if sketch.role == "portal" else 1
    style = rng.below(4)
    level = [home]
    while len(sketch.nodes) < sketch.room:
        below: list[Node] = []
        for parent in level:
            for _ in range(rng.between(4, 7)):
                if len(sketch.nodes) < sketch.room:
                    path = _path(rng, style, parent, len(sketch.nodes))
                    node = sketch.attach(parent, path, document(sketch, path))
                    parent.descend(node, links.local_form(sketch))
                    below.append(node)
        level = below
    if level and level[-1].depth > _DEEPEST:
        raise DemoError(f"host {sketch.name} grew deeper than {_DEEPEST}")


def _path(rng: Rng, style: int, parent: Node, number: int) -> str:
    word = rng.pick(_ACCENTED if style == 2 else _WORDS.split())
    if style == 0:
        return f"/index.php?id={number}&topic={word}"
    if style == 1:
        return f"/{word}-{number}"
    folder = parent.path if parent.path.endswith("/") else parent.path.removesuffix(".html") + "/"
    return f"{folder}{word}-{number}{rng.pick(('/', '.html', '.html'))}"


def _robots(sketch: Sketch) -> Sketch | None:
    """Give a host its robots.txt and the pages that test it; returns the host it redirects to."""
    kind = BY_NAME[sketch.robots]
    for probe in kind.probes:
        node = sketch.attach(sketch.home, probe.path, document(sketch, probe.path), "robots-probe")
        node.allowed, node.allowed_others = probe.allowed, probe.allowed_others
        node.signals = probe.signals
        sketch.home.descend(node)
    hub = None
    owner = sketch
    stops = [Link(sketch.name, f"/robots/hop-{hop + 1}.txt") for hop in range(kind.hops)]
    if kind.hub:
        hub = owner = _hub(sketch)
        stops = [Link(hub.name, f"/robots/{sketch.name}.txt")]
    previous = Link(sketch.name, "/robots.txt")
    for stop in stops:
        _hop(sketch, previous, stop)
        previous = stop
    owner.files.append(_file(previous, kind))
    sketch.robots_chain = tuple(stops)
    return hub


def _hop(sketch: Sketch, start: Link, stop: Link) -> None:
    answer = Answer(status=301, location=Link(stop.host, stop.path, "absolute"))
    node = Node(start.host, start.path, -1, Raw(""), kind="robots", answer=answer)
    sketch.files.append(node)


def _file(place: Link, kind: RobotsKind) -> Node:
    content = Raw(kind.text, kind.media, kind.newline, kind.bom, kind.padding)
    return Node(place.host, place.path, -1, content, kind="robots", answer=kind.answer)


def _hub(sketch: Sketch) -> Sketch:
    """A host that holds another's robots.txt and nothing else."""
    name = f"policy-of-{sketch.name.removesuffix('.demo.test').replace('.', '-')}.demo.test"
    address = "127.45." + ".".join(sketch.address.split(".")[2:])
    hub = Sketch(name, address, sketch.rng, "en", 0, "none", 0)
    hub.files.append(_file(Link(name, "/robots.txt"), BY_NAME["none"]))
    return hub


def _twins(sketches: list[Sketch]) -> list[tuple[str, str, str]]:
    """Hosts to copy: the original's name, the copy's name and address. The portal links to both."""
    twins = []
    for original in sketches:
        if original.role != "mirror":
            continue
        stem = original.name.removesuffix(".demo.test").replace(".", "-")
        name = f"mirror-of-{stem}.demo.test"
        address = "127.46." + ".".join(original.address.split(".")[2:])
        sketches[0].home.links.append(Link(name, "/", "absolute"))
        twins.append((original.name, name, address))
    return twins
