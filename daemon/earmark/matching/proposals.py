"""From landmarks to verified lines, and what the catalogue is asked on the way.

Generators that yield a `Question` and are sent its `Answer`, shared by all that hears: at most one look-up and one fetch,
whatever the number of landmarks and candidates.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from earmark.alias import Alias
from earmark.matching.alignment import Candidate, postings_max, rarest
from earmark.matching.verification import NO_EVIDENCE, REACH_FRAMES, Alignment, Constellation, Evidence, Line, align, judge
from earmark.model import Answer, CatalogueSize, Fetch, Landmarks, Lookup, Passage, Peaks, Postings, Question, Reference, Shared

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
    #: Stretches of the recording around the line that others have too.
    shared: tuple[Shared, ...] = ()
    #: The most evidence at another place of the recording.
    rival_nats: float = 0.0
    #: Other ids of the recording.
    aliases: tuple[str, ...] = ()
    #: It is an alias itself.
    alias: Alias | None = None


def look_up(asked: Sequence[Landmarks], size: CatalogueSize) -> Generator[Question, Answer, list[Postings]]:
    """The postings of several sets of landmarks, by one question; `query` counts within each set. Of each set the `rarest`."""
    hashes = np.concatenate([landmarks.hash for landmarks in asked])
    if not len(hashes):
        return [Postings.none() for _ in asked]
    postings = cast(Postings, (yield Lookup(hashes=hashes, postings_max=postings_max(size))))
    answers, begin = [], 0
    for landmarks in asked:
        mine = ((postings.query >= begin) & (postings.query < begin + len(landmarks))).nonzero()[0]
        query, track_no, frame = (column.take(mine) for column in (postings.query, postings.track_no, postings.frame))
        answers.append(rarest(Postings(query=query - np.int32(begin), track_no=track_no, frame=frame)))
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
    passages = apart(p for c in candidates if (p := along(c.track_no, c.line, begin_frame, end_frame)).end_frame > 0)
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
            found.append(
                Verified(
                    candidate=c,
                    track_id=reference.track_id,
                    duration_s=reference.duration_s,
                    alignment=alignment,
                    evidence=evidence,
                    shared=shared(answer[c.track_no]),
                    aliases=reference.aliases,
                    alias=reference.alias,
                )
            )
    return found


def along(track_no: int, line: Line, begin_frame: float, end_frame: float) -> Passage:
    """What verifying a line over some stream frames needs of the recording."""
    return passage(track_no, line.reference(begin_frame) - AROUND_FRAMES, line.reference(end_frame) + AROUND_FRAMES)


def passage(track_no: int, begin_frame: float, end_frame: float) -> Passage:
    """Whole frames, none before the recording's first."""
    return Passage(track_no=track_no, begin_frame=max(0, int(np.floor(begin_frame))), end_frame=max(0, int(np.ceil(end_frame))))


def apart(passages: Iterable[Passage]) -> tuple[Passage, ...]:
    """The same frames as passages that do not overlap: many lines lie in one verse, and it is fetched once."""
    found: list[Passage] = []
    for p in sorted(passages, key=lambda p: (p.track_no, p.begin_frame)):
        if found and (last := found[-1]).track_no == p.track_no and p.begin_frame <= last.end_frame:
            found[-1] = Passage(track_no=p.track_no, begin_frame=last.begin_frame, end_frame=max(last.end_frame, p.end_frame))
        else:
            found.append(p)
    return tuple(found)


def by_recording(references: Iterable[Reference]) -> dict[int, list[Reference]]:
    found: dict[int, list[Reference]] = {}
    for reference in references:
        found.setdefault(reference.track_no, []).append(reference)
    return found


def shared(references: Sequence[Reference]) -> tuple[Shared, ...]:
    """What of passages of one recording others have too; a stretch that several passages touch is there once."""
    return tuple(dict.fromkeys(stretch for reference in references for stretch in reference.shared))


def joined(references: Sequence[Reference]) -> Constellation:
    """Passages of one recording that are `apart`, in any order, as one constellation."""
    parts = sorted((r.peaks for r in references if len(r.peaks)), key=lambda peaks: int(peaks.eighth_frames[0]))
    return Constellation.of(Peaks.join(*parts))
