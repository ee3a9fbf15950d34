import asyncio
import struct

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.demo.dns import DnsProtocol, answer

NAMES = {"alder-1.demo.test": "127.43.0.1", "ash-2.demo.test": "127.43.0.1"}


def ask(name: str, kind: str = "A", **options: object) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **options)  # type: ignore[arg-type]
    raw = answer(query.to_wire(), NAMES)
    assert raw is not None
    response = dns.message.from_wire(raw)
    assert query.is_response(response)
    return response


def test_a_known_name_has_its_address() -> None:
    response = ask("alder-1.demo.test")
    assert response.rcode() == dns.rcode.NOERROR
    assert response.flags & dns.flags.AA
    assert [str(record) for record in response.answer[0]] == ["127.43.0.1"]
    assert response.answer[0].ttl > 0


def test_names_are_matched_in_any_case_and_echoed_as_asked() -> None:
    response = ask("ALDER-1.Demo.test")
    assert [str(record) for record in response.answer[0]] == ["127.43.0.1"]
    assert str(response.question[0].name) == "ALDER-1.Demo.test."


@pytest.mark.parametrize("kind", ["AAAA", "MX", "TXT", "HTTPS"])
def test_other_types_get_an_empty_answer_that_can_be_cached(kind: str) -> None:
    response = ask("alder-1.demo.test", kind)
    assert response.rcode() == dns.rcode.NOERROR
    assert not response.answer
    assert response.authority[0].rdtype == dns.rdatatype.SOA


def test_unknown_names_do_not_exist() -> None:
    for name in ("nowhere.demo.test", "example.org", "test.alder-1.demo.test"):
        response = ask(name)
        assert response.rcode() == dns.rcode.NXDOMAIN
        assert response.authority[0].rdtype == dns.rdatatype.SOA


def test_the_zone_above_exists() -> None:
    assert ask("demo.test").rcode() == dns.rcode.NOERROR


def test_edns_is_answered_with_edns() -> None:
    assert ask("alder-1.demo.test", use_edns=0, payload=4096).edns == 0
    assert ask("alder-1.demo.test", use_edns=False).edns == -1


def test_what_is_no_plain_query_is_refused_properly() -> None:
    query = dns.message.make_query("alder-1.demo.test", "A")
    chaos = dns.message.make_query("alder-1.demo.test", "A", rdclass="CH")
    status = bytearray(query.to_wire())
    status[2] |= 0x10
    for wire, code in ((chaos.to_wire(), dns.rcode.REFUSED), (bytes(status), dns.rcode.NOTIMP)):
        raw = answer(wire, NAMES)
        assert raw is not None
        assert raw[3] & 0xF == code
    response = bytearray(query.to_wire())
    response[2] |= 0x80
    assert answer(bytes(response), NAMES) is None
    assert answer(b"short", NAMES) is None


def test_malformed_questions_get_formerr() -> None:
    head = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0)
    for tail in (b"", b"\x05ab", b"\xc0\x0c\0\1\0\1", b"\3abc\0\0"):
        raw = answer(head + tail, NAMES)
        assert raw is not None
        assert raw[:2] == head[:2]
        assert raw[3] & 0xF == dns.rcode.FORMERR


@given(st.binary(max_size=80))
def test_any_datagram_is_survived(wire: bytes) -> None:
    raw = answer(wire, NAMES)
    assert raw is None or raw[:2] == wire[:2]


async def test_over_udp() -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: DnsProtocol(NAMES), local_addr=("127.0.0.1", 0)
    )
    try:
        port = transport.get_extra_info("sockname")[1]
        query = dns.message.make_query("ash-2.demo.test", "A")
        response = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=60)
        assert str(response.answer[0][0]) == "127.43.0.1"
        assert protocol.queries == 1
    finally:
        transport.close()
