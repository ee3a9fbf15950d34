"""Clients that are closed at the end of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from crawler.fetch.client import Client, Signs
from crawler.fetch.dns import DnsPolicy, Resolver
from crawler.fetch.proxy import Proxy
from crawler.fetch.wire import Limits

MakeClient = Callable[..., Client]


@pytest.fixture
async def make_client() -> AsyncIterator[MakeClient]:
    """``make_client(allow_private=True, dns_server="", dns_policy=None, proxy="", signer=None,
    **limits)``."""
    clients: list[Client] = []

    def make(
        *,
        allow_private: bool = True,
        dns_server: str = "",
        dns_policy: DnsPolicy | None = None,
        proxy: str = "",
        signer: Signs | None = None,
        **limits: Any,
    ) -> Client:
        resolver = Resolver(dns_server, dns_policy)
        by = Proxy.parse(proxy) if proxy else None
        client = Client(
            Limits(**limits), resolver, allow_private=allow_private, proxy=by, signer=signer
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()
