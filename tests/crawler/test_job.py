from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from crawler import __version__
from crawler.job import JobSpec, UsageError, load_job


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "job.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


class TestLoading:
    def test_a_whole_job(self, tmp_path: Path) -> None:
        job = load_job(
            write(
                tmp_path,
                """
                name = "docs"
                seeds = ["https://example.org/"]
                scope = "prefix"
                exclude = ["*/old/*", "re:[?&]print=1"]
                time_limit = "1h30m"
                size_limit = "2GiB"
                delay = 2
                [headers]
                Accept-Language = "en"
                [signals]
                default = "flag"
                noai = "honour"
                """,
            )
        )
        assert job.seeds == ("https://example.org/",)
        assert job.scope == "prefix"
        assert job.time_limit == 5400
        assert job.size_limit == 2 * 1024**3
        assert job.delay == 2.0
        assert job.headers == {"Accept-Language": "en"}
        assert job.signals == ("flag", "noai=honour")
        assert JobSpec.model_validate_json(job.model_dump_json()) == job

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("signals = 'obey'", "signals: should be honour, flag or ignore, not 'obey'"),
            ("[signals]\nnoia = 'flag'", "signals: no signal 'noia'; did you mean 'noai'?"),
            ("signals = 5", "signals: should be text or a table, not 5"),
            ("max_page = 5", "unknown key 'max_page'; did you mean 'max_pages'?"),
            ("depht = 5", "unknown key 'depht'; did you mean 'max_depth'?"),
            ("max-pages = 5", "unknown key 'max-pages'; did you mean 'max_pages'?"),
            ("[job]\nname = 'x'", "unknown key 'job'"),
            ("max_pages = -1", "max_pages: should be greater than or equal to 1, not -1"),
            ("order = 'best'", "order: should be 'priority', 'breadth' or 'depth', not 'best'"),
            ("weight = 0", "weight: should be greater than or equal to 1, not 0"),
            ("host_pages = 0", "host_pages: should be greater than or equal to 1, not 0"),
            ("stale_ratio = 1.5", "stale_ratio: should be less than or equal to 1, not 1.5"),
            ("stale_ratio = nan", "stale_ratio: should be less than or equal to 1, not nan"),
            ("max_query_keys = 5000", "max_query_keys: should be less than or equal to 1000"),
            ("max_pages = true", "max_pages: should be a number, not true"),
            ("max_pages = 1.5", "max_pages: should be a whole number, not 1.5"),
            ("max_pages = 'many'", "max_pages: should be a whole number, not 'many'"),
            ("max_depth = -1", "max_depth: should be greater than or equal to 0, not -1"),
            ("delay = nan", "delay: not a finite number: nan"),
            ("delay = -0.5", "delay: should be greater than or equal to 0, not -0.5"),
            ("time_limit = 'soon'", "time_limit: not a duration: 'soon'"),
            ("size_limit = 0", "size_limit: should be greater than 0, not 0"),
            ("scope = 'hots'", "scope: should be 'host', 'domain', 'prefix' or 'any', not 'hots'"),
            ("seeds = 'https://example.org'", "seeds: should be a list, not"),
            ("seeds = [1]", "seeds: should be text, not 1"),
            ("contact = 'nobody'", "contact: not an email address or a web address: 'nobody'"),
            ("contact = 'a@b.c\\r\\nX: y'", "contact: not an email address"),
            ("user_agent = 'Mozilla/5.0 (X11)'", "user_agent: names a browser"),
            ("user_agent = '1.0'", "user_agent: does not begin with a product name"),
            ("user_agent = 'a/1\\nX: y'", "user_agent: does not begin with a product name"),
            ("include = ['re:(']", "include: not a regular expression: 're:('"),
            ("exclude = ['']", "exclude: an empty pattern"),
            ("name = '../up'", "name: not a name: '../up'"),
            ("out = ''", "out: should not be empty"),
            ("headers = {'a b' = '1'}", "headers: not a header name: 'a b'"),
            ("headers = {'X' = 'a\\r\\nb'}", "headers: header X: its value must be printable"),
            ("headers = {'Host' = 'x'}", "headers: Host cannot be set"),
            ("headers = {'user-agent' = 'x'}", "headers: user-agent cannot be set; use user_agent"),
            ("headers = {'Signature-Agent' = 'x'}", "Signature-Agent cannot be set; use the"),
            ("headers = {'signature' = 'x'}", "signature cannot be set; the setting signing_key"),
            ("headers = {'Signature-Input' = 'x'}", "Signature-Input cannot be set; the setting"),
            ("headers = {'A' = '1', 'a' = '2'}", "headers: a header is given twice"),
            ("allow_private_networks = 'maybe'", "allow_private_networks: should be true or false"),
        ],
    )
    def test_mistakes_name_file_and_key_in_one_line(
        self, tmp_path: Path, text: str, message: str
    ) -> None:
        path = write(tmp_path, text.replace("'", '"'))
        with pytest.raises(UsageError) as caught:
            load_job(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_syntax_error_names_the_line(self, tmp_path: Path) -> None:
        path = write(tmp_path, 'name = "a"\nscope host\n')
        with pytest.raises(UsageError, match=rf"^{path}:2: "):
            load_job(path)

    def test_not_utf8_names_the_line(self, tmp_path: Path) -> None:
        path = write(tmp_path, b'name = "a"\n\nout = "\xff"\n')
        with pytest.raises(UsageError, match=rf"^{path}:3: not UTF-8 text$"):
            load_job(path)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"cannot read .*job\.toml: No such file"):
            load_job(tmp_path / "job.toml")

    def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"cannot read .*: Is a directory"):
            load_job(tmp_path)


def test_a_job_survives_json() -> None:
    job = JobSpec(
        seeds=("https://example.org/",),
        max_pages=5,
        time_limit=600.0,
        contact="me@example.org",
        headers={"X-A": "b"},
    )
    assert JobSpec.model_validate_json(job.model_dump_json()) == job


def test_a_job_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        JobSpec().delay = 0.0  # type: ignore[misc]


class TestIdentity:
    @pytest.mark.parametrize(
        ("given", "agent", "product", "mailbox"),
        [
            ({}, f"comity/{__version__}", "comity", None),
            (
                {"contact": "me@example.org"},
                f"comity/{__version__} (+me@example.org)",
                "comity",
                "me@example.org",
            ),
            (
                {"contact": "mailto:me@example.org"},
                f"comity/{__version__} (+me@example.org)",
                "comity",
                "me@example.org",
            ),
            (
                {"contact": "https://example.org/bot"},
                f"comity/{__version__} (+https://example.org/bot)",
                "comity",
                None,
            ),
            (
                {"user_agent": "MyBot/2.0", "contact": "me@example.org"},
                "MyBot/2.0 (+me@example.org)",
                "mybot",
                "me@example.org",
            ),
            (
                {"user_agent": "MyBot/2.0 (me@example.org)", "contact": "me@example.org"},
                "MyBot/2.0 (me@example.org)",
                "mybot",
                "me@example.org",
            ),
            (
                {"user_agent": "Mozilla/5.0 (compatible; Other-Bot/1.0)"},
                "Mozilla/5.0 (compatible; Other-Bot/1.0)",
                "other-bot",
                None,
            ),
            ({"user_agent": "  ", "contact": ""}, f"comity/{__version__}", "comity", None),
        ],
    )
    def test_user_agent_product_and_from(
        self, given: dict[str, Any], agent: str, product: str, mailbox: str | None
    ) -> None:
        job = JobSpec(**given)
        assert (job.agent, job.product, job.mailbox) == (agent, product, mailbox)


@pytest.mark.parametrize(("order", "lowest"), [("priority", 2), ("breadth", 1), ("depth", 1)])
def test_the_order_decides_whether_deep_links_are_a_class_of_their_own(
    order: Any, lowest: int
) -> None:
    assert JobSpec(order=order).lowest_class == lowest
