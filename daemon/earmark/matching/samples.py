"""Is it the recording, or a sample that it shares with another one?

Recordings that share a drum loop, or a chord from a library, match truly, and for minutes; but not much of them does.
How much of a recording should be explained depends on what else is heard. Under a talker or in noise most of it is
masked, and a true match explains a twentieth of what is there. A recording that is heard *in the foreground*, whose
peaks stand out of the rest, cannot be masked, and there a twentieth is a sample.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from earmark.matching.histograms import NARROW
from earmark.matching.stretches import own_nats
from earmark.matching.verification import HIT_FRAMES, Alignment, Evidence, judge, judge_without_best
from earmark.model import FRAMES_PER_S, Shared


@dataclass(frozen=True, kw_only=True)
class SampleModel:
    """Fitted figures.

    In clean and coded music outside the catalogue such matches reached 51 nats with .027 of the smaller constellation, 44
    with .033; in the foreground 73 with .073; where the sample repeats 118 with .08. The least that true matches of 12 s
    explained was .25 where nothing was over them, .04 under a talker (at most 1.5 times as prominent as the rest), .02 in noise.
    """

    #: A recording explains at least this share of what is heard, or of what it has there.
    share: float
    #: The same where another place of it has so much of the evidence: a sample comes again and again.
    rival: float
    rival_share: float
    #: The same where it is so many times as prominent as all that is heard, or
    prominent: float
    #: where the tempo alone is off by more than this, beyond what half a frame of uncertainty makes of it: some bars of
    #: another recording may fit at an odd tempo.
    tempo: float
    strict_share: float
    #: How fast the evidence for a recording falls with a share that is less, and how much more must be left of it than chance
    #: would have to be beaten by.
    power: float
    margin_nats: float
    #: Noise: so many peaks are heard in a second, and stand out by no more nepers on average. There neither of the first two
    #: shares is asked for.
    noise_per_s: float
    noise_salience: float


#: A sample is seldom longer than 4 s.
_QUOTED_FRAMES = 4 * FRAMES_PER_S
#: A clip is all there is; a live stream can wait for a pause in the talk, and is looked at three thousand times an hour: the
#: best that a sample gave in three of 20 minutes was 28 nats.
IN_A_CLIP = SampleModel(
    share=0.04,
    rival=0.6,
    rival_share=0.08,
    prominent=1.55,
    tempo=0.004,
    strict_share=0.14,
    power=3.0,
    margin_nats=0.0,
    noise_per_s=36.0,
    noise_salience=2.6,
)
LIVE = replace(IN_A_CLIP, share=0.08, rival=0.35, rival_share=0.14, prominent=1.35, margin_nats=12.0)


def recording_nats(alignment: Alignment, evidence: Evidence, samples: SampleModel, *, rival_nats: float = 0.0) -> float:
    """What the evidence that this *sound* is heard is worth as evidence that this *recording* is.

    Args:
        alignment: of the recording,
        evidence: and what it is worth.
        samples: what is asked of it.
        rival_nats: the most evidence at another place of the recording, in the same seconds.
    """
    if _odd_tempo(alignment, samples) or prominence(alignment) >= samples.prominent:
        least = samples.strict_share
    elif in_noise(alignment, samples):
        return evidence.nats
    else:
        least = samples.rival_share if rival_nats >= samples.rival * evidence.nats else samples.share
    return evidence.nats * math.pow(min(1.0, evidence.share / least), samples.power)


def believed(
    alignment: Alignment,
    shared: Sequence[Shared],
    samples: SampleModel,
    *,
    threshold_nats: float,
    left_nats: float,
    rival_nats: float = 0.0,
    part: float = 1.0,
) -> bool:
    """Whether somebody should be told that this recording is heard.

    Args:
        alignment: of the recording,
        shared: and the stretches of it that others have too.
        samples, rival_nats: as in `recording_nats`.
        threshold_nats: evidence that makes it more than chance.
        left_nats: evidence that must be left without its best seconds, and where it is nobody else's.
        part: of a window, that was heard: what must be left shrinks with it, and so do the best seconds.
    """
    evidence = judge(alignment)
    return (
        recording_nats(alignment, evidence, samples, rival_nats=rival_nats) > threshold_nats + samples.margin_nats
        and own_nats(alignment, shared) > left_nats * part**2
        and judge_without_best(alignment, quoted_frames(evidence) * part).nats > left_nats * part**2
    )


def quoted_frames(evidence: Evidence) -> float:
    """How long a stretch a quotation may fill: the more of what is heard the recording explains, the shorter."""
    return _QUOTED_FRAMES * math.pow(1 - min(1.0, evidence.share), 1.5)


def _odd_tempo(alignment: Alignment, samples: SampleModel) -> bool:
    line, frames = alignment.line, alignment.end_frame - alignment.begin_frame
    return abs(line.slope - line.pitch) > samples.tempo + 0.5 / frames


def prominence(alignment: Alignment) -> float:
    """How far the peaks on the line stand out, as a multiple of how far all that were heard do; 0 if none are on it."""
    salience = alignment.heard.salience
    on = alignment.query[(np.abs(alignment.off) <= HIT_FRAMES) & (np.abs(alignment.miss) <= NARROW)]
    return float(salience[np.unique(on)].mean() / max(float(salience.mean()), 1e-6)) if len(on) else 0.0


def in_noise(alignment: Alignment, samples: SampleModel) -> bool:
    """Whether what is heard is mostly noise: many peaks, that barely stand out."""
    heard_s = (alignment.end_frame - alignment.begin_frame) / FRAMES_PER_S
    salience = alignment.heard.salience
    return len(salience) >= samples.noise_per_s * heard_s and float(salience.mean()) <= samples.noise_salience
