"""What went wrong on the way, as reason codes: the one map from driver errors to ``FetchError``.

Invariant kept: every drop has a reason. Pure.
"""

from __future__ import annotations

import errno
import ssl
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from crawler.fetch.exchange import FetchError
from crawler.fetch.guard import BlockedAddress
from crawler.fetch.proxy import tunnel_reason

_ERRNO: Final = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.ECONNABORTED: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "connect-timeout",
}  # anything else: unreachable

# OpenSSL's X509_V_ERR_* (x509_vfy.h); anything else is tls-error.
_VERIFY: Final = {
    9: "tls-expired",  # not yet valid
    10: "tls-expired",
    62: "tls-name",  # host name mismatch
    64: "tls-name",  # IP address mismatch
    2: "tls-untrusted",  # issuer not found
    18: "tls-untrusted",  # self-signed
    19: "tls-untrusted",  # self-signed certificate in the chain
    20: "tls-untrusted",  # issuer not found locally
    21: "tls-untrusted",  # leaf cannot be verified
    24: "tls-untrusted",  # the issuer is no CA
    27: "tls-untrusted",  # not trusted for this purpose
    28: "tls-untrusted",  # rejected for this purpose
    66: "tls-untrusted",  # the leaf's key is too weak
    67: "tls-untrusted",  # a CA's key is too weak
    68: "tls-untrusted",  # a CA's digest is too weak
}


def connect_error(error: Exception) -> FetchError:
    """What an exception of the connector means; ``FetchError`` comes back as it is."""
    if isinstance(error, FetchError):
        return error
    if isinstance(error, aiohttp.ClientHttpProxyError):
        detail = f"the proxy answers CONNECT with {error.status} {error.message}"
        return FetchError(tunnel_reason(error.status), detail)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return FetchError("proxy-error", f"no connection to the proxy: {_words(error.os_error)}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _certificate_error(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return FetchError("tls-error", _words(error.os_error))
    if isinstance(error, aiohttp.ClientConnectorError):
        return _socket_error(error.os_error)
    if isinstance(error, aiohttp.InvalidURL):
        return FetchError("invalid-url", _words(error))
    if isinstance(error, TimeoutError):
        return FetchError("connect-timeout", "no connection within the deadline")
    if isinstance(error, OSError):
        return _socket_error(error)
    return FetchError("unreachable", _words(error))


def answer_error(error: Exception, received: int) -> FetchError:
    """What an exception met while waiting for the head means.

    :param received: bytes of the answer that had come by then
    """
    if isinstance(error, FetchError):
        return error
    if isinstance(error, HttpProcessingError):
        return _parser_error(error)
    if received:
        return FetchError("reset", f"the connection ended {received} bytes into the head")
    return FetchError("reset", f"the connection ended without an answer ({_words(error)})")


def _certificate_error(error: Exception) -> FetchError:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return FetchError("tls-error", _words(error))
    return FetchError(_VERIFY.get(error.verify_code, "tls-error"), error.verify_message)


def _socket_error(error: OSError) -> FetchError:
    if isinstance(error, BlockedAddress):
        return FetchError("blocked-address", error.refusal)
    if error.errno is None and isinstance(error, ConnectionError):
        return FetchError("reset", "the connection ended in the TLS handshake")
    return FetchError(_ERRNO.get(error.errno or 0, "unreachable"), _words(error))


def _parser_error(error: HttpProcessingError) -> FetchError:
    # aiohttp hands on a bare copy; the parser's own exception is its cause.
    cause = error.__cause__ or error
    words = " ".join(_words(cause).split())[:200]
    flood = isinstance(cause, LineTooLong) or "Too many headers" in words
    return FetchError("header-flood" if flood else "protocol-error", words)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
