"""A recording in S3 as encoded pieces: from its first segment to its last, as they land or long after.

Nobody views anything, so IVS bills nothing; and what has landed stays, so that a worker that comes late or is replaced
misses nothing. The price is the length of a segment, some ten seconds, before it is there at all.

The next segment is asked for by its name, a little before it can be there at the earliest, as the others came, and then every
tenth of a segment: two or three requests each, at a hundredth of what a view costs. One that is missing while later ones are
there is waited for, and then given up.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from earmark.audio.asking_again import patiently
from earmark.audio.hls import Signals
from earmark.audio.recording import About, Naming, Recording, Stored, clocks, described
from earmark.audio.segments import container_of
from earmark.errors import AwsRefused, SourceUnsupported, Transient
from earmark.model import EndReason, GapReason, Missing, Piece, Segment
from earmark.settings import AutoRecord

T = TypeVar("T")

#: Before anything has landed the folder is looked at this often; a listing costs as much as twelve segments.
LOOK_S = 5.0
#: What segments are taken to last before two have landed.
SEGMENT_S = 4.0
#: Between two tries of one segment: a tenth of what it lasts, within these; and when nothing has come for long.
STEP_S_MIN, STEP_S_MAX, SILENT_STEP_S = 0.25, 1.0, 5.0
#: So many of the last times between two segments are remembered: the shortest one says when the next can be there.
REMEMBERED = 8
#: S3 that does not answer is asked again for so long.
PATIENCE_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """The last segment of which something was heard, or that was given up; travels in the checkpoint as JSON."""

    rendition: str
    number: int

    def to_json(self) -> str:
        return json.dumps({"rendition": self.rendition, "number": self.number})

    @staticmethod
    def from_json(text: str) -> "Position | None":
        try:
            said = json.loads(text) if text else {}
            return Position(rendition=str(said["rendition"]), number=int(said["number"]))
        except (ValueError, TypeError, KeyError):
            return None


class LandingSource:
    """Implements `session.Source`.

    Args:
        finished: the recording has ended: nothing is waited for, and nobody is asked whether the stream is on.
        has_ended: whether its end was told; asked for when nothing has come, before its documents are.
        still_live: whether IVS says that the stream is on; asked when nothing has landed for `silent_s`.
        silent_s: `session.silent_origin_s`.
    """

    def __init__(
        self,
        *,
        recording: Recording,
        signals: Signals,
        settings: AutoRecord,
        audio_kbps_min: float,
        finished: bool = False,
        has_ended: Callable[[], bool] = lambda: False,
        still_live: Callable[[], bool] | None = None,
        silent_s: float = 60.0,
        resume: str = "",
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._recording = recording
        self._signals = signals
        self._settings = settings
        self._audio_kbps_min = audio_kbps_min
        self._finished = finished
        self._has_ended = has_ended
        self._still_live = still_live
        self._silent_s = silent_s
        self._clock = clock
        self._now = now
        self._log = structlog.get_logger()
        self._resume = Position.from_json(resume)

        self.lasting = True
        self.end_reason: EndReason = "failed"
        self.rendition = ""
        self.fetched_bytes = 0

        self._rendition = self._resume.rendition if self._resume else ""
        self._naming: Naming | None = None
        self._header = b""
        self._next = 0
        self._clocks: dict[int, datetime] = {}
        #: Between finding one segment and the next, where both were waited for; and when the last such one was found.
        self._apart_s: deque[float] = deque(maxlen=REMEMBERED)
        self._found_at: float | None = None
        self._look_at = float("-inf")
        self._news_at = 0.0
        self._missing_since: float | None = None
        self._stop_at: float | None = None

    def pieces(self) -> Iterator[Piece]:
        """Raises AwsRefused (denied), AwsUnavailable (S3 has not answered for a minute), SourceUnsupported (nothing to hear in it)."""
        self._news_at = self._clock()
        while not self._signals.leaving:
            if self._signals.stop is not None and self._stop_at is None:
                self._stop_at = self._clock()
            if self._clock() >= self._look_at:
                piece = self._patiently(self._look)
                if piece is not None:
                    yield piece
                    del piece  # not to be held while we wait for the next
                    continue
                if self._is_over():
                    return
            self._wait()

    # -------------------------------------------------------------------------------------------- one look

    def _look(self) -> Piece | None:
        """The next segment, or that it is given up; None: neither yet."""
        began = self._clock()
        if self._naming is None and not self._open():
            self._look_at = began + LOOK_S
            return None
        assert self._naming is not None
        number = self._next
        try:
            stored = self._recording.get(self._naming.key(number))
        except SourceUnsupported as error:
            return self._given_up(number, "segment_refused", str(error))
        if stored is not None:
            self._look_at = self._next_look(began, stored, waited=self._missing_since is not None)
            return self._segment(number, stored)
        silent = began - self._news_at > 3 * self._segment_s
        self._look_at = began + (min(SILENT_STEP_S, self._segment_s) if silent else self._step_s)
        self._missing_since = began if self._missing_since is None else self._missing_since
        if self._finished or began - self._missing_since >= self._settings.gap_wait_s:
            later = self._recording.numbers(self._naming, after=number)
            if later:
                return self._given_up(later[0] - 1, "segment_missing", f"{later[0] - number} are missing, and later ones are there")
            self._missing_since = began
        return None

    def _open(self) -> bool:
        """Choose what to hear, and find out how its segments are called; False: there is nothing yet."""
        said = About() if self._rendition else self._recording.about()
        rendition = self._rendition or self._recording.rendition(said, audio_kbps_min=self._audio_kbps_min)
        naming = self._recording.naming(rendition) if rendition else None
        if rendition is None or naming is None:
            return False
        if naming.header:
            header = self._recording.get(naming.folder + naming.header)
            self._header = header.data if header else b""
        numbers = self._recording.numbers(naming) if not self._resume else []
        self._next = self._resume.number + 1 if self._resume else numbers[0] if numbers else 0
        self._clocks = clocks(self._recording.playlist(rendition), naming)
        if said.started_at and not self._clocks and not self._resume:
            self._clocks = {self._next: said.started_at}
        self._naming, self._rendition, self.rendition = naming, rendition, described(rendition)
        self._log.info("rendition.chosen", rendition=rendition, place=self._recording.place, segments=len(numbers))
        return True

    def _segment(self, number: int, stored: Stored) -> Segment:
        self._missing_since, self._news_at, self._next = None, self._clock(), number + 1
        self.fetched_bytes += len(stored.data)
        return Segment(
            data=stored.data,
            container=container_of(stored.data, fragmented=bool(self._header)),
            init=self._header,
            duration_s=0.0,
            clock=self._clocks.get(number),
            position=Position(rendition=self._rendition, number=number).to_json(),
            fetched_at=self._now(),
        )

    def _given_up(self, last: int, reason: GapReason, why: str) -> Missing:
        self._log.warning("recording.segment_missed", reason=reason, place=self._recording.place, last=last, why=why)
        self._missing_since, self._next, self._look_at = None, last + 1, self._clock()
        # How long it was only the next one's time stamps will tell.
        position = Position(rendition=self._rendition, number=last).to_json()
        return Missing(duration_s=0.0, reason=reason, position=position)

    def _next_look(self, began: float, stored: Stored, *, waited: bool) -> float:
        """`waited`: it was asked for before, in vain; else it may have been there for a while."""
        before, self._found_at = self._found_at, began if waited else None
        behind_s = (self._now() - stored.landed_at).total_seconds()
        if self._finished or behind_s > self._segment_s + STEP_S_MAX:  # the one behind it has landed as well
            return began
        if before is not None and waited:
            self._apart_s.append(began - before)
        early_s = self._step_s if waited else 2 * self._step_s
        return began + max(self._step_s, min(self._apart_s, default=0.0) - early_s)

    @property
    def _segment_s(self) -> float:
        return min(self._apart_s, default=SEGMENT_S)

    @property
    def _step_s(self) -> float:
        return min(max(self._segment_s / 10, STEP_S_MIN), STEP_S_MAX)

    # -------------------------------------------------------------------------------------------- when it ends

    def _is_over(self) -> bool:
        """Nothing has come: is that all?"""
        if self._finished:
            if self._naming is None:
                raise SourceUnsupported(f"the recording {self._recording.place} holds no segment that can be heard")
            return self._ends("stream_end" if self._stop_at is not None else "endlist")
        if self._told_so():
            self._finished, self._look_at = True, self._clock()
            return False
        if self._stop_at is not None and self._clock() - max(self._stop_at, self._news_at) >= self._settings.end_grace_s:
            return self._ends("stream_end")
        if self._stop_at is not None or self._clock() - self._news_at < self._silent_s:
            return False
        if self._still_live is None:
            return self._ends("silent_origin")
        try:
            live = self._still_live()
        except (Transient, AwsRefused) as error:
            self._log.warning("stream.state_unknown", why=str(error))
            live = True
        self._news_at = self._clock()
        return False if live else self._ends("not_live")

    def _told_so(self) -> bool:
        """Nothing more will land, somebody says; what has landed since we looked is still to be had."""
        if self._clock() - self._news_at < 2 * self._segment_s:
            return False
        return self._has_ended() or bool(self._patiently(self._recording.is_over))

    def _ends(self, reason: EndReason) -> bool:
        self.end_reason = reason
        return True

    def _wait(self) -> None:
        wait_s = self._look_at - self._clock()
        if self._stop_at is not None:
            wait_s = min(wait_s, max(self._stop_at, self._news_at) + self._settings.end_grace_s - self._clock())
        self._signals.wait(max(wait_s, 0.01))

    def _patiently(self, call: Callable[[], T]) -> T | None:
        return patiently(call, signals=self._signals, patience_s=PATIENCE_S, clock=self._clock)
