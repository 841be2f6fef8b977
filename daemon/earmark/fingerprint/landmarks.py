"""Peaks to landmarks: hashed combinations of neighbouring peaks, in two families.

*Triples* (`triples`) of sparse peaks barely change with speed; *pairs* (`pairs`) of dense peaks survive what triples do
not, in recordings that are played as they are. Both choose their targets by salience (`targets`). An index knows only
hashes: the fields are mixed down to 31 bits (`key`), the families apart.

**A question asks more than a reference answers.** In a reference an anchor has three targets (triples) and two (pairs).
What is asked of a stream takes more targets than that, because some of those that stand out there are not the
recording's; how many is its *depth*. A live stream is asked `LIVE`, about 160 questions a second, its last seconds
`AGAIN` under another speed now and then, a clip `DEEP`.

Everything is computed from the *rounded* peaks, eighths of a frame and of a hertz.

Sources: D. Knuth, "The Art of Computer Programming" 3, section 6.4 (multiplicative hashing).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.fingerprint import pairs, triples
from earmark.fingerprint.targets import LOOKAHEAD_FRAMES
from earmark.model import EIGHTHS, Int32, Landmarks, Peaks

#: Of one hash a recording keeps its first few postings: a loop says it once, not fifty times.
KEEP: Final = 4

_KEY_BITS: Final = 31
# 2^64 over the golden ratio, odd.
_GOLDEN: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
# Anchors whose targets are gathered at once: bounds the work arrays to a few MB, however long the recording.
_ANCHORS_AT_ONCE: Final = 1_024

_Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Depth:
    """How much is asked about each anchor."""

    #: Targets taken, and whether the cells are asked for that a value barely misses.
    triple_targets: int
    pair_targets: int
    neighbours: bool


LIVE: Final = Depth(triple_targets=3, pair_targets=3, neighbours=False)
AGAIN: Final = Depth(triple_targets=3, pair_targets=3, neighbours=True)
DEEP: Final = Depth(triple_targets=6, pair_targets=6, neighbours=True)


def key(packed: _Int64) -> Int32:
    """Packed fields as the index knows them: int32 [n], never negative. Knuth's multiplicative hash, upper 31 of 64 bits."""
    return (packed.view(np.uint64) * _GOLDEN >> np.uint64(64 - _KEY_BITS)).astype(np.int32)


def landmarks(peaks: Peaks) -> Landmarks:
    """All landmarks of a recording, as a reference stores them (before `first_postings`).

    Args:
        peaks: a whole constellation in order of (time, frequency), with their salience.

    Returns:
        Triples, then pairs, each in order of their anchors; `frame` is the anchor's time, a multiple of 1/8.
    """
    sparse = peaks.take(peaks.hashed)
    parts = [_landmarks(sparse, *triples.triples(sparse, anchors, triples.TARGETS)) for anchors in _slices(sparse)]
    parts += [_landmarks(peaks, *pairs.pairs(peaks, anchors, pairs.TARGETS)) for anchors in _slices(peaks)]
    return _join(parts)


def unranked(peaks: Peaks) -> Landmarks:
    """Landmarks to look a stored recording up by, whose peaks' salience was not kept: more than it has, and about half of its own."""
    depth = Depth(triple_targets=DEEP.triple_targets, pair_targets=DEEP.pair_targets, neighbours=False)
    whole: dict[str, float] = {"begin_frame": -math.inf, "end_frame": math.inf}
    return _join([questions(peaks, **whole, depth=depth) for questions in (triple_questions, pair_questions)])


def first_postings(landmarks: Landmarks, keep: int = KEEP) -> Landmarks:
    """At most `keep` landmarks of one hash, its earliest; the order stays.

    Otherwise a stop list silences just the loops: a piece that repeats a bar fills its own hashes.
    """
    order = np.lexsort((landmarks.frame, landmarks.hash))
    ordered = landmarks.hash[order]
    rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered, "left")
    kept = np.sort(order[rank < keep])
    return Landmarks(hash=landmarks.hash[kept], frame=landmarks.frame[kept])


def sampled(landmarks: Landmarks, one_of: int) -> Landmarks:
    """One landmark of so many: those of the same hashes, whatever the recording."""
    kept = (landmarks.hash % one_of == 0).nonzero()[0]
    return Landmarks(hash=landmarks.hash[kept], frame=landmarks.frame[kept])


def triple_questions(peaks: Peaks, *, begin_frame: float, end_frame: float, speed: float = 1.0, depth: Depth = LIVE) -> Landmarks:
    """Triples to look up for a stretch of a stream: those anchored in it, and what they may be in a reference.

    Asked second by second, the questions are those of the whole.

    Args:
        peaks: a stream's constellation in order of (time, frequency), final up to `LOOKAHEAD_FRAMES` behind `end_frame`
            or to the end of the run.
        begin_frame: only anchors from here on,
        end_frame: and before here.
        speed: hypothesis, reference seconds per stream second. The target zone stays one of stream frames.
        depth: how much to ask.

    Returns:
        Landmarks, none twice; `frame` is the anchor's time in the *stream*, a multiple of 1/8, whatever the speed.
    """
    zone = peaks.between(begin_frame, end_frame + LOOKAHEAD_FRAMES)
    sparse = zone.take(zone.hashed)
    return _questions(sparse, *triples.triples(sparse, _anchors(sparse, end_frame), depth.triple_targets, speed=speed, neighbours=depth.neighbours))


def pair_questions(peaks: Peaks, *, begin_frame: float, end_frame: float, speed: float = 1.0, depth: Depth = LIVE) -> Landmarks:
    """The same for pairs. They find a speed only if it is right to 0.1 %, or 0.2 % with neighbours."""
    zone = peaks.between(begin_frame, end_frame + LOOKAHEAD_FRAMES)
    return _questions(zone, *pairs.pairs(zone, _anchors(zone, end_frame), depth.pair_targets, speed=speed, neighbours=depth.neighbours))


def swept_questions(peaks: Peaks, *, begin_frame: float, end_frame: float, speeds: Sequence[float], depth: Depth) -> list[Landmarks]:
    """The pairs of a stretch, as in `pair_questions`, under each of several speeds."""
    zone = peaks.between(begin_frame, end_frame + LOOKAHEAD_FRAMES)
    combined = pairs.combined(zone, _anchors(zone, end_frame), depth.pair_targets)
    return [_questions(zone, *pairs.at_speed(zone, *combined, speed=speed, neighbours=depth.neighbours)) for speed in speeds]


def _anchors(peaks: Peaks, end_frame: float) -> slice:
    return slice(0, peaks.before(end_frame))


def _slices(peaks: Peaks) -> Iterator[slice]:
    for begin in range(0, len(peaks), _ANCHORS_AT_ONCE):
        yield slice(begin, min(begin + _ANCHORS_AT_ONCE, len(peaks)))


def _landmarks(peaks: Peaks, packed: _Int64, anchor: npt.NDArray[np.integer]) -> Landmarks:
    return Landmarks(hash=key(packed), frame=peaks.eighth_frames[anchor] / float(EIGHTHS))


def _questions(peaks: Peaks, packed: _Int64, anchor: npt.NDArray[np.integer]) -> Landmarks:
    """Each (frame, hash) once, in that order."""
    questions = peaks.eighth_frames.take(anchor).astype(np.int64) << _KEY_BITS | key(packed)
    questions.sort()
    new = np.ones(len(questions), np.bool_)
    np.not_equal(questions[1:], questions[:-1], out=new[1:])
    questions = questions[new]
    return Landmarks(hash=(questions & ((1 << _KEY_BITS) - 1)).astype(np.int32), frame=(questions >> _KEY_BITS) / float(EIGHTHS))


def _join(parts: list[Landmarks]) -> Landmarks:
    if not parts:
        return Landmarks(hash=np.zeros(0, np.int32), frame=np.zeros(0, np.float64))
    return Landmarks(hash=np.concatenate([p.hash for p in parts]), frame=np.concatenate([p.frame for p in parts]))
