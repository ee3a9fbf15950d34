"""dedupe.exact: digests."""

from __future__ import annotations

import pytest

from dedupe import exact
from dedupe.exact import digest, text_digest


def test_digest_is_that_of_warc_files() -> None:
    assert digest(b"") == "sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ"
    assert digest(b"hello") == "sha1:VL2MMHO4YXUKFWV63YHTWSBM3GXKSQ2N"


def test_case_and_white_space_do_not_count() -> None:
    assert text_digest("Hello,\n\n  WORLD ") == text_digest("hello, world")
    assert text_digest("Straße") == text_digest("STRASSE")
    assert text_digest("hello world") != text_digest("helloworld")


@pytest.mark.parametrize("text", ["", " \n\t\u3000"])
def test_nothing_is_not_equal_to_nothing(text: str) -> None:
    assert text_digest(text) is None


def test_lone_surrogates_are_characters() -> None:
    assert text_digest("a\ud800b") not in {None, text_digest("ab")}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1 << 20])
def test_the_size_of_slices_does_not_show(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    texts = ["one two  three\n four", "  a b", "ab", "a  \n  b", " x "]
    monkeypatch.setattr(exact, "_SLICE", 1 << 20)
    whole = [text_digest(text) for text in texts]
    monkeypatch.setattr(exact, "_SLICE", size)
    assert [text_digest(text) for text in texts] == whole


def test_golden() -> None:
    found = text_digest("The quick brown fox")
    assert found is not None
    assert found.hex() == "98d99055e2a4fb92e4718042ab655a22"
