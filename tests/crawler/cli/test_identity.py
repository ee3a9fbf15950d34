"""`comity identity`: keys, what is published of them, what sites see and how they check it."""

from __future__ import annotations

import base64
import calendar
import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from crawler import __version__
from crawler.cli import main
from crawler.keyfile import load
from tests.verifier import fields_of, keys
from tests.verifier import verify as verified

from .test_main import comity

PATH = "/.well-known/http-message-signatures-directory"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main(["identity", "key", "key.pem"]) == 0
    return tmp_path


@pytest.fixture
def settings(place: Path) -> Path:
    (place / "comity.toml").write_text(
        'signing_key = "key.pem"\nsignature_agent = "https://bot.example.org"\n'
        'contact = "me@example.org"\n'
    )
    return place


class Run:
    """Runs the command in this process; what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        capsys.readouterr()

    def __call__(self, *arguments: str) -> str:
        assert main(["identity", *arguments]) == 0
        return self._capsys.readouterr().out

    def refused(self, *arguments: str) -> str:
        assert main(["identity", *arguments]) == 2
        out, err = self._capsys.readouterr()
        assert out == ""
        found = re.fullmatch(r"comity: error: ([^\n]+)\n", err)
        assert found is not None, err
        return found[1]


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


# -- key


def test_a_key_is_made_and_named(run: Run) -> None:
    keyid = run("key", "other.pem").strip()
    assert keyid == load("other.pem").id
    assert Path("other.pem").stat().st_mode & 0o777 == 0o600
    found = json.loads(run("key", "third.pem", "--json"))
    assert found == {"file": "third.pem", "keyid": load("third.pem").id}


def test_no_key_is_lost(run: Run) -> None:
    before = load("key.pem").id
    assert run.refused("key", "key.pem").startswith("key.pem is there already")
    assert load("key.pem").id == before


# -- directory


def test_a_directory_holds_the_public_halves(run: Run) -> None:
    run("key", "next.pem")
    text = run("directory", "--key", "key.pem", "--key", "next.pem", "--key", "key.pem")
    assert list(keys(text.encode())) == [load("key.pem").id, load("next.pem").id]
    assert "PRIVATE" not in text
    assert text.endswith("}\n")


def test_a_directory_is_of_the_key_in_use_by_default(run: Run, settings: Path) -> None:
    text = run("directory", "--nbf", "2026-11-26", "--exp", "2027-11-26T00:00:00+01:00")
    [entry] = json.loads(text)["keys"]
    assert (entry["kid"], entry["nbf"], entry["exp"]) == (
        load("key.pem").id,
        1_795_651_200,
        1_827_183_600,
    )


def test_the_headers_of_a_directory_sign_it(run: Run, settings: Path) -> None:
    body = run("directory", "--nbf", "2026-11-26")
    before = int(time.time())
    lines = run("directory", "--nbf", "2026-11-26", "--headers", "--valid", "2d").splitlines()
    found = dict(line.split(": ", 1) for line in lines)
    assert found["Content-Type"] == "application/http-message-signatures-directory+json"
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    assert found["Content-Digest"] == f"sha-256=:{digest}:"
    params = found["Signature-Input"].removeprefix("sig1=")
    times = re.search(r"created=(\d+);.*expires=(\d+)", params)
    assert times is not None
    assert before <= int(times[1]) <= time.time()
    assert int(times[2]) == int(times[1]) + 2 * 86_400
    base = (
        f'"@authority";req: bot.example.org\n"content-digest": {found["Content-Digest"]}\n'
        f'"@signature-params": {params}'
    )
    raw = base64.b64decode(found["Signature"].removeprefix("sig1=:").removesuffix(":"))
    keys(body.encode())[load("key.pem").id].verify(raw, base.encode())


def test_the_host_of_a_directory_may_be_named(run: Run) -> None:
    arguments = ("directory", "--key", "key.pem", "--headers")
    assert 'tag="http-message' in run(*arguments, "--agent", "https://bot.example.org/")
    assert run.refused(*arguments).startswith("which host publishes it? give --agent URL")
    wrong = run.refused(*arguments, "--agent", "http://bot.example.org")
    assert wrong.startswith("--agent: not an https origin: 'http://bot.example.org'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["directory"], "no key: give --key FILE, or set signing_key"),
        (["directory", "--key", "no.pem"], "cannot read no.pem: No such file or directory"),
        (["directory", "--key", "key.pem", "--exp", "soon"], "--exp: not a time: 'soon'"),
        (
            ["directory", "--key", "key.pem", "--headers", "--agent", "https://a", "--valid", "0"],
            "--valid: not a while: '0'",
        ),
        (
            ["directory", "--key", "key.pem", "--headers", "--agent", "https://a", "--valid", "x"],
            "--valid: not a duration: 'x'",
        ),
        (["ranges", "8.8.8.0/33"], "not a network: '8.8.8.0/33'"),
        (["ranges", "8.8.8.1/24"], "not a network: '8.8.8.1/24' (8.8.8.1/24 has host bits set)"),
        (["ranges", "10.0.0.0/8"], "not a network on the public Internet: '10.0.0.0/8'"),
        (["ranges", "192.0.2.1"], "not a network on the public Internet: '192.0.2.1'"),
        (["ranges", "2001:db8::/32"], "not a network on the public Internet: '2001:db8::/32'"),
        (["ranges", "0.0.0.0/0"], "not a network on the public Internet: '0.0.0.0/0'"),
        (["ranges", "::/0"], "not a network on the public Internet: '::/0'"),
        (["show", "foo bar"], "not a URL: 'foo bar'"),
        (["verify", "no.json"], "[Errno 2] No such file or directory: 'no.json'"),
        (["verify", "key.pem"], "key.pem: not a directory of keys: no JSON"),
        (["verify", "key.pem", "--at", "noon"], "--at: not a time: 'noon'"),
    ],
)
def test_mistakes(run: Run, arguments: list[str], message: str) -> None:
    assert run.refused(*arguments).startswith(message)


# -- ranges


def test_ranges_are_as_sites_read_them(run: Run) -> None:
    before = int(time.time())
    text = run("ranges", "8.8.8.0/24", "2001:4860::/32", "1.1.1.1", "8.8.8.0/24")
    found: dict[str, Any] = json.loads(text)
    assert found["prefixes"] == [
        {"ipv4Prefix": "8.8.8.0/24"},
        {"ipv6Prefix": "2001:4860::/32"},
        {"ipv4Prefix": "1.1.1.1/32"},
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["creationTime"])
    made = time.strptime(found["creationTime"], "%Y-%m-%dT%H:%M:%SZ")
    assert before <= calendar.timegm(made) <= time.time()


# -- show


def test_what_a_site_sees_of_who_does_not_sign(run: Run) -> None:
    text = run("show", "--contact", "me@example.org", "--header", "X-Token: s3cret")
    lines = text.splitlines()
    assert lines[:3] == [
        "GET / HTTP/1.1",
        "Host: example.org",
        f"User-Agent: comity/{__version__} (+me@example.org)",
    ]
    assert "From: me@example.org" in lines
    assert "X-Token: ***" in lines
    assert lines[-2] == "robots.txt  comity"
    assert lines[-1].startswith("unsigned ")
    assert "s3cret" not in text


def test_what_a_site_sees_of_who_signs(run: Run, settings: Path) -> None:
    published = run("directory").encode()
    found = json.loads(run("show", "a.test:8080/x", "--user-agent", "mybot/2", "--json"))
    assert found["url"] == "http://a.test:8080/x"
    assert found["user_agent"] == "mybot/2 (+me@example.org)"
    assert (found["from"], found["product"]) == ("me@example.org", "mybot")
    assert found["directory"] == f"https://bot.example.org{PATH}"
    signed = verified(fields_of(found["request"].encode()), published)
    assert signed is not None
    assert (signed.keyid, signed.agent) == (found["keyid"], "https://bot.example.org")
    assert f"keyid       {signed.keyid}\n" in run("show")


def test_show_tells_of_a_key_that_cannot_be_used(run: Run, settings: Path) -> None:
    Path("key.pem").chmod(0o644)
    assert run.refused("show").startswith("key.pem is open to others (mode 0644)")


# -- verify


def check(place: Path, request: str, *options: str) -> tuple[int, str, str]:
    done = comity("identity", "verify", "keys.json", *options, cwd=place, stdin=request.encode())
    return done.returncode, done.stdout, done.stderr


def test_a_request_is_checked_against_a_directory(run: Run, settings: Path) -> None:
    Path("keys.json").write_text(run("directory"))
    keyid = load("key.pem").id
    shown = run("show")
    code, out, _ = check(settings, shown)
    assert code == 0
    assert out.startswith(f"verified    signed with the key {keyid}\n")
    assert "sender      https://bot.example.org\n" in out
    assert f"directory   https://bot.example.org{PATH} (is it from there?)\n" in out
    assert 'covers      "@authority": example.org\n' in out
    code, out, _ = check(settings, shown, "--json")
    found = json.loads(out)
    assert (found["verified"], found["problem"], found["keyid"]) == (True, None, keyid)
    assert found["expires"] == found["created"] + 60
    # As it would have been judged a year ago, and for another host.
    code, out, _ = check(settings, shown, "--at", "2025-11-26T00:00:00")
    assert code == 1
    assert out.startswith("not verified: it was signed later than it came: ")
    other = shown.replace("Host: example.org", "Host: example.com")
    code, out, _ = check(settings, other, "--json")
    assert code == 1
    assert json.loads(out) == {
        "verified": False,
        "problem": "the signature is not that of this key over this request",
    }


def test_an_unsigned_or_a_broken_request_is_told_apart(run: Run, place: Path) -> None:
    Path("keys.json").write_text(run("directory", "--key", "key.pem"))
    code, out, err = check(place, run("show"))
    assert (code, err) == (1, "")
    assert out == 'not verified: Expected "Signature-Input" header field to be present\n'
    code, out, err = check(place, "hello")
    assert (code, out) == (2, "")
    assert err.startswith("comity: error: standard input: not the head of a request")


def test_times_beyond_any_calendar_are_told_all_the_same(run: Run, settings: Path) -> None:
    Path("keys.json").write_text(run("directory"))
    distant = re.sub(r"expires=\d+", "expires=999999999999999", run("show"))
    assert check(settings, distant)[:2] == (
        1,
        "not verified: the signature is not that of this key over this request\n",
    )
    never = re.sub(r"expires=\d+", "expires=-99999999999999", run("show"))
    assert check(settings, never)[1].endswith("had expired: -99999999999999\n")
