"""Content codings: every one, in any cut, stacked, broken and hostile."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from crawler.fetch.decode import Decoder
from crawler.fetch.exchange import FetchError

PAGE = b"".join(b"<p>line %d of the page</p>\n" % n for n in range(3_000))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
}
coded = pytest.mark.parametrize("coder", CODERS)


def decoder(encoding: str, max_decoded: int = 50_000_000, max_ratio: float = 200) -> Decoder:
    return Decoder(encoding, max_decoded=max_decoded, max_ratio=max_ratio)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def feed(taker: Decoder, data: bytes, size: int) -> None:
    for piece in cut(data, size):
        taker.feed(piece)


def decode(encoding: str, data: bytes, size: int = 1 << 20) -> bytes:
    taker = decoder(encoding)
    feed(taker, data, size)
    assert taker.complete()
    return taker.payload()


@coded
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_each_coding_in_any_cut(coder: str, size: int) -> None:
    name, code = CODERS[coder]
    assert decode(name, code(PAGE), size) == PAGE


@given(
    data=st.binary(max_size=2_000),
    coder=st.sampled_from(sorted(CODERS)),
    size=st.integers(1, 50),
)
def test_round_trip(data: bytes, coder: str, size: int) -> None:
    name, code = CODERS[coder]
    assert decode(name, code(data), size) == data


@coded
def test_more_output_than_one_step_gives(coder: str) -> None:
    name, code = CODERS[coder]
    body = b"\0" * 900_000
    assert decode(name, code(body)) == body


@pytest.mark.parametrize("encoding", ["", "identity", "none", "utf-8", "text/html", "Identity "])
def test_what_is_not_a_coding_is_passed_over(encoding: str) -> None:
    assert decode(encoding, PAGE) == PAGE


def test_stacked_codings_come_off_in_reverse() -> None:
    body = brotli.compress(gzip.compress(zlib.compress(PAGE)))
    assert decode("deflate, GZIP ,br", body, 100) == PAGE


@pytest.mark.parametrize("size", [1, 10, 1 << 20])
def test_members_and_frames_follow_each_other(size: int) -> None:
    assert decode("gzip", gzip.compress(b"one ") + gzip.compress(b"two"), size) == b"one two"
    frames = zstandard.compress(b"one ") + zstandard.compress(b"two")
    assert decode("zstd", frames, size) == b"one two"


@pytest.mark.parametrize("size", [1, 10, 1 << 20])
def test_junk_after_gzip_is_ignored(size: int) -> None:
    assert decode("gzip", gzip.compress(PAGE) + b"\0\0\0\x1f\x8b junk", size) == PAGE


@coded
def test_an_unfinished_stream_keeps_what_came(coder: str) -> None:
    name, code = CODERS[coder]
    body = code(b"".join(bytes(str(n * n), "ascii") for n in range(60_000)))
    taker = decoder(name)
    taker.feed(body[: len(body) // 2])
    assert not taker.complete()
    assert taker.payload().startswith(b"0149162536")


def test_an_empty_body_is_complete() -> None:
    taker = decoder("gzip")
    assert taker.complete()
    assert taker.payload() == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
def test_what_does_not_decode_is_bad_encoding(encoding: str) -> None:
    taker = decoder(encoding)
    with pytest.raises(FetchError) as caught:
        feed(taker, b"<html>this was never compressed</html>" * 10, 64)
    assert caught.value.reason == "bad-encoding"


@pytest.mark.parametrize("encoding", ["compress", "dcb", "gzip, gzip, gzip, gzip, gzip"])
def test_codings_nobody_offered_are_bad_encoding(encoding: str) -> None:
    with pytest.raises(FetchError) as caught:
        decoder(encoding)
    assert caught.value.reason == "bad-encoding"


def test_a_zstd_window_over_8_mb_is_bad_encoding() -> None:
    settings = zstandard.ZstdCompressionParameters(window_log=27)
    coder = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    body = coder.compress(PAGE) + coder.flush()
    with pytest.raises(FetchError) as caught:
        decoder("zstd").feed(body)
    assert caught.value.reason == "bad-encoding"


@coded
def test_a_bomb_is_defused_within_bounds(coder: str) -> None:
    name, code = CODERS[coder]
    body = code(b"\0" * 60_000_000)
    taker = decoder(name)
    tracemalloc.start()
    with pytest.raises(FetchError) as caught:
        feed(taker, body, 65536)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.reason == "bomb"
    # The ratio strikes at a megabyte, or as soon as the bytes taken no longer excuse the size.
    assert peak < 20_000_000


@coded
def test_a_patient_bomb_meets_the_cap(coder: str) -> None:
    name, code = CODERS[coder]
    taker = decoder(name, max_decoded=5_000_000, max_ratio=1e9)
    with pytest.raises(FetchError) as caught:
        taker.feed(code(b"\0" * 6_000_000))
    assert caught.value.reason == "bomb"
    assert len(taker.payload()) <= 5_000_000


def test_a_bomb_inside_a_coding_is_defused() -> None:
    body = gzip.compress(gzip.compress(b"\0" * 60_000_000))
    taker = decoder("gzip, gzip")
    tracemalloc.start()
    with pytest.raises(FetchError) as caught:
        taker.feed(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.reason == "bomb"
    assert peak < 5_000_000
