"""Where hits go: S3, SNS, or a folder on disk. Each sends one thing once asked, and says in which way it failed.

S3 keeps one object per key. Its revision lies in the object's metadata, and every write is conditional: "only if
nothing is there" (`If-None-Match: *`), or "only over what I last saw" (`If-Match: etag`). So a worker that was paused
for a minute cannot put an older revision over a newer one, and no read is needed as long as nobody else writes.
(S3 User Guide, "Add preconditions to S3 operations with conditional requests".)
"""

import json
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol, TypeAlias

from botocore.exceptions import ClientError

from earmark.aws import asking, code, status
from earmark.errors import AwsRefused, AwsUnavailable
from earmark.hits.record import Outgoing

#: What became of it: it is there now, or it had been there already (the same, or a newer revision).
Sent: TypeAlias = Literal["stored", "superseded"]

REVISION = "earmark-revision"
#: Rounds of looking again after somebody else wrote the same key; each round somebody made progress.
_ROUNDS_MAX = 6
#: Keys whose last revision and etag are remembered, to save reading them: 350 bytes each. Of 300 streams some 1,500 are
#: written again, the others never.
_REMEMBERED_MAX = 2_048


class S3Client(Protocol):
    """What is used of boto3's S3 client."""

    @property
    def put_object(self) -> Callable[..., Any]: ...

    @property
    def head_object(self) -> Callable[..., Any]: ...


class SnsClient(Protocol):
    """What is used of boto3's SNS client."""

    @property
    def publish(self) -> Callable[..., Any]: ...


class Sink(Protocol):
    """Puts one thing where it belongs. Safe to call from several threads, and safe to repeat."""

    def send(self, item: Outgoing) -> Sent:
        """Raises AwsUnavailable when it may pass, AwsRefused when it will not by itself."""
        ...


class S3Sink:
    """Objects of one bucket, never an older revision over a newer one."""

    def __init__(self, *, client: S3Client, bucket: str, named: str = "results.bucket") -> None:
        """`named`: by which setting."""
        self._client = client
        self._bucket = bucket
        self._named = named
        self._lock = threading.Lock()
        #: key -> (revision, etag) as last written or seen by this process.
        self._seen: OrderedDict[str, tuple[int, str]] = OrderedDict()

    def send(self, item: Outgoing) -> Sent:
        there = self._recall(item.key)
        for _ in range(_ROUNDS_MAX):
            if there and there[0] >= item.revision:
                return "superseded"
            etag = self._put(item, over=there[1] if there else None)
            if etag:
                self._remember(item.key, (item.revision, etag))
                return "stored"
            there = self._look(item.key)
            self._remember(item.key, there)
        raise AwsUnavailable(f"s3://{self._bucket}/{item.key} was changed by others {_ROUNDS_MAX} times in a row; it is tried again")

    def _put(self, item: Outgoing, *, over: str | None) -> str | None:
        """Write over the object with this etag, or where there is none; the new etag, or None if that is not how things are."""
        condition: dict[str, Any] = {"IfMatch": over} if over else {"IfNoneMatch": "*"}
        with asking("s3:PutObject", f"s3://{self._bucket}/{item.key}", absent=f"create the bucket or correct {self._named}"):
            try:
                answer = self._client.put_object(
                    Bucket=self._bucket,
                    Key=item.key,
                    Body=item.content or item.body.encode(),
                    ContentType=item.content_type,
                    CacheControl="no-cache",  # each of them may be rewritten
                    Metadata={REVISION: str(item.revision)},
                    **condition,
                )
            except ClientError as error:
                # 412: another is there. 409: somebody writes at this moment. 404 NoSuchKey: what was there is gone.
                if status(error) in (409, 412) or code(error) == "NoSuchKey":
                    return None
                raise
        return str(answer["ETag"])

    def _look(self, key: str) -> tuple[int, str] | None:
        with asking("s3:GetObject", f"s3://{self._bucket}/{key}"):
            try:
                head = self._client.head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if status(error) == 404:
                    return None
                raise
        text = str(head["Metadata"].get(REVISION, ""))
        # An object that somebody else put there has no revision: ours is newer.
        return (int(text) if text.isdecimal() else -1), str(head["ETag"])

    def _recall(self, key: str) -> tuple[int, str] | None:
        with self._lock:
            return self._seen.get(key)

    def _remember(self, key: str, there: tuple[int, str] | None) -> None:
        with self._lock:
            self._seen.pop(key, None)
            if there:
                self._seen[key] = there
                while len(self._seen) > _REMEMBERED_MAX:
                    self._seen.popitem(last=False)


class SnsSink:
    """Messages to one topic; at least once, so each carries its `hit_id` and `revision`."""

    def __init__(self, *, client: SnsClient, topic_arn: str) -> None:
        self._client = client
        self._topic_arn = topic_arn

    def send(self, item: Outgoing) -> Sent:
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in item.attributes["attributes"].items()}
        with asking("sns:Publish", self._topic_arn, absent="create the topic or correct alerts.topic_arn"):
            self._client.publish(
                TopicArn=self._topic_arn,
                Message=item.body,
                MessageStructure="json",
                Subject=item.attributes["subject"],
                MessageAttributes=attributes,
            )
        return "stored"


class FileSink:
    """The same objects below a folder, for the desk. One process at a time writes to a folder.

    Revisions lie in `.revisions/`, beside the files, one small file each, written after the file: a crash in between
    costs a repeat, nothing else.
    """

    def __init__(self, *, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def send(self, item: Outgoing) -> Sent:
        name = PurePosixPath(item.key)
        if name.is_absolute() or ".." in name.parts or name.parts[:1] == (".revisions",):
            raise AwsRefused(f"the key {item.key!r} leads out of {self._folder}; nothing was written")
        path, mark = self._folder / name, self._folder / ".revisions" / name
        with self._lock:
            try:
                if path.exists() and self._revision(mark) >= item.revision:
                    return "superseded"
                self._replace(path, item.content or item.body.encode())
                self._replace(mark, json.dumps(item.revision).encode())
            except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
                raise AwsRefused(f"{path} cannot be written: {error.strerror}; check the folder and its permissions") from None
            except OSError as error:
                raise AwsUnavailable(f"{path} cannot be written: {error.strerror or error}; it is tried again") from None
        return "stored"

    @staticmethod
    def _revision(mark: Path) -> int:
        text = mark.read_text(encoding="ascii", errors="replace") if mark.exists() else ""
        return int(text) if text.isdecimal() else -1

    @staticmethod
    def _replace(path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(temporary).chmod(0o644)  # mkstemp makes it private
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
