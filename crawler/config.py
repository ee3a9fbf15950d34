"""Settings of the fleet and its workers, and where each value of a run came from.

Precedence, lowest first: defaults, ``comity.toml``, ``COMITY_*``, the job file, options. All of
them go through the same two schemas (``JobSpec`` and ``Settings``), whose keys share one
namespace. Invariants kept: an unknown key fails at start; every value can name its origin;
secrets are masked wherever values are shown.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.fields import FieldInfo
from yarl import URL

from crawler.fetch.proxy import Proxy
from crawler.job import Count, Duration, JobSpec, Size, UsageError
from crawler.ranges import network
from crawler.schema import Shown, format_value, read_toml, shown, unknown_key, validate
from crawler.units import spell_duration

CONFIG_FILE: Final = "comity.toml"
ENV_PREFIX: Final = "COMITY_"
# Seconds a lease must outlive the longest fetch that starts under it.
LEASE_MARGIN: Final = 5.0
# The settings that bound a fetch; the download handler reads each as COMITY_<KEY>.
FETCH_LIMITS: Final = (
    "connect_timeout",
    "first_byte_timeout",
    "total_timeout",
    "min_rate",
    "max_body",
    "max_decoded",
    "max_ratio",
    "max_head",
    "max_headers",
)
# Kubernetes puts these into every pod that shares a namespace with a Service named comity.
_SERVICE_LINK: Final = re.compile(
    r"COMITY_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)"
)
_ORIGIN: Final = re.compile(r"https://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]*)?")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(BaseModel):
    """How workers run and reach their servers; the same for every job they serve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    redis: Annotated[
        str | None, Shown("--redis", "URL", default="a private server in the output directory")
    ] = Field(
        default=None,
        description="Redis or Valkey (7.0 or newer) that holds the frontier: redis://, rediss:// "
        "(TLS), unix://, or redis+sentinel://HOST:26379/SERVICE; more addresses after commas; a "
        "cluster is found out by asking it.",
    )
    dns_server: Annotated[
        str | None, Shown("--dns-server", "IP:PORT", default="the system's resolver")
    ] = Field(default=None, description="Name server to resolve all hosts with.")
    trusted_proxy: Annotated[str | None, Shown(metavar="URL", default="none")] = Field(
        default=None,
        description="HTTP proxy that all requests to hosts go through, http://HOST:PORT. It takes "
        "the place of the address guard, so IT MUST REFUSE PRIVATE ADDRESSES ITSELF: any page met "
        "could else point the crawl at your own services. See Proxies.",
    )
    signing_key: Annotated[str | None, Shown(metavar="FILE", default="none")] = Field(
        default=None,
        description="Ed25519 private key (PEM) that every request is signed with, so that sites "
        "can tell who sent it; comity identity key makes one. With signature_agent.",
    )
    signature_agent: Annotated[str | None, Shown(metavar="URL", default="none")] = Field(
        default=None,
        description="Where the public half of signing_key is published, as an origin "
        "(https://HOST); sent with every request.",
    )
    signature_form: Annotated[Literal["string", "dictionary"], Shown(metavar="FORM")] = Field(
        default="string",
        description="How signature_agent is sent: as a string, which Cloudflare among others "
        "checks, or as a dictionary, as the IETF's current draft has it.",
    )
    workers: Annotated[Count, Shown("--workers", "N", default="one per core")] = Field(
        default_factory=_cores,
        ge=0,
        le=1024,
        description="Worker processes of a crawl; 0 leaves it to workers elsewhere (with --redis).",
    )
    worker_name: Annotated[str | None, Shown("--name", "NAME", default="HOSTNAME-PID")] = Field(
        default=None,
        description="Name of a worker that was started on its own, in logs and in the table's "
        "column worker; unique in a fleet.",
    )
    spool: Annotated[
        str | None,
        Shown("--spool", "DIR", default="inside a local output directory, else ~/.cache/comity"),
    ] = Field(
        default=None,
        description="Local directory of open segments: pages not yet stored for good.",
    )
    partitions: Annotated[Count, Shown(metavar="N")] = Field(
        default=64,
        ge=1,
        le=16_384,
        description="Parts the frontier is split into; fixed for the life of a frontier.",
    )
    lease_ttl: Annotated[Duration, Shown(metavar="TIME", unit="duration")] = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="How long a worker holds a host without renewing; a dead worker's hosts are "
        "free after this. Must exceed total_timeout by 5s.",
    )
    address_delays: Annotated[
        dict[str, Annotated[Duration, Field(ge=0, le=60)]], Shown(metavar="{NETWORK = TIME}")
    ] = Field(
        default={},
        description="In place of a job's address_delay, for networks of shared hosting, CDNs and "
        'the like: a table such as {"192.0.2.0/24" = "100ms", "2001:db8::/32" = 0}. The longest '
        "prefix decides; 0: no clock there. Never above a job's delay.",
    )
    connect_timeout: Annotated[Duration, Shown(metavar="TIME", unit="duration")] = Field(
        default=10.0,
        gt=0,
        description="Longest wait for a connection: name lookup, TCP and TLS together.",
    )
    first_byte_timeout: Annotated[Duration, Shown(metavar="TIME", unit="duration")] = Field(
        default=15.0,
        gt=0,
        description="Longest wait from the request to the first byte of the answer.",
    )
    total_timeout: Annotated[Duration, Shown(metavar="TIME", unit="duration")] = Field(
        default=30.0,
        gt=0,
        description="Longest time from the request to the last byte of the answer.",
    )
    min_rate: Annotated[Size, Shown(metavar="SIZE", unit="size")] = Field(
        default=100,
        ge=0,
        description="Bytes per second below which an answer is given up as too slow.",
    )
    max_body: Annotated[Size, Shown(metavar="SIZE", unit="size")] = Field(
        default=20_000_000,
        ge=1,
        description="Most that is read of a body as sent; the page is kept, marked truncated.",
    )
    max_decoded: Annotated[Size, Shown(metavar="SIZE", unit="size")] = Field(
        default=50_000_000,
        ge=1,
        description="Largest body once decompressed; what is larger is dropped as a bomb.",
    )
    max_ratio: Annotated[Count, Shown(metavar="N")] = Field(
        default=200,
        ge=1,
        description="Largest ratio of decompressed to sent size, past a megabyte; what exceeds it "
        "is dropped as a bomb.",
    )
    max_head: Annotated[Size, Shown(metavar="SIZE", unit="size")] = Field(
        default=100_000, ge=1000, description="Largest head (status line and headers) of an answer."
    )
    max_headers: Annotated[Count, Shown(metavar="N")] = Field(
        default=200, ge=1, description="Most header lines in an answer."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Shown(metavar="LEVEL")] = (
        Field(default="warning", description="Least severe messages that workers log to stderr.")
    )

    @field_validator("redis")
    @classmethod
    def _redis_url(cls, value: str | None) -> str | None:
        if value is not None:
            from frontier.nodes import parse  # redis-py: only where there is a URL to read

            try:
                parse(value)
            except ValueError as exc:
                raise ValueError(f"not a Redis URL: {mask_url(value)!r} ({exc})") from None
        return value

    @field_validator("trusted_proxy")
    @classmethod
    def _proxy_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            return str(Proxy.parse(value).url)
        except ValueError as exc:
            raise ValueError(f"{mask_url(value)!r} is {exc}") from None

    @field_validator("signature_agent")
    @classmethod
    def _origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        with suppress(ValueError):
            url = URL(value.rstrip("/"))
            if url == url.origin() and _ORIGIN.fullmatch(str(url)):
                return str(url)
        raise ValueError(f"not an https origin: {value!r} (write https://bot.example.org)")

    @field_validator("dns_server")
    @classmethod
    def _address_and_port(cls, value: str | None) -> str | None:
        if value is None:
            return None
        found = re.fullmatch(
            r"\[(?P<six>[0-9a-fA-F:.]+)\](:(\d+))?|(?P<four>[0-9.]+)(:(\d+))?", value
        )
        try:
            host = ipaddress.ip_address((found["six"] or found["four"]) if found else value)
            port = int((found[3] or found[6] or 53) if found else 53)
        except ValueError:
            port = 0
        if not 0 < port < 65_536:
            raise ValueError(f"not IP:PORT: {value!r} (write 127.0.0.1:5353 or [::1]:53)")
        return f"[{host}]:{port}" if host.version == 6 else f"{host}:{port}"

    @field_validator("address_delays")
    @classmethod
    def _networks(cls, value: dict[str, float]) -> dict[str, float]:
        return {network(name): delay for name, delay in value.items()}

    @field_validator("worker_name")
    @classmethod
    def _token(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
            raise ValueError(f"not a name: {value!r} (up to 63 letters, digits, '.', '_', '-')")
        return value

    @model_validator(mode="after")
    def _keys_can_be_found(self) -> Settings:
        if self.signing_key and not self.signature_agent:
            raise ValueError(
                "signing_key needs signature_agent: by it sites find the key to check with"
            )
        if self.signature_agent and not self.signing_key:
            raise ValueError("signature_agent needs signing_key: it is sent with signatures alone")
        return self

    @model_validator(mode="after")
    def _leases_outlive_fetches(self) -> Settings:
        if self.lease_ttl < self.total_timeout + LEASE_MARGIN:
            raise ValueError(
                f"lease_ttl ({spell_duration(self.lease_ttl)}) must exceed total_timeout "
                f"({spell_duration(self.total_timeout)}) by {spell_duration(LEASE_MARGIN)}"
            )
        return self


FIELDS: Final[Mapping[str, FieldInfo]] = {**JobSpec.model_fields, **Settings.model_fields}


@dataclass(frozen=True, slots=True)
class Value:
    """One effective value, for ``comity config``."""

    key: str  # schema key
    text: str  # as one would write it, secrets masked; "" when unset
    origin: str  # "default", a file, a variable or a flag


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a command runs with."""

    spec: JobSpec  # the job
    settings: Settings  # the fleet and its workers
    origins: Mapping[str, str]  # key -> where its value came from; absent: default

    def values(self) -> Iterator[Value]:
        """Every key with its effective value and origin, in schema order."""
        for model in (self.spec, self.settings):
            for key, field in type(model).model_fields.items():
                value = masked(key, getattr(model, key))
                yield Value(key, format_value(field, value), self.origins.get(key, "default"))


def resolve(
    options: Mapping[str, Any],
    *,
    env: Mapping[str, str] | None = None,
    config: Path | None = None,
    job: Path | None = None,
) -> Resolved:
    """Job and settings from all sources.

    ``options`` are values by key, as given on the command line. ``config`` defaults to
    ``comity.toml`` in the working directory, where there is one. Raises UsageError that names
    the source of what is wrong.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for key, value, origin in _layers(options, os.environ if env is None else env, config, job):
        values[key], origins[key] = value, origin

    def where(key: str) -> str:
        origin = origins.get(key, key)
        named_by_key = origin.startswith(("-", ENV_PREFIX)) or origin == key
        return origin if named_by_key else f"{origin}: {key}"

    spec = validate(JobSpec, {k: v for k, v in values.items() if k in JobSpec.model_fields}, where)
    rest = {k: v for k, v in values.items() if k in Settings.model_fields}
    return Resolved(spec, validate(Settings, rest, where), origins)


def _layers(
    options: Mapping[str, Any], env: Mapping[str, str], config: Path | None, job: Path | None
) -> Iterator[tuple[str, Any, str]]:
    """(key, raw value, origin) of every source, lowest precedence first."""
    if config is not None or Path(CONFIG_FILE).is_file():
        yield from _from_file(config or Path(CONFIG_FILE), FIELDS)
    yield from _from_environment(env)
    if job is not None:
        yield from _from_file(job, JobSpec.model_fields)
    for key, value in options.items():
        if value not in (None, "", [], ()):
            flag = shown(FIELDS[key]).flag or key
            yield key, parse_headers(value, flag) if _is(FIELDS[key], dict) else value, flag


def _from_file(path: Path, known: Mapping[str, FieldInfo]) -> Iterator[tuple[str, Any, str]]:
    for key, value in read_toml(path).items():
        if key not in known:
            if key in FIELDS:
                raise UsageError(f"{path}: {key!r} is a setting, not part of a job: put it in "
                                 f"{CONFIG_FILE} or {ENV_PREFIX}{key.upper()}")  # fmt: skip
            raise unknown_key(str(path), key, known)
        yield key, value, str(path)


def _from_environment(env: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    for name in sorted(env):
        if not name.startswith(ENV_PREFIX) or _SERVICE_LINK.fullmatch(name) or not env[name]:
            continue
        key = name.removeprefix(ENV_PREFIX).lower()
        if key not in FIELDS or name != name.upper():
            raise unknown_key("environment", name, [ENV_PREFIX + k.upper() for k in FIELDS])
        yield key, from_text(FIELDS[key], env[name], name), name


def from_text(field: FieldInfo, text: str, where: str) -> Any:
    """A variable's text as the schema takes it: lists split at white space, or JSON."""
    if not _is(field, tuple) and not _is(field, dict):
        return text
    if text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError as exc:
            raise UsageError(f"{where}: not JSON: {exc}") from None
    return text.split() if _is(field, tuple) else parse_headers(text.splitlines(), where)


def parse_headers(lines: Any, where: str) -> dict[str, str]:
    """Header fields from ``Name: value`` lines; UsageError for a line without a colon."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, text = line.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"{where}: not 'Name: value': {line!r}")
        if name.strip().lower() in (given.lower() for given in headers):
            raise UsageError(f"{where}: {name.strip()} is given twice")
        headers[name.strip()] = text.strip()
    return headers


def masked(key: str, value: Any) -> Any:
    """``value`` with what should not be on a screen replaced by ``***``."""
    if key in ("redis", "trusted_proxy") and value:
        return mask_url(value)
    if shown(FIELDS[key]).secret and isinstance(value, dict):
        return dict.fromkeys(value, "***")
    return value


def mask_url(url: str) -> str:
    """A URL with its password replaced by ``***``, in the authority and in the query."""
    url = re.sub(r"(?<=//)([^/@?#]*?):([^/?#]*)@", r"\1:***@", url)
    return re.sub(r"([?&][a-z_]*password=)[^&#]*", r"\1***", url)


def _is(field: FieldInfo, kind: type) -> bool:
    return get_origin(field.annotation) is kind
