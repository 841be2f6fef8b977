"""The catalogue's bucket: objects out of it, each within a size; its listing, a page at a time; notices into it."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from botocore.exceptions import ClientError

from earmark.aws import asking, code, status
from earmark.errors import AwsRefused, AwsUnavailable, SourceUnsupported

PAGE_MAX: Final = 1_000
#: S3's longest key.
KEY_BYTES_MAX: Final = 1_024
_CHUNK_BYTES: Final = 1 << 20
_REJECTED: Final = "_rejected/"


class S3(Protocol):
    """boto3's `s3` client, as far as it is used."""

    def get_object(self, **arguments: Any) -> Any: ...
    def put_object(self, **arguments: Any) -> Any: ...
    def delete_object(self, **arguments: Any) -> Any: ...
    def list_objects_v2(self, **arguments: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Gone:
    """There is no such object (any more)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Same:
    """It is what it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """It is in the file now."""

    etag: str
    size: int
    content_sha256: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """An object, as a listing has it."""

    key: str
    etag: str
    size: int
    at: datetime


class TooLarge(SourceUnsupported):
    """Larger than it may be; `etag` and `size` are its own."""

    def __init__(self, message: str, *, etag: str, size: int) -> None:
        super().__init__(message)
        self.etag, self.size = etag, size


class Bucket:
    """`place`: `catalogue.place`, which is s3://bucket/ and perhaps a folder. Every method raises AwsUnavailable and AwsRefused."""

    def __init__(self, *, s3: S3, place: str) -> None:
        self._s3 = s3
        self.place = place
        self.name, _, self.prefix = place.removeprefix("s3://").partition("/")

    def name_of(self, bucket: str, key: str) -> str | None:
        """An object's key from the place on; None if it does not lie there."""
        return key.removeprefix(self.prefix) if bucket == self.name and key.startswith(self.prefix) and key != self.prefix else None

    def fetch(self, key: str, into: Path, *, known: str, bytes_max: int, beat: Callable[[], object], version: str = "") -> Fetched | Same | Gone:
        """What lies under the key now (or lay, as that version), into a file. `known`: the etag of what needs no fetching; `beat` is called with every piece.

        Raises TooLarge, besides.
        """
        what = f"s3://{self.name}/{key}"
        try:
            with asking("s3:GetObject", what):
                asked = {"IfNoneMatch": f'"{known}"'} if known else {"VersionId": version} if version else {}
                answer = self._s3.get_object(Bucket=self.name, Key=key, **asked)
                etag, size = str(answer["ETag"]).strip('"'), int(answer["ContentLength"])
                with answer["Body"] as body:
                    if size > bytes_max:
                        raise TooLarge(f"{key} has {size:,} bytes and may have {bytes_max:,}", etag=etag, size=size)
                    digest, written = hashlib.sha256(), 0
                    with into.open("wb") as file:
                        while chunk := body.read(_CHUNK_BYTES):
                            digest.update(chunk)
                            file.write(chunk)
                            written += len(chunk)
                            beat()
        except AwsRefused as error:
            if not isinstance(cause := error.__cause__, ClientError) or code(cause) == "NoSuchBucket" or status(cause) not in (304, 404):
                raise
            return Same() if status(cause) == 304 else Gone()
        if written != size:  # botocore does not mind
            raise AwsUnavailable(f"s3:GetObject of {what} broke off after {written:,} of {size:,} bytes")
        return Fetched(etag=etag, size=size, content_sha256=digest.digest())

    def pages(self) -> Iterator[list[Listed]]:
        """All that lies below the place, in the order of the keys' bytes."""
        token: dict[str, str] = {}
        while True:
            with asking("s3:ListBucket", self.place):
                page = self._s3.list_objects_v2(Bucket=self.name, Prefix=self.prefix, MaxKeys=PAGE_MAX, **token)
            yield [
                Listed(key=entry["Key"], etag=str(entry["ETag"]).strip('"'), size=entry["Size"], at=entry["LastModified"]) for entry in page.get("Contents", ())
            ]
            if not page.get("IsTruncated") or not page.get("NextContinuationToken"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def put_notice(self, key: str, notice: Mapping[str, Any]) -> None:
        """Say beside the catalogue why an object is not in it."""
        where = self.notice_key(key)
        body = json.dumps(notice, ensure_ascii=False, indent=2).encode()
        with asking("s3:PutObject", f"s3://{self.name}/{where}"):
            self._s3.put_object(Bucket=self.name, Key=where, Body=body, ContentType="application/json")

    def take_notice_down(self, key: str) -> None:
        self.delete(self.notice_key(key))

    def put_file(self, key: str, path: Path, *, content_type: str) -> None:
        """Whole or not at all; of at most 5 GiB."""
        with path.open("rb") as body, asking("s3:PutObject", f"s3://{self.name}/{key}"):
            self._s3.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type)

    def delete(self, key: str) -> None:
        """Nothing happens if it is not there."""
        with asking("s3:DeleteObject", f"s3://{self.name}/{key}"):
            self._s3.delete_object(Bucket=self.name, Key=key)

    def notice_key(self, key: str) -> str:
        """`_rejected/NAME.json`; see `folded`."""
        return folded(f"{self.prefix}{_REJECTED}", key.removeprefix(self.prefix), ".json")


def folded(prefix: str, name: str, ending: str) -> str:
    """A key; a name that would lead elsewhere, or make the key too long, is folded and gets ten characters of its SHA-256."""
    where = f"{prefix}{name}{ending}"
    if len(where.encode()) <= KEY_BYTES_MAX and not {"", ".", ".."} & set(name.split("/")):
        return where
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    room = KEY_BYTES_MAX - len(f"{prefix}~{digest}{ending}".encode())
    fitting = "/".join("_" if part in ("", ".", "..") else part for part in name.split("/")).encode()[: max(0, room)].decode(errors="ignore")
    return f"{prefix}{fitting}~{digest}{ending}"


def removed(path: Path) -> None:
    """What is left of a file that was fetched."""
    with suppress(FileNotFoundError):
        path.unlink()
