"""One stored file, through the same session, to a report beside it.

    s3://bucket/check/NAME ─▶ audio.stored ─▶ session ─▶ Seldom ─▶ hits.ledger ─▶ NAME.earmark.json, NAME.earmark.html

What differs from a stream: nothing of it has a hurry, so it is computed in the background; what it found goes on record
every few seconds of the clock, not with every piece; other speeds are tried always, because there is time; and its end
leaves two documents beside the file, whatever became of it.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from earmark.audio.refused import RefusedSource
from earmark.audio.remote import RemoteFile
from earmark.audio.stored import Described, ObjectSource
from earmark.errors import EarmarkError, LeaseLost, SourceUnsupported, Transient, UnreadableAudio
from earmark.fingerprint.kept import Keeper
from earmark.hits import checked
from earmark.hits.audit import nothing
from earmark.hits.checked import CheckedFile, Findings
from earmark.hits.kept import KeptRows
from earmark.hits.ledger import Ledger
from earmark.hits.proof.clips import Clips
from earmark.hits.record import Outgoing, Place
from earmark.model import Checkpoint, EndReason, GapReason, Lease, Play, PlayState
from earmark.postgres import Connection, statement
from earmark.session import Recorder, Signals
from earmark.settings import Alerts
from earmark.unhurried import Unhurried, now


class Meter(Protocol):
    """What is counted of files: `telemetry`."""

    def checked(self, outcome: str) -> None: ...
    def heard_of_file(self, *, media_s: float) -> None: ...
    def missed_of_file(self, *, media_s: float) -> None: ...
    def read_of_file(self, size_bytes: int) -> None: ...
    def asked_database(self, *, media_s: float) -> None: ...
    def told(self, play: Play, *, latency_s: float) -> None: ...


class Checking:
    """What the files of a worker share; `listen` is one of them, on the thread that calls it."""

    def __init__(self, unhurried: Unhurried, *, meter: Meter) -> None:
        self._unhurried, self._settings, self._meter = unhurried, unhurried.settings, meter

    def listen(self, lease: Lease, signals: Signals) -> EndReason | None:
        """Why it is over, or None when it is handed over. Raises as `Session.run`."""
        with statement(self._unhurried.pool) as connection:
            file = checked.file_of(connection, lease.stream.stream_id)
        if file is None:
            raise SourceUnsupported(f"nobody knows which object {lease.stream.stream_id} is about: put it under check.place once more")
        source, keeper = self._source(lease, file, signals), self._unhurried.keeper(lease, wanted=self._settings.hunt.keep_files)
        clips = self._unhurried.clips(lease, signals, keeper)
        seldom = Seldom(recorder=self._ledger(lease, file, source, keeper, clips), every_s=self._settings.check.commit_every_s, place=source.place)
        try:
            meter = _FileMeter(self._meter)
            session = self._unhurried.session(lease, source=source, recorder=seldom, signals=signals, meter=meter, hurry=False, keeper=keeper, clips=clips)
            reason = session.run()
            seldom.flush()
        except LeaseLost:
            raise
        except EarmarkError:
            with suppress(Transient):  # what was not written is heard again
                seldom.flush()
            raise
        else:
            return reason
        finally:
            if seldom.written and seldom.written.state == "ended":
                self._meter.checked(checked.outcome(seldom.written))

    def _source(self, lease: Lease, file: CheckedFile, signals: Signals) -> "ObjectSource | RefusedFile":
        checkpoint, check = lease.checkpoint, self._settings.check
        if lease.stop_wanted:
            return RefusedFile(UnreadableAudio(f"{file.address} was replaced before it was read: what is there now is a file of its own"))
        if lease.failures >= self._settings.leases.attempts_max:
            return RefusedFile(UnreadableAudio(f"{file.address} could not be read in {lease.failures} tries: {checkpoint.last_error or 'nobody said why'}"))
        return ObjectSource(
            opening=lambda: RemoteFile(
                s3=self._unhurried.s3(), bucket=file.bucket, key=file.key, version=file.version, etag=file.etag, fetched=self._meter.read_of_file
            ),
            compute=self._unhurried.compute,
            signals=signals,
            bytes_max=check.bytes_max,
            length_s_max=check.length_s_max,
            resume_s=checkpoint.position_s,
            resume=checkpoint.source_position,
            lead_in_s=self._settings.matching.window_s,
        )

    def _ledger(self, lease: Lease, file: CheckedFile, source: "ObjectSource | RefusedFile", keeper: Keeper | None, clips: Clips | None) -> Ledger:
        results = self._settings.results
        place = Place(bucket=results.bucket, prefix=results.prefix, stream_id=lease.stream.stream_id)

        def beside(connection: Connection, at: datetime, revision: int) -> Sequence[Outgoing]:
            read = source.file
            known = replace(file, etag=read.etag, size_bytes=read.size_bytes) if read else file
            found = Findings(media=asdict(source.described) if source.described != Described() else {}, said=source.said)
            return checked.documents(connection, known, found, place=place, now=at, revision=revision)

        return Ledger(
            pool=self._unhurried.pool,
            lease=lease,
            tracks=self._unhurried.tracks,
            results=results,
            alerts=self._settings.alerts if self._settings.check.alerts else Alerts(),
            nudge=self._unhurried.nudge,
            now=now,
            kept=KeptRows(stream_id=lease.stream.stream_id, keeper=keeper) if keeper else None,
            besides=beside,
            decide=self._unhurried.decide,
            act=self._unhurried.act if self._settings.check.alerts else nothing,
            cuts=self._settings.cuts,
            evidence=self._settings.evidence,
            clips=clips,
        )


class Seldom:
    """A session's Recorder that goes on record every few seconds, at the beginning and at the end, with all that there was meanwhile.

    What a process that dies takes with it is heard again, from the checkpoint that came with the last plays on record.
    """

    def __init__(self, *, recorder: Recorder, every_s: float, place: Callable[[float], str], clock: Callable[[], float] = time.monotonic) -> None:
        """`place`: where the source goes on behind a stream time, for the checkpoint."""
        self._recorder, self._every_s, self._place, self._clock = recorder, every_s, place, clock
        self._due_at = clock()
        self._checkpoint: Checkpoint | None = None
        #: What is on record.
        self.written: Checkpoint | None = None
        self._changed: dict[tuple[str, PlayState], Play] = {}

    def commit(self, checkpoint: Checkpoint, changed: Sequence[Play]) -> None:
        self._checkpoint = checkpoint
        self._changed |= {(play.hit_id, play.state): play for play in changed}
        if checkpoint.state == "ended" or self._clock() >= self._due_at:
            self.flush()

    def note(self, checkpoint: Checkpoint) -> float:
        self.commit(checkpoint, ())
        return checkpoint.position_s

    def flush(self) -> None:
        """Raises as `Recorder.commit`; then it is to be called again."""
        if self._checkpoint is None:
            return
        checkpoint = replace(self._checkpoint, source_position=self._place(self._checkpoint.position_s))
        self._recorder.commit(checkpoint, list(self._changed.values()))
        self.written, self._checkpoint, self._changed = checkpoint, None, {}
        self._due_at = self._clock() + self._every_s


@dataclass(frozen=True)
class RefusedFile(RefusedSource):
    """A file that is not even opened."""

    described: Described = field(default_factory=Described)
    said: str = ""
    file: RemoteFile | None = None

    def place(self, _position_s: float) -> str:
        return ""


class _FileMeter:
    """A file's seconds are not a stream's: nothing of them is late, and a file that is cut off is nobody's outage."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def heard(self, *, media_s: float, **_: Any) -> None:
        self._meter.heard_of_file(media_s=media_s)
        self._meter.asked_database(media_s=media_s)

    def missed(self, *, media_s: float, reason: GapReason) -> None:  # noqa: ARG002 -- the document beside the file has it
        self._meter.missed_of_file(media_s=media_s)

    def told(self, play: Play, *, latency_s: float) -> None:
        self._meter.told(play, latency_s=latency_s)

    def music(self, *, media_s: float, identified: bool) -> None: ...
