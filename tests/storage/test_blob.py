"""One contract over both stores, then what is particular to each."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from storage.blob import (
    BlobNotFound,
    BlobStore,
    FileStore,
    StorageError,
    StorageFull,
    StorageUnavailable,
    open_store,
    os_error,
    probe,
)
from tests.servers import S3Server, closed_port
from tests.storage.conftest import BUCKET


class TestContract:
    def test_what_was_put_is_got(self, store: BlobStore) -> None:
        assert store.put("a/b.bin", b"hello world")
        assert store.get("a/b.bin") == b"hello world"
        assert store.put("a/b.bin", b"other")
        assert store.get("a/b.bin") == b"other"

    def test_ranges(self, store: BlobStore) -> None:
        store.put("x", b"0123456789")
        assert store.get("x", 3, 4) == b"3456"
        assert store.get("x", 7) == b"789"
        assert store.get("x", 8, 100) == b"89"
        assert store.get("x", 3, 0) == b""
        assert store.get("x", 10) == store.get("x", 50, 5) == b""

    def test_an_empty_object(self, store: BlobStore) -> None:
        store.put("empty", b"")
        assert store.get("empty") == b""

    def test_files_small_and_multipart(self, store: BlobStore, tmp_path: Path) -> None:
        for name, data in (("small", b"x"), ("big", os.urandom(9_000_000))):
            path = tmp_path / name
            path.write_bytes(data)
            store.put(f"f/{name}", path)
            path.unlink()
            assert store.get(f"f/{name}") == data

    def test_a_missing_object(self, store: BlobStore) -> None:
        store.put("there", b"")
        with pytest.raises(BlobNotFound):
            store.get("missing")
        with pytest.raises(BlobNotFound):
            store.get("missing", 1, 2)
        store.delete("missing")

    def test_listing_and_children(self, store: BlobStore) -> None:
        for key in ("p/b/2", "p/c", "p/a/1", "p/a/0", "pp/x", "q"):
            store.put(key, key.encode())
        found = list(store.list("p"))
        assert [blob.key for blob in found] == ["p/a/0", "p/a/1", "p/b/2", "p/c"]
        assert [blob.size for blob in found] == [5, 5, 5, 3]
        assert store.children("") == ("p", "pp")
        assert store.children("p") == ("a", "b")
        assert store.children("nowhere") == ()
        assert list(store.list("nowhere")) == []

    def test_deleted_is_gone(self, store: BlobStore) -> None:
        store.put("a/b", b"1")
        store.delete("a/b")
        assert list(store.list("a")) == []

    def test_a_conditional_put_has_one_winner(self, store: BlobStore) -> None:
        wins: list[int] = []
        start = threading.Barrier(8)

        def race(number: int) -> None:
            start.wait()
            if store.put("lock", str(number).encode(), if_absent=True):
                wins.append(number)

        threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [str(n).encode() for n in wins] == [store.get("lock")]
        assert not store.put("lock", b"late", if_absent=True)

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../../x", "a\\..\\b", "a\0b"])
    def test_no_key_leaves_the_root(self, store: BlobStore, key: str) -> None:
        for call in (store.get, store.delete):
            with pytest.raises(StorageError, match="storage key"):
                call(key)
        with pytest.raises(StorageError, match="storage key"):
            store.put(key, b"")

    def test_the_probe_passes_and_leaves_nothing(self, store: BlobStore, root: str) -> None:
        probe(store)
        store.put("d/x", b"")
        assert store.children("") == ("d",)
        if not root.startswith("s3:"):
            assert [path.name for path in Path(root).iterdir()] == ["d"]


class TestFiles:
    def test_no_temporary_file_is_left_or_listed(self, tmp_path: Path) -> None:
        store = FileStore(tmp_path)
        store.put("d/x", b"1")
        store.put("d/x", b"2", if_absent=True)
        assert [path.name for path in (tmp_path / "d").iterdir()] == ["x"]

    def test_file_urls(self, tmp_path: Path) -> None:
        assert open_store(f"file://{tmp_path}/a%20b").root == f"{tmp_path}/a b"
        assert open_store(str(tmp_path / "x" / "..")).root == str(tmp_path)

    @pytest.mark.parametrize(
        "root",
        [
            "",
            "50%25 off",
            "s3://[x",
            "s3://",
            "s3:///x",
            "gs://b/x",
            "http://h/x",
            "file://host/x",
            "file://",
        ],
    )
    def test_roots_that_name_no_store(self, root: str) -> None:
        with pytest.raises(StorageError):
            open_store(root)

    def test_an_unwritable_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StorageError, match=r"cannot write .*: Not a directory"):
            probe(FileStore(tmp_path / "file" / "out"))
        with pytest.raises(StorageError, match="cannot write /proc/"):
            probe(FileStore(Path("/proc/comity")))

    def test_a_full_disk(self, tmp_path: Path) -> None:
        store = FileStore(tmp_path)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        try:
            with pytest.raises(StorageFull):
                store.put("big", bytes(20_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    def test_no_room_is_told_apart(self, code: int) -> None:
        error = os_error(OSError(code, os.strerror(code)), "write x")
        assert isinstance(error, StorageFull)
        assert str(error) == f"cannot write x: {os.strerror(code)}"


class _IgnoresConditions(BaseHTTPRequestHandler):
    """The least of an S3 that stores whatever it is told to."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200)

    def do_DELETE(self) -> None:
        self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def careless_server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _IgnoresConditions) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class TestS3:
    def test_a_missing_bucket(self, s3_env: S3Server) -> None:
        with (
            closing(open_store("s3://no-such-bucket/x")) as store,
            pytest.raises(StorageError, match=r"there is no bucket 'no-such-bucket' at http://"),
        ):
            probe(store)

    @pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
    def test_refused_credentials(
        self, s3_env: S3Server, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv(name, "wrong")
        with (
            closing(open_store(f"s3://{BUCKET}/x")) as store,
            pytest.raises(StorageError, match="the S3 credentials are refused"),
        ):
            probe(store)

    def test_missing_credentials(
        self, s3_env: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        with (
            closing(open_store(f"s3://{BUCKET}/x")) as store,
            pytest.raises(StorageError, match="no S3 credentials: set AWS_ACCESS_KEY_ID"),
        ):
            probe(store)

    def test_an_unknown_profile(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(StorageError, match="nobody"):
            open_store(f"s3://{BUCKET}/x")

    def test_an_unreachable_endpoint(
        self, s3_env: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with closed_port() as port:
            endpoint = f"http://127.0.0.1:{port}"
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            with (
                closing(open_store(f"s3://{BUCKET}/x")) as store,
                pytest.raises(StorageUnavailable, match=f"no answer from {endpoint}") as caught,
            ):
                probe(store)
        assert "\n" not in str(caught.value)

    def test_a_store_that_ignores_conditions_is_refused(
        self, s3_env: S3Server, monkeypatch: pytest.MonkeyPatch, careless_server: str
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", careless_server)
        with (
            closing(open_store(f"s3://{BUCKET}/x")) as store,
            pytest.raises(StorageError, match=r"ignores conditional writes .*: use a store that"),
        ):
            probe(store)

    def test_an_upload_of_a_file_that_is_gone(self, s3_env: S3Server, tmp_path: Path) -> None:
        with (
            closing(open_store(f"s3://{BUCKET}/x")) as store,
            pytest.raises(StorageError, match="No such file"),
        ):
            store.put("x", tmp_path / "gone")

    def test_an_upload_to_a_missing_bucket(self, s3_env: S3Server, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(b"1")
        with (
            closing(open_store("s3://no-such-bucket")) as store,
            pytest.raises(StorageError, match="there is no bucket"),
        ):
            store.put("x", path)
