"""Redis and S3 as they should not be: one clear line, exit code 2, in time, nothing left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import redis

from tests.servers import S3Server, closed_port, s3_server

from .bad_servers import careless_http, old_redis, older_redis, redis_server, speaking
from .running import NOWHERE, refused, run

pytestmark = pytest.mark.timeout(600)


class TestRedis:
    def refused(self, url: str, out: Path, **env: str) -> str:
        """By a crawl and by a worker alike."""
        line = refused(*NOWHERE, "--redis", url, "--out", str(out), **env)
        assert refused("worker", "--redis", url, **env) == line
        return line

    def test_unreachable(self, tmp_path: Path) -> None:
        with closed_port() as port:
            line = self.refused(f"redis://127.0.0.1:{port}/0", tmp_path / "out")
        assert line.startswith(f"Redis at redis://127.0.0.1:{port}/0 cannot be reached: ")
        line = refused(*NOWHERE, "--redis", "unix:///no/socket", "--out", str(tmp_path / "out"))
        assert "No such file" in line

    def test_too_old(self, tmp_path: Path) -> None:
        for version, answers in (("6.2.0", old_redis), ("older than 6.0", older_redis)):
            with speaking(answers) as port:
                line = self.refused(f"redis://127.0.0.1:{port}/0", tmp_path / "out")
            assert line == (
                f"Redis at redis://127.0.0.1:{port}/0 is {version}; "
                "comity needs 7.0 or newer, or Valkey"
            )

    def test_another_kind_of_server(self, tmp_path: Path) -> None:
        with careless_http() as port:
            line = self.refused(f"redis://127.0.0.1:{port}/0", tmp_path / "out")
        assert "does not speak the Redis protocol" in line

    def test_a_server_that_says_nothing(self, tmp_path: Path) -> None:
        with speaking(None) as port:
            url = f"redis://127.0.0.1:{port}/0"
            line = refused(*NOWHERE, "--redis", url, "--out", str(tmp_path / "out"))
        assert line == f"no answer within 6 s at {url}: is it a Redis?"

    def test_a_password_that_is_missing_or_wrong(self, tmp_path: Path) -> None:
        with redis_server(tmp_path, "--requirepass", "secret") as port:
            line = self.refused(f"redis://127.0.0.1:{port}/0", tmp_path / "out")
            assert line.endswith(
                "refused the credentials: it wants a password: redis://:PASSWORD@HOST:PORT/0"
            )
            line = self.refused(f"redis://:wrong@127.0.0.1:{port}/0", tmp_path / "out")
            assert f"Redis at redis://:***@127.0.0.1:{port}/0 refused the credentials: " in line
            assert "wrong@" not in line

    def test_a_database_that_is_not_ours(self, tmp_path: Path) -> None:
        with redis_server(tmp_path) as port:
            with redis.Redis(port=port) as client:
                client.set("session:1", "x")
                line = self.refused(f"redis://127.0.0.1:{port}/0", tmp_path / "out")
                assert client.keys() == [b"session:1"]
            assert "holds something that is not Comity's: use an empty one" in line
            line = self.refused(f"redis://127.0.0.1:{port}/99", tmp_path / "out")
            assert "DB index is out of range" in line
            assert "not a Redis URL" in self.refused(f"redis://127.0.0.1:{port}/x", tmp_path)

    def test_another_partition_count(self, tmp_path: Path) -> None:
        with redis_server(tmp_path) as port:
            url = f"redis://127.0.0.1:{port}/0"
            first = [*NOWHERE, "--redis", url, "--out", str(tmp_path / "out")]
            assert run(*first, "--time-limit", "1s").returncode == 0
            line = self.refused(url, tmp_path / "more", COMITY_PARTITIONS="8")
            assert line.endswith("has 64 partitions, not 8: set partitions to 64")

    def test_a_job_that_stores_elsewhere(self, tmp_path: Path) -> None:
        with redis_server(tmp_path) as port:
            url = f"redis://127.0.0.1:{port}/0"
            there = str(tmp_path / "out")
            first = [*NOWHERE, "--redis", url, "--out", there]
            assert run(*first, "--time-limit", "1s").returncode == 0
            line = refused(*NOWHERE, "--redis", url, "--out", str(tmp_path / "more"))
            assert f"there is a job default/crawl (completed), with its pages in {there}: " in line
            again = ["crawl", "--resume", "--redis", url, "--out", str(tmp_path / "more")]
            line = refused(*again)
            assert line == f"job default/crawl stores its pages in {there}: give --out {there}"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket="pages")
        client.close()
        yield server


class TestS3:
    def test_a_missing_bucket(self, s3: S3Server, tmp_path: Path) -> None:
        line = refused(*NOWHERE, "--out", "s3://nope/x", HOME=str(tmp_path), **s3.environ())
        assert line == f"cannot write s3://nope/x: there is no bucket 'nope' at {s3.endpoint}"
        line = refused("corpus", "info", "s3://nope/x", **s3.environ())
        assert "there is no bucket 'nope'" in line

    def test_bad_credentials(self, s3: S3Server, tmp_path: Path) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            env = s3.environ() | {name: "wrong", "HOME": str(tmp_path)}
            line = refused(*NOWHERE, "--out", "s3://pages/x", **env)
            assert line.startswith("cannot write s3://pages/x: the S3 credentials are refused: ")

    def test_no_credentials(self, s3: S3Server, tmp_path: Path) -> None:
        env = {k: v for k, v in s3.environ().items() if "KEY" not in k}
        none = str(tmp_path / "none")
        env |= {"AWS_SHARED_CREDENTIALS_FILE": none, "AWS_CONFIG_FILE": none}
        line = refused(*NOWHERE, "--out", "s3://pages/x", **env)
        assert line.startswith("cannot write s3://pages/x: no S3 credentials: set AWS_ACCESS_KEY")

    def test_an_unreachable_endpoint(self, s3: S3Server) -> None:
        with closed_port() as port:
            endpoint = f"http://127.0.0.1:{port}"
            env = s3.environ() | {"AWS_ENDPOINT_URL": endpoint}
            line = refused(*NOWHERE, "--out", "s3://pages/x", **env)
        assert line == f"cannot write s3://pages/x: no answer from {endpoint}"

    def test_an_endpoint_that_says_nothing(self, s3: S3Server) -> None:
        with speaking(None) as port:
            env = s3.environ() | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
            line = refused(*NOWHERE, "--out", "s3://pages/x", **env)
        assert line.startswith("cannot write s3://pages/x: no answer from ")

    def test_a_store_without_conditional_writes(self, s3: S3Server) -> None:
        with careless_http() as port:
            env = s3.environ() | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
            line = refused(*NOWHERE, "--out", "s3://pages/x", **env)
        assert line.startswith("s3://pages/x ignores conditional writes (If-None-Match: *)")
