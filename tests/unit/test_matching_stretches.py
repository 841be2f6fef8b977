"""What counts for a recording where another one has the same sound."""

import math

import numpy as np
import pytest

from earmark.fingerprint.window import fingerprint
from earmark.matching.stretches import MARGIN_FRAMES, merged, own, own_nats
from earmark.matching.verification import Alignment, Constellation, Line, align, judge
from earmark.model import EIGHTHS, FRAMES_PER_S, Float32, Peaks, Shared
from hearing_sounds import noise, tune

SECONDS = 12.0
PIECE = fingerprint(tune(1, 20))


def heard_in(sound: Float32, reference: Peaks = PIECE) -> Alignment:
    """The first 12 s of a sound against a recording from its beginning."""
    alignment = align(Constellation.of(fingerprint(sound)), Constellation.of(reference), Line(pitch=1.0, slope=1.0, offset=0.0), 0.0, SECONDS * FRAMES_PER_S)
    assert alignment is not None
    return alignment


def shared(begin_s: float, end_s: float, peaks: Peaks) -> Shared:
    """A stretch of a recording, of whose peaks another one has these."""
    begin, end = int(begin_s * FRAMES_PER_S), int(end_s * FRAMES_PER_S)
    return Shared(begin_frame=begin, end_frame=end, eighth_frames=tuple(peaks.between(begin, end).eighth_frames.tolist()))


def test_where_nothing_is_shared_all_counts() -> None:
    alignment = heard_in(tune(1, 14))
    assert own(alignment, ()) is alignment
    assert own(alignment, [shared(15, 19, PIECE)]) is alignment
    assert own_nats(alignment, ()) == math.inf


def test_a_stretch_whose_every_peak_is_shared_does_not_count() -> None:
    alignment = heard_in(tune(1, 14))
    begin, end = 3 * FRAMES_PER_S, 8 * FRAMES_PER_S
    left = own(alignment, [shared(3, 8, PIECE)])
    for frame in (left.heard.frame, left.stored.frame, left.query_frame):
        assert len(frame)
        assert not np.any((frame >= begin - MARGIN_FRAMES) & (frame < end + MARGIN_FRAMES))
    assert 0 < judge(left).nats < judge(alignment).nats
    assert own_nats(alignment, [shared(0, 20, PIECE)]) == 0


def test_what_is_heard_of_a_shared_sound_alone_does_not_count_and_the_whole_recording_does() -> None:
    """A loop under a piece: bare it proves nothing, with the piece it does, also under noise."""
    loop, piece = tune(9, 14), tune(2, 14)
    reference = fingerprint(loop + piece)
    of_the_loop = np.isin(reference.eighth_frames, fingerprint(loop).eighth_frames)
    stretch = shared(0, 14, reference.take(of_the_loop))
    bare, whole, noisy = (heard_in(sound, reference) for sound in (loop, loop + piece, loop + piece + noise(3, 14, 0.1)))
    assert judge(bare).nats > 40
    assert own_nats(bare, [stretch]) == 0
    assert own(whole, [stretch]) is whole
    assert own(noisy, [stretch]) is noisy


def test_a_line_at_another_speed_meets_the_stretch_where_it_is() -> None:
    fast = tune(1, 20)[::1]
    position = np.arange(0, len(fast) - 1, 1.05)
    sound = np.interp(position, np.arange(len(fast)), fast).astype(np.float32)
    line = Line(pitch=1.05, slope=1.05, offset=0.0)
    alignment = align(Constellation.of(fingerprint(sound)), Constellation.of(PIECE), line, 0.0, SECONDS * FRAMES_PER_S)
    assert alignment is not None
    left = own(alignment, [shared(6, 11, PIECE)])
    gap = np.diff(left.heard.frame)
    assert gap.max() == pytest.approx((5 * FRAMES_PER_S + 2 * MARGIN_FRAMES) / 1.05, abs=8)


def test_stretches_that_meet_are_one_with_the_peaks_of_both() -> None:
    one = Shared(begin_frame=0, end_frame=100, eighth_frames=(8, 16, 400))
    other = Shared(begin_frame=90, end_frame=150, eighth_frames=(400, 800))
    apart = Shared(begin_frame=200, end_frame=300, eighth_frames=(200 * EIGHTHS,))
    assert merged([apart, other, one]) == (Shared(begin_frame=0, end_frame=150, eighth_frames=(8, 16, 400, 800)), apart)
    assert merged([]) == ()
