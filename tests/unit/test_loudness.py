"""profiles.loudness against the signals of EBU Tech 3341 and 3342, and against what is no sound."""

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.profiles.loudness import Loudness, Measured, closed
from profile_sounds import RATE_HZ, in_channels, tones


def measured(samples: np.ndarray, *, rate_hz: int = RATE_HZ, layout: str = "stereo", piece: int = 4_096) -> Measured:
    """float [n, channels], a frame at a time."""
    loudness = Loudness()
    name = {"float32": "flt", "float64": "dbl", "int16": "s16"}[str(samples.dtype)]
    for begin in range(0, len(samples), piece):
        part = samples[begin : begin + piece]
        # PyAV makes no frames of eight planes.
        planes, kind = (part.reshape(1, -1), name) if samples.shape[1] >= 8 else (np.ascontiguousarray(part.T), f"{name}p")
        frame = av.AudioFrame.from_ndarray(planes, format=kind, layout=layout)
        frame.sample_rate = rate_hz
        loudness.push(frame)
    return loudness.finish()


@pytest.mark.parametrize(
    "parts, lufs",
    [
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
    ids=["case 1", "case 2", "case 4", "case 5"],
)
def test_integrated_loudness_is_that_of_ebu_tech_3341(parts, lufs):
    assert measured(tones(*parts)).loudness_lufs == pytest.approx(lufs, abs=0.1)


def test_surround_is_weighed_as_in_case_6_of_ebu_tech_3341():
    assert measured(in_channels([-28, -28, -24, -30, -30], 20), layout="5.0").loudness_lufs == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("parts, lu", [([(-20, 20), (-30, 20)], 10), ([(-20, 20), (-15, 20)], 5), ([(-40, 20), (-20, 20)], 20)])
def test_loudness_range_is_that_of_ebu_tech_3342(parts, lu):
    assert measured(tones(*parts)).loudness_range_lu == pytest.approx(lu, abs=1)


def test_a_peak_between_two_samples_is_found_as_in_case_16_of_ebu_tech_3341():
    """A quarter of the rate, begun at 45 degrees: the samples are 3 dB below the peak, which is -6 dBTP."""
    at = np.arange(2 * RATE_HZ)
    sine = 0.5 * np.sin(2 * np.pi * at / 4 + np.pi / 4) * np.minimum(1, at / 4_800)
    peak = measured(np.stack([sine, sine], axis=1).astype(np.float32)).true_peak_dbtp
    assert -6.4 <= peak <= -5.8


@pytest.mark.parametrize("rate_hz, dtype", [(8_000, np.float32), (22_050, np.int16), (44_100, np.float64), (96_000, np.int16), (192_000, np.float32)])
def test_any_rate_and_any_kind_of_sample_is_as_loud(rate_hz, dtype):
    samples = tones((-23, 2), rate_hz=rate_hz)
    samples = np.round(samples * 32_767).astype(dtype) if dtype is np.int16 else samples.astype(dtype)
    assert measured(samples, rate_hz=rate_hz).loudness_lufs == pytest.approx(-23, abs=0.2)


def test_a_change_of_format_is_heard_on():
    """As of a file that was cut together from others."""
    loudness = Loudness()
    for rate_hz, layout, channels, dbfs in ((48_000, "stereo", 2, -23), (44_100, "stereo", 2, -23), (22_050, "mono", 1, -20)):
        samples = tones((dbfs, 4), rate_hz=rate_hz, channels=channels)
        for begin in range(0, len(samples), 1_024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[begin : begin + 1_024].T), format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate_hz, 7  # stamps mean nothing
            loudness.push(frame)
    made = loudness.finish()
    assert made.loudness_lufs == pytest.approx(-23, abs=0.5) and made.sounding.sum() == pytest.approx(120, abs=2)


# ------------------------------------------------------------------------------------------------ what sounds


def test_seconds_that_sound_are_counted_to_a_tenth():
    silence = (-120, 3)
    made = measured(tones(silence, (-20, 5), silence, (-40, 2), silence))
    assert made.sounding.sum() == pytest.approx(70, abs=2)
    assert not made.sounding[:28].any() and made.sounding[32:79].all() and not made.sounding[82:109].any()


def test_what_is_below_the_threshold_is_silence_and_a_short_pause_is_none():
    assert measured(tones((-64, 4))).sounding.sum() == 0
    assert measured(tones((-20, 2), (-120, 0.3), (-20, 2))).sounding.all()


@given(st.lists(st.booleans(), max_size=60))
def test_only_pauses_of_less_than_400_ms_are_taken_for_sound(steps):
    """What is loud is so for three steps longer: closing takes that back."""
    sound = np.array([True, True, True, *steps], np.bool_)
    loud = np.array([sound[max(0, step - 3) : step + 1].any() for step in range(len(sound))])
    found = closed(loud)
    assert found[sound].all()
    for begin in range(len(sound) - 3):
        if not sound[begin : begin + 4].any():
            assert not found[begin]


# ------------------------------------------------------------------------------------------------ what is no sound


def test_silence_and_direct_current_have_no_loudness_and_no_second_of_sound():
    for samples in (np.zeros((2 * RATE_HZ, 2), np.float32), np.full((4 * RATE_HZ, 2), 0.5, np.float32)):
        made = measured(samples)
        assert made.sounding is not None
        # What is switched on clicks.
        assert made.sounding[10:].sum() == 0
    assert measured(np.zeros((2 * RATE_HZ, 2), np.float32)).flaw.startswith("it is silent: nothing in it is above -70 LUFS")


def test_what_is_shorter_than_the_shortest_measure_is_said_to_be():
    for seconds in (0.01, 0.3):
        assert measured(tones((-20, seconds))) == Measured(flaw="it is too short: EBU R 128 measures 0.4 s at a time")
    made = measured(tones((-20, 2)))
    assert made.loudness_lufs is not None and made.loudness_range_lu is None
    assert made.why == {"loudness_range_lu": "it is too short: EBU Tech 3342 measures 3 s at a time"}
    assert Loudness().finish().flaw


def test_samples_that_are_no_numbers_are_silence_and_spoil_no_other():
    samples = tones((-23, 10))
    samples[RATE_HZ, 0], samples[2 * RATE_HZ, 1], samples[3 * RATE_HZ] = np.nan, np.inf, -np.inf
    assert measured(samples).loudness_lufs == pytest.approx(-23, abs=0.1)
    nothing = np.full((RATE_HZ, 2), np.nan, np.float32)
    assert measured(nothing).loudness_lufs is None


def test_numbers_beyond_all_sense_are_said_to_be_no_level():
    made = measured(tones((-23, 2)) * np.float32(1e30))
    assert made.loudness_lufs is None and "times full scale, so they are no measure of level" in made.flaw


def test_clipped_sound_is_measured_as_it_is():
    made = measured(np.clip(tones((12, 5)), -1, 1))
    assert 0 < made.loudness_lufs < 4 and made.true_peak_dbtp >= 0


@pytest.mark.parametrize("layout, channels", [("mono", 1), ("7.1", 8), ("stereo", 2)])
def test_any_number_of_channels(layout, channels):
    assert measured(tones((-30, 2), channels=channels), layout=layout).loudness_lufs is not None
