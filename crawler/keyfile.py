"""The operator's signing keys: Ed25519 in PEM files, and the public directories of them.

Kept here: a key file is never overwritten, and one that others may read or write is not used.
Sources: RFC 8037 (Ed25519 as a JWK), RFC 7638 (thumbprints), RFC 7517 (key sets),
draft-ietf-webbotauth-httpsig-protocol-00 5.5 (directories).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from crawler.schema import UsageError

PATH: Final = "/.well-known/http-message-signatures-directory"
MEDIA_TYPE: Final = "application/http-message-signatures-directory+json"
# The key that RFC 9421 B.1.4 prints, for examples: whoever signs with it may be anybody.
TEST_KEY: Final = "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U"
_LONGEST: Final = 64 * 1024  # bytes read of what should be a key


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the name that sites know it by."""

    private: Ed25519PrivateKey
    id: str  # its thumbprint

    @staticmethod
    def of(private: Ed25519PrivateKey) -> SigningKey:
        """The key with its thumbprint."""
        return SigningKey(private, thumbprint(private.public_key()))


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key of a directory."""

    key: Ed25519PublicKey
    begins: float  # unix seconds: not valid before; -inf where the directory does not say
    ends: float  # unix seconds: not valid from then on; inf where it does not say


def create(path: Path) -> SigningKey:
    """Make a key and write it (PKCS #8, PEM, mode 0600); UsageError where there is a file."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already, and a key is never overwritten") from None
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from None
    try:
        with os.fdopen(number, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        path.unlink()
        raise UsageError(f"cannot write {path}: {exc.strerror}") from None
    return SigningKey.of(key)


def load(file: str) -> SigningKey:
    """The key of a file; UsageError says why it cannot be used."""
    path = Path(file).expanduser()
    try:
        key = load_pem_private_key(_read(path), password=None)
    except TypeError:
        raise UsageError(f"{path} is encrypted: nobody is there to enter its password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{path} holds no private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} holds a key of another kind: requests are signed with Ed25519")
    found = SigningKey.of(key)
    if found.id == TEST_KEY:
        raise UsageError(f"{path} holds the test key of RFC 9421, which everybody has")
    return found


def _read(path: Path) -> bytes:
    """A key file's bytes, after a look at who else may read it."""
    try:
        # Without waiting for whoever writes, should it be a pipe.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise UsageError(f"{path} is not a file")
            # A group may read: Kubernetes hands secrets to those who are not root that way.
            if mode & (stat.S_IRWXO | stat.S_IWGRP):
                raise UsageError(
                    f"{path} is open to others (mode {stat.S_IMODE(mode):04o}): chmod 600 {path}"
                )
            return file.read(_LONGEST)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from None


def thumbprint(key: Ed25519PublicKey) -> str:
    """What a key is known by: RFC 7638, RFC 8037 A.3; 43 characters."""
    text = json.dumps(jwk(key), separators=(",", ":"), sort_keys=True)
    return _base64url(hashlib.sha256(text.encode("ascii")).digest())


def jwk(key: Ed25519PublicKey) -> dict[str, Any]:
    """The members of a public key that its thumbprint is of (RFC 8037 2)."""
    return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(key.public_bytes_raw())}


def directory(
    keys: Iterable[SigningKey], *, begins: int | None = None, ends: int | None = None
) -> str:
    """The document to be published at ``PATH``: the public halves of keys.

    :param begins: unix seconds before which verifiers should not accept them (``nbf``)
    :param ends: unix seconds from which on they should not (``exp``)
    """
    times = {name: at for name, at in (("nbf", begins), ("exp", ends)) if at is not None}
    entries = []
    for key in keys:
        members = jwk(key.private.public_key())
        x = members.pop("x")
        entries.append(members | {"kid": key.id, "x": x, "use": "sig"} | times)
    return json.dumps({"keys": entries}, separators=(",", ":"))


def published(text: bytes) -> Mapping[str, PublicKey]:
    """The Ed25519 keys of a directory by their thumbprints; keys of other kinds are passed over.

    A key is named by what it is, whatever ``kid`` says. ValueError for what is not a directory.
    """
    try:
        entries = json.loads(text)["keys"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise ValueError('not a directory of keys: no JSON with a list "keys"') from None
    if not isinstance(entries, list):
        raise ValueError('not a directory of keys: "keys" is not a list')  # noqa: TRY004
    found = {}
    for entry in entries:
        if isinstance(entry, dict) and entry.get("crv") == "Ed25519" and entry.get("kty") == "OKP":
            key = _public(entry.get("x"))
            begins, ends = (_time(entry, "nbf", "-inf"), _time(entry, "exp", "inf"))
            found[thumbprint(key)] = PublicKey(key, begins, ends)
    return found


def _public(x: object) -> Ed25519PublicKey:
    try:
        if isinstance(x, str):
            raw = base64.b64decode(x + "=" * (-len(x) % 4), altchars=b"-_", validate=True)
            return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        pass
    raise ValueError(f"not a directory of keys: {str(x)[:100]!r} is no public key")


def _time(entry: Mapping[str, Any], name: str, default: str) -> float:
    at = entry.get(name, float(default))
    if isinstance(at, bool) or not isinstance(at, int | float):
        raise ValueError(f"not a directory of keys: {name} is not a number")  # noqa: TRY004
    return float(at)


def _base64url(data: bytes) -> str:
    """RFC 7515 2: without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
