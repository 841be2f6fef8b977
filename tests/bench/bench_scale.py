"""What a large catalogue does to hearing: recall, wrong answers and cost at 100, 1,000, 10,000 and 100,000 recordings.

    make bench-scale [SIZES=100,1000]        prints the table, and writes build/bench/scale.json

The sound is that of the hearing bench under $EARBENCH_HOME (default ~/.cache/earbench): 42 recordings, excerpts of them
degraded in 39 ways, excerpts of others that are not in the catalogue, three 20-minute streams. The catalogue is filled up with
decoys (`bench.scale_catalogue`, which says why they are made as they are); thresholds, stop list and votes follow its size.
The same excerpts are asked of every size, so that what is lost is lost to size. An index is made once and kept under
$EARBENCH_HOME/scale: for 100,000 recordings that takes an hour, 14 GB of disk, and twice that meanwhile.

CPU is this thread's, of counting votes (from postings to candidates), and of all the rest but the fingerprint
(questions, verification, following); the catalogue's own is not in it, being another one than PostgreSQL's.
"""

import json
import math
import operator
import pickle
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from bench.asked import whole, wholes
from bench.calibration_sound import HOME, decode
from bench.rows import row
from bench.scale_catalogue import Real, ScaleIndex
from earmark.fingerprint.spectrogram import frames_in
from earmark.fingerprint.window import Scratch, Window, fingerprint
from earmark.hearing import Hearing, drive
from earmark.identification import default_threshold_nats, identify
from earmark.matching.alignment import postings_max
from earmark.model import FINGERPRINT_VERSION, RATE_HZ, Answer, AudioChunk, Fetch, Float32, Lookup, MatchParams, Peaks, Play, Question

COMMAND: Final = "make bench-scale"
SIZES: Final = tuple(wholes("SIZES", "100,1000,10000,100000"))
#: Excerpts of each condition: of the bench's fifty the first so many.
CLIPS: Final = whole("CLIPS", 20, least=1)
#: Points of recall that 100,000 recordings may cost against 100.
POINTS: Final = 3.0
_STREAMS: Final = 3
_SCRATCH: Final = Scratch()
_PARAMS: Final = MatchParams()

T = TypeVar("T")


# ---------------------------------------------------------------------------------------------------- sound


@dataclass(frozen=True)
class Clip:
    """An excerpt and what is in it."""

    name: str
    condition: str
    #: None: nothing that is in the catalogue.
    track_id: str | None
    duration_s: float
    peaks: Peaks


def sound() -> tuple[list[Real], list[Clip]]:
    """The recordings and the excerpts, fingerprinted once and kept."""
    kept = HOME / "scale" / f"peaks-{FINGERPRINT_VERSION}.pickle"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        paths = [*sorted((HOME / "catalogue").glob("*.wav")), *sorted((HOME / "queries").glob("*.wav"))]
        kept.write_bytes(pickle.dumps({str(path.relative_to(HOME)): _fingerprinted(path) for path in paths}))
    found: dict[str, tuple[float, Peaks]] = pickle.loads(kept.read_bytes())
    real = [Real(Path(name).stem, *heard) for name, heard in found.items() if name.startswith("catalogue")]
    clips, taken = [], Counter[tuple[str, str, int]]()
    for query in json.loads((HOME / "queries.json").read_text(encoding="utf-8")):
        kind = query["role"], query["condition"], query["length_s"]
        taken[kind] += 1
        if taken[kind] <= CLIPS:
            known = query["role"] == "catalogue"
            name = f"{query['condition']}, {query['length_s']} s"
            clips.append(Clip(query["id"], name, query["track"] if known else None, *found[f"queries/{query['id']}.wav"]))
    return real, clips


def _fingerprinted(path: Path) -> tuple[float, Peaks]:
    heard = decode(path)
    return len(heard) / RATE_HZ, fingerprint(heard, scratch=_SCRATCH)


class _Recorded:
    """A stream's front end that was run before: a second a push."""

    def __init__(self, parts: Sequence[Peaks], finals: Sequence[float]) -> None:
        self._parts, self._finals, self._at = parts, finals, -1

    @property
    def final_frame(self) -> float:
        return self._finals[self._at] if self._at >= 0 else 0.0

    def push(self, samples: Float32) -> Peaks:
        del samples
        self._at += 1
        return self._parts[self._at]

    def flush(self) -> Peaks:
        self._at += 1
        return self._parts[self._at]


@dataclass(frozen=True)
class Stream:
    """Twenty minutes, and the plays in it: track, begin, end."""

    parts: list[Peaks]
    finals: list[float]
    lengths: list[int]
    truth: list[tuple[str, float, float]]

    @property
    def duration_s(self) -> float:
        return sum(self.lengths) / RATE_HZ


def stream(number: int, known: set[str]) -> Stream:
    heard, window = decode(HOME / f"stream{number}.wav"), Window(_SCRATCH)
    parts, finals, lengths = [], [], []
    for begin in range(0, len(heard), RATE_HZ):
        piece = heard[begin : begin + RATE_HZ]
        parts.append(window.push(piece))
        finals.append(window.final_frame)
        lengths.append(len(piece))
    parts.append(window.flush())
    finals.append(float(frames_in(len(heard))))
    plays = json.loads((HOME / f"stream{number}.json").read_text(encoding="utf-8"))
    return Stream(parts, finals, lengths, [(p["track"], p["start_s"], p["end_s"]) for p in plays if p["track"] in known])


# -------------------------------------------------------------------------------------------------- measuring


@dataclass
class Cost:
    """What it took to hear something."""

    heard_s: float = 0.0
    asked: int = 0
    stopped: int = 0
    postings: int = 0
    postings_most: int = 0
    candidates: int = 0
    counting_s: float = 0.0
    rest_s: float = 0.0
    slowest_s: float = 0.0
    per_clip_ms: list[float] = field(default_factory=list)


class Meter:
    """Drives what hears, and writes down what it asks and takes."""

    def __init__(self, index: ScaleIndex) -> None:
        self._index = index
        self._last: Question | None = None
        self.cost = Cost()

    def drive(self, asking: Any) -> Any:
        self._last = None
        return drive(asking, self._answer, self._run)

    def _run(self, function: Callable[..., T], *args: Any) -> T:
        begin = time.thread_time()
        try:
            return function(*args)
        finally:
            took = time.thread_time() - begin
            if isinstance(self._last, Lookup):
                self.cost.counting_s += took
            else:
                self.cost.rest_s += took
            self.cost.slowest_s = max(self.cost.slowest_s, took)

    def _answer(self, question: Question) -> Answer:
        answer = self._index.answer(question)
        match question:
            case Lookup():
                self.cost.asked += len(question.hashes)
                self.cost.stopped += self._index.stopped
                self.cost.postings += len(answer)
                self.cost.postings_most = max(self.cost.postings_most, len(answer))
            case Fetch():
                # Verification fetches after a look-up; whatever else is fetched is to follow a line.
                self.cost.candidates += len(question.passages) * isinstance(self._last, Lookup)
        self._last = question
        return answer


@dataclass(frozen=True)
class Heard:
    """What came of a size."""

    index: ScaleIndex
    #: By clip: the best match's recording, None for none.
    answers: dict[str, str | None]
    clips: Cost
    streams: Cost
    found: int
    false: int
    latencies_s: list[float]


def hear(index: ScaleIndex, clips: Sequence[Clip], streams: Sequence[Stream]) -> Heard:
    meter, answers = Meter(index), {}
    threshold = default_threshold_nats(_PARAMS, index.size)
    for clip in clips:
        before = meter.cost.counting_s + meter.cost.rest_s
        index.without_decoys_of = clip.track_id
        matches = meter.drive(identify(clip.peaks, clip.duration_s, params=_PARAMS, size=index.size, threshold_nats=threshold))
        meter.cost.per_clip_ms.append(1e3 * (meter.cost.counting_s + meter.cost.rest_s - before))
        meter.cost.heard_s += clip.duration_s
        answers[clip.name] = matches[0].track_id if matches else None
    index.without_decoys_of = None
    live, found, false, latencies_s = Meter(index), 0, 0, list[float]()
    for heard in streams:
        told = _monitor(live, index, heard)
        live.cost.heard_s += heard.duration_s
        matched = set[str]()
        for track_id, begin_s, end_s in heard.truth:
            mine = {h: t for h, (t, play) in told.items() if play.track_id == track_id and play.begin_s < end_s and play.end_s > begin_s}
            matched |= mine.keys()
            if mine:
                found += 1
                latencies_s.append(min(mine.values()) - begin_s)
        false += len(told.keys() - matched)
    return Heard(index, answers, meter.cost, live.cost, found, false, latencies_s)


def _monitor(meter: Meter, index: ScaleIndex, heard: Stream) -> dict[str, tuple[float, Play]]:
    """By hit: when it was first told, and its last revision."""
    front = _Recorded(heard.parts, heard.finals)
    hearing = Hearing(params=_PARAMS, size=index.size, stream_id="scale", source="file", window=lambda: front)
    told: dict[str, tuple[float, Play]] = {}
    at_s = 0.0
    for length in heard.lengths:
        changed = meter.drive(hearing.push(AudioChunk(samples=np.zeros(length, np.float32), start_s=at_s)))
        at_s += length / RATE_HZ
        told |= {play.hit_id: (told.get(play.hit_id, (at_s,))[0], play) for play in changed}
    return told | {play.hit_id: (told.get(play.hit_id, (at_s,))[0], play) for play in meter.drive(hearing.flush())}


# --------------------------------------------------------------------------------------------------- figures


def figures() -> list[dict[str, Any]]:
    """Measures for hours. Rows of figure, value, unit, bar, met, against, command."""
    real, clips = sound()
    streams = [stream(number, {r.track_id for r in real}) for number in range(_STREAMS)]
    rows: list[dict[str, Any]] = []
    least: Heard | None = None
    for tracks in SIZES:
        heard = hear(ScaleIndex(real=real, tracks=tracks, folder=HOME / "scale" / str(tracks)), clips, streams)
        (HOME / "scale" / f"heard-{tracks}.json").write_text(json.dumps({"answers": heard.answers, "clips": vars(heard.clips), "streams": vars(heard.streams)}))
        rows += _rows(heard, clips, least)
        least = least or heard
    return rows


def _rows(heard: Heard, clips: Sequence[Clip], least: Heard | None) -> list[dict[str, Any]]:
    size, name = heard.index.size, f"{heard.index.size.tracks:,}: "
    known = [clip for clip in clips if clip.track_id]
    recall = _recall(heard, known)
    rows = [
        _row(f"{name}catalogue", size.seconds / 3_600, "h"),
        _row(f"{name}postings in the catalogue", size.postings / 1e6, "million"),
        _row(f"{name}recall, mean of all conditions", recall, "%", least=None if least is None else _recall(least, known) - POINTS),
        _row(f"{name}wrong answers", sum(heard.answers[c.name] not in (None, c.track_id) for c in clips), "of " + str(len(clips)), most=0),
        _row(f"{name}plays found in the streams", heard.found, "plays", least=None if least is None else least.found),
        _row(f"{name}false plays in the streams", heard.false, "plays", most=0),
        _row(f"{name}from a play's begin to its telling, median", float(np.median(heard.latencies_s)) if heard.latencies_s else math.nan, "s"),
    ]
    rows += [row for which, cost in (("clips", heard.clips), ("streams", heard.streams)) for row in _costs(f"{name}{which}: ", cost, heard)]
    rows.append(_row(f"{name}clips: CPU of one, median", float(np.median(heard.clips.per_clip_ms)), "ms"))
    rows.append(_row(f"{name}clips: CPU of one, p95", float(np.quantile(heard.clips.per_clip_ms, 0.95)), "ms"))
    for condition in dict.fromkeys(clip.condition for clip in known):
        some = [clip for clip in known if clip.condition == condition]
        # One excerpt of a few is more than the points allowed.
        allowed = max(POINTS, 100 / len(some))
        rows.append(_row(f"{name}recall, {condition}", _recall(heard, some), "%", least=None if least is None else _recall(least, some) - allowed))
    return rows


def _recall(heard: Heard, clips: Sequence[Clip]) -> float:
    """Per cent of clips of the catalogue that are answered with their recording."""
    return 100 * float(np.mean([heard.answers[clip.name] == clip.track_id for clip in clips]))


def _costs(name: str, cost: Cost, heard: Heard) -> list[dict[str, Any]]:
    return [
        _row(f"{name}hashes asked", cost.asked / cost.heard_s, "1/s"),
        _row(f"{name}hashes stopped, with over {postings_max(heard.index.size)} postings", 100 * cost.stopped / max(cost.asked, 1), "%"),
        _row(f"{name}postings read", cost.postings / cost.heard_s, "1/s"),
        _row(f"{name}postings of one look-up, most", cost.postings_most, "postings"),
        _row(f"{name}candidates verified", cost.candidates / cost.heard_s, "1/s"),
        _row(f"{name}CPU of counting", 1e3 * cost.counting_s / cost.heard_s, "ms/s"),
        _row(f"{name}CPU of all else but the fingerprint", 1e3 * cost.rest_s / cost.heard_s, "ms/s"),
        _row(f"{name}longest computation without an answer", 1e3 * cost.slowest_s, "ms"),
    ]


def _row(figure: str, value: float, unit: str, *, least: float | None = None, most: float | None = None) -> dict[str, Any]:
    if least is None:
        return row(figure, value, unit, command=COMMAND, bar=most)
    against = f"{SIZES[0]:,} recordings, same excerpts, same run; {POINTS:g} points, or one excerpt where that is more"
    return row(figure, value, unit, command=COMMAND, bar=least, met=operator.ge, against=against)
