"""Recordings of the catalogue, heard once more: from the objects and files that they came from, each by its content.

jobs: fetch, or find ─▶ a process that decodes (`apart`) ─▶ one after the other, as they are done
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self, TypeAlias

from earmark.errors import AwsRefused, AwsUnavailable, UnreadableAudio
from earmark.hits.text import shown
from earmark.index.beside import Lacking
from earmark.index.catalogue import Recording
from earmark.ingest import files
from earmark.reference import DURATION_S, content_sha256
from earmark.settings import Settings
from earmark.stocking.apart import Apart
from earmark.stocking.bucket import S3, Bucket, Fetched, TooLarge, removed
from earmark.stocking.job import Leaving, temporary_folder
from earmark.track import Track

#: Objects in a row that the bucket would not give: then it is not the objects.
_REFUSED_MAX: Final = 20
_END_S: Final = 30.0
_POLL_S: Final = 0.5

_NOWHERE: Final = "no folder was named with --from to look for it in"

#: The recording, or a sentence that says why it was not to be had; or what concerns all.
Heard: TypeAlias = Recording | str | Exception


class Sounds:
    """Used in a `with`; `of` by one thread.

    Args:
        s3: asked for when the first object is fetched.
        folders: where files are looked for, by their content.
    """

    def __init__(self, *, s3: Callable[[], S3], settings: Settings, folders: Sequence[Path]) -> None:
        self._s3 = s3
        self._bytes_max = settings.catalogue.object_bytes_max
        self._folders = folders
        self._files: dict[bytes, Path] | None = None
        self._ending = threading.Event()
        self._refused = 0

    def __enter__(self) -> Self:
        """Raises BadSettings without a temporary folder."""
        self._temporary = temporary_folder("sounds")
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._temporary.cleanup()

    def of(self, wanted: Sequence[Lacking], *, jobs: int) -> Iterator[tuple[Lacking, Recording | str]]:
        """Each, as it is done. Raises AwsRefused, AwsUnavailable if the bucket gives nothing any more."""
        if not wanted:
            return
        self._files = self._by_content() if self._files is None else self._files
        todo: queue.SimpleQueue[Lacking] = queue.SimpleQueue()
        for one in wanted:
            todo.put(one)
        done: queue.Queue[tuple[Lacking, Heard]] = queue.Queue(maxsize=jobs)  # a recording's peaks are some megabytes
        over = threading.Event()
        threads = [threading.Thread(target=self._job, args=(n, todo, done, over), name=f"sounds {n}", daemon=True) for n in range(min(jobs, len(wanted)))]
        for thread in threads:
            thread.start()
        try:
            for _ in wanted:
                lacking, heard = done.get()
                if isinstance(heard, Exception):
                    raise heard
                yield lacking, heard
        finally:
            over.set()
            for thread in threads:
                thread.join(_END_S)

    def _by_content(self) -> dict[bytes, Path]:
        found: dict[bytes, Path] = {}
        for path in files(self._folders):
            with suppress(UnreadableAudio):  # it is no recording of the catalogue, whatever else it is
                found.setdefault(content_sha256(path), path)
        return found

    def _job(self, number: int, todo: "queue.SimpleQueue[Lacking]", done: "queue.Queue[tuple[Lacking, Heard]]", over: threading.Event) -> None:
        apart, file = Apart(), Path(self._temporary.name) / str(number)

        def beat() -> None:
            if over.is_set() or self._ending.is_set():
                raise Leaving

        try:
            while not over.is_set():
                lacking = todo.get_nowait()
                try:
                    heard: Heard = self._hear(lacking, apart, file, beat)
                except Leaving:
                    return
                except Exception as error:  # noqa: BLE001 -- handed to who waits for it
                    heard = error
                finally:
                    removed(file)
                while not over.is_set():
                    with suppress(queue.Full):
                        done.put((lacking, heard), timeout=_POLL_S)
                        break
        except queue.Empty:
            return
        finally:
            apart.close()

    def _hear(self, lacking: Lacking, apart: Apart, file: Path, beat: Callable[[], None]) -> Recording | str:
        path = (self._files or {}).get(lacking.content_sha256)
        if path is None:
            sentence = self._fetch(lacking, file, beat)
            if sentence:
                return sentence
        try:
            made = apart.fingerprint(path or file, longest_s=DURATION_S[1], beat=beat).fingerprinted
        except UnreadableAudio as error:
            return self._not_made(lacking, str(error).replace(str(file), lacking.key))
        track = Track(track_id=lacking.track_id, duration_s=made.duration_s)
        return Recording(track=track, peaks=made.peaks, postings=made.postings, content_sha256=lacking.content_sha256)

    def _fetch(self, lacking: Lacking, file: Path, beat: Callable[[], None]) -> str:
        """The very bytes that it was made of, into the file; or why not."""
        if not lacking.bucket:
            where = f"none of the files in {', '.join(map(str, self._folders))} is what it was made of" if self._folders else _NOWHERE
            return self._not_made(lacking, f"it did not come from an object of a bucket, and {where}")
        bucket, address = Bucket(s3=self._s3(), place=f"s3://{lacking.bucket}/"), f"s3://{lacking.bucket}/{lacking.key}"
        there = False
        for version in dict.fromkeys(("", lacking.version)):
            try:
                got = bucket.fetch(lacking.key, file, known="", bytes_max=self._bytes_max, beat=beat, version=version)
            except TooLarge as error:
                return self._not_made(lacking, f"{error} (catalogue.object_bytes_max)")
            except (AwsRefused, AwsUnavailable) as error:
                self._refused += 1
                if self._refused >= _REFUSED_MAX:
                    raise
                return self._not_made(lacking, str(error))
            self._refused = 0
            if isinstance(got, Fetched) and got.content_sha256 == lacking.content_sha256:
                return ""
            there = there or isinstance(got, Fetched)
        return self._not_made(lacking, f"{address} {'holds other bytes now than it was made of' if there else 'is gone'}")

    @staticmethod
    def _not_made(lacking: Lacking, why: str) -> str:
        return shown(f"{lacking.track_id} cannot be made anew: {why}")
