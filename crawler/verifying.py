"""Checks a captured request the way a site does: by its signature, and a directory of keys. Pure.

Of what draft-ietf-webbotauth-httpsig-protocol-00 5.4 asks, one thing is left to whoever calls: that
the directory comes from where ``Signature-Agent`` points.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
)
from http_message_signatures.algorithms import ED25519

from crawler.keyfile import PATH, PublicKey
from crawler.signing import TAG

SKEW: Final = 5.0  # seconds by which clocks may differ
_REQUEST: Final = re.compile(rb"([!-~]+) ([!-~\x80-\xff]+) HTTP/[0-9.]+")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)")
_ABSOLUTE: Final = re.compile(r"(https?)://[^/?]*", re.IGNORECASE)
_ILLEGAL: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|[^!$%&'()*+,/:;=?@0-9A-Za-z._~-]")
_AGENT: Final = re.compile(r'"([^"\\]*)"(.*)')


class NotVerified(Exception):
    """Nobody can be held to have sent the request; the message says why."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a signature vouches for."""

    keyid: str  # thumbprint of the key
    agent: str  # whom the request names as its sender, by origin; "": nobody
    directory: str  # where that one's keys are published; "": nowhere
    created: int  # unix seconds
    expires: int  # unix seconds
    nonce: str  # ""
    covered: Mapping[str, str]  # what is signed: component -> value


@dataclass(frozen=True, slots=True)
class _Fields:
    """Header lines as the library takes them: each, in order."""

    lines: tuple[tuple[str, str], ...]

    def items(self) -> Iterator[tuple[str, str]]:
        return iter(self.lines)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: _Fields


def verify(head: bytes, keys: Mapping[str, PublicKey], at: float) -> Verified:
    """What the signature of a request vouches for, if a key of the directory made it.

    :param head: request line and headers, taken to have come over https; the rest is not looked at
    :param keys: of the directory (:func:`crawler.keyfile.published`)
    :param at: unix seconds when the request came
    Raises NotVerified, and ValueError for what is not a request.
    """
    request = _parsed(head)
    try:
        found = _Verifier(keys, at).verify(request, expect_tag=TAG, max_age=None)[0]
    except (HTTPMessageSignaturesException, InvalidSignature) as error:
        # What cryptography raises for a signature that is wrong says nothing.
        why = str(error) or "the signature is not that of this key over this request"
        raise NotVerified(why) from None
    covered = {
        name: value for name, value in found.covered_components.items() if "@sig" not in name
    }
    if not {'"@authority"', '"@target-uri"'} & set(covered):
        raise NotVerified("the signature does not say for which host it is")
    agent = next((v for k, v in covered.items() if k.startswith('"signature-agent"')), "")
    if not agent and any(name.lower() == "signature-agent" for name, _ in request.headers.items()):
        raise NotVerified("Signature-Agent is not signed")
    origin, directory = _named(agent)
    numbers: Mapping[str, Any] = found.parameters
    return Verified(
        keyid=numbers["keyid"],
        agent=origin,
        directory=directory,
        created=numbers["created"],
        expires=numbers["expires"],
        nonce=found.nonce or "",
        covered=covered,
    )


def _named(agent: str) -> tuple[str, str]:
    """Whom a member of Signature-Agent names, and where the keys are."""
    found = _AGENT.fullmatch(agent)
    if found is None:
        return "", ""
    url, parameters = found.groups()
    direct = ";type=" in parameters and ";type=directory" not in parameters
    return url, url if direct else url.rstrip("/") + PATH


def _parsed(head: bytes) -> _Request:
    first, *rest = re.split(rb"\r?\n", head)
    request = _REQUEST.fullmatch(first)
    if request is None:
        raise ValueError("not the head of a request: it begins with a line such as GET / HTTP/1.1")
    lines = []
    for line in rest[: rest.index(b"")] if b"" in rest else rest:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise ValueError(f"not a header: {line[:100].decode('latin-1')!r}")
        lines.append((field[1].decode("ascii"), field[2].decode("latin-1").strip(" \t")))
    method, target = (part.decode("latin-1") for part in request.groups())
    hosts = [value for name, value in lines if name.lower() == "host"]
    host = hosts[0] if len(hosts) == 1 and not set(hosts[0]) & set("/?#@") else ""
    absolute = _ABSOLUTE.match(target)  # what a proxy is asked; Host is to say the same
    scheme, path = (absolute[1], target[absolute.end() :]) if absolute else ("https", target)
    path = path if path.startswith(("/", "?")) else ""  # nor may a path change the host
    # The library takes RFC 3986 alone; what else stands in a path has no spelling to be signed in.
    path = _ILLEGAL.sub(lambda found: quote(found[0], safe="", encoding="latin-1"), path)
    return _Request(method, f"{scheme}://{host}{path}", _Fields(tuple(lines)))


class _Verifier(HTTPMessageVerifier):
    """Judges times by when the request came instead of by now."""

    def __init__(self, keys: Mapping[str, PublicKey], at: float) -> None:
        super().__init__(signature_algorithm=ED25519, key_resolver=_Directory(keys, at))
        self._at = at

    def validate_created_and_expires(
        self, sig_input: Any, max_age: timedelta | None = None
    ) -> None:
        """InvalidSignature unless the request came within the signature's time."""
        created, expires = (sig_input.params.get(name) for name in ("created", "expires"))
        for name, given in (("created", created), ("expires", expires)):
            if type(given) is not int:
                raise InvalidSignature(f"the signature has no time {name!r}")
        if created > self._at + SKEW:
            raise InvalidSignature(f"it was signed later than it came: {spelt(created)}")
        if expires < self._at - SKEW:
            raise InvalidSignature(f"it came after its signature had expired: {spelt(expires)}")


class _Directory(HTTPSignatureKeyResolver):
    """Hands out the keys of a directory that were valid when the request came."""

    def __init__(self, keys: Mapping[str, PublicKey], at: float) -> None:
        self._keys = keys
        self._at = at

    def resolve_public_key(self, key_id: str) -> Any:
        """The key; InvalidSignature where there is none."""
        found = self._keys.get(key_id)
        if found is None:
            raise InvalidSignature(f"its key {key_id} is not in the directory")
        if not found.begins - SKEW <= self._at < found.ends + SKEW:
            raise InvalidSignature(f"its key {key_id} was not valid when it came")
        return found.key


def spelt(seconds: int) -> str:
    """A time for people, as far as there is a calendar."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
