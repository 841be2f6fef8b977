"""What the bucket's recordings are like: measured one after the other, when nothing else is to be done about the bucket.

    trigger ─▶ due ─▶ claim ─▶ the object, once more ─▶ child process: decode, measure ─▶ its row

Apart from adding, because it takes as long again and nobody waits for it. What fails for now is put off, the longer the more
often that was; what cannot be measured is said in its row, and not tried again.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol, Self

import structlog

from earmark.control.patience import Patience
from earmark.errors import AwsRefused, AwsUnavailable, SourceUnsupported, Transient, UnreadableAudio
from earmark.index import profiles
from earmark.index.profiles import LEASE_S, Due
from earmark.postgres import Pool, statement, transaction
from earmark.profiles.file import profile_file
from earmark.profiles.musical import available, keep_compiled
from earmark.settings import Catalogue
from earmark.stocking.bucket import S3, Bucket, Fetched, removed
from earmark.stocking.child import Child
from earmark.stocking.job import Beat, Leaving, temporary_folder
from earmark.stocking.rows import Objects
from earmark.track_profile import TrackProfile, without

Outcome = Literal["measured", "failed", "postponed", "dropped"]

#: Between two looks; and so long nothing has to have been due of the bucket itself.
_LOOK_S: Final = 5.0
#: A file takes no longer than this and a tenth of the longest recording: twenty times as long as one core needs.
_LEAST_S, _PACE = 120.0, 10.0


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def profiled(self, outcome: Outcome) -> None: ...
    def to_profile(self, due: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Told:
    """What became of one recording."""

    track_id: str
    outcome: Outcome
    #: Why, where it was not measured: a sentence.
    reason: str = ""


class Profiling:
    """`run` on a thread of its own until `stop`, or `one` after the other at the desk; each with a folder and a child of its own."""

    def __init__(self, *, pool: Pool, s3: Callable[[], S3], settings: Catalogue, worker: str, meter: Meter | None, stop: threading.Event) -> None:
        self._pool = pool
        self._s3 = s3
        self._settings = settings
        self._idle = Objects(pool=pool, worker=worker)
        self._meter = meter
        self._stop = stop
        self.features = available()
        self._owed = False
        self._log = structlog.get_logger()

    def run(self) -> None:
        """In the role. Raises BadSettings without a temporary folder."""
        patience = Patience(event="catalogue.not_profiled", of="what", failed=lambda: None)
        with Bench() as bench:
            while not self._stop.wait(_LOOK_S):
                patience.call("profiles", lambda: self._round(bench))

    def _round(self, bench: "Bench") -> None:
        """All that is due, as long as the bucket leaves time for it."""
        if not self._owed:
            self.owe_all()
            self._owed = True
        while not self._stop.is_set() and self._at_leisure() and (told := self.one(bench)):
            self._tell(told)
        if self._meter:
            with statement(self._pool) as connection:
                self._meter.to_profile(profiles.waiting(connection))
        bench.child.close()  # it has some hundred megabytes

    def _at_leisure(self) -> bool:
        due_s = self._idle.next_due_s()
        return due_s is None or due_s > 0

    def owe_all(self) -> int:
        """What an older Earmark measured, or one without the extra, is due again."""
        with transaction(self._pool) as connection:
            return profiles.owe_all(connection, features=self.features)

    def one(self, bench: "Bench", *, only: Sequence[str] | None = None) -> Told | None:
        """Measure the recording that has been due the longest, if given, of these. None: none is due. Raises DatabaseUnavailable."""
        with statement(self._pool) as connection:
            due = profiles.claim(connection, features=self.features, only=only)
        if due is None:
            return None
        return self._told(due, bench)

    def _tell(self, told: Told) -> None:
        if self._meter:
            self._meter.profiled(told.outcome)
        say = self._log.info if told.outcome in ("measured", "dropped") else self._log.warning
        say(f"catalogue.profile_{told.outcome}", track_id=told.track_id, **({"reason": told.reason} if told.reason else {}))

    def _told(self, due: Due, bench: "Bench") -> Told:
        if due.attempts > self._settings.attempts_max:
            why = f": {due.last_error}" if due.last_error else ", and nobody lived to say why"
            return self._failed(due, f"it was tried {self._settings.attempts_max} times{why}")
        try:
            profile = self._measured(due, bench)
        except Leaving:
            with statement(self._pool) as connection:
                profiles.give_back(connection, due)
            return Told(track_id=due.track_id, outcome="postponed", reason="the worker ends")
        except (AwsUnavailable, AwsRefused, OSError) as error:
            return self._postponed(due, str(error))
        except (UnreadableAudio, SourceUnsupported) as error:
            return self._failed(due, str(error).replace(str(bench.file), due.key or ""))
        except Transient:
            raise
        except Exception as error:  # noqa: BLE001 -- a bug that this recording brings to light: told loudly, tried again, and then set aside
            self._log.exception("catalogue.profile_crashed", track_id=due.track_id)
            return self._postponed(due, f"a bug that it brings to light: {type(error).__name__}; see the log for catalogue.profile_crashed")
        finally:
            removed(bench.file)
        with statement(self._pool) as connection:
            written = profile is not None and profiles.write(connection, due.track_id, profile, content_sha256=due.content_sha256)
            profiles.settle(connection, due)
        if not written:
            return Told(track_id=due.track_id, outcome="dropped", reason="its bytes are not in the bucket")
        return Told(track_id=due.track_id, outcome="measured")

    def _measured(self, due: Due, bench: "Bench") -> TrackProfile | None:
        """None: it is no object (any more), or another one. Raises what a bucket and a file may."""
        if due.bucket is None or due.key is None:
            return None
        beat = Beat(partial(self._renew, due), every_s=LEASE_S / 4, stop=self._stop)
        bucket = Bucket(s3=self._s3(), place=f"s3://{due.bucket}/")
        got = bucket.fetch(due.key, bench.file, known="", bytes_max=self._settings.object_bytes_max, beat=beat)
        if not isinstance(got, Fetched) or got.content_sha256 != due.content_sha256:
            return None  # there is news of it, which is not ours to take up
        return bench.child.measure(bench.file, longest_s=self._settings.object_s_max, beat=beat)

    def _postponed(self, due: Due, reason: str) -> Told:
        if due.attempts >= self._settings.attempts_max:
            return self._failed(due, f"it was tried {self._settings.attempts_max} times: {reason}")
        with statement(self._pool) as connection:
            profiles.put_off(connection, due, reason)
        return Told(track_id=due.track_id, outcome="postponed", reason=reason)

    def _failed(self, due: Due, reason: str) -> Told:
        with statement(self._pool) as connection:
            profiles.write(connection, due.track_id, without(reason, features=self.features), content_sha256=due.content_sha256)
            profiles.settle(connection, due)
        return Told(track_id=due.track_id, outcome="failed", reason=reason)

    def _renew(self, due: Due) -> None:
        with statement(self._pool) as connection:
            profiles.renew(connection, due)


class Measuring(Child):
    """The child that measures."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: what it may write in, and somebody else tidies up."""
        super().__init__(partial(_profiled, folder), name="profiles", last=True)

    def measure(self, path: Path, *, longest_s: float, beat: Callable[[], object]) -> TrackProfile:
        """What a file is like; `beat` as in `answer`. Raises UnreadableAudio with a sentence that begins with the path, also when the child died over it."""
        profile: TrackProfile = self.answer(path, longest_s, limit_s=_LEAST_S + longest_s / _PACE, beat=beat, cannot=f"{path} cannot be measured")
        return profile


class Bench:
    """Where one recording at a time is measured: a folder for it, and a child process that lives while there is work."""

    def __init__(self) -> None:
        """Raises BadSettings without a temporary folder."""
        self._folder = temporary_folder("profile")
        self.file = Path(self._folder.name) / "object"
        self.child = Measuring(Path(self._folder.name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close()
        self._folder.cleanup()


def _profiled(folder: Path | None, path: Path, longest_s: float) -> TrackProfile:
    if folder:
        keep_compiled(folder)
    return profile_file(path, longest_s=longest_s)
