"""The S3 side of the blob store: the one module that knows boto3, and maps its errors.

Configuration is the standard AWS environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_REGION,
AWS_CA_BUNDLE, AWS_REQUEST_CHECKSUM_CALCULATION, AWS_MAX_ATTEMPTS, profiles, instance roles).
Invariants kept: every call is bounded in time and retries; a conditional put tells apart "exists"
from every other failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from storage.blob import (
    Blob,
    BlobNotFound,
    StorageError,
    StorageFull,
    StorageUnavailable,
    check_key,
    os_error,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONNECT_TIMEOUT: Final = 5  # seconds
_READ_TIMEOUT: Final = 60  # seconds without a byte
_ATTEMPTS: Final = 4  # per call, with botocore's jittered backoff between
_HASTY: Final = (6, 1)  # read timeout and attempts where somebody waits for a first answer
_TRANSFER: Final = TransferConfig(max_concurrency=4)  # multipart from 8 MB, 8 MB parts

_CREDENTIAL_CODES: Final = {
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "AuthorizationHeaderMalformed",
    "403",
}
_FULL_CODES: Final = {"XMinioStorageFull", "QuotaExceeded", "InsufficientStorage", "507"}
_EXISTS_CODES: Final = {"PreconditionFailed", "412"}
_CONFLICT_CODES: Final = {"ConditionalRequestConflict", "OperationAborted", "409"}


def _custom_endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _session() -> boto3.session.Session:
    try:
        return boto3.session.Session()
    except ProfileNotFound as error:
        raise StorageError(f"S3 configuration: {error}") from error


def _region(session: boto3.session.Session) -> str:
    return os.environ.get("AWS_REGION") or session.region_name or "us-east-1"


def _client(read_timeout: int, attempts: int) -> S3Client:
    style: Literal["path", "auto"] = "path" if _custom_endpoint() else "auto"
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        s3={"addressing_style": style},
        max_pool_connections=16,
    )
    session = _session()
    try:
        return session.client("s3", region_name=_region(session), config=config)
    except (BotoCoreError, ValueError) as error:
        raise StorageError(f"S3 configuration: {error}") from error


class S3Store:
    """Objects below ``s3://bucket/prefix``; the bucket must exist."""

    def __init__(self, bucket: str, prefix: str, *, hasty: bool = False) -> None:
        self.root = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._s3 = _client(*(_HASTY if hasty else (_READ_TIMEOUT, _ATTEMPTS)))

    def put(self, key: str, data: bytes | Path, *, if_absent: bool = False) -> bool:
        name = self._prefix + check_key(key)
        with self._mapped(f"write {self.root}/{key}"):
            if isinstance(data, Path):
                self._s3.upload_file(str(data), self._bucket, name, Config=_TRANSFER)
                return True
            if if_absent:
                return self._put_if_absent(name, data)
            self._s3.put_object(Bucket=self._bucket, Key=name, Body=data)
            return True

    def _put_if_absent(self, name: str, data: bytes) -> bool:
        for attempt in range(_ATTEMPTS):
            try:
                self._s3.put_object(Bucket=self._bucket, Key=name, Body=data, IfNoneMatch="*")
            except ClientError as error:
                code = _code(error)
                if code in _EXISTS_CODES:
                    return False
                # 409: another conditional write is under way; who won shows at the next try
                if code not in _CONFLICT_CODES or attempt == _ATTEMPTS - 1:
                    raise
            else:
                return True
        raise AssertionError("unreachable: the last attempt returns or raises")

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        name = self._prefix + check_key(key)
        if length == 0:
            return b""
        with self._mapped(f"read {self.root}/{key}"):
            try:
                if offset == 0 and length is None:
                    answer = self._s3.get_object(Bucket=self._bucket, Key=name)
                else:
                    last = "" if length is None else str(offset + length - 1)
                    answer = self._s3.get_object(
                        Bucket=self._bucket, Key=name, Range=f"bytes={offset}-{last}"
                    )
            except ClientError as error:
                if _code(error) == "InvalidRange":  # it ends before offset
                    return b""
                raise
            with answer["Body"] as body:
                return body.read()

    def list(self, prefix: str) -> Iterator[Blob]:
        directory = self._prefix + check_key(prefix).rstrip("/") + "/"
        pages = self._s3.get_paginator("list_objects_v2")
        with self._mapped(f"list {self.root}/{prefix}"):
            for page in pages.paginate(Bucket=self._bucket, Prefix=directory):
                for item in page.get("Contents", ()):
                    key = item["Key"][len(self._prefix) :]
                    yield Blob(key, item["Size"], item["LastModified"].timestamp())

    def children(self, prefix: str) -> tuple[str, ...]:
        directory = self._prefix + (check_key(prefix).rstrip("/") + "/" if prefix else "")
        pages = self._s3.get_paginator("list_objects_v2")
        names: list[str] = []
        with self._mapped(f"list {self.root}/{prefix}"):
            for page in pages.paginate(Bucket=self._bucket, Prefix=directory, Delimiter="/"):
                for item in page.get("CommonPrefixes", ()):
                    names.append(item["Prefix"][len(directory) :].rstrip("/"))  # noqa: PERF401
        return tuple(sorted(names))

    def delete(self, key: str) -> None:
        with self._mapped(f"delete {self.root}/{key}"):
            self._s3.delete_object(Bucket=self._bucket, Key=self._prefix + check_key(key))

    def close(self) -> None:
        self._s3.close()

    @contextmanager
    def _mapped(self, what: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._client_error(error, what) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StorageError(
                f"cannot {what}: no S3 credentials: set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            ) from error
        except (ConnectionError, HTTPClientError) as error:
            said = "" if isinstance(error, EndpointConnectionError) else f": {_line(error)}"
            raise StorageUnavailable(
                f"cannot {what}: no answer from {self._s3.meta.endpoint_url}{said}"
            ) from error
        except (BotoCoreError, Boto3Error) as error:
            cause = error.__context__
            if isinstance(cause, ClientError):  # upload_file wraps it
                raise self._client_error(cause, what) from error
            raise StorageError(f"cannot {what}: {_line(error)}") from error
        except OSError as error:  # the local file of an upload
            raise os_error(error, what) from error

    def _client_error(self, error: ClientError, what: str) -> StorageError:
        code = _code(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        said = error.response.get("Error", {}).get("Message", "")
        if code == "NoSuchBucket":
            where = self._s3.meta.endpoint_url
            return StorageError(f"cannot {what}: there is no bucket {self._bucket!r} at {where}")
        if code in {"NoSuchKey", "404"}:
            return BlobNotFound(f"cannot {what}: no such object")
        if code in _CREDENTIAL_CODES:
            return StorageError(f"cannot {what}: the S3 credentials are refused: {code}: {said}")
        if code in _FULL_CODES or status == 507:
            return StorageFull(f"cannot {what}: {code}: {said}")
        if status >= 500 or code in {"SlowDown", "RequestTimeout", "503", *_CONFLICT_CODES}:
            return StorageUnavailable(f"cannot {what}: {code}: {said}")
        return StorageError(f"cannot {what}: {code}: {said}")


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "unknown")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def storage_options(root: str) -> dict[str, str]:
    """What delta-rs needs to reach the table at ``root`` as boto3 would; empty for directories.

    Credentials are resolved anew on each call (profiles, roles, session tokens), so call it per
    table opening: temporary ones expire.
    """
    if not root.startswith("s3://"):
        return {}
    session = _session()
    options = {
        "AWS_REGION": _region(session),
        "timeout": f"{_READ_TIMEOUT}s",
        "connect_timeout": f"{_CONNECT_TIMEOUT}s",
        "max_retries": str(_ATTEMPTS),
    }
    if endpoint := _custom_endpoint():
        options["AWS_ENDPOINT_URL"] = endpoint
        if endpoint.startswith("http://"):
            options["AWS_ALLOW_HTTP"] = "true"
    try:
        credentials = session.get_credentials()
    except BotoCoreError as error:
        raise StorageError(f"S3 credentials: {_line(error)}") from error
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        if frozen.access_key and frozen.secret_key:
            options["AWS_ACCESS_KEY_ID"] = frozen.access_key
            options["AWS_SECRET_ACCESS_KEY"] = frozen.secret_key
        if frozen.token:
            options["AWS_SESSION_TOKEN"] = frozen.token
    return options
