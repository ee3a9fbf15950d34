"""Networks with delays of their own, and the one spelling of an address."""

from __future__ import annotations

import pytest

from crawler.ranges import Ranges, network, plain


def test_the_longest_prefix_decides() -> None:
    delays = {"192.0.0.0/8": 2.0, "192.0.2.0/24": 0.1, "192.0.2.7/32": 0.0, "2001:db8::/32": 3.0}
    ranges = Ranges(delays)
    found = [ranges.delay(a) for a in ("192.1.1.1", "192.0.2.1", "192.0.2.7", "2001:db8::1")]
    assert found == [2.0, 0.1, 0.0, 3.0]
    assert ranges.delay("198.51.100.1") is None
    assert ranges.delay("2001:db9::1") is None


def test_no_network_no_delay() -> None:
    assert not Ranges({})
    assert Ranges({}).delay("192.0.2.1") is None
    assert Ranges({"0.0.0.0/0": 0.0})


def test_networks_are_spelled_alike() -> None:
    assert network(" 2001:DB8:0::/32 ") == "2001:db8::/32"
    assert network("192.0.2.1") == "192.0.2.1/32"


@pytest.mark.parametrize("text", ["", "example.org", "192.0.2.1/24", "192.0.2.0/33", "192.0.2"])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match="not a network"):
        network(text)


@pytest.mark.parametrize(
    ("address", "one"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("64:ff9b::c000:201", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
    ],
)
def test_an_address_has_one_clock_however_it_is_written(address: str, one: str) -> None:
    assert plain(address) == one
