"""URLs: parse, canonicalise, and name what they belong to (host, registered domain, partition).

A URL is fetched and shown in its canonical form, so that spellings which mean the same resource are
one: WHATWG parsing and serialisation (ada), then what is safe everywhere (RFC 3986 6.2.2):
upper-case percent triplets, unreserved octets decoded, no fragment, no userinfo, no trailing dot on
the host. Nothing that a server may tell apart is touched: no path case, no query order, no trailing
slash. Its key, by which it is known, also leaves out the parameters of ``frontier.tracking``.

Pure but for two bounded caches keyed by origin and host name: a page links to few hosts many times.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

import ada_url
import mmh3
import tldextract

from frontier.tracking import untracked

MAX_LENGTH: Final = 8_192  # octets of a canonical URL; longer ones are traps or data in disguise
MAX_HOSTNAME: Final = 253  # octets; DNS cannot hold more (RFC 1035 2.3.4)

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)
_TRIPLET: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_IPV4: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")


class InvalidUrl(ValueError):
    """Not a URL that can be crawled; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Site:
    """What all URLs of one origin share."""

    origin: str  # scheme://host[:port]; what robots.txt is kept by
    scheme: str  # http | https
    host: str  # scheme-less host[:port]; the unit of politeness
    hostname: str  # without port; IPv6 without brackets
    port: int  # the default one where the URL names none
    domain: str  # registered domain, the address of a literal, or the hostname


@dataclass(frozen=True, slots=True)
class Url:
    """A crawlable URL in canonical form; equal when the canonical forms are."""

    url: str  # canonical: http(s), no fragment, no userinfo; ASCII
    path: str = field(compare=False)  # path + "?query": the target of the request line
    site: Site = field(compare=False)  # what its origin says

    @property
    def key(self) -> str:
        """The identity of the resource; what fingerprints and page ids are made of."""
        return untracked(self.url) if "?" in self.path else self.url

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return self.site.scheme

    @property
    def origin(self) -> str:
        """``scheme://host[:port]``."""
        return self.site.origin

    @property
    def host(self) -> str:
        """Scheme-less ``host[:port]``, default ports left out: the unit of politeness."""
        return self.site.host

    @property
    def hostname(self) -> str:
        """The host name or address without port; IPv6 without brackets."""
        return self.site.hostname

    @property
    def port(self) -> int:
        """The TCP port, explicit or default."""
        return self.site.port

    @property
    def domain(self) -> str:
        """The registered domain (private suffixes count), the address, or the hostname."""
        return self.site.domain

    @property
    def surt(self) -> str:
        """The SURT key of Common Crawl's index; computed on each access."""
        return surt(self)


def parse(url: str, base: str | None = None, *, max_length: int = MAX_LENGTH) -> Url:
    """Parse a URL, relative to ``base`` if given, into its canonical form (WHATWG URL Standard).

    ``max_length`` bounds the octets of the canonical form. Raises InvalidUrl.
    """
    if len(url) > max_length:
        url = url.partition("#")[0]  # text fragments may be long, and are dropped anyway
        if len(url) > max_length:
            raise InvalidUrl(f"longer than {max_length} octets")
    origin, path = _split(url, base)
    if "%" in path:
        path = _canonical_escapes(path)
    site = _site(origin)
    canonical = site.origin + path
    if len(canonical) > max_length:
        raise InvalidUrl(f"longer than {max_length} octets")
    return Url(canonical, path, site)


def serialised(url: str, base: str | None = None) -> str:
    """The WHATWG serialisation of an http(s) URL, less fragment and userinfo.

    What :func:`parse` starts from: not yet canonical. Raises InvalidUrl.
    """
    origin, path = _split(url, base)
    scheme, _, authority = origin.partition("://")
    return f"{scheme}://{authority.rpartition('@')[2]}{path}"


def fingerprint(key: str, secret: bytes) -> int:
    """52 bits of a keyed hash of ``key``: exact as a Lua number, unpredictable for sites.

    ``secret`` is at most 64 octets and the same for the whole deployment. Source: RFC 7693.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=secret).digest()
    return int.from_bytes(digest, "big") >> 12


def fingerprints(secret: bytes) -> Callable[[str], int]:
    """What :func:`fingerprint` gives for keys under one secret; the secret is taken in once."""
    start = hashlib.blake2b(digest_size=8, key=secret).copy

    def of(key: str) -> int:
        state = start()
        state.update(key.encode())
        return int.from_bytes(state.digest(), "big") >> 12

    return of


def partition(domain: str, partitions: int) -> int:
    """The partition, 0 <= p < ``partitions``, of a registered domain; stable for ever (murmur3)."""
    return int(mmh3.hash(domain, signed=False)) % partitions


def _split(url: str, base: str | None) -> tuple[str, str]:
    """``scheme://[userinfo@]host[:port]``, and the path with the query."""
    href = _resolve(url, base)
    if href.startswith("https://"):
        start = 8
    elif href.startswith("http://"):
        start = 7
    else:
        raise InvalidUrl(f"scheme is {href.partition(':')[0]!r}, not http or https")
    cut = href.find("#")
    if cut >= 0:
        href = href[:cut]
    slash = href.find("/", start)
    return href[:slash], href[slash:]


def _resolve(url: str, base: str | None) -> str:
    """The WHATWG serialisation of ``url`` against ``base``."""
    try:
        return str(ada_url.normalize_url(url) if base is None else ada_url.join_url(base, url))
    except ValueError as error:
        # Lone surrogates: the standard reads them as U+FFFD, the parser takes UTF-8 only.
        clean = _SURROGATE.sub("\ufffd", url)
        clean_base = None if base is None else _SURROGATE.sub("\ufffd", base)
        if (clean, clean_base) != (url, base):
            return _resolve(clean, clean_base)
        raise InvalidUrl(_complaint(url, base)) from error


def _complaint(url: str, base: str | None) -> str:
    """Why the parser refused: it says only that it did."""
    if not url.strip():
        return "empty URL"
    if base is None and not re.match(r"\s*[A-Za-z][A-Za-z0-9+.\-]*:", url):
        return "no scheme: an absolute URL starts with http:// or https://"
    return "not a valid URL"


def _canonical_escapes(path: str) -> str:
    """Percent triplets in their one canonical spelling (RFC 3986 6.2.2.1 and 6.2.2.2)."""
    if _STRAY_PERCENT.search(path):
        # Decoding next to a stray "%" could form a triplet that was not there.
        return _TRIPLET.sub(lambda match: match[0].upper(), path)
    return _TRIPLET.sub(_canonical_escape, path)


def _canonical_escape(match: re.Match[str]) -> str:
    octet = int(match[0][1:], 16)
    return chr(octet) if octet in _UNRESERVED else match[0].upper()


@lru_cache(maxsize=65_536)
def _site(origin: str) -> Site:
    """Take apart ``scheme://[userinfo@]host[:port]`` as serialised by the parser."""
    scheme, _, authority = origin.partition("://")
    authority = authority.rpartition("@")[2]
    name, colon, digits = authority.rpartition(":")
    if not colon or digits.endswith("]"):
        name, digits = authority, ""
    # "example.org." is the same host by another spelling: it must share the clock. One dot only:
    # "127.1.." is no address, and must not become one behind the parser's back.
    if name.endswith(".") and not name.endswith("..") and len(name) > 1:
        name = name[:-1]
    if len(name) > MAX_HOSTNAME:
        raise InvalidUrl(f"host name longer than {MAX_HOSTNAME} octets")
    host = f"{name}:{digits}" if digits else name
    return Site(
        origin=f"{scheme}://{host}",
        scheme=scheme,
        host=host,
        hostname=name.strip("[]"),
        port=int(digits) if digits else _DEFAULT_PORTS[scheme],
        domain=registered_domain(name),
    )


@lru_cache(maxsize=65_536)
def registered_domain(name: str) -> str:
    """The registered domain of a canonical host name, private suffixes counted as suffixes.

    Addresses give the address (IPv6 without brackets); bare suffixes and names without a known
    suffix give the name. Source: the Public Suffix List as bundled with tldextract.
    """
    if name.startswith("["):
        return name[1:-1]
    if _IPV4.fullmatch(name):
        return name
    return _suffixes().extract_str(name).top_domain_under_public_suffix or name


@lru_cache(maxsize=1)
def _suffixes() -> tldextract.TLDExtract:
    """The bundled list: no network, no cache on disk."""
    return tldextract.TLDExtract(
        suffix_list_urls=(), include_psl_private_domains=True, cache_dir=None
    )


# SURT. As the `surt` library's default (IA) canonicaliser has it, which is what the index of
# Common Crawl calls `url_surtkey`: https://github.com/internetarchive/surt

_WWW: Final = re.compile(r"www\d*\.")
# Octets that the canonicaliser leaves as they are once all escapes are undone.
_SURT_SAFE: Final = "!\"$&'()*+,-./:;<=>?@[\\]^_`{|}~"
_SURT_PATH_SESSION: Final = re.compile(
    r"(.*/)\((?:(?:[a-z]\([0-9a-z]{24}\))+|[0-9a-z]{24})\)/([^?]+\.aspx.*)"
)
_SURT_QUERY_SESSIONS: Final = tuple(
    re.compile(rf"(.*)(?:{session})(?:&(.*))?")
    for session in (
        "jsessionid=[0-9a-z]{32}",
        "phpsessid=[0-9a-z]{32}",
        "sid=[0-9a-z]{32}",
        "aspsessionid[a-z]{8}=[a-z]{24}",
        "cfid=[^&]+&cftoken=[^&]+",
    )
)


def surt(url: Url) -> str:
    """The sort-friendly key of a URL, for instance ``org,example)/path?a=1&b``.

    Host labels reversed (those of IPv4 addresses too) without a leading ``www.``, port kept when it
    is not the default; path and query unescaped as often as possible and escaped once, in lower
    case, without empty segments, session ids and trailing slash; query arguments sorted. The one
    difference to the library: it starts from the canonical URL, so what WHATWG reads otherwise
    (backslashes, odd notations of addresses, non-ASCII hosts) follows WHATWG.
    """
    name = url.hostname.replace("..", ".").strip(".")
    www = _WWW.match(name)
    host = ",".join(reversed((name[www.end() :] if www else name).split(".")))
    port = "" if url.port == _DEFAULT_PORTS[url.scheme] else f":{url.port}"
    path, _, query = url.path.partition("?")
    path = _surt_path(path)
    query = _surt_query(query)
    return f"{host}{port}){path}?{query}" if query else f"{host}{port}){path}"


def _surt_path(path: str) -> str:
    kept: list[bytes] = []
    for segment in _unescape_fully(path).split(b"/")[1:]:
        if segment == b".." and kept:
            kept.pop()
        elif segment != b".":
            kept.append(segment)
    path = _escape_once(b"/" + b"/".join(filter(None, kept))).lower()
    session = _SURT_PATH_SESSION.fullmatch(path)
    return session[1] + session[2] if session else path


def _surt_query(query: str) -> str:
    query = _escape_once(_unescape_fully(query)).lower()
    for pattern in _SURT_QUERY_SESSIONS:
        session = pattern.fullmatch(query)
        if session:
            query = session[1] + (session[2] or "")
    return "&".join(sorted(query.split("&"), key=lambda argument: argument.split("=", 1)))


def _unescape_fully(text: str) -> bytes:
    octets = text.encode()
    while (once := unquote_to_bytes(octets)) != octets:
        octets = once
    return octets


def _escape_once(octets: bytes) -> str:
    return quote_from_bytes(octets, safe=_SURT_SAFE)
