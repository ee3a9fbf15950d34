"""frontier.rules: globs and encodings, against definitions that are slow but plain."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from frontier.rules import ALLOWED, Glob, Matcher, RobotsVerdict, Rule, encode

# The same examples each time, and no verdict on how busy the machine is.

TEXT = st.text(alphabet="ab/", max_size=12)


@given(st.lists(TEXT, min_size=1, max_size=5), st.booleans(), st.text(alphabet="ab/", max_size=30))
def test_glob_matches_what_the_regular_expression_matches(
    pieces: list[str], anchored: bool, text: str
) -> None:
    pattern = re.compile(".*".join(map(re.escape, pieces)) + ("$" if anchored else ""), re.DOTALL)
    expected = pattern.match(text) is not None
    assert Glob(pieces, anchored=anchored).matches(text) is expected


RULES = st.lists(
    st.builds(
        lambda text, allow: (text.encode(), allow),
        st.text(alphabet="ab/*$", min_size=1, max_size=6).map("/".__add__),
        st.booleans(),
    ),
    max_size=8,
)


@given(RULES, st.text(alphabet="ab/", max_size=12).map("/".__add__))
def test_the_longest_rule_decides_and_allow_wins_ties(
    rules: list[tuple[bytes, bool]], path: str
) -> None:
    best: tuple[int, bool] | None = None
    for value, allow in rules:
        literal = value.decode().removesuffix("$")
        expression = ".*".join(re.escape(piece.replace("$", "%24")) for piece in literal.split("*"))
        if re.match(expression + ("$" if value.endswith(b"$") else ""), path):
            # Octets after encoding: a "$" in the middle counts as "%24".
            rank = (len(value) + 2 * literal.count("$"), allow)
            best = rank if best is None else max(best, rank)
    matcher = Matcher([Rule(value, allow, line) for line, (value, allow) in enumerate(rules, 1)])
    assert matcher.verdict(path).allowed is (best is None or best[1])


def test_of_equal_rules_the_first_is_named() -> None:
    for value in (b"/a", b"/*a", b"/a$"):
        matcher = Matcher([Rule(value, False, 3), Rule(value, False, 7)])
        assert matcher.verdict("/a") == RobotsVerdict(False, value.decode(), 3)


def test_no_rules_allow() -> None:
    assert Matcher([]).verdict("/x") is ALLOWED


@given(st.text(alphabet="/%2aAfF7eE~ *$[é", max_size=20))
def test_encoding_is_stable_but_for_triplets_it_forms(text: str) -> None:
    once = encode(text.encode().decode("latin-1"))
    assert once.isascii()
    assert not set(once) & set(" *$[é")
    if not re.search("%(?![0-9A-F]{2})", once):
        assert encode(once) == once
