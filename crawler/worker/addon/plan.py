"""What a project's settings ask of the fleet, and which of Scrapy's settings have to give way.

Settings that begin with ``COMITY_`` are the keys of jobs and workers in upper case (``COMITY_OUT``,
``COMITY_CONTACT`` ...), and two more: ``COMITY_REDIS_URL`` and ``COMITY_JOB``. Invariant kept: an
unknown key fails at start, and so does one that is the spider's to decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from scrapy.settings import SETTINGS_PRIORITIES

from crawler.config import ENV_PREFIX, FETCH_LIMITS, FIELDS, Settings, from_text
from crawler.job import NOWHERE, JobSpec
from crawler.schema import UsageError, unknown_key, validate
from crawler.worker.settings import NO_LIMIT

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

# What the spider, its links and Scrapy's settings decide.
_SPIDERS: Final = frozenset(
    {"name", "seeds", "seed_files", "sitemaps", "scope", "include", "exclude", "max_depth"}
    | {"order", "max_hops", "recrawl", "recrawl_min", "recrawl_max", "headers", "workers", "redis"}
    | {"max_path_depth", "max_repeats", "stale_after", "stale_ratio", "log_level", "dedupe_links"}
)
_OWN: Final = ("COMITY_REDIS_URL", "COMITY_JOB")
_KNOWN: Final = (*_OWN, *(ENV_PREFIX + k.upper() for k in FIELDS if k not in _SPIDERS))
_HERE: Final = "crawler.worker.addon"
_POLITE: Final = "the host's delay, over the whole fleet, takes its place"
_LEASES: Final = "leases are what bounds requests under way"
_GUARD: Final = "every byte leaves through the address guard, under a lease"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker of a project does."""

    spec: JobSpec  # the job
    settings: Settings  # of the worker
    turns: int  # hosts it holds at a time; 0: as any worker
    keeps: bool  # pages are stored

    @property
    def job(self) -> str:
        """The job's id."""
        return f"{self.spec.workspace}/{self.spec.name}"


@dataclass(frozen=True, slots=True)
class Override:
    """A setting of Scrapy's that cannot be the project's."""

    name: str
    value: Any
    why: str


def plan(settings: BaseSettings, spider: str) -> Plan:
    """What the settings of a project ask for; UsageError names the one that is wrong."""
    given = dict(_given(settings))
    redis = given.pop("COMITY_REDIS_URL", None)
    if not redis:
        raise UsageError("COMITY_REDIS_URL is not set: the Redis that the workers share")
    values = {name.removeprefix(ENV_PREFIX).lower(): (name, v) for name, v in given.items()}
    workspace, name = _job(given.get("COMITY_JOB"), spider)
    values.pop("job", None)
    job = _of(JobSpec, values) | {"name": name, "scope": "any"}
    if workspace:
        job["workspace"] = workspace
    job.setdefault("content_types", ("*/*",))
    if "out" not in job:
        job |= _storeless(job)
    if _explicit(settings, "USER_AGENT"):
        job.setdefault("user_agent", settings.get("USER_AGENT"))
    if _explicit(settings, "DOWNLOAD_DELAY") and settings.getfloat("DOWNLOAD_DELAY") > 0:
        job.setdefault("delay", settings.getfloat("DOWNLOAD_DELAY"))
    turns = settings.getint("CONCURRENT_REQUESTS")
    return Plan(
        validate(JobSpec, job, _origin),
        validate(Settings, _of(Settings, values) | {"redis": redis}, _origin),
        turns if _explicit(settings, "CONCURRENT_REQUESTS") else 0,
        job["out"] != NOWHERE,
    )


def overrides(made: Plan) -> Iterator[Override]:
    """What has to be set whatever the project says."""
    handler = f"{_HERE}.handler.AddonHandler"
    yield Override("SCHEDULER", f"{_HERE}.scheduler.AddonScheduler", "the frontier is the queue")
    yield Override("DOWNLOAD_HANDLERS_BASE", {}, _GUARD)
    yield Override("DOWNLOAD_HANDLERS", {"http": handler, "https": handler}, _GUARD)
    yield Override("USER_AGENT", made.spec.agent, "it names the job's contact, too")
    yield Override("ROBOTSTXT_OBEY", False, "robots.txt is obeyed, over the whole fleet")
    yield Override("RETRY_ENABLED", False, "the frontier tries again, when its host may be asked")
    yield Override("AUTOTHROTTLE_ENABLED", False, _POLITE)
    yield Override("DOWNLOAD_DELAY", 0, _POLITE)
    yield Override("DOWNLOAD_DELAY_JITTER", 0, _POLITE)
    yield Override("DOWNLOAD_SLOTS", {}, _POLITE)
    yield Override("CONCURRENT_REQUESTS", 0, _LEASES)
    yield Override("CONCURRENT_REQUESTS_PER_DOMAIN", NO_LIMIT, _LEASES)
    yield Override("SCRAPER_SLOT_MAX_ACTIVE_SIZE", 2**40, _LEASES)
    yield Override(
        "TWISTED_REACTOR",
        "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
        "the worker runs on asyncio",
    )
    yield Override("REMOTE_CONTROL_ENABLED", False, "it runs code of whoever reaches its port")
    yield Override("TELNETCONSOLE_ENABLED", False, "it runs code of whoever reaches its port")


def wiring(made: Plan) -> Mapping[str, Any]:
    """Settings that the download handler reads."""
    settings = made.settings
    return {
        "COMITY_DNS_SERVER": settings.dns_server or "",
        "COMITY_TRUSTED_PROXY": settings.trusted_proxy or "",
        "COMITY_SIGNING_KEY": settings.signing_key or "",
        "COMITY_SIGNATURE_AGENT": settings.signature_agent or "",
        "COMITY_SIGNATURE_FORM": settings.signature_form,
        **{f"COMITY_{key.upper()}": getattr(settings, key) for key in FETCH_LIMITS},
    }


def _given(settings: BaseSettings) -> Iterator[tuple[str, Any]]:
    """The project's COMITY_ settings, those unset left out."""
    for name in sorted(key for key in settings if str(key).startswith(ENV_PREFIX)):
        value = settings.get(name)
        if value in (None, "", [], ()):
            continue
        key = name.removeprefix(ENV_PREFIX).lower()
        if key in _SPIDERS and key != "redis":
            raise UsageError(f"{name}: that is for the spider, or Scrapy's settings, to say")
        if name not in _KNOWN:
            raise unknown_key("settings", name, _KNOWN)
        is_text = isinstance(value, str) and name not in _OWN
        yield name, from_text(FIELDS[key], value, name) if is_text else value


def _of(model: type[JobSpec] | type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, (_, value) in values.items() if key in model.model_fields}


def _origin(key: str) -> str:
    return {"redis": "COMITY_REDIS_URL", "name": "COMITY_JOB"}.get(key, f"COMITY_{key.upper()}")


def _job(given: Any, spider: str) -> tuple[str, str]:
    """(workspace or "", name) of the job: by default the spider's name, as far as it goes."""
    if given:
        workspace, _, name = str(given).rpartition("/")
        return workspace, name
    name = re.sub(r"[^a-z0-9._-]+", "-", spider.lower()).strip("-._")
    return "", name[:63] or "spider"


def _storeless(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job without a place for its pages: what concerns stored pages alone is off."""
    for key in ("max_pages", "size_limit", "dedupe", "signals"):
        if job.get(key) not in (None, "off", "ignore"):
            raise UsageError(f"COMITY_{key.upper()} needs COMITY_OUT: no pages are stored")
    return {"out": NOWHERE, "dedupe": "off", "signals": ("ignore",)}


def _explicit(settings: BaseSettings, name: str) -> bool:
    """Whether the project, its spider or the command line sets it."""
    priority = settings.getpriority(name)
    return priority is not None and priority > SETTINGS_PRIORITIES["addon"]
