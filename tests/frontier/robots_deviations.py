"""Where a published suite expects otherwise than we answer: the case as we answer it, whose, why.

RFC 9309 comes first, then Google's reading. Of Google's 145 allow/deny vectors three contradict the
RFC; of crawler-commons' what differs is agent matching, lines cut off, and Crawl-delay; Protego's
suite (scrapy/protego 0.7, BSD-3-Clause) differs in agents and in what it forgives.
"""

from __future__ import annotations

from typing import Final

from tests.frontier.robots_cases import FOO, LONGEST, ONE_SPACE, SHUT, Case
from tests.frontier.robots_commons import HERITRIX, NUTCH, ONE_TWO, STAR, Delay

_ONE_NAME: Final = "Google reads one name on a user-agent line, up to the first space"
_NO_TOKEN: Final = "a name with a space is no product token (RFC 9309 2.2.1); Google says the same"
_WHOLE: Final = "RFC 9309 2.2.1 and Google compare whole product tokens, not parts of a header"
_AS_WRITTEN: Final = "no such reading in RFC 9309, nor with Google"
_LONG_A: Final = "/x/" + "a" * (LONGEST - len("disallow: /x/"))

DEVIATIONS = [
    # Google, whose API takes encoded URLs only and compares octets as they stand
    (
        Case(SHUT + "Allow: /foo/bar/%62%61%7A\n", "FooBot", ("/foo/bar/baz",)),
        "Google denies",
        "RFC 9309 2.2.2 decodes unreserved octets before it compares; so does crawler-commons",
    ),
    (
        Case(SHUT + "Allow: /foo/bar/ツ\n", "FooBot", ("/foo/bar/ツ",)),
        "Google denies",
        "RFC 9309 2.2.2 encodes both sides; so does crawler-commons",
    ),
    (
        Case(SHUT + "Allow: /foo/bar/%E3%83%84\n", "FooBot", ("/foo/bar/ツ",)),
        "Google denies",
        "as above",
    ),
    (
        Case(STAR + "Disallow: /sitecore modules/\n", "any", (), ("/sitecore%20modules/",)),
        "Google's parser (no vector) allows",
        "RFC 9309 2.2.2 encodes both sides; in 12 of 4,231 real files",
    ),
    # crawler-commons
    (
        Case("User-agent: crawler1 crawler2\nDisallow: /i\n", "crawler2", ("/i",)),
        "crawler-commons denies",
        _ONE_NAME,
    ),
    (Case(ONE_TWO, "Two", ("/fish",)), "crawler-commons denies", _ONE_NAME),
    (Case(ONE_TWO, "Three", ("/fish",)), "crawler-commons denies", _ONE_NAME),
    (
        Case(NUTCH, "Agent3", ("/d", "/d/a", "/e/d/foo.html"), ("/foo/bar/baz.html",)),
        "crawler-commons the other way round",
        _ONE_NAME,
    ),
    (
        Case("User-agent: Download Ninja\nDisallow: /i\n", "Download Ninja", ("/i",)),
        "crawler-commons denies",
        _NO_TOKEN,
    ),
    (Case(ONE_SPACE, "Foo Bar", (), ("/x/y",)), "crawler-commons allows", _NO_TOKEN),
    (
        Case(HERITRIX, "Mozilla denybot 99.9", ("/path", "/")),
        "crawler-commons denies",
        _WHOLE,
    ),
    (
        Case(HERITRIX, "Mozilla allowbot2 99.9", ("/path", "/", "/foo")),
        "crawler-commons denies /foo",
        _WHOLE,
    ),
    (
        Case(f"{FOO}disallow: {_LONG_A}/qux\n", "FooBot", (), (_LONG_A + "/fux",)),
        "crawler-commons allows",
        "Google reads no further into a line than 16,664 octets",
    ),
    (
        Case("User-agent: *\nDisallow: /i\n\nUser-agent: *\nDisallow: /\n", "any", (), ("/a",)),
        "crawler-commons allowed (before 1.4)",
        "RFC 9309 2.2.1 merges groups, those of * too",
    ),
    (
        Case("User-agent: *\nCrawl-delay: 3600\nDisallow:\n", "any", ("/",)),
        "crawler-commons denies all",
        "a long Crawl-delay is a matter of time: the host is parked, nothing is dropped",
    ),
    # Protego
    (
        Case(SHUT, "Mozilla/5.0 (compatible; FooBot/1.0)", ("/x",)),
        "Protego denies",
        _WHOLE,
    ),
    (
        Case("User-agent: google\nDisallow: /\n", "googlebot-news", ("/x",)),
        "Protego denies",
        _WHOLE,
    ),
    (
        Case("User-agent: foo*bot\nDisallow: /x\n", "foobot", ("/x",)),
        "Protego denies",
        "* is a group, not a wildcard in names (RFC 9309 2.2.1)",
    ),
    (
        Case("User-agent: Jävla-bot\nDisallow: /\n", "jävla-bot", ("/x",)),
        "Protego denies",
        "a product token is ASCII (RFC 9309 2.2.1)",
    ),
    (
        Case("User-agent: a\nDisallow: /x\nuser agent\nDisallow: /y\n", "a", (), ("/x", "/y")),
        "Protego allows /y",
        "to Google the line is a key 'user' with a value",
    ),
    (
        Case(STAR + "Disallow: /x\nUser-agent must: see docs\nAllow: /x/a\n", "b", (), ("/x/a",)),
        "Protego allows /x/a",
        "to Google every key that begins with user-agent is one",
    ),
    (Case(FOO + "Disallow: /x*x/abc$\n", "FooBot", ("/x*x/abc$",)), "Protego denies", _AS_WRITTEN),
    (
        Case(STAR + "Disallow: http://foo.bar/x\n", "any", ("/x", "/http://foo.bar/x")),
        "Protego denies the second",
        _AS_WRITTEN,
    ),
    (
        Case(STAR + "Allow: /page=*/$\nDisallow: /\n", "any", (), ("/page%3D5/",)),
        "Protego allows",
        "= is reserved: its encoded form is another octet (RFC 9309 2.2.2)",
    ),
]

# The same of Crawl-delay.
DELAY_DEVIATIONS = [
    (Delay(HERITRIX, "Mozilla delaybot 99.9", None), "crawler-commons: 20", _WHOLE),
]
