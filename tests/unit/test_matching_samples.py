"""A recording or a sample it shares: what evidence is worth by the share of it that is explained, and by what else is heard."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.matching import samples
from earmark.matching.samples import IN_A_CLIP, LIVE, SampleModel, believed, in_noise, prominence, quoted_frames, recording_nats
from earmark.matching.verification import Alignment, Constellation, Evidence, Line

FRAMES = 375.0
#: Of the tests' own, so that what is fitted anew does not change what they say.
SAMPLES = SampleModel(
    share=0.05, rival=0.5, rival_share=0.1, prominent=1.5, tempo=0.004, strict_share=0.2, power=3.0, margin_nats=10.0, noise_per_s=36.0, noise_salience=2.6
)


def aligned(*, heard: int = 300, on: int = 30, salience: float = 4.0, beside: float = 4.0, tempo: float = 0.0, pitch: float = 1.0) -> Alignment:
    """12 s, of whose peaks some lie on the line; they and the others stand out so far."""
    frame = np.linspace(0, FRAMES, heard, endpoint=False)
    saliences = np.full(heard, beside, np.float32)
    query = np.round(np.linspace(0, heard - 1, on)).astype(np.intp)
    saliences[query] = salience
    constellation = Constellation(frame, np.full(heard, 9.0), saliences)
    return Alignment(
        line=Line(pitch=pitch, slope=pitch + tempo, offset=0.0),
        begin_frame=0.0,
        end_frame=FRAMES,
        heard=constellation,
        stored=constellation,
        query=query,
        reference=query,
        off=np.zeros(on),
        miss=np.zeros(on),
    )


def evidence(share: float, nats: float = 100.0) -> Evidence:
    return Evidence(nats=nats, second_nats=nats, share=share)


def worth(alignment: Alignment, share: float, *, nats: float = 100.0, rival_nats: float = 0.0) -> float:
    return recording_nats(alignment, evidence(share, nats), SAMPLES, rival_nats=rival_nats)


@settings(deadline=None)
@given(share=st.floats(0, 1), nats=st.floats(0, 500))
def test_evidence_falls_with_the_share_that_is_missing(share: float, nats: float) -> None:
    expected = nats if share >= 0.05 else nats * (share / 0.05) ** 3
    assert worth(aligned(), share, nats=nats) == pytest.approx(expected)


CASES = {
    "masked": aligned(),
    "in the foreground": aligned(salience=8),
    "at an odd tempo": aligned(tempo=0.02),
    "in noise": aligned(heard=600, beside=2, salience=2),
}


@pytest.mark.parametrize("alignment", list(CASES.values()), ids=list(CASES))
@settings(deadline=None)
@given(share=st.floats(0, 1), more=st.floats(0, 1), nats=st.floats(0, 500), rival=st.floats(0, 500))
def test_more_of_it_is_never_worth_less_and_never_more_than_its_sound(alignment: Alignment, share: float, more: float, nats: float, rival: float) -> None:
    less, greater = (worth(alignment, s, nats=nats, rival_nats=rival) for s in (share, min(1, share + more)))
    assert 0 <= less <= greater <= nats
    assert worth(alignment, share, nats=nats, rival_nats=rival) <= worth(alignment, share, nats=nats)


def test_what_is_in_the_foreground_must_explain_more() -> None:
    # 30 peaks of 300 that stand out by 7, and by 4 the others: 7 / 4.3.
    assert prominence(aligned(salience=7)) == pytest.approx(7 / 4.3)
    assert worth(aligned(salience=7), 0.1) == pytest.approx(100 * 0.5**3)
    assert worth(aligned(salience=6), 0.1) == 100
    assert worth(aligned(salience=7), 0.2) == 100


def test_what_is_masked_need_not() -> None:
    assert prominence(aligned(salience=2)) < 1
    assert worth(aligned(salience=2), 0.05) == 100


def test_only_peaks_on_the_line_make_it_prominent() -> None:
    alignment = aligned(salience=8)
    astray = np.arange(30) % 2 == 0
    assert prominence(replace(alignment, off=np.where(astray, 1.0, 0.0))) == prominence(alignment)
    assert prominence(replace(alignment, off=np.full(30, -1.0))) == 0
    assert prominence(replace(alignment, miss=np.full(30, -0.5))) == 0
    # A heard peak that pairs with two stored ones counts once.
    loud = alignment.heard.take(slice(None))
    loud.salience[alignment.query[0]] = 40.0
    twice = replace(alignment, heard=loud, query=np.r_[alignment.query, [alignment.query[0]] * 20], off=np.zeros(50), miss=np.zeros(50))
    assert prominence(twice) == pytest.approx(prominence(replace(alignment, heard=loud)))


def test_a_loop_that_fits_in_two_places_must_explain_more() -> None:
    assert worth(aligned(), 0.05, rival_nats=49) == 100
    assert worth(aligned(), 0.05, rival_nats=50) == pytest.approx(100 * 0.5**3)
    assert worth(aligned(), 0.1, rival_nats=100) == 100
    # In the foreground as much as without another place.
    assert worth(aligned(salience=7), 0.1, rival_nats=50) == worth(aligned(salience=7), 0.1)


@pytest.mark.parametrize(
    "threshold, left, own, told",
    [(89.0, 11.0, 11.0, True), (91.0, 11.0, 11.0, False), (89.0, 10.0, 11.0, False), (89.0, 11.0, 10.0, False)],
)
def test_who_is_believed(monkeypatch: pytest.MonkeyPatch, threshold: float, left: float, own: float, told: bool) -> None:
    """10 nats more than chance asks for; 10 nats without the best seconds, and outside what others share."""
    monkeypatch.setattr(samples, "judge", lambda _alignment: evidence(0.5, 100.0))
    monkeypatch.setattr(samples, "judge_without_best", lambda _alignment, _frames: evidence(0.5, left))
    monkeypatch.setattr(samples, "own_nats", lambda _alignment, _shared: own)
    assert believed(aligned(), (), SAMPLES, threshold_nats=threshold, left_nats=10.0) is told


@pytest.mark.parametrize("pitch", [0.95, 1.0, 1.05])
def test_what_fits_at_an_odd_tempo_must_explain_more(pitch: float) -> None:
    """Tempo without its pitch; beyond what half a frame in all of them makes of it."""
    allowed = SAMPLES.tempo + 0.5 / FRAMES
    for tempo, expected in ((0.9 * allowed, 100), (-0.9 * allowed, 100), (1.1 * allowed, 12.5), (-1.1 * allowed, 12.5)):
        assert worth(aligned(pitch=pitch, tempo=tempo), 0.1) == pytest.approx(expected)


def test_in_noise_no_share_is_asked_for() -> None:
    noisy = aligned(heard=500, beside=2.5, salience=3.0)
    assert in_noise(noisy, SAMPLES)
    assert worth(noisy, 0.001) == 100
    assert worth(noisy, 0.001, rival_nats=90) == 100
    # ... but where the recording cannot be masked, or is not sure of its tempo, noise is no excuse.
    assert worth(aligned(heard=500, beside=2, salience=6), 0.1) == pytest.approx(12.5)
    assert worth(replace(noisy, line=Line(pitch=1.0, slope=1.02, offset=0.0)), 0.1) == pytest.approx(12.5)


@pytest.mark.parametrize("heard, salience, noise", [(431, 2.5, False), (433, 2.5, True), (433, 2.7, False), (0, 2.5, False)])
def test_noise_is_many_peaks_that_barely_stand_out(heard: int, salience: float, noise: bool) -> None:
    alignment = aligned(heard=max(heard, 1), on=1, salience=salience, beside=salience)
    if not heard:
        alignment = replace(alignment, heard=Constellation.none(), query=np.zeros(0, np.intp), off=np.zeros(0), miss=np.zeros(0))
    assert in_noise(alignment, SAMPLES) is noise
    assert math.isfinite(worth(alignment, 0.0))


def test_who_can_wait_asks_for_more() -> None:
    assert LIVE.share >= IN_A_CLIP.share
    assert LIVE.prominent <= IN_A_CLIP.prominent
    assert LIVE.rival <= IN_A_CLIP.rival
    assert LIVE.margin_nats > IN_A_CLIP.margin_nats
    for model in (LIVE, IN_A_CLIP):
        assert 0 < model.share < model.strict_share < 0.25  # the least that true matches explained, with nothing over them


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_quotation_may_fill_less_the_more_is_explained(share: float, more: float) -> None:
    assert 0 <= quoted_frames(evidence(min(1, share + more))) <= quoted_frames(evidence(share)) <= 125
