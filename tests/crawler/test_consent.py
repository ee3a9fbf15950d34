"""crawler.consent: what is in force of what was said, and what follows from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.consent import MOST, SILENCE, TABLE, Consent, Policies, consequence, judge
from crawler.extract import extract
from crawler.signals import Statement, from_headers, from_meta
from frontier.model import REASONS

NOW = 1_800_000_000.0  # January 2027


def headers(*pairs: tuple[str, str]) -> list[Statement]:
    return list(from_headers(pairs))


def robots(value: str) -> list[Statement]:
    return headers(("X-Robots-Tag", value))


def verdict(said: list[Statement], given: object = "honour", *, image: bool = False) -> Consent:
    return judge(said, Policies.parse(given), now=NOW, image=image)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (robots("noindex"), "signal-noindex"),
        (robots("noarchive"), "signal-noarchive"),
        (robots("noai"), "signal-noai"),
        (robots("noai, none"), "signal-noindex"),  # the first of the table names the reason
        (robots("unavailable_after: 25 Jun 2010 15:00:00 PST"), "signal-noindex"),
        (robots("unavailable_after: 25 Jun 2040 15:00:00 PST"), ""),
        (robots("unavailable_after: whenever"), ""),
        (headers(("Content-Usage", "train-ai=n, search=y")), "signal-train-ai"),
        (headers(("Content-Usage", "search=n")), "signal-search"),
        (headers(("Content-Usage", "ai-use=n")), "signal-ai-use"),
        (headers(("Content-Usage", "bots=n")), "signal-bots"),
        (headers(("Content-Usage", "train-ai=y, search=y")), ""),
        (headers(("tdm-reservation", "1")), "signal-tdm-reservation"),
        (headers(("tdm-reservation", "0")), ""),
        (headers(("tdm-policy", "https://a.example/")), ""),
        (robots("nofollow, nosnippet, noimageai"), ""),
        ([Statement("license", "https://a.example/", "robots.txt line 1 License", "x")], ""),
        ([], ""),
    ],
)
def test_what_is_honoured_by_default(said: list[Statement], reason: str) -> None:
    assert verdict(said).withheld == reason
    assert verdict(said, "flag").withheld == verdict(said, "ignore").withheld == ""


@pytest.mark.parametrize("name", ["noimageai", "noimageindex"])
def test_what_is_said_of_images_holds_for_images(name: str) -> None:
    assert verdict(robots(name), image=True).withheld == f"signal-{name}"
    assert verdict(robots(name)).flagged == (name,)


def test_nofollow() -> None:
    assert verdict(robots("none")).nofollow
    assert not verdict(robots("none"), "flag").nofollow
    assert not verdict(robots("noindex")).nofollow


@pytest.mark.parametrize(
    "order", [("y", "n"), ("n", "y"), ("y", "n", "y"), ("n", "n")], ids="-".join
)
def test_the_most_restrictive_wins_in_any_order(order: tuple[str, ...]) -> None:
    said = headers(*(("Content-Usage", f"train-ai={value}") for value in order))
    assert verdict(said).in_force == {"train-ai": "n"}
    numbers = {"y": "0", "n": "1"}
    said = headers(*(("tdm-reservation", numbers[value]) for value in order))
    assert verdict(said).in_force == {"tdm-reservation": "1"}


def test_all_places_are_heard() -> None:
    page = extract(
        b'<meta name="robots" content="index, noarchive"><meta name="comity" content="none">'
        b'<meta name="googlebot" content="noai">',
        url="http://a.example/",
        content_type="text/html",
        headers=[("X-Robots-Tag", "noimageai")],
    )
    found = verdict(list(page.signals))
    assert set(found.in_force) == {"noarchive", "noindex", "nofollow", "noimageai"}
    assert found.honoured == ("noindex", "noarchive", "nofollow")
    assert found.flagged == ("noimageai",)


def test_each_signal_can_have_its_own_policy() -> None:
    said = robots("noindex, noai, noarchive")
    found = verdict(said, "flag noai=honour noarchive=ignore")
    assert (found.honoured, found.flagged) == (("noai",), ("noindex",))
    assert list(found.in_force) == ["noindex", "noarchive", "noai"]
    assert verdict(said, "ignore").flagged == ()
    assert len(verdict(said, "ignore").stated) == 3


@pytest.mark.parametrize(
    ("given", "spelt"),
    [
        ("honour", ("honour",)),
        ("Flag", ("flag",)),
        ("noai=ignore", ("honour", "noai=ignore")),
        ("ignore,noai=honour flag", ("flag", "noai=honour")),
        (["ignore", "noai=honour"], ("ignore", "noai=honour")),
        (("honour",), ("honour",)),
        ({"default": "flag", "noai": "ignore"}, ("flag", "noai=ignore")),
        ({}, ("honour",)),
    ],
)
def test_policies_are_read(given: object, spelt: tuple[str, ...]) -> None:
    assert Policies.parse(given).spelt() == spelt
    assert Policies.parse(Policies.parse(given).spelt()) == Policies.parse(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("obey", "should be honour, flag or ignore, not 'obey'"),
        ("noai=yes", "should be honour, flag or ignore, not 'yes'"),
        ("noia=flag", "no signal 'noia'; did you mean 'noai'?"),
        ("signal=flag", "no signal 'signal'"),
        ({"noai": 1}, "not '1'"),
        (5, "should be text or a table, not 5"),
    ],
)
def test_a_policy_that_is_none_is_named(given: object, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        Policies.parse(given)


def test_what_is_stored() -> None:
    assert SILENCE.record() is None
    said = list(from_meta("robots", "noai"))
    record = verdict(said, "flag").record()
    assert record == {
        "stated": tuple(said),
        "in_force": {"noai": ""},
        "honoured": (),
        "flagged": ("noai",),
    }


def test_a_record_is_bounded_and_has_what_decides() -> None:
    chatty = [Statement("license", f"https://a.example/{n}", "x", "x") for n in range(MOST * 9)]
    found = verdict([*chatty, *robots("noai"), *chatty])
    assert len(found.stated) == MOST
    assert found.withheld == "signal-noai"
    assert "noai" in {statement.name for statement in found.stated}


@pytest.mark.parametrize("name", TABLE)
def test_every_effect_has_a_reason_code_and_words(name: str) -> None:
    rule = TABLE[name]
    assert (rule.effect != "none") == (f"signal-{name}" in REASONS)
    honoured = consequence(name, rule.restricts, Policies())
    assert honoured == "flagged" if rule.effect == "none" else "not" in honoured
    assert consequence(name, rule.restricts, Policies("ignore")) == "ignored"
    if rule.restricts:
        assert consequence(name, "y", Policies()) == "forbids nothing"


_STATEMENTS = st.builds(
    Statement,
    st.sampled_from(sorted(TABLE)),
    st.sampled_from(["", "y", "n", "0", "1", "2010-01-01", "x"]),
    st.sampled_from(["meta robots", "header X-Robots-Tag"]),
    st.just("x"),
)


@given(st.lists(_STATEMENTS, max_size=12), _STATEMENTS)
def test_more_words_never_give_more_consent(said: list[Statement], more: Statement) -> None:
    before, after = verdict(said, image=True), verdict([*said, more], image=True)
    assert set(before.honoured) <= set(after.honoured)
    assert set(verdict(said[::-1], image=True).honoured) == set(before.honoured)
