"""What a session's clips are cut from: the last seconds of its sound, as it was heard, and which of them prove which play.

    samples ─▶ Excerpts ─▶ front end ─▶ peaks ─▶ hearing
                  ▲                                 │ plays that were told, and up to where all is heard
                  └─────────────────────────────────┘
    a play's seconds are all there, or it is over ─▶ cut ─▶ encoded, as it goes on record ─▶ hits.ledger

A clip begins some seconds before its play and is as long as the settings say, or ends with what was heard. A play that was
proved late, by a window beyond that, has the seconds up to the end of this window. One that was taken over from another
worker, or began before there was anything to cut, has what there is, and says from where to where.

Samples are kept as 16-bit numbers, 16 kB a second; a place is cut at a frame of the run that it lies in, so that the clip gives
the peaks that the stream gave. Nothing that is cut depends on how the stream came in chunks. A session without clips has none of
this in its way.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import structlog

from earmark.audio.encode import Encoding, content_type_of, encode_samples
from earmark.errors import EarmarkError
from earmark.hearing import FrontEnd, Told
from earmark.hits.proof.clips import Clip
from earmark.model import HOP_SAMPLES, RATE_HZ, Float32, Lease, Peaks, Play
from earmark.reserved import is_canary
from earmark.settings import Evidence, Settings

Int16 = npt.NDArray[np.int16]
Keep = Callable[[float, FrontEnd], FrontEnd]

#: Behind what is heard, beside a clip's length: a window that proves a play at its end has 12 s, and is told of a little later.
_BEHIND_S: Final = 15.0
#: Ahead of what is heard: a long piece of media; while the database is away more is taken in, and the clips of that time are shorter.
_AHEAD_S: Final = 60.0
#: With less of the stream in it a clip is none.
_LEAST_S: Final = 1.0
#: That wait to go on record, of half a megabyte each.
_CUTS_MAX: Final = 32
#: Mono at 8 kHz, in opus.
_KBPS: Final = 24


class Meter(Protocol):
    """What is counted of clips: `telemetry`."""

    def clipped(self, *, kept: int = 0, left_out: int = 0) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Samples of a run that begins at some second of the stream; `first`: their place in it."""

    run_s: float
    first: int
    samples: Int16

    @property
    def begin_s(self) -> float:
        return self.run_s + self.first / RATE_HZ

    @property
    def end_s(self) -> float:
        return self.run_s + (self.first + len(self.samples)) / RATE_HZ


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    hit_id: str
    begin_s: float
    gap_s: float
    samples: Int16


@dataclass(slots=True, eq=False)
class _Wanted:
    """A play whose clip is not cut."""

    play: Play
    #: Stream time up to which the window reaches that proved it first.
    proved_s: float


class Excerpts:
    """Of one session: its front ends go through `run`, its plays through `told`, its clips to its ledger (`hits.proof.clips.Clips`).

    Args:
        settings: what a clip is.
        keep, told: what else the front ends and the plays are handed to.
        plays: told by the stream's previous owner and still open.
        earlier_s: hits tell of seconds that are this session's without so many.
        leaving: whether the session is about to be handed over: a clip is then cut from what there is.
        meter: of the worker.
    """

    def __init__(
        self,
        *,
        settings: Evidence,
        keep: Keep | None = None,
        told: Told | None = None,
        plays: Sequence[Play] = (),
        earlier_s: float = 0.0,
        leaving: Callable[[], bool] = lambda: False,
        meter: Meter,
    ) -> None:
        self._settings, self._keep, self._told, self._earlier_s = settings, keep, told, earlier_s
        self._leaving, self._meter = leaving, meter
        self._pieces: deque[_Piece] = deque()
        self._samples_n = 0
        #: Nothing before is cut; and up to here all is heard.
        self._from_s, self._heard_s = -math.inf, -math.inf
        self._wanted = {play.hit_id: _Wanted(play, -math.inf) for play in plays}
        self._done: set[str] = set()
        self._cuts: list[_Cut] = []
        self._ready: list[Clip] = []
        self._log = structlog.get_logger()

    # -------------------------------------------------------------------------------------------- of the hearing

    def run(self, start_s: float, window: FrontEnd) -> FrontEnd:
        """`Hearing`'s `keep`."""
        return _Taped(self._take, start_s, self._keep(start_s, window) if self._keep else window)

    def told(self, changed: Sequence[Play], *, heard_s: float) -> None:
        """`Hearing`'s."""
        if self._told:
            self._told(changed, heard_s=heard_s)
        for play in changed:
            self._want(play)
        if math.isfinite(heard_s):
            self._heard_s = heard_s
        for hit_id, wanted in list(self._wanted.items()):
            if wanted.play.state == "closed" or self._heard_s >= self._span(wanted)[1]:
                self._cut(hit_id, wanted)
        self._forget()

    def _want(self, play: Play) -> None:
        known = self._wanted.get(play.hit_id)
        if known:
            known.play = play
        elif play.hit_id not in self._done:
            self._wanted[play.hit_id] = _Wanted(play, play.explanation.end_s if play.explanation else -math.inf)
        if play.state == "closed":
            self._done.discard(play.hit_id)

    def _span(self, wanted: _Wanted) -> tuple[float, float]:
        """From where to where the clip of a play is to be, as far as is known."""
        longest_s = self._settings.clip_s_max
        begin_s = max(wanted.play.begin_s - self._settings.clip_before_s, wanted.proved_s - longest_s, self._first_s)
        return begin_s, begin_s + longest_s

    @property
    def _first_s(self) -> float:
        return max(self._from_s, self._pieces[0].begin_s if self._pieces else -math.inf)

    # -------------------------------------------------------------------------------------------- the samples

    def _take(self, run_s: float, first: int, samples: Float32) -> None:
        if not len(samples):
            return
        with np.errstate(invalid="ignore"):
            whole = np.rint(np.clip(np.nan_to_num(samples), -1.0, 1.0) * 32_767).astype(np.int16)
        self._pieces.append(_Piece(run_s, first, whole))
        self._samples_n += len(whole)
        longest = round((self._settings.clip_s_max + _BEHIND_S + _AHEAD_S) * RATE_HZ)
        while self._samples_n > longest and len(self._pieces) > 1:
            self._drop()

    def _forget(self) -> None:
        """What no clip will need. By what is heard, and not by pieces, so that all cuts are as if the stream had come at once."""
        self._from_s = max(self._from_s, self._heard_s - self._settings.clip_s_max - _BEHIND_S)
        while self._pieces and self._pieces[0].end_s <= self._from_s:
            self._drop()

    def _drop(self) -> None:
        self._samples_n -= len(self._pieces.popleft().samples)

    def _cut(self, hit_id: str, wanted: _Wanted) -> None:
        begin_s, end_s = self._span(wanted)
        del self._wanted[hit_id]
        if wanted.play.state != "closed":
            self._done.add(hit_id)
        cut = self._samples(hit_id, begin_s, min(end_s, self._heard_s))
        if cut is None:
            return
        if len(self._cuts) < _CUTS_MAX:
            self._cuts.append(cut)
        else:
            self._left_out(hit_id, f"{_CUTS_MAX} others wait to go on record")

    def _samples(self, hit_id: str, begin_s: float, end_s: float) -> _Cut | None:
        """What of these seconds was heard, the gaps between silent; None if that is next to nothing."""
        inside = [piece for piece in self._pieces if piece.end_s > begin_s and piece.begin_s < end_s]
        if not inside:
            return None
        begin_s = max(begin_s, inside[0].begin_s)
        # At a frame of its run: a little earlier, or later where there is nothing earlier.
        hop_s, run_s = HOP_SAMPLES / RATE_HZ, inside[0].run_s
        frame = math.floor((begin_s - run_s) / hop_s + 1e-6)
        begin_s = run_s + hop_s * (frame if run_s + hop_s * frame > self._first_s - 1e-6 else frame + 1)
        samples = np.zeros(max(0, round((end_s - begin_s) * RATE_HZ)), np.int16)
        heard = 0
        for piece in self._pieces:
            at = round((piece.begin_s - begin_s) * RATE_HZ)
            part = piece.samples[max(0, -at) : max(0, len(samples) - at)]
            samples[max(0, at) : max(0, at) + len(part)] = part
            heard += len(part)
        if heard < _LEAST_S * RATE_HZ:
            return None
        return _Cut(hit_id, begin_s, (len(samples) - heard) / RATE_HZ, samples)

    # -------------------------------------------------------------------------------------------- on their way to the record

    @property
    def due(self) -> bool:
        """`hits.proof.clips.Clips`'."""
        return bool(self._cuts or self._ready)

    def ready(self) -> Sequence[Clip]:
        """`hits.proof.clips.Clips`'; encoded on the thread that calls, some 10 ms each."""
        if self._leaving():
            for hit_id, wanted in list(self._wanted.items()):
                self._cut(hit_id, wanted)
        cuts, self._cuts = self._cuts, []
        for cut in cuts:
            try:
                self._ready.append(self._encoded(cut))
            except EarmarkError as error:
                self._left_out(cut.hit_id, str(error))
        return self._ready

    def settled(self, kept: Sequence[Clip], *, left_out: Sequence[Clip]) -> None:
        """`hits.proof.clips.Clips`'."""
        self._ready = []
        if kept:
            self._meter.clipped(kept=len(kept))
        for clip in left_out:
            self._left_out(clip.hit_id, "so many wait for S3 already (evidence.waiting_bytes_max)")

    def _encoded(self, cut: _Cut) -> Clip:
        codec = self._settings.clip_codec
        begin_s = cut.begin_s - self._earlier_s
        return Clip(
            hit_id=cut.hit_id,
            begin_s=begin_s,
            end_s=begin_s + len(cut.samples) / RATE_HZ,
            gap_s=cut.gap_s,
            codec=codec,
            content_type=content_type_of(codec),
            content=encode_samples(cut.samples, rate_hz=RATE_HZ, how=Encoding(codec=codec, kbps=_KBPS, channels_max=1, tags={"title": cut.hit_id})),
        )

    def _left_out(self, hit_id: str, reason: str) -> None:
        self._meter.clipped(left_out=1)
        self._log.warning("evidence.clip_left_out", hit_id=hit_id, reason=reason)


def excerpts(settings: Settings, lease: Lease, *, meter: Meter, **more: Any) -> Excerpts | None:
    """Of the session of a lease, with more as `Excerpts` takes it; None if there are no clips to be made."""
    if not settings.evidence.clip or not settings.results.bucket or is_canary(lease.stream.stream_id):
        return None
    return Excerpts(settings=settings.evidence, plays=lease.checkpoint.plays, meter=meter, **more)


class _Taped:
    """A front end of one run, whose samples are kept for a while."""

    def __init__(self, take: Callable[[float, int, Float32], None], start_s: float, window: FrontEnd) -> None:
        self._take, self._start_s, self._window = take, start_s, window
        self._samples_n = 0

    @property
    def final_frame(self) -> float:
        return self._window.final_frame

    def push(self, samples: Float32) -> Peaks:
        self._take(self._start_s, self._samples_n, samples)
        self._samples_n += len(samples)
        return self._window.push(samples)

    def flush(self) -> Peaks:
        return self._window.flush()
