"""One live stream, start to end: the pipeline, readable top to bottom.

    source.pieces()  ->  decoder.push  ->  hearing.push  ->  recorder.commit
    (fetch, waits)       (samples)         (plays)           (one transaction)

The session's own thread fetches and waits; what computes runs on the process's compute thread. This module sees
only the ports below; `earmark.service` knows who stands behind them.
"""

import enum
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import structlog
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from earmark.errors import (
    AwsRefused,
    AwsUnavailable,
    LeaseLost,
    SourceUnavailable,
    SourceUnsupported,
    StreamNotFound,
    Transient,
    UnreadableAudio,
)
from earmark.hearing import Hearing, drive
from earmark.model import Answer, AudioChunk, CatalogueSize, Checkpoint, EndReason, Gap, GapReason, Music, Piece, Play, Question, Segment, Stretch

T = TypeVar("T")

#: Nothing better will come of this stream, whoever listens.
HOPELESS = (SourceUnsupported, StreamNotFound, UnreadableAudio)
#: Something between us and the stream is wrong: the next run may find it mended.
INTERRUPTED = (SourceUnavailable, AwsUnavailable, AwsRefused)
#: A database that is away this long ends the session, which its next owner takes up from the checkpoint.
PATIENCE_S = 60.0
SECOND = timedelta(seconds=1)
#: Stretches of music nearer than this are one: the last six seconds before a hand-over are never judged.
MUSIC_APART_S = 7.0
#: So many are kept, because the checkpoint is written every few seconds.
MUSIC_STRETCHES_MAX = 500


class Stop(enum.Enum):
    """Why a running session is asked to stop."""

    END = "end"  # the stream ended: read what is still there, then finish
    HANDOVER = "handover"  # this worker is going: commit, leave the rest to the next owner
    LOST = "lost"  # another worker owns the stream: publish nothing more


class Signals:
    """How a session is told to stop; every wait of it and of its source goes through here, and can be woken."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._stop: Stop | None = None
        self._nudged = False

    @property
    def stop(self) -> Stop | None:
        return self._stop

    @property
    def leaving(self) -> bool:
        """Nothing more is to be fetched."""
        return self._stop in (Stop.HANDOVER, Stop.LOST)

    def request(self, stop: Stop) -> None:
        """Ask to stop; a hand-over is not taken back by a later END, nor LOST by anything."""
        order = (None, Stop.END, Stop.HANDOVER, Stop.LOST)
        with self._condition:
            if order.index(stop) > order.index(self._stop):
                # Whoever is just about to wait has not seen it, and is woken too.
                self._stop, self._nudged = stop, True
            self._condition.notify_all()

    def nudge(self) -> None:
        """Wake a waiting session: there may be something new (a segment in the inbox)."""
        with self._condition:
            self._nudged = True
            self._condition.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Sleep, at most so long; True if woken early (a stop was asked for, or a nudge came)."""
        with self._condition:
            woken = self._condition.wait_for(lambda: self._nudged or self.leaving, timeout_s)
            self._nudged = False
            return woken


class Source(Protocol):
    """Where encoded media comes from: `audio.hls`, `audio.archive`, `audio.file`."""

    def pieces(self) -> Iterator[Piece]:
        """Yields as media arrives; waits in between, waking for `Signals`. Ends when the stream has ended.

        Raises SourceUnavailable (Transient) when it gives up for now, SourceUnsupported or StreamNotFound for good.
        """
        ...

    @property
    def end_reason(self) -> EndReason:
        """Why `pieces` ended."""
        ...

    @property
    def rendition(self) -> str:
        """What was chosen among the renditions, for people."""
        ...

    @property
    def fetched_bytes(self) -> int: ...


class Decoder(Protocol):
    """Encoded pieces to samples with a place in stream time: `audio.decode`."""

    def push(self, piece: Piece) -> list[AudioChunk]:
        """Samples of the piece; what cannot be decoded becomes a gap. Raises SourceUnsupported if there is no audio at all."""
        ...

    def flush(self) -> list[AudioChunk]: ...


class Recorder(Protocol):
    """What is decided becomes durable, or the session dies: `hits.outbox`."""

    def commit(self, checkpoint: Checkpoint, changed: Sequence[Play]) -> None:
        """Plays, checkpoint, coverage and outbox rows in one transaction.

        Raises LeaseLost when the fencing token is not ours any more, DatabaseUnavailable when it cannot be written.
        """
        ...


class Catalogue(Protocol):
    """The recordings that are listened for: `index`."""

    def answer(self, question: Question) -> Answer:
        """Raises DatabaseUnavailable (Transient) when there is no answer for now."""
        ...

    def size(self) -> CatalogueSize:
        """As last known; at once."""
        ...


class Compute(Protocol):
    """Where decoding, fingerprinting and matching happen: `compute`."""

    def run(self, function: Callable[..., T], *args: Any) -> T: ...


class Meter(Protocol):
    """What is counted about every session: `telemetry`."""

    def heard(self, *, media_s: float, lag_s: float | None, clock_lag_s: float | None) -> None: ...
    def missed(self, *, media_s: float, reason: GapReason) -> None: ...
    def told(self, play: Play, *, latency_s: float) -> None: ...
    def music(self, *, media_s: float, identified: bool) -> None: ...


class Coverage:
    """Every media second of the session, as heard or as a gap with a reason; the sum is the position.

    Neighbouring gaps of one reason are one gap, so that an origin that is down for an hour is one line. Where it
    sounded like music is kept as well, and bounded: of too many stretches the shortest goes, but never the newest.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.position_s = checkpoint.position_s
        self.heard_s = checkpoint.heard_s
        self.gaps = list(checkpoint.gaps)
        self._music = list(checkpoint.music.stretches)
        self._music_s = checkpoint.music.heard_s
        self._music_dropped = checkpoint.music.dropped

    @property
    def music(self) -> Music:
        return Music(stretches=tuple(self._music), heard_s=round(self._music_s, 3), dropped=self._music_dropped)

    def add(self, chunk: AudioChunk) -> None:
        if chunk.gap_before_s > 0:
            begin_s, end_s = self.position_s, self.position_s + chunk.gap_before_s
            reason = chunk.gap_reason or "skipped"
            if self.gaps and self.gaps[-1].reason == reason and abs(self.gaps[-1].end_s - begin_s) < 1e-6:
                begin_s = self.gaps.pop().begin_s
            self.gaps.append(Gap(begin_s=begin_s, end_s=end_s, reason=reason))
            self.position_s = end_s
        self.heard_s += chunk.end_s - chunk.start_s
        self.position_s += chunk.end_s - chunk.start_s

    def add_music(self, stretch: Stretch) -> None:
        self._music_s += stretch.end_s - stretch.begin_s
        begin_s = stretch.begin_s
        if self._music and begin_s - self._music[-1].end_s < MUSIC_APART_S:
            begin_s = self._music.pop().begin_s
        self._music.append(Stretch(begin_s=round(begin_s, 3), end_s=round(stretch.end_s, 3)))
        if len(self._music) > MUSIC_STRETCHES_MAX:
            self._music.remove(min(self._music[:-1], key=lambda kept: kept.end_s - kept.begin_s))
            self._music_dropped += 1


class Session:
    """Listens to one stream under one lease. `run` returns why the stream ended, or None when it is handed over.

    Raises LeaseLost when another worker owns the stream. One of `HOPELESS` ends the stream, and its record says so; any
    other error ends this run, and the supervisor decides about the next.
    """

    def __init__(
        self,
        *,
        checkpoint: Checkpoint,
        source: Source,
        decoder: Decoder,
        hearing: Hearing,
        catalogue: Catalogue,
        recorder: Recorder,
        compute: Compute,
        signals: Signals,
        meter: Meter,
        now: Callable[[], datetime],
        cut_at: datetime | None = None,
    ) -> None:
        self._checkpoint = replace(checkpoint, state="listening", end_reason=None, last_error="")
        self._source = source
        self._decoder = decoder
        self._hearing = hearing
        self._catalogue = catalogue
        self._recorder = recorder
        self._compute = compute
        self._signals = signals
        self._meter = meter
        self._now = now
        self._cut_at = cut_at
        self._coverage = Coverage(checkpoint)
        self._log = structlog.get_logger()

    def run(self) -> EndReason | None:
        try:
            return self._run()
        except HOPELESS as error:  # its record must not go on saying "listening"
            self._checkpoint = replace(self._checkpoint, last_error=str(error))
            self._finish("not_live" if isinstance(error, StreamNotFound) else "failed")
            raise
        except INTERRUPTED as error:  # for people; and for the next owner, who has to say why nothing was heard meanwhile
            self._checkpoint = replace(self._checkpoint, last_error=str(error))
            self._commit([])
            raise

    def _run(self) -> EndReason | None:
        self._commit([])
        for piece in self._source.pieces():
            self._commit(self._hear(piece))
            if self._signals.leaving:
                break
            # By our own clock, by which the next session is named: a stream's own may be hours off.
            if self._cut_at and self._now() >= self._cut_at:
                return self._finish("cut")
        if self._signals.stop is Stop.LOST:
            raise LeaseLost("the lease of this stream passed to another worker: nothing more of it is published here")
        if self._signals.stop is Stop.HANDOVER:
            self._commit([])
            return None
        return self._finish(self._source.end_reason)

    def _hear(self, piece: Piece) -> list[Play]:
        """One piece of media, from bytes to what changed on record."""
        self._hearing.resize(self._catalogue.size())
        changed = self._follow(self._compute.run(self._decoder.push, piece))
        position = "" if isinstance(piece, AudioChunk) else piece.position
        self._checkpoint = replace(self._checkpoint, source_position=position or self._checkpoint.source_position)
        now, at = self._now(), self._checkpoint
        self._meter.heard(
            media_s=self._coverage.heard_s - at.heard_s,
            lag_s=(now - piece.fetched_at).total_seconds() if isinstance(piece, Segment) else None,
            clock_lag_s=(now - at.clock).total_seconds() if at.clock and at.clock_source == "program_date_time" else None,
        )
        return changed

    def _follow(self, chunks: Sequence[AudioChunk]) -> list[Play]:
        changed: list[Play] = []
        for chunk in chunks:
            self._coverage.add(chunk)
            if chunk.gap_before_s > 0:
                self._meter.missed(media_s=chunk.gap_before_s, reason=chunk.gap_reason or "skipped")
            if chunk.clock:
                self._place(chunk)
            changed += self._ask(self._hearing.push(chunk))
        return changed

    def _place(self, chunk: AudioChunk) -> None:
        """Remember the wall clock of the newest sample: what is on record is dated by it."""
        if chunk.clock:
            end = chunk.clock + (chunk.end_s - chunk.start_s) * SECOND
            self._checkpoint = replace(self._checkpoint, clock=end, clock_source=chunk.clock_source)

    def _ask(self, questions: Generator[Question, Answer, list[Play]]) -> list[Play]:
        """Compute on the compute thread, wait for the catalogue on this one."""
        return drive(questions, self._answer, self._compute.run)

    def _answer(self, question: Question) -> Answer:
        return self._patiently(self._catalogue.answer, question)

    def _patiently(self, call: Callable[..., T], *args: Any) -> T:
        """A database that is away is waited for, unless we are asked to leave, for no longer than PATIENCE_S."""
        too_long = stop_after_delay(PATIENCE_S)
        retry = Retrying(
            retry=retry_if_exception_type(Transient),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            stop=lambda state: self._signals.leaving or too_long(state),
            sleep=self._pause,
            reraise=True,
        )
        return retry(call, *args)

    def _pause(self, seconds: float) -> None:
        self._signals.wait(seconds)

    def _finish(self, reason: EndReason) -> EndReason:
        changed = self._follow(self._compute.run(self._decoder.flush))
        sounding = {play.hit_id for play in self._hearing.plays if play.state != "closed"}
        closed = self._ask(self._hearing.flush())
        if reason == "cut":
            closed = [replace(play, continues=play.hit_id in sounding) for play in closed]
        self._checkpoint = replace(self._checkpoint, state="ended", end_reason=reason)
        self._commit(changed + closed)
        self._log.info("session.ended", reason=reason, heard_s=round(self._coverage.heard_s, 3), gap_s=round(self._checkpoint.gap_s, 3))
        return reason

    def _take_music(self, changed: Sequence[Play]) -> None:
        """What sounded like music lately; it is counted by whether a play is known there by now."""
        plays = [*self._hearing.plays, *changed]
        for stretch in self._hearing.take_music():
            self._coverage.add_music(stretch)
            middle_s = (stretch.begin_s + stretch.end_s) / 2
            identified = any(play.begin_s <= middle_s < play.end_s for play in plays)
            self._meter.music(media_s=stretch.end_s - stretch.begin_s, identified=identified)

    def _commit(self, changed: Sequence[Play]) -> None:
        self._take_music(changed)
        self._checkpoint = replace(
            self._checkpoint,
            position_s=self._coverage.position_s,
            heard_s=self._coverage.heard_s,
            gaps=tuple(self._coverage.gaps),
            music=self._coverage.music,
            plays=self._hearing.plays,
            fetched_bytes=self._source.fetched_bytes,
            rendition=self._source.rendition,
        )
        if self._signals.stop is Stop.LOST:
            return
        self._patiently(self._recorder.commit, self._checkpoint, changed)
        for play in changed:
            self._meter.told(play, latency_s=self._coverage.position_s - play.begin_s)
            self._log.info("play.told", hit_id=play.hit_id, track_id=play.track_id, state=play.state, revision=play.revision)
