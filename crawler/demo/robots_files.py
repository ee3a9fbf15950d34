"""Kinds of robots.txt that the demo web has, with what each allows. Pure tables.

The verdicts are written down by hand beside the rules, from RFC 9309, so that the ground truth owes
nothing to any parser. A probe is a page that exists to find out whether a rule is read correctly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from crawler.demo.model import Answer


@dataclass(frozen=True, slots=True)
class Probe:
    """A page whose path a rule is about."""

    path: str  # canonical
    allowed: bool  # to this project's product token
    allowed_others: bool  # to any other agent
    signals: tuple[str, ...] = ()  # what usage lines say of it to this project's product token


@dataclass(frozen=True, slots=True)
class RobotsKind:
    """One kind of robots.txt."""

    name: str
    text: str = ""
    answer: Answer = field(default_factory=Answer)  # of the robots.txt itself
    probes: tuple[Probe, ...] = ()
    weight: int = 0  # how often it is drawn beyond the one host that every kind gets
    max_pages: int = 0  # hosts with it are kept to this many pages; 0: any size
    crawl_delay: float = 0.0  # seconds
    unreached: str = ""  # reason why the host's pages cannot be had
    allowed: bool = True  # pages that no probe speaks of, to this project's product token
    allowed_others: bool = True  # the same, to any other agent
    newline: str = "\n"
    bom: bool = False
    padding: int = 0  # bytes of comments at "{padding}"
    media: str = "text/plain"
    hops: int = 0  # redirects on the same host before the file
    hub: bool = False  # redirected to a host of its own


def _both(*pairs: tuple[str, bool]) -> tuple[Probe, ...]:
    return tuple(Probe(path, allowed, allowed) for path, allowed in pairs)


_RULES: Final = "User-agent: *\nDisallow: /private/\nDisallow: /draft\n"
_RULE_PROBES: Final = _both(
    ("/private/notes.html", False),
    ("/private", True),  # the rule ends in a slash
    ("/drafting.html", False),  # the rule does not
    ("/Private/open.html", True),  # paths are case-sensitive
)

KINDS: Final[tuple[RobotsKind, ...]] = (
    RobotsKind("none", answer=Answer(status=404), weight=30),
    RobotsKind("allow", "User-agent: *\nDisallow:\n", weight=20),
    RobotsKind("empty", "", weight=6),
    RobotsKind("disallow", _RULES, probes=_RULE_PROBES, weight=12),
    RobotsKind(
        "agent",
        "# Others stay out.\nUser-agent: *\nDisallow: /\n\n"
        "User-agent: Comity\nDisallow: /not-for-comity/\n",
        probes=(Probe("/not-for-comity/a.html", False, False), Probe("/for-comity", True, False)),
        allowed_others=False,
        weight=4,
    ),
    RobotsKind(
        "groups",  # groups of one agent merge; a longer token is another agent
        "User-agent: comitybot\nDisallow: /\n\nUser-agent: comity\nDisallow: /first/\n"
        "Content-Signal: search=yes\nContent-Usage: search=y\n"
        "Content-Usage: /others/ train-ai=n\n\n"
        "User-agent: *\nDisallow: /others/\nContent-Signal: ai-train=no\n\n"
        "User-agent: other\nUser-agent: comity\nDisallow: /second/\n",
        probes=(
            Probe("/first/a.html", False, True),
            Probe("/second/a.html", False, True),
            Probe("/others/a.html", True, False, ("train-ai",)),
        ),
        weight=4,
    ),
    RobotsKind(
        "wildcard",
        "User-agent: *\nDisallow: /*.pdf$\nAllow: /open*.pdf$\nDisallow: /*?print=\n"
        "Disallow: /a*/secret\n",
        probes=_both(
            ("/paper.pdf", False),
            ("/paper.pdf.html", True),
            ("/open-paper.pdf", True),
            ("/page.html?print=1", False),
            ("/page.html?view=1", True),
            ("/abc/def/secret.html", False),
            ("/b/a/secret.html", True),
        ),
        weight=4,
    ),
    RobotsKind(
        "longest",
        "User-agent: *\nDisallow: /shop/\nAllow: /shop/public/\nDisallow: /shop/public/hidden\n"
        "Disallow: /equal\nAllow: /equal\n",
        probes=_both(
            ("/shop/cart.html", False),
            ("/shop/public/list.html", True),
            ("/shop/public/hidden.html", False),
            ("/equal.html", True),  # of equal rules the one that allows wins
        ),
        weight=4,
    ),
    RobotsKind(
        "encoded",
        "User-agent: *\nDisallow: /t%C3%BCr\nDisallow: /straße\nDisallow: /a%3cd.html\n",
        probes=_both(
            ("/t%C3%BCr.html", False),
            ("/stra%C3%9Fe.html", False),
            ("/strasse.html", True),
            ("/a%3Cd.html", False),
        ),
        weight=2,
    ),
    RobotsKind("crlf-bom", _RULES, probes=_RULE_PROBES, newline="\r\n", bom=True, weight=2),
    RobotsKind("cr", _RULES, probes=_RULE_PROBES, newline="\r", weight=1),
    RobotsKind(
        "big",  # over 500 KiB: a rule within the first 500 KiB counts, one beyond does not
        "User-agent: *\nDisallow: /early/\n{padding}Disallow: /late/\n",
        probes=_both(("/early/a.html", False), ("/late/a.html", True)),
        padding=600 * 1024,
        weight=1,
    ),
    RobotsKind(
        "html",  # an error page with status 200: no rules in it
        "<!doctype html><title>Oops</title><p>This page moved: nothing to see here.</p>",
        media="text/html",
        weight=2,
    ),
    RobotsKind("forbidden", answer=Answer(status=403), weight=4),
    RobotsKind("unauthorized", answer=Answer(status=401), weight=1),
    RobotsKind("gone", answer=Answer(status=410), weight=2),
    RobotsKind("redirect", _RULES, probes=_RULE_PROBES, hops=1, weight=3),
    RobotsKind("redirect-5", _RULES, probes=_RULE_PROBES, hops=5, weight=1),
    RobotsKind("redirect-host", _RULES, probes=_RULE_PROBES, hops=1, hub=True, weight=2),
    RobotsKind(
        "flaky",  # unavailable once, then there
        _RULES,
        answer=Answer(failures=1, failure_status=503, retry_after=1),
        probes=_RULE_PROBES[:1],
        max_pages=4,
    ),
    RobotsKind(
        "closed",
        "User-agent: *\nDisallow: /\n",
        allowed=False,
        allowed_others=False,
        max_pages=3,
        weight=2,
    ),
    RobotsKind(
        "delay-1",
        "User-agent: *\nCrawl-delay: 1\nDisallow: /private/\n",
        probes=_RULE_PROBES[:1],
        crawl_delay=1.0,
        max_pages=4,
        weight=2,
    ),
    RobotsKind(
        "delay-2",
        "User-agent: comity\nCrawl-delay: 2\n\nUser-agent: *\nCrawl-delay: 30\n",
        crawl_delay=2.0,
        max_pages=3,
        weight=1,
    ),
    RobotsKind(
        "delay-0.5",
        "User-agent: *\nDisallow:\nCrawl-delay: 0.5\n",
        crawl_delay=0.5,
        max_pages=6,
        weight=1,
    ),
    RobotsKind(
        "parked",
        "User-agent: *\nCrawl-delay: 4000\n",
        crawl_delay=4000.0,
        unreached="parked",
        max_pages=3,
    ),
    RobotsKind(
        "unavailable",
        answer=Answer(status=503, retry_after=7200),
        unreached="robots-unreachable",
        max_pages=3,
    ),
    RobotsKind(
        "unavailable-bare",
        answer=Answer(status=503),
        unreached="robots-unreachable",
        max_pages=3,
    ),
)
BY_NAME: Final = {kind.name: kind for kind in KINDS}
