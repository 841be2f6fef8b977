"""Incremental equals batch, bit for bit; nothing is emitted too early, and the number of peaks has a bound."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.fingerprint.constellation import DENSE_PER_FRAME_MAX, SPARSE_PER_FRAME_MAX, Constellation
from earmark.fingerprint.spectrogram import FRAME_SAMPLES, PASS_FRAMES, Spectrogram, frames_in
from earmark.fingerprint.window import LATENCY_S, Scratch, Window, fingerprint
from earmark.model import EIGHTHS, FRAMES_PER_S, HOP_SAMPLES, RATE_HZ, Float32, Peaks
from fingerprint_audio import SOUNDS, chord, constant, music, noise, silence, tone

SIZES = st.sampled_from([0, 1, 2, 37, 255, 256, 257, 1_024, 2_047, 2_048, 2_049, 4_097, 8_000, 16_000]) | st.integers(0, 20_000)
CUTS = st.lists(SIZES, min_size=1, max_size=12)
WHOLE = {name: fingerprint(samples) for name, samples in SOUNDS.items()}


def cut(samples: Float32, sizes: Sequence[int]) -> Iterator[Float32]:
    """The samples in pieces of these sizes, in turn; sizes of zero give empty pieces."""
    begin = turn = 0
    while begin < len(samples):
        size = sizes[turn % len(sizes)] if any(sizes) else len(samples)
        yield samples[begin : begin + size]
        begin, turn = begin + size, turn + 1


def columns(peaks: Peaks) -> tuple[bytes, ...]:
    return tuple(column.tobytes() for column in (peaks.eighth_frames, peaks.eighth_hz, peaks.hashed, peaks.salience))


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(sorted(SOUNDS)), sizes=CUTS)
def test_incremental_equals_batch_bit_for_bit(name: str, sizes: list[int]) -> None:
    window = Window()
    parts = [window.push(piece) for piece in cut(SOUNDS[name], sizes)]
    assert columns(Peaks.join(*parts, window.flush())) == columns(WHOLE[name])


def test_incremental_equals_batch_sample_by_sample() -> None:
    samples = SOUNDS["interrupted"][: 2 * RATE_HZ]
    window = Window()
    parts = [window.push(samples[k : k + 1]) for k in range(len(samples))]
    assert columns(Peaks.join(*parts, window.flush())) == columns(fingerprint(samples))


@settings(deadline=None, max_examples=30)
@given(name=st.sampled_from(["music", "noise", "clicks", "tone in step"]), sizes=CUTS)
def test_what_is_final_stays_final(name: str, sizes: list[int]) -> None:
    window, before, heard = Window(), 0.0, 0
    for piece in cut(SOUNDS[name], sizes):
        peaks = window.push(piece)
        heard += len(piece)
        assert window.final_frame >= before
        assert window.final_frame >= heard / HOP_SAMPLES - LATENCY_S * FRAMES_PER_S
        assert all(before <= frame < window.final_frame for frame in peaks.frames)
        # ... and all of them, as `final_frame` promises.
        assert columns(peaks) == columns(WHOLE[name].between(before, window.final_frame))
        before = window.final_frame


@pytest.mark.parametrize("name", sorted(SOUNDS))
def test_peaks_are_in_strict_order_of_time_and_frequency(name: str) -> None:
    peaks = WHOLE[name]
    order = peaks.eighth_frames.astype(np.int64) << 16 | peaks.eighth_hz
    assert np.all(np.diff(order) > 0)
    assert np.all(peaks.eighth_frames >= 0)
    assert np.all((peaks.eighth_hz >= 180 * EIGHTHS) & (peaks.eighth_hz <= 3_800 * EIGHTHS))


@pytest.mark.parametrize("name", sorted(SOUNDS))
def test_the_number_of_peaks_has_a_bound(name: str) -> None:
    frames_n = frames_in(len(SOUNDS[name])) + 2
    assert len(WHOLE[name]) <= frames_n * DENSE_PER_FRAME_MAX
    assert np.count_nonzero(WHOLE[name].hashed) <= frames_n * SPARSE_PER_FRAME_MAX


@pytest.mark.parametrize("samples", [silence(2), constant(2), constant(2, 1.0), constant(2, -1e-3)])
def test_silence_and_direct_current_have_no_peaks(samples: Float32) -> None:
    assert len(fingerprint(samples)) == 0


def test_a_steady_tone_in_step_with_the_frames_is_one_peak() -> None:
    peaks = fingerprint(tone(1_000, 4))
    assert peaks.hz.tolist() == [1_000]


def test_a_steady_chord_says_no_more_than_its_beginning() -> None:
    assert len(fingerprint(chord(4))) <= 2 * DENSE_PER_FRAME_MAX


def test_music_has_the_expected_density() -> None:
    peaks = fingerprint(music(21, 20))
    assert 20 < len(peaks) / 20 < 60
    assert 0.5 < np.count_nonzero(peaks.hashed) / len(peaks) <= 1


def test_a_peak_is_the_same_wherever_in_a_stream_it_lies() -> None:
    samples = SOUNDS["music"]
    late = fingerprint(np.concatenate([silence(1_000 * HOP_SAMPLES / RATE_HZ), samples])).between(1_003, math.inf)
    early = WHOLE["music"].between(3, math.inf)
    assert (late.eighth_frames - 1_000 * EIGHTHS).tolist() == early.eighth_frames.tolist()
    assert late.eighth_hz.tolist() == early.eighth_hz.tolist()
    assert late.salience.tobytes() == early.salience.tobytes()


def test_gain_changes_next_to_nothing() -> None:
    def cells(peaks: Peaks) -> set[tuple[int, int]]:
        return set(zip(peaks.eighth_frames.tolist(), peaks.eighth_hz.tolist(), strict=True))

    loud = cells(WHOLE["music"])
    quiet = cells(fingerprint(0.25 * SOUNDS["music"]))
    assert len(loud & quiet) > 0.95 * len(loud)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_samples_that_are_no_audio_cost_their_own_frames(bad: float) -> None:
    samples = music(22, 4)
    broken = samples.copy()
    broken[2 * RATE_HZ] = bad
    peaks, whole = fingerprint(broken), fingerprint(samples)
    hit = 2 * RATE_HZ / HOP_SAMPLES  # its frames are those that begin up to 8 frames before
    for begin, end in ((0, hit - FRAME_SAMPLES / HOP_SAMPLES - 3), (hit + 4, math.inf)):
        assert columns(peaks.between(begin, end)) == columns(whole.between(begin, end))
    assert len(peaks.between(hit - 6, hit - 1)) == 0
    window = Window()
    parts = [window.push(piece) for piece in cut(broken, [977])]
    assert columns(Peaks.join(*parts, window.flush())) == columns(peaks)


@pytest.mark.parametrize("push_samples", [HOP_SAMPLES, 3 * HOP_SAMPLES, 2_500, 2 * RATE_HZ, 7 * RATE_HZ])
def test_digital_silence_is_left_out_and_changes_no_peak(push_samples: int) -> None:
    samples = np.concatenate([silence(3), music(27, 1.3), silence(6), noise(28, 0.3), -silence(0.5), music(29, 2), silence(4)])
    spectrogram, constellation = Spectrogram(), Constellation()
    passes = [(first, min(PASS_FRAMES, frames_in(len(samples)) - first)) for first in range(0, frames_in(len(samples)), PASS_FRAMES)]
    every = [constellation.push(spectrogram.levels(samples, first, frames_n)) for first, frames_n in passes]
    window = Window()
    left_out = [window.push(piece) for piece in cut(samples, [push_samples])]
    of_all, peaks = Peaks.join(*every, constellation.flush()), Peaks.join(*left_out, window.flush())
    assert len(peaks) > 100
    assert columns(peaks) == columns(of_all.take(np.lexsort((of_all.eighth_hz, of_all.eighth_frames))))


def test_digital_silence_is_not_transformed(monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = Scratch()
    monkeypatch.setattr(Spectrogram, "levels", lambda *_: pytest.fail("silence was transformed"))
    window = Window(scratch)
    assert len(window.push(silence(5))) == 0
    assert window.final_frame > 4 * FRAMES_PER_S


def test_windows_may_share_their_work_arrays() -> None:
    scratch = Scratch()
    names = ["music", "noise", "clipped", "interrupted"]
    windows = {name: Window(scratch) for name in names}
    parts: dict[str, list[Peaks]] = {name: [] for name in names}
    for turn in range(8):
        for name in names:
            parts[name].append(windows[name].push(SOUNDS[name][turn * 3_333 : (turn + 1) * 3_333]))
    for name in names:
        assert columns(Peaks.join(*parts[name], windows[name].flush())) == columns(fingerprint(SOUNDS[name][: 8 * 3_333]))


def test_a_recording_of_any_length_is_fed_in_pieces() -> None:
    samples = np.concatenate([music(23, 9), noise(24, 9)])
    window = Window()
    assert columns(fingerprint(samples)) == columns(Peaks.join(window.push(samples), window.flush()))


def test_after_the_flush_all_is_final_and_the_run_is_over() -> None:
    window = Window()
    assert window.final_frame == 0
    window.push(SOUNDS["music"])
    assert len(window.flush()) > 0
    assert window.final_frame == math.inf
    assert len(window.flush()) == 0
    with pytest.raises(RuntimeError, match="flushed"):
        window.push(SOUNDS["music"])


@pytest.mark.parametrize("samples_n", [0, 1, FRAME_SAMPLES - 1])
def test_less_than_a_frame_has_no_peaks(samples_n: int) -> None:
    assert len(fingerprint(noise(25, 1)[:samples_n])) == 0


def test_a_single_frame_has_peaks() -> None:
    peaks = fingerprint(noise(26, 1)[:FRAME_SAMPLES])
    assert len(peaks) > 0
    assert set(peaks.eighth_frames.tolist()) == {0}
