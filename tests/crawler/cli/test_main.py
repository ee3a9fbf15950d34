"""The command as a process: exit codes, what goes to which stream, mistakes in one line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from crawler import __version__
from crawler.cli import COMMANDS


def comity(
    *arguments: str, cwd: Path, stdin: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COMITY_")}
    done = subprocess.run(
        [sys.executable, "-m", "crawler.cli", *arguments],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env=clean | {"PYTHONPATH": os.pathsep.join(sys.path)} | (env or {}),
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


MISTAKES = {
    "unreadable seeds file": (
        ["crawl", "--seeds", "no.txt"],
        "cannot read no.txt: No such file or directory",
    ),
    "seed that is not a URL": (
        ["crawl", "--seeds", "seeds.txt"],
        "seeds.txt:2: not a URL: 'foo bar'",
    ),
    "argument that is not a URL": (
        ["crawl", "ftp://example.org"],
        "not a URL: 'ftp://example.org'",
    ),
    "no seeds": (["crawl"], "no seeds: give URLs, --seeds FILE or --sitemap URL"),
    "no contact": (
        ["crawl", "https://example.org", "--contact", ""],
        "example.org is a public host: give --contact",
    ),
    "bad contact": (
        ["crawl", "https://example.org", "--contact", "me"],
        "--contact: not an email address or a web address: 'me'",
    ),
    "unknown job key": (
        ["crawl", "--job", "job.toml"],
        "job.toml: unknown key 'max_pagse'; did you mean 'max_pages'?",
    ),
    "missing job file": (["crawl", "--job", "no.toml"], "cannot read no.toml: No such file"),
    "broken job file": (["crawl", "--job", "broken.toml"], "broken.toml:1: "),
    "unknown config key": (
        ["config", "--config", "bad.toml"],
        "bad.toml: unknown key 'redsi'; did you mean 'redis'?",
    ),
    "negative number": (
        ["crawl", "a.test", "--max-pages", "-1"],
        "--max-pages: should be greater than or equal to 1, not '-1'",
    ),
    "negative delay": (["crawl", "a.test", "--delay", "-1"], "--delay: should be greater than"),
    "not a number": (["crawl", "a.test", "--max-depth", "deep"], "--max-depth: should be a whole"),
    "not a duration": (["crawl", "a.test", "--time-limit", "nan"], "--time-limit: not a finite"),
    "unknown scope": (["crawl", "a.test", "--scope", "all"], "--scope: should be 'host', 'domain'"),
    "bad pattern": (["crawl", "a.test", "--include", "re:("], "--include: not a regular"),
    "unknown signal": (
        ["signals", "a.test", "--signals", "noia=flag"],
        "--signals: no signal 'noia'; did you mean 'noai'?",
    ),
    "bad header": (
        ["crawl", "a.test", "--header", "no colon"],
        "--header: not 'Name: value': 'no colon'",
    ),
    "bad name server": (
        ["crawl", "a.test", "--dns-server", "ns.example.org:53"],
        "--dns-server: not IP:PORT: 'ns.example.org:53'",
    ),
    "bad Redis URL": (["crawl", "a.test", "--redis", "h:6379"], "--redis: not a Redis URL"),
    "export suffix": (["crawl", "a.test", "-o", "pages.xlsx"], "pages.xlsx"),
    "export directory": (["crawl", "a.test", "-o", "no/pages.csv"], "cannot write no/pages.csv"),
    "unknown option": (["crawl", "--max-page", "5"], "No such option: --max-page"),
    "unknown command": (["crwal"], "No such command 'crwal'. Did you mean 'crawl'?"),
    "worker without Redis": (["worker"], "a worker needs --redis URL"),
    "fetch of no URL": (["fetch", "foo bar"], "not a URL: 'foo bar'"),
    "corpus that is none": (["corpus", "info", "empty"], "no corpus in empty"),
    "unknown kind": (["corpus", "pages", "empty", "--kind", "pages"], "--kind: should be one of"),
    "unknown format": (["corpus", "pages", "empty", "--format", "xml"], "--format: should be one"),
    "unknown size": (
        ["demo", "--size", "huge"],
        "--size: should be one of small, default, large, not 'huge'",
    ),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "seeds.txt").write_text("https://a.test/\nfoo bar\n")
    (tmp_path / "job.toml").write_text("max_pagse = 5\n")
    (tmp_path / "broken.toml").write_text("scope host\n")
    (tmp_path / "bad.toml").write_text('redsi = "redis://h"\n')
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(case: str, place: Path) -> None:
    arguments, message = MISTAKES[case]
    done = comity(*arguments, cwd=place)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"comity: error: [^\n]+\n", done.stderr), done.stderr
    assert message in done.stderr
    assert sorted(p.name for p in place.iterdir()) == [
        "bad.toml", "broken.toml", "empty", "job.toml", "seeds.txt",
    ]  # fmt: skip


def test_an_unknown_variable_is_named(tmp_path: Path) -> None:
    done = comity("config", cwd=tmp_path, env={"COMITY_DELAYS": "1"})
    assert done.returncode == 2
    assert "unknown key 'COMITY_DELAYS'; did you mean 'COMITY_DELAY'?" in done.stderr


def test_seeds_from_standard_input_are_checked(tmp_path: Path) -> None:
    done = comity("crawl", "--seeds", "-", cwd=tmp_path, stdin=b"a.test\nb test\n")
    assert done.returncode == 2
    assert done.stderr == "comity: error: stdin:2: not a URL: 'b test'\n"


def test_version(tmp_path: Path) -> None:
    done = comity("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"comity {__version__}\n")


def test_help_lists_every_command_and_loads_none(tmp_path: Path) -> None:
    script = (
        "import sys; from crawler.cli import main; main(['--help']);"
        "print(sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, cwd=tmp_path, check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    for name in COMMANDS:
        assert f" {name} " in done.stdout.decode()
    loaded = set(eval(done.stderr))  # noqa: S307 - a list of names that we printed
    heavy = {
        "pydantic",
        "redis",
        "scrapy",
        "aiohttp",
        "pyarrow",
        "boto3",
        "deltalake",
        "tldextract",
    }
    assert not loaded & heavy


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, tmp_path: Path) -> None:
    done = comity(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"Usage: comity {command}" in done.stdout


def test_no_command_shows_help(tmp_path: Path) -> None:
    done = comity(cwd=tmp_path)
    assert "crawl" in done.stdout
    assert (done.returncode, done.stderr) == (2, "")


def test_config_shows_values_and_origins(tmp_path: Path) -> None:
    (tmp_path / "comity.toml").write_text('redis = "redis://:secret@h"\ndelay = "2s"\n')
    done = comity("config", "--max-pages", "5", cwd=tmp_path, env={"COMITY_SCOPE": "domain"})
    assert done.returncode == 0
    shown = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert shown["redis"] == ["redis://:***@h", "comity.toml"]
    assert shown["delay"] == ["2s", "comity.toml"]
    assert shown["scope"] == ["domain", "COMITY_SCOPE"]
    assert shown["max_pages"] == ["5", "--max-pages"]
    assert shown["max_depth"] == ["-", "default"]


def test_config_as_one_line_of_json(tmp_path: Path) -> None:
    env = {"COMITY_REDIS": "redis://u:secret@h"}
    done = comity("config", "--json", "--delay", "500ms", cwd=tmp_path, env=env)
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert found["delay"] == {"value": 0.5, "origin": "--delay"}
    assert found["redis"] == {"value": "redis://u:***@h", "origin": "COMITY_REDIS"}
    assert found["partitions"] == {"value": 64, "origin": "default"}


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "crawler.cli", "config"],
            stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60, check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")
