import json

import pytest

from crawler.report import FetchReport, RobotsReport, Summary


@pytest.mark.parametrize(("state", "code"), [("completed", 0), ("failed", 1), ("interrupted", 130)])
def test_exit_codes(state: str, code: int) -> None:
    assert Summary(state=state, out="x").exit_code == code


def test_a_summary_has_every_promised_key() -> None:
    found = json.loads(json.dumps(Summary("completed", "x", seconds=1.23456).json_dict()))
    assert set(found) >= {
        "pages", "visits", "bytes", "hosts", "duplicates", "near_duplicates", "dropped", "errors",
        "unreached", "refetched", "seconds", "out",
    }  # fmt: skip
    assert found["seconds"] == 1.235


def test_a_fetch_without_answer_has_failed() -> None:
    report = FetchReport("https://a.test/", RobotsReport(False, "Disallow: /", 2), "robots-denied")
    assert report.exit_code == 1
    assert json.loads(json.dumps(report.json_dict()))["robots"]["line"] == 2
