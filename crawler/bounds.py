"""What a job's keys mean to the frontier: the bounds of its delays and of its URLs."""

from __future__ import annotations

from crawler.job import JobSpec
from frontier.model import Limits, Politeness


def politeness(job: JobSpec) -> Politeness:
    """The bounds that the job's delays set.

    The delay caps the clocks of addresses and domains, so that the host's own clock keeps to them
    within a lease; 0 turns them and the adaptive factor off.
    """
    return Politeness(
        min_delay=job.delay,
        max_delay=max(job.delay, job.max_delay),
        factor=job.delay_factor if job.delay > 0 else 0.0,
        address_delay=min(job.delay, job.address_delay),
        domain_delay=min(job.delay, job.domain_delay),
    )


def limits(job: JobSpec) -> Limits:
    """The bounds of the job's URLs in the frontier."""
    return Limits(
        host_cap=job.host_queue,
        host_budget=job.host_pages or 0,
        domain_budget=job.domain_pages or 0,
        domain_hosts=job.domain_hosts,
        newest_first=job.order == "depth",
    )
