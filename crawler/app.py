"""The composition root: settings and a job in, everything wired, a summary out.

What the command line calls. Each function is blocking and runs an event loop of its own where it
needs one. Raises UsageError, FrontierError and StorageError, each with one line for people.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import uvloop

from crawler.config import Settings
from crawler.fetch.guard import literal_refusal
from crawler.fetch.proxy import ignored
from crawler.job import JobSpec, UsageError
from crawler.report import DryRunLine, FetchReport, Progress, Summary
from crawler.run import Run
from crawler.scope import Scope
from crawler.seeds import iter_seeds
from frontier.embedded import EmbeddedServer
from frontier.url import parse
from storage.blob import open_store, probe

OnProgress = Callable[[Progress], None]
STATE = ".comity"  # the crawl's own directory inside a local output directory


def state_directory(spec: JobSpec) -> Path:
    """Where a crawl keeps its frontier and open segments: in a local output, else in the cache."""
    if "://" not in spec.out or spec.out.startswith("file://"):
        return Path(spec.out.removeprefix("file://")) / STATE
    name = spec.out.replace("://", "-").replace("/", "-").strip("-")
    return Path.home() / ".cache" / "comity" / name


def absolute(spec: JobSpec) -> JobSpec:
    """The job with its local output as an absolute path, which means the same in any process."""
    if "://" in spec.out and not spec.out.startswith("file://"):
        return spec
    out = Path(spec.out.removeprefix("file://")).expanduser().resolve()
    return spec.model_copy(update={"out": str(out)})


def crawl(
    spec: JobSpec,
    settings: Settings,
    *,
    resume: bool,
    on_progress: OnProgress,
    warn: bool = True,
) -> Summary:
    """Run a job to its end with worker processes of its own; see ``comity crawl``.

    With ``warn``, what may do harm is said loudly on stderr once the job has been accepted.
    """
    if settings.workers == 0 and settings.redis is None:
        raise UsageError("--workers 0 leaves the crawl to workers elsewhere: give --redis too")
    if settings.workers:
        check_key(settings)
    spec = absolute(spec)
    state = state_directory(spec)
    if resume and settings.redis is None and not (state / "redis").exists():
        raise UsageError(f"nothing to resume in {spec.out}")
    store = open_store(spec.out, hasty=True)
    try:
        probe(store)
    finally:
        store.close()
    private = settings.redis is None
    with ExitStack() as stack:
        if private:
            server = stack.enter_context(EmbeddedServer(state / "redis"))
            settings = settings.model_copy(update={"redis": server.url})
        spool = Path(settings.spool) if settings.spool else state / "spool"
        run = Run(
            spec,
            settings,
            resume=resume,
            spool=spool,
            on_progress=on_progress,
            warn=warn,
            private=private,
        )
        return uvloop.run(run.main())


def check_key(settings: Settings) -> None:
    """UsageError for a signing key that no worker could use: each loads it for itself."""
    if settings.signing_key is not None:
        from crawler.keyfile import load

        load(settings.signing_key)


def export(spec: JobSpec, path: Path) -> None:
    """The job's stored pages as one plain file; see ``comity crawl -o``."""
    from storage.corpus import Corpus
    from storage.export import export as write

    with Corpus(absolute(spec).out, workspace=spec.workspace, job=spec.name) as corpus:
        write(corpus, path)


def dry_run(spec: JobSpec, settings: Settings) -> Iterator[DryRunLine]:
    """What a crawl would start with, and what it would leave out; nothing is contacted."""
    scope = Scope.from_strings(spec.scope, iter_seeds(spec), spec.include, spec.exclude)
    seen: set[str] = set()
    for text in (*iter_seeds(spec), *spec.sitemaps):
        url = parse(text)
        if url.key in seen:
            continue
        seen.add(url.key)
        kind = "sitemap" if text in spec.sitemaps else "seed"
        reason = None if kind == "sitemap" else scope.check(url, 0, spec.max_depth)
        if reason is None and literal_refusal(url.hostname, spec.allow_private_networks):
            reason = "blocked-address"
        if reason is None:
            yield DryRunLine(url.url, "fetch", f"{kind}, if its robots.txt allows it")
        else:
            yield DryRunLine(url.url, "skip", reason)


def run_worker(settings: Settings) -> int:
    """One long-lived worker in this process; see ``comity worker``."""
    import logging
    import os
    import socket

    from crawler.worker.process import run_worker as run

    check_key(settings)
    name = settings.worker_name or f"{socket.gethostname().split('.')[0]}-{os.getpid()}"
    spool = Path(settings.spool or Path.home() / ".cache" / "comity" / "spool")
    logging.basicConfig(
        level=settings.log_level.upper(),
        format=f"%(asctime)s {name} %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    if line := ignored(os.environ, settings.trusted_proxy):
        logging.getLogger("comity.worker").warning("%s", line)
    return uvloop.run(run(settings, name=name, spool=spool))


def fetch(url: str, spec: JobSpec, settings: Settings) -> FetchReport:
    """One page through a crawl's own path, stored and read back; see ``comity fetch``."""
    from crawler.single import SINGLE, report

    with tempfile.TemporaryDirectory(prefix="comity-") as directory:
        alone = spec.model_copy(update=SINGLE | {"seeds": (url,), "out": directory})
        private = settings.model_copy(update={"redis": None, "spool": None, "workers": 1})
        summary = crawl(alone, private, resume=False, on_progress=lambda _: None, warn=False)
        return report(alone, url, summary)


def demo(
    *,
    size: str,
    seed: int,
    settings: Settings,
    out: str,
    delay: float,
    workers: int,
    on_progress: OnProgress,
) -> Summary:
    """Serve the demo web and crawl it; see ``comity demo``."""
    from crawler.demo.process import serving

    out = _unused(out)
    with serving(size=size, seed=seed) as web:
        spec = JobSpec(
            name="demo",
            seeds=tuple(web.seeds),
            scope="any",
            max_depth=6,
            max_wait=20.0,
            delay=delay,
            out=out,
            contact="demo@comity.test",
            allow_private_networks=True,
        )
        settings = settings.model_copy(update={"dns_server": web.dns, "workers": workers})
        return crawl(spec, settings, resume=False, on_progress=on_progress, warn=False)


def _unused(out: str) -> str:
    """``out``, or the first of ``out-2``, ``out-3`` ... that is free: each demo is another web."""
    names = itertools.chain([out], (f"{out}-{n}" for n in itertools.count(2)))
    return next(name for name in names if not Path(name).exists())
