"""Key files and directories of keys."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from crawler.keyfile import TEST_KEY, SigningKey, create, directory, load, published, thumbprint
from crawler.schema import UsageError

# RFC 9421 B.1.4
PRIVATE = base64.urlsafe_b64decode("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU=")
X = "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"
RFC_PEM = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----
"""
RFC_KEY = SigningKey.of(ed25519.Ed25519PrivateKey.from_private_bytes(PRIVATE))


def pem(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


# -- files


def test_a_key_is_made_for_its_owner_alone_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    before = os.umask(0)
    try:
        made = create(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert load(str(path)).id == made.id
    assert create(tmp_path / "other.pem").id != made.id


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "key.pem", b"mine")
    with pytest.raises(UsageError, match="is there already"):
        create(path)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is there already"):
        create(link)
    with pytest.raises(UsageError, match=r"cannot write .+: No such"):
        create(tmp_path / "no" / "key.pem")
    assert path.read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_group_may_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    made = create(path)
    path.chmod(mode)
    assert load(str(path)).id == made.id


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o620, 0o601])
def test_others_may_not(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    create(path)
    path.chmod(mode)
    assert refused(path) == f"{path} is open to others (mode {mode:04o}): chmod 600 {path}"


def test_the_mode_is_that_of_the_file_behind_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "key.pem", tmp_path / "link"
    create(path)
    link.symlink_to(path)
    assert len(load(str(link)).id) == 43
    path.chmod(0o644)
    assert "open to others" in refused(link)


def test_what_is_no_key_is_named(tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    mine = ed25519.Ed25519PrivateKey.generate()
    public = mine.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secret = BestAvailableEncryption(b"x")
    for name, data, message in (
        ("empty", b"", "holds no private key in PEM"),
        ("noise", bytes(range(256)), "holds no private key in PEM"),
        ("cut", pem(mine)[:80], "holds no private key in PEM"),
        ("public", public, "holds no private key in PEM"),
        ("curve", pem(other), "holds a key of another kind"),
        ("encrypted", pem(mine, secret), "is encrypted"),
        ("example", RFC_PEM, "holds the test key of RFC 9421"),
    ):
        path = write(tmp_path / name, data)
        assert refused(path).startswith(f"{path} {message}"), name


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refused(missing) == f"cannot read {missing}: No such file or directory"
    assert refused(tmp_path) == f"cannot read {tmp_path}: Is a directory"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert refused(pipe) == f"{pipe} is not a file"  # at once, though nobody writes


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    path = write(tmp_path / "key.pem", b"", 0o000)
    assert refused(path) == f"cannot read {path}: Permission denied"


# -- directories


def test_a_directory_is_as_the_draft_prints_it() -> None:
    assert RFC_KEY.id == TEST_KEY == thumbprint(RFC_KEY.private.public_key())
    assert directory([RFC_KEY]) == (
        '{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U"'
        f',"x":"{X}","use":"sig"}}]}}'
    )


def test_a_directory_has_times_and_several_keys() -> None:
    other = SigningKey.of(ed25519.Ed25519PrivateKey.generate())
    text = directory([RFC_KEY, other], begins=1_712_793_600, ends=1_715_385_600)
    found = published(text.encode())
    assert list(found) == [RFC_KEY.id, other.id]
    for key in found.values():
        assert (key.begins, key.ends) == (1_712_793_600, 1_715_385_600)
    assert found[other.id].key == other.private.public_key()


def test_keys_of_a_directory_are_what_they_are_and_not_what_they_are_called() -> None:
    entries = [
        {"kty": "OKP", "crv": "Ed25519", "x": X, "kid": "somebody"},
        {"kty": "RSA", "n": "x", "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519", "x": X},
        "what",
    ]
    found = published(json.dumps({"keys": entries}).encode())
    assert list(found) == [TEST_KEY]
    assert found[TEST_KEY].begins < 0 < found[TEST_KEY].ends


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{}", b"\xff", b'{"keys": {}}', b'{"keys": 1}', b"[" * 100_000,
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519"}]}',
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]}',
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "!"}]}',
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "' + X.encode() + b'", "exp": "soon"}]}',
    ],
)  # fmt: skip
def test_what_is_no_directory(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a directory of keys"):
        published(text)
