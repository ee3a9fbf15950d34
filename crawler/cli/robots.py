"""``comity robots``: ask a robots.txt the way a crawl does; nothing is fetched."""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crawler.cli.batch import BadLine, Batch, alone, answer_each
from crawler.cli.options import AsJson

if TYPE_CHECKING:
    from frontier.robots import Robots

app = typer.Typer(add_completion=False, name="robots", no_args_is_help=True)
ASKED: Final = ("robots", "agent", "url")  # what a line of a batch says
FILES: Final = 64  # parsed files of a batch that are remembered


@app.callback()
def robots() -> None:
    """Ask a robots.txt what it allows; nothing is fetched."""


@app.command("test")
def check(
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="The robots.txt; - is standard input.")
    ] = None,
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[URL]...", help="URLs or paths to ask about.")
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option("--agent", metavar="NAME", help="The crawler's product token: comity, say."),
    ] = None,
    batch: Batch = None,
    as_json: AsJson = False,
) -> None:
    """Say for each URL whether an agent may fetch it, and by which line of a robots.txt.

    A line of a batch is a JSON object with the keys robots (the file's text), agent and url.
    """
    from crawler.schema import UsageError

    if alone(batch, FILE=file, URL=urls, **{"--agent": agent, "--json": as_json}):
        answer_each(str(batch), _line)
        return
    if not file or not urls or agent is None:
        raise UsageError("what to ask? comity robots test FILE --agent NAME URL...")
    from frontier.robots import parse

    rules = parse(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    found = [{"url": url, **_verdict(rules, agent, url)} for url in urls]
    if as_json:
        print(json.dumps({"agent": agent, "urls": found}))
    else:
        print(_text(found, rules.crawl_delay(agent)))


def _line(text: str) -> dict[str, Any]:
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        raise BadLine("not JSON") from None
    if not isinstance(asked, dict):
        raise BadLine("not a JSON object")
    for key in ASKED:
        if not isinstance(asked.get(key), str):
            raise BadLine(f"no text for the key {key}")
    return _verdict(_parsed(asked["robots"]), asked["agent"], asked["url"])


@lru_cache(maxsize=FILES)
def _parsed(text: str) -> Robots:
    from frontier.robots import parse

    return parse(text.encode("utf-8", "surrogatepass"))


def _verdict(rules: Robots, agent: str, url: str) -> dict[str, Any]:
    from frontier.robots import path_of

    verdict = rules.verdict(agent, path_of(url))
    field = "Allow" if verdict.allowed else "Disallow"
    return {
        "allowed": verdict.allowed,
        "rule": None if verdict.rule is None else f"{field}: {verdict.rule}",
        "line": verdict.line,
        "crawl_delay": rules.crawl_delay(agent),
    }


def _text(found: list[dict[str, Any]], delay: float | None) -> str:
    from crawler.display import printable

    lines = []
    for each in found:
        why = f"line {each['line']}: {each['rule']}" if each["rule"] else "no rule applies"
        allowed = "allowed" if each["allowed"] else "denied "
        lines.append(printable(f"{allowed}  {each['url']}  ({why})"))
    if delay is not None:
        lines.append(f"Crawl-delay: {delay:g} s")
    return "\n".join(lines)
