"""What others' test suites and the RFC expect of a robots.txt parser, as tables.

Each case: the file, the agent, what is allowed and what is denied of it. All 145 allow/deny vectors
of Google's parser (google/robotstxt, robots_test.cc at c8ac4b1; Apache-2.0) are restated here as
data, the three that contradict RFC 9309 in ``robots_deviations``; the vectors of crawler-commons
are in ``robots_commons``.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """One file asked by one agent."""

    robots: str
    agent: str
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()


FOO = "user-agent: FooBot\n"
SHUT = FOO + "disallow: /\n"
GROUPS = (
    "allow: /foo/bar/\n\nuser-agent: FooBot\ndisallow: /\nallow: /x/\nuser-agent: BarBot\n"
    "disallow: /\nallow: /y/\n\n\nallow: /w/\nuser-agent: BazBot\n\nuser-agent: FooBot\n"
    "allow: /z/\ndisallow: /\n"
)
FISH = ("/fish", "/fish.html", "/fish/salmon.html", "/fishheads", "/fishheads/yummy.html")
PHP = ("/filename.php", "/folder/filename.php")
ONE_SPACE = "User-Agent: *\nDisallow: /\nUser-Agent: Foo Bar\nAllow: /x/\nDisallow: /\n"
OPEN_OR_SHUT = "user-agent: *\nallow: /\nuser-agent: FooBot\ndisallow: /\n"
ALLOWED_ONLY = "user-agent: BarBot\ndisallow: /\nuser-agent: BazBot\ndisallow: /\n"
LONGEST = 2083 * 8 - 2  # octets of key, value and what is not cut off, less the last "/"


def _long(key: str, char: str) -> str:
    return "/x/" + char * (LONGEST - len(key) - len("/x/"))


GOOGLE = [
    Case("", "FooBot", ("",)),
    Case(SHUT, "", ("",)),
    Case(SHUT, "FooBot", (), ("", "/x/y")),
    Case("", "", ("",)),
    Case("foo: FooBot\nbar: /\n", "FooBot", ("/x/y",)),
    Case("user-agent FooBot\ndisallow /\n", "FooBot", (), ("/x/y",)),
    Case(GROUPS, "FooBot", ("/x/b", "/z/d"), ("/y/c", "/foo/bar/")),
    Case(GROUPS, "BarBot", ("/y/c", "/w/a"), ("/z/d", "/foo/bar/")),
    Case(GROUPS, "BazBot", ("/z/d",), ("/foo/bar/",)),
    *(
        Case(f"User-agent: {name}\n{line}\nUser-agent: *\nDisallow: /\n", agent, (), ("/",))
        for name, line in (
            ("BarBot", "Sitemap: https://foo.bar/sitemap"),
            ("FooBot", "Invalid-Unknown-Line: unknown"),
        )
        for agent in ("FooBot", "BarBot")
    ),
    *(
        Case(f"{ua}: FooBot\n{allow}: /x/\n{disallow}: /\n", "FooBot", ("/x/y",), ("/a/b",))
        for ua, allow, disallow in (
            ("USER-AGENT", "ALLOW", "DISALLOW"),
            ("user-agent", "allow", "disallow"),
            ("uSeR-aGeNt", "AlLoW", "dIsAlLoW"),
        )
    ),
    *(
        Case(f"User-Agent: {name}\nAllow: /x/\nDisallow: /\n", agent, ("/x/y",), ("/a/b",))
        for name in ("FOO BAR", "foo bar", "FoO bAr")
        for agent in ("Foo", "foo")
    ),
    Case(ONE_SPACE, "Foo", ("/x/y",)),
    Case(ONE_SPACE, "Foo Bar", (), ("/x/y",)),
    Case("", "FooBot", ("/x/y",)),
    Case(OPEN_OR_SHUT, "FooBot", (), ("/x/y",)),
    Case(OPEN_OR_SHUT, "BarBot", ("/x/y",)),
    Case(FOO + "allow: /\n" + ALLOWED_ONLY, "QuxBot", ("/x/y",)),
    Case(FOO + "disallow: /x/\n", "FooBot", (), ("/x/y",)),
    Case(FOO + "disallow: /X/\n", "FooBot", ("/x/y",)),
    # the longest match wins, allow wins ties
    Case(FOO + "disallow: /x/page.html\nallow: /x/\n", "FooBot", (), ("/x/page.html",)),
    Case(FOO + "allow: /x/page.html\ndisallow: /x/\n", "FooBot", ("/x/page.html",), ("/x/",)),
    Case(FOO + "disallow: \nallow: \n", "FooBot", ("/x/page.html",)),
    Case(SHUT + "allow: /\n", "FooBot", ("/x/page.html",)),
    Case(FOO + "disallow: /x\nallow: /x/\n", "FooBot", ("/x/",), ("/x",)),
    Case(FOO + "disallow: /x/a.html\nallow: /x/a.html\n", "FooBot", ("/x/a.html",)),
    Case(FOO + "allow: /page\ndisallow: /*.html\n", "FooBot", ("/page",), ("/page.html",)),
    Case(FOO + "allow: /x/page.\ndisallow: /*.html\n", "FooBot", ("/x/page.html",), ("/x/y.html",)),
    Case(
        "User-agent: *\nDisallow: /x/\nUser-agent: FooBot\nDisallow: /y/\n",
        "FooBot",
        ("/x/page",),
        ("/y/page",),
    ),
    # percent-encoding
    Case(
        SHUT + "Allow: /a?qux=t&baz=http://foo.bar?t&p\n",
        "FooBot",
        ("/a?qux=t&baz=http://foo.bar?t&p",),
    ),
    Case(SHUT + "Allow: /foo/bar/ツ\n", "FooBot", ("/foo/bar/%E3%83%84",)),
    Case(SHUT + "Allow: /foo/bar/%E3%83%84\n", "FooBot", ("/foo/bar/%E3%83%84",)),
    Case(SHUT + "Allow: /foo/bar/%62%61%7A\n", "FooBot", ("/foo/bar/%62%61%7A",)),
    # special characters
    Case(
        FOO + "Disallow: /foo/bar/quz\nAllow: /foo/*/qux\n",
        "FooBot",
        ("/foo/quz", "/foo//quz", "/foo/bax/quz"),
        ("/foo/bar/quz",),
    ),
    Case(
        FOO + "Disallow: /foo/bar$\nAllow: /foo/bar/qux\n",
        "FooBot",
        ("/foo/bar/qux", "/foo/bar/", "/foo/bar/baz"),
        ("/foo/bar",),
    ),
    Case(FOO + "# Disallow: /\nDisallow: /q#x\nAllow: /\n", "FooBot", ("/bar",), ("/q",)),
    Case(
        "User-Agent: *\nAllow: /slash/index.html\nDisallow: /\n",
        "foobot",
        ("/slash/", "/slash/index.html"),
        ("/slash/index.htm", "/other"),
    ),
    # lines are cut at 2083 * 8 octets
    Case(
        FOO + "disallow: " + _long("disallow: ", "a") + "/qux\n",
        "FooBot",
        ("/fux",),
        (_long("disallow: ", "a") + "/fux",),
    ),
    Case(
        SHUT + f"allow: {_long('allow: ', 'a')}/qux\nallow: {_long('allow: ', 'b')}/qux\n",
        "FooBot",
        (_long("allow: ", "a") + "/qux", _long("allow: ", "b") + "/fux"),
        ("/",),
    ),
    # the documentation's examples
    *(
        Case(
            SHUT + rule,
            "FooBot",
            (*FISH, "/fish.html?id=a"),
            ("/bar", "/Fish.asp", "/catfish", "/?id=fish"),
        )
        for rule in ("allow: /fish\n", "allow: /fish*\n")
    ),
    Case(
        SHUT + "allow: /fish/\n",
        "FooBot",
        ("/fish/", "/fish/salmon", "/fish/?salmon", "/fish/salmon.html", "/fish/?id=anything"),
        ("/bar", "/fish", "/fish.html", "/Fish/Salmon.html"),
    ),
    Case(
        SHUT + "allow: /*.php\n",
        "FooBot",
        (*PHP, "/folder/f.php?p", "//folder/any.php.file.html", "/f.php/", "/index?f=f.php/"),
        ("/bar", "/php/", "/index?php", "/windows.PHP"),
    ),
    Case(
        SHUT + "allow: /*.php$\n",
        "FooBot",
        PHP,
        ("/bar", "/f.php?p", "/f.php/", "/f.php5", "/php/", "/f?php", "/aaaphpaaa", "//w.PHP"),
    ),
    Case(
        SHUT + "allow: /fish*.php\n",
        "FooBot",
        ("/fish.php", "/fishheads/catfish.php?parameters"),
        ("/bar", "/Fish.PHP"),
    ),
    Case(FOO + "allow: /p\ndisallow: /\n", "FooBot", ("/page",)),
    Case(FOO + "allow: /folder\ndisallow: /folder\n", "FooBot", ("/folder/page",)),
    Case(FOO + "allow: /page\ndisallow: /*.htm\n", "FooBot", (), ("/page.htm",)),
    Case(FOO + "allow: /$\ndisallow: /\n", "FooBot", ("/",), ("/page.html",)),
]

RFC9309 = [
    # 2.2.1: one group of all that match
    Case(
        "User-agent: a\nDisallow: /x\n\nUser-agent: b\nDisallow: /y\n\nUser-agent: A\nDisallow: /z",
        "a",
    )._replace(allowed=("/y",), denied=("/x", "/z")),
    # 2.2.2, figure 4
    Case(SHUT + "Allow: /foo?b=quz\n", "FooBot", ("/foo?b=quz",)),
    *(
        Case(
            FOO + f"Disallow: /foo?b={rule}\n",
            "FooBot",
            ("/foo?b=",),
            ("/foo?b=https://foo.bar", "/foo?b=https%3A%2F%2Ffoo.bar", "/foo?b=https%3a//foo.bar"),
        )
        for rule in ("https://foo.bar", "https%3A%2F%2Ffoo.bar")
    ),
    Case(FOO + "Disallow: /foo/bar/baz\n", "FooBot", (), ("/foo/bar/%62%61%7A", "/foo/bar/baz")),
    Case(FOO + "Disallow: /foo/%62%61%7a$\n", "FooBot", ("/foo/bazz",), ("/foo/baz",)),
    Case(FOO + "Disallow: /~joe/\n", "FooBot", (), ("/%7ejoe/a", "/%7Ejoe/a", "/~joe/a")),
    Case(FOO + "Disallow: /%7Ejoe/\n", "FooBot", (), ("/%7ejoe/a", "/~joe/a")),
    Case(FOO + "Disallow: /a%3cd.html\n", "FooBot", ("/a<e.html",), ("/a%3Cd.html", "/a<d.html")),
    Case(FOO + "Disallow: /a%2fb.html\n", "FooBot", ("/a/b.html",), ("/a%2Fb.html",)),
    Case(FOO + "Disallow: /a/b.html\n", "FooBot", ("/a%2Fb.html",), ("/a/b.html",)),
    Case(FOO + "Disallow: /q?x=a%26y\n", "FooBot", ("/q?x=a&y",), ("/q?x=a%26y",)),
    Case(FOO + "Disallow: /b c/\n", "FooBot", (), ("/b%20c/",)),
    Case(
        FOO + "Disallow: /bücher/\n", "FooBot", (), ("/b%C3%BCcher/", "/b%c3%bccher/", "/bücher/")
    ),
    Case(FOO + "Disallow: /p[1]\n", "FooBot", (), ("/p[1]", "/p%5B1%5d")),
    # 2.2.3, figure 6
    Case(FOO + "Disallow: /a-%2A.html\n", "FooBot", ("/a-b.html",), ("/a-*.html", "/a-%2a.html")),
    Case(FOO + "Disallow: /foo-%24\n", "FooBot", ("/foo-",), ("/foo-$", "/foo-%24", "/foo-$x")),
    Case(FOO + "Disallow: /a$b\n", "FooBot", ("/a", "/ab"), ("/a$b", "/a%24b/c")),
    Case(FOO + "Disallow: /this/*/exactly\n", "FooBot", ("/this/exactly",), ("/this//exactly",)),
    # 5.1 and 5.2
    Case(
        "User-Agent: *\nDisallow: *.gif$\nDisallow: /example/\nAllow: /publications/\n", "x"
    )._replace(allowed=("/a.gif?b", "/publications/"), denied=("/a.gif", "/example/a")),
    Case(
        "User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n",
        "foobot",
    )._replace(allowed=("/example/page/a",), denied=("/example/page/disallowed.gif",)),
]
