"""What crawler-commons' tests expect of a robots.txt parser, as tables.

Its vectors (SimpleRobotRulesParserTest at 43b49d4 and the files that it reads, as far as they are
published; Apache-2.0) restated as data. Where RFC 9309 or Google's reading differ, the case stands
in ``robots_deviations``; what their tests say of warnings and API is not about robots.txt.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.frontier.robots_cases import Case

FICT = (
    "# /robots.txt for http://www.fict.org/\r\n# comments to webmaster@fict.org\r\n\n"
    "User-agent: unhipbot\nDisallow: /\r\r\nUser-agent: webcrawler\nUser-agent: excite\r"
    "Disallow: \u0085\rUser-agent: *\r\nDisallow: /org/plans.html\nAllow: /org/\rAllow: /serv\r\n"
    "Allow: /~mak\nDisallow: /\r\n"
)
FICT_CRLF = FICT.replace("\u0085", "").replace("\r\n", "\n").replace("\r", "\n")
FICT_CRLF = FICT_CRLF.replace("\n", "\r\n")
FICT_SHUT = ("/", "/index.html", "/orgo.gif", "/org/plans.html", "/%7Ejim/jim.html")
FICT_OPEN = (
    *("/server.html", "/services/fast.html", "/services/slow.html", "/org/about.html"),
    "/%7Emak/mak.html",
)
NUTCH = (
    "User-Agent: Agent1 #foo\rDisallow: /a\rDisallow: /b/a\r#Disallow: /c\r\r\r"
    "User-Agent: Agent2 Agent3#foo\rUser-Agent: Agent4\rDisallow: /d\rDisallow: /e/d/\r\r"
    "User-Agent: *\rDisallow: /foo/bar/\r"
)
NUTCH_A, NUTCH_D = ("/a", "/a/", "/a/bloh/foo.html", "/b/a", "/b/a/index.html"), ("/d", "/d/a")
NUTCH_OPEN = (
    *("/b", "/b/b/foo.html", "/c", "/c/a", "/c/a/index.html", "/c/b/foo.html"),
    *("/e/a/index.html", "/e/d", "/e/doh.html", "/f/index.html", "/f/"),
)
NUTCH_E, NUTCH_FOO = ("/e/d/foo.html",), ("/foo/bar/baz.html",)
HERITRIX = (
    "User-agent: *\nDisallow: /cgi-bin/\nDisallow: /details/software\n\nUser-agent: denybot\n"
    "Disallow: /\n\nUser-agent: allowbot1\nDisallow: \n\nUser-agent: allowbot2\nDisallow: /foo\n"
    "Allow: /\n\nUser-agent: delaybot\nDisallow: /\nCrawl-Delay: 20\nAllow: /images/\n"
)
HTML = (
    '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN"><HTML>\n<HEAD>\n<TITLE>/robots.txt'
    "</TITLE>\n</HEAD>\n<BODY>\nUser-agent: mybot<BR>\nDisallow: <BR>\nCrawl-Delay: 10<BR>\n\n"
    "User-agent: *<BR>\nDisallow: /<BR>\nCrawl-Delay: 30<BR>\n\n</BODY>\n</HTML>\n"
)
SHUT_ALL = "User-agent: *\r\nDisallow: /"
STAR = "User-agent: *\r\n"
INDEX = "Disallow: /index.html\r\nAllow: /\r\n"
ONE_TWO = "User-agent: One, Two, Three\r\nDisallow: /\r\n\r\nUser-agent: *\r\nAllow: /\r\n"
KRUGLE = (
    "User-agent: *\rDisallow: /maintenance.html\rDisallow: /perl/\rDisallow: /cgi-bin/\r"
    "Disallow: /examples/\rCrawl-delay: 3\r\rUser-agent: googlebot\rCrawl-delay: 1\r\r"
    "User-agent: qihoobot\rDisallow: /"
)
DELAYS = (
    "User-Agent: bingbot\r\nCrawl-delay: 1\r\n\r\nUser-Agent: msnbot\r\nCrawl-delay: 2\r\n\r\n"
    "User-Agent: pinterestbot\r\nCrawl-delay: 0.2\r\n\r\nUser-agent: *\r\nDisallow: /login\r\n"
    "Sitemap: http://www.example.com/sitemap.xml\r\nDisallow: /assets/"
)
BIXO = "User-agent: bixo\rCrawl-delay: 10\rUser-agent: foobot\rCrawl-delay: 20\r"
BIXO_END = "User-agent: *\rDisallow:/baz\r"
MERGED_DELAYS = (
    "User-agent: mybot\nCrawl-delay: 10\nUser-agent: yourbot\nDisallow: /private/  # both\n\n"
    "User-agent: *\nAllow: /\n\nUser-agent: yourbot\nDisallow: /login/\n\n"
    "User-agent: *\nCrawl-delay: 30\n"
)
MERGED_OTHERS = (
    "Content-Signal: search=yes,ai-train=yes,ai-input=yes\n\nUser-agent: *\nAllow: /llms.txt\n"
    "Visit-time: 0600-0845\n\nUser-agent: mybot\nRequest-rate: 10/1m\nUser-agent: yourbot\n"
    "Disallow: /private/\n\nUser-agent: *\nDisallow: /\n\nUser-agent: mybot\n"
    "Clean-Param: utm_source /\n\nUser-agent: yourbot\nDisallow: /login/\n\nUser-agent: *\n"
    "Request-rate: 30/1m\n"
)
SIMPLE = (
    "User-Agent: *\nDisallow: *.gif$\nDisallow: /example/\nAllow: /publications/\n\n"
    "User-Agent: foobot\nDisallow:/\nAllow:/example/page.html\nAllow:/example/allowed.gif\n\n"
    "User-Agent: barbot\nUser-Agent: bazbot\nDisallow: /example/page.html\n\nUser-Agent: quxbot"
)
MERGING = (
    "user-agent: ExampleBot\ndisallow: /foo\ndisallow: /bar\n\nuser-agent: ExampleBot\n"
    "disallow: /baz\n\nuser-agent: *\ndisallow: /foo\ndisallow: /bar\n\n"
    "user-agent: BazBot\ndisallow: /baz"
)
PRECEDENCE = (
    "User-Agent: testy\nDisallow: /foo\n\nUser-Agent: wget\nAllow: /\nAllow: /foo\n"
    "Allow: /index.html\nDisallow: /*\n\nUser-Agent: testy\nAllow: /foo/bar\nDisallow: /foo/b*\n"
)
MERGE = (
    "User-Agent: testy\nDisallow: /\n\nUser-Agent: curl\nDisallow: /\n\nUser-Agent: wget\n"
    "Allow: /foo/bar\n\nUser-Agent: *\nUser-Agent: wget\nDisallow: /foo/bar\n"
    "Disallow: /tmp/bar\nAllow: /ckh/bar\n"
)
BUTTERFLY = (
    "User-agent: Mozilla/5.0 (compatible; Butterfly/1.0; +http://labs.topsy.com/butterfly/) "
    "Gecko/2009032608 Firefox/3.0.8\nDisallow: /"
)
BUECHER = (
    STAR + "Disallow: /bücher/\r\nDisallow: /k%C3%B6nyvek/\r\n\r\nUser-agent: GoodBot\r\nAllow: /"
)

# Which rule, alone in its file, denies which path, and which not.
ESCAPED = [
    ("/*%20", ("/foobar%20/",), ("/", "/foobar/")),
    ("/*%2F*", ("/topic/9%2F11/index.html",), ("/path/index.html",)),
    ("/topic/9%2F11/", ("/topic/9%2F11/index.html", "/topic/9%2f11/index.html"), ()),
    ("/q?*mime=application%2Fpdf", ("/q?mime=application%2Fpdf",), ()),
    ("/$", ("/",), ("/foobar",)),
    ("/%24", ("/%24100", "/$100"), ("/",)),
    ("/search/%2A/", ("/search/%2A/", "/search/%2a/"), ("/search/foobar/",)),
    ("/search/%2a/", ("/search/%2a/", "/search/*/"), ()),
    ("/search/*/", ("/search/foobar/",), ()),
    ("/foo/bar?baz=quz", ("/foo/bar?baz=quz",), ()),
    ("/foo/bar?baz=https://foo.bar", ("/foo/bar?baz=https://foo.bar",), ()),
    ("/foo/bar?baz=https%3A%2F%2Ffoo.bar", ("/foo/bar?baz=https%3A%2F%2Ffoo.bar",), ()),
    ("/foo/bar/\u30c4", ("/foo/bar/%E3%83%84",), ()),
    ("/foo/bar/%E3%83%84", ("/foo/bar/%E3%83%84",), ()),
    ("/foo/bar/%62%61%7A", ("/foo/bar/baz",), ()),
    ("/p/a-%2A.html", ("/p/a-*.html", "/p/a-%2A.html"), ("/p/a-foo.html",)),
    ("/path/foo-%24", ("/path/foo-$", "/path/foo-%24"), ("/path/foo-",)),
    ("/index.cfm?f=s.r*", ("/index.cfm?f=s.r&type=People&qry=california&pg=2",), ()),
    *(
        (
            rule,
            (
                *("/fish", "/fish.html", "/fish/salmon.html", "/fishheads"),
                *("/fishheads/yummy.html", "/fish.php?id=anything"),
            ),
            ("/Fish.asp", "/catfish", "/?id=fish", "/fis"),
        )
        for rule in ("/fish", "/fish*")
    ),
    (
        "/fish/",
        ("/fish/", "/fish/?id=anything", "/fish/salmon.htm"),
        ("/fish", "/fish.html", "/Fish/Salmon.asp"),
    ),
    (
        "/*.php",
        (
            *("/filename.php", "/folder/filename.php", "/folder/filename.php?parameters"),
            *("/folder/any.php.file.html", "/filename.php/"),
        ),
        ("/", "/windows.PHP"),
    ),
    (
        "/*.php$",
        ("/filename.php", "/folder/filename.php"),
        ("/filename.php?parameters", "/filename.php/", "/filename.php5", "/windows.PHP"),
    ),
    ("/fish*.php", ("/fish.php", "/fishheads/catfish.php?parameters"), ("/Fish.PHP",)),
    (
        "/*fish*.php",
        ("/fish.php", "/superfishheads/catfish.php?parameters"),
        ("/fishheads/catfish.htm",),
    ),
]

CRAWLER_COMMONS = [
    Case("", "anybot", ("/anypage.html",)),
    *(
        Case(f"{STAR}Disallow: {rule}{rest}", "mybot", allowed, denied)
        for rule, denied, allowed in ESCAPED
        for rest in ("\r\n", "\r\nAllow: /")
    ),
    Case("#user-agent: t\n\n#allow: /index.html\n#disallow: /test\n", "anybot", ("/anypage.html",)),
    Case(SHUT_ALL, "any-darn-crawler", ("/robots.txt",), ("", "/", "/?q=a")),
    Case(
        f"User-agent: crawler1\r\n{INDEX}\r\nUser-agent: crawler2\r\nDisallow: /", "crawler3"
    )._replace(allowed=("/anypage.html", "/index.html")),
    Case("User-agent: * # \u00a2 \u20b5\r\nDisallow:", "anybot", ("/anypage.html",)),
    Case(BUECHER, "mybot", ("/",))._replace(
        denied=("/b%C3%BCcher/1", "/bücher/2", "/k%C3%B6nyvek/1", "/könyvek/2")
    ),
    Case(FICT, "WebCrawler/3.0", ("/", "/index.html")),
    *(
        Case(robots, "Unknown/1.0", ("/robots.txt", *FICT_OPEN), FICT_SHUT)
        for robots in (FICT, FICT_CRLF)
    ),
    Case(FICT_CRLF, "UnhipBot/0.1", ("/robots.txt",), (*FICT_OPEN, *FICT_SHUT)),
    Case(FICT_CRLF, "WebCrawler/3.0", ("/robots.txt", *FICT_OPEN, *FICT_SHUT)),
    Case(FICT_CRLF, "Excite/1.0", ("/robots.txt", *FICT_OPEN, *FICT_SHUT)),
    Case(NUTCH, "Agent1", (*NUTCH_OPEN, *NUTCH_D, *NUTCH_E, *NUTCH_FOO), NUTCH_A),
    *(
        Case(NUTCH, agent, (*NUTCH_OPEN, *NUTCH_A, *NUTCH_FOO), (*NUTCH_D, *NUTCH_E))
        for agent in ("Agent2", "Agent4")
    ),
    Case(NUTCH, "Agent5", (*NUTCH_OPEN, *NUTCH_A, *NUTCH_D, *NUTCH_E), NUTCH_FOO),
    Case(HTML, "mybot", ("/index.html",)),
    Case(HTML, "bogusbot", (), ("/index.html",)),
    Case("<HTML><HEAD><TITLE>Site under Maintenance</TITLE></HTML>", "anybot", ("/",)),
    Case(HERITRIX, "allowbot1", ("/path", "/")),
    Case(HERITRIX, "Mozilla allowbot1 99.9", ("/path", "/")),
    Case(HERITRIX, "allowbot2", ("/path", "/"), ("/foo",)),
    Case(HERITRIX, "denybot", (), ("/path", "/")),
    Case(HERITRIX, "Mozilla anonbot 99.9", ("/path",), ("/cgi-bin/foo.pl",)),
    Case(f"{STAR}Allow: /AnyPage.html\nAllow: /somepage.html\nDisallow: /", "anybot")._replace(
        allowed=("/AnyPage.html", "/somepage.html"), denied=("/anypage.html", "/SomePage.html")
    ),
    *(Case(STAR + empty, "anybot", ("/anypage.html",)) for empty in ("Disallow:", "Allow:")),
    *(
        Case(f"{STAR}Disallow: /no/\r\nAllow: /yes/\r\n{group}Disallow: ", "anybot")._replace(
            allowed=("/", "/anypage.html", "/yes/index.html"), denied=("/no/index.html",)
        )
        for group in ("", STAR)
    ),
    *(
        Case(f"User-agent: {one}\r\n{INDEX}\r\nUser-agent: {other}\r\nDisallow: /", agent)._replace(
            allowed=("/anypage.html",), denied=("/index.html",)
        )
        for one, other, agent in (("*", "*", "anybot"), ("crawlerbot", "crawler", "crawlerbot"))
    ),
    *(
        Case(f"User-agent: {name}\r\n{INDEX}", "foo", ("/anypage.html",), ("/index.html",))
        for name in ("foo/1.2", "foo bar")
    ),
    Case(
        f"User-agent: crawler1\r\n{INDEX}newfield: 234\r\nUser-agent: crawler2\r\nDisallow: /",
        "crawler2",
        (),
        ("/anypage.html",),
    ),
    *(
        Case(KRUGLE, agent, (), ("/", "/examples/index.html"))
        for agent in ("googlebot/2.1", "googlebot", "qihoobot")
    ),
    Case(KRUGLE, "anybot", ("/",), ("/examples/index.html",)),
    *(
        Case(DELAYS, agent, ("/",), ("/login", "/assets/"))
        for agent in ("bingbot", "msnbot", "anybot")
    ),
    *(
        Case(f"User-agent: bot1\n{typo}: /x/\n", "bot1", ("/y",), ("/x/",))
        for typo in ("Desallow", "Dissalow", "Dssalow", "Dsallow", "Disallow ", "Disalow")
    ),
    *(
        Case(f"{typo} bot1\nDisallow: /x/\n", "bot1", ("/y",), ("/x/",))
        for typo in ("Useragent:", "Useg-agent:", "Ser-agent:", "User agent:", "User-agent :")
    ),
    Case("User-agent bot1\nDisallow /x/\n", "bot1", ("/y",), ("/x/",)),
    Case(MERGE, "wget", ("/foo/bar/bar.txt", "/chk/bar/bar.txt"), ("/tmp/bar/bar.txt",)),
    Case(PRECEDENCE, "wget", ("/", "/foo/bar"), ("/bar/foo",)),
    Case(PRECEDENCE, "testy", ("/", "/foo/bar"), ("/foo/blue", "/foo/", "/foo/tar")),
    Case(
        f"{STAR}Disallow: /wishlist/\nAllow: /wishlist/universal*\nDisallow: /*/gcrnsts\n", "anybot"
    )._replace(
        allowed=("/wishlist/universal/page",),
        denied=("/wishlist/bogus", "/anydirectoryhere/gcrnsts"),
    ),
    Case(f"{STAR}Disallow: /fish\r\nAllow: /fish\r\n", "anybot", ("/fish",)),
    Case(ONE_TWO, "One", (), ("/fish",)),
    Case(ONE_TWO, "anybot", ("/fish",)),
    *(
        case
        for groups in (
            ("User-agent: crawlerbot\nDisallow: /foo/bar\n", "User-agent: crawler\nAllow: /\n"),
            ("User-agent: crawler\nAllow: /\n", "User-agent: crawlerbot\nDisallow: /foo/bar\n"),
        )
        for case in (
            Case("\n".join(groups), "crawlerbot", (), ("/foo/bar",)),
            Case("\n".join(groups), "crawler", ("/foo/bar",)),
        )
    ),
    Case(BUTTERFLY, "butterfly", ("/",)),
    Case(SIMPLE, "foobot", ("/example/page.html", "/example/allowed.gif"))._replace(
        denied=("/", "/path/index.html")
    ),
    *(Case(SIMPLE, agent, ("/",), ("/example/page.html",)) for agent in ("barbot", "bazbot")),
    Case(SIMPLE, "quxbot", ("/", "/example/page.html")),
    Case(SIMPLE, "anyotherbot", ("/publications/doc1.html", "/"))._replace(
        denied=("/example/page.html", "/example.gif")
    ),
    Case(MERGING, "examplebot", ("/",), ("/foo", "/bar", "/baz")),
    Case(MERGING, "anyotherbot", ("/", "/baz"), ("/foo", "/bar")),
    Case(MERGING, "bazbot", ("/", "/foo", "/bar"), ("/baz",)),
    *(
        Case(
            f"{STAR}Allow: /allowed/\r\nDisallow: /\r\nUser-agent: allowedbot\r\nAllow: /", agent
        )._replace(allowed=("/allowed/page.html",), denied=("/",))
        for agent in ("", "anybot")
    ),
    Case(f"{STAR}Allow: /\r\nUser-agent: anybot\r\nDisallow: /search", "foobot", ("/search",)),
    Case(
        f"{STAR}Allow: /\r\nUser-agent: anybot\r\nDisallow: /search", "anybot", ("/home",)
    )._replace(denied=("/search",)),
    Case(MERGED_DELAYS, "mybot", ("/login/", "/"), ("/private/",)),
    Case(MERGED_DELAYS, "yourbot", ("/",), ("/private/", "/login/")),
    Case(MERGED_DELAYS, "anyotherbot", ("/private/", "/login/", "/")),
    *(
        Case(MERGED_OTHERS, agent, ("/",), ("/private/", "/login/"))
        for agent in ("mybot", "yourbot")
    ),
    Case(MERGED_OTHERS, "anyotherbot", ("/llms.txt",), ("/private/", "/login/", "/")),
    Case(
        f"{STAR}Disallow: /private/\r\nAllow: /private/public.html\r\nLLM-Policy: /llms.txt", "any"
    )._replace(allowed=("/private/public.html", "/other.html"), denied=("/private/secret.html",)),
    Case(
        f"{STAR}Request-rate: 1/10m\r\nDisallow: /wild/\r\n\r\nUser-agent: mybot\r\n", "mybot"
    )._replace(allowed=("/wild/",)),
]


class Delay(NamedTuple):
    """The Crawl-delay that one file asks of one agent."""

    robots: str
    agent: str
    seconds: float | None


CRAWL_DELAYS = [
    Delay(HTML, "mybot", 10),
    Delay(HTML, "bogusbot", 30),
    Delay(HERITRIX, "denybot", None),
    Delay(HERITRIX, "delaybot", 20),
    Delay(BIXO + BIXO_END, "bixo", 10),
    Delay(BIXO.partition("10\r")[2] + BIXO_END, "bixo", None),
    Delay(KRUGLE, "googlebot/2.1", 1),
    Delay(KRUGLE, "googlebot", 1),
    Delay(KRUGLE, "qihoobot", None),
    Delay(KRUGLE, "anybot", 3),
    Delay(DELAYS, "bingbot", 1),
    Delay(DELAYS, "msnbot", 2),
    Delay(DELAYS, "anybot", None),
    Delay("User-agent: *\rCrawl-delay: 0.5\rDisallow:\r", "bixo", 0.5),
    Delay(MERGED_DELAYS, "mybot", 10),
    Delay(MERGED_DELAYS, "yourbot", None),
    Delay(MERGED_DELAYS, "anyotherbot", 30),
]
