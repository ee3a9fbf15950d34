"""A second opinion on signed requests: RFC 9421 by hand, with nothing of ours.

It reads a directory as a site would fetch it, and a request's headers as a server got them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

INPUT = re.compile(
    r'(?P<label>[a-z0-9]+)=(?P<params>\((?P<covered>"@authority" "signature-agent"(?:;key="(?P<key>'
    r'[a-z0-9]+)")?)\);created=(?P<created>\d+);keyid="(?P<keyid>[\w-]{43})";alg="ed25519";'
    r'expires=(?P<expires>\d+);nonce="(?P<nonce>[\w+/=]{88})";tag="web-bot-auth")'
)
AGENT = re.compile(r'(?:(?P<key>[a-z0-9]+)=)?(?P<value>"(?P<url>https://[^"]+)")')


@dataclass(frozen=True)
class Verified:
    """What a good signature says."""

    keyid: str
    agent: str
    nonce: str
    created: int
    expires: int


def keys(directory: bytes) -> dict[str, Ed25519PublicKey]:
    """A directory's keys by the thumbprints that it should give them, and does."""
    found = {}
    for jwk in json.loads(directory)["keys"]:
        required = f'{{"crv":"Ed25519","kty":"OKP","x":"{jwk["x"]}"}}'
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(required.encode()).digest())
        assert jwk["kid"] == thumbprint.decode().rstrip("=")
        assert "d" not in jwk
        raw = base64.urlsafe_b64decode(jwk["x"] + "=")
        found[jwk["kid"]] = Ed25519PublicKey.from_public_bytes(raw)
    return found


def verify(headers: Iterable[tuple[str, str]], directory: bytes) -> Verified | None:
    """What the signature of a request says; None: it is not by a key of the directory.

    AssertionError where the request is not signed as it should be, or more than once.
    """
    fields: dict[str, str] = {}
    for name, value in headers:
        assert name.lower() not in fields, f"{name} is there twice"
        fields[name.lower()] = value
    found = INPUT.fullmatch(fields["signature-input"])
    agent = AGENT.fullmatch(fields["signature-agent"])
    assert found is not None, fields["signature-input"]
    assert agent is not None, fields["signature-agent"]
    assert agent["key"] == found["key"]
    member = f';key="{found["key"]}"' if found["key"] else ""
    base = (
        f'"@authority": {fields["host"].lower()}\n'
        f'"signature-agent"{member}: {agent["value"]}\n'
        f'"@signature-params": {found["params"]}'
    )
    label, _, signature = fields["signature"].partition("=")
    assert label == found["label"]
    raw = base64.b64decode(signature.removeprefix(":").removesuffix(":"), validate=True)
    try:
        keys(directory)[found["keyid"]].verify(raw, base.encode("ascii"))
    except (InvalidSignature, KeyError):
        return None
    return Verified(
        found["keyid"], agent["url"], found["nonce"], int(found["created"]), int(found["expires"])
    )


def fields_of(head: bytes) -> list[tuple[str, str]]:
    """The headers of a request's head."""
    lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")[1:]
    return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
