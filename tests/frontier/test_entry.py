"""What goes into a queue comes out of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier import entry
from frontier.model import CrawlRequest, FrontierError

PLAIN = st.text(st.characters(blacklist_characters="\t\r\n", blacklist_categories=["Cs"]))
COUNTS = st.integers(0, 2**31)


@given(
    st.builds(
        CrawlRequest,
        url=st.sampled_from(["http://a.example:8080/x?y", "https://a.example:8080/"]),
        depth=COUNTS,
        kind=st.sampled_from(["page", "sitemap"]),
        hops=COUNTS,
        visit=st.integers(1, 2**31),
        via=PLAIN,
        attempts=COUNTS,
        losses=COUNTS,
        priority=st.integers(0, 2),
        reason=st.sampled_from(["", "timeout"]),
        extra=PLAIN,
    )
)
def test_round_trip(request: CrawlRequest) -> None:
    packed = entry.pack(request, "12345", "a.example:8080")
    assert "\n" not in packed
    leased = entry.unpack(packed, "a.example:8080")
    assert (leased.fp, leased.request) == ("12345", request)


@pytest.mark.parametrize("text", ["", "0\t0\t1\t0\t", "a\tb\tc\td\te\tf\tg\th\ti\tj\tk"])
def test_what_is_no_entry(text: str) -> None:
    with pytest.raises(FrontierError, match="malformed queue entry"):
        entry.unpack(text, "a.example")
