"""The hand-written verdicts against a small reading of RFC 9309, made for this test alone."""

import re
from urllib.parse import quote

import pytest

from crawler.demo.build import build
from crawler.demo.model import Raw
from crawler.demo.robots_files import BY_NAME, KINDS, RobotsKind

LIMIT = 500 * 1024


def rules(text: str, agent: str) -> list[tuple[str, str]]:
    """Rules of the groups for an agent, else of those for ``*`` (RFC 9309 2.2.1)."""
    groups: dict[str, list[tuple[str, str]]] = {}
    agents: list[str] = []
    reading_agents = False
    for line in re.split(r"\r\n|\r|\n", text):
        key, _, value = (part.strip() for part in line.partition("#")[0].partition(":"))
        if key.lower() == "user-agent":
            agents = [*agents, value.lower()] if reading_agents else [value.lower()]
            reading_agents = True
            groups.setdefault(value.lower(), [])
        elif key.lower() in ("allow", "disallow"):
            reading_agents = False
            for name in agents:
                groups[name].append((key.lower(), value))
    return groups.get(agent, groups.get("*", []))


def allowed(text: str, agent: str, path: str) -> bool:
    """Longest match wins, allow wins ties (RFC 9309 2.2.2)."""
    best, verdict = -1, True
    for kind, rule in rules(text, agent):
        escaped = quote(rule, safe="/?=*$%<>")
        pattern = re.escape(escaped.removesuffix("$")).replace(r"\*", ".*")
        pattern += "$" if escaped.endswith("$") else ""
        matches = rule and re.match(pattern, path, re.IGNORECASE if "%" in escaped else 0)
        if matches and (len(escaped), kind == "allow") > (best, verdict):
            best, verdict = len(escaped), kind == "allow"
    return verdict


def read(kind: RobotsKind) -> str:
    return kind.text.replace("{padding}", "#" * (LIMIT + 1) + "\n")[:LIMIT]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_verdicts_are_what_the_rules_say(kind: RobotsKind) -> None:
    text = read(kind) if kind.answer.status == 200 else ""
    assert allowed(text, "comity", "/ordinary-page-3.html") is kind.allowed
    assert allowed(text, "otherbot", "/ordinary-page-3.html") is kind.allowed_others
    for probe in kind.probes:
        assert allowed(text, "comity", probe.path) is probe.allowed, probe.path
        assert allowed(text, "otherbot", probe.path) is probe.allowed_others, probe.path


@pytest.mark.parametrize("size", ["small", "default"])
def test_no_page_is_touched_by_a_rule_that_is_not_about_it(size: str) -> None:
    web = build(5, size)
    for host in web.hosts.values():
        file = host.pages.get("/robots.txt")
        kind = BY_NAME[host.robots]
        if file is None or file.answer.status >= 400:
            continue
        text = read(kind)
        for page in host.pages.values():
            if page.kind == "page":
                assert allowed(text, "comity", page.path) is page.allowed, page.path
                assert allowed(text, "otherbot", page.path) is page.allowed_others, page.path


def test_every_kind_stands_on_at_least_one_host() -> None:
    for seed in range(3):
        kinds = {host.robots for host in build(seed, "small").hosts.values()}
        assert kinds == set(BY_NAME)


def test_the_large_file_is_larger_than_what_is_read_of_it() -> None:
    kind = BY_NAME["big"]
    assert kind.padding > LIMIT
    before, _, after = kind.text.partition("{padding}")
    assert "/early/" in before
    assert "/late/" in after


def test_redirects_end_at_the_rules() -> None:
    web = build(1, "small")
    for host in web.hosts.values():
        here, path = host.name, "/robots.txt"
        for stop in host.robots_chain:
            page = web.page(here, path)
            assert page is not None
            assert page.answer.location is not None
            assert (page.answer.location.host, page.answer.location.path) == (stop.host, stop.path)
            here, path = stop.host, stop.path
        final = web.page(here, path)
        assert final is not None
        assert isinstance(final.content, Raw)
    assert max(len(host.robots_chain) for host in web.hosts.values()) == 5
