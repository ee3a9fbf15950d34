"""crawler.fetch.head: what is saved of a head that was broken off."""

from __future__ import annotations

import pytest

from crawler.fetch.head import saved


def test_whole_lines_are_saved() -> None:
    head = saved(b"HTTP/1.1 200 Fine\r\nA: 1\r\nb:  two \r\nno colon\r\n: none\r\nCut: sho")
    assert head is not None
    assert (head.status, head.status_line) == (200, "HTTP/1.1 200 Fine")
    assert head.headers == (("A", "1"), ("b", "two"))
    assert head.size == len("A: 1\r\n") + len("b: two\r\n")


def test_what_follows_the_head_is_left_out() -> None:
    head = saved(b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\nB: 2\r\nbody")
    assert head is not None
    assert head.headers == (("A", "1"),)


def test_an_interim_answer_is_passed_over() -> None:
    head = saved(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.0 404\r\nA: 1\r\n")
    assert head is not None
    assert (head.status, head.headers) == (404, (("A", "1"),))


@pytest.mark.parametrize(
    "raw", [b"", b"HTTP/1.1 200 OK", b"SSH-2.0\r\n", b"HTTP/1.1 100 Continue\r\nA: 1\r\n"]
)
def test_without_a_final_status_there_is_no_head(raw: bytes) -> None:
    assert saved(raw) is None


def test_at_most_two_hundred_lines() -> None:
    head = saved(b"HTTP/1.1 200 OK\r\n" + b"A: 1\r\n" * 1_000)
    assert head is not None
    assert len(head.headers) == 200


def test_values_of_a_header_are_joined() -> None:
    head = saved(b"HTTP/1.1 200 OK\r\nVia: a\r\nX: y\r\nvia: b\r\n")
    assert head is not None
    assert (head.all("via"), head.all("none")) == ("a, b", "")
