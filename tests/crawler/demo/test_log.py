import json
from pathlib import Path

import pytest

from crawler.demo.log import Entry, RequestLog, entries, read

ENTRY = Entry("h:1", "127.0.0.1", "GET", "/é?q=1", 1.5, 2.25, 200, "agent/1", 10, 1, 3, 0.0, False)


def test_entries_survive_the_file(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "log.jsonl")
    log.write(ENTRY)
    assert read(log.path) == [ENTRY]  # before it is closed: others read along
    log.write(ENTRY)
    log.close()
    assert read(log.path) == [ENTRY, ENTRY]
    assert log.count == 2
    assert ENTRY.url == "http://h:1/é?q=1"


def test_a_log_is_appended_to(tmp_path: Path) -> None:
    for _ in range(2):
        log = RequestLog(tmp_path / "log.jsonl")
        log.write(ENTRY)
        log.close()
    assert len(read(tmp_path / "log.jsonl")) == 2


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "log.jsonl")
    log.write(ENTRY)
    log.close()
    text = log.path.read_text()
    log.path.write_text(text + text[: len(text) // 2])
    assert read(log.path) == [ENTRY]


def test_objects_are_taken_as_well_as_lines() -> None:
    line = json.dumps(
        {
            "host": "h",
            "address": "a",
            "method": "GET",
            "path": "/",
            "start": 1,
            "end": 2,
            "status": 200,
        }
    )
    one, other = entries([line, json.loads(line)])
    assert one == other


def test_a_directory_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        RequestLog(tmp_path)
