"""``comity identity``: keys, what is published of them, and what sites see of who we are."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crawler.cli.options import AsJson, ConfigFile, Given, JobFile, takes

if TYPE_CHECKING:
    from crawler.config import Settings
    from crawler.job import JobSpec
    from crawler.signing import Signer

app = typer.Typer(
    add_completion=False,
    name="identity",
    help="Make signing keys, and what is published of them; show and check what sites see.",
    no_args_is_help=True,
)
PANELS = {"How": ("user_agent", "contact", "headers")}
_LONGEST: Final = 1_000_000  # bytes read of a captured request

KeyFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--key", metavar="FILE", help="Key to publish (repeatable; default: the signing_key)."
    ),
]
Agent = Annotated[
    str | None,
    typer.Option(
        "--agent", metavar="URL", help="Origin that publishes (default: the signature_agent)."
    ),
]


@app.command()
def key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write the key to.")],
    as_json: AsJson = False,
) -> None:
    """Make a key to sign requests with, and print its keyid; a file that is there stays."""
    from crawler.keyfile import create

    made = create(file)
    print(json.dumps({"file": str(file), "keyid": made.id}) if as_json else made.id)


@app.command()
def directory(
    keys: KeyFiles = None,
    begins: Annotated[
        str | None,
        typer.Option("--nbf", metavar="TIME", help="When the keys begin to be valid (ISO 8601)."),
    ] = None,
    ends: Annotated[
        str | None,
        typer.Option("--exp", metavar="TIME", help="When they cease to be (ISO 8601)."),
    ] = None,
    headers: Annotated[
        bool,
        typer.Option(
            "--headers",
            help="Print the headers that it has to be served with, signatures included.",
        ),
    ] = False,
    valid: Annotated[
        str,
        typer.Option("--valid", metavar="TIME", help="How long these signatures are to be good."),
    ] = "90d",
    agent: Agent = None,
    config: ConfigFile = None,
) -> None:
    """Print the document to be published at /.well-known/http-message-signatures-directory.

    It holds the public halves of keys. The headers that it is served with sign it to the byte: ask
    for them with the same --key, --nbf and --exp.
    """
    from crawler import keyfile

    settings = _settings(config)
    files = keys or ([settings.signing_key] if settings.signing_key else [])
    if not files:
        raise _usage("no key: give --key FILE, or set signing_key")
    loaded = list({found.id: found for found in map(keyfile.load, files)}.values())
    text = keyfile.directory(loaded, begins=_moment(begins, "--nbf"), ends=_moment(ends, "--exp"))
    body = f"{text}\n"
    if not headers:
        sys.stdout.write(body)
        return
    from crawler.signing import directory_fields

    origin = _origin(agent) if agent else settings.signature_agent
    if origin is None:
        raise _usage("which host publishes it? give --agent URL, or set signature_agent")
    lifetime, now = _lifetime(valid), int(time.time())
    for name, value in directory_fields(
        body.encode(), loaded, origin, created=now, lifetime=lifetime
    ):
        print(f"{name}: {value}")


@app.command()
def ranges(
    networks: Annotated[
        list[str],
        typer.Argument(metavar="NETWORK...", help="Networks (CIDR) or addresses you crawl from."),
    ],
) -> None:
    """Print the document that tells sites which addresses you crawl from."""
    from crawler.identity import address_ranges

    try:
        print(json.dumps(address_ranges(networks, time.time()), indent=2))
    except ValueError as error:
        raise _usage(str(error)) from None


@app.command()
@takes(PANELS)
def show(
    given: Given,
    url: Annotated[
        str, typer.Argument(metavar="[URL]", help="The page that is asked for in the example.")
    ] = "https://example.org/",
    job: JobFile = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a request as a site sees it, signed where there is a key; nothing is sent.

    Values of headers that a job adds are masked.
    """
    from crawler.config import resolve
    from crawler.keyfile import PATH
    from crawler.seeds import parse_seed

    resolved = resolve(given, config=config, job=job)
    settings, spec = resolved.settings, resolved.spec
    signer = _signer(settings)
    seen = {
        "url": parse_seed(url),
        "user_agent": spec.agent,
        "from": spec.mailbox,
        "product": spec.product,
        "keyid": signer.key.id if signer else None,
        "directory": f"{settings.signature_agent}{PATH}" if signer else None,
    }
    seen["request"] = _example(str(seen["url"]), spec, signer)
    print(json.dumps(seen) if as_json else _text(seen))


@app.command()
def verify(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="DIRECTORY", help="The directory of keys, from where Signature-Agent points."
        ),
    ],
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="TIME", help="When the request came (ISO 8601; default: now)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a captured request, read from standard input, against a directory of keys.

    Exit code 0: a key of the directory signed it, for that host and time. 1: not so, and why.
    """
    from crawler.keyfile import published
    from crawler.verifying import NotVerified
    from crawler.verifying import verify as check

    came = _moment(at, "--at")
    moment = time.time() if came is None else came
    try:
        keys = published(file.read_bytes())
    except ValueError as error:
        raise _usage(f"{file}: {error}") from None
    head = sys.stdin.buffer.read(_LONGEST)
    found: dict[str, Any]
    try:
        found = {"verified": True, "problem": None, **asdict(check(head, keys, moment))}
    except NotVerified as error:
        found = {"verified": False, "problem": str(error)}
    except ValueError as error:
        raise _usage(f"standard input: {error}") from None
    print(json.dumps(found) if as_json else _judged(found))
    raise typer.Exit(0 if found["verified"] else 1)


def _settings(config: Path | None) -> Settings:
    from crawler.config import resolve

    return resolve({}, config=config).settings


def _usage(message: str) -> Exception:
    from crawler.schema import UsageError

    return UsageError(message)


def _signer(settings: Settings) -> Signer | None:
    if settings.signing_key is None or settings.signature_agent is None:
        return None
    from crawler.signing import signer

    return signer(settings.signing_key, settings.signature_agent, settings.signature_form)


def _origin(text: str) -> str | None:
    """An origin as the setting would have it."""
    from crawler.config import Settings
    from crawler.schema import validate

    values = {"signing_key": "any", "signature_agent": text}
    return validate(Settings, values, lambda _: "--agent").signature_agent


def _lifetime(text: str) -> int:
    from crawler.units import parse_duration

    try:
        seconds = int(parse_duration(text))
    except ValueError as error:
        raise _usage(f"--valid: {error}") from None
    if seconds < 1:
        raise _usage(f"--valid: not a while: {text!r}")
    return seconds


def _moment(text: str | None, flag: str) -> int | None:
    """Unix seconds of a time; one without a zone is UTC."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _usage(f"{flag}: not a time: {text!r} (write 2026-11-26T07:02:10Z)") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def _example(url: str, spec: JobSpec, signer: Signer | None) -> str:
    """The head of a request for a page."""
    from crawler.config import masked
    from crawler.fetch.client import parse_target, request_head
    from crawler.identity import request_headers

    shown = spec.model_copy(update={"headers": masked("headers", spec.headers)})
    lines = [(name.encode(), value.encode()) for name, value in request_headers(shown).items()]
    target = parse_target(url)
    head = request_head("GET", target, lines, 0)
    if signer is not None:
        head = signer.sign(head, f"{target.scheme}://{target.authority}")
    return head.decode("ascii")


def _text(seen: dict[str, Any]) -> str:
    lines = [*seen["request"].split("\r\n")[:-1], f"robots.txt  {seen['product']}"]
    if seen["keyid"]:
        lines += [f"keyid       {seen['keyid']}", f"directory   {seen['directory']}"]
    else:
        lines.append("unsigned    neither signing_key nor signature_agent is set")
    return "\n".join(lines)


def _judged(found: dict[str, Any]) -> str:
    from crawler.display import printable
    from crawler.verifying import spelt

    if not found["verified"]:
        return printable(f"not verified: {found['problem']}")
    lines = [
        f"verified    signed with the key {found['keyid']}",
        f"sender      {found['agent'] or 'not named'}",
        f"directory   {found['directory'] or 'not named'} (is it from there?)",
        f"signed      {spelt(found['created'])}, good until {spelt(found['expires'])}",
        *(f"covers      {name}: {value}" for name, value in found["covered"].items()),
    ]
    return "\n".join(map(printable, lines))
