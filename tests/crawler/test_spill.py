"""Spilled URLs lie in the store that has the job's pages, and its errors pass through."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.spill import SpillObjects
from frontier.spill import SpillStore
from storage.blob import StorageError, open_store
from storage.layout import Layout

LAYOUT = Layout("default", "j")


def objects(path: Path) -> SpillStore:
    return SpillObjects(open_store(str(path)), LAYOUT)


def test_objects_come_back_from_the_job_s_directory(tmp_path: Path) -> None:
    store = objects(tmp_path)
    assert list(store.list("spill/3")) == []
    store.put("spill/3/b", b"2")
    store.put("spill/3/a", b"1")
    store.put("spill/30/a", b"3")
    assert (tmp_path / "default/j/spill/3/a").read_bytes() == b"1"
    assert store.get("spill/3/b") == b"2"
    assert list(store.list("spill/3")) == ["spill/3/a", "spill/3/b"]
    store.delete("spill/3/a")
    store.delete("spill/3/a")
    assert list(store.list("spill/3")) == ["spill/3/b"]


def test_what_is_gone_is_told_from_a_store_that_fails(tmp_path: Path) -> None:
    store = objects(tmp_path)
    assert store.get("spill/3/a") is None
    (tmp_path / "default").write_text("not a directory")
    with pytest.raises(StorageError):
        store.get("spill/3/a")
    with pytest.raises(StorageError):
        store.put("spill/3/a", b"1")
