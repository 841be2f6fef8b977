"""The match of a hit, computed again: the line that was told, the peaks that were listed, the catalogue of now."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.fingerprint.window import fingerprint
from earmark.hearing import Hearing, drive
from earmark.hits import filled
from earmark.hits.proof.evidence import evidence_document
from earmark.matching import explanation
from earmark.matching.again import again, heard_peaks, line_of, wanted
from earmark.matching.lines import seconds
from earmark.matching.verification import Constellation, Line
from earmark.model import EIGHTHS, FRAMES_PER_S, RATE_HZ, Explanation, MatchParams
from hearing_sounds import catalogue, chunks, noise, tune
from hits_samples import play

FIRST = tune(1, 60)
INDEX = catalogue(first=FIRST, second=tune(2, 40))
ON_AIR = np.concatenate([noise(1, 5), FIRST[10 * RATE_HZ : 40 * RATE_HZ] + noise(3, 30), noise(2, 12)])


def _explained() -> Explanation:
    hearing = Hearing(params=MatchParams(), size=INDEX.size(), stream_id="stream", source="file")
    plays = [play for piece in chunks(ON_AIR, RATE_HZ) for play in drive(hearing.push(piece), INDEX.answer)] + drive(hearing.flush(), INDEX.answer)
    found = plays[-1].explanation
    assert found is not None
    return found


FOUND = _explained()
LINE = line_of(speed=FOUND.speed, offset_s=FOUND.offset_s, pitch_cents=FOUND.pitch_cents)
REFERENCE = Constellation.of(fingerprint(FIRST))
PEAKS = heard_peaks(
    [*(FOUND.stream_ms / 1_000), *(FOUND.others[:, 0] / 1_000)],
    [*(FOUND.eighth_hz / EIGHTHS), *(FOUND.others[:, 1] / EIGHTHS)],
)


def test_evidence_lists_all_that_was_heard() -> None:
    assert len(PEAKS) == FOUND.heard_n == FOUND.matched_n + len(FOUND.others)
    assert np.all(np.diff(PEAKS.frame) >= 0)
    whole = fingerprint(ON_AIR)
    heard = set(zip(np.round(whole.frames, 3).tolist(), whole.eighth_hz.tolist(), strict=True))
    listed = set(zip(np.round(PEAKS.frame, 3).tolist(), np.round(EIGHTHS * np.exp2(PEAKS.octave)).astype(int).tolist(), strict=True))
    assert listed <= heard


def test_the_same_peaks_on_the_same_line_are_worth_the_same() -> None:
    found = again(PEAKS, REFERENCE, [LINE], FOUND.begin_s, FOUND.end_s, window_s=12)
    assert found.evidence.nats == pytest.approx(FOUND.evidence_nats, rel=0.05)
    assert (found.begin_s, found.end_s) == pytest.approx((FOUND.begin_s, FOUND.end_s), abs=0.001)


def test_on_another_line_or_another_recording_they_are_worth_nothing() -> None:
    elsewhere = replace(LINE, offset=LINE.offset + 300)
    assert again(PEAKS, REFERENCE, [elsewhere], FOUND.begin_s, FOUND.end_s, window_s=12).evidence.nats < FOUND.threshold_nats
    assert again(PEAKS, REFERENCE, [elsewhere, LINE], FOUND.begin_s, FOUND.end_s, window_s=12).evidence.nats > FOUND.threshold_nats
    other = Constellation.of(fingerprint(tune(2, 40)))
    assert again(PEAKS, other, [LINE], FOUND.begin_s, FOUND.end_s, window_s=12).evidence.nats < FOUND.threshold_nats
    for heard, reference in ((Constellation.none(), REFERENCE), (PEAKS, Constellation.none())):
        assert again(heard, reference, [LINE], FOUND.begin_s, FOUND.end_s, window_s=12).evidence.nats == 0


def test_of_a_longer_stretch_the_best_window_counts() -> None:
    heard = Constellation.of(fingerprint(ON_AIR))
    found = again(heard, REFERENCE, [LINE], 0.0, len(ON_AIR) / RATE_HZ, window_s=12)
    assert found.end_s - found.begin_s == pytest.approx(12, abs=0.01)
    assert 5 <= found.begin_s <= 23 + 1
    assert found.evidence.nats >= again(heard, REFERENCE, [LINE], FOUND.begin_s, FOUND.end_s, window_s=12).evidence.nats * 0.9


@given(st.floats(0.5, 2.0), st.floats(-1e4, 1e4), st.floats(-1_200, 1_200), st.floats(0, 1e5))
def test_a_line_says_the_seconds_that_were_told(speed: float, offset_s: float, cents: float, stream_s: float) -> None:
    line = line_of(speed=speed, offset_s=offset_s, pitch_cents=cents)
    frame = (stream_s - seconds(0.0)) * FRAMES_PER_S
    assert seconds(line.reference(frame)) == pytest.approx(speed * stream_s + offset_s, abs=1e-4)
    assert line.pitch == pytest.approx(2 ** (cents / 1_200))


def test_what_lies_before_the_recording_is_not_asked_for() -> None:
    assert wanted(1, [Line(pitch=1.0, slope=1.0, offset=-1e6)], 0.0, 12.0) == ()
    (passage,) = wanted(1, [LINE, replace(LINE, offset=LINE.offset + 3)], FOUND.begin_s, FOUND.end_s)
    assert (passage.track_no, passage.begin_frame >= 0) == (1, True)


def test_of_too_many_other_peaks_none_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation, "OTHERS_MAX", 10)
    assert len(_explained().others) == 0


def test_seconds_that_fill_a_gap_are_told_as_the_streams_own() -> None:
    moved = filled.earlier(play(explanation=FOUND), 3.0).explanation
    assert moved is not None
    assert np.array_equal(moved.others, FOUND.others - [3_000, 0])
    document = evidence_document(stream_id="stream", play=play(), explanation=moved)
    assert document["others"]["stream_s"] == pytest.approx([second - 3 for second in FOUND.others[:, 0] / 1_000])
