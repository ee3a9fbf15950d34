"""Intervals stay in bounds, what a visit leaves survives the way, an agenda passes nothing over."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.job import JobSpec, UsageError
from crawler.recrawl import (
    DAY,
    START,
    Agenda,
    Before,
    Due,
    Outcome,
    Schedule,
    Seen,
    before,
    brought_forward,
    conditions,
    outcome,
    schedule,
    successor,
    validators,
)
from crawler.schema import validate

ADAPTIVE = Schedule(None, 3_600.0, 30 * DAY)
WEEKLY = Schedule(7 * DAY, 3_600.0, 30 * DAY)
SECONDS = st.floats(0.01, 1e8)
BOUNDS = st.tuples(SECONDS, SECONDS).map(sorted)


class TestSpec:
    @pytest.mark.parametrize(
        ("given_", "expected"),
        [
            ({}, None),
            ({"recrawl": "off"}, None),
            ({"recrawl": "7d"}, Schedule(7 * DAY, 3_600.0, 30 * DAY)),
            ({"recrawl": " Adaptive "}, ADAPTIVE),
            ({"recrawl": 90}, Schedule(90.0, 90.0, 30 * DAY)),
            ({"recrawl": "60d"}, Schedule(60 * DAY, 3_600.0, 60 * DAY)),
            (
                {"recrawl": "adaptive", "recrawl_min": "1m", "recrawl_max": "2h"},
                Schedule(None, 60.0, 7_200.0),
            ),
        ],
    )
    def test_schedules(self, given_: dict[str, object], expected: Schedule | None) -> None:
        spec = JobSpec(**given_)  # type: ignore[arg-type]
        assert schedule(spec) == expected
        assert JobSpec.model_validate_json(spec.model_dump_json()) == spec

    @pytest.mark.parametrize(
        ("given_", "message"),
        [
            ({"recrawl": "weekly"}, "neither off, adaptive nor a duration"),
            ({"recrawl": 0}, "not an interval"),
            ({"recrawl": "-1"}, "not an interval"),
            ({"recrawl": True}, "neither off"),
            ({"recrawl_min": "2d", "recrawl_max": "1d"}, "recrawl_min (2d) is above recrawl_max"),
            ({"recrawl_min": 0}, "greater than 0"),
        ],
    )
    def test_what_is_none(self, given_: dict[str, object], message: str) -> None:
        with pytest.raises(UsageError) as caught:
            validate(JobSpec, given_, str)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


class TestIntervals:
    @given(BOUNDS, st.floats(0, 1e9), st.sampled_from(["first", "changed", "same", "failed"]))
    def test_adaptive_ones_stay_in_bounds_and_move_the_right_way(
        self, bounds: list[float], previous: float, what: Outcome
    ) -> None:
        plan = Schedule(None, *bounds)
        found = plan.next(what, previous)
        assert found is not None
        assert bounds[0] <= found <= bounds[1]
        start = min(max(previous or plan.first, bounds[0]), bounds[1])
        if what == "changed":
            assert found <= start
        elif what != "first":
            assert found >= start

    def test_rates(self) -> None:
        assert ADAPTIVE.next("same", 10_000.0) == pytest.approx(14_000.0)
        assert ADAPTIVE.next("changed", 10_000.0) == pytest.approx(8_000.0)
        assert ADAPTIVE.next("first", 0.0) == ADAPTIVE.first
        assert DAY < ADAPTIVE.first < 1.2 * DAY  # between the bounds, in proportion

    @given(st.floats(0, 1e9), st.sampled_from(["first", "changed", "same"]))
    def test_a_fixed_one_is_fixed(self, previous: float, what: Outcome) -> None:
        assert WEEKLY.next(what, previous) == 7 * DAY

    def test_failures_come_less_and_less_often(self) -> None:
        for plan in (ADAPTIVE, WEEKLY):
            interval = plan.first
            for _ in range(30):
                later = plan.next("failed", interval)
                assert later is not None
                assert interval < later or later == plan.longest
                interval = later
            assert interval == plan.longest
            assert plan.next("gone", interval) is None

    @given(
        st.lists(
            st.tuples(st.floats(0, 2e9), st.one_of(st.just(math.nan), SECONDS), st.booleans())
        ),
        st.sampled_from([ADAPTIVE, WEEKLY, Schedule(1.0, 1.0, 1.0)]),
    )
    def test_due_is_the_fetch_and_the_interval_of_now(
        self, rows: list[tuple[float, float, bool]], plan: Schedule
    ) -> None:
        columns = [np.array([row[i] for row in rows], float) for i in range(2)]
        failed = np.array([row[2] for row in rows], bool)
        found = plan.due(columns[0], columns[1], failed)
        for at, (fetched, interval, bad) in zip(found, rows, strict=True):
            wanted = plan.first if math.isnan(interval) else interval
            wanted = min(max(wanted, plan.shortest), plan.longest)
            if plan.every is not None and not bad:
                wanted = plan.every
            assert at == pytest.approx(fetched + wanted)


class TestOutcome:
    LEFT = Before(page="p", digest="sha1:A", text="t", etag='"e"')

    @pytest.mark.parametrize(
        ("left", "seen", "expected"),
        [
            (None, Seen(200, digest="sha1:A"), "first"),
            (Before(interval=3.0), Seen(200, digest="sha1:A"), "first"),  # it had failed
            (LEFT, Seen(200, digest="sha1:A"), "same"),
            (LEFT, Seen(200, digest="sha1:B", text="t"), "same"),  # only what is around the text
            (LEFT, Seen(200, digest="sha1:B", text="u"), "changed"),
            (Before(digest="sha1:A"), Seen(200, digest="sha1:B"), "changed"),  # no text to compare
            (LEFT, Seen(304, conditional=True), "same"),
            (None, Seen(304), "failed"),  # nobody asked
            (LEFT, Seen(301, digest="sha1:A", target="u"), "changed"),
            (Before(digest="x", target="u"), Seen(302, digest="y", target="u"), "same"),
            (Before(digest="x", target="u"), Seen(302, digest="x", target="v"), "changed"),
            (Before(digest="x", target="u"), Seen(200, digest="x"), "changed"),
            (LEFT, Seen(404, digest="sha1:A"), "failed"),
            (LEFT, Seen(412), "failed"),
            (LEFT, Seen(503), "failed"),
            (LEFT, Seen(200, reason="truncated", digest="sha1:A"), "failed"),
            (LEFT, Seen(reason="robots-denied"), "failed"),
            (LEFT, Seen(reason="dns-nxdomain"), "failed"),
            (LEFT, Seen(410), "gone"),
            (None, Seen(reason="poison"), "gone"),
        ],
    )
    def test_table(self, left: Before | None, seen: Seen, expected: str) -> None:
        assert outcome(left, seen) == expected


class TestLuggage:
    @given(
        st.builds(
            Before,
            *[st.text() for _ in range(3)],
            st.floats(allow_nan=False, allow_infinity=False),
            *[st.text() for _ in range(3)],
            st.floats(0, 1e9),
        )
    )
    def test_it_survives_the_way(self, left: Before) -> None:
        packed = left.packed()
        assert not set(packed) & set("\t\r\n")
        assert Before.of(packed) == left

    @given(st.text())
    def test_what_is_not_ours_is_nothing(self, extra: str) -> None:
        assert Before.of(extra) is None or extra.lstrip().startswith("{")
        assert isinstance(conditions(extra), dict)

    def test_conditions(self) -> None:
        left = Before(etag='W/"a"', modified="Mon, 06 Jul 2020 08:00:00 GMT", page="p")
        assert conditions(left.packed()) == {
            "If-None-Match": b'W/"a"',
            "If-Modified-Since": b"Mon, 06 Jul 2020 08:00:00 GMT",
        }
        assert conditions(Before(etag='"a"').packed()) == {}  # nothing a 304 could stand for
        assert conditions("") == {}

    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ([], ("", "")),
            ([("ETAG", ' "a" '), ("last-modified", "now"), ("ETag", '"b"')], ('"a"', "now")),
            ([("ETag", "unquoted-1")], ("unquoted-1", "")),
            ([("ETag", "x" * 1_001)], ("", "")),
            ([("ETag", '"\xe9"'), ("Last-Modified", "\x7f")], ("", "")),
        ],
    )
    def test_validators(self, headers: list[tuple[str, str]], expected: tuple[str, str]) -> None:
        assert validators(headers) == expected


ROW = {
    "url": "http://a.example/",
    "visit": 3,
    "kind": "page",
    "fetch_time": 1000.0,
    "fetch_status": 200,
    "reason": None,
    "recrawl_interval": 60.0,
    "page_id": "id3",
    "content_digest": "sha1:A",
    "content_truncated": None,
    "text_digest": "aa",
    "etag": '"e"',
    "last_modified": None,
    "redirect_to": None,
    "depth": 2,
    "hops": 1,
    "via": "http://a.example/via",
    "revisit_of": None,
    "revisit_time": None,
}


class TestSuccessor:
    def test_of_a_page(self) -> None:
        due = successor(ROW, 1060.0)
        assert due[:7] == (1060.0, ROW["url"], 4, "page", 2, 1, ROW["via"])
        assert Before.of(due.extra) == Before(
            etag='"e"', page="id3", fetched=1000.0, digest="sha1:A", text="aa", interval=60.0
        )

    def test_of_a_revisit_points_at_what_is_stored(self) -> None:
        row = ROW | {
            "kind": "revisit", "fetch_status": 304, "revisit_of": "id1", "revisit_time": 10.0
        }  # fmt: skip
        left = before(row)
        assert (left.page, left.fetched) == ("id1", 10.0)
        assert successor(row, 0.0).kind == "page"
        assert successor(ROW | {"kind": "sitemap"}, 0.0).kind == "sitemap"

    @pytest.mark.parametrize(
        "changes",
        [
            {"fetch_status": 404, "reason": "http-404"},
            {"fetch_status": None, "reason": "timeout"},
            {"fetch_status": 304},  # nobody asked for it
            {"fetch_status": 200, "reason": "truncated"},
        ],
    )
    def test_of_a_failure_leaves_only_the_interval(self, changes: dict[str, object]) -> None:
        assert before(ROW | changes) == Before(interval=60.0)

    def test_of_a_part_or_a_redirect_leaves_no_validators(self) -> None:
        for changes in ({"content_truncated": "length"}, {"fetch_status": 301, "redirect_to": "u"}):
            left = before(ROW | changes)
            assert left.headers() == {}
            assert left.digest == "sha1:A"


@pytest.mark.parametrize(
    ("lastmod", "visited", "expected"),
    [
        (5_000.0, 1_000.0, 4_600.0),  # an hour after the visit
        (1_000.0, 1_000.0, None),  # visited since
        (500.0, 1_000.0, None),
        (90_000.0, 1_000.0, 4_600.0),  # tomorrow, somewhere
        (90_000.0, 10_000.0, None),  # but a visit after the sitemap's will do
        (1e9, 1_000.0, None),  # no date that can be meant
    ],
)
def test_brought_forward(lastmod: float, visited: float, expected: float | None) -> None:
    assert brought_forward(lastmod, 10_000.0, visited, ADAPTIVE) == expected


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=80),
    st.integers(1, 6),
    st.integers(1, 5),
)
def test_an_agenda_holds_little_and_passes_nothing_over(
    rows: list[tuple[int, int]], most: int, step: int
) -> None:
    """Read again from its horizon whenever that is reached, it gives every visit, each in time."""
    visits = {Due(float(at), str(url), 2, "page", 0, 0, "", "") for at, url in rows}
    agenda, found = Agenda(most), []
    for now in range(0, 21 + step, step):
        while True:
            if agenda.exhausted(now):
                floor = agenda.horizon
                assert len(agenda) == 0
                agenda.open()
                for due in visits:
                    if due[:3] >= floor:
                        agenda.add(due)
                    assert len(agenda) <= 2 * most
            batch = agenda.due(now, 2)
            found += batch
            assert all(due.at <= now for due in batch)
            if agenda.idle(now):
                break
        assert {due for due in visits if due.at <= now} == set(found)
    assert len(found) == len(set(found))
    assert Agenda(most).horizon == START
