"""The URLs of the frontier's benchmark, and the arithmetic about them."""

import pytest

from benchmarks import urls
from frontier.url import parse, partition


def test_urls_are_canonical_different_and_have_paths_of_sixty_bytes() -> None:
    made = [urls.offer(number, 7)[0] for number in range(100)]
    assert all(parse(each.url).url == each.url for each in made)
    assert {len(each.path) for each in made} == {urls.PATH}
    assert len({each.url for each in made}) == 100
    assert len({each.host for each in made}) == 7


def test_a_mixture_has_its_share_of_known_numbers() -> None:
    numbers = urls.mixture(2_000, 200, 0.45, 1_000)
    assert len(set(numbers)) == 200
    assert sum(number < 1_000 for number in numbers) == 90
    assert {n for n in numbers if n >= 1_000} == set(range(2_000, 2_110))
    with pytest.raises(ValueError, match="95 of 10 numbers"):
        urls.mixture(10, 100, 0.95, 10)


def test_batches_hold_every_offer_once_and_one_partition_each() -> None:
    offers = [urls.offer(number, 50) for number in range(3_000)]
    made = urls.batches(offers, 4, scattered=False)
    assert sorted(o[0].url for b in made for o in b) == sorted(o[0].url for o in offers)
    assert max(map(len, made)) == urls.BATCH
    assert all(len({partition(o[0].domain, 4) for o in b}) == 1 for b in made)
    assert len(urls.batches(offers, 4, scattered=True)) == 12


def test_percentiles_are_values_that_were_measured() -> None:
    assert urls.percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert urls.percentile(list(range(1, 101)), 0.99) == 99
    assert urls.percentile([5.0], 0.99) == 5.0


def test_the_chance_of_a_false_seen_is_that_of_the_birthday_problem() -> None:
    expected = sum(1 - (1 - 1 / 1_024) ** i for i in range(500))  # URL i meets i earlier draws
    assert urls.false_seen(500, 10) == pytest.approx(expected, rel=1e-9)
    assert urls.false_seen(10**6, 32) == pytest.approx(116.4, abs=0.1)
    assert urls.false_seen(10**9, 52, 64) == pytest.approx(1.73, abs=0.01)
