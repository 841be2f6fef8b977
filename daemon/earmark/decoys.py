"""How much evidence does chance have, in these streams, against this catalogue? Heard live, by decoys.

A decoy is a recording of the catalogue that runs backwards, which nobody plays. Whether such recordings are laid over the
stream, or the recordings as they are over a stream that runs backwards, is one comparison, so it is the stream that is
turned: some of its minutes, when they are over. All of the catalogue is decoys then, as it is by now, and nothing of
them is in the index: no row, no posting, no number that an answer could give away.

    front end ─▶ peaks ─▶ the session, as ever
                   └────▶ a block of 262 s, if it is chosen ─▶ turned ─▶ heard in the background ─▶ evidence, counted

A recording that plays is no decoy of those minutes: a loop is much the same backwards. So a block is held until it is known
what was told in it, and those recordings are left out.

What is turned is heard by a `Hearing` of its own, of which nobody is told and that shares nothing with the session's, so
what a stream's plays are cannot depend on it. Which blocks are chosen follows from the stream's id and their second,
and what is found in them from their peaks: whatever the chunks and the worker, the same is counted.
"""

import hashlib
import math
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

import numpy as np
import structlog

from earmark.errors import EarmarkError
from earmark.fingerprint.mirror import mirrored
from earmark.fingerprint.spectrogram import frames_in
from earmark.hearing import STEP_FRAMES, Asking, FrontEnd, Hearing, drive
from earmark.matching import confidence
from earmark.matching.tail import Chance, Tail
from earmark.model import (
    EIGHTHS,
    FRAMES_PER_S,
    HOP_SAMPLES,
    Answer,
    AudioChunk,
    CatalogueSize,
    Float32,
    MatchParams,
    Peaks,
    Play,
    Postings,
    Question,
    Resolve,
)

T = TypeVar("T")
#: Wraps the front end of each run of a stream, which begins at a second: `Hearing`'s `keep`.
Keep: TypeAlias = Callable[[float, FrontEnd], FrontEnd]

#: Of a run of samples: 262 s, and at the end of a run no less than 66 s. The first 12 s of each have not all the evidence.
BLOCK_FRAMES: Final = 1 << 13
LEAST_FRAMES: Final = 1 << 11
#: Blocks that wait to be heard, of about 120 kB each; more are left out.
WAITING_MAX: Final = 32
#: Between two questions while no other block waits: a block is heard in ten seconds, not at once.
_PAUSE_S: Final = 0.05
_END_S: Final = 5.0
#: What begins to play at the end of a block is told by so long after it, if it is to be.
TOLD_S: Final = 20.0
#: No evidence passes this.
_NEVER_TOLD: Final = 1e-300
_SILENCE: Final = np.zeros(STEP_FRAMES * HOP_SAMPLES, np.float32)


class Catalogue(Protocol):
    """The recordings that are listened for: as of `session`."""

    def answer(self, question: Question) -> Answer: ...
    def size(self) -> CatalogueSize: ...


class Compute(Protocol):
    """Where matching happens, in the background: `compute`."""

    def run(self, function: Callable[..., T], *args: Any) -> T: ...


class Meter(Protocol):
    """What is counted about decoys: `telemetry`."""

    def decoys_heard(self, *, media_s: float, evidence: Sequence[float], excess_nats: float) -> None: ...
    def decoys_left_out(self, *, media_s: float) -> None: ...
    def extrapolated(self, *, per_hour: float, least: float, most: float) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Block:
    """Some minutes of a stream, as they were heard."""

    begin_s: float
    frames: int
    #: In frames since the block's first.
    peaks: Peaks
    #: Recordings that it may hold, as far as is known: they are no decoys of it.
    playing: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return self.frames / FRAMES_PER_S

    @property
    def end_s(self) -> float:
        return self.begin_s + self.seconds


class Decoys:
    """Those of a process. `beside` a session; a thread of its own hears, from the first block on.

    Args:
        share: of all streams' time.
        params: as the sessions have them.
        catalogue, compute, meter: shared with them; `compute` is the background.
        threshold: evidence that a rate stands for, in a catalogue.
    """

    def __init__(
        self,
        *,
        share: float,
        params: MatchParams,
        catalogue: Catalogue,
        compute: Compute,
        meter: Meter,
        threshold: Callable[[float, CatalogueSize], float] = confidence.threshold_nats,
    ) -> None:
        self._share = share
        self._params = params
        self._catalogue = catalogue
        self._compute = compute
        self._meter = meter
        self._threshold = threshold
        self._tail = Tail()
        self._waiting: deque[Block] = deque()
        self._news = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._log = structlog.get_logger()

    def beside(self, stream_id: str, *, keep: Keep | None = None, plays: Sequence[Play] = (), wanted: bool = True) -> "Beside":
        """For a session: of this stream, whose front ends go through `keep` before, and that takes up these plays. Not wanted: nothing of it is chosen."""
        return Beside(chosen=lambda begin_s: wanted and self._chosen(stream_id, begin_s), offer=self.offer, keep=keep, plays=plays)

    def _chosen(self, stream_id: str, begin_s: float) -> bool:
        """Whether the block that begins there is to be a decoy."""
        drawn = hashlib.sha256(f"{stream_id} {begin_s:.3f}".encode()).digest()
        return int.from_bytes(drawn[:8]) < self._share * 2**64

    def offer(self, block: Block) -> None:
        """Hear it when there is time; nobody is held up."""
        with self._news:
            taken = not self._closed and len(self._waiting) < WAITING_MAX
            if taken:
                self._waiting.append(block)
                self._news.notify_all()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="decoys", daemon=True)
                    self._thread.start()
        if not taken:
            self._meter.decoys_left_out(media_s=block.seconds)

    def close(self) -> None:
        """What waits, or is being heard, is not counted."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._thread:
            self._thread.join(_END_S)

    # -------------------------------------------------------------------------------------------- hearing

    def _run(self) -> None:
        try:
            while (block := self._next()) is not None:
                self._hear(block)
        except _Closing:
            pass
        except Exception:  # noqa: BLE001 -- listening goes on without decoys; whoever offers one from now on is told that it is left out
            self._log.exception("decoys.failed")
            self._closed = True

    def _next(self) -> Block | None:
        with self._news:
            self._news.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else self._waiting.popleft()

    def _hear(self, block: Block) -> None:
        size = self._catalogue.size()
        try:
            evidence = drive(by_chance(block, params=self._params, size=size), self._answer, self._compute.run)
        except EarmarkError as error:  # the database is away: chance can wait
            self._log.warning("decoys.left_out", seconds=round(block.seconds), reason=str(error))
            self._meter.decoys_left_out(media_s=block.seconds)
            return
        excess_nats = self._tail.add(evidence, seconds=block.seconds)
        self._meter.decoys_heard(media_s=block.seconds, evidence=evidence, excess_nats=excess_nats)
        found = self._tail.at(self._threshold(self._params.false_alarms_per_hour, size))
        if found:
            self._meter.extrapolated(per_hour=found.per_hour, least=found.least, most=found.most)

    def _answer(self, question: Question) -> Answer:
        with self._news:
            self._news.wait_for(lambda: self._closed or self._waiting, _PAUSE_S)
            if self._closed:
                raise _Closing
        return self._catalogue.answer(question)


class _Closing(Exception):
    """In the midst of a block."""


def by_chance(block: Block, *, params: MatchParams, size: CatalogueSize) -> Generator[Question, Answer, list[float]]:
    """Hear a block backwards; the evidence, in nats, of each line that was followed in it."""
    own: tuple[int, ...] = ()
    if block.playing:
        own = tuple(cast(dict[str, int], (yield Resolve(track_ids=block.playing))).values())
    peaks, chance = mirrored(block.peaks, block.frames), Chance()
    unheard = replace(params, false_alarms_per_hour=_NEVER_TOLD)
    hearing = Hearing(params=unheard, size=size, stream_id="decoy", source="decoy", window=lambda: Ready(peaks))
    for frame in range(0, block.frames, STEP_FRAMES):
        yield from _but(own, hearing.push(AudioChunk(samples=_SILENCE, start_s=frame / FRAMES_PER_S)))
        chance.note(hearing.looks)
    yield from _but(own, hearing.flush())
    chance.note(hearing.looks)
    return chance.evidence()


def _but(own: Sequence[int], asking: Asking) -> Asking:
    """As if some recordings were not in the catalogue."""
    try:
        question = next(asking)
        while True:
            answer = yield question
            if own and isinstance(answer, Postings):
                others = ~np.isin(answer.track_no, own)
                answer = Postings(query=answer.query[others], track_no=answer.track_no[others], frame=answer.frame[others])
            question = asking.send(answer)
    except StopIteration as over:
        return cast(list[Play], over.value)


class Ready:
    """A front end whose peaks are there already; it is pushed silence, that time may pass."""

    def __init__(self, peaks: Peaks) -> None:
        self._peaks = peaks
        self._samples_n = 0
        self.final_frame = 0.0

    def push(self, samples: Float32) -> Peaks:
        begin = self.final_frame
        self._samples_n += len(samples)
        self.final_frame = self._samples_n / HOP_SAMPLES
        return self._peaks.between(begin, self.final_frame)

    def flush(self) -> Peaks:
        begin, self.final_frame = self.final_frame, math.inf
        return self._peaks.between(begin, math.inf)


# ---------------------------------------------------------------------------------------------------- a session


class Beside:
    """Of one session: its blocks, each held until it is known what was told in it."""

    def __init__(self, *, chosen: Callable[[float], bool], offer: Callable[[Block], None], keep: Keep | None, plays: Sequence[Play]) -> None:
        self._chosen, self._offer, self._keep = chosen, offer, keep
        self._plays = {play.hit_id: play for play in plays}
        self._held: deque[Block] = deque()

    def run(self, start_s: float, window: FrontEnd) -> FrontEnd:
        """`Hearing`'s `keep`."""
        return _Tapped(start_s, self._keep(start_s, window) if self._keep else window, self._chosen, self._held.append)

    def told(self, changed: Sequence[Play], *, heard_s: float) -> None:
        """`Hearing`'s."""
        self._plays |= {play.hit_id: play for play in changed}
        while self._held and heard_s >= self._held[0].end_s + TOLD_S:
            block = self._held.popleft()
            self._offer(replace(block, playing=self._playing(block)))
        if changed:
            oldest_s = min([heard_s - 2 * BLOCK_FRAMES / FRAMES_PER_S, *(block.begin_s for block in self._held)])
            self._plays = {hit: play for hit, play in self._plays.items() if play.state != "closed" or play.end_s >= oldest_s}

    def _playing(self, block: Block) -> tuple[str, ...]:
        """What had not ended before it, and what is named with that."""
        then = [p for p in self._plays.values() if p.state != "closed" or p.end_s >= block.begin_s]
        names = [(p.track_id, *p.also_matching, *([p.heard_as.track_id] if p.heard_as else [])) for p in then]
        return tuple(sorted({name for some in names for name in some}))


class _Tapped:
    """A front end of one run, the chosen blocks of which are handed on as they become complete."""

    def __init__(self, start_s: float, window: FrontEnd, chosen: Callable[[float], bool], complete: Callable[[Block], None]) -> None:
        self._start_s, self._window, self._chosen, self._hand_on = start_s, window, chosen, complete
        self._samples_n = 0
        self._begin(0)

    @property
    def final_frame(self) -> float:
        return self._window.final_frame

    def push(self, samples: Float32) -> Peaks:
        self._samples_n += len(samples)
        peaks = self._window.push(samples)
        self._take(peaks, self._window.final_frame)
        return peaks

    def flush(self) -> Peaks:
        peaks = self._window.flush()
        frames = frames_in(self._samples_n)
        self._take(peaks, frames)
        if frames - self._first >= LEAST_FRAMES:
            self._complete(frames)
        return peaks

    def _begin(self, frame: int) -> None:
        self._first, self._begin_s = frame, self._start_s + frame / FRAMES_PER_S
        self._wanted = self._chosen(self._begin_s)
        self._found: list[Peaks] = []

    def _take(self, peaks: Peaks, final_frame: float) -> None:
        """Peaks before `final_frame`, none of which will come again."""
        while final_frame >= (end := self._first + BLOCK_FRAMES):
            self._add(peaks.between(self._first, end))
            self._complete(end)
            self._begin(end)
        self._add(peaks.between(self._first, final_frame))

    def _add(self, peaks: Peaks) -> None:
        if self._wanted and len(peaks):
            self._found.append(peaks)

    def _complete(self, end: int) -> None:
        if self._wanted:
            found = Peaks.join(*self._found)
            peaks = replace(found, eighth_frames=found.eighth_frames - np.int32(self._first * EIGHTHS))
            self._hand_on(Block(begin_s=self._begin_s, frames=end - self._first, peaks=peaks))
