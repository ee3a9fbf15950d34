"""`comity robots test` and `comity url`: single questions, and files of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crawler.cli import main
from frontier.url import fingerprint

from .test_main import comity

ROBOTS = (
    b"\xef\xbb\xbfUser-agent: *\r\nDISALLOW : /x # no\r\nCrawl-delay: 2.5\r\n\r\n"
    b"User-agent: FooBot\nAllow: /\n"
)
URL_KEYS = {"url", "key", "surt", "host", "domain", "fingerprint"}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "robots.txt"
    path.write_bytes(ROBOTS)
    return str(path)


def answers(stdout: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in stdout.splitlines()]


@contextmanager
def conversing(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command with both ends of its pipes in our hands."""
    with subprocess.Popen(
        [sys.executable, "-m", "crawler.cli", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


# -- robots


def test_robots_names_the_deciding_line(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robots", "test", file, "--agent", "any", "http://a.test/x/y", "/z"]) == 0
    assert capsys.readouterr().out == (
        "denied   http://a.test/x/y  (line 2: Disallow: /x)\n"
        "allowed  /z  (no rule applies)\n"
        "Crawl-delay: 2.5 s\n"
    )


def test_robots_as_json(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robots", "test", file, "--agent", "foobot/2.0", "/x", "--json"]) == 0
    [found] = answers(capsys.readouterr().out)
    assert found == {
        "agent": "foobot/2.0",
        "urls": [
            {"url": "/x", "allowed": True, "rule": "Allow: /", "line": 6, "crawl_delay": None}
        ],
    }


def test_robots_from_standard_input(tmp_path: Path) -> None:
    done = comity("robots", "test", "-", "--agent", "any", "/x", cwd=tmp_path, stdin=ROBOTS)
    assert (done.returncode, done.stdout.split()[0]) == (0, "denied")


def test_control_characters_of_a_robots_txt_reach_no_terminal(tmp_path: Path) -> None:
    evil = b"User-agent: *\nDisallow: /\x1b[31m\n"
    done = comity("robots", "test", "-", "--agent", "a", "/%1B[31m", cwd=tmp_path, stdin=evil)
    assert done.stdout == "denied   /%1B[31m  (line 2: Disallow: / [31m)\n"


LINES = [
    '{"robots": "User-agent: *\\nDisallow: /x", "agent": "a", "url": "http://h/x", "id": 7}',
    '{"robots": "", "agent": "", "url": ""}',
    "",
    "nonsense",
    "[1]",
    '{"robots": "", "agent": "a"}',
    '{"robots": 1, "agent": "a", "url": "/"}',
    "[" * 100_000,
    '{"robots": "User-agent: a\\nCrawl-delay: 3", "agent": "A/1", "url": "/\\ud800"}',
]


def test_robots_batch_answers_every_line_in_order(tmp_path: Path) -> None:
    stdin = "\n".join(LINES).encode() + b'\n"\xff"\r\n'
    done = comity("robots", "test", "--batch", "-", cwd=tmp_path, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    none = {"allowed": True, "rule": None, "line": None, "crawl_delay": None}
    assert answers(done.stdout) == [
        {"allowed": False, "rule": "Disallow: /x", "line": 2, "crawl_delay": None},
        none,
        {"error": "not JSON"},
        {"error": "not JSON"},
        {"error": "not a JSON object"},
        {"error": "no text for the key url"},
        {"error": "no text for the key robots"},
        {"error": "not JSON"},
        none | {"crawl_delay": 3.0},
        {"error": "not UTF-8"},
    ]


# -- URLs


def test_url_shows_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    text = "HTTPS://me:pw@www.Example.co.uk:443/a/../%7Eb?y&utm_source=x&a=%c3%bc#c"
    assert main(["url", text, "--json"]) == 0
    [found] = answers(capsys.readouterr().out)
    key = "https://www.example.co.uk/~b?y&a=%C3%BC"
    assert found["urls"] == [
        {
            "url": "https://www.example.co.uk/%7Eb?y&utm_source=x&a=%c3%bc",
            "key": key,
            "surt": "uk,co,example)/~b?a=%c3%bc&utm_source=x&y",
            "host": "www.example.co.uk",
            "domain": "example.co.uk",
            "fingerprint": fingerprint(key, b""),
        }
    ]


def test_url_for_people_and_what_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["url", "http://a.test", "a.test"]) == 1
    first, second = capsys.readouterr().out.split("\n\n")
    assert first.splitlines()[0].split() == ["url", "http://a.test/"]
    assert {line.split()[0] for line in first.splitlines()} == URL_KEYS
    assert second.startswith("error        no scheme")
    assert "'a.test'" in second


def test_url_batch_answers_every_line_in_order(tmp_path: Path) -> None:
    stdin = b"http://a.test/ b\n\n../c\thttp://a.test/x/y\r\nhttp://a.test/?fbclid=1\t\nfoo\n\xff\nhttp://a.test/?"
    done = comity("url", "--batch", "-", cwd=tmp_path, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    found = answers(done.stdout)
    assert [each.get("url") for each in found] == [
        *("http://a.test/%20b", None, "http://a.test/c", "http://a.test/?fbclid=1", None, None),
        "http://a.test/?",
    ]
    assert all(each.keys() in (URL_KEYS, {"error"}) for each in found)
    assert found[3]["key"] == "http://a.test/"


# -- both


def test_a_batch_answers_before_it_reads_on() -> None:
    with conversing("url", "--batch", "-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(f"http://a.test/{number}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["url"] == f"http://a.test/{number}"


def test_a_batch_ends_quietly_when_nobody_reads_it() -> None:
    with conversing("url", "--batch", "-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("http://a.test/\n")
        process.stdin.flush()
        assert process.stdout.readline()
        process.stdout.close()
        process.stdin.write("http://a.test/\n" * 10)
        process.stdin.close()
        assert process.wait(60) == 1
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["robots", "test"], "what to ask?"),
        (["robots", "test", "robots.txt", "/x"], "what to ask?"),
        (["robots", "test", "robots.txt", "--agent", "a"], "what to ask?"),
        (["robots", "test", "no.txt", "--agent", "a", "/"], "No such file or directory: 'no.txt'"),
        (["robots", "test", "--batch", "no.txt"], "No such file or directory: 'no.txt'"),
        (["robots", "test", "robots.txt", "--batch", "-"], "leave out FILE"),
        (["robots", "test", "--agent", "a", "--batch", "-"], "leave out --agent"),
        (["url"], "which URL?"),
        (["url", "http://a.test/", "--batch", "-"], "leave out URL"),
        (["url", "--batch", "-", "--json"], "leave out --json"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("comity: error: ")
    assert err.count("\n") == 1
    assert message in err
