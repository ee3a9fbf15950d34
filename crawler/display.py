"""Progress and summary for people: a live panel on a terminal, plain lines elsewhere.

Everything here goes to the stream it is given (stderr for progress), so that standard output
stays free for data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from crawler.report import DryRunLine, FetchReport, Progress, Summary
from crawler.units import format_duration, format_size

WIDTH: Final = 80
LINE_INTERVAL: Final = 5.0  # seconds between plain lines
_SPARKS: Final = "▁▂▃▄▅▆▇█"
_STATE_STYLES: Final = {"completed": "bold green", "failed": "bold red", "interrupted": "yellow"}

OnProgress = Callable[[Progress], None]


def is_live(console: Console) -> bool:
    """Whether a panel that redraws itself can be shown."""
    return console.is_terminal and not console.is_dumb_terminal and console.encoding == "utf-8"


@contextmanager
def showing(stream: TextIO) -> Iterator[OnProgress]:
    """A callback that shows each snapshot it gets; the live panel is gone on leaving."""
    console = Console(file=stream)
    if not is_live(console):
        yield LinePrinter(stream)
        return
    panel = LivePanel()
    with Live(
        console=console,
        refresh_per_second=4,
        transient=True,
        redirect_stdout=False,
        get_renderable=panel.render,
    ):
        yield panel.update


class LinePrinter:
    """One plain line per interval, and one whenever the phase changes."""

    def __init__(self, stream: TextIO, interval: float = LINE_INTERVAL) -> None:
        self._stream = stream
        self._interval = interval
        self._due = 0.0  # elapsed seconds at which the next line is due
        self._phase = ""

    def __call__(self, progress: Progress) -> None:
        if progress.elapsed < self._due and progress.phase == self._phase:
            return
        self._due = progress.elapsed + self._interval
        self._phase = progress.phase
        print(progress_line(progress), file=self._stream, flush=True)


def progress_line(p: Progress) -> str:
    """A snapshot in one line."""
    parts = [
        f"{p.phase} {format_duration(p.elapsed)}",
        f"{p.pages:,} pages ({p.pages_per_s:.1f}/s)",
        f"{p.visits:,} visits",
        f"hosts {p.hosts_ready:,} ready {p.hosts_leased:,} leased {p.hosts_waiting:,} backing off",
        f"queue {p.queue:,}",
        format_size(p.bytes),
        f"duplicates {p.duplicates:,}+{p.near_duplicates:,}",
    ]
    if p.errors:
        parts.append(f"errors {_reasons(p.errors, 3)}")
    return " | ".join(parts)


class LivePanel:
    """The live display: the last snapshot, and the rates before it as a little graph."""

    def __init__(self) -> None:
        self._progress = Progress(phase="starting")
        self._rates: deque[float] = deque(maxlen=24)

    def update(self, progress: Progress) -> None:
        """Show this snapshot from the next refresh on."""
        self._progress = progress
        self._rates.append(progress.pages_per_s)

    def render(self) -> RenderableType:
        """The panel, at most 80 columns wide."""
        p = self._progress
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(ratio=1)
        rate = Text.assemble((f"{p.pages_per_s:.1f}/s ", "bold"), (sparkline(self._rates), "cyan"))
        grid.add_row("pages", Text.assemble((f"{p.pages:,}", "bold green"), "   ", rate))
        grid.add_row("visits", f"{p.visits:,} · {format_size(p.bytes)} · queue {p.queue:,}")
        grid.add_row(
            "hosts",
            f"{p.hosts_ready:,} ready · {p.hosts_leased:,} leased · "
            f"{p.hosts_waiting:,} backing off",
        )
        grid.add_row("duplicates", f"{p.duplicates:,} exact · {p.near_duplicates:,} near")
        grid.add_row("errors", Text(_reasons(p.errors, 4) or "none", "yellow" if p.errors else ""))
        if p.dropped:
            grid.add_row("dropped", _reasons(p.dropped, 4))
        rows: list[RenderableType] = [grid]
        if p.max_pages:
            rows.append(ProgressBar(total=p.max_pages, completed=min(p.pages, p.max_pages)))
        plural = "" if p.workers == 1 else "s"
        title = f"[bold]comity[/] {p.phase} · {format_duration(p.elapsed)}"
        return Panel(
            Group(*rows),
            title=title,
            title_align="left",
            subtitle=f"{p.workers} worker{plural} · Ctrl-C drains and stops",
            subtitle_align="right",
            width=WIDTH,
            border_style="cyan",
        )


def sparkline(values: deque[float]) -> str:
    """A row of blocks, scaled to the largest value."""
    top = max(values, default=0.0)
    if top <= 0:
        return ""
    return "".join(_SPARKS[min(7, int(value / top * 7.99))] for value in values)


def _reasons(counts: Mapping[str, int], most: int) -> str:
    """The largest counts by reason: ``http-404 12 · timeout 3 · 5 more``."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{reason} {count:,}" for reason, count in ranked[:most]]
    if rest := sum(count for _, count in ranked[most:]):
        parts.append(f"{rest:,} more")
    return ", ".join(parts)


def summary_table(summary: Summary) -> RenderableType:
    """The end of a crawl, for people."""
    s = summary
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    rate = s.pages / s.seconds if s.seconds else 0.0
    table.add_row("pages", f"{s.pages:,}", f"stored, {rate:.1f}/s")
    table.add_row("visits", f"{s.visits:,}", f"on {s.hosts:,} host{'' if s.hosts == 1 else 's'}")
    table.add_row("content", format_size(s.bytes), "")
    table.add_row(
        "duplicates", f"{s.duplicates + s.near_duplicates:,}",
        f"{s.duplicates:,} exact, {s.near_duplicates:,} near",
    )  # fmt: skip
    for name, counts in (
        ("dropped", s.dropped),
        ("errors", s.errors),
        ("unreached", s.unreached),
        *([("put last", s.demoted)] if s.demoted else []),
    ):
        table.add_row(name, f"{sum(counts.values()):,}", _reasons(counts, 8))
    if s.refetched:
        table.add_row("refetched", f"{s.refetched:,}", "lost with a worker before they were stored")
    heading = Text.assemble(
        ("crawl ", "bold"),
        (s.state, _STATE_STYLES[s.state]),
        f" in {format_duration(s.seconds)}",
        f" ({s.reason})" if s.reason not in ("", s.state) else "",
    )
    footer = Text.assemble(("stored in  ", "dim"), s.out)
    if s.state != "completed":
        footer.append("\n--resume goes on from there", "dim")
    return Group(heading, table, footer)


def print_summary(summary: Summary, stream: TextIO) -> None:
    """Print the summary; plain text when ``stream`` is not a terminal."""
    _console(stream).print(summary_table(summary), soft_wrap=False)


def print_fetch(report: FetchReport, stream: TextIO) -> None:
    """Print one page's report."""
    r = report
    console = _console(stream)
    say = Table.grid(padding=(0, 2))
    say.add_column(style="dim", no_wrap=True)
    say.add_column(overflow="fold")
    say.add_row("url", Text(r.url))
    say.add_row("robots", Text(_robots_line(r), "green" if r.robots.allowed else "bold red"))
    if r.reason:
        say.add_row("failed", Text(f"{r.reason} {r.detail}".strip(), "bold red"))
    if r.status:
        cut = f", truncated ({r.truncated})" if r.truncated else ""
        say.add_row("status", Text(printable(f"{r.status_line}   from {r.ip}")))
        say.add_row("content", f"{format_size(r.payload_bytes)} {r.mime} {r.charset}{cut}")
        say.add_row("digest", r.digest)
    for name, value in (("language", r.lang), ("title", r.title)):
        if value:
            say.add_row(name, Text(printable(value)))
    for line in _said(r):
        say.add_row("signal", Text(printable(line)))
    if r.timings:
        steps = (f"{step} {seconds * 1000:.0f} ms" for step, seconds in r.timings.items())
        say.add_row("timings", ", ".join(steps))
    console.print(say)
    _section(console, "headers", [f"{name}: {value}" for name, value in r.headers])
    _section(console, "text", r.text.splitlines())
    links = [f"{link.url}  {link.rel}".rstrip() for link in r.links]
    _section(console, f"links ({len(links)})", links)


def print_signals(report: FetchReport, follows: Mapping[str, str], stream: TextIO) -> None:
    """Print what a page says of its use; ``follows``: signal in force -> what a job does."""
    r = report
    console = _console(stream)
    head = Table.grid(padding=(0, 2))
    head.add_column(style="dim", no_wrap=True)
    head.add_column(overflow="fold")
    head.add_row("url", Text(r.url))
    head.add_row("robots", Text(_robots_line(r), "green" if r.robots.allowed else "bold red"))
    if r.reason:
        head.add_row("failed", Text(f"{r.reason} {r.detail}".strip(), "bold red"))
    else:
        head.add_row("signals", "" if r.signals else "none")
    console.print(head)
    _section(console, "says", _said(r))
    force = [f"{_spelt(name, value)}  {follows[name]}" for name, value in r.in_force.items()]
    _section(console, "in force, and what this job does", force)


def _said(r: FetchReport) -> list[str]:
    """Each line of the site's once, with where it stands."""
    return list(dict.fromkeys(f"{s.source}: {s.raw}" for s in r.signals))


def _spelt(name: str, value: str) -> str:
    return f"{name}={value}" if value else name


def _robots_line(r: FetchReport) -> str:
    verdict = "allowed" if r.robots.allowed else "denied"
    why = f" by line {r.robots.line}: {r.robots.rule}" if r.robots.rule else ""
    delay = f", Crawl-delay {r.robots.crawl_delay:g}s" if r.robots.crawl_delay else ""
    status = f" (robots.txt: {r.robots.status}{delay})" if r.robots.status else ""
    return printable(verdict + why + status)


def _section(console: Console, title: str, lines: list[str]) -> None:
    if lines:
        console.print(Text(f"\n{title}", "bold"))
        for line in lines:
            console.print(Text(f"  {printable(line)}"), soft_wrap=True)


def printable(text: str) -> str:
    """Text from the web made safe for a terminal: control characters become spaces."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def dry_run_line(line: DryRunLine) -> str:
    """``fetch  URL`` or ``skip   URL  reason``, tab-separated for programs."""
    return "\t".join(filter(None, (line.verdict, line.url, line.reason)))


def _console(stream: TextIO) -> Console:
    """A console that never guesses markup or highlights in what a site wrote."""
    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    return console if console.is_terminal else Console(
        file=stream, markup=False, highlight=False, emoji=False, width=100
    )  # fmt: skip
