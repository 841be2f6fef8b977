"""Libswresample's filter to within rounding, the same bits however the signal is cut, and nothing late."""

import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio import polyphase
from earmark.audio.polyphase import RATES_HZ, Decimator
from earmark.model import RATE_HZ, Float32

RATES = sorted(RATES_HZ)


def noise(samples_n: int, seed: int = 1) -> Float32:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples_n)).astype(np.float32)


def decimated(sound: Float32, rate_hz: int, cuts: list[int] | None = None) -> Float32:
    decimator = Decimator(rate_hz=rate_hz)
    return np.concatenate([*(decimator.push(part) for part in np.split(sound, cuts or [])), decimator.flush()])


def by_libswresample(sound: Float32, rate_hz: int) -> Float32:
    frame = AudioFrame.from_ndarray(sound[None, :], format="flt", layout="mono")
    frame.sample_rate = rate_hz
    resampler = AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    return np.concatenate([part.to_ndarray()[0] for part in resampler.resample(frame) + resampler.resample(None)])


def tone(hz: float, rate_hz: int) -> Float32:
    return np.sin(2 * np.pi * hz * np.arange(rate_hz) / rate_hz).astype(np.float32)


def level_db(hz: float, rate_hz: int) -> float:
    """Of a tone, wherever it comes out; far from both ends."""
    out = decimated(tone(hz, rate_hz), rate_hz)[1_000:7_000]
    return float(10 * np.log10(2 * np.mean(np.square(out, dtype=np.float64)) + 1e-30))


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("samples_n", [1_000, 5_003, 100_001])
def test_libswresample_would_give_the_same_from_the_first_sample_to_the_last(rate_hz: int, samples_n: int) -> None:
    sound = noise(samples_n)
    ours, theirs = decimated(sound, rate_hz), by_libswresample(sound, rate_hz)
    both = min(len(ours), len(theirs))
    assert len(ours) - both <= 1 and len(theirs) == both  # it may leave the last one out
    assert np.abs(ours[:both] - theirs[:both]).max() < 1e-6


@pytest.mark.parametrize("rate_hz", RATES)
def test_nothing_is_late(rate_hz: int) -> None:
    """A click at an instant that both rates have comes out there, and the same on both sides of it."""
    click = np.zeros(rate_hz, np.float32)
    click[rate_hz // 2 if rate_hz % 2 == 0 else 0] = 1
    out = decimated(click, rate_hz)
    at = int(np.abs(out).argmax())
    assert at == (RATE_HZ // 2 if rate_hz % 2 == 0 else 0)
    if at:
        assert np.allclose(out[at - 20 : at], out[at + 20 : at : -1], atol=1e-4)


@pytest.mark.parametrize("rate_hz", [rate_hz for rate_hz in RATES if rate_hz >= 16_000])
def test_what_is_heard_stays_and_what_would_be_folded_into_it_goes(rate_hz: int) -> None:
    for hz in (10, 300, 1_000, 3_200):
        assert abs(level_db(hz, rate_hz)) < 0.02
    assert -1.2 < level_db(3_600, rate_hz) < -0.9
    assert level_db(4_400, rate_hz) < -40
    for hz in (4_620, 6_000, 7_000, 7_900):
        assert level_db(hz, rate_hz) < -80


@given(st.sampled_from(RATES), st.lists(st.integers(0, 60_000), max_size=12))
@settings(max_examples=60, deadline=None)
def test_however_it_is_cut_the_same_bits_come_out(rate_hz: int, cuts: list[int]) -> None:
    sound = noise(60_000)
    assert np.array_equal(decimated(sound, rate_hz), decimated(sound, rate_hz, sorted(cuts)))


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_signal_may_be_shorter_than_the_filter(rate_hz: int) -> None:
    for samples_n in (0, 1, 2, 10, 30, 100, 400):
        sound = noise(samples_n)
        out = decimated(sound, rate_hz)
        assert len(out) == -(-samples_n * RATE_HZ // rate_hz)
        assert np.isfinite(out).all()
        assert np.array_equal(out, decimated(sound, rate_hz, list(range(samples_n))))


def test_a_constant_stays_one_up_to_both_ends() -> None:
    assert np.allclose(decimated(np.full(10_000, 0.5, np.float32), 44_100), 0.5, atol=1e-5)


def test_after_its_end_it_begins_anew() -> None:
    decimator = Decimator(rate_hz=44_100)
    first = [np.concatenate([decimator.push(noise(50_000, seed)), decimator.flush()]) for seed in (1, 2)]
    assert np.array_equal(first[1], decimated(noise(50_000, 2), 44_100))
    assert not len(decimator.flush())


@pytest.mark.parametrize("rate_hz", RATES)
def test_little_is_held_back(rate_hz: int) -> None:
    decimator = Decimator(rate_hz=rate_hz)
    for samples_n in (rate_hz, 1, 1_000, 12_345):
        decimator.push(noise(samples_n))
        assert len(decimator._held) <= 0.06 * rate_hz
        assert decimator._held.base is None, "what came before is not kept alive by a view of it"


@pytest.mark.parametrize("rate_hz", RATES)
def test_pieces_of_whole_blocks_need_no_block_twice(rate_hz: int, monkeypatch: pytest.MonkeyPatch) -> None:
    decimator = Decimator(rate_hz=rate_hz)
    decimator.push(noise(12_345))
    decimator.push(noise(decimator.lacking(1)))
    monkeypatch.setattr(Decimator, "_part", lambda *_: pytest.fail("a block was computed for a part of it"))
    for least in (1, 5_000, 50_000):
        lacking = decimator.lacking(least)
        assert lacking >= least
        assert len(decimator.push(noise(lacking)))


@pytest.mark.parametrize("rate_hz", RATES)
def test_no_product_is_worth_a_second_thread(rate_hz: int) -> None:
    bank = polyphase._bank(rate_hz)
    for _, weights in bank.weights:
        assert bank.rows * weights.size <= polyphase._MULTIPLICATIONS_MAX
        assert len(weights) <= bank.row_inputs, "BLAS takes no rows that overlap"
        assert not weights.flags.writeable
    assert sum({id(weights): weights.nbytes for _, weights in bank.weights}.values()) < 1_000_000
