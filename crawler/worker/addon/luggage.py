"""A Scrapy request as it travels through the frontier, and what tells it from others.

What the frontier does not know (method, body, headers, callback, meta ...) travels as JSON in
``CrawlRequest.extra``; nothing in it can run code when it is read back. JSON alone lacks some of
what projects put there: an object with the one key ``$`` stands for such a value.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Any, Final

from itemadapter import ItemAdapter
from scrapy import Request, Spider
from scrapy.utils.request import request_from_dict

from frontier.entry import MAX_EXTRA

# Marks of a request that is on its way through the engine, and of none that is to come.
PASSING: Final = frozenset({"download_slot", "download_latency"})
_PLAIN: Final = (str, int, float, bool, type(None))
_VARIANTS: Final = 1 << 32  # visits from here on are variants


class Unpackable(ValueError):
    """A request that cannot travel; the message says what of it."""


def pack(request: Request, spider: Spider) -> str:
    """The luggage of a request; Unpackable names the part that cannot be taken along."""
    try:
        whole = request.to_dict(spider=spider)
    except ValueError as error:
        raise Unpackable(f"{error}: callback and errback must be methods of the spider") from None
    whole["meta"] = {k: v for k, v in request.meta.items() if k not in PASSING}
    del whole["url"]
    bare = Request(request.url).to_dict()
    parts = {key: value for key, value in whole.items() if value != bare.get(key)}
    try:
        text = json.dumps({key: _told(value, key) for key, value in parts.items()})
    except RecursionError:
        raise Unpackable("something in it contains itself, or is nested too deep") from None
    if len(text) > MAX_EXTRA:
        raise Unpackable(f"it takes {len(text):,} characters, {MAX_EXTRA:,} are the most")
    return text


def unpack(url: str, extra: str, spider: Spider) -> Request:
    """The request that :func:`pack` took apart.

    Unpackable: the spider has no such callback any more, or the text is not that of a request.
    """
    try:
        parts = json.loads(extra, object_hook=_untold) if extra else {}
        if "_class" in parts and not issubclass(_named(parts["_class"]), Request):
            raise TypeError(f"{parts['_class']} is not a request")
        return request_from_dict({**parts, "url": url}, spider=spider)
    except (ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise Unpackable(f"{error}") from error


def variant(request: Request, again: str) -> int:
    """The visit that stands for a request: 1 for a plain GET, else a number from 2**32 on.

    Requests to one URL are told apart by method and body, and by ``again`` where the project wants
    the same one more than once ("" where it does not).
    """
    if request.method == "GET" and not request.body and not again:
        return 1
    digest = blake2b(digest_size=6)
    for part in (request.method.encode(), request.body, again.encode()):
        digest.update(b"%d:%b" % (len(part), part))
    return _VARIANTS + int.from_bytes(digest.digest(), "big")


_SPECIAL: Final[dict[type, tuple[str, Callable[[Any], Any]]]] = {
    bytes: ("bytes", lambda value: base64.b64encode(value).decode()),
    datetime: ("datetime", datetime.isoformat),
    date: ("date", date.isoformat),
    Decimal: ("decimal", str),
}
_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "bytes": base64.b64decode,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": Decimal,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "item": lambda told: _item(*told),
}


def _told(value: Any, where: str) -> Any:
    """A value as JSON has it."""
    kind: Any = _base(value)
    if kind in _PLAIN:
        return value if kind is type(value) else kind(value)
    if kind in _SPECIAL:
        name, spell = _SPECIAL[kind]
        return {"$": [name, spell(value)]}
    if kind is list:
        return [_told(each, f"{where}[{i}]") for i, each in enumerate(value)]
    if kind in (tuple, set, frozenset):
        return {"$": [kind.__name__, [_told(each, where) for each in value]]}
    if ItemAdapter.is_item(value) and kind is not dict:
        if "." in kind.__qualname__:
            raise Unpackable(
                f"{where} is a {kind.__qualname__}, a class that is not a module's own"
            )
        fields = {k: _told(v, f"{where}.{k}") for k, v in ItemAdapter(value).items()}
        return {"$": ["item", [f"{kind.__module__}.{kind.__qualname__}", fields]]}
    if isinstance(value, Mapping):
        return _mapping(value, where)
    raise Unpackable(f"{where} is a {kind.__module__}.{kind.__qualname__}, which cannot travel")


def _base(value: Any) -> type:
    """The type that a value travels as: selectors make texts of types of their own."""
    kind = type(value)
    if kind in _PLAIN or kind in _SPECIAL or isinstance(value, Enum):
        return kind
    return next((base for base in (str, bytes, float, int) if isinstance(value, base)), kind)


def _mapping(value: Mapping[Any, Any], where: str) -> Any:
    pairs = [(k, _told(v, f"{where}[{k!r}]")) for k, v in value.items()]
    if all(_base(k) is str for k, _ in pairs) and "$" not in value:
        return {str(k): v for k, v in pairs}
    return {"$": ["dict", [[_told(k, f"a key of {where}"), v] for k, v in pairs]]}


def _untold(value: dict[str, Any]) -> Any:
    if value.keys() != {"$"}:
        return value
    name, told = value["$"]
    return _READ[name](told)


def _item(name: str, fields: dict[str, Any]) -> Any:
    kind = _named(name)
    if not ItemAdapter.is_item_class(kind):
        raise ValueError(f"{name} is not an item")
    return kind(**fields)


def _named(name: str) -> type:
    """The class of a name, of a module that the project has loaded: nothing is imported for it."""
    module, _, own = name.rpartition(".")
    kind = getattr(sys.modules.get(module), own, None)
    if not isinstance(kind, type):
        raise TypeError(f"{name} is no class that is loaded here")
    return kind
