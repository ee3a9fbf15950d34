"""Ways to write a link. Pure.

Invariant: every form, resolved against the page's URL as the WHATWG URL standard says, with
fragment and user information dropped, gives the link's canonical URL.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from crawler.demo.model import Link, url

SAME_HOST: Final = (
    "rooted",
    "relative",
    "absolute",
    "scheme",
    "dots",
    "encoded-dots",
    "fragment",
    "spaces",
    "backslash",
    "raw",
    "user",
)
CROSS_HOST: Final = ("absolute", "scheme", "upper", "fragment-absolute", "bare", "user", "hex")
FORMS: Final = tuple(dict.fromkeys((*SAME_HOST, *CROSS_HOST)))

JUNK: Final = (  # what links may hold that is no page
    "mailto:someone@demo.test",
    "javascript:void(0)",
    "data:text/html,<p>nothing</p>",
    "tel:+15550100",
    "ftp://files.demo.test/list",
    "#top",
    "http://",
    "http://[::bad/",
    "http://exa mple.test/",
    "http://demo.test:99999/",
    "//",
)


def write(link: Link, base: str, port: int) -> str:
    """The href for a link on a page whose base path (its own, or its base element's) is ``base``.

    Forms that cannot express the link fall back to the rooted or absolute one.
    """
    return _WRITERS[link.form](link, base, port)


def relative(base: str, target: str) -> str:
    """A relative reference from one path to another (RFC 3986 4.2)."""
    there, question, query = target.partition("?")
    start = base.partition("?")[0].split("/")[1:-1]
    *goal, leaf = there.split("/")[1:]
    common = 0
    for one, other in zip(start, goal, strict=False):
        if one != other:
            break
        common += 1
    parts = [".."] * (len(start) - common) + goal[common:]
    path = "/".join([*parts, leaf]) or "./"
    if path.startswith("/") or ":" in path.split("/")[0]:
        path = "./" + path
    return path + question + query


def _absolute(link: Link, _base: str, port: int) -> str:
    return url(link.host, link.path, port)


def _user(link: Link, _base: str, port: int) -> str:
    return url(link.host, link.path, port).replace("http://", "http://guest:secret@", 1)


def _upper(link: Link, _base: str, port: int) -> str:
    return "HTTP://" + url(link.host.upper(), link.path, port).removeprefix("http://")


def _bare(link: Link, base: str, port: int) -> str:
    if link.path != "/":
        return _absolute(link, base, port)
    return url(link.host, "", port)


def _hex(link: Link, base: str, port: int) -> str:
    """An address in a notation that the URL standard turns into dotted decimal."""
    try:
        number = int(ipaddress.IPv4Address(link.host))
    except ipaddress.AddressValueError:
        return _absolute(link, base, port)
    return url(f"{number:#x}", link.path, port)


def _dots(link: Link, _base: str, _port: int) -> str:
    return "/./detour/.." + link.path


def _raw(link: Link, _base: str, _port: int) -> str:
    """Non-ASCII letters and spaces as they are, where decoding changes nothing else."""
    path, question, query = link.path.partition("?")
    escaped = any(mark in path.upper() for mark in ("%25", "%3", "%2"))
    return (path if escaped else unquote(path)) + question + query


_WRITERS: Final[Mapping[str, Callable[[Link, str, int], str]]] = MappingProxyType(
    {
        "rooted": lambda link, _base, _port: link.path,
        "relative": lambda link, base, _port: relative(base, link.path),
        "absolute": _absolute,
        "scheme": lambda link, base, port: _absolute(link, base, port).removeprefix("http:"),
        "dots": _dots,
        "encoded-dots": lambda link, _base, _port: "/detour/%2e%2E" + link.path,
        "fragment": lambda link, _base, _port: link.path + "#part-2",
        "fragment-absolute": lambda link, base, port: _absolute(link, base, port) + "#part-2",
        "spaces": lambda link, _base, _port: f"\n  {link.path}\t",
        "backslash": lambda link, _base, _port: link.path.replace("/", "\\"),
        "raw": _raw,
        "user": _user,
        "upper": _upper,
        "bare": _bare,
        "hex": _hex,
    }
)
