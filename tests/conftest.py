"""What all tests share: the profile of Hypothesis."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The same examples each time, however slow the machine: a test that fails here fails everywhere.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")
