"""Which hosts are public, and that nobody crawls them without a contact."""

from __future__ import annotations

import pytest

from crawler.identity import check_identity, is_public_host, requires_contact
from crawler.job import JobSpec, UsageError


@pytest.mark.parametrize(
    "hostname",
    ["example.org", "EXAMPLE.org.", "8.8.8.8", "2001:4860:4860::8888", "[2606:4700::1111]"],
)
def test_public_hosts(hostname: str) -> None:
    assert is_public_host(hostname)


@pytest.mark.parametrize(
    "hostname",
    ["localhost", "a.localhost", "site.test", "x.invalid", "intranet", "db.internal",
     "nas.home.arpa", "127.0.0.5", "10.1.2.3", "169.254.1.1", "100.64.0.1", "::1", "[::1]",
     "::ffff:127.0.0.1", "fd00::1", "printer.local.", ""],
)  # fmt: skip
def test_hosts_that_are_not_public(hostname: str) -> None:
    assert not is_public_host(hostname)


def test_one_public_seed_requires_a_contact() -> None:
    assert requires_contact(["http://127.0.0.1:8000/", "https://example.org/"])
    assert not requires_contact(["http://127.0.0.1:8000/", "http://a.test/"])


def test_a_public_crawl_without_contact_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"^example\.org is a public host: give --contact"):
        check_identity(JobSpec(), ["http://a.test/", "https://example.org/"])


def test_a_contact_or_private_seeds_will_do() -> None:
    check_identity(JobSpec(contact="me@example.org"), ["https://example.org/"])
    check_identity(JobSpec(), ["http://127.0.0.1/", "http://a.test/"])
