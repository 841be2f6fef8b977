"""One live stream, start to end: the pipeline, readable top to bottom.

    source.pieces()  ->  decoder.push  ->  hearing.take  ->  hearing.hear  ->  recorder.commit
    (fetch, waits)       (samples)         (peaks)           (plays)           (one transaction)

The session's own thread fetches and waits; what computes runs on the process's compute thread. This module sees
only the ports below; `earmark.service` knows who stands behind them.

**A database that is away is bridged.** While a look-up waits for its answer, or a commit for its transaction, the stream
is fetched and taken in as before, and heard when there are answers again, in order: nothing is lost but time. Seconds beyond
`session.buffer_s` are a gap. Nothing is on record before it was heard: a process that dies meanwhile costs what the
playlist does not list any more, as at any time.
"""

import enum
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import structlog
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from earmark.coverage import Coverage
from earmark.errors import (
    AwsRefused,
    AwsUnavailable,
    EarmarkError,
    LeaseLost,
    SourceUnavailable,
    SourceUnsupported,
    StreamNotFound,
    Transient,
    UnreadableAudio,
)
from earmark.hearing import Hearing, drive
from earmark.model import Answer, AudioChunk, CatalogueSize, Checkpoint, EndReason, GapReason, Piece, Play, PlayState, Question, Segment

T = TypeVar("T")

#: Nothing better will come of this stream, whoever listens.
HOPELESS = (SourceUnsupported, StreamNotFound, UnreadableAudio)
#: Something between us and the stream is wrong: the next run may find it mended.
INTERRUPTED = (SourceUnavailable, AwsUnavailable, AwsRefused)
#: A database that is away this long, a day, ends the run, which the next owner takes up from the checkpoint.
PATIENCE_S = 86_400.0
#: Between two questions to a database that is away, at most, with jitter.
AGAIN_S_MAX = 5.0
#: An answer that takes longer holds the stream up; an ordinary one is there within a tenth of a second or two.
SLOW_S = 1.0
SECOND = timedelta(seconds=1)


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
    def lasting(self) -> bool:
        """What is not asked for now can be had later, and asking for the next piece says that this one is on record."""
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

    def note(self, checkpoint: Checkpoint) -> float:
        """Where the stream is, soon on record; up to where it is by now. For when no play has changed. Raises the same."""
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
    def go_on(self, function: Callable[..., T], *args: Any) -> T:
        """The same, with what is begun already: before what others begin."""
        ...


class Meter(Protocol):
    """What is counted about every session: `telemetry`."""

    def heard(self, *, media_s: float, lag_s: float | None, clock_lag_s: float | None) -> None: ...
    def missed(self, *, media_s: float, reason: GapReason) -> None: ...
    def told(self, play: Play, *, latency_s: float) -> None: ...
    def music(self, *, media_s: float, identified: bool) -> None: ...


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
        buffer_s: float,
        cut_at: datetime | None = None,
        clock: Callable[[], float] = time.monotonic,
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
        self._buffer_s = buffer_s
        self._cut_at = cut_at
        self._clock = clock
        self._coverage = Coverage(checkpoint)
        self._pieces = self._all_pieces()
        #: The source has no more pieces, and why if not because the stream has ended.
        self._over = False
        self._broken: EarmarkError | None = None
        #: Something was taken in and is not heard; and of all that was taken in, where the source goes on, and its clock.
        self._ahead = False
        self._source_position, self._clock_at, self._clock_source = checkpoint.source_position, checkpoint.clock, checkpoint.clock_source
        #: Plays that changed and are not on record: of each the newest revision in each state.
        self._unsaved: dict[tuple[str, PlayState], Play] = {}
        #: Up to here the session is on record; and when it is tried again to write, after that has failed.
        self._saved_s = checkpoint.position_s
        self._save_at = -math.inf
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
            self._save()
            raise
        finally:
            # It holds us and we hold it, and with us a decoder's megabyte, of which Python's collector knows nothing.
            self._pieces.close()

    def _run(self) -> EndReason | None:
        self._save()
        while self._take_next() or self._ahead:
            self._commit(self._hear())
            if self._signals.leaving:
                break
            # By our own clock, by which the next session is named: a stream's own may be hours off.
            if self._cut_at and self._now() >= self._cut_at:
                return self._finish("cut")
        if self._signals.stop is Stop.LOST:
            raise LeaseLost("the lease of this stream passed to another worker: nothing more of it is published here")
        if self._signals.stop is Stop.HANDOVER:
            self._save()
            return None
        if self._broken:
            raise self._broken
        return self._finish(self._source.end_reason)

    def _all_pieces(self) -> Generator[Piece, None, None]:
        """A source that refuses does so when its first piece is asked for, and no earlier."""
        yield from self._source.pieces()

    def _take_next(self) -> bool:
        """One piece of media, from bytes to peaks; False if there are no more, whyever."""
        if self._over:
            return False
        try:
            piece = next(self._pieces, None)
            self._over = piece is None
            if piece is not None:
                self._take(piece)
        except EarmarkError as error:  # what was taken in before is heard first
            self._over, self._broken = True, error
        return not self._over

    def _take(self, piece: Piece) -> None:
        self._hearing.resize(self._catalogue.size())
        heard_s = self._cover(self._compute.run(self._take_in, piece))
        if not isinstance(piece, AudioChunk):
            self._source_position = piece.position or self._source_position
        self._ahead = True
        now, dated = self._now(), self._clock_source == "program_date_time"
        self._meter.heard(
            media_s=heard_s,
            lag_s=(now - piece.fetched_at).total_seconds() if isinstance(piece, Segment) else None,
            clock_lag_s=(now - self._clock_at).total_seconds() if self._clock_at and dated else None,
        )

    def _take_in(self, piece: Piece | None) -> list[AudioChunk]:
        """On the compute thread. None: the end."""
        chunks = self._decoder.flush() if piece is None else self._decoder.push(piece)
        if self._coverage.position_s - self._saved_s > self._buffer_s:
            chunks = [gap for chunk in chunks for gap in _unheard(chunk)]
        for chunk in chunks:
            self._hearing.take(chunk)
        return chunks

    def _cover(self, chunks: Sequence[AudioChunk]) -> float:
        """Account for every media second, and remember the wall clock of the newest; returns the seconds that can be heard."""
        before_s = self._coverage.heard_s
        for chunk in chunks:
            self._coverage.add(chunk)
            if chunk.gap_before_s > 0:
                self._meter.missed(media_s=chunk.gap_before_s, reason=chunk.gap_reason or "skipped")
            if chunk.clock:
                self._clock_at, self._clock_source = chunk.clock + (chunk.end_s - chunk.start_s) * SECOND, chunk.clock_source
            elif self._clock_at:  # a gap at the end of all that is known
                self._clock_at += (chunk.end_s - chunk.start_s + chunk.gap_before_s) * SECOND
        return self._coverage.heard_s - before_s

    def _hear(self) -> list[Play]:
        """All that was taken in, and what is taken in meanwhile; the plays that changed."""
        changed = self._ask(self._hearing.hear())
        self._ahead = False
        return changed

    def _ask(self, questions: Generator[Question, Answer, list[Play]]) -> list[Play]:
        """Compute on the compute thread, wait for the catalogue on this one."""
        return drive(questions, lambda question: self._patiently(self._answer, question), self._compute.go_on)

    def _answer(self, question: Question) -> Answer:
        """A database that is slow is bridged as one that is away: as much as its answer took is taken in."""
        began = self._clock()
        answer = self._catalogue.answer(question)
        held_up_s = self._clock() - began
        upto_s = self._coverage.position_s + held_up_s
        if held_up_s >= SLOW_S and not self._source.lasting:
            while self._coverage.position_s < upto_s and not self._signals.leaving and self._take_next():
                pass
        return answer

    def _patiently(self, call: Callable[..., T], *args: Any) -> T:
        """While the database is away the stream goes on being taken in; unless we are asked to leave."""
        try:
            return call(*args)  # tenacity's machinery costs as much as a small question, and keeps us alive until the collector comes
        except Transient:
            if self._signals.leaving:
                raise
        too_long = stop_after_delay(PATIENCE_S)
        retry = Retrying(
            retry=retry_if_exception_type(Transient),
            wait=wait_random_exponential(multiplier=0.2, max=AGAIN_S_MAX),
            stop=lambda state: self._signals.leaving or too_long(state),
            sleep=self._meanwhile,
            reraise=True,
        )
        return retry(call, *args)

    def _meanwhile(self, seconds: float) -> None:
        """Until it is time to try again. A source that waits for its next piece may take longer than that, and will be woken by a stop."""
        until = self._clock() + seconds
        while (left_s := until - self._clock()) > 0 and not self._signals.leaving:
            if self._source.lasting or not self._take_next():
                self._signals.wait(left_s)

    def _finish(self, reason: EndReason) -> EndReason:
        self._over = True  # what the source has from now on is the next session's
        self._cover(self._compute.run(self._take_in, None))
        changed = self._hear()
        sounding = {play.hit_id for play in self._hearing.plays if play.state != "closed"}
        closed = self._ask(self._hearing.flush())
        if reason == "cut":
            closed = [replace(play, continues=play.hit_id in sounding) for play in closed]
        self._checkpoint = replace(self._checkpoint, state="ended", end_reason=reason)
        self._save(changed + closed)
        self._log.info("session.ended", reason=reason, heard_s=round(self._coverage.heard_s, 3), gap_s=round(self._checkpoint.gap_s, 3))
        return reason

    def _take_sounds(self, changed: Sequence[Play]) -> None:
        """What sounded like music or speech lately; music is counted by whether a play is known there by now."""
        plays = [*self._hearing.plays, *changed]
        for stretch in self._hearing.take_music():
            self._coverage.add_music(stretch)
            middle_s = (stretch.begin_s + stretch.end_s) / 2
            identified = any(play.begin_s <= middle_s < play.end_s for play in plays)
            self._meter.music(media_s=stretch.end_s - stretch.begin_s, identified=identified)
        for stretch in self._hearing.take_speech():
            self._coverage.add_speech(stretch)

    def _commit(self, changed: Sequence[Play]) -> None:
        """Put what was heard on record; if the database is away, with the next piece, or the one after."""
        if self._source.lasting:
            self._save(changed)
            return
        self._note(changed)
        if self._clock() < self._save_at:
            return
        try:
            if self._unsaved:
                self._write()
            elif self._signals.stop is not Stop.LOST:
                self._saved_s, self._save_at = max(self._saved_s, self._recorder.note(self._checkpoint)), -math.inf
        except Transient as error:
            if self._save_at == -math.inf:
                self._log.warning("session.not_on_record", reason=str(error))
            self._save_at = self._clock() + AGAIN_S_MAX

    def _save(self, changed: Sequence[Play] = ()) -> None:
        """As `_commit`, and not without."""
        self._note(changed)
        self._patiently(self._write)

    def _note(self, changed: Sequence[Play]) -> None:
        self._take_sounds(changed)
        self._unsaved |= {(play.hit_id, play.state): play for play in changed}
        self._checkpoint = replace(
            self._coverage.onto(self._checkpoint),
            plays=self._hearing.plays,
            source_position=self._source_position,
            clock=self._clock_at,
            clock_source=self._clock_source,
            fetched_bytes=self._source.fetched_bytes,
            rendition=self._source.rendition,
        )

    def _write(self) -> None:
        if self._signals.stop is Stop.LOST:
            return
        told = list(self._unsaved.values())
        self._recorder.commit(self._checkpoint, told)
        self._unsaved, self._saved_s, self._save_at = {}, self._checkpoint.position_s, -math.inf
        for play in told:
            self._meter.told(play, latency_s=self._coverage.position_s - play.begin_s)
            self._log.info("play.told", hit_id=play.hit_id, track_id=play.track_id, state=play.state, revision=play.revision)


def _unheard(chunk: AudioChunk) -> Iterator[AudioChunk]:
    """Samples that there is no room for are a gap, behind the one that was there before them."""
    none = chunk.samples[:0]
    if chunk.gap_before_s > 0:
        yield replace(chunk, samples=none)
    if len(chunk.samples):
        yield replace(chunk, samples=none, start_s=chunk.end_s, gap_before_s=chunk.end_s - chunk.start_s, gap_reason="database_away")
