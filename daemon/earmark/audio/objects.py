"""Archive files out of S3, a part at a time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from botocore.exceptions import ClientError

from earmark.aws import asking, status
from earmark.errors import AwsUnavailable

#: RFC 9110, 15.5.17: an empty object has no first byte.
_NO_SUCH_RANGE = 416


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Bytes of an object."""

    data: bytes
    #: Of the whole object, bytes.
    size: int
    #: Tells what is under the key now from what may be under it later.
    tag: str = ""
    #: By S3's clock: when it was written.
    written_at: datetime | None = None


class S3(Protocol):
    """boto3's `s3` client, as far as it is used."""

    def get_object(self, **arguments: Any) -> Any: ...


class S3Objects:
    """Implements `archive.Objects`."""

    def __init__(self, *, s3: S3) -> None:
        self._s3 = s3

    def read(self, *, bucket: str, key: str, version: str, begin: int, bytes_max: int, tag: str = "") -> Part:
        """So many bytes from `begin` on, or as many as there are; with `tag`, only of what it was given with.

        Raises AwsUnavailable, AwsRefused (gone, written over, or denied).
        """
        what = f"s3://{bucket}/{key}"
        told = {name: value for name, value in (("VersionId", version), ("IfMatch", tag)) if value}
        with asking("s3:GetObject", what):
            try:
                answer = self._s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={begin}-{begin + bytes_max - 1}", **told)
            except ClientError as error:
                if status(error) == _NO_SUCH_RANGE:
                    return Part(data=b"", size=begin)
                raise
            with answer["Body"] as body:
                data: bytes = body.read(bytes_max)  # bounded, should a store not know ranges
        wanted = min(bytes_max, answer["ContentLength"])
        if len(data) < wanted:  # botocore does not mind
            raise AwsUnavailable(f"s3:GetObject of {what} broke off after {len(data)} of {wanted} bytes")
        size = _size(answer, begin + len(data))
        return Part(data=data, size=size, tag=answer.get("ETag", ""), written_at=answer.get("LastModified"))


def _size(answer: Any, least: int) -> int:
    """`bytes 0-99/1234`: the number behind the slash."""
    total = str(answer.get("ContentRange", "")).rpartition("/")[2]
    return int(total) if total.isdecimal() else max(least, int(answer["ContentLength"]))
