"""Samples in, plays out: window -> look-up -> alignment -> verification -> plays. One path for everything that hears.

A live session and a notebook's monitor drive a `Hearing` (whole clips: `earmark.identification`). It does no IO:
`hear` is a generator that yields a `Question` to the catalogue and is sent the `Answer`, as psycopg's generators yield
"I would block here", so whoever drives it decides on which thread the computing and the waiting are done. What is taken
in (`take`) while a question waits for its answer is fingerprinted, half a kilobyte a second, and heard afterwards.

**However the stream is cut into chunks, the plays are the same.** What is decided is decided at fixed *steps*, every
1.024 s of a contiguous run of samples, from the peaks that are final by then; a run ends at a gap. All times are stream
frames since the session's first sample, so that what was heard before a gap keeps its place in the evidence.

A look, at every other step, and at each while somebody may have to be told of a line:

1. the lines that are followed are verified on the last 12 s (their constellations are fetched 20 s ahead);
2. new landmarks of peaks that no play explains are looked up and vote; while nothing is told, every few seconds the
   last 12 s are looked up again under another speed;
3. candidates that gained a vote are verified, and followed if they are more than chance.
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, cast

import numpy as np

from earmark.fingerprint.kinds import Kind, Kinds, Sounded
from earmark.fingerprint.landmarks import AGAIN, pair_questions, triple_questions
from earmark.fingerprint.spectrogram import frames_in
from earmark.fingerprint.targets import LOOKAHEAD_FRAMES
from earmark.fingerprint.window import Scratch, Window
from earmark.matching.alignment import CHANCE_LIVE, HYPOTHESES, Candidate, Votes
from earmark.matching.dating import HISTORY_FRAMES
from earmark.matching.lines import Look, Step
from earmark.matching.plays import FOLLOW_NATS, PlayTracker
from earmark.matching.proposals import distinct, look_up, verify
from earmark.matching.verification import Constellation
from earmark.model import (
    FRAMES_PER_S,
    RATE_HZ,
    Answer,
    AudioChunk,
    Bool,
    CatalogueSize,
    Fetch,
    Float32,
    Landmarks,
    MatchParams,
    Peaks,
    Play,
    Question,
    Reference,
    Resolve,
    Stretch,
)

T = TypeVar("T")
#: Yields questions, is sent their answers, returns the plays that changed.
Asking: TypeAlias = Generator[Question, Answer, list[Play]]

#: Frames between two steps: 1.024 s.
STEP_FRAMES = 32
#: Frames between two looks, while no line is undecided. Calls on little arrays are most of what a look costs: half as many take
#: a quarter off. What begins is told as soon: its line is there before it can be told.
LOOK_FRAMES = 2 * STEP_FRAMES
#: The same, of what has no hurry: a stored file, of which nobody is told before its end.
UNHURRIED_LOOK_FRAMES = 4 * STEP_FRAMES
#: Of the anchors of a step, and of a window that is asked about under another speed, so many are asked about: those that
#: stand out most. The faintest cost as much as the others and find next to nothing.
_ASKED_SHARE, _AGAIN_SHARE = 0.9, 2 / 3
#: Log odds of music below which no other speed is tried, which asks as much as everything else: seven in ten seconds of talk
#: are below, and of a recording one in fifty, or under a talker one in twelve.
_HARDLY_MUSIC = -1.5
#: Where samples should be and are may differ by rounding, not by this much: then it is another run.
_JUMP_S = 0.016


class FrontEnd(Protocol):
    """What turns one run of samples into peaks: `fingerprint.window.Window`."""

    @property
    def final_frame(self) -> float: ...
    def push(self, samples: Float32) -> Peaks: ...
    def flush(self) -> Peaks: ...


class Told(Protocol):
    """Who is given the plays that changed with a look, and up to which second of the stream all is known; infinite: the session is over."""

    def __call__(self, changed: Sequence[Play], *, heard_s: float) -> None: ...


class _Run:
    """A contiguous run of samples and its fingerprint; times in frames since its first sample."""

    def __init__(self, start_s: float, window: FrontEnd) -> None:
        self.start_s = start_s
        self.origin_frame = start_s * FRAMES_PER_S
        self._window = window
        self._samples_n = 0
        #: No more samples come.
        self.over = False
        self.kinds = Kinds(start_s)
        self._pending: list[Peaks] = []
        #: Up to here steps have heard; up to here it was looked what that is; and up to here anchors have been asked for.
        self.heard_frame = 0.0
        self.looked_frame = 0.0
        self.asked_frame = 0.0
        #: Peaks of the last window that steps have heard.
        self.heard = Peaks.none()

    @property
    def end_s(self) -> float:
        return self.start_s + self._samples_n / RATE_HZ

    @property
    def final_frame(self) -> float:
        """Up to here steps may hear."""
        return min(self._window.final_frame, float(frames_in(self._samples_n)))

    def push(self, samples: Float32) -> None:
        self._samples_n += len(samples)
        self._pending.append(self._window.push(samples))
        self.kinds.take(samples)

    def flush(self) -> None:
        self._pending.append(self._window.flush())
        self.kinds.end()
        self.over = True

    def hear(self, end_frame: float, window_frames: float) -> Peaks:
        """The peaks of the next step; they are moved from what is pending to what is heard."""
        pending = Peaks.join(*self._pending)
        new = pending.between(-math.inf, end_frame)
        self._pending = [pending.take(slice(len(new), None))]
        self.heard = Peaks.join(self.heard, new).between(end_frame - window_frames, math.inf)
        self.heard_frame = end_frame
        return new


class _Missed(NamedTuple):
    """A gap between two runs, in stream frames."""

    begin_frame: float
    end_frame: float


class Hearing:
    """Listens to one stream.

    Args:
        params: how sure is sure.
        size: of the catalogue; thresholds depend on it.
        stream_id, source: of the session; they go into the plays' `hit_id`.
        plays: told by the stream's previous owner and still open. They are taken up again where the stream goes on,
            and closed under their own `hit_id`.
        heard_s: stream time up to which that owner heard; of what is heard again before, nobody asks whether it was music or speech.
        scratch: work arrays of the fingerprint, shared by all that runs on one thread.
        spare: asked each time another speed is due; if not, it is left out.
        window: makes the front end of each run of samples, if another hearing of the same samples has one already.
        keep: is given the front end of each run, and the second it begins at; what it returns is heard through.
        told: is given the plays that change, at each look.
        hurry: somebody is to be told at once; if not, it is looked half as often while no line is undecided, and the same is found.
    """

    def __init__(
        self,
        *,
        params: MatchParams,
        size: CatalogueSize,
        stream_id: str,
        source: str,
        plays: tuple[Play, ...] = (),
        heard_s: float = 0.0,
        scratch: Scratch | None = None,
        spare: Callable[[], bool] = lambda: True,
        window: Callable[[], FrontEnd] | None = None,
        keep: Callable[[float, FrontEnd], FrontEnd] | None = None,
        told: Told | None = None,
        hurry: bool = True,
    ) -> None:
        self._params = params
        self._size = size
        self._spare = spare
        self._new_window = window or partial(Window, scratch)
        self._keep = keep
        self._told = told
        self._look_frames = LOOK_FRAMES if hurry else UNHURRIED_LOOK_FRAMES
        self._window_frames = params.window_s * FRAMES_PER_S
        self._tracker = PlayTracker(params=params, size=size, stream_id=stream_id, source=source)
        self._resuming = plays
        self._heard_s = heard_s
        self._triples = Votes.of_triples(hypothesis=HYPOTHESES[0], window_frames=self._window_frames, chance_max=CHANCE_LIVE)
        self._pairs = self._pair_votes(HYPOTHESES[0])
        #: Pairs at the speed of the last play that had another.
        self._shifted: Votes | None = None
        #: What samples are added to, and all that was taken in and is not heard to its end, in order.
        self._run: _Run | None = None
        self._taken: deque[_Run | _Missed] = deque()
        self._first_frame: float | None = None
        self._history = Constellation.none()
        self._explained: Bool = np.zeros(0, np.bool_)
        # Nearly three hours of each: who never asks shall not fill the memory.
        self._sounds: dict[Kind, deque[Stretch]] = {"music": deque(maxlen=10_000), "speech": deque(maxlen=10_000)}

    def resize(self, size: CatalogueSize) -> None:
        """The catalogue is of this size now; streams outlive its changes."""
        self._size = size
        self._tracker.resize(size)

    @property
    def plays(self) -> tuple[Play, ...]:
        """The plays that are told and not closed, as they are now."""
        return self._resuming + self._tracker.plays

    @property
    def looks(self) -> Sequence[Look]:
        """The lines that the last look judged, told or not."""
        return self._tracker.looks

    @property
    def music_odds(self) -> float:
        """Log odds that the last seconds that were heard, eleven at most, are music: at once, where `take_music` takes its time."""
        first = self._taken[0] if self._taken else None
        return first.kinds.music_odds if isinstance(first, _Run) else -math.inf

    def take_music(self) -> list[Stretch]:
        """The steps that sounded like music, catalogued or not, and have not been taken: each about 6 s after it was heard."""
        return self._taken_of("music")

    def take_speech(self) -> list[Stretch]:
        """As `take_music`: those in which somebody spoke, and that were no music."""
        return self._taken_of("speech")

    def _taken_of(self, kind: Kind) -> list[Stretch]:
        taken = [stretch for stretch in self._sounds[kind] if stretch.begin_s >= self._heard_s]
        self._sounds[kind].clear()
        return taken

    def push(self, chunk: AudioChunk) -> Asking:
        """Hear the next samples; the plays that changed, each as a new revision."""
        self.take(chunk)
        return (yield from self.hear())

    def flush(self) -> Asking:
        """The session is over: hear what is left, and close everything."""
        self._end_run()
        changed = yield from self.hear()
        closed = self._tracker.close_all()
        if self._told:
            self._told(closed, heard_s=math.inf)
        return changed + closed

    def take(self, chunk: AudioChunk) -> None:
        """Take the next samples in; `hear` finds out what they are. Also while a `hear` waits for an answer."""
        if self._run is not None and (chunk.gap_before_s > 0 or abs(chunk.start_s - self._run.end_s) > _JUMP_S):
            self._end_run()
        if chunk.gap_before_s > 0:
            begin_frame, end_frame = (chunk.start_s - chunk.gap_before_s) * FRAMES_PER_S, chunk.start_s * FRAMES_PER_S
            if self._taken and isinstance(last := self._taken[-1], _Missed):  # nothing was heard in between: an hour without an origin is one
                begin_frame = last.begin_frame
                self._taken.pop()
            self._taken.append(_Missed(begin_frame, end_frame))
        if len(chunk.samples):
            if self._run is None:
                window = self._new_window()
                self._run = _Run(chunk.start_s, self._keep(chunk.start_s, window) if self._keep else window)
                self._taken.append(self._run)
            self._run.push(chunk.samples)

    def hear(self) -> Asking:
        """Hear all that was taken in; the plays that changed, each as a new revision.

        When it is not driven to its end (an answer failed), the hearing is of no further use.
        """
        changed = yield from self._take_up()
        while self._taken:
            first = self._taken[0]
            if isinstance(first, _Missed):
                self._tracker.missed(first.begin_frame, first.end_frame)
            else:
                changed += yield from self._steps(first)
                if not first.over:
                    break
                if first.final_frame > first.heard_frame:
                    self._hear(first, first.final_frame)
                if first.heard_frame > first.looked_frame:
                    changed += yield from self._look(first, first.heard_frame)
                self._note(first.kinds.flush())
            self._taken.popleft()
        return changed

    def _end_run(self) -> None:
        if self._run is not None:
            self._run.flush()
            self._run = None

    def _take_up(self) -> Asking:
        """Find the recordings of the plays that a previous owner told."""
        plays, self._resuming = self._resuming, ()
        if not plays:
            return []
        found = cast(dict[str, int], (yield Resolve(track_ids=tuple(dict.fromkeys(map(_followed, plays))))))
        return [closed for play in plays for closed in self._tracker.resume(play, found.get(_followed(play)))]

    def _steps(self, run: _Run) -> Asking:
        changed: list[Play] = []
        while run.final_frame >= run.heard_frame + STEP_FRAMES:
            self._hear(run, run.heard_frame + STEP_FRAMES)
            if self._tracker.undecided or run.heard_frame >= run.looked_frame + self._look_frames:
                changed += yield from self._look(run, run.heard_frame - LOOKAHEAD_FRAMES)
        return changed

    # -------------------------------------------------------------------------------------------- a step, and a look

    def _hear(self, run: _Run, end_frame: float) -> None:
        """Hear up to `end_frame` of the run."""
        new = run.hear(end_frame, self._window_frames)
        self._note(run.kinds.push(new, end_frame))
        heard = Constellation.of(new, run.origin_frame)
        if self._first_frame is None:
            self._first_frame = run.origin_frame
        old = int(np.searchsorted(self._history.frame, run.origin_frame + end_frame - max(HISTORY_FRAMES, self._window_frames)))
        self._history = Constellation.join(self._history.take(slice(old, None)), heard)
        self._explained = np.concatenate([self._explained[old:], np.zeros(len(heard), np.bool_)])

    def _note(self, sounded: Sequence[Sounded]) -> None:
        for kind, stretch in sounded:
            self._sounds[kind].append(stretch)

    def _look(self, run: _Run, anchors_end: float) -> Asking:
        """What is it that was heard so far? Asks about anchors up to `anchors_end`, whose targets are known."""
        step = self._step(run)
        changed = yield from self._follow(step)
        candidates = yield from self._propose(run, step, anchors_end)
        found = yield from verify(candidates, step.history, step.begin_frame, step.end_frame, least_nats=FOLLOW_NATS)
        if sum([self._tracker.adopt(verified, step) for verified in found]):
            changed += yield from self._follow(step, newborn=True)
        if self._told:
            self._told(changed, heard_s=step.end_frame / FRAMES_PER_S)
        return changed

    def _step(self, run: _Run) -> Step:
        before, run.looked_frame = run.looked_frame, run.heard_frame
        end, first = run.origin_frame + run.heard_frame, self._first_frame or 0.0
        return Step(
            first_frame=first,
            begin_frame=max(end - self._window_frames, first),
            end_frame=end,
            new_frames=run.heard_frame - before,
            history=self._history,
            explained=self._explained,
        )

    def _follow(self, step: Step, *, newborn: bool = False) -> Asking:
        passages = self._tracker.wanted(step)
        if passages:
            self._tracker.supply(cast(list[Reference], (yield Fetch(passages=passages))))
        return self._tracker.follow(step, newborn=newborn)

    def _propose(self, run: _Run, step: Step, anchors_end: float) -> Generator[Question, Answer, list[Candidate]]:
        """Candidates for what no play explains, under speed 1 and, when it is due, under another."""
        asked = self._questions(run, step, anchors_end)
        answers = yield from look_up([landmarks for _, landmarks in asked], self._size)
        candidates: list[Candidate] = []
        for (votes, landmarks), postings in zip(asked, answers, strict=True):
            votes.forget(step.begin_frame)
            proposed = votes.add(postings, landmarks.frame + run.origin_frame, self._size)
            new = (c for c in proposed if not self._tracker.follows(c, step.end_frame))
            candidates += distinct(new, self._params.candidates_max, (step.begin_frame + step.end_frame) / 2)
        return candidates

    def _questions(self, run: _Run, step: Step, anchors_end: float) -> list[tuple[Votes, Landmarks]]:
        begin, run.asked_frame = run.asked_frame, max(run.asked_frame, anchors_end)
        explained = step.explained[len(step.explained) - len(run.heard) :]
        rest = unexplained(run.heard, explained, begin, run.asked_frame)
        asked = [
            (self._triples, triple_questions(rest, begin_frame=begin, end_frame=run.asked_frame)),
            (self._pairs, pair_questions(rest, begin_frame=begin, end_frame=run.asked_frame)),
        ]
        if (known := self._tracker.known_speed) is not None:
            if self._shifted is None or self._shifted.hypothesis != known:
                self._shifted = self._pair_votes(known)
            asked.append((self._shifted, pair_questions(rest, begin_frame=begin, end_frame=run.asked_frame, speed=known)))
        speed = self._speed_due(step, run)
        if speed is not None:
            votes = Votes.of_triples(hypothesis=speed, window_frames=self._window_frames, chance_max=CHANCE_LIVE)
            again = run.heard.take(run.heard.hashed & ~explained)
            again = salient(again, round(len(again) * _AGAIN_SHARE))
            asked.append((votes, triple_questions(again, begin_frame=-math.inf, end_frame=run.asked_frame, speed=speed, depth=AGAIN)))
        return asked

    def _pair_votes(self, speed: float) -> Votes:
        return Votes.of_pairs(hypothesis=speed, window_frames=self._window_frames, chance_max=CHANCE_LIVE)

    def _speed_due(self, step: Step, run: _Run) -> float | None:
        """Another speed to try now: in turn, every few seconds of the stream, while no play is told, unless there is talk alone."""
        every = self._params.transform_every_s * FRAMES_PER_S
        if every <= 0 or self._tracker.sounding or run.kinds.music_odds < _HARDLY_MUSIC:
            return None
        turn = step.end_frame // every
        if turn == (step.end_frame - step.new_frames) // every or not self._spare():
            return None
        return HYPOTHESES[1 + int(turn) % (len(HYPOTHESES) - 1)]


def _followed(play: Play) -> str:
    """The recording whose sound it is followed by."""
    return play.heard_as.track_id if play.heard_as else play.track_id


def unexplained(heard: Peaks, explained: Bool, begin_frame: float, end_frame: float) -> Peaks:
    """The peaks to ask about, the most salient ones: the fewer, the more of the anchors, in ``[begin_frame, end_frame)``, plays explain.

    Of a recording that plays cleanly a codec leaves half of the peaks unexplained, faint ones, and new music is not in
    them. So the share that is asked about falls with the cube of what is unexplained: where half is, an eighth; with a
    talker over it, a third; where another piece begins, all.
    """
    rest = heard.take(~explained)
    anchors, left = (peaks.before(end_frame) - peaks.before(begin_frame) for peaks in (heard, rest))
    if not left:
        return rest
    share = _ASKED_SHARE * (left / anchors) ** 3
    return salient(rest, round(anchors * share), begin_frame, end_frame)


def salient(peaks: Peaks, most: int, begin_frame: float = -math.inf, end_frame: float = math.inf) -> Peaks:
    """Those that stand out more than all but about so many of a stretch do."""
    salience = np.sort(peaks.between(begin_frame, end_frame).salience)
    return peaks if most >= len(salience) else peaks.take(peaks.salience > salience[-most - 1])


# ---------------------------------------------------------------------------------------------------- driving


def _call(function: Callable[..., T], *args: Any) -> T:
    return function(*args)


def drive(
    questions: Generator[Question, Answer, T],
    answer: Callable[[Question], Answer],
    run: Callable[..., Any] = _call,
) -> T:
    """Drive a generator of questions to its end.

    Args:
        questions: `Hearing.push`, `Hearing.flush`, `identify`.
        answer: the catalogue; called on this thread. What it raises ends the generator and is raised here.
        run: calls a function with its arguments, on the thread that computes: ``Compute.run``.
    """
    reply: Answer | None = None
    try:
        while True:
            question, result = run(_advance, questions, reply)
            if question is None:
                return cast(T, result)
            reply = answer(question)
    finally:
        questions.close()


def _advance(questions: Generator[Question, Answer, T], reply: Answer | None) -> tuple[Question | None, T | None]:
    """The next question, or the result. (StopIteration would not pass through every kind of future.)"""
    try:
        return (next(questions) if reply is None else questions.send(reply)), None
    except StopIteration as done:
        return None, done.value
