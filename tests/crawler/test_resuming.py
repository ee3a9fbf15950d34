"""What a resumed job takes from the new command."""

from __future__ import annotations

import pytest

from crawler.job import JobSpec, UsageError
from crawler.resuming import credit, resumed

OLD = JobSpec(
    out="/data/a",
    scope="domain",
    delay=5.0,
    exclude=("/old",),
    contact="me@example.org",
    headers={"X-Key": "secret"},
    max_pages=10,
)


def test_what_was_not_given_stays() -> None:
    assert resumed(OLD, JobSpec(out="/data/a"), private=True) == OLD


def test_all_that_was_given_is_taken_even_where_it_is_the_default() -> None:
    new = JobSpec(
        out="/data/a",
        delay=1.0,
        exclude=("/new", "re:x"),
        contact="you@example.org",
        user_agent="bot/2",
        headers={"X-Other": "1"},
        max_depth=3,
    )
    spec = resumed(OLD, new, private=True)
    assert (spec.delay, spec.exclude, spec.contact) == (1.0, ("/new", "re:x"), "you@example.org")
    assert (spec.user_agent, spec.headers, spec.max_depth) == ("bot/2", {"X-Other": "1"}, 3)
    assert (spec.max_pages, spec.scope) == (10, "domain")


def test_new_seeds_come_with_the_new_command_alone() -> None:
    old = OLD.model_copy(update={"seeds": ("https://a.test/",)})
    spec = resumed(old, JobSpec(out="/data/a", seeds=("https://b.test/",)), private=True)
    assert spec.seeds == ("https://b.test/",)
    assert resumed(old, JobSpec(out="/data/a"), private=True).seeds == ()


def test_a_directory_may_have_been_moved_with_its_frontier() -> None:
    assert resumed(OLD, JobSpec(out="/data/b"), private=True).out == "/data/b"
    with pytest.raises(UsageError, match="stores its pages in /data/a: give --out /data/a"):
        resumed(OLD, JobSpec(out="/data/b"), private=False)


def test_the_scope_stays() -> None:
    assert resumed(OLD, JobSpec(out="/data/a", scope="domain"), private=True).scope == "domain"
    with pytest.raises(UsageError, match=r"--scope any: .* keeps its scope, which is domain"):
        resumed(OLD, JobSpec(out="/data/a", scope="any"), private=True)


def test_values_that_do_not_go_together_are_refused() -> None:
    old = OLD.model_copy(update={"recrawl_max": 7200.0})
    with pytest.raises(UsageError, match=r"recrawl_min .* is above recrawl_max"):
        resumed(old, JobSpec(out="/data/a", recrawl_min=10_000), private=True)


@pytest.mark.parametrize(
    ("before", "now", "left", "expected"),
    [(10, 10, 4, 4), (10, 25, 4, 19), (10, 3, 4, 0), (None, 5, None, 5), (10, None, 4, None)],
)
def test_pages_that_are_left_of_the_bound(
    before: int | None, now: int | None, left: int | None, expected: int | None
) -> None:
    assert credit(JobSpec(max_pages=before), JobSpec(max_pages=now), left) == expected
