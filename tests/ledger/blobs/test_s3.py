from __future__ import annotations

import os
import uuid

import boto3
import pytest

from trivet.errors import ConfigError, Conflict, TrivetError
from trivet.ledger.blobs import s3
from trivet.ledger.blobs.s3 import open_blobs
from trivet.testing.blobs import BlobsContract

SECRET = "the-secret-that-nobody-sees"


@pytest.fixture
def client(s3_server):
    return boto3.client(
        "s3", endpoint_url=s3_server, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key=SECRET
    )


@pytest.fixture
def bucket(client):
    name = f"trivet-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def blobs(s3_server, bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return open_blobs(f"s3://{bucket}/team/blobs?endpoint={s3_server}&region=us-east-1", tmp_path)


class TestS3(BlobsContract):
    @pytest.fixture
    def blobs(self, blobs):
        return blobs

    @pytest.fixture
    def damage(self, client, bucket):
        def damage(digest, content):
            client.put_object(Bucket=bucket, Key=f"team/blobs/{digest[:2]}/{digest}", Body=content)

        return damage


def keys(client, bucket):
    return [item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_another_client_reads_what_we_wrote(blobs, client, bucket):
    digest = blobs.put(b"hello").digest
    assert keys(client, bucket) == [f"team/blobs/{digest[:2]}/{digest}"]
    assert client.get_object(Bucket=bucket, Key=f"team/blobs/{digest[:2]}/{digest}")["Body"].read() == b"hello"


def test_a_big_file_goes_up_in_parts(blobs, client, bucket, tmp_path):
    (tmp_path / "big").write_bytes(os.urandom(s3.PART * 2 + 1))
    digest = blobs.put(tmp_path / "big").digest
    head = client.head_object(Bucket=bucket, Key=f"team/blobs/{digest[:2]}/{digest}")
    assert head["ETag"].endswith('-3"')  # S3's mark of an upload in three parts
    assert head["ContentLength"] == s3.PART * 2 + 1


def test_a_file_that_changes_meanwhile_is_not_stored(blobs, client, bucket, tmp_path, monkeypatch):
    path = tmp_path / "big"
    path.write_bytes(b"a" * (s3.PART * 2))
    asked = blobs._size

    def change(digest):
        path.write_bytes(b"b" * (s3.PART * 2))  # between hashing and uploading
        return asked(digest)

    monkeypatch.setattr(blobs, "_size", change)
    with pytest.raises(Conflict, match="changed"):
        blobs.put(path)
    assert keys(client, bucket) == []
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_credentials_in_the_url(s3_server, bucket, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    query = f"endpoint={s3_server}&region=us-east-1&access_key_id=key&secret_access_key={SECRET}"
    blobs = open_blobs(f"s3://{bucket}?{query}", tmp_path)
    assert blobs.read(blobs.put(b"x").digest) == b"x"
    assert SECRET not in str(blobs) + repr(blobs)


def test_a_bucket_that_does_not_exist(s3_server, blobs, tmp_path):
    gone = open_blobs(f"s3://no-such-bucket/p?endpoint={s3_server}&region=us-east-1", tmp_path)
    for ask in (lambda: gone.put(b"x"), lambda: gone.read("0" * 64)):
        with pytest.raises(TrivetError, match="no bucket"):
            ask()


def test_a_server_that_does_not_answer(blobs, bucket, tmp_path, monkeypatch):
    monkeypatch.setitem(s3._RETRY, "max_retries", 0)
    away = open_blobs(f"s3://{bucket}/p?endpoint=http://127.0.0.1:9&region=us-east-1", tmp_path)
    with pytest.raises(TrivetError, match=f"s3://{bucket}/p cannot be used") as caught:
        away.read("0" * 64)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://", "s3://BUCKET/PREFIX"),
        ("s3:bucket", "s3://BUCKET/PREFIX"),
        (f"s3://key:{SECRET}@bucket/p", "without credentials"),
        ("s3://bucket?endpont=http://127.0.0.1:1", "no option 'endpont'"),
    ],
)
def test_a_url_that_says_nothing(url, says, tmp_path):
    with pytest.raises(ConfigError, match=says) as caught:
        open_blobs(url, tmp_path)
    assert SECRET not in str(caught.value)
