"""The copies of one recording: what is wanted is made, what is not wanted any more is removed, what is right stays as it is.

    turn ─▶ what is wanted, what is there ─▶ objects deleted ─▶ the recording fetched once ─▶ each copy encoded apart, and sent

Done again it changes nothing; killed anywhere in it, the next one does the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from botocore.exceptions import ClientError

from earmark.audio.encode import Encoded, content_type_of
from earmark.aws import code
from earmark.errors import AwsRefused, SourceUnavailable, UnreadableAudio
from earmark.postgres import Pool, transaction
from earmark.settings import Settings, formats_place
from earmark.stocking.bucket import S3, Bucket, Fetched, TooLarge, removed
from earmark.stocking.encoder import Encoder
from earmark.stocking.fan_out import FanOut, Known, Turn
from earmark.stocking.targets import Copy, Master, copies_of, listed

Outcome: TypeAlias = Literal["made", "removed", "refused", "failed"]
_PLACELESS: Final = "s3://{bucket}/"


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of one copy."""

    outcome: Outcome
    #: As the settings call its format.
    name: str
    #: Of its object: where it is, was, or would be.
    url: str
    #: Of the recording; empty if it is gone.
    track_id: str = ""
    #: Why, if it was not made.
    reason: str = ""
    encoded: Encoded | None = None


class Copying:
    """How one job looks after recordings, each in files of its own in `folder`."""

    def __init__(self, *, rows: FanOut, pool: Pool, s3: S3, settings: Settings, encoder: Encoder, folder: Path, told: Callable[[Done], object]) -> None:
        self._rows = rows
        self._pool = pool
        self._s3 = s3
        self._settings = settings.formats
        self._object_bytes_max = settings.catalogue.object_bytes_max
        self._catalogue = Bucket(s3=s3, place=settings.catalogue.place)
        self._place = Bucket(s3=s3, place=formats_place(settings.formats, settings.catalogue))
        self.listed = listed(settings.formats, self._place.place)
        self._encoder = encoder
        self._file, self._copy = folder / "object", folder / "copy"
        self._told = told

    def take(self, turn: Turn, beat: Callable[[], object]) -> None:
        """`beat` is called while that takes its time, and may raise.

        Raises Overtaken, AwsUnavailable, AwsRefused, SourceUnavailable, DatabaseUnavailable, NoRoom, OSError: it may be taken up again.
        """
        try:
            given_up = self._take(turn, beat)
        finally:
            removed(self._file)
            removed(self._copy)
        self._rows.finish(turn, listed=self.listed, last_error=given_up)

    def _take(self, turn: Turn, beat: Callable[[], object]) -> str:
        """Why it is given up for now; empty: all is done."""
        master, copies, left = self._wanted(turn)
        if turn.attempts > self._settings.attempts_max:
            return self._give_up(turn, master, left)
        for known in left:
            if known.state == "unwanted":
                beat()
                self._remove(known, master)
        waiting = [(known, copies[known.key]) for known in left if known.state == "waiting"]
        if not waiting or master is None:  # nothing is wanted of what is no recording
            return ""
        try:
            self._fetch(turn, master, beat)
        except TooLarge as error:
            for known, _ in waiting:
                self._fail(known, master, f"{error} (catalogue.object_bytes_max)")
            return ""
        for known, copy in waiting:
            self._make(turn, known, copy, master, beat)
        return ""

    def _wanted(self, turn: Turn) -> tuple[Master | None, dict[str, Copy], list[Known]]:
        """The recording, the copies that are wanted of it by their keys, and what is to be done about those and others."""
        name = self._catalogue.name_of(turn.bucket, turn.key)
        with transaction(self._pool) as connection:
            self._rows.hold(connection, turn)
            master = None if name is None else self._rows.master(connection, turn, name=name)
            copies = copies_of(master, self._settings, prefix=self._place.prefix) if master else []
            left = self._rows.want(
                connection,
                turn,
                copies,
                bucket=self._place.name,
                content_sha256=master.content_sha256 if master else b"",
                again=turn.listed != self.listed,
            )
        return master, {copy.key: copy for copy in copies}, left

    def _give_up(self, turn: Turn, master: Master | None, left: list[Known]) -> str:
        """Copies that wait have failed; objects that are not wanted stay on record as that. The round of each night tries both again."""
        why = turn.last_error or "the worker that tried did not live to say why"
        for known in left:
            if known.state == "waiting":
                self._fail(known, master, f"it is given up for now: it was tried {self._settings.attempts_max} times: {why}")
        return why

    def _remove(self, known: Known, master: Master | None) -> None:
        try:
            Bucket(s3=self._s3, place=_PLACELESS.format(bucket=known.bucket)).delete(known.key)
        except AwsRefused as error:
            if not isinstance(cause := error.__cause__, ClientError) or code(cause) != "NoSuchBucket":  # it went with its bucket
                raise
        self._rows.removed(known)
        self._told(
            Done(
                outcome="refused" if known.reason else "removed",
                name=known.name,
                url=known.url,
                track_id=master.track_id if master else "",
                reason=known.reason,
            )
        )

    def _fetch(self, turn: Turn, master: Master, beat: Callable[[], object]) -> None:
        got = self._catalogue.fetch(turn.key, self._file, known="", bytes_max=self._object_bytes_max, beat=beat)
        if not isinstance(got, Fetched) or got.content_sha256 != master.content_sha256:
            raise SourceUnavailable(f"s3://{turn.bucket}/{turn.key} is not the recording any more that the catalogue has: news of it is awaited")

    def _make(self, turn: Turn, known: Known, copy: Copy, master: Master, beat: Callable[[], object]) -> None:
        try:
            made = self._encoder.encode(self._file, self._copy, copy.encoding, duration_s=master.duration_s, beat=beat)
        except UnreadableAudio as error:
            self._fail(known, master, str(error).replace(str(self._file), turn.key))
            return
        self._rows.renew(turn)  # so that there is time to send it
        self._place.put_file(known.key, self._copy, content_type=content_type_of(copy.encoding.codec))
        self._rows.made(known, made)
        self._told(Done(outcome="made", name=known.name, url=known.url, track_id=master.track_id, encoded=made))

    def _fail(self, known: Known, master: Master | None, reason: str) -> None:
        self._rows.failed(known, reason)
        self._told(Done(outcome="failed", name=known.name, url=known.url, track_id=master.track_id if master else "", reason=reason))
