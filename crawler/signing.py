"""Signs requests, so that sites can tell who sent them: HTTP Message Signatures (RFC 9421).

What is signed is Web Bot Auth's: the authority and where our keys are published, with a time, an
end and a nonce. Sources: draft-ietf-webbotauth-httpsig-protocol-00 5.2 and appendix B, and the
drafts before it (draft-meunier-web-bot-auth-architecture); decision 18 says what of them and why.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from http_message_signatures import HTTPMessageSigner, PreparedSignature
from http_message_signatures.algorithms import ED25519

from crawler.keyfile import MEDIA_TYPE, PATH, SigningKey, load

TAG: Final = "web-bot-auth"
LABEL: Final = "sig1"
LIFETIME: Final = 60  # seconds for which a request's signature is good
_NONCE: Final = 64  # random bytes in a nonce


@dataclass(frozen=True, slots=True)
class _Message:
    """What the library asks of a request whose method and path are not signed."""

    url: str
    headers: dict[str, str]
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the library asks of a response."""

    request: _Message
    headers: dict[str, str]
    status_code: int = field(default=200)


class Signer:
    """Signs every request of a worker, for one operator.

    :param agent: the https origin at which the operator's keys are published
    :param form: how ``Signature-Agent`` names it: "string" (drafts up to
        draft-meunier-web-bot-auth-architecture-03) or "dictionary" (later ones)
    """

    def __init__(self, key: SigningKey, agent: str, form: str = "string") -> None:
        self.key = key
        self.agent = f'"{agent}"' if form == "string" else f'{LABEL}="{agent}"'
        member = "" if form == "string" else f';key="{LABEL}"'
        self._covered = ('"@authority"', f'"signature-agent"{member}')
        self._signer = HTTPMessageSigner(signature_algorithm=ED25519)

    def sign(self, head: bytes, origin: str) -> bytes:
        """A request's head with the headers that sign it, for being sent now.

        :param head: up to and with its empty line, without such headers
        :param origin: ``scheme://authority``, the authority as in ``Host``
        """
        nonce = base64.b64encode(secrets.token_bytes(_NONCE)).decode("ascii")
        lines = self.fields(origin, created=int(time.time()), nonce=nonce)
        added = "".join(f"{name}: {value}\r\n" for name, value in lines)
        return head[:-2] + added.encode("ascii") + b"\r\n"

    def fields(
        self, origin: str, *, created: int, nonce: str, lifetime: int = LIFETIME
    ) -> tuple[tuple[str, str], ...]:
        """The headers that sign a request. Pure.

        :param created: unix seconds
        :param lifetime: seconds
        """
        prepared = self._signer.prepare(
            _Message(f"{origin}/", {"Signature-Agent": self.agent}),
            key_id=self.key.id,
            created=_at(created),
            expires=_at(created + lifetime),
            nonce=nonce,
            label=LABEL,
            tag=TAG,
            covered_component_ids=self._covered,
        )
        return (
            ("Signature-Agent", self.agent),
            ("Signature-Input", f"{LABEL}={prepared.signature_params}"),
            ("Signature", f"{LABEL}={_signature(self.key, prepared)}"),
        )


def signer(key_file: str, agent: str, form: str) -> Signer:
    """The signer that settings ask for; UsageError for a key that cannot be used."""
    return Signer(load(key_file), agent, form)


def directory_fields(
    body: bytes, keys: Iterable[SigningKey], origin: str, *, created: int, lifetime: int
) -> tuple[tuple[str, str], ...]:
    """The headers of a directory's answer: each key signs that it is published there. Pure.

    :param body: the directory, to the byte
    :param origin: of the host that answers
    :param created: unix seconds
    :param lifetime: seconds
    """
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode('ascii')}:"
    answer = _Answer(_Message(f"{origin}{PATH}", {}), {"Content-Digest": digest})
    made = HTTPMessageSigner(signature_algorithm=ED25519)
    inputs, signatures = [], []
    for number, key in enumerate(keys, 1):
        prepared = made.prepare(
            answer,
            key_id=key.id,
            created=_at(created),
            expires=_at(created + lifetime),
            label=f"sig{number}",
            tag="http-message-signatures-directory",
            covered_component_ids=('"@authority";req', '"content-digest"'),
            use_existing_digest=True,
        )
        inputs.append(f"{prepared.label}={prepared.signature_params}")
        signatures.append(f"{prepared.label}={_signature(key, prepared)}")
    return (
        ("Content-Type", MEDIA_TYPE),
        ("Content-Digest", digest),
        ("Signature-Input", ", ".join(inputs)),
        ("Signature", ", ".join(signatures)),
    )


def _signature(key: SigningKey, prepared: PreparedSignature) -> str:
    """As a byte sequence of a structured field (RFC 9651 3.3.5).

    Not by the library's ``sign``: it builds the base a second time, twice the cost of the whole.
    """
    raw = key.private.sign(prepared.signature_base)
    return f":{base64.b64encode(raw).decode('ascii')}:"


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
