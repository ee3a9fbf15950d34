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
        assert politeness(JobSpec(delay=0)) == Politeness(min_delay=0.0, factor=0.0)


def test_limits_of_the_frontier() -> None:
    assert limits(JobSpec()) == Limits(domain_hosts=10_000)
    job = JobSpec(host_queue=50, host_pages=5, domain_pages=6, domain_hosts=0, order="depth")
    assert limits(job) == Limits(host_cap=50, host_budget=5, domain_budget=6, newest_first=True)
