"""Archive files out of S3, each within a size."""

from typing import Any, Protocol

from earmark.aws import asking
from earmark.errors import AwsUnavailable, SourceUnsupported


class S3(Protocol):
    """boto3's `s3` client, as far as it is used."""

    def get_object(self, **arguments: Any) -> Any: ...


class S3Objects:
    """Implements `archive.Objects`."""

    def __init__(self, *, s3: S3) -> None:
        self._s3 = s3

    def get(self, *, bucket: str, key: str, version: str, bytes_max: int) -> bytes:
        """Raises AwsUnavailable, AwsRefused (gone, or denied), SourceUnsupported (larger than `bytes_max`)."""
        what = f"s3://{bucket}/{key}"
        with asking("s3:GetObject", what):
            answer = self._s3.get_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))
            with answer["Body"] as body:
                # The length is the object's own, but what is read is bounded all the same.
                data: bytes = body.read(bytes_max + 1) if answer["ContentLength"] <= bytes_max else b""
        if answer["ContentLength"] > bytes_max or len(data) > bytes_max:
            raise SourceUnsupported(f"{what} has {answer['ContentLength']} bytes, more than medialive.file_bytes_max ({bytes_max}): it is not heard")
        if len(data) < answer["ContentLength"]:  # botocore does not mind
            raise AwsUnavailable(f"s3:GetObject of {what} broke off after {len(data)} of {answer['ContentLength']} bytes")
        return data
