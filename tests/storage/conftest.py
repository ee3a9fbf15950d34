"""A real S3 server per test process, and stores on it and on disk through one fixture."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from storage.blob import BlobStore, open_store
from tests.servers import S3Server, s3_server

BUCKET = "corpus"


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield server


@pytest.fixture
def s3_env(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The test's process environment points at the S3 server."""
    for name, value in s3.environ().items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture(params=["file", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place of the test's own, on disk and on S3 in turn."""
    if request.param == "file":
        return str(tmp_path / "out dir")  # with a space: names are not URLs
    request.getfixturevalue("s3_env")
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def store(root: str) -> Iterator[BlobStore]:
    opened = open_store(root)
    yield opened
    opened.close()
