"""Driver errors and the reason codes they come to."""

from __future__ import annotations

import errno
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from crawler.fetch.errors import answer_error, connect_error
from crawler.fetch.exchange import FetchError
from crawler.fetch.guard import BlockedAddress
from frontier.model import REASONS

KEY = ConnectionKey("a.example", 443, True, True, None, None, None)


def certificate_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    error.verify_message = f"verify code {code}"
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ECONNREFUSED, "refused"), "refused"),
        (OSError(errno.ECONNRESET, "reset"), "reset"),
        (OSError(errno.ECONNABORTED, "aborted"), "reset"),
        (OSError(errno.EPIPE, "pipe"), "reset"),
        (ConnectionResetError(), "reset"),
        (OSError(errno.ETIMEDOUT, "timed out"), "connect-timeout"),
        (OSError(errno.EHOSTUNREACH, "no route"), "unreachable"),
        (OSError(errno.ENETUNREACH, "no network"), "unreachable"),
        (OSError("Multiple exceptions: of several kinds"), "unreachable"),
        (BlockedAddress("10.0.0.1 is not globally routable (private)"), "blocked-address"),
    ],
)
def test_socket_errors(error: OSError, reason: str) -> None:
    for wrapped in (error, aiohttp.ClientConnectorError(KEY, error)):
        assert connect_error(wrapped).reason == reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (9, "tls-expired"),
        (10, "tls-expired"),
        (62, "tls-name"),
        (64, "tls-name"),
        (18, "tls-untrusted"),
        (19, "tls-untrusted"),
        (20, "tls-untrusted"),
        (21, "tls-untrusted"),
        (23, "tls-error"),
    ],
)
def test_certificate_errors(code: int, reason: str) -> None:
    error: Any = aiohttp.ClientConnectorCertificateError(KEY, certificate_error(code))
    got = connect_error(error)
    assert (got.reason, got.detail) == (reason, f"verify code {code}")


def test_other_errors_on_the_way_to_a_connection() -> None:
    tls = aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "wrong version number"))
    assert connect_error(tls).reason == "tls-error"
    assert connect_error(TimeoutError()).reason == "connect-timeout"
    assert connect_error(aiohttp.InvalidUrlClientError("127.1")).reason == "invalid-url"
    own = FetchError("dns-nxdomain", "a.example")
    assert connect_error(own) is own


def test_errors_before_the_head() -> None:
    assert answer_error(aiohttp.ServerDisconnectedError(), 0).reason == "reset"
    assert "12 bytes" in answer_error(aiohttp.ServerDisconnectedError(), 12).detail
    own = FetchError("too-slow", "1 byte/s")
    assert answer_error(own, 5) is own


def test_a_fetch_error_needs_a_reason_from_the_closed_set() -> None:
    assert str(FetchError("refused", "by a.example")) == "refused: by a.example"
    assert "whatever" not in REASONS
    with pytest.raises(ValueError, match="whatever"):
        FetchError("whatever", "")
