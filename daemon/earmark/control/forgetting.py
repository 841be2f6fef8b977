"""Everything about one stream is removed, from PostgreSQL and from S3: `earmark streams forget`.

PostgreSQL first, in one transaction, so that nothing is left that could be published again; then S3. Doing it twice
changes nothing, and finishes what broke off the first time. The archive files that a MediaLive channel wrote are not
ours, and stay.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from earmark.aws import asking
from earmark.errors import AwsRefused, AwsUnavailable, BadSettings, Transient
from earmark.hits.proof.clips import SUFFIXES
from earmark.hits.record import Place
from earmark.postgres import Connection, Pool, transaction

#: S3 lists and deletes a thousand at most.
PAGE_MAX = 1_000
#: A million objects are beyond any stream.
_PAGES_MAX = 1_000
#: What proves a hit, by the ends of their names; which of them there are, S3 knows.
_BESIDE = ("json", "svg", *SUFFIXES.values())
_DENIED = ("AccessDenied", "AllAccessDisabled", "MethodNotAllowed")


class Leaving(Transient):
    """Something of the stream is just being published."""


class S3(Protocol):
    """boto3's `s3` client, as far as it is used."""

    def list_objects_v2(self, **arguments: Any) -> Mapping[str, Any]: ...
    def list_object_versions(self, **arguments: Any) -> Mapping[str, Any]: ...
    def delete_objects(self, **arguments: Any) -> Mapping[str, Any]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """What was removed from the bucket."""

    objects: int
    #: Why versions that came before are left, if they are.
    versions_left: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgotten:
    """What was removed, by table; and from the bucket, if there is one."""

    rows: Mapping[str, int]
    erased: Erased


class Results:
    """What lies in the bucket of results, to be removed. Raises AwsUnavailable, or AwsRefused."""

    def __init__(self, *, s3: S3, bucket: str, prefix: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._prefix = prefix

    def erase_evidence(self, plays: Sequence[tuple[str, str]]) -> None:
        """Of these plays, as (stream_id, hit_id). In a versioned bucket the bucket's own rule ends what they were before."""
        keys = [{"Key": self._place(stream_id).beside_key(hit_id, suffix)} for stream_id, hit_id in plays for suffix in _BESIDE]
        for begin in range(0, len(keys), PAGE_MAX):
            self._delete(keys[begin : begin + PAGE_MAX])

    def erase_stream(self, stream_id: str) -> Erased:
        """Everything in the stream's folder, with all versions if that is allowed."""
        folder = self._place(stream_id).folder
        try:
            return Erased(objects=self._erase(self._versions, folder))
        except AwsRefused as error:
            return Erased(objects=self._erase(self._objects, folder), versions_left=str(error))

    def _place(self, stream_id: str) -> Place:
        return Place(bucket=self._bucket, prefix=self._prefix, stream_id=stream_id)

    def _erase(self, first: Callable[[str], list[dict[str, str]]], folder: str) -> int:
        """What is listed first is deleted until nothing is: no page hangs on one whose objects are gone by now."""
        keys: set[str] = set()
        for _ in range(_PAGES_MAX):
            page = first(folder)
            if not page:
                return len(keys)
            self._delete(page)
            keys.update(entry["Key"] for entry in page)
        raise AwsUnavailable(f"s3://{self._bucket}/{folder} was not empty after {_PAGES_MAX} pages: something goes on writing there")

    def _versions(self, folder: str) -> list[dict[str, str]]:
        """Without versions in the bucket each object is its only one, called null."""
        with asking("s3:ListBucketVersions", f"s3://{self._bucket}/{folder}", absent="correct results.bucket"):
            page = self._s3.list_object_versions(Bucket=self._bucket, Prefix=folder, MaxKeys=PAGE_MAX)
        return [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]

    def _objects(self, folder: str) -> list[dict[str, str]]:
        with asking("s3:ListBucket", f"s3://{self._bucket}/{folder}", absent="correct results.bucket"):
            page = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=folder, MaxKeys=PAGE_MAX)
        return [{"Key": entry["Key"]} for entry in page.get("Contents", ())]

    def _delete(self, objects: Sequence[Mapping[str, str]]) -> None:
        if not objects:
            return
        of = f"s3://{self._bucket}/{objects[0]['Key']} and {len(objects) - 1} more" if len(objects) > 1 else f"s3://{self._bucket}/{objects[0]['Key']}"
        action = "s3:DeleteObjectVersion" if "VersionId" in objects[0] else "s3:DeleteObject"
        with asking(action, of, absent="correct results.bucket"):
            answer = self._s3.delete_objects(Bucket=self._bucket, Delete={"Objects": list(objects), "Quiet": True})
        for error in answer.get("Errors", ()):
            reason = f"{action} of s3://{self._bucket}/{error.get('Key')} was refused: {error.get('Code')}"
            if error.get("Code") in _DENIED:
                raise AwsRefused(f"{reason}; allow {action} in the role's policy")
            raise AwsUnavailable(f"{reason}: {error.get('Message') or 'no reason given'}")


def forget(pool: Pool, stream_id: str, *, results: Results | None) -> Forgotten:
    """Remove everything about the stream. `results`: None without a bucket.

    Raises BadSettings for a stream that is listened to, or waits to be; Leaving while something of it is just being
    published; DatabaseUnavailable, AwsUnavailable or AwsRefused, after which it is to be called again.
    """
    with transaction(pool) as connection:
        _refuse_wanted(connection, stream_id)
        _refuse_leaving(connection, stream_id)
        rows = {table: connection.execute(f"delete from {table} where stream_id = %s".encode(), [stream_id]).rowcount for table in _TABLES}  # noqa: S608 -- our own names
        rows["inbox"] += connection.execute("delete from inbox where spare_of = %s", [stream_id]).rowcount
    erased = results.erase_stream(stream_id) if results else Erased(objects=0)
    return Forgotten(rows=rows, erased=erased)


#: In this order: a play refers to its stream.
_TABLES = ("outbox", "inbox", "kept_group", "kept_block", "play", "stream")


def _refuse_wanted(connection: Connection, stream_id: str) -> None:
    """The row is locked: nobody can begin to listen until it is gone."""
    row = connection.execute("select state, owner, wanted_at is not null from stream where stream_id = %s for update", [stream_id]).fetchone()
    state, owner, wanted = row or ("ended", None, False)
    if owner is not None:
        raise BadSettings(f"the stream {stream_id} is being listened to by {owner}, and is not forgotten: do it when it has ended")
    if wanted and state in ("wanted", "running"):
        raise BadSettings(f"the stream {stream_id} waits to be listened to, and is not forgotten: do it when it has ended")


def _refuse_leaving(connection: Connection, stream_id: str) -> None:
    """What a publisher has in hand may arrive after everything else is gone, and would stay."""
    # Rows that are being taken at this moment are waited for.
    taken = connection.execute("select taken_until > now() from outbox where stream_id = %s for update", [stream_id]).fetchall()
    under_way = sum(bool(now) for (now,) in taken)
    if under_way:
        raise Leaving(f"{under_way} of the documents and messages of the stream {stream_id} are just being published: try again in a minute")
