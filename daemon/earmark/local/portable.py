"""`earmark catalogue export FILE` and `earmark catalogue import FILE`: a catalogue as one file, here, in S3, or in a pipe."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from boto3.exceptions import S3UploadFailedError

from earmark import transfer
from earmark.aws import Clients, asking
from earmark.errors import AwsRefused, BadSettings
from earmark.hits.text import clock_time, counted, shown
from earmark.index.portable_in import Arrived, Conflicts
from earmark.local.desk import check_there, complain, opened
from earmark.local.progress import Progress
from earmark.settings import Settings

#: Standard output, or input.
PIPE: Final = "-"
_S3: Final = "s3://"
_PIECE_BYTES: Final = 1 << 20
#: In the order in which they are told.
_OUTCOMES: Final[tuple[Arrived, ...]] = ("added", "replaced", "updated", "kept", "unchanged")


def export_catalogue(place: str, *, catalogue: str | None, settings: Settings) -> int:
    """1 if something was left out, because it is damaged. What was not written whole is not there."""
    if place == PIPE and sys.stdout.isatty():
        raise BadSettings("a catalogue is no text for a terminal: name a file, or pipe it on (`earmark catalogue export - | …`)")
    with opened(catalogue, settings) as pool, _written(place, settings) as (out, folder), tempfile.TemporaryFile(dir=folder) as aside:
        with Progress("exporting") as progress:
            left = transfer.leave(pool, out, aside=aside, progress=progress.at)
        size = out.tell() if out.seekable() else None
    complain([shown(sentence) for sentence in left.wrong])
    head = left.head
    length = f", {size / 1e6:,.1f} MB" if size is not None else ""
    told = f"{counted(head.recordings, 'recording')} ({clock_time(head.seconds)}), {head.postings:,} postings{length}: {_called(place)}"
    print(shown(told), file=sys.stderr if place == PIPE else sys.stdout)
    return 1 if left.wrong else 0


def import_catalogue(place: str, *, conflicts: Conflicts, catalogue: str | None, settings: Settings) -> int:
    if catalogue and Path(catalogue).is_dir():
        raise BadSettings(f"the catalogue {catalogue} is a folder, and holds what its files are: name a database to import into")
    if place == PIPE and sys.stdin.isatty():
        raise BadSettings("nothing is piped into this: name a file, or write `… | earmark catalogue import -`")
    with _readable(place, settings) as path, opened(catalogue, settings) as pool, Progress("importing") as progress:
        name, ours = _called(place, reading=True), settings.catalogue.place
        done = transfer.arrive(pool, path, name=name, conflicts=conflicts, place=ours, progress=progress.at)
    told = ", ".join(f"{done.counts[outcome]:,} {outcome}" for outcome in _OUTCOMES if done.counts.get(outcome))
    of = f"{counted(done.head.recordings, 'recording')} ({clock_time(done.head.seconds)})"
    print(
        shown(f"{of} of {_called(place, reading=True)}: {told}" if told else f"{_called(place, reading=True)} holds an empty catalogue: nothing was imported")
    )
    if done.uncompared:
        complain(["the catalogue has other recordings too, and these were not compared with them: `earmark catalogue duplicates --again` does that"])
    return 0


def _called(place: str, *, reading: bool = False) -> str:
    return ("standard input" if reading else "standard output") if place == PIPE else place


# ------------------------------------------------------------------------------------------------ where it is


@contextmanager
def _written(place: str, settings: Settings) -> Iterator[tuple[BinaryIO, Path | None]]:
    """A file to write, and a folder with room for a temporary one beside it; at the end, if nothing went wrong, it is at its place."""
    if place == PIPE:
        yield sys.stdout.buffer, None
        return
    if place.startswith(_S3):
        bucket, key = _object(place)
        with tempfile.NamedTemporaryFile(prefix="earmark-", suffix=".parquet") as made:
            yield cast(BinaryIO, made), None
            made.flush()
            _send(Clients(settings.aws).s3, made.name, bucket, key)
        return
    path = Path(os.path.realpath(place))  # a link stays one
    if path.is_dir():
        raise BadSettings(f"{place} is a folder: name the file that is to be written")
    # So does a pipe or a device: it is written to, and nothing is put in its place.
    part = path.with_name(f".{path.name}.part") if path.is_file() or not path.exists() else path
    try:
        out = part.open("wb")
    except OSError as error:
        raise BadSettings(f"{place} cannot be written: {(error.strerror or str(error)).lower()}") from None
    try:
        with out:
            yield out, None if part == path else path.parent
            out.flush()
            if part != path:
                os.fsync(out.fileno())
                part.replace(path)
    finally:
        if part != path:
            with suppress(OSError):
                part.unlink(missing_ok=True)


@contextmanager
def _readable(place: str, settings: Settings) -> Iterator[Path]:
    """The file, or a temporary copy of what comes from elsewhere: it is read twice."""
    if place != PIPE and not place.startswith(_S3):
        path = Path(place)
        check_there(path)
        if not path.is_file():
            raise BadSettings(f"{place} is not a file: name one that `earmark catalogue export` has written")
        yield path
        return
    with ExitStack() as stack:
        copy = stack.enter_context(tempfile.NamedTemporaryFile(prefix="earmark-", suffix=".parquet"))
        if place == PIPE:
            shutil.copyfileobj(sys.stdin.buffer, copy, _PIECE_BYTES)
        else:
            bucket, key = _object(place)
            with asking("s3:GetObject", place, absent="name an object that is there"):
                Clients(settings.aws).s3.download_fileobj(bucket, key, copy)
        copy.flush()
        yield Path(copy.name)


def _object(place: str) -> tuple[str, str]:
    bucket, _, key = place.removeprefix(_S3).partition("/")
    if not bucket or not key or key.endswith("/"):
        raise BadSettings(f"{place} names no object: write s3://bucket/key")
    return bucket, key


def _send(s3: Any, name: str, bucket: str, key: str) -> None:
    place = f"{_S3}{bucket}/{key}"
    try:
        with asking("s3:PutObject", place, absent="create the bucket, or name another"):
            s3.upload_file(name, bucket, key)
    except S3UploadFailedError as error:  # boto3's own, around botocore's
        raise AwsRefused(f"{place} cannot be written: {str(error).rpartition(': ')[2]}") from None
