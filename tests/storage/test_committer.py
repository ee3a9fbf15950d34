"""Exactly once: replays, races and aborts, on disk and on S3."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from storage.blob import BlobStore, StorageError, StorageFull, StorageUnavailable, open_store
from storage.committer import Committer
from storage.layout import Layout, new_segment_id
from storage.segment import Manifest, PageRecord, stage
from storage.table import CommitConflict, PagesTable, Snapshot
from tests.servers import S3Server, closed_port
from tests.storage.conftest import BUCKET
from tests.storage.racing import compete
from tests.storage.samples import LAYOUT, page, sealed, writer

DAY = 86_400.0


@pytest.fixture
def committer(store: BlobStore) -> Committer:
    return Committer(store, LAYOUT, sleep=lambda _: None)


@pytest.fixture
def staged(store: BlobStore, tmp_path: Path) -> Callable[..., Manifest]:
    """Stages a segment with pages of these numbers and gives its manifest."""

    def make(numbers: range, **options: object) -> Manifest:
        done = sealed(tmp_path / "spool", numbers, **options)
        stage(store, done)
        return done.manifest

    return make


def urls(store: BlobStore) -> list[str]:
    snapshot = PagesTable(store, LAYOUT.table).snapshot()
    batches = snapshot.batches(["url"], None, 1000)
    return sorted(str(url) for batch in batches for url in batch["url"].to_pylist())


def expected(*ranges: range) -> list[str]:
    return sorted(f"http://h{n % 5}.example/{n}" for numbers in ranges for n in numbers)


class TestCommit:
    def test_many_segments_in_one_commit(
        self, store: BlobStore, committer: Committer, staged: Callable[..., Manifest]
    ) -> None:
        committer.prepare()
        before = PagesTable(store, LAYOUT.table).snapshot().version
        manifests = [staged(range(5)), staged(range(5, 9)), staged(range(0))]
        result = committer.commit(manifests)
        assert result.committed == tuple(m.segment for m in manifests)
        assert PagesTable(store, LAYOUT.table).snapshot().version == before + 1
        assert urls(store) == expected(range(9))
        assert all(committer.committed(m.segment) for m in manifests)

    def test_replaying_adds_nothing(
        self, store: BlobStore, committer: Committer, staged: Callable[..., Manifest]
    ) -> None:
        first, second = staged(range(5)), staged(range(5, 9))
        committer.commit([first])
        result = committer.commit([first, second])
        assert (result.already, result.committed) == ((first.segment,), (second.segment,))
        again = Committer(store, LAYOUT).commit([first, second])
        assert set(again.already) == {first.segment, second.segment}
        assert urls(store) == expected(range(9))

    def test_a_conflict_is_looked_at_again(
        self,
        store: BlobStore,
        committer: Committer,
        staged: Callable[..., Manifest],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Another committer gets in between the look and the commit."""
        ours, theirs = staged(range(5)), staged(range(5, 9))
        rival = Committer(store, LAYOUT)
        commit = Snapshot.commit
        rivals = iter([[ours], [theirs]])

        def interrupted(self: Snapshot, *args: object) -> None:
            monkeypatch.setattr(Snapshot, "commit", commit)
            rival.commit(next(rivals))
            commit(self, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(Snapshot, "commit", interrupted)
        assert committer.commit([ours, theirs]).already == (ours.segment,)
        assert urls(store) == expected(range(9))

    def test_conflict_after_conflict_is_given_up_for_now(
        self,
        committer: Committer,
        staged: Callable[..., Manifest],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def conflict(*_: object) -> None:
            raise CommitConflict("someone was faster")

        monkeypatch.setattr(Snapshot, "commit", conflict)
        with pytest.raises(StorageUnavailable, match="in a row met a conflict"):
            committer.commit([staged(range(3))])

    def test_a_segment_of_another_job_is_refused(
        self, store: BlobStore, staged: Callable[..., Manifest]
    ) -> None:
        manifest = staged(range(3))
        with pytest.raises(StorageError, match=r"is of default/demo, not of default/other"):
            Committer(store, Layout("default", "other")).commit([manifest])

    def test_a_segment_beyond_the_tables_memory_is_left_alone(
        self, store: BlobStore, committer: Committer, staged: Callable[..., Manifest]
    ) -> None:
        old = staged(range(3), now=time.time() - 40 * DAY)
        new = staged(range(3, 6))
        result = committer.commit([old, new])
        assert (result.expired, result.committed) == ((old.segment,), (new.segment,))
        assert committer.commit([old]).expired == (old.segment,)
        with pytest.raises(StorageError, match="too old to abort"):
            committer.abort(old.segment)
        assert urls(store) == expected(range(3, 6))

    def test_manifests_wait_until_forgotten(
        self, committer: Committer, staged: Callable[..., Manifest]
    ) -> None:
        assert list(committer.staged()) == []
        now = time.time()
        first, second = staged(range(2), now=now - 60), staged(range(2, 4), now=now)
        assert list(committer.staged()) == [first, second]
        committer.forget(first)
        committer.forget(first)
        assert list(committer.staged()) == [second]


class TestWhatIsLeft:
    """Of settled segments, for an hour; of aborted ones and those nobody knows, nothing."""

    @pytest.fixture
    def linked(self, store: BlobStore, tmp_path: Path) -> Callable[..., Manifest]:
        """Stages a segment whose one page has two outlinks."""

        def make(number: int) -> Manifest:
            segment = writer(tmp_path / "spool")
            raw = page(number)
            links = [["http://a.example/1"], ["http://a.example/2"]]
            segment.append(PageRecord(raw.row, raw.fp, raw.partition, raw.exchange, links))
            done = segment.seal({raw.fp}, acknowledged=False)
            stage(store, done)
            return done.manifest

        return make

    def keys(self, store: BlobStore) -> set[str]:
        parts = [part_of(name) for name in ("staged", "recent", "warc")]
        found = (blob.key for part in parts for blob in store.list(part))
        return {key.rpartition("/")[2].partition(".")[2] for key in found}

    def test_outlinks_travel_beside_the_manifest(
        self, store: BlobStore, committer: Committer, linked: Callable[..., Manifest]
    ) -> None:
        manifest = linked(1)
        assert committer.manifest(manifest.segment) == manifest
        assert committer.manifest("20200101000000-x-00000000") is None
        batches = list(committer.outlinks(manifest, 1))
        assert batches == [[["http://a.example/1"], ["http://a.example/2"]]]

    def test_damaged_outlinks_are_an_error(
        self, store: BlobStore, committer: Committer, linked: Callable[..., Manifest]
    ) -> None:
        manifest = linked(1)
        assert manifest.outlinks is not None
        whole = store.get(manifest.outlinks.key)
        for damaged in (b"", b"no zstd", whole[:-9], whole[:12] + b"x" + whole[13:]):
            store.put(manifest.outlinks.key, damaged)
            with pytest.raises(StorageError):
                list(committer.outlinks(manifest, 1))

    def test_a_settled_segments_are_kept_for_an_hour(
        self, store: BlobStore, committer: Committer, linked: Callable[..., Manifest]
    ) -> None:
        manifest, waiting = linked(1), linked(2)
        committer.commit([manifest, waiting])
        committer.forget(manifest)
        committer.tidy(lambda: {waiting.segment})
        assert self.keys(store) == {"json", "links.zst", "warc.gz"}
        assert list(committer.staged()) == [waiting]
        committer.tidy(lambda: {waiting.segment}, age=0.0)
        recent = [blob.key for blob in store.list(LAYOUT.recent)]
        assert recent == [LAYOUT.links_key(waiting.segment)]
        assert urls(store) == expected(range(1, 3))

    def test_an_aborted_segments_are_deleted(
        self, store: BlobStore, committer: Committer, linked: Callable[..., Manifest]
    ) -> None:
        manifest = linked(1)
        assert committer.abort(manifest.segment)
        assert committer.commit([manifest]).aborted == (manifest.segment,)
        committer.discard(manifest)
        assert self.keys(store) == set()

    def test_a_staged_one_that_the_frontier_lost_is_aborted(
        self, store: BlobStore, committer: Committer, linked: Callable[..., Manifest]
    ) -> None:
        lost, committed = linked(1), linked(2)
        committer.commit([committed])
        committer.tidy(set)
        assert list(committer.staged()) == []
        assert committer.commit([lost]).aborted == (lost.segment,)
        assert urls(store) == expected(range(2, 3))


def part_of(name: str) -> str:
    return f"{LAYOUT.prefix}/{name}"


class TestAbort:
    def test_an_aborted_segment_is_never_committed(
        self, store: BlobStore, committer: Committer, staged: Callable[..., Manifest]
    ) -> None:
        manifest, other = staged(range(5)), staged(range(5, 9))
        assert committer.abort(manifest.segment)
        assert committer.abort(manifest.segment), "may be repeated"
        result = committer.commit([manifest, other])
        assert (result.aborted, result.committed) == ((manifest.segment,), (other.segment,))
        assert not committer.committed(manifest.segment)
        assert urls(store) == expected(range(5, 9))

    def test_a_committed_segment_is_not_aborted(
        self, store: BlobStore, committer: Committer, staged: Callable[..., Manifest]
    ) -> None:
        manifest = staged(range(5))
        committer.commit([manifest])
        assert not committer.abort(manifest.segment)
        assert committer.commit([manifest]).already == (manifest.segment,)
        assert urls(store) == expected(range(5))

    def test_a_segment_nobody_staged_can_be_aborted(self, committer: Committer) -> None:
        assert committer.abort(new_segment_id("dead", time.time()))


@pytest.mark.parametrize("abort", [False, True], ids=["commit", "abort"])
def test_two_processes_never_both_win(
    store: BlobStore, root: str, staged: Callable[..., Manifest], abort: bool
) -> None:
    """Two committers without the lease, or a commit against an abort: one wins each time."""
    rounds = 6
    manifests = [staged(range(5 * n, 5 * n + 5)) for n in range(rounds)]
    Committer(store, LAYOUT).prepare()
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(2), context.SimpleQueue()
    environ = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    packed = [manifest.to_json() for manifest in manifests]
    rivals = [
        context.Process(
            target=compete, args=(root, environ, packed, rounds, abort and n == 1, start, answers)
        )
        for n in range(2)
    ]
    for rival in rivals:
        rival.start()
    said = [answers.get() for _ in rivals]
    for rival in rivals:
        rival.join(120)
        assert rival.exitcode == 0
        rival.close()
    answers.close()
    in_table: list[range] = []
    for n, ((segment, one), (_, other)) in enumerate(zip(*said, strict=True)):
        verdicts = {one, other}
        if abort:
            assert verdicts in ({"committed", "already"}, {"aborted"}), segment
        else:
            assert verdicts == {"committed", "already"}, segment
        if "committed" in verdicts:
            in_table.append(range(5 * n, 5 * n + 5))
    assert urls(store) == expected(*in_table)


def test_two_processes_may_create_the_table_at_once(
    store: BlobStore, root: str, staged: Callable[..., Manifest]
) -> None:
    manifests = [staged(range(3)), staged(range(3, 6))]
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(2), context.SimpleQueue()
    environ = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    rivals = [
        context.Process(
            target=compete, args=(root, environ, [each.to_json()], 1, False, start, answers)
        )
        for each in manifests
    ]
    for rival in rivals:
        rival.start()
    assert [answers.get()[0][1] for _ in rivals] == ["committed", "committed"]
    for rival in rivals:
        rival.join(120)
        rival.close()
    answers.close()
    assert urls(store) == expected(range(6))


class TestTable:
    def test_transaction_ids_outlive_a_checkpoint(
        self, store: BlobStore, staged: Callable[..., Manifest]
    ) -> None:
        """Checkpoints come every 100 commits; what was committed before must stay known."""
        committer = Committer(store, LAYOUT)
        manifest = staged(range(3))
        committer.commit([manifest])
        for number in range(102):
            committer.abort(new_segment_id(f"w{number}", time.time()))
        log = [blob.key for blob in store.list(f"{LAYOUT.table}/_delta_log")]
        assert any("checkpoint.parquet" in key for key in log)
        assert committer.commit([manifest]).already == (manifest.segment,)
        assert urls(store) == expected(range(3))

    def test_it_describes_every_column(self, store: BlobStore, committer: Committer) -> None:
        committer.prepare()
        committer.prepare()
        (log,) = store.list(f"{LAYOUT.table}/_delta_log")
        text = store.get(log.key).decode()
        assert "Canonical URL that was asked for" in text
        assert '"partitionColumns":["fetch_date"]' in text

    def test_the_log_holds_no_page_content(
        self, store: BlobStore, committer: Committer, staged: Callable[..., Manifest]
    ) -> None:
        committer.commit([staged(range(5))])
        log = b"".join(store.get(b.key) for b in store.list(f"{LAYOUT.table}/_delta_log"))
        assert b"h0.example" in log
        assert b"some text" not in log
        assert b"Page 1" not in log

    def test_no_table(self, store: BlobStore) -> None:
        with pytest.raises(StorageError, match="there is no table"):
            PagesTable(store, "default/none/pages").snapshot()

    def test_data_files_are_plain_parquet(
        self, root: str, committer: Committer, staged: Callable[..., Manifest]
    ) -> None:
        if root.startswith("s3:"):
            pytest.skip("read from disk")
        manifest = staged(range(5))
        committer.commit([manifest])
        path = Path(root, LAYOUT.table, manifest.files[0].path)
        assert pq.ParquetFile(path).metadata.num_rows == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_disk_full_at_the_commit(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", out], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        store = open_store(str(out))
        committer = Committer(store, LAYOUT)
        committer.prepare()
        done = sealed(tmp_path / "spool", range(3))
        stage(store, done)
        with (out / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
        with pytest.raises(StorageFull, match="No space left on device"):
            committer.commit([done.manifest])
        (out / "filler").unlink()
        assert committer.commit([done.manifest]).committed == (done.manifest.segment,)
        assert urls(store) == expected(range(3))
    finally:
        subprocess.run(["umount", out], check=True)


class TestUnreachable:
    def test_refused_credentials(self, s3_env: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with (
            closing(open_store(f"s3://{BUCKET}/x")) as store,
            pytest.raises(StorageError, match="the S3 credentials are refused"),
        ):
            Committer(store, LAYOUT).prepare()

    def test_a_missing_bucket(self, s3_env: S3Server) -> None:
        with (
            closing(open_store("s3://no-such-bucket/x")) as store,
            pytest.raises(StorageError, match="no-such-bucket") as caught,
        ):
            Committer(store, LAYOUT).prepare()
        assert "\n" not in str(caught.value)

    def test_no_server(self, s3_env: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        with closed_port() as port:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            with (
                closing(open_store(f"s3://{BUCKET}/x")) as store,
                pytest.raises(StorageUnavailable, match="cannot create s3://") as caught,
            ):
                Committer(store, LAYOUT).prepare()
        assert "\n" not in str(caught.value)

    def test_an_unwritable_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StorageError, match="cannot create") as caught:
            Committer(open_store(str(tmp_path / "file")), LAYOUT).prepare()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["50% off#1?x=y", "d\u00e9j\u00e0 vu", "a:b"])
def test_any_directory_name_will_do(tmp_path: Path, name: str) -> None:
    store = open_store(str(tmp_path / name))
    done = sealed(tmp_path / "spool", range(3))
    stage(store, done)
    Committer(store, LAYOUT).commit([done.manifest])
    assert urls(store) == expected(range(3))
    assert [path.name for path in tmp_path.iterdir() if path.name != "spool"] == [name]
