"""``comity explain``: why a URL was fetched or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crawler.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from crawler.conclusion import Conclusion, Facts

Lines = Iterator[tuple[str, str]]  # heading, text

app = typer.Typer(add_completion=False)


@app.command()
def explain(
    url: Annotated[str, typer.Argument(metavar="URL", help="The page.")],
    out: Annotated[
        str | None,
        typer.Argument(metavar="[DIR]", help="What --out of a crawl got; or give --redis."),
    ] = None,
    redis: Annotated[
        str | None, typer.Option("--redis", metavar="URL", help="The fleet's Redis (COMITY_REDIS).")
    ] = None,
    workspace: Annotated[
        str | None, typer.Option("--workspace", metavar="NAME", help="Only this workspace's jobs.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Only the job so named.")
    ] = None,
    dns_server: Annotated[
        str | None,
        typer.Option("--dns-server", metavar="IP:PORT", help="Name server to ask instead."),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say why a URL was fetched or not, or what it waits for, and all that decides it.

    From live state and from what is stored, for each job; its site is not contacted. --json gives
    an object per job: code, text, and the facts.
    """
    from crawler.conclusion import conclude

    found = asyncio.run(_gather(url, out, redis, workspace, name, dns_server, config))
    if as_json:
        answers = {f.job.name: asdict(conclude(f)) | {"facts": _plain(f)} for f in found}
        print(json.dumps(answers))
    else:
        print("\n\n".join(_text(facts, conclude(facts)) for facts in found))


async def _gather(
    url: str,
    out: str | None,
    redis: str | None,
    workspace: str | None,
    name: str | None,
    dns_server: str | None,
    config: Any,
) -> list[Facts]:
    from crawler.config import resolve
    from crawler.explain import explain
    from crawler.inspection import chosen, frontier_of
    from crawler.seeds import parse_seed
    from frontier.url import parse

    asked = parse(parse_seed(url))
    settings = resolve({"redis": redis, "dns_server": dns_server}, config=config).settings
    async with frontier_of(out, settings) as frontier:
        records = [
            await frontier.registry.job(job) for job in await chosen(frontier, workspace, name)
        ]
        return [await explain(frontier, each, asked, settings) for each in records if each]


def _plain(facts: Facts) -> dict[str, Any]:
    """The facts as JSON values: signals opened, texts and signatures left to ``corpus show``."""
    import msgspec

    values: dict[str, Any] = msgspec.to_builtins(facts)
    for row in values["rows"]:
        del row["text"], row["minhash"]
        row["signals"] = json.loads(row["signals"]) if row["signals"] else None
    url = facts.url
    return values | {
        "url": {"url": url.url, "key": url.key, "host": url.host, "domain": url.domain}
    }


def _text(facts: Facts, conclusion: Conclusion) -> str:
    """For people: the answer first, then what it rests on, a line per fact."""
    from crawler.display import printable

    url = facts.url
    lines = [("job", f"{facts.job.name} ({facts.job.state})"), ("url", url.url)]
    if url.key != url.url:
        lines.append(("known by", url.key))
    lines.append((conclusion.code, conclusion.text))
    lines += [("", ""), ("in the job", facts.refusal or "yes")]
    lines += [("blocked", f"{b.target}: {b.why} ({b.who})") for b in [facts.block] if b]
    lines += [*_whereabouts(facts), *_robots(facts), *_host(facts), *_clocks(facts), *_rows(facts)]
    return "\n".join(printable(f"{name:<14} {text}".rstrip()) for name, text in lines)


def _whereabouts(facts: Facts) -> Lines:
    where = facts.where
    place = where.place or ("done" if facts.rows else "nowhere" if where.seen else "-")
    yield "seen", f"{'yes' if where.seen else 'no'} (visit {where.visit})"
    request = where.request
    if request is not None:
        place += f", class {request.priority}, depth {request.depth}"
        place += f", attempts {request.attempts}"
        place += f", last {request.reason}" if request.reason else ""
    yield "where", place
    if request is not None and request.via:
        yield "found on", request.via


def _robots(facts: Facts) -> Lines:
    from crawler.units import spell_duration

    robots = facts.robots
    if robots is None:
        yield "robots.txt", "not fetched yet"
        return
    age = "" if robots.age is None else f", read {spell_duration(round(robots.age))} ago"
    look = f", next look in {spell_duration(round(robots.next_look))}"
    yield "robots.txt", f"status {robots.status}{age}{look}"
    if robots.unreachable:
        yield "", f"unreachable ({robots.failures} times): nothing may be fetched for now"
    else:
        rule = f"line {robots.line}: {robots.rule}" if robots.rule else "no rule applies"
        yield "", f"{'allowed' if robots.allowed else 'denied'} ({rule})"
    if robots.crawl_delay is not None:
        yield "", f"Crawl-delay {robots.crawl_delay:g}s"


def _host(facts: Facts) -> Lines:
    from crawler.units import spell_duration

    host, state = facts.host, facts.host.state
    ready = f"free in {spell_duration(round(host.ready, 1))}" if host.ready else "free"
    held = f", held by {host.worker} for {host.job}" if host.lease_ends is not None else ""
    yield "host clock", f"{host.host}: delay {state.delay:g}s, {ready}{held}"
    failures = f"{state.failures} failures in a row"
    if state.blocked_until > facts.now and state.blocked_reason:
        left = spell_duration(round(state.blocked_until - facts.now))
        yield "breaker", f"{failures}; {state.blocked_reason} for {left}"
    else:
        yield "breaker", f"closed, {failures}"


def _clocks(facts: Facts) -> Lines:
    from crawler.units import spell_duration

    yield from (("address", f"none: {reason}") for reason in [facts.dns] if reason)
    yield from (("address", why) for why in facts.blocked_addresses)
    for clock in facts.clocks:
        state = clock.state
        if not clock.delay:
            how = "none in this job"
        elif state is None or max(state.free, state.line) <= facts.now:
            how = f"delay {clock.delay:g}s, free"
        else:
            left = spell_duration(round(max(state.free, state.line) - facts.now, 1))
            line = ", others in line" if state.line > facts.now else ""
            how = f"delay {clock.delay:g}s, {state.holder}'s for {left}{line}"
        yield f"{clock.kind} clock", f"{clock.name}: {how}"


def _rows(facts: Facts) -> Lines:
    if facts.unread:
        yield "stored", f"not to be read: {facts.unread}"
    for row in facts.rows:
        when = row["fetch_time"].isoformat(sep=" ", timespec="seconds")
        outcome = row["fetch_status"] or "no answer"
        reason = f", {row['reason']}" if row["reason"] else ""
        tries = f", attempts {row['attempts']}" if row["attempts"] else ""
        yield "stored", f"{when} visit {row['visit']} {row['kind']}: {outcome}{reason}{tries}"
        if row["redirect_to"]:
            yield "", f"redirects to {row['redirect_to']}"
        if row["duplicate_of"]:
            similar = f"{row['similarity']:.2f}"
            first = row["duplicate_url"] or row["duplicate_of"]
            yield "", f"{row['duplicate_kind']} duplicate of {first} ({similar})"
        if row["signals"]:
            yield "", f"signals {row['signals']}"
