"""What a job's keys mean to the frontier."""

from __future__ import annotations

from crawler.bounds import limits, politeness
from crawler.job import JobSpec
from frontier.model import Limits, Politeness


class TestPoliteness:
    def test_the_delay_is_the_minimum(self) -> None:
        assert politeness(JobSpec(delay=2.5)).min_delay == 2.5
        assert politeness(JobSpec(delay=2.5)).factor == Politeness().factor

    def test_a_delay_above_the_adaptive_cap_raises_it(self) -> None:
        assert politeness(JobSpec(delay=100)).max_delay == 100

    def test_no_delay_turns_the_adaptive_factor_off(self) -> None:
        off = Politeness(min_delay=0.0, factor=0.0, address_delay=0.0, domain_delay=0.0)
        assert politeness(JobSpec(delay=0)) == off

    def test_the_delay_caps_the_clocks_that_hosts_share(self) -> None:
        fast = politeness(JobSpec(delay=0.2, domain_delay=0.1))
        assert (fast.address_delay, fast.domain_delay) == (0.2, 0.1)
        slow = politeness(JobSpec(delay=5))
        assert (slow.address_delay, slow.domain_delay) == (0.5, 0.5)

    def test_the_adaptive_part_has_keys_of_its_own(self) -> None:
        bounds = politeness(JobSpec(delay=1, max_delay=8, delay_factor=2))
        assert (bounds.min_delay, bounds.max_delay, bounds.factor) == (1, 8, 2)


def test_limits_of_the_frontier() -> None:
    assert limits(JobSpec()) == Limits(domain_hosts=10_000)
    job = JobSpec(host_queue=50, host_pages=5, domain_pages=6, domain_hosts=0, order="depth")
    assert limits(job) == Limits(host_cap=50, host_budget=5, domain_budget=6, newest_first=True)
