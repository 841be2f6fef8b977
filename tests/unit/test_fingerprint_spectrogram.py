import numpy as np
import pytest

from earmark.fingerprint.spectrogram import BINS, FRAME_SAMPLES, PASS_FRAMES, Spectrogram, frames_in
from earmark.model import HOP_SAMPLES
from fingerprint_audio import music, silence


@pytest.mark.parametrize(
    "samples_n, frames_n", [(0, 0), (1, 0), (FRAME_SAMPLES - 1, 0), (FRAME_SAMPLES, 1), (FRAME_SAMPLES + 255, 1), (FRAME_SAMPLES + 256, 2)]
)
def test_only_whole_frames_count(samples_n: int, frames_n: int) -> None:
    assert frames_in(samples_n) == frames_n


def test_levels_are_those_of_the_textbook() -> None:
    samples = music(11, 3)
    levels = Spectrogram().levels(samples, 3, PASS_FRAMES)
    hann = np.hanning(FRAME_SAMPLES + 1)[:-1]
    for frame in range(PASS_FRAMES):
        begin = (3 + frame) * HOP_SAMPLES
        spectrum = np.fft.rfft(samples[begin : begin + FRAME_SAMPLES].astype(np.float64) * hann)[:BINS]
        power = np.abs(spectrum) ** 2 + 1e-6
        loud = power > power.max() * 1e-9  # below that, float32 rounds
        np.testing.assert_allclose(levels[frame, loud], np.log(power)[loud], atol=0.02)


def test_silence_is_flat() -> None:
    levels = Spectrogram().levels(silence(1), 0, 5)
    assert levels.shape == (5, BINS)
    assert np.ptp(levels) == 0


def test_a_frame_has_the_same_bits_wherever_in_a_block_it_stands() -> None:
    samples, spectrogram = music(12, 3), Spectrogram()
    whole = spectrogram.levels(samples, 0, PASS_FRAMES).copy()
    for first in range(PASS_FRAMES):
        for frames_n in (1, 2, 3, 7, 16, 17):
            part = spectrogram.levels(samples, first, min(frames_n, PASS_FRAMES - first))
            assert part.tobytes() == whole[first : first + frames_n].tobytes()
