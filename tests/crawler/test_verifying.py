"""Captured requests against directories of keys: published examples, and what may be wrong."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from crawler.keyfile import SigningKey, directory, published
from crawler.signing import Signer
from crawler.verifying import SKEW, NotVerified, verify

from .test_keyfile import RFC_KEY

KEY: Final = SigningKey.of(Ed25519PrivateKey.generate())
KEYS: Final = published(directory([KEY, RFC_KEY]).encode())
OTHERS: Final = published(directory([RFC_KEY]).encode())
NOW: Final = 1_735_689_600
WELL_KNOWN: Final = "/.well-known/http-message-signatures-directory"
# draft-ietf-webbotauth-httpsig-protocol-00 E.2, with the key of RFC 9421 B.1.4: the two forms of
# Signature-Agent; then one without it, as cloudflare/web-bot-auth tests it.
KEYID: Final = 'keyid="poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U"'
PRINTED: Final = {
    "dictionary": f"""\
GET /path/to/resource HTTP/1.1
Host: example.com
Signature-Agent: agent2="https://signature-agent.test"
Signature-Input: sig2=("@authority" "signature-agent";key="agent2");created=1735689600;{KEYID}\
;alg="ed25519";expires=4889289600;nonce="n9p433xm+NJ3ph3upfBIGmsuwHw387YV7Q/F+6BSpGCVjYCqQw6rznNA8\
PVVLySrAWsv0hQtFioQb6E1YsauiA==";tag="web-bot-auth"
Signature: sig2=:RdNFx5Bj6au3YgAMQL/RzmUlZE8QZLIaXGRpw985hWnwPfMxT228NMk6ehRS1PSl4e8PhbNZACSanGdh\
EwYCCg==:
""",
    "string": f"""\
GET /path/to/resource HTTP/1.1
Host: example.com
Signature-Agent: "https://signature-agent.test"
Signature-Input: sig2=("@authority" "signature-agent");created=1735689600;{KEYID}\
;alg="ed25519";expires=1735693200;nonce="e8N7S2MFd/qrd6T2R3tdfAuuANngKI7LFtKYI/vowzk4lAZYadIX6wW25\
MwG7DCT9RUKAJ0qVkU0mEeLElW1qg==";tag="web-bot-auth"
Signature: sig2=:jdq0SqOwHdyHr9+r5jw3iYZH6aNGKijYp/EstF4RQTQdi5N5YYKrD+mCT1HA1nZDsi6nJKuHxUi/5Syp\
3rLWBA==:
""",
    "absent": f"""\
GET /path/to/resource HTTP/1.1
Host: example.com
Signature-Input: sig1=("@authority");created=1735689600;{KEYID}\
;alg="ed25519";expires=4889289600;nonce="zIW8+cdmA3vdYagbxojpONwa/l0EKJ/O3/wD486VvsQjO/RxPaSt6Zxv\
QaMcQzNnqKN/mQ6hpGiFro2L2qkz5A==";tag="web-bot-auth"
Signature: sig1=:QKN4fTdIYfh82fvoZCQiQA1weuozfCS/Led2zTMbewMMqH8PI2Wsy/5c4ao6B6D09nraNQdBNOADg8aM\
1MqfCg==:
""",
}


def request(
    target: str = "/", *, key: SigningKey = KEY, form: str = "string", created: int = NOW
) -> str:
    fields = Signer(key, "https://bot.example", form).fields(
        "https://a.example", created=created, nonce="AAAA"
    )
    lines = [f"GET {target} HTTP/1.1", "Host: a.example", *(f"{n}: {v}" for n, v in fields)]
    return "\r\n".join([*lines, "", ""])


def problem(text: str, at: float = NOW, keys: object = KEYS) -> str:
    with pytest.raises(NotVerified) as caught:
        verify(text.encode("latin-1"), keys, at)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize(
    ("form", "agent"),
    [
        ("dictionary", "https://signature-agent.test"),
        ("string", "https://signature-agent.test"),
        ("absent", ""),
    ],
)
def test_printed_examples(form: str, agent: str) -> None:
    found = verify(PRINTED[form].encode(), KEYS, NOW)
    assert (found.keyid, found.agent, found.created) == (RFC_KEY.id, agent, NOW)
    assert found.directory == (agent and agent + WELL_KNOWN)
    assert found.covered['"@authority"'] == "example.com"
    altered = PRINTED[form].replace("example.com", "example.org")
    assert problem(altered) == "the signature is not that of this key over this request"


@pytest.mark.parametrize("form", ["string", "dictionary"])
def test_what_we_sign(form: str) -> None:
    found = verify(request(form=form).encode(), KEYS, NOW + 30)
    assert (found.keyid, found.agent) == (KEY.id, "https://bot.example")
    assert found.directory == f"https://bot.example{WELL_KNOWN}"
    assert (found.created, found.expires, found.nonce) == (NOW, NOW + 60, "AAAA")


@pytest.mark.parametrize(
    "target",
    ["/%zz|^{}[]?q[]='\"<>#", "/caf\xe9?%", "http://a.example/x[", "http://a.example?", "*"],
)
def test_a_path_may_be_as_odd_as_it_likes(target: str) -> None:
    assert verify(request(target).encode("latin-1"), KEYS, NOW).keyid == KEY.id


@pytest.mark.parametrize("target", ["{}/", "@{}/", "http://{}/", "http://x@{}/", "//{}/", "/@{}"])
def test_no_path_makes_one_host_another(target: str) -> None:
    replayed = request(target.format("a.example")).replace("Host: a.example", "Host: b.example")
    assert problem(replayed) == "the signature is not that of this key over this request"


def test_a_capture_may_end_lines_as_it_likes_and_go_on() -> None:
    text = request()
    body = text + "Signature: of a body\r\n\r\n\0\xff"
    for each in (text.replace("\r\n", "\n"), text.removesuffix("\r\n\r\n"), body):
        assert verify(each.encode("latin-1"), KEYS, NOW).keyid == KEY.id


def test_times_are_judged_by_when_the_request_came() -> None:
    for at in (NOW - SKEW, NOW, NOW + 60, NOW + 60 + SKEW):
        assert verify(request().encode(), KEYS, at).created == NOW
    late = "it came after its signature had expired: 2025-01-01 00:01:00 UTC"
    assert problem(request(), NOW + 61 + SKEW) == late
    early = "it was signed later than it came: 2025-01-01 00:00:00 UTC"
    assert problem(request(), NOW - 1 - SKEW) == early


def test_a_key_is_good_within_its_times_and_in_its_directory() -> None:
    assert problem(request(), keys=OTHERS) == f"its key {KEY.id} is not in the directory"
    for begins, ends in ((NOW + 10, None), (None, NOW - 10)):
        keys = published(directory([KEY], begins=begins, ends=ends).encode())
        assert problem(request(), keys=keys) == f"its key {KEY.id} was not valid when it came"
    keys = published(directory([KEY], begins=NOW, ends=NOW + 1).encode())
    assert verify(request().encode(), keys, NOW).keyid == KEY.id


def test_the_name_of_a_key_does_not_make_it_another() -> None:
    claimed = json.loads(directory([RFC_KEY]))
    claimed["keys"][0]["kid"] = KEY.id
    assert "is not in the directory" in problem(
        request(), keys=published(json.dumps(claimed).encode())
    )


@pytest.mark.parametrize(
    ("pattern", "by", "message"),
    [
        (r"Signature-Input: .*\r\n", "", 'Expected "Signature-Input" header field'),
        (r"Signature: .*\r\n", "", 'Expected "Signature" header field'),
        (r"Signature: .*\r\n", "Signature: sig1=1\r\n", "must be a Byte Sequence"),
        (r"Signature-Input: .*\r\n", "Signature-Input: (\r\n", "Malformed structured header"),
        (r"tag=\"web-bot-auth\"", 'tag="other"', "No signatures found matching"),
        (r";created=\d+", "", "the signature has no time 'created'"),
        (r";expires=\d+", "", "the signature has no time 'expires'"),
        (r"ed25519", "rsa-pss-sha512", "Unexpected algorithm"),
        (r"Host: a", "Host: b", "the signature is not that of this key over this request"),
        (r"bot\.example", "tob.example", "the signature is not that of this key"),
        (r"Host: .*\r\n", "", "Invalid URL"),
        (r"Host: ", "Host: b.example\r\nHost: ", "Invalid URL"),
        (r"Host: ", "Host: b@", "Invalid URL"),
        (r"Signature-Agent: .*\r\n", "", 'Covered header field "signature-agent" not found'),
        (r"(Signature-Agent: .*\r\n)", r"\1\1", "the signature is not that of this key"),
    ],
)
def test_what_was_tampered_with_is_not_verified(pattern: str, by: str, message: str) -> None:
    altered = re.sub(pattern, by, request())
    assert altered != request()
    assert message in problem(altered)


def test_a_signature_has_to_cover_host_and_sender() -> None:
    def signed(covered: str, agent: str = "") -> str:
        params = f'({covered});created={NOW};keyid="{KEY.id}";expires={NOW + 9};tag="web-bot-auth"'
        values = {'"@authority"': "a.example", '"@method"': "GET"}
        lines = [f"{name}: {values[name]}" for name in covered.split()]
        base = "\n".join([*lines, f'"@signature-params": {params}'])

        raw = base64.b64encode(KEY.private.sign(base.encode())).decode()
        return (
            f"GET / HTTP/1.1\nHost: a.example\n{agent}Signature-Input: s={params}\n"
            f"Signature: s=:{raw}:\n"
        )

    assert verify(signed('"@authority"').encode(), KEYS, NOW).agent == ""
    assert problem(signed('"@method"')) == "the signature does not say for which host it is"
    claim = 'Signature-Agent: "https://somebody.example"\n'
    assert problem(signed('"@authority"', claim)) == "Signature-Agent is not signed"


@pytest.mark.parametrize("text", ["", "\n", "hello", "HTTP/1.1 200 OK\r\n", "GET /\r\n"])
def test_what_is_no_request(text: str) -> None:
    with pytest.raises(ValueError, match="not the head of a request"):
        verify(text.encode(), KEYS, NOW)
    with pytest.raises(ValueError, match="not a header: ' folded'"):
        verify(b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n", KEYS, NOW)


@given(st.lists(st.sampled_from([*'()";:=,?*0a\\', "sig1", "tag", '"web-bot-auth"', "@1.5", "é"])))
def test_nonsense_is_not_verified(parts: list[str]) -> None:
    text = "".join(parts)
    for name in ("Signature-Input", "Signature", "Signature-Agent"):
        altered = re.sub(rf"{name}: .*\r\n", lambda _: f"{name}: {text}\r\n", request())  # noqa: B023
        assert problem(altered, time.time())
