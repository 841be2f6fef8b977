"""An object in S3 as a file that can be read from anywhere, by ranges: never the whole of it in memory or on disk.

It is read in blocks. A few are kept, and while they are read one after the other the next is fetched ahead, so that the
wait for S3 falls into the time that decoding takes. A range is only asked for of the very object that was opened: one
that is written over meanwhile is not read on as if nothing had happened. (S3 API reference, "GetObject": Range, If-Match.)
"""

import io
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Protocol

from botocore.exceptions import ClientError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from earmark.aws import asking, code, status
from earmark.errors import AwsUnavailable, UnreadableAudio

#: A block is four minutes of AAC at 128 kbit/s, and some 60 ms from a bucket in the same region; blocks kept, beside the one fetched ahead.
BLOCK_BYTES: Final = 4 << 20
BLOCKS_KEPT: Final = 4
#: A range that breaks off is asked for again before the whole session is.
_ATTEMPTS: Final = 3


class S3(Protocol):
    """boto3's `s3` client, as far as it is used."""

    def head_object(self, **arguments: Any) -> Mapping[str, Any]: ...
    def get_object(self, **arguments: Any) -> Any: ...


class RemoteFile(io.RawIOBase):
    """A seekable file over one object. Used by one thread; `close` it.

    Args:
        version: of a bucket that keeps versions; empty: the present one.
        etag: of the bytes that are meant, if it is known; else those that are there.
        block_bytes: what is fetched at once.
        fetched: told of each range's bytes.

    Raises UnreadableAudio (gone, or written over), AwsUnavailable, AwsRefused: here, and whenever it is read.
    """

    def __init__(
        self,
        *,
        s3: S3,
        bucket: str,
        key: str,
        version: str = "",
        etag: str = "",
        block_bytes: int = BLOCK_BYTES,
        fetched: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._s3, self._block_bytes, self._fetched = s3, block_bytes, fetched
        self.name = f"s3://{bucket}/{key}"
        self._named: dict[str, Any] = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}
        head = self._head()
        self.etag = str(head.get("ETag", "")).strip('"')
        if etag and etag != self.etag:
            raise UnreadableAudio(f"{self.name} was replaced before it was read: what is there now is a file of its own")
        self.size_bytes = int(head["ContentLength"])
        self.fetched_bytes = 0
        #: What reading it ended with, which FFmpeg may take for the end of the file.
        self.failure: Exception | None = None
        self._at = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._ahead: tuple[int, Future[bytes]] | None = None
        self._last = -1
        self._fetcher = ThreadPoolExecutor(1, thread_name_prefix="read ahead")

    def __str__(self) -> str:
        return self.name

    def close(self) -> None:
        if not self.closed:
            self._fetcher.shutdown(wait=False, cancel_futures=True)
        super().close()

    # -------------------------------------------------------------------------------------------- as a file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size_bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"there is nothing before the beginning of {self.name}")
        self._at = base + offset
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """FFmpeg asks for some kilobytes at a time, and never for all (-1)."""
        data = self[self._at : self.size_bytes if size < 0 else self._at + size]
        self._at += len(data)
        return data

    # -------------------------------------------------------------------------------------------- as bytes (`boxes.Readable`)

    def __len__(self) -> int:
        return self.size_bytes

    def __getitem__(self, where: slice, /) -> bytes:
        begin, end, _ = where.indices(self.size_bytes)
        parts = []
        while begin < end:
            number, first = divmod(begin, self._block_bytes)
            part = self._block(number)[first : first + end - begin]
            parts.append(part)
            begin += len(part)
        return b"".join(parts)

    def find(self, what: bytes, begin: int = 0, end: int | None = None, /) -> int:
        """A block at a time, each with as much of the next as the word may reach into it."""
        begin, end, _ = slice(begin, end).indices(self.size_bytes)
        while end - begin >= len(what):
            upto = min(end, (begin // self._block_bytes + 1) * self._block_bytes + len(what) - 1)
            if (at := self[begin:upto].find(what)) >= 0:
                return begin + at
            begin = upto - len(what) + 1
        return -1

    # -------------------------------------------------------------------------------------------- blocks

    def _block(self, number: int) -> bytes:
        block = self._kept.get(number)
        if block is None:
            block = self._came(number)
            while len(self._kept) >= BLOCKS_KEPT:
                self._kept.popitem(last=False)
        self._kept[number] = block
        self._kept.move_to_end(number)
        if number == self._last + 1:
            self._look_ahead(number + 1)
        self._last = number
        return block

    def _look_ahead(self, number: int) -> None:
        if number * self._block_bytes < self.size_bytes and number not in self._kept and (self._ahead is None or self._ahead[0] != number):
            self._ahead = number, self._fetcher.submit(self._fetch, number)

    def _came(self, number: int) -> bytes:
        """What was fetched ahead, if it was this one."""
        try:
            if self._ahead and self._ahead[0] == number:
                coming, self._ahead = self._ahead[1], None
                block = coming.result()
            else:
                block = self._fetch(number)
        except Exception as error:
            self.failure = error
            raise
        self.fetched_bytes += len(block)
        self._fetched(len(block))
        return block

    def _fetch(self, number: int) -> bytes:
        again = Retrying(retry=retry_if_exception_type(AwsUnavailable), stop=stop_after_attempt(_ATTEMPTS), wait=wait_random_exponential(0.1, 2), reraise=True)
        return again(self._range, number * self._block_bytes, min((number + 1) * self._block_bytes, self.size_bytes))

    def _range(self, begin: int, end: int) -> bytes:
        with asking("s3:GetObject", self.name):
            try:
                answer = self._s3.get_object(**self._named, Range=f"bytes={begin}-{end - 1}", **({"IfMatch": f'"{self.etag}"'} if self.etag else {}))
                with answer["Body"] as body:
                    data: bytes = body.read(end - begin)
            except ClientError as error:
                raise self._gone(error, "while") from error
        if len(data) < end - begin:  # botocore does not mind
            raise AwsUnavailable(f"s3:GetObject of {self.name} broke off after {len(data)} of {end - begin} bytes")
        return data

    def _head(self) -> Mapping[str, Any]:
        with asking("s3:GetObject", self.name):
            try:
                return self._s3.head_object(**self._named)
            except ClientError as error:
                raise self._gone(error, "before") from error

    def _gone(self, error: ClientError, when: str) -> Exception:
        """What a missing or another object means; anything else as it is."""
        if code(error) == "NoSuchBucket":
            return error
        if status(error) == 404 or code(error) == "NoSuchKey":
            return UnreadableAudio(f"{self.name} was deleted {when} it was read")
        if status(error) in (412, 416):  # 416: it is shorter than it was
            return UnreadableAudio(f"{self.name} was replaced {when} it was read: what is there now is a file of its own")
        return error
