"""Archive files out of S3: the stand-in's, and those of a server that breaks off."""

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pytest
from botocore.config import Config

from earmark.audio.objects import S3Objects
from earmark.errors import AwsRefused, AwsUnavailable


def test_an_object_is_read_in_the_version_that_was_announced(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="archive")
    s3.put_bucket_versioning(Bucket="archive", VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket="archive", Key="a.000000.ts", Body=body)["VersionId"] for body in (b"first", b"second")]
    objects = S3Objects(s3=s3)
    assert objects.read(bucket="archive", key="a.000000.ts", version=versions[0], begin=0, bytes_max=6).data == b"first"
    assert objects.read(bucket="archive", key="a.000000.ts", version="", begin=0, bytes_max=6).data == b"second"


def test_an_object_is_read_part_by_part(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="archive")
    s3.put_object(Bucket="archive", Key="a.000000.ts", Body=b"1234567")
    s3.put_object(Bucket="archive", Key="empty.000000.ts", Body=b"")
    objects = S3Objects(s3=s3)
    first = objects.read(bucket="archive", key="a.000000.ts", version="", begin=0, bytes_max=4)
    rest = objects.read(bucket="archive", key="a.000000.ts", version="", begin=4, bytes_max=4, tag=first.tag)
    assert [(part.data, part.size) for part in (first, rest)] == [(b"1234", 7), (b"567", 7)]
    assert abs((datetime.now(UTC) - first.written_at).total_seconds()) < 60
    assert objects.read(bucket="archive", key="empty.000000.ts", version="", begin=0, bytes_max=4).data == b""


def test_what_is_gone_or_written_over_is_said(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="archive")
    s3.put_object(Bucket="archive", Key="a.000000.ts", Body=b"1234567")
    objects = S3Objects(s3=s3)
    tag = objects.read(bucket="archive", key="a.000000.ts", version="", begin=0, bytes_max=4).tag
    s3.put_object(Bucket="archive", Key="a.000000.ts", Body=b"another")
    with pytest.raises(AwsRefused, match=r"^s3:GetObject of s3://archive/a\.000000\.ts was refused: PreconditionFailed"):
        objects.read(bucket="archive", key="a.000000.ts", version="", begin=4, bytes_max=4, tag=tag)
    with pytest.raises(AwsRefused, match=r"^s3:GetObject of s3://archive/b\.ts was refused: NoSuchKey"):
        objects.read(bucket="archive", key="b.ts", version="", begin=0, bytes_max=6)


@pytest.fixture
def broken_off() -> Iterator[int]:
    """The port of a server that announces a thousand bytes, sends four hundred and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: "x"\r\n\r\n' + b"a" * 400)

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_half_of_an_object_is_none(broken_off):
    """Taken for the whole, the rest of it would never be heard, nor missed."""
    once = Config(retries={"total_max_attempts": 1})
    s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{broken_off}", region_name="us-east-1", config=once)
    with pytest.raises(AwsUnavailable, match=r"s3://archive/a\.000000\.ts"):
        S3Objects(s3=s3).read(bucket="archive", key="a.000000.ts", version="", begin=0, bytes_max=5_000)
