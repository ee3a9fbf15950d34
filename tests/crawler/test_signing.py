"""Signatures of requests, against published examples and by a verifier of our own."""

from __future__ import annotations

import re
import time
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from crawler.keyfile import SigningKey, directory
from crawler.signing import LIFETIME, Signer, directory_fields
from tests.verifier import fields_of, verify

from .test_keyfile import RFC_KEY

AGENT: Final = "https://signature-agent.test"
HEAD: Final = b"GET /x HTTP/1.1\r\nHost: %b\r\nUser-Agent: comity/1\r\n\r\n"
MINE: Final = SigningKey.of(Ed25519PrivateKey.generate())


def signed(authority: str, *, scheme: str = "https", form: str = "string") -> bytes:
    head = HEAD % authority.encode()
    return Signer(MINE, "https://bot.example", form).sign(head, f"{scheme}://{authority}")


def test_a_signature_is_as_the_draft_prints_it() -> None:
    # draft-ietf-webbotauth-httpsig-protocol-00 E.2, "Legacy Signature-Agent, sf-string", which is
    # draft-meunier-web-bot-auth-architecture-02 A.2.2. The label is no part of what is signed.
    nonce = (
        "e8N7S2MFd/qrd6T2R3tdfAuuANngKI7LFtKYI/vowzk4lAZYadIX6wW25MwG7DCT9RUKAJ0qVkU0mEeLElW1qg=="
    )
    assert Signer(RFC_KEY, AGENT).fields(
        "https://example.com", created=1_735_689_600, nonce=nonce, lifetime=3600
    ) == (
        ("Signature-Agent", '"https://signature-agent.test"'),
        (
            "Signature-Input",
            'sig1=("@authority" "signature-agent");created=1735689600;'
            'keyid="poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";alg="ed25519";'
            f'expires=1735693200;nonce="{nonce}";tag="web-bot-auth"',
        ),
        (
            "Signature",
            "sig1=:jdq0SqOwHdyHr9+r5jw3iYZH6aNGKijYp/EstF4RQTQdi5N5YYKrD+mCT1HA1nZDsi6nJKuHxUi"
            "/5Syp3rLWBA==:",
        ),
    )


def test_a_directory_is_signed_as_the_draft_prints_it() -> None:
    # Signed Directory Response of the same appendix, as cloudflare/web-bot-auth tests it.
    body = directory([RFC_KEY]).encode()
    found = dict(
        directory_fields(
            body, [RFC_KEY], AGENT, created=1_735_689_600, lifetime=4_889_289_600 - 1_735_689_600
        )
    )
    assert found == {
        "Content-Type": "application/http-message-signatures-directory+json",
        "Content-Digest": "sha-256=:CADMT2aBdV/rqQr/NIru64ERQkCobVvllA4V0fLFDu0=:",
        "Signature-Input": 'sig1=("@authority";req "content-digest");created=1735689600;'
        'keyid="poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";alg="ed25519";expires=4889289600;'
        'tag="http-message-signatures-directory"',
        "Signature": "sig1=:yiHq0TXrbpzbmlttAQMpYoAufitFJUWuNsakB7QQMoN0EHbo5o51bZRVR8az/ptTWCwll"
        "ix9clrKXfGKwdPzBg==:",
    }


def test_every_key_of_a_directory_signs_it() -> None:
    keys = [RFC_KEY, MINE]
    found = dict(directory_fields(b"{}", keys, AGENT, created=1, lifetime=2))
    assert re.findall(r'(sig\d)=\(.*?keyid="([^"]+)"', found["Signature-Input"]) == [
        ("sig1", RFC_KEY.id),
        ("sig2", MINE.id),
    ]
    assert re.fullmatch(r"sig1=:[^:]{88}:, sig2=:[^:]{88}:", found["Signature"])


def test_the_head_stays_as_it_was_but_for_what_signs_it() -> None:
    head = signed("a.example")
    assert head.startswith((HEAD % b"a.example")[:-2] + b'Signature-Agent: "https://bot.example"')
    names = [name for name, _ in fields_of(head)]
    assert names == ["Host", "User-Agent", "Signature-Agent", "Signature-Input", "Signature"]
    assert head.endswith(b":\r\n\r\n")
    assert head.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("form", ["string", "dictionary"])
def test_a_signature_is_of_now_for_a_minute_with_a_nonce_of_its_own(form: str) -> None:
    before = int(time.time())
    found = [
        verify(fields_of(signed("a.example", form=form)), directory([MINE]).encode())
        for _ in range(20)
    ]
    after = time.time()
    for each in found:
        assert each is not None
        assert before <= each.created <= after
        assert each.expires == each.created + LIFETIME
        assert (each.keyid, each.agent) == (MINE.id, "https://bot.example")
    assert len({each.nonce for each in found if each}) == 20


NAMES = st.from_regex(r"[a-z0-9_~-]{1,20}(\.[a-z0-9_-]{1,10}){0,3}\.?", fullmatch=True)
LITERALS = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"))
PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))


@given(
    st.one_of(NAMES, LITERALS),
    PORTS,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["string", "dictionary"]),
)
def test_what_is_signed_for_an_authority_is_good_there_and_nowhere_else(
    host: str, port: str, scheme: str, form: str
) -> None:
    # As the client has it: the default port is left out of Host (RFC 9421 2.2.3, too).
    authority = host if port == {"http": ":80", "https": ":443"}[scheme] else host + port
    head = signed(authority, scheme=scheme, form=form)
    published = directory([MINE]).encode()
    assert verify(fields_of(head), published) is not None
    assert verify(fields_of(head), directory([RFC_KEY]).encode()) is None
    for tampered in (
        head.replace(b"\r\nHost: ", b"\r\nHost: x", 1),
        head.replace(b"https://bot.example", b"https://tob.example", 1),
        re.sub(rb"expires=1", b"expires=2", head),
        re.sub(rb'nonce="..', b'nonce="!!', head).replace(b"!!", b"AA"),
    ):
        if tampered != head:
            assert verify(fields_of(tampered), published) is None
