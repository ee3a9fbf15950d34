from __future__ import annotations

import pytest

from storage.blob import StorageError
from storage.layout import Layout, new_segment_id, segment_time

NOW = 1_795_000_001.5


def test_keys_of_a_job() -> None:
    layout = Layout("default", "demo")
    segment = new_segment_id("host-1.w2", NOW)
    assert layout.warc_key(segment) == f"default/demo/warc/2026/11/18/{segment}.warc.gz"
    assert layout.manifest_key(segment) == f"default/demo/staged/{segment}.json"
    assert layout.data_key("d=1/x.parquet") == "default/demo/pages/d=1/x.parquet"


def test_segment_ids_sort_by_time_and_are_unique() -> None:
    earlier, later = new_segment_id("z", NOW), new_segment_id("a", NOW + 1)
    assert earlier < later
    assert new_segment_id("w", NOW) != new_segment_id("w", NOW)
    assert segment_time(earlier).timestamp() == int(NOW)


def test_a_worker_name_cannot_shape_the_path() -> None:
    segment = new_segment_id("../../etc/x y", NOW)
    assert "/" not in segment
    assert segment_time(segment).timestamp() == int(NOW)
    assert segment_time(new_segment_id("", NOW)).timestamp() == int(NOW)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-x", "x" * 129, "é"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(StorageError, match="not a job name"):
        Layout("default", name)
    with pytest.raises(StorageError, match="not a workspace name"):
        Layout(name, "demo")


@pytest.mark.parametrize("segment", ["", "x", "20261118094641-w", "99999999999999-w-00000000"])
def test_what_is_no_segment_id(segment: str) -> None:
    with pytest.raises(StorageError, match="not a segment id"):
        segment_time(segment)
