import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        (90, 90.0),
        (0.5, 0.5),
        ("500ms", 0.5),
        ("30s", 30.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1H 30M", 5400.0),
        ("2d", 172_800.0),
        ("-5", -5.0),
    ],
)
def test_durations_are_read(text: object, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "ten", "10 parsecs", "m10", "1h-5m", "nan", "inf", True, []])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"not a (duration|finite number)"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), (12, 12), ("500MB", 500_000_000), ("500 mb", 500_000_000), ("1.5k", 1500),
     ("2GiB", 2 * 1024**3), ("3T", 3 * 10**12), ("-1", -1)],
)  # fmt: skip
def test_sizes_are_read(text: object, count: int) -> None:
    assert units.parse_size(text) == count


@pytest.mark.parametrize("text", ["", "big", "5PB", "MB", "1,000", float("nan"), None])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"not a (size|finite number)"):
        units.parse_size(text)


@given(st.integers(0, 10**15))
def test_spelt_sizes_are_read_back_exactly(count: int) -> None:
    assert units.parse_size(units.spell_size(count)) == count


@given(st.integers(0, 10**10))
def test_spelt_durations_are_read_back_to_the_millisecond(millis: int) -> None:
    assert units.parse_duration(units.spell_duration(millis / 1000)) == pytest.approx(millis / 1000)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.31, "0.3s"), (45, "45s"), (200, "3m 20s"), (7500, "2h 05m")]
)
def test_durations_for_reading(seconds: float, text: str) -> None:
    assert units.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (999.9, "1 kB"), (12_345_678, "12.3 MB"), (5e15, "5000 TB")],
)
def test_sizes_for_reading(count: float, text: str) -> None:
    assert units.format_size(count) == text
