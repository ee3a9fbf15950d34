"""frontier.blocks: what a target covers, and the list in the frontier."""

from __future__ import annotations

import pytest

from frontier import blocks
from frontier.blocks import Block, BlockList, canonical
from frontier.client import Frontier
from frontier.url import InvalidUrl, parse


def listed(*targets: str) -> BlockList:
    return BlockList(Block(canonical(t), "me", 1.0, "asked") for t in targets)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Example.ORG", "example.org"),
        ("https://example.org/", "example.org"),
        ("http://bücher.example", "xn--bcher-kva.example"),
        ("example.org:8080", "example.org:8080"),
        ("*.Example.org", "*.example.org"),
        ("https://example.org/a b?q", "example.org/a%20b?q"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("http://0300.0.2.7/", "192.0.2.7"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("192.0.2.7/private/", "192.0.2.7/private/"),
    ],
)
def test_targets_have_one_form(text: str, target: str) -> None:
    assert canonical(text) == target
    assert canonical(target) == target


@pytest.mark.parametrize("text", ["", "*", "*.", "a.*.org", "*.example.org/x", "*.a.org:8", "a b"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(InvalidUrl):
        canonical(text)


@pytest.mark.parametrize(
    ("target", "covered", "free"),
    [
        (
            "example.org",
            ["http://example.org/x", "https://example.org:8443/"],
            ["http://www.example.org/", "http://example.org.evil/", "http://xexample.org/"],
        ),
        ("example.org:8080", ["http://example.org:8080/"], ["http://example.org/"]),
        (
            "*.example.org",
            ["http://example.org/", "https://a.b.example.org:81/"],
            ["http://xexample.org/", "http://org/"],
        ),
        (
            "example.org/members",
            ["http://example.org/members", "https://example.org/members/1?x", "http://example.org:81/members"],
            ["http://example.org/", "http://example.org/Members", "http://a.example.org/members"],
        ),
        ("192.0.2.0/24", ["http://192.0.2.9/", "http://[::ffff:192.0.2.9]/"], ["http://192.0.3.1/"]),
        ("2001:db8::/32", ["http://[2001:db8:1::1]:81/"], ["http://[2001:db9::]/", "http://32.1.13.184/"]),
    ],
)  # fmt: skip
def test_what_a_target_covers(target: str, covered: list[str], free: list[str]) -> None:
    found = listed(target, "other.example", "*.other.example", "198.51.100.1")
    for url in covered:
        block = found.of(parse(url))
        assert block is not None, url
        assert block.target == target
    assert [url for url in free if found.of(parse(url))] == []


def test_addresses_of_names_are_asked_for_apart() -> None:
    found = listed("192.0.2.0/24", "198.51.100.7", "2001:db8::/32")
    assert [a for a in ("192.0.2.1", "198.51.100.7", "::ffff:192.0.2.1", "2001:db8::1")
            if not found.at(a)] == []  # fmt: skip
    assert not any(map(found.at, ("192.0.3.1", "198.51.100.8", "2001:db9::1", "name.example", "")))


def test_an_empty_list_covers_nothing() -> None:
    assert BlockList().of(parse("http://example.org/")) is None
    assert BlockList().at("192.0.2.1") is None


async def test_the_list_is_kept_and_its_version_grows(frontier: Frontier) -> None:
    driver = frontier.driver
    assert (await blocks.version(driver), await blocks.load(driver)) == (0, [])
    one, two = Block("b.example", "me", 1.0, "mail"), Block("192.0.2.0/24", "you", 2.0, "phone")
    await blocks.put(driver, [one, two])
    first = await blocks.version(driver)
    assert first > 0
    assert await blocks.load(driver) == [two, one]
    newer = Block("b.example", "you", 3.0, "again")
    await blocks.put(driver, [newer])
    assert await blocks.remove(driver, ["192.0.2.0/24", "none.example"]) == ["192.0.2.0/24"]
    assert await blocks.load(driver) == [newer]
    assert await blocks.version(driver) > first
