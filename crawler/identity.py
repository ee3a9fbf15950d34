"""Who we are: what every request says of us, and to whom that must be enough to reach somebody.

Kept here: a crawl of a public host names somebody who can be asked to stop.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from crawler.job import JobSpec
from crawler.ranges import network
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
_WIDEST: Final = {4: 8, 6: 16}  # prefix length of the largest network that anybody has been given


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


def request_headers(spec: JobSpec) -> dict[str, str]:
    """The headers of every request of a job; identity first."""
    headers = {
        "User-Agent": spec.agent,
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Encoding": "gzip, deflate, br, zstd",
    }
    if spec.mailbox:
        headers["From"] = spec.mailbox
    return headers | spec.headers


def address_ranges(networks: Iterable[str], at: float) -> dict[str, Any]:
    """The document that says from where an operator crawls (draft-illyes-webbotauth-jafar-00).

    :param networks: in CIDR notation; an address is a network of one
    :param at: unix seconds
    ValueError names what is no network, or none that somebody could crawl the Internet from.
    """
    prefixes = {}
    for text in networks:
        spelt = network(text)
        found = ipaddress.ip_network(spelt)
        if not found.is_global or found.prefixlen < _WIDEST[found.version]:
            raise ValueError(f"not a network on the public Internet: {text!r}")
        prefixes[spelt] = f"ipv{found.version}Prefix"
    return {
        "creationTime": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "prefixes": [{name: spelt} for spelt, name in prefixes.items()],
    }
