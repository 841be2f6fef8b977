"""One live stream, start to end: the pipeline, readable top to bottom.

    source.pieces()  ->  decoder.push  ->  hearing.push  ->  recorder.commit
    (fetch, waits)       (samples)         (plays)           (one transaction)

The session's own thread fetches and waits; what computes runs on the process's compute thread. This module sees
only the ports below; `earmark.service` knows who stands behind them.
"""

import enum
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from earmark.model import AudioChunk, Checkpoint, EndReason, Piece, Play


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
                self._stop = stop
            self._condition.notify_all()

    def nudge(self) -> None:
        """Wake a waiting session: there may be something new (a segment in the inbox)."""
        with self._condition:
            self._nudged = True
            self._condition.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Sleep, at most so long; True if woken early (a stop was asked for, or a nudge came)."""
        with self._condition:
            before = self._stop
            woken = self._condition.wait_for(lambda: self._nudged or self._stop is not before or self.leaving, timeout_s)
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
