"""What errbacks are told of a request that was not made, or failed."""

from __future__ import annotations

import pytest
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    IgnoreRequest,
)

from crawler.worker.addon.worker import _why
from frontier.policy import TABLE


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("dns-nxdomain", CannotResolveHostError),
        ("dns-timeout", CannotResolveHostError),
        ("refused", DownloadConnectionRefusedError),
        ("connect-timeout", DownloadTimeoutError),
        ("tls-name", DownloadFailedError),
        ("robots-denied", IgnoreRequest),
        ("opted-out", IgnoreRequest),
        ("no-contact", IgnoreRequest),
        ("poison", IgnoreRequest),
    ],
)
def test_the_exception_is_scrapys(reason: str, kind: type[Exception]) -> None:
    error = _why(reason)
    assert type(error) is kind
    assert reason in str(error)
    cause = getattr(error.__cause__, "reason", None)
    assert cause == (None if kind is IgnoreRequest else reason)


def test_there_is_one_for_every_reason() -> None:
    assert all(isinstance(_why(reason), Exception) for reason in TABLE if reason)
