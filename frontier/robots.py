"""robots.txt: RFC 9309, with Google's reading where the RFC is silent.

Pure: bytes in, verdicts out. Keeps:
- parsing never raises, whatever the bytes, and reads no more than the first 500 KiB (RFC 2.5);
- groups merge, and nothing but a rule ends one's run of user-agent lines (RFC 2.2.1, 2.2.4).

Beyond the RFC, each with a test: Crawl-delay, Sitemap, usage lines (Content-Usage, Content-Signal,
License), the typos Google and crawler-commons forgive, HTML around the rules, UTF-16 with a BOM.
Parsing only sorts lines into groups; the rules of a group are compiled when first asked for, so a
cached body is cheap to parse again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from frontier.rules import ALLOWED, Matcher, RobotsVerdict, Rule
from frontier.url import InvalidUrl
from frontier.url import parse as parse_url

MAX_BODY: Final = 500 * 1024  # octets; RFC 9309 2.5 asks for at least this much
MAX_LINE: Final = 2_083 * 8 - 1  # octets; Google reads no further into a line
MAX_CRAWL_DELAY: Final = 1e9  # seconds; absurd values stay finite

ROBOTS_PATH: Final = "/robots.txt"


@dataclass(frozen=True, slots=True)
class UsageLine:
    """One line about the use of content, as written; its meaning is not judged here."""

    name: str  # content-usage | content-signal | license
    value: str  # raw, comments and outer blanks removed
    line: int  # its number in the file, from 1
    agents: tuple[str, ...]  # lower-case product tokens of its group ("*": all); (): global


@dataclass(slots=True)
class _Group:
    """Rules under one run of user-agent lines."""

    agents: list[str] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    used: bool = False  # an allow or disallow line ended its run of user-agent lines


class Robots:
    """The parsed file; ask it for verdicts."""

    def __init__(
        self,
        groups: Iterable[_Group] = (),
        delays: dict[str, float] | None = None,
        sitemaps: tuple[str, ...] = (),
        usage: tuple[UsageLine, ...] = (),
        *,
        complete_disallow: bool = False,
    ) -> None:
        self.sitemaps = sitemaps  # values of Sitemap lines as written, in order, once each
        self.usage = usage  # usage lines of all groups, in order
        self._complete_disallow = complete_disallow
        self._delays = delays or {}
        self._matchers: dict[str, Matcher] = {}
        self._groups: dict[str, list[_Group]] = {}
        for group in groups:
            for agent in dict.fromkeys(group.agents):
                self._groups.setdefault(agent, []).append(group)

    def verdict(self, agent: str, path: str) -> RobotsVerdict:
        """Decide on ``path`` (path and query of a URL) for a product token like ``comity``.

        A version or comment after a slash in ``agent`` is ignored. The longest matching rule
        decides, allow wins ties, no match allows (RFC 9309 2.2.2).
        """
        if path == ROBOTS_PATH:
            return ALLOWED
        if self._complete_disallow:
            return _DENIED
        key = self._group_key(agent)
        if key is None:
            return ALLOWED
        matcher = self._matchers.get(key)
        if matcher is None:
            rules = [rule for group in self._groups[key] for rule in group.rules]
            matcher = self._matchers[key] = Matcher(rules)
        return matcher.verdict(path)

    def crawl_delay(self, agent: str) -> float | None:
        """Seconds that the agent's group asks for, the longest if several; None: does not say."""
        key = self._group_key(agent)
        return None if key is None else self._delays.get(key)

    def usage_for(self, agent: str) -> tuple[UsageLine, ...]:
        """The usage lines that concern an agent: its group's and the global ones."""
        key = self._group_key(agent)
        # Lines of one run share their agents: each run is looked through once.
        runs = {id(line.agents): line.agents for line in self.usage}
        ours = {run for run, agents in runs.items() if not agents or key in agents}
        return tuple(line for line in self.usage if id(line.agents) in ours)

    def _group_key(self, agent: str) -> str | None:
        token = agent.partition("/")[0].strip().lower()
        if token != "*" and token in self._groups:  # noqa: S105
            return token
        return "*" if "*" in self._groups else None


_DENIED: Final = RobotsVerdict(allowed=False)
ALLOW_ALL: Final = Robots()  # robots.txt is unavailable (4xx): RFC 9309 2.3.1.3
DISALLOW_ALL: Final = Robots(complete_disallow=True)  # unreachable: RFC 9309 2.3.1.4


def path_of(url: str) -> str:
    """The path to ask about, from any spelling of a URL: ``/`` where there is none to be found.

    For people's and tests' input; a crawled URL has its path already (``Url.path``). What is no
    http(s) URL is cut as Google's parser does it.
    """
    try:
        return parse_url(url, max_length=MAX_BODY).path
    except InvalidUrl:
        bare = url.partition("#")[0].removeprefix("//")
        scheme = _SCHEME.match(bare)
        start = _PATH.search(bare, scheme.end() if scheme else 0)
        path = bare[start.start() :] if start else "/"
        return path if path.startswith("/") else "/" + path


_SCHEME: Final = re.compile(r"[^/?;]*?://")
_PATH: Final = re.compile(r"[/?;]")

# Parsing.

_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_HTML: Final = re.compile(rb"<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_TAG: Final = re.compile(rb"<[^<>\r\n]*>")
# How a field may begin: Google's list, then what crawler-commons forgives besides.
_FIELDS: Final = (
    ("agent", (b"user-agent", b"useragent", b"user agent", b"useg-agent", b"ser-agent")),
    ("allow", (b"allow",)),
    (
        "disallow",
        (
            *(b"disallow", b"dissallow", b"dissalow", b"disalow", b"diasllow", b"disallaw"),
            *(b"desallow", b"dssalow", b"dsallow"),
        ),
    ),
    ("sitemap", (b"sitemap", b"site-map")),
    ("delay", (b"crawl-delay", b"crawl delay", b"crawldelay")),
    ("content-usage", (b"content-usage",)),
    ("content-signal", (b"content-signal",)),
    ("license", (b"license",)),
)
_TOKEN: Final = re.compile(rb"[A-Za-z_-]*")  # RFC 9309 2.2.1
_LONG_TOKEN: Final = re.compile(rb"[A-Za-z0-9_.-]*")  # what sites write: bot1, bot-2.0
_SECONDS: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:s|secs?|seconds?)?", re.IGNORECASE)


def parse(body: bytes) -> Robots:
    """Parse the body of a robots.txt; anything at all gives a (perhaps empty) Robots."""
    parser = _Parser()
    for number, line in enumerate(_lines(body), 1):
        name, value = _field(line)
        if name is not None:
            parser.feed(name, value, number)
    sitemaps = tuple(dict.fromkeys(parser.sitemaps))
    return Robots(parser.groups, parser.delays(), sitemaps, tuple(parser.usage))


@dataclass(slots=True)
class _Run:
    """Agents named without a line of another kind between them.

    A Crawl-delay or a usage line speaks for those of the last run only. Such lines do not end a
    group of rules (RFC 9309 2.2.4), but "a: 10 s, b: 20 s" must not give b's delay to a.
    """

    agents: tuple[str, ...] = ()
    delay: float | None = None  # seconds; the longest named


class _Parser:
    """Sorts fields into groups; what it does for a line does not grow with the lines before it."""

    def __init__(self) -> None:
        self.groups: list[_Group] = []
        self.sitemaps: list[str] = []
        self.usage: list[UsageLine] = []
        self._group: _Group | None = None
        self._runs: list[_Run] = []
        self._run = _Run()
        self._named: list[str] = []  # since the last line of another kind
        self._naming = False  # the last line named an agent

    def feed(self, name: str, value: bytes, line: int) -> None:
        if name == "agent":
            self._agent(value)
            return
        if self._naming:
            self._run = _Run(tuple(dict.fromkeys(self._named)))
            self._runs.append(self._run)
            self._named, self._naming = [], False
        if name in ("allow", "disallow"):
            if self._group is not None:
                self._group.used = True
                if value:  # an empty rule matches nothing
                    self._group.rules.append(Rule(value, name == "allow", line))
        elif name == "sitemap":
            if value:
                self.sitemaps.append(_text(value))
        elif name == "delay":
            self._delay(value)
        elif value:
            self.usage.append(UsageLine(name, _text(value), line, self._run.agents))

    def delays(self) -> dict[str, float]:
        """Seconds by agent."""
        delays: dict[str, float] = {}
        for run in self._runs:
            if run.delay is not None:
                for agent in run.agents:
                    delays[agent] = max(run.delay, delays.get(agent, 0.0))
        return delays

    def _agent(self, value: bytes) -> None:
        if self._group is None or self._group.used:
            self._group = _Group()
            self.groups.append(self._group)
        self._naming = True
        for agent in _agents(value):
            self._group.agents.append(agent)
            self._named.append(agent)

    def _delay(self, value: bytes) -> None:
        seconds = _SECONDS.fullmatch(_text(value))
        if seconds:
            delay = min(float(seconds[1]), MAX_CRAWL_DELAY)
            self._run.delay = max(delay, self._run.delay or 0.0)


def _lines(body: bytes) -> list[bytes]:
    """The lines to read, without what is no part of the rules."""
    encoding = _UTF16.get(body[:2])
    if encoding:
        body = body[2 : MAX_BODY + 2].decode(encoding, "replace").encode()
    for size in (3, 2, 1):  # half a byte order mark is as meaningless as a whole one
        if body.startswith(_BOM[:size]):
            body = body[size:]
            break
    if len(body) > MAX_BODY:
        body = body[:MAX_BODY]
        body = body[: max(body.rfind(b"\n"), body.rfind(b"\r")) + 1]
    if _HTML.search(body):
        body = _TAG.sub(b"", body)
    return body.splitlines()


def _field(line: bytes) -> tuple[str | None, bytes]:
    """The kind of a line and its value; None for lines to ignore."""
    line = line[:MAX_LINE].partition(b"#")[0].strip()
    name, colon, value = line.partition(b":")
    words = name.split()
    if not colon:
        # Google: a forgotten colon is plain where there are exactly two words.
        if len(words) != 2:
            return None, b""
        name, value = words
    elif value.startswith(b"//") and len(words) == 2:
        # ... and plain, too, where the first colon is the URL's own.
        name, value = words[0], words[1] + b":" + value
    return _kind(name.strip().lower()), value.strip()


def _kind(name: bytes) -> str | None:
    for kind, starts in _FIELDS:
        if name.startswith(starts):
            return kind
    return None


def _agents(value: bytes) -> Iterator[str]:
    """The names under which a user-agent line is found, lower case."""
    if value[:1] == b"*" and (len(value) == 1 or value[1:2].isspace()):
        yield "*"
        return
    # Google stops at the first character that no product token may hold; crawlers with a digit in
    # their name are still to be found under all of it.
    token = _TOKEN.match(value)
    longer = _LONG_TOKEN.match(value)
    for match in (token, longer):
        if match and match[0] and not (match is longer and token and longer[0] == token[0]):
            yield match[0].decode("ascii").lower()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
