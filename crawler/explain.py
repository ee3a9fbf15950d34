"""Why a URL was fetched or not: all that is known of it, from live state and from what is stored.

Changes nothing, and contacts nobody but the job's store and the name server.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from crawler.bounds import politeness
from crawler.conclusion import ClockFacts, Facts, RobotsFacts
from crawler.config import Settings
from crawler.fetch.dns import Resolver
from crawler.fetch.exchange import FetchError
from crawler.fetch.guard import refusal
from crawler.job import NOWHERE, JobSpec
from crawler.ranges import Ranges, plain
from crawler.spill import SpillObjects
from crawler.traps import endless
from crawler.worker.jobs import refused, stored_scope
from crawler.worker.robots import Copy, read
from frontier import blocks, inspect, whereabouts
from frontier.blocks import Block, BlockList
from frontier.client import Frontier
from frontier.registry import JobRecord
from frontier.url import Url
from storage.blob import StorageError, open_store
from storage.corpus import Corpus
from storage.layout import Layout
from storage.table import page_id


async def explain(frontier: Frontier, record: JobRecord, url: Url, settings: Settings) -> Facts:
    """What is known of a URL in a job. Raises FrontierError; an unreadable store is one fact."""
    stored, region = await frontier.registry.job_spec(record.name)
    spec = JobSpec.model_validate_json(stored)
    keeps = spec.out != NOWHERE
    rows, unread = await _rows(record.name, spec, url) if keeps else ([], "")
    visit = max([row["visit"] or 1 for row in rows if row["kind"] != "robots"], default=0)
    if keeps:
        where, unread = await _where(frontier, record.name, url, visit, spec, unread)
    else:
        where = await whereabouts.find(frontier, record.name, url)
    depth = where.request.depth if where.request else rows[-1]["depth"] if rows else 0
    addresses, dns = await _addresses(url, settings)
    listed = BlockList(await blocks.load(frontier.driver))
    return Facts(
        url=url,
        now=time.time(),
        job=record,
        max_depth=spec.max_depth,
        refusal=refused(spec, stored_scope(spec, region), url, depth or 0) or endless(url, spec),
        block=listed.of(url) or _listed(listed, addresses),
        where=where,
        host=await inspect.host(frontier, url),
        robots=await _robots(frontier, spec, url),
        clocks=await _clocks(frontier, spec, url, addresses, Ranges(settings.address_delays)),
        addresses=addresses,
        dns=dns,
        blocked_addresses=tuple(
            why for each in addresses if (why := refusal(each, spec.allow_private_networks))
        ),
        rows=rows,
        unread=unread,
        keeps=keeps,
    )


async def _rows(job: str, spec: JobSpec, url: Url) -> tuple[list[dict[str, Any]], str]:
    """Stored visits of the URL, or of one with its key; and why they could not be read."""

    def look() -> list[dict[str, Any]]:
        with Corpus(spec.out, workspace=spec.workspace, job=spec.name) as corpus:
            rows = corpus.show(url.url, page_id=page_id(job, url.key, 1))
            for row in rows:
                first = row["duplicate_of"] and corpus.show("", page_id=row["duplicate_of"])
                row["duplicate_url"] = first[0]["url"] if first else None
            return rows

    try:
        return await asyncio.to_thread(look), ""
    except StorageError as error:
        return [], str(error)


async def _where(
    frontier: Frontier, job: str, url: Url, visit: int, spec: JobSpec, unread: str
) -> tuple[whereabouts.Whereabouts, str]:
    """Where the next visit is, or the last one if there is none; why a store could not be read."""
    try:
        store = await asyncio.to_thread(open_store, spec.out)
        objects = SpillObjects(store, Layout(spec.workspace, spec.name)).get
        try:
            coming = await whereabouts.find(frontier, job, url, visit + 1, objects)
            if coming.seen or not visit:
                return coming, unread
            return await whereabouts.find(frontier, job, url, visit, objects), unread
        finally:
            await asyncio.to_thread(store.close)
    except StorageError as error:
        return await whereabouts.find(frontier, job, url, max(visit, 1)), str(error)


def _listed(listed: BlockList, addresses: tuple[str, ...]) -> Block | None:
    return next((found for each in addresses if (found := listed.at(each))), None)


async def _addresses(url: Url, settings: Settings) -> tuple[tuple[str, ...], str]:
    """The host's addresses now, or the reason why there are none."""
    resolver = Resolver(settings.dns_server or "")
    try:
        return await resolver.lookup(url.hostname), ""
    except FetchError as error:
        return (), error.reason
    finally:
        await resolver.close()


async def _robots(frontier: Frontier, spec: JobSpec, url: Url) -> RobotsFacts | None:
    blob = await frontier.robots(url)
    if blob is None:
        return None
    copy, now = msgspec.msgpack.decode(blob, type=Copy), time.time()
    rules = read(copy).rules
    verdict = rules.verdict(spec.product, url.path)
    field = "Allow" if verdict.allowed else "Disallow"
    return RobotsFacts(
        status=copy.status,
        age=now - copy.fetched if copy.fetched else None,
        next_look=max(0.0, copy.expires - now),
        failures=copy.failures,
        unreachable=copy.kind == "disallow",
        allowed=verdict.allowed,
        rule="" if verdict.rule is None else f"{field}: {verdict.rule}",
        line=verdict.line,
        crawl_delay=rules.crawl_delay(spec.product),
    )


async def _clocks(
    frontier: Frontier, spec: JobSpec, url: Url, addresses: tuple[str, ...], ranges: Ranges
) -> tuple[ClockFacts, ...]:
    """The clocks that the host shares with others; an address literal has that address's alone."""
    bounds = politeness(spec)
    names = {plain(address): "address" for address in addresses}
    clocks = [("address", name, ranges.delay(name)) for name in names]
    if _literal(url.hostname) not in names:
        clocks.insert(0, ("domain", url.domain, bounds.domain_delay))
    out = []
    for kind, name, delay in clocks:
        capped = bounds.address_delay if delay is None else min(delay, bounds.min_delay)
        out.append(ClockFacts(kind, name, capped, await frontier.windows.state(name)))
    return tuple(out)


def _literal(hostname: str) -> str:
    """The address that a literal host is; "" for a name."""
    try:
        return plain(hostname.strip("[]"))
    except ValueError:
        return ""
