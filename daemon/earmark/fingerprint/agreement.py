"""Whether postings are those of a constellation, as far as that can be told without the salience of its peaks, which is not kept.

Which targets an anchor was combined with cannot be known any more; which it may have been combined with can. So each
posting must have a peak in its frame, and those of a short stretch must be among all the landmarks that its peaks can make,
but for a few. Of another recording's postings one in three fails the first, and nearly all fail the second.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.fingerprint import pairs, triples
from earmark.fingerprint.landmarks import key
from earmark.fingerprint.targets import LOOKAHEAD_FRAMES, TARGET_FRAMES
from earmark.model import EIGHTHS, Landmarks, Peaks

#: The stretch whose landmarks are made, two seconds about the middle posting.
_STRETCH_FRAMES: Final = 64
#: Music has some 17 peaks in a target zone; no sound has more than this (`constellation.DENSE_PER_FRAME_MAX`).
_TARGETS_MAX: Final = 150
#: One of so many may be another: a processor that rounds a logarithm otherwise puts some ratio that lies on a border into the next cell.
_STRANGE: Final = 20
_HASH_BITS: Final = 31

_Int64 = npt.NDArray[np.int64]


def agree(peaks: Peaks, postings: Landmarks) -> bool:
    """Whether the postings may be those of the peaks.

    Args:
        peaks: a whole constellation in order of (time, frequency); salience is not needed.
        postings: some or all that the catalogue keeps of its landmarks, frames rounded down.
    """
    if not len(postings):
        return True
    frame = np.floor(postings.frame).astype(np.int64)
    there = np.zeros(int(peaks.eighth_frames[-1]) // EIGHTHS + 1 if len(peaks) else 0, np.bool_)
    there[peaks.eighth_frames // EIGHTHS] = True
    if frame.min() < 0 or frame.max() >= len(there) or not there[frame].all():
        return False
    begin = max(0, int(np.partition(frame, len(frame) // 2)[len(frame) // 2]) - _STRETCH_FRAMES // 2)
    mine = (frame >= begin) & (frame < begin + _STRETCH_FRAMES)
    possible = _possible(peaks, begin, begin + _STRETCH_FRAMES)
    strange = np.count_nonzero(~np.isin(_numbered(frame[mine], postings.hash[mine]), possible))
    return bool(strange <= 1 + np.count_nonzero(mine) // _STRANGE)


def _possible(peaks: Peaks, begin_frame: int, end_frame: int) -> _Int64:
    """All that peaks of a stretch can be the anchors of, (frame, hash) as one number; nothing where there are more than a sound can have."""
    zone = peaks.between(begin_frame, end_frame + LOOKAHEAD_FRAMES)
    made = []
    for family, of in ((triples.triples, zone.take(zone.hashed)), (pairs.pairs, zone)):
        anchors = slice(0, of.before(end_frame))
        most = _targets(of, anchors)
        if most > _TARGETS_MAX:
            return np.zeros(0, np.int64)
        packed, anchor = family(of, anchors, max(2, most))
        made.append(_numbered(of.eighth_frames[anchor] // EIGHTHS, key(packed)))
    return np.concatenate(made)


def _targets(peaks: Peaks, anchors: slice) -> int:
    """How many peaks lie in the fullest target zone, whatever their frequencies."""
    time = peaks.eighth_frames
    begin = time.searchsorted(time[anchors] + TARGET_FRAMES[0] * EIGHTHS, "left")
    end = time.searchsorted(time[anchors] + TARGET_FRAMES[1] * EIGHTHS, "right")
    return int((end - begin).max(initial=0))


def _numbered(frame: npt.NDArray[np.integer], hashes: npt.NDArray[np.int32]) -> _Int64:
    numbered: _Int64 = frame.astype(np.int64) << _HASH_BITS | hashes
    return numbered
