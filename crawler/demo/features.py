"""Everything that makes the demo web unlike a tidy one, placed on drafts. Pure.

Two ways: a new page below an existing one (redirects, errors, what is slow), or something done to a
leaf that is there already (charsets, truncation, usage signals, near-duplicates).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from crawler.demo.href import JUNK
from crawler.demo.links import outward
from crawler.demo.model import Answer, Charset, Link, SitemapFile
from crawler.demo.scene import Scene, document, hang
from crawler.demo.sketch import Node, Sketch
from crawler.demo.text import TextSpec, edits_for, similarity
from crawler.demo.traps import Calendar, Sessions, Spiral

FLAKY: Final = (  # the first requests for a URL are turned away
    Answer(failures=1, failure_status=429, retry_after=1),
    Answer(failures=1, failure_status=429, retry_after=2, retry_date=True),
    Answer(failures=1, failure_status=503, retry_after=2),
    Answer(failures=1, failure_status=503, retry_after=1, retry_date=True),
    Answer(failures=1, failure_status=429),
    Answer(failures=2, failure_status=503),
)
_RETRY_LATER: Final = Answer(status=503, retry_after=7200)
_SLOW: Final = Answer(delay=0.8)
_DRIP: Final = Answer(drip=1.2)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_LONG_CHAIN: Final = 14  # hops, more than a crawler should put up with
_ERRORS: Final = (404, 410, 451, 403, 400)
_SERVER_ERRORS: Final = (500, 503)
_CHARSETS: Final = (  # language, what it is and what it claims to be
    ("fr", Charset("iso-8859-1", "iso-8859-1", "utf-8")),  # the header is right
    ("de", Charset("utf-8", "iso-8859-1", "utf-8")),  # the header is wrong
    ("fr", Charset("cp1252", "", "")),  # nothing is declared
    ("ru", Charset("cp1251", "", "windows-1251")),
    ("ru", Charset("koi8-r", "koi8-r", "")),
    ("el", Charset("iso-8859-7", "", "iso-8859-7")),
    ("ja", Charset("shift_jis", "shift_jis", "")),
    ("zh", Charset("gb18030", "gb2312", "gb2312")),
    ("en", Charset("utf-8", "utf-8lias", "")),
    ("en", Charset("utf-16-le", "", "")),  # with a byte order mark
)
_SIGNALS: Final = (  # meta robots, X-Robots-Tag, what applies to this crawler
    ("noindex", "", ("noindex",)),
    ("nofollow", "", ("nofollow",)),
    ("noindex, nofollow", "", ("noindex", "nofollow")),
    ("none", "", ("noindex", "nofollow")),
    ("noai, noimageai", "", ("noai", "noimageai")),
    ("noarchive", "", ("noarchive",)),
    ("", "noindex", ("noindex",)),
    ("", "nofollow", ("nofollow",)),
    ("", "noai", ("noai",)),
    ("", "otherbot: noindex, nofollow", ()),  # another crawler is meant
    ("", "comity: noindex", ("noindex",)),
)
_USAGE: Final = (  # a header, what restricts this crawler
    (("Content-Usage", "train-ai=n, search=y"), ("train-ai",)),
    (("Content-Usage", "train-ai=y"), ()),
    (("TDM-Reservation", "1"), ("tdm-reservation",)),
    (("X-Robots-Tag", "unavailable_after: 25 Jun 2010 15:00:00 PST"), ("noindex",)),
    (("X-Robots-Tag", "unavailable_after: 25 Jun 2090 15:00:00 PST"), ()),
)
_SIMILARITIES: Final = (0.97, 0.95, 0.92, 0.9, 0.87, 0.85, 0.82, 0.8, 0.77, 0.75, 0.7, 0.6, 0.5)
_DUPLICATE_WORDS: Final = 420
_SPACED: Final = ("en", "de", "fr", "ru", "el", "ar")
_SITEMAP_ROBOTS: Final = ("allow", "empty", "disallow", "wildcard", "longest")


def apply(scene: Scene) -> None:
    """Place every feature, each ``scene.copies`` times."""
    _hosts_with_a_role(scene)
    for _ in range(scene.copies):
        _redirects(scene)
        _chains(scene)
        _errors(scene)
        _dead_ends(scene)
        _signals(scene)
        _sitemaps(scene)
        _leaves(scene)
        _near_duplicates(scene)
    _decorations(scene)
    for _ in range(scene.copies):
        _usage(scene)


def _hosts_with_a_role(scene: Scene) -> None:
    for number, answer in enumerate(FLAKY):
        for sketch in scene.role(f"flaky-{number}"):
            hang(sketch, sketch.home, "flaky").answer = answer
    for sketch in scene.role("slow"):
        hang(sketch, sketch.home, "slow").answer = _SLOW
    for sketch in scene.role("drip"):
        hang(sketch, sketch.home, "drip").answer = _DRIP
    for sketch in scene.role("retry-later"):
        sketch.home.answer = _RETRY_LATER
        sketch.home.feature = "retry-later"
    for role, trap in (("calendar", Calendar), ("sessions", Sessions), ("spiral", Spiral)):
        for sketch in scene.role(role):
            sketch.trap = trap(sketch.name, sketch.home.depth + 1)
            sketch.home.links.append(Link(sketch.name, sketch.trap.entry))


def _redirects(scene: Scene) -> None:
    """One of each status within a host; one to another host, one home, one to a denied page."""
    for status in _REDIRECTS:
        sketch, node = scene.add("redirect")
        node.redirect(_landing(sketch, node), status, scene.rng.pick(("absolute", "rooted")))
    _, node = scene.add("redirect")
    others = [
        other
        for sketch in scene.general
        for other in sketch.plain()
        if sketch.name != node.host and other.depth == node.depth
    ]
    node.redirect(scene.rng.pick(others), 301)
    sketch, node = scene.add("redirect")
    node.answer = Answer(status=302, location=Link(sketch.name, "/", "rooted"))
    denying = scene.rng.pick(scene.kinds("disallow", "longest", "wildcard", "crlf-bom"))
    node = hang(denying, denying.home, "redirect")
    node.redirect(next(probe for probe in denying.home.children if not probe.allowed), 302)


def _landing(sketch: Sketch, node: Node) -> Node:
    """A page that only a redirect leads to."""
    landing = sketch.attach(
        node.parent, f"/landing-{len(sketch.nodes)}.html", node.document, "landing"
    )
    landing.content = document(sketch, landing.path)
    return landing


def _chains(scene: Scene) -> None:
    """A chain of 3, one that is too long, a loop of 2, a redirect to itself."""
    for name, length in (("chain", 3), ("long-chain", _LONG_CHAIN)):
        sketch, node = scene.add(name)
        for _ in range(length - 1):
            path = f"/{name}-{len(sketch.nodes)}"
            following = sketch.attach(node.parent, path, node.document, name)
            node.redirect(following, 302)
            node = following
        node.redirect(_landing(sketch, node), 301)
    sketch, node = scene.add("loop")
    back = sketch.attach(node.parent, f"/loop-{len(sketch.nodes)}", node.document, "loop")
    node.redirect(back, 302)
    back.redirect(node, 302)
    _, node = scene.add("self-loop")
    node.redirect(node, 302)


def _errors(scene: Scene) -> None:
    for status in _ERRORS:
        scene.add("error")[1].answer = Answer(status=status)
    for status in _SERVER_ERRORS:
        scene.add("error", scene.small)[1].answer = Answer(status=status)


def _dead_ends(scene: Scene) -> None:
    """Links to an address where nothing listens and to a name that does not exist."""
    number = len(scene.refused)
    address, name = f"127.44.0.{number + 1}", f"nowhere-{number}.demo.test"
    scene.refused.add(address)
    scene.absent.add(name)
    outward(scene.spot()[1], address, "/closed.html")
    outward(scene.spot()[1], name, "/absent.html")


def _signals(scene: Scene) -> None:
    """Usage signals on pages; below each nofollow page one that no other link leads to."""
    for meta, header, signals in _SIGNALS:
        sketch, node = scene.add("signal")
        node.content = replace(node.document, robots_meta=meta)
        if header:
            node.answer = Answer(headers=(("X-Robots-Tag", header),))
        node.signals = signals
        if "nofollow" in signals:
            hang(sketch, node, "below-nofollow")
    sketch, parent = scene.spot()
    hang(sketch, parent, "rel-nofollow", rel="nofollow")


def _usage(scene: Scene) -> None:
    """Preferences and dates in headers; last, so that all else is placed as it was without them."""
    for header, signals in _USAGE:
        _, node = scene.add("signal")
        node.answer, node.signals = Answer(headers=(header,)), signals


def _sitemaps(scene: Scene) -> None:
    """Listed in robots.txt: one plain, one index with a gzipped part. Unlisted: one, well-known."""
    free = [s for s in scene.kinds(*_SITEMAP_ROBOTS) if not s.sitemaps]
    listed, indexed = scene.rng.sample(free, 2)
    _sitemap(listed, "/sitemap.xml")
    listed.sitemaps = ("/sitemap.xml",)
    first = _sitemap(indexed, "/maps/first.xml")
    second = _sitemap(indexed, "/maps/second.xml.gz", gzip=True)
    index = SitemapFile((Link(indexed.name, first), Link(indexed.name, second)), index=True)
    indexed.files.append(Node(indexed.name, "/maps/index.xml", -1, index, kind="sitemap"))
    indexed.sitemaps = ("/maps/index.xml",)
    bare = [s for s in scene.kinds("none") if len(s.files) == 1]
    _sitemap(scene.rng.pick(bare), "/sitemap.xml")


def _sitemap(sketch: Sketch, path: str, gzip: bool = False) -> str:
    """A sitemap of a few pages that links lead to and two that no link does."""
    entries = [Link(sketch.name, node.path) for node in [sketch.home, *sketch.plain()[:3]]]
    for _ in range(2):
        orphan = f"/unlinked-{len(sketch.nodes)}.html"
        sketch.attach(None, orphan, document(sketch, orphan), "sitemap-only")
        entries.append(Link(sketch.name, orphan))
    sketch.files.append(
        Node(sketch.name, path, -1, SitemapFile(tuple(entries), gzip=gzip), kind="sitemap")
    )
    return path


def _leaves(scene: Scene) -> None:
    """Charsets, a truncated body, other media types, a base element."""
    leaves = scene.leaves()
    for language, charset in _CHARSETS:
        _, node = next(leaves)
        node.feature = f"charset-{charset.actual}"
        text = replace(node.document.text, language=language)
        node.content = replace(node.document, charset=charset, text=text)
    _, node = next(leaves)
    node.feature, node.answer = "truncated", Answer(truncated=True)
    _, node = next(leaves)
    node.feature = "xhtml"
    node.content = replace(node.document, media="application/xhtml+xml")
    _, node = next(leaves)
    node.feature = "base"
    node.content = replace(node.document, base="/elsewhere/for/links/")
    _, node = next(pair for pair in leaves if not pair[1].links)
    node.feature = "plain-text"
    node.content = replace(node.document, media="text/plain")


def _near_duplicates(scene: Scene) -> None:
    """Pairs of pages at known similarity, and one pair with the same text in another layout."""
    leaves = scene.leaves()
    for target in (1.0, *_SIMILARITIES):
        (_, one), (_, other) = next(leaves), next(leaves)
        key = f"near/{target}/{one.host}{one.path}"
        base = TextSpec(key, scene.rng.pick(_SPACED), _DUPLICATE_WORDS)
        edits = edits_for(target, _DUPLICATE_WORDS) if target < 1 else 0
        changed = replace(base, edits=edits)
        one.content = replace(one.document, text=base, template=0)
        other.content = replace(other.document, text=changed, template=1)
        one.feature = other.feature = "near-duplicate"
        pair = Link(one.host, one.path), Link(other.host, other.path)
        scene.near_duplicates.append((*pair, round(similarity(base, changed), 6)))


def _decorations(scene: Scene) -> None:
    """Framing of responses, a few links that are none, one raw deflate stream."""
    for sketch in scene.sketches:
        for node in sketch.nodes:
            usual = node.answer == Answer() and node.document.media == "text/html"
            if usual and scene.rng.chance(0.15):
                framing = scene.rng.pick(("chunked", "chunked", "close"))
                node.answer = Answer(framing=framing)
            if node.plain and scene.rng.chance(0.05):
                node.content = replace(node.document, junk=JUNK)
    scene.rng.pick(scene.general).coding = "deflate-raw"
