"""The bucket as uploads need it: a form that is signed for one object, and what has come of it.

The form is S3's POST policy (S3 API reference, "POST Policy"): bucket, key, type, exact size and, where it was announced,
the SHA-256 are conditions that S3 itself checks, and after `valid_until` it takes nothing. Until then the form may be sent
again, as S3 forms may: to the same key, and with a SHA-256 only with the same bytes. Nothing passes through us.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import ClientError

from earmark.aws import asking, status


class S3(Protocol):
    """boto3's `s3` client, as far as it is used."""

    def generate_presigned_post(self, *arguments: Any, **named: Any) -> Any: ...
    def put_object(self, **arguments: Any) -> Any: ...
    def head_object(self, **arguments: Any) -> Any: ...
    def delete_object(self, **arguments: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What is sent as multipart/form-data to `url`: the fields, and last the file, called `file`."""

    url: str
    fields: Mapping[str, str]


class Bucket:
    """Below one place. `signer` signs by version 4; neither asks AWS anything until it has to."""

    def __init__(self, *, s3: S3, signer: S3, place: str) -> None:
        """`place`: s3://bucket/prefix/."""
        self._s3, self._signer = s3, signer
        self.name, _, self.prefix = place.removeprefix("s3://").partition("/")

    def form(self, key: str, *, content_type: str, size_bytes: int, sha256: bytes | None, valid_s: int) -> Form:
        """Raises AwsRefused, AwsUnavailable without credentials that could sign it."""
        fields = {"Content-Type": content_type, "success_action_status": "201"}
        if sha256 is not None:
            fields |= {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": base64.b64encode(sha256).decode()}
        conditions: list[Any] = [{name: value} for name, value in fields.items()]
        conditions.append(["content-length-range", size_bytes, size_bytes])
        with asking("s3:PutObject", self.uri(key)):
            signed = self._signer.generate_presigned_post(self.name, key, Fields=dict(fields), Conditions=conditions, ExpiresIn=valid_s)
        return Form(url=signed["url"], fields=signed["fields"])

    def size_of(self, key: str, *, bucket: str) -> int | None:
        """In bytes; None if there is no such object, which S3 only tells who may list. Raises AwsUnavailable, AwsRefused."""
        with asking("s3:GetObject with s3:ListBucket", f"s3://{bucket}/{key}"):
            try:
                return int(self._s3.head_object(Bucket=bucket, Key=key)["ContentLength"])
            except ClientError as error:
                if status(error) == 404:
                    return None
                raise

    def put_json(self, key: str, document: Mapping[str, Any]) -> None:
        body = json.dumps(document, ensure_ascii=False, indent=1).encode()
        with asking("s3:PutObject", self.uri(key)):
            self._s3.put_object(Bucket=self.name, Key=key, Body=body, ContentType="application/json")

    def delete(self, keys: Sequence[str], *, bucket: str) -> None:
        """What is not there any more is no error. Raises AwsUnavailable, AwsRefused."""
        for key in keys:
            with asking("s3:DeleteObject", f"s3://{bucket}/{key}"):
                self._s3.delete_object(Bucket=bucket, Key=key)

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"
