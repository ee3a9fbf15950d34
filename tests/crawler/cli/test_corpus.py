"""`comity corpus` over a real, small corpus."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crawler.cli import main
from storage.blob import open_store
from storage.committer import Committer
from storage.segment import stage
from storage.table import SCHEMA
from tests.storage.samples import LAYOUT, failure, page, writer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(tmp_path: Path) -> str:
    """Five pages (the fifth repeats the first), a robots.txt and a failure, committed."""
    root = str(tmp_path / "corpus")
    store = open_store(root)
    segment = writer(tmp_path / "spool")
    for number in range(4):
        segment.append(page(number))
    segment.append(page(4, title="\x1b[31mred", text="Evil\x1b[2J text"))
    segment.append(page(5, kind="robots", title=None, text=None))
    segment.append(failure(6))
    stage(store, segment.seal({str(number) for number in range(7)}))
    committer = Committer(store, LAYOUT)
    committer.prepare()
    committer.commit(list(committer.staged()))
    store.close()
    return root


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["corpus", *arguments])
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


def test_info(root: str, run: Run) -> None:
    code, out, _ = run("info", root)
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (lines["pages"], lines["visits"]) == ("5", "6")
    assert lines["by_reason"] == "dns-nxdomain 1"


def test_info_as_one_line_of_json(root: str, run: Run) -> None:
    _, out, _ = run("info", root, "--json")
    assert out.count("\n") == 1
    assert json.loads(out)["by_kind"] == {"page": 6, "robots": 1}


@pytest.mark.parametrize(
    ("kind", "count"), [("page", 6), ("robots", 1), ("sitemap", 0), ("all", 7)]
)
def test_jsonl_gives_every_row_and_column(root: str, run: Run, kind: str, count: int) -> None:
    code, out, _ = run("pages", root, "--format", "jsonl", "--kind", kind)
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, len(rows)) == (0, count)
    for row in rows:
        assert list(row) == SCHEMA.names


def test_csv_has_a_header_and_every_row(root: str, run: Run) -> None:
    _, out, _ = run("pages", root, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 6
    assert list(rows[0]) == SCHEMA.names


def test_the_table_is_safe_for_a_terminal(root: str, run: Run) -> None:
    _, out, _ = run("pages", root)
    lines = out.splitlines()
    assert lines[0].split() == ["status", "dup", "lang", "url", "title"]
    assert len(lines) == 7
    assert "\x1b" not in out
    assert "http://h1.example/1  Page 1" in out
    assert "dns-nxdomain" in out


def test_show_gives_row_and_exchange(root: str, run: Run) -> None:
    code, out, _ = run("show", root, "HTTP://h1.example/1")
    assert code == 0
    for part in ("http://h1.example/1", "Page 1", "HTTP/1.1 200 OK", "some text", "16 bytes"):
        assert part in out


def test_show_is_safe_for_a_terminal(root: str, run: Run) -> None:
    _, out, _ = run("show", root, "http://h4.example/4")
    assert "red" in out
    assert "\x1b" not in out


def test_show_raw_is_the_body(root: str, run: Run) -> None:
    _, out, _ = run("show", root, "http://h1.example/1", "--raw")
    assert out == "<p>page 1" * 50


def test_a_failed_visit_has_no_body(root: str, run: Run) -> None:
    assert "dns-nxdomain" in run("show", root, "http://gone6.example/")[1]
    code, _, err = run("show", root, "http://gone6.example/", "--raw")
    assert (code, err) == (2, "comity: error: no answer is stored for http://gone6.example/\n")


def test_unknown_pages_and_jobs(root: str, run: Run) -> None:
    code, _, err = run("show", root, "http://h1.example/none")
    assert (code, err) == (2, f"comity: error: {root} has no visit of http://h1.example/none\n")
    code, _, err = run("info", root, "--name", "other")
    assert code == 2
    assert "job 'other'" in err


def test_dedupe_refuses_sketches_of_another_version(root: str, run: Run) -> None:
    code, _, err = run("dedupe", root)
    assert code == 2
    assert "holds a sketch of 16 bytes" in err
    assert err.count("\n") == 1


@pytest.fixture
def copies(tmp_path: Path) -> str:
    """Three pages of one text, and one of another, in tables of their own."""
    store = open_store(str(tmp_path / "copies"))
    for number in range(4):
        segment = writer(tmp_path / "spool")
        segment.append(page(number, minhash=bytes([number // 3 * 255]) * 128))
        stage(store, segment.seal({str(number)}))
    committer = Committer(store, LAYOUT)
    committer.commit(list(committer.staged()))
    store.close()
    return str(tmp_path / "copies")


def test_dedupe_writes_into_the_table(copies: str, run: Run) -> None:
    counts = {"pages": 4, "clusters": 1, "copies": 2, "largest": 3}
    code, out, err = run("dedupe", copies, "--dry-run", "--json")
    assert (code, out.count("\n"), err) == (0, 1, "")
    assert json.loads(out) == {**counts, "changed": 4, "commits": 0}
    _, out, _ = run("dedupe", copies, "--memory", "200MB")
    lines = {name: int(count) for name, count in (line.split() for line in out.splitlines())}
    assert lines == {**counts, "changed": 4, "commits": 1}
    _, out, _ = run("pages", copies, "--format", "jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert sum(row["is_representative"] for row in rows) == 2
    assert len({row["cluster_id"] for row in rows}) == 2
    assert json.loads(run("dedupe", copies, "--json")[1])["changed"] == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--engine", "pandas"), "--engine: should be one of duckdb, spark, not 'pandas'"),
        (("--memory", "much"), "--memory: not a size: 'much' (write 1000000, 500MB or 2GiB)"),
        (("--memory", "1MB"), "1 MB of memory are too few: give more with --memory"),
        (("--name", "other"), "no corpus of job 'other'"),
    ],
)
def test_dedupe_refuses_in_one_line(
    copies: str, run: Run, arguments: tuple[str, str], line: str
) -> None:
    code, out, err = run("dedupe", copies, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"comity: error: {line}")
    assert err.count("\n") == 1
