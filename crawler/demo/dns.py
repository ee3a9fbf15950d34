"""A DNS responder for the demo's host names: A records over UDP on loopback (RFC 1035, 6891).

Known names get their address; other types of them, and the zones above, an empty answer; every
other name NXDOMAIN. Negative answers carry an SOA record, so that they can be cached (RFC 2308).
`answer` is pure.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TTL: Final = 60  # seconds
_HEADER: Final = struct.Struct("!6H")
_FIXED: Final = struct.Struct("!2H")
_RECORD: Final = struct.Struct("!HHHIH")  # name pointer, type, class, TTL, length of data
_A, _SOA, _OPT, _ANY, _IN = 1, 6, 41, 255, 1
_NOERROR, _FORMERR, _NXDOMAIN, _NOTIMP, _REFUSED = 0, 1, 3, 4, 5
_QNAME: Final = 0xC00C  # pointer to the question's name
_EDNS: Final = struct.pack("!BHHIH", 0, _OPT, 1232, 0, 0)  # root, OPT, payload size, flags, no data


@dataclass(frozen=True, slots=True)
class _Question:
    name: str  # lower case, no trailing dot
    kind: int  # record type
    klass: int  # record class
    raw: bytes  # as sent: the case of letters is echoed (resolvers check it)
    edns: bool  # the query has an OPT record


def answer(query: bytes, names: Mapping[str, str]) -> bytes | None:
    """The response to a query, None where none is due (not a query, or no header).

    ``names`` maps lower-case names to IPv4 addresses.
    """
    if len(query) < _HEADER.size:
        return None
    number, flags, questions, *_ = _HEADER.unpack_from(query)
    if flags & 0x8000:
        return None
    if flags & 0x7800:
        return _response(number, flags, _NOTIMP)
    question = _question(query) if questions == 1 else None
    if question is None:
        return _response(number, flags, _FORMERR)
    if question.klass not in (_IN, _ANY):
        return _response(number, flags, _REFUSED, question)
    address = names.get(question.name)
    if address is not None and question.kind in (_A, _ANY):
        data = ipaddress.IPv4Address(address).packed
        record = _RECORD.pack(_QNAME, _A, _IN, TTL, len(data)) + data
        return _response(number, flags, _NOERROR, question, record)
    below = "." + question.name
    exists = address is not None or any(name.endswith(below) for name in names)
    return _response(number, flags, _NOERROR if exists else _NXDOMAIN, question)


def _question(query: bytes) -> _Question | None:
    """The one question of a query, None if it is malformed."""
    labels = []
    at = _HEADER.size
    while at < len(query) and query[at]:
        length = query[at]
        if length > 63 or at + 1 + length >= len(query):
            return None
        labels.append(query[at + 1 : at + 1 + length].decode("latin-1").lower())
        at += 1 + length
    end = at + 1 + _FIXED.size
    if end > len(query) or at - _HEADER.size > 254:
        return None
    kind, klass = _FIXED.unpack_from(query, at + 1)
    additional = _HEADER.unpack_from(query)[5]
    edns = additional > 0 and query[end : end + 3] == b"\0" + _OPT.to_bytes(2, "big")
    return _Question(".".join(labels), kind, klass, query[_HEADER.size : end], edns)


def _response(
    number: int, flags: int, code: int, question: _Question | None = None, record: bytes = b""
) -> bytes:
    """A response: with the record, or with the SOA of the name asked for."""
    raw = question.raw if question else b""
    authority = b""
    if question and not record and code in (_NOERROR, _NXDOMAIN):
        data = b"\0\0" + struct.pack("!5I", 1, TTL, TTL, TTL, TTL)
        authority = b"\0" + struct.pack("!HHIH", _SOA, _IN, TTL, len(data)) + data
    edns = _EDNS if question and question.edns else b""
    bits = 0x8400 | (flags & 0x7900) | code  # response, authoritative, recursion desired as asked
    head = _HEADER.pack(
        number, bits, 1 if raw else 0, 1 if record else 0, 1 if authority else 0, 1 if edns else 0
    )
    return head + raw + record + authority + edns


class DnsProtocol(asyncio.DatagramProtocol):
    """Answers each datagram."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """Serve these names, lower case, with their addresses."""
        self._names = names
        self._transport: asyncio.DatagramTransport
        self.queries = 0

    def connection_made(self, transport: Any) -> None:
        """Keep the transport to answer through."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Answer a query."""
        self.queries += 1
        response = answer(data, self._names)
        if response is not None:
            self._transport.sendto(response, addr)
