"""Which usage lines of a robots.txt hold for a path (draft-ietf-aipref-attach-05, 3.1). Pure.

A line whose value begins with a slash is about a path, matched as Allow and Disallow are; one
without speaks of all paths that no longer one matches. Of lines with one path, each holds. The
draft defines this for Content-Usage; Content-Signal lines with a path are read alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from frontier.robots import UsageLine
from frontier.rules import Matcher, Rule


def applying(lines: Iterable[UsageLine], path: str) -> list[tuple[UsageLine, str]]:
    """The lines that hold for ``path`` (path and query of a URL), each with its statement.

    ``lines`` are those of one agent (``Robots.usage_for``); their order is kept.
    """
    found: list[tuple[UsageLine, str]] = []
    ordered = sorted(lines, key=lambda line: line.name)
    for _, named in groupby(ordered, key=lambda line: line.name):
        found.extend(_longest([_split(line) for line in named], path))
    return sorted(found, key=lambda pair: pair[0].line)


def _split(line: UsageLine) -> tuple[UsageLine, str, str]:
    """The line, its path ("" for none) and its statement."""
    if not line.value.startswith("/") or line.name == "license":
        return line, "", line.value
    path, *statement = line.value.split(None, 1)
    return line, path, "".join(statement)


def _longest(split: list[tuple[UsageLine, str, str]], path: str) -> list[tuple[UsageLine, str]]:
    rules = [Rule(about.encode(), True, line.line) for line, about, _ in split if about]
    decides = (Matcher(rules).verdict(path).rule or "") if rules else ""
    return [(line, statement) for line, about, statement in split if about == decides]
