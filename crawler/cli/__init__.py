"""The command ``comity``: one module per command group, loaded when it is called.

Kept here: a mistake of the user's is one line on stderr and exit code 2, never a traceback; and
``comity --help`` is instant, as no command's module is imported for it.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from crawler import __version__

USAGE_ERROR: Final = 2
INTERRUPTED: Final = 130  # as shells number Ctrl-C
# Command -> its line in `comity --help`; each is the Typer app of the module of that name.
COMMANDS: Final = {
    "crawl": "Crawl the web from URLs into WARC files and a table of pages.",
    "fetch": "Fetch one page: robots verdict, headers, text, links, signals.",
    "explain": "Say why a URL was fetched or not, or what it waits for.",
    "signals": "Show what a page says about its use, and what a crawl makes of it.",
    "robots": "Ask a robots.txt what it allows; nothing is fetched.",
    "url": "Show what a URL is known by; nothing is fetched.",
    "corpus": "Look into a stored corpus.",
    "frontier": "Look into a frontier: what waits and why; check, move, rebuild it.",
    "block": "Keep the whole fleet away from hosts, URLs or addresses, at once.",
    "identity": "Make signing keys and what is published of them; check what sites see.",
    "eval": "Measure the quality of main text and near-duplicates on fixed sets.",
    "config": "Show every setting and where its value came from.",
    "worker": "Join a fleet: serve every runnable job of a Redis.",
    "demo": "Crawl or serve the bundled web; no network needed.",
}


class _Commands(TyperGroup):
    """Lists commands by name alone and loads the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, stub, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else stub, rest


def load(name: str) -> Any:
    """The click command (or group) behind an entry of ``COMMANDS``."""
    return typer.main.get_command(importlib.import_module(f"crawler.cli.{name}").app)


def build() -> Any:
    """The click group ``comity``."""
    app = typer.Typer(
        cls=_Commands,
        help="A polite distributed web crawler.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, line in COMMANDS.items():
        app.command(name, help=line)(_stub(name))
    return typer.main.get_command(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"comity {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    """Options of ``comity`` itself."""


def _stub(name: str) -> Callable[[], None]:
    def run() -> None:
        raise AssertionError(f"{name} was not loaded")

    return run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    try:
        code = build().main(args=arguments, prog_name="comity", standalone_mode=False)
        sys.stdout.flush()
    except TyperException as exc:
        return _fail(exc.format_message())
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, as in `| head`: not worth a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as exc:
        if isinstance(exc, _user_errors()):
            return _fail(str(exc))
        raise
    return code if isinstance(code, int) else 0


def _user_errors() -> tuple[type[Exception], ...]:
    """Exceptions whose message is a line for the user; imported only once something failed."""
    from crawler.schema import UsageError
    from frontier.model import FrontierError
    from storage.blob import StorageError

    return (UsageError, FrontierError, StorageError, OSError)


def _fail(message: str) -> int:
    """One line on stderr; an empty message means that help was shown instead."""
    if line := " ".join(message.split()):
        print(f"comity: error: {line}", file=sys.stderr)
    return USAGE_ERROR
