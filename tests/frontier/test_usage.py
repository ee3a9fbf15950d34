"""frontier.usage: which usage lines of a robots.txt hold for a path."""

from __future__ import annotations

import pytest

from frontier.robots import parse
from frontier.usage import applying

# The example of draft-ietf-aipref-attach-05, 3.4, and what it says of it.
EXAMPLE = b"""User-Agent: *
Allow: /
Disallow: /never/
Content-Usage: train-ai=n
Content-Usage: /ai-ok/ train-ai=y

User-Agent: ExampleBot
Allow: /
Content-Usage: train-ai=y
"""


def said(body: bytes, path: str, agent: str = "comity") -> list[str]:
    return [statement for _, statement in applying(parse(body).usage_for(agent), path)]


@pytest.mark.parametrize(
    ("agent", "path", "found"),
    [
        ("comity", "/test", ["train-ai=n"]),
        ("comity", "/ai-ok/test", ["train-ai=y"]),
        ("ExampleBot", "/test", ["train-ai=y"]),
        ("ExampleBot", "/ai-ok/test", ["train-ai=y"]),
    ],
)
def test_the_example_of_the_draft(agent: str, path: str, found: list[str]) -> None:
    assert said(EXAMPLE, path, agent) == found


@pytest.mark.parametrize(
    ("lines", "path", "found"),
    [
        (["/a train-ai=n", "/a/b search=n"], "/a/b/c", ["search=n"]),
        (["/a train-ai=n", "/a search=n"], "/a/x", ["train-ai=n", "search=n"]),
        (["/a train-ai=n"], "/b", []),
        (["/*.pdf$ train-ai=n", "search=y"], "/x/y.pdf", ["train-ai=n"]),
        (["/*.pdf$ train-ai=n", "search=y"], "/x/y.pdf?z", ["search=y"]),
        (["/t%C3%BCr\ttrain-ai=n"], "/t%c3%bcr/1", ["train-ai=n"]),
        (["/tür train-ai=n"], "/t%C3%BCr", ["train-ai=n"]),
        (["/a", "train-ai=n"], "/a", [""]),  # the longest line says nothing
        (["train-ai=n", "train-ai=y"], "/", ["train-ai=n", "train-ai=y"]),
    ],
)
def test_the_longest_path_holds(lines: list[str], path: str, found: list[str]) -> None:
    body = "User-agent: *\n" + "".join(f"Content-Usage: {line}\n" for line in lines)
    assert said(body.encode(), path) == found


def test_each_kind_of_line_has_its_own_longest() -> None:
    body = (
        b"License: https://a.example/license.xml\nUser-agent: *\n"
        b"Content-Signal: search=yes, ai-train=no\nContent-Usage: /a train-ai=y\n"
    )
    assert said(body, "/a/b") == [
        "https://a.example/license.xml",
        "search=yes, ai-train=no",
        "train-ai=y",
    ]
