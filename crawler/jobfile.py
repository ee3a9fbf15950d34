"""The job's own record beside its table: ``<workspace>/<job>/job.json``.

The frontier has the job's spec too; this copy is for when the frontier is lost. Request headers may
hold credentials, so only their names are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import orjson

from crawler.job import JobSpec, UsageError
from crawler.schema import validate
from crawler.scope import Scope
from crawler.seeds import iter_seeds
from storage.blob import BlobNotFound, BlobStore, open_store
from storage.layout import Layout

VERSION: Final = 1
SEEDS: Final = 1_000  # that are kept


@dataclass(frozen=True, slots=True)
class JobFile:
    """What is known of a job without its frontier."""

    spec: JobSpec  # with the seeds and sitemaps that were kept, without seed files and headers
    region: tuple[str, ...]  # what its scope was built to
    headers: tuple[str, ...] = ()  # names of those left out
    more_seeds: bool = False  # there were more than were kept


def save(spec: JobSpec, region: bytes) -> None:
    """Write a job's file, with the seeds of an earlier one too. Blocking; raises StorageError."""
    layout = Layout(spec.workspace, spec.name)
    store = open_store(spec.out)
    try:
        old = load(store, layout)
        seeds = _first(itertools.chain(old.spec.seeds if old else (), iter_seeds(spec)))
        sitemaps = _first(itertools.chain(old.spec.sitemaps if old else (), spec.sitemaps))
        values = spec.model_dump(mode="json", exclude={"headers", "seed_files"})
        values |= {"seeds": seeds[:SEEDS], "sitemaps": sitemaps[:SEEDS]}
        document = {
            "version": VERSION,
            "spec": values,
            "region": msgspec.json.decode(region),
            "headers": sorted(spec.headers),
            "more_seeds": max(len(seeds), len(sitemaps)) > SEEDS or bool(old and old.more_seeds),
        }
        store.put(_key(layout), orjson.dumps(document, option=orjson.OPT_INDENT_2))
    finally:
        store.close()


def load(store: BlobStore, layout: Layout) -> JobFile | None:
    """A job's file; None where there is none. Raises UsageError for one that cannot be used."""
    key = _key(layout)
    where = f"{store.root}/{key}"
    try:
        document: dict[str, Any] = orjson.loads(store.get(key))
        version, values = document["version"], document["spec"]
        region, headers = tuple(document["region"]), tuple(document["headers"])
        more = bool(document["more_seeds"])
    except BlobNotFound:
        return None
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UsageError(f"{where} is damaged: {error!r}; give the job with --job") from error
    if version != VERSION:
        raise UsageError(f"{where} has version {version}, not {VERSION}: use a newer comity")
    spec = validate(JobSpec, values, lambda name: f"{where}: {name}")
    return JobFile(spec, region, headers, more)


def of_corpus(store: BlobStore, layout: Layout, given: JobSpec | None) -> JobFile:
    """The job whose pages are at ``layout``: as ``given``, else as it was stored with them.

    Raises UsageError: neither is there, or what is given has no seeds to tell its scope by.
    """
    saved = load(store, layout) if given is None else None
    place = {"workspace": layout.workspace, "name": layout.job, "out": store.root}
    if given is not None:
        spec = given.model_copy(update=place)
        seeds = itertools.chain(iter_seeds(spec), spec.sitemaps)
        region = tuple(sorted(Scope.from_strings(spec.scope, seeds).region))
        if not region and spec.scope != "any":
            raise UsageError("--job: names no seeds, so nobody knows which URLs are the job's")
        return JobFile(spec, region)
    if saved is None:
        raise UsageError(
            f"{store.root}/{layout.prefix} has no job.json, which says what the job was: "
            "give the job's file with --job"
        )
    return replace(saved, spec=saved.spec.model_copy(update=place))


def _key(layout: Layout) -> str:
    return f"{layout.prefix}/job.json"


def _first(seeds: Iterable[str]) -> Sequence[str]:
    """Different ones, at most one more than are kept."""
    return list(itertools.islice(dict.fromkeys(itertools.islice(seeds, 10 * SEEDS)), SEEDS + 1))
