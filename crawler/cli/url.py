"""``comity url``: what a crawl makes of a URL; nothing is fetched."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from crawler.cli.batch import BadLine, Batch, alone, answer_each
from crawler.cli.options import AsJson

app = typer.Typer(add_completion=False)


@app.command()
def url(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[URL]...", help="Absolute http or https URLs.")
    ] = None,
    batch: Batch = None,
    as_json: AsJson = False,
) -> None:
    """Show what a URL is known by: its standard form, key, SURT, host, domain, fingerprint.

    A line of a batch is a URL, and after a tab, if there is one, the base that it is relative to.
    """
    from crawler.schema import UsageError

    if alone(batch, URL=urls, **{"--json": as_json}):
        answer_each(str(batch), _line)
        return
    if not urls:
        raise UsageError("which URL? comity url URL...")
    found = [_answer(text) for text in urls]
    if as_json:
        print(json.dumps({"urls": found}))
    else:
        print("\n\n".join(_text(each) for each in found))
    raise typer.Exit(int(any("error" in each for each in found)))


def _answer(text: str) -> dict[str, Any]:
    try:
        return _line(text)
    except BadLine as error:
        return {"error": f"{error}: {text!r}"}


def _line(text: str) -> dict[str, Any]:
    from frontier.url import InvalidUrl, fingerprint, parse, serialised

    address, _, base = text.partition("\t")
    try:
        found = parse(address, base or None)
        return {
            "url": serialised(address, base or None),
            "key": found.key,
            "surt": found.surt,
            "host": found.host,
            "domain": found.domain,
            "fingerprint": fingerprint(found.key, b""),
        }
    except InvalidUrl as error:
        raise BadLine(str(error)) from error


def _text(found: dict[str, Any]) -> str:
    return "\n".join(f"{name:<12} {value}" for name, value in found.items())
