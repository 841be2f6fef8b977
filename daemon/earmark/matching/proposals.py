"""From landmarks to verified lines, and what the catalogue is asked on the way.

Generators that yield a `Question` and are sent its `Answer`, shared by all that hears: at most one look-up and one fetch,
whatever the number of landmarks and candidates.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from earmark.matching.alignment import Candidate, postings_max, rarest
from earmark.matching.verification import NO_EVIDENCE, REACH_FRAMES, Alignment, Constellation, Evidence, Line, align, judge
from earmark.model import Answer, CatalogueSize, Fetch, Landmarks, Lookup, Passage, Postings, Question, Reference

#: Two candidates of a recording are the same if they are this close in frames, and in slope.
_SAME_FRAMES, _SAME_SLOPE = 6.0, 0.005
#: Once a candidate has this much evidence, others of its recording and pitch this close are not looked at, whatever their slope.
_FOUND_NATS, _FOUND_FRAMES = 30.0, 12.0
#: Reference frames on either side of a line that verification may want.
AROUND_FRAMES = REACH_FRAMES + 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verified:
    """A candidate that is more than chance."""

    candidate: Candidate
    track_id: str
    duration_s: float
    alignment: Alignment
    evidence: Evidence


def look_up(asked: Sequence[Landmarks], size: CatalogueSize) -> Generator[Question, Answer, list[Postings]]:
    """The postings of several sets of landmarks, by one question; `query` counts within each set."""
    hashes = np.concatenate([landmarks.hash for landmarks in asked])
    if not len(hashes):
        return [Postings.none() for _ in asked]
    postings = rarest(cast(Postings, (yield Lookup(hashes=hashes, postings_max=postings_max(size)))))
    answers, begin = [], 0
    for landmarks in asked:
        mine = (postings.query >= begin) & (postings.query < begin + len(landmarks))
        answers.append(Postings(query=postings.query[mine] - np.int32(begin), track_no=postings.track_no[mine], frame=postings.frame[mine]))
        begin += len(landmarks)
    return answers


def distinct(candidates: Iterable[Candidate], most: int, frame: float) -> list[Candidate]:
    """The first `most` candidates that are not the same line at a stream frame."""
    found: list[Candidate] = []
    for c in candidates:
        if len(found) == most:
            break
        if not any(_same(c, other, frame) for other in found):
            found.append(c)
    return found


def _same(one: Candidate, other: Candidate, frame: float) -> bool:
    return abs(one.line.slope - other.line.slope) <= _SAME_SLOPE and _near(one, other, frame, _SAME_FRAMES)


def _near(one: Candidate, other: Candidate, frame: float, frames: float) -> bool:
    alike = one.track_no == other.track_no and one.line.pitch == other.line.pitch
    return alike and abs(one.line.reference(frame) - other.line.reference(frame)) <= frames


def verify(
    candidates: Sequence[Candidate], heard: Constellation, begin_frame: float, end_frame: float, *, least_nats: float
) -> Generator[Question, Answer, list[Verified]]:
    """Those of the candidates that have evidence, in their order, by one question.

    Args:
        candidates: what was proposed for ``[begin_frame, end_frame)``.
        heard: the stream's peaks.
        least_nats: less is chance.
    """
    passages = tuple(p for c in candidates if (p := along(c.track_no, c.line, begin_frame, end_frame)).end_frame > 0)
    if not passages:
        return []
    answer = by_recording(cast(list[Reference], (yield Fetch(passages=passages))))
    constellations = {track_no: joined(references) for track_no, references in answer.items()}
    found: list[Verified] = []
    middle = (begin_frame + end_frame) / 2
    for c in candidates:
        if c.track_no not in answer or any(f.evidence.nats > _FOUND_NATS and _near(c, f.candidate, middle, _FOUND_FRAMES) for f in found):
            continue
        alignment = align(heard, constellations[c.track_no], c.line, begin_frame, end_frame)
        evidence = NO_EVIDENCE if alignment is None else judge(alignment)
        if alignment is not None and evidence.nats >= least_nats:
            reference = answer[c.track_no][0]
            found.append(Verified(candidate=c, track_id=reference.track_id, duration_s=reference.duration_s, alignment=alignment, evidence=evidence))
    return found


def along(track_no: int, line: Line, begin_frame: float, end_frame: float) -> Passage:
    """What verifying a line over some stream frames needs of the recording."""
    return passage(track_no, line.reference(begin_frame) - AROUND_FRAMES, line.reference(end_frame) + AROUND_FRAMES)


def passage(track_no: int, begin_frame: float, end_frame: float) -> Passage:
    """Whole frames, none before the recording's first."""
    return Passage(track_no=track_no, begin_frame=max(0, int(np.floor(begin_frame))), end_frame=max(0, int(np.ceil(end_frame))))


def by_recording(references: Iterable[Reference]) -> dict[int, list[Reference]]:
    found: dict[int, list[Reference]] = {}
    for reference in references:
        found.setdefault(reference.track_no, []).append(reference)
    return found


def joined(references: Sequence[Reference]) -> Constellation:
    """Passages of one recording as one constellation; what they share is there once."""
    parts = [Constellation.of(r.peaks) for r in references]
    if len(parts) == 1:
        return parts[0]
    frame, octave = np.concatenate([p.frame for p in parts]), np.concatenate([p.octave for p in parts])
    order = np.lexsort((octave, frame))
    frame, octave = frame[order], octave[order]
    new = np.ones(len(frame), np.bool_)
    new[1:] = (np.diff(frame) != 0) | (np.diff(octave) != 0)
    return Constellation(frame[new], octave[new])
