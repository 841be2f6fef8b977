"""A constellation as it would be if the sound ran backwards: as music as music is, and no recording."""

import numpy as np

from earmark.model import EIGHTHS, Peaks


def mirrored(peaks: Peaks, frames: int) -> Peaks:
    """Peaks of some frames of sound, in reverse order of time.

    Tuning, key, tempo and density stay, which is what recordings have in common by chance; attacks and what follows them do not.

    Args:
        peaks: in ``[0, frames)``.
        frames: that are turned round.

    Returns:
        Peaks in ``(0, frames]``, in order.
    """
    eighth_frames = np.int32(frames * EIGHTHS) - peaks.eighth_frames
    order = np.lexsort((peaks.eighth_hz, eighth_frames))
    kept = peaks.take(order)
    return Peaks(eighth_frames=eighth_frames[order], eighth_hz=kept.eighth_hz, hashed=kept.hashed, salience=kept.salience)
