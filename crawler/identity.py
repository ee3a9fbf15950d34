"""Who must be told who we are: a crawl of a public host names somebody who can be asked to stop."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from crawler.job import JobSpec
from crawler.schema import UsageError

# Top-level names that never resolve on the public Internet (RFC 6761, 6762, 8375; ICANN 2024-07).
_PRIVATE_NAMES: Final = (
    "localhost",
    "test",
    "invalid",
    "example",
    "local",
    "internal",
    "home.arpa",
)


@lru_cache(maxsize=10_000)
def is_public_host(hostname: str) -> bool:
    """Whether a name or address literal may be a machine on the public Internet."""
    hostname = hostname.strip("[]").rstrip(".").lower()
    try:
        address = ipaddress.ip_address(hostname)
        return (getattr(address, "ipv4_mapped", None) or address).is_global
    except ValueError:
        private = any(hostname == n or hostname.endswith(f".{n}") for n in _PRIVATE_NAMES)
        return "." in hostname and not private


def requires_contact(urls: Iterable[str]) -> bool:
    """Whether any of these (canonical) URLs lies on a public host."""
    return any(is_public_host(urlsplit(url).hostname or "") for url in urls)


def check_identity(job: JobSpec, urls: Iterable[str]) -> None:
    """UsageError when one of these URLs lies on a public host and the job names no contact.

    Links that lead to public hosts later are for the worker to refuse.
    """
    if job.contact:
        return
    for url in urls:
        if requires_contact([url]):
            raise UsageError(
                f"{urlsplit(url).hostname} is a public host: give --contact with an email address "
                "or a web page, so that its owner can reach you"
            )
