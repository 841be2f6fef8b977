"""What a recording shares with others in the catalogue proves that its *sound* is heard, not which of them it is.

Albums reuse loops, and each match of a loop is true. Which stretches of a recording another one has too is found when
they are added (`earmark.relatives`), and which of its peaks. In such a stretch evidence does not count for the recording,
unless most of the peaks that match are its own: then what is heard is not only what they share.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from earmark.matching.histograms import HALF_CELLS, NARROW
from earmark.matching.verification import Alignment, judge, without
from earmark.model import EIGHTHS, FRAMES_PER_S, Bool, Float64, Shared

#: A stretch is found from peaks, some of which are masked at its ends: it may be so much longer.
MARGIN_FRAMES: Final = 0.5 * FRAMES_PER_S
#: Of the peaks of a shared sound the other recording's own music masks some, so they do not count as shared: up to this
#: part of them, by so many standard deviations.
_MASKED, _DEVIATIONS = 0.5, 2.0


def merged(stretches: Sequence[Shared]) -> tuple[Shared, ...]:
    """What several recordings share, as stretches in order that do not overlap; peaks are those of either."""
    found: list[Shared] = []
    for s in sorted(stretches, key=lambda s: s.begin_frame):
        last = found[-1] if found else None
        if last is None or s.begin_frame >= last.end_frame:
            found.append(s)
        else:
            times = tuple(sorted({*last.eighth_frames, *s.eighth_frames}))
            found[-1] = Shared(begin_frame=last.begin_frame, end_frame=max(last.end_frame, s.end_frame), eighth_frames=times)
    return tuple(found)


def own(alignment: Alignment, shared: Sequence[Shared]) -> Alignment:
    """The alignment without what other recordings may sound like just as well; the very same one if that is all of it.

    Args:
        alignment: of a recording,
        shared: and the stretches that it shares, where the alignment lies; others do not matter.
    """
    heard = alignment.line.slope * alignment.heard.frame + alignment.line.offset
    dropped, lacking = np.zeros(len(heard), np.bool_), np.zeros(len(alignment.stored), np.bool_)
    for stretch in shared:
        if not _its_own(alignment, stretch):
            dropped |= _inside(heard, stretch)
            lacking |= _inside(alignment.stored.frame, stretch)
    if not dropped.any():
        return alignment
    return replace(without(alignment, dropped), stored=alignment.stored.take(~lacking))


def own_nats(alignment: Alignment, shared: Sequence[Shared]) -> float:
    """Evidence for the recording where it is nobody else's; infinite where it shares nothing."""
    left = own(alignment, shared)
    return math.inf if left is alignment else judge(left).nats


def _inside(frame: Float64, stretch: Shared) -> Bool:
    inside: Bool = (frame >= stretch.begin_frame - MARGIN_FRAMES) & (frame < stretch.end_frame + MARGIN_FRAMES)
    return inside


def _its_own(alignment: Alignment, stretch: Shared) -> bool:
    """Whether more of what matches in a stretch is the recording's own than a shared sound alone could make it seem."""
    frame = alignment.line.slope * alignment.query_frame + alignment.line.offset + alignment.off
    on = (np.abs(alignment.off) <= HALF_CELLS[1]) & (np.abs(alignment.miss) <= NARROW) & (frame >= stretch.begin_frame) & (frame < stretch.end_frame)
    _, once = np.unique(alignment.reference[on], return_index=True)
    times = np.rint(frame[on][once] * EIGHTHS)
    of_its_own = int(np.count_nonzero(~np.isin(times, stretch.eighth_frames)))
    return of_its_own > _MASKED * len(times) + _DEVIATIONS * math.sqrt(_MASKED * (1 - _MASKED) * len(times))
