"""A live playlist in an S3 bucket, and its segments: GetObject in the place of GET.

To `audio.hls` it is an origin like any other: a playlist that has not changed is 304 (`IfNoneMatch`), an object that is not
there is 404. The playlist is somebody else's text here, too. What it names is read from its own bucket and from below its own
folder, since the daemon's role may read more than that; any other address is judged as everywhere (`audio.guard`).
"""

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote

from botocore.exceptions import ClientError

from earmark.audio.fetch import Reply
from earmark.audio.hls import Gets
from earmark.audio.objects import S3
from earmark.aws import asking, status
from earmark.errors import AwsRefused, AwsUnavailable, SourceUnavailable, SourceUnsupported

#: Of a key in an address: what RFC 3986 has in paths.
_SAFE = "/~!$&'()*+,;=:@"


def address_of(url: str) -> str:
    """`s3://bucket/key` as people write it, its key as it is, as an address that others are relative to."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return f"s3://{bucket}/{quote(key, safe=_SAFE)}"


class Bucket:
    """Implements `hls.Gets` for the playlist at `address`, and what it names.

    Args:
        http: for whatever else is named.
        fetched: is told of each request: seconds, bytes.
    """

    def __init__(
        self, *, address: str, s3: S3, http: Gets, fetched: Callable[[float, int], None] = lambda *_: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._s3 = s3
        self._http = http
        self._fetched = fetched
        self._clock = clock
        self._bucket, _, key = address.removeprefix("s3://").partition("/")
        folder = unquote(key).rpartition("/")[0]
        #: What keys that are read begin with.
        self._below = f"{folder}/" if folder else ""

    def get(self, url: str, *, bytes_max: int, named_host: str = "", headers: Mapping[str, str] | None = None, once: bool = False) -> Reply:  # noqa: ARG002 -- a bucket is no host
        """As `fetch.Http.get`, from the bucket."""
        if not url.startswith("s3://"):
            return self._http.get(url, bytes_max=bytes_max, headers=headers, once=once)
        key = self._key(url)
        began, body = self._clock(), b""
        try:
            reply = self._object(key, url, bytes_max, headers or {})
            body = reply.body
        finally:
            self._fetched(self._clock() - began, len(body))
        return reply

    def _key(self, url: str) -> str:
        """Raises SourceUnsupported for what is not to be read."""
        bucket, _, path = url.removeprefix("s3://").partition("/")
        key = unquote(path.partition("#")[0].partition("?")[0])
        if bucket != self._bucket:
            raise SourceUnsupported(f"the playlist in the bucket {self._bucket} points to another one, {bucket[:63]}, which is not read")
        if not key.startswith(self._below) or {".", ".."} & set(key.split("/")) or not key.isprintable():
            below = self._below or "/"
            raise SourceUnsupported(f"the playlist in the bucket {self._bucket} points to what is not below its own folder, {below}, and is not read")
        return key

    def _object(self, key: str, url: str, bytes_max: int, headers: Mapping[str, str]) -> Reply:
        asked: dict[str, Any] = {"Bucket": self._bucket, "Key": key}
        asked |= {argument: headers[name] for name, argument in (("If-None-Match", "IfNoneMatch"), ("Range", "Range")) if name in headers}
        try:
            with asking("s3:GetObject", f"s3://{self._bucket}/{key}"):
                try:
                    answer = self._s3.get_object(**asked)
                except ClientError as error:
                    if status(error) in (304, 404, 416):
                        return Reply(status(error), b"", {}, url)
                    raise
                size = answer["ContentLength"]
                with answer["Body"] as stream:
                    body: bytes = stream.read(bytes_max + 1) if size <= bytes_max else b""
        except (AwsRefused, AwsUnavailable) as error:  # what is denied for a moment, while a policy is changed, is no reason to give a stream up
            raise SourceUnavailable(str(error)) from None
        if size > bytes_max or len(body) > bytes_max:
            raise SourceUnsupported(f"s3://{self._bucket}/{key} has {size:,} bytes where at most {bytes_max:,} are read")
        if len(body) < size:  # botocore does not mind
            raise SourceUnavailable(f"s3:GetObject of s3://{self._bucket}/{key} broke off after {len(body):,} of {size:,} bytes")
        return Reply(206 if "Range" in asked else 200, body, {"etag": answer["ETag"]}, url)
