"""Why a play is believed, for people who ask: the histogram of coincidences around its line, and the peaks on it.

Verification throws away what it counted, since it counts several times a second and stream. For plays that are told it is counted
once more, when they are told and whenever their evidence grew by a tenth: a dozen times a play at most, as the window fills.
"""

from dataclasses import replace
from math import log2

import numpy as np

from earmark.matching.histograms import GUARD_FRAMES, HALF_CELLS, NARROW, WIDE, Histograms, Index, coincidences, nats_by_width
from earmark.matching.lines import Look, seconds
from earmark.matching.verification import Alignment, Evidence
from earmark.model import EIGHTHS, FRAMES_PER_S, Explanation, Float64, Int32, Play

#: Matched peaks that are kept of a window, an even choice where there are more: 12 bytes each.
PEAKS_MAX = 600
#: Of the others all, so that all can be counted again, or none: white noise has 600 in 12 s.
OTHERS_MAX = 1_200
#: Evidence that exceeds what is explained already by this factor is explained anew.
_MARKEDLY = 1.1


def explained(play: Play, look: Look, threshold_nats: float, *, anew: bool = False) -> Play:
    """The play with what proves it, if a look at its line proves it markedly better than any before.

    Args:
        threshold_nats: the evidence that is asked for.
        anew: what was kept before, if anything, is of another line.
    """
    kept = play.explanation
    # Of a play that another session told, what proves it is on record; here it is only known how well it did.
    known = kept.evidence_nats * _MARKEDLY if kept else play.evidence_nats
    if look.alignment is None or not (anew or look.evidence.nats > known):
        return play
    return replace(play, explanation=explain(look.alignment, look.evidence, threshold_nats))


def explain(alignment: Alignment, evidence: Evidence, threshold_nats: float) -> Explanation:
    """What an alignment that is worth `evidence` looks like."""
    width, narrow, counts = _histogram(alignment)
    matched = _matched(alignment, float(HALF_CELLS[width]), NARROW if narrow else WIDE)
    listed = matched if len(matched) <= PEAKS_MAX else matched[np.linspace(0, len(matched) - 1, PEAKS_MAX).round().astype(np.intp)]
    line, heard = alignment.line, alignment.query[listed]
    frame = alignment.heard.frame[heard]
    return Explanation(
        begin_s=max(0.0, seconds(alignment.begin_frame)),
        end_s=seconds(alignment.end_frame),
        speed=line.slope,
        offset_s=seconds(line.offset) - line.slope * seconds(0.0),
        pitch_cents=1_200 * log2(line.pitch),
        evidence_nats=evidence.nats,
        second_nats=evidence.second_nats,
        share=evidence.share,
        threshold_nats=threshold_nats,
        heard_n=len(alignment.heard),
        stored_n=len(alignment.stored),
        matched_n=len(matched),
        coincidences=counts,
        cell_frames=float(2 * HALF_CELLS[width]),
        guard_frames=GUARD_FRAMES,
        narrow=narrow,
        stream_ms=_ms(frame),
        eighth_hz=_eighth_hz(alignment.heard.octave[heard]),
        reference_ms=_ms(line.slope * frame + line.offset + alignment.off[listed]),
        others=_others(alignment, matched),
    )


def _histogram(alignment: Alignment) -> tuple[int, bool, Int32]:
    """The histogram that is worth most, of equals the one with most coincidences on the line: its width, whether it is narrow, its cells."""
    layout, scored = Histograms, []
    counted = coincidences(alignment.query, alignment.reference, alignment.off, np.abs(alignment.miss))
    for fraction, count in zip((NARROW, WIDE), counted, strict=True):
        for width, nats in enumerate(nats_by_width(count, fraction)):
            scored.append(((nats, int(count[layout.main[width]])), width, fraction == NARROW, count))
    _, width, narrow, count = max(scored, key=lambda one: one[0])
    base, cells = int(layout.base[width]), int(2 * layout.half[width] + 1)
    return width, narrow, count[base : base + cells].astype(np.int32)


def _matched(alignment: Alignment, half_cell: float, fraction: float) -> Index:
    """The pairs in the main lobe, by number, one for each heard peak (the closest), in order of time."""
    off = np.abs(alignment.off)
    inside = np.flatnonzero((off <= half_cell) & (np.abs(alignment.miss) <= fraction))
    inside = inside[np.lexsort((off[inside], alignment.query[inside]))]
    heard = alignment.query[inside]
    first = np.ones(len(heard), np.bool_)
    first[1:] = heard[1:] != heard[:-1]
    return inside[first]


def _others(alignment: Alignment, matched: Index) -> Int32:
    """The heard peaks that are not in the main lobe: as `Explanation.others`."""
    rest = np.ones(len(alignment.heard), np.bool_)
    rest[alignment.query[matched]] = False
    others = alignment.heard.take(rest)
    if len(others) > OTHERS_MAX or len(matched) > PEAKS_MAX:
        others = others.take(slice(0))
    return np.stack([_ms(others.frame), _eighth_hz(others.octave)], axis=1)


def _eighth_hz(octave: Float64) -> Int32:
    return np.round(EIGHTHS * np.exp2(octave)).astype(np.int32)


def _ms(frame: Float64) -> Int32:
    """The times of the frames' middles, int32 [n], milliseconds."""
    return np.round(1_000 * (frame / FRAMES_PER_S + seconds(0.0))).astype(np.int32)
