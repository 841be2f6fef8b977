"""What chance does to a hearing: streams of sound that is not in the catalogue, and the lines that it follows all the same.

An **event** is what would be one false alarm: a line of one recording whose evidence passes x nats at least once, lines of the
same recording less than 12 s apart counted once. Nothing is told here (the threshold is out of reach), so lines live as
long as they hold something, and each is counted with the most evidence that it ever had. Apart from that, the score with
which all the rules of `PlayTracker` would have let it pass: the least of its evidence and of what that says for the
recording, while enough is left without its best seconds.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

import earmark.hearing
from bench import calibration_sound as sound
from bench.calibration_sound import Recording, Sound
from earmark.decoys import Ready
from earmark.hearing import STEP_FRAMES, Hearing, drive
from earmark.matching.alignment import Candidate
from earmark.matching.lines import Look
from earmark.matching.proposals import Verified, verify
from earmark.matching.samples import LIVE, quoted_frames, recording_nats
from earmark.matching.verification import judge_without_best
from earmark.model import (
    FRAMES_PER_S,
    HOP_SAMPLES,
    RATE_HZ,
    Answer,
    AudioChunk,
    CatalogueSize,
    Lookup,
    MatchParams,
    Peaks,
    Postings,
    Question,
    Track,
)
from fakes import MemoryIndex

#: Lines of a recording that are less apart are one event: a play is closed after 12 s without evidence.
SAME_EVENT_FRAMES: Final = 12 * FRAMES_PER_S
#: No evidence passes this.
NEVER_TOLD: Final = MatchParams(false_alarms_per_hour=1e-300)
_SILENCE: Final = np.zeros(STEP_FRAMES * HOP_SAMPLES, np.float32)


@dataclass(frozen=True, slots=True)
class Event:
    """Lines of one recording that hold more than chance for a while."""

    nats: float
    #: The highest threshold that all the rules would have let pass; 0: none.
    told_nats: float
    share: float
    pitch: float
    slope: float
    begin_s: float
    end_s: float
    track: str


@dataclass(frozen=True, slots=True)
class Job:
    """A stream to be heard, and against what."""

    kind: str
    package: str
    against: str
    recording: Recording | None = None
    condition: str = "as it is"
    voice: str = ""
    seed: tuple[int, ...] = ()

    def sound(self) -> Sound:
        if self.recording is None:
            return sound.voice(self.voice, self.package)
        original = sound.heard(self.recording, self.condition)
        return sound.decoy(original, self.seed) if self.seed else original


@dataclass(frozen=True, slots=True)
class Heard:
    """What a stream gave."""

    job: Job
    source: str
    speed: float
    hours: float
    catalogue_s: float
    candidates: int
    events: list[Event]

    @property
    def fitted_on(self) -> bool:
        return not hashlib.sha256(self.source.encode()).digest()[0] & 1


# ---------------------------------------------------------------------------------------------------- hearing


@dataclass(slots=True, eq=False)
class _Line:
    """A followed line, with the best that it ever had."""

    track_no: int
    begin_frame: float
    end_frame: float = 0.0
    nats: float = 0.0
    told_nats: float = 0.0
    share: float = 0.0
    pitch: float = 1.0
    slope: float = 1.0

    def look(self, look: Look, rival_nats: float) -> None:
        alignment, evidence = look.alignment, look.evidence
        assert alignment is not None
        self.end_frame = alignment.end_frame
        if evidence.nats > self.nats:
            self.nats, self.share = evidence.nats, evidence.share
            self.pitch, self.slope = alignment.line.pitch, alignment.line.slope
        if evidence.nats > max(self.told_nats, NEVER_TOLD.left_nats) and judge_without_best(alignment, quoted_frames(evidence)).nats > NEVER_TOLD.left_nats:
            self.told_nats = max(self.told_nats, min(evidence.nats, recording_nats(alignment, evidence, LIVE, rival_nats=rival_nats)))

    def join(self, later: "_Line") -> None:
        self.end_frame = max(self.end_frame, later.end_frame)
        self.told_nats = max(self.told_nats, later.told_nats)
        if later.nats > self.nats:
            self.nats, self.share, self.pitch, self.slope = later.nats, later.share, later.pitch, later.slope


class Ear:
    """A hearing that tells nobody, and what its lines hold."""

    def __init__(self, peaks: Peaks, index: MemoryIndex, size: CatalogueSize, without: Sequence[int]) -> None:
        self._hearing = Hearing(params=NEVER_TOLD, size=size, stream_id="calibration", source="bench", window=lambda: Ready(peaks))
        self._index = index
        self._without = np.array(without, np.int32)
        # By identity, and with the line itself, so that no other one can have it.
        self._lines: dict[int, tuple[object, _Line]] = {}
        self.candidates = 0

    def listen(self, seconds: float) -> list[_Line]:
        """The events, in order of their beginnings."""
        earmark.hearing.verify = self._verify
        for begin in range(0, int(seconds * RATE_HZ), len(_SILENCE)):
            drive(self._hearing.push(AudioChunk(samples=_SILENCE, start_s=begin / RATE_HZ)), self._answer)
            self._note()
        drive(self._hearing.flush(), self._answer)
        self._note()
        return self._events()

    def _answer(self, question: Question) -> Answer:
        answer = self._index.answer(question)
        self._index.asked.clear()
        if isinstance(question, Lookup) and len(self._without):
            assert isinstance(answer, Postings)
            kept = ~np.isin(answer.track_no, self._without)
            return Postings(query=answer.query[kept], track_no=answer.track_no[kept], frame=answer.frame[kept])
        return answer

    def _verify(self, candidates: Sequence[Candidate], *args: Any, **named: Any) -> Iterator[list[Verified]]:
        self.candidates += len(candidates)
        return verify(candidates, *args, **named)

    def _note(self) -> None:
        looks = [look for look in self._hearing._tracker._looks if look.alignment is not None]
        for look in looks:
            assert look.alignment is not None
            end = look.alignment.end_frame
            rival = max((other.evidence.nats for other in looks if other.elsewhere(look, end)), default=0.0)
            _, line = self._lines.setdefault(id(look.line), (look.line, _Line(look.line.track_no, end)))
            line.look(look, rival)

    def _events(self) -> list[_Line]:
        events: list[_Line] = []
        for _, line in sorted(self._lines.values(), key=lambda pair: pair[1].begin_frame):
            before = [e for e in events if e.track_no == line.track_no and line.begin_frame - e.end_frame <= SAME_EVENT_FRAMES]
            if before:
                before[-1].join(line)
            else:
                events.append(line)
        return events


# ---------------------------------------------------------------------------------------------------- measuring


@dataclass(slots=True, eq=False)
class Catalogue:
    index: MemoryIndex = field(default_factory=MemoryIndex)
    #: By number: the source of each recording.
    sources: dict[int, str] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)

    def add(self, added: Sound) -> None:
        self.index.add(Track(track_id=added.name, duration_s=added.seconds), added.peaks)
        number = len(self.sources) + 1
        self.sources[number], self.seconds[number] = added.source, added.seconds

    @property
    def hours(self) -> float:
        return sum(self.seconds.values()) / 3_600

    def hear(self, job: Job) -> Heard:
        heard = job.sound()
        # Never a recording against itself.
        own = [number for number, source in self.sources.items() if source == heard.source]
        size = self.index.size()
        size = replace(size, seconds=size.seconds - sum(self.seconds[number] for number in own))
        ear = Ear(heard.peaks, self.index, size, own)
        events = [
            Event(
                nats=round(line.nats, 3),
                told_nats=round(line.told_nats, 3),
                share=round(line.share, 4),
                pitch=round(line.pitch, 5),
                slope=round(line.slope, 5),
                begin_s=round(line.begin_frame / FRAMES_PER_S, 1),
                end_s=round(line.end_frame / FRAMES_PER_S, 1),
                track=self.sources[line.track_no],
            )
            for line in ear.listen(heard.seconds)
        ]
        return Heard(job, heard.source, heard.speed, heard.seconds / 3_600, size.seconds, ear.candidates, events)


#: By package; made before the processes that hear are, and theirs then too.
CATALOGUES: dict[str, Catalogue] = {}


def catalogue(package: str, hours: float) -> Catalogue:
    """The recordings of a package, and so many decoys that there are enough hours."""
    made = Catalogue()
    for recording in sound.recordings():
        if recording.package == package:
            made.add(sound.heard(recording))
    for recording, seed in sound.decoys(package, seed=1):
        if made.hours >= hours:
            break
        made.add(sound.decoy(sound.heard(recording), seed))
    # Sorted here, so that no process has to.
    made.index.answer(Lookup(hashes=np.zeros(1, np.int32), postings_max=1))
    return made


def hear(job: Job) -> Heard:
    return CATALOGUES[job.against].hear(job)


def jobs(kind: str, hours: float) -> list[Job]:
    """Streams of some kind, in a fixed random order, until there are enough hours."""
    other = dict(zip(sound.packages(), reversed(sound.packages()), strict=True))
    random = np.random.default_rng(7)
    match kind:
        case "real":
            every = [Job(kind, r.package, other[r.package], recording=r, condition=c) for r in sound.recordings() for c in sound.CONDITIONS]
            every += [Job(kind, p, other[p], voice=v) for p in other for v in sound.VOICES]
        case "relatives":
            every = [Job(kind, r.package, r.package, recording=r) for r in sound.recordings()]
        case "decoys":
            # As many hours of either package as there is music of it.
            seconds = {p: sum(sound.heard(r).seconds for r in sound.recordings() if r.package == p) for p in other}
            every = [
                Job(kind, p, other[p], recording=r, seed=seed)
                for p in other
                for r, seed in _until(sound.decoys(p, seed=2), hours * seconds[p] / sum(seconds.values()))
            ]
        case _:
            raise ValueError(kind)
    chosen = [every[k] for k in random.permutation(len(every))]
    return chosen if kind == "decoys" else [job for job, _ in _enough(chosen, hours)]


def _until(endless: Iterator[tuple[Recording, tuple[int, ...]]], hours: float) -> Iterator[tuple[Recording, tuple[int, ...]]]:
    total_s = 0.0
    for recording, seed in endless:
        if total_s >= hours * 3_600:
            return
        # On average; how long a decoy is depends on its seed.
        total_s += sound.heard(recording).seconds
        yield recording, seed


def _enough(chosen: Sequence[Job], hours: float) -> Iterator[tuple[Job, float]]:
    total_s = 0.0
    for job in chosen:
        if total_s >= hours * 3_600:
            return
        total_s += job.sound().seconds
        yield job, total_s
