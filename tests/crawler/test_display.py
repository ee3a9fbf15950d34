import io
from collections import deque

import pytest
from rich.console import Console

from crawler import display
from crawler.report import (
    DryRunLine,
    FetchReport,
    LinkReport,
    Progress,
    RobotsReport,
    SignalReport,
    Summary,
)

PROGRESS = Progress(
    pages=1234,
    visits=1500,
    pages_per_s=10.4,
    bytes=12_345_678,
    hosts_ready=12,
    hosts_leased=4,
    hosts_waiting=30,
    queue=8910,
    duplicates=3,
    near_duplicates=40,
    errors={"timeout": 3, "http-404": 12, "reset": 1, "refused": 1, "too-slow": 1},
    dropped={"robots-denied": 7},
    elapsed=75.0,
    workers=2,
    max_pages=5000,
)


def rendered(panel: display.LivePanel, width: int) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=True, color_system=None).print(panel.render())
    return stream.getvalue().splitlines()


class TestLines:
    def test_a_line_says_it_all(self) -> None:
        assert display.progress_line(PROGRESS) == (
            "crawling 1m 15s | 1,234 pages (10.4/s) | 1,500 visits | "
            "hosts 12 ready 4 leased 30 backing off | queue 8,910 | 12.3 MB | duplicates 3+40 | "
            "errors http-404 12, timeout 3, refused 1, 2 more"
        )

    def test_one_per_interval_and_one_per_phase(self) -> None:
        stream = io.StringIO()
        show = display.LinePrinter(stream, interval=5.0)
        for elapsed in (0.0, 1.0, 4.9, 5.0, 6.0):
            show(Progress(elapsed=elapsed))
        show(Progress(elapsed=6.5, phase="draining"))
        starts = [line.split(" |")[0] for line in stream.getvalue().splitlines()]
        assert starts == ["crawling 0.0s", "crawling 5.0s", "draining 6.5s"]

    def test_no_panel_where_there_is_no_terminal(self) -> None:
        stream = io.StringIO()
        with display.showing(stream) as show:
            show(Progress())
        assert stream.getvalue().startswith("crawling 0.0s | 0 pages")


class TestPanel:
    @pytest.mark.parametrize("width", [80, 100, 200])
    def test_it_fits_in_80_columns(self, width: int) -> None:
        panel = display.LivePanel()
        for _ in range(40):
            panel.update(PROGRESS)
        lines = rendered(panel, width)
        assert {len(line) for line in lines} == {80}
        text = "\n".join(lines)
        for part in ("1,234", "10.4/s", "12 ready", "4 leased", "30 backing off", "http-404 12",
                     "robots-denied 7", "8,910", "2 workers", "1m 15s"):  # fmt: skip
            assert part in text

    def test_a_narrow_terminal_is_no_error(self) -> None:
        panel = display.LivePanel()
        panel.update(PROGRESS)
        assert all(len(line) <= 40 for line in rendered(panel, 40))

    def test_before_the_first_snapshot(self) -> None:
        assert "starting" in rendered(display.LivePanel(), 80)[0]

    def test_on_a_terminal_it_goes_when_done(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal(io.StringIO):
            encoding = "utf-8"

            def isatty(self) -> bool:
                return True

        monkeypatch.setenv("TERM", "xterm")
        stream = Terminal()
        with display.showing(stream) as show:
            show(PROGRESS)
        assert "\x1b[?25h" in stream.getvalue()  # the cursor is back

    def test_the_graph_is_scaled_to_its_top(self) -> None:
        assert display.sparkline(deque([0.0, 5.0, 10.0])) == "▁▄█"
        assert display.sparkline(deque([0.0])) == ""
        assert display.sparkline(deque()) == ""


def test_the_summary_names_every_count() -> None:
    summary = Summary(
        state="completed",
        out="corpus",
        pages=4812,
        visits=5001,
        bytes=10**8,
        hosts=200,
        duplicates=4,
        near_duplicates=77,
        dropped={"robots-denied": 10},
        demoted={"trap-query": 31},
        errors={"http-404": 12},
        unreached={"retry-after": 2},
        seconds=75.2,
    )
    stream = io.StringIO()
    display.print_summary(summary, stream)
    text = stream.getvalue()
    for part in ("completed in 1m 15s", "4,812", "64.0/s", "5,001", "on 200 hosts", "100 MB",
                 "4 exact, 77 near", "robots-denied 10", "http-404 12", "retry-after 2",
                 "trap-query 31", "corpus"):  # fmt: skip
        assert part in text
    assert "\x1b" not in text


def test_a_fetch_is_told_without_trusting_the_page() -> None:
    report = FetchReport(
        url="https://example.org/",
        robots=RobotsReport(True, "Allow: /", 3, "200", 2.0),
        ip="192.0.2.1",
        status=200,
        status_line="HTTP/1.1 200 OK",
        headers=(("X-Evil", "\x1b]0;title\x07"),),
        title="[bold]\x1b[31mred",
        text="One\n\x1b[2JTwo",
        links=(LinkReport("https://example.org/a", "nofollow"),),
        signals=(SignalReport("noai", "", "meta robots", "noai"),),
        timings={"total": 0.25},
    )
    stream = io.StringIO()
    display.print_fetch(report, stream)
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "\x07" not in text
    for part in ("allowed by line 3: Allow: /", "Crawl-delay 2s", "[bold]", "meta robots: noai",
                 "https://example.org/a  nofollow", "total 250 ms"):  # fmt: skip
        assert part in text


def test_dry_run_lines_are_tab_separated() -> None:
    assert display.dry_run_line(DryRunLine("https://a.test/", "fetch")) == "fetch\thttps://a.test/"
    line = DryRunLine("https://a.test/", "skip", "excluded")
    assert display.dry_run_line(line) == "skip\thttps://a.test/\texcluded"
