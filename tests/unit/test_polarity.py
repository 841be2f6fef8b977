"""Channels in opposite phase are turned back, slowly and without a click; everything else is left as it is, to the bit."""

import numpy as np
import numpy.typing as npt
import pytest
from av.audio.frame import AudioFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.frames import channels_of, numbers_of
from earmark.audio.polarity import BLOCK_SAMPLED, BLOCKS, SAMPLED_HZ, Polarity, polarity_of
from earmark.model import Float32

RATE_HZ = 16_000
BLOCK = BLOCK_SAMPLED * (RATE_HZ // SAMPLED_HZ)
FADE = BLOCK // 16
FORMATS = ["flt", "fltp", "dbl", "dblp", "s16", "s16p", "s32", "s32p", "u8"]
SCALE = {"u8": 100, "s16": 20_000, "s32": 1_000_000_000}


def sound(seed: int, blocks: float, level: float = 0.1) -> Float32:
    return (level * np.random.default_rng(seed).standard_normal(int(blocks * BLOCK))).astype(np.float32)


def silence(blocks: float) -> Float32:
    return np.zeros(int(blocks * BLOCK), np.float32)


def frame_of(stereo: npt.NDArray[np.generic], form: str = "fltp") -> AudioFrame:
    laid_out = stereo if form.endswith("p") else np.ascontiguousarray(stereo.T).reshape(1, -1)
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(laid_out), format=form, layout="stereo")
    frame.sample_rate = RATE_HZ
    return frame


def written(stereo: Float32, form: str) -> npt.NDArray[np.generic]:
    base = form.removesuffix("p")
    if base in ("flt", "dbl"):
        return stereo.astype(np.float32 if base == "flt" else np.float64)
    whole = np.rint(stereo * SCALE[base])
    return (whole + 128).astype(np.uint8) if base == "u8" else whole.astype(np.int16 if base == "s16" else np.int32)


def mended(stereo: npt.NDArray[np.generic], *cuts: int, form: str = "fltp", polarity: Polarity | None = None) -> npt.NDArray[np.generic]:
    """[2, n] after all of its frames went through, cut as told."""
    out = []
    for part in np.split(stereo, sorted(cuts), axis=1):
        frame = frame_of(part, form)
        polarity, numbers = polarity or polarity_of(frame), numbers_of(frame)
        assert polarity is not None and numbers is not None
        polarity.mend(channels_of(frame, numbers))
        found = frame.to_ndarray()
        out.append(found if form.endswith("p") else found.reshape(-1, 2).T)
    return np.concatenate(out, axis=1)


MUSIC, OTHER, AMBIENCE = sound(1, 10), sound(2, 10), sound(3, 10, level=0.03)
LEFT_ALONE = {
    "mono in both": (MUSIC, MUSIC),
    "mono in the left": (MUSIC, silence(10)),
    "mono in the right": (silence(10), MUSIC),
    "music with ambience": (MUSIC + AMBIENCE, MUSIC - AMBIENCE),
    "two musicians": (MUSIC, OTHER),
    "one channel late": (MUSIC, np.roll(MUSIC, 40)),
    "wide, partly against each other": (MUSIC + OTHER, OTHER - MUSIC * 1.5),
    "nothing": (silence(10), silence(10)),
    "dither in opposite phase": (sound(1, 10, 1e-4), -sound(1, 10, 1e-4)),
    "direct current": (silence(10) + 0.5, silence(10) - 0.5),
    "not numbers": (silence(10) + np.nan, silence(10) + np.inf),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_other_stereo_is_left_as_it_is(name: str) -> None:
    stereo = np.stack(LEFT_ALONE[name]).astype(np.float32)
    assert np.array_equal(mended(stereo), stereo, equal_nan=True)


def test_a_moment_in_opposite_phase_changes_nothing() -> None:
    stereo = np.stack([MUSIC, MUSIC])
    stereo[1, BLOCK : 3 * BLOCK] *= -1
    assert np.array_equal(mended(stereo), stereo)


@pytest.mark.parametrize("form", FORMATS)
def test_opposite_phase_is_turned_back_after_a_while(form: str) -> None:
    stereo = written(np.stack([MUSIC, -MUSIC]), form)
    heard = mended(stereo, form=form)
    decided = BLOCKS * BLOCK
    assert np.array_equal(heard[0], stereo[0])
    assert np.array_equal(heard[1, :decided], stereo[1, :decided])
    assert np.array_equal(heard[1, decided + FADE :], stereo[0, decided + FADE :])


def test_the_least_of_whole_numbers_has_no_counterpart() -> None:
    loud = written(np.stack([MUSIC, -MUSIC]), "s16")
    loud[1, -10:] = -32_768
    assert mended(loud, form="s16")[1, -1] == 32_767


def test_its_difference_is_the_mono_it_had_before() -> None:
    left, right = MUSIC + AMBIENCE, MUSIC - AMBIENCE
    heard = mended(np.stack([left, -right]))
    settled = BLOCKS * BLOCK + FADE
    assert np.array_equal(heard[:, settled:], np.stack([left, right])[:, settled:])


def test_direct_current_does_not_hide_it() -> None:
    heard = mended(np.stack([MUSIC + 0.3, 0.3 - MUSIC]).astype(np.float32))
    assert np.corrcoef(heard[0, -BLOCK:], heard[1, -BLOCK:])[0, 1] > 0.99


def test_when_the_wire_is_mended_it_stops() -> None:
    stereo = np.stack([MUSIC, -MUSIC])
    stereo[1, 5 * BLOCK :] *= -1
    heard = mended(stereo)
    assert np.array_equal(heard[1, 4 * BLOCK : 5 * BLOCK], MUSIC[4 * BLOCK : 5 * BLOCK])
    assert np.array_equal(heard[1, 8 * BLOCK + FADE :], MUSIC[8 * BLOCK + FADE :])


def test_a_pause_and_a_moment_of_other_sound_do_not_stop_it() -> None:
    stereo = np.stack([MUSIC, -MUSIC])
    stereo[:, 4 * BLOCK : 6 * BLOCK] = 0
    stereo[1, 6 * BLOCK : 8 * BLOCK] *= -1
    heard = mended(stereo)
    assert np.array_equal(heard[1, 8 * BLOCK :], MUSIC[8 * BLOCK :])


def test_a_change_makes_no_click() -> None:
    hum = np.tile(np.float32(0.25), 5 * BLOCK) * np.sin(np.arange(5 * BLOCK) * 0.02).astype(np.float32)
    left, right = mended(np.stack([hum, -hum]))
    assert np.abs(np.diff((left + right) / 2)).max() < 1.5 * np.abs(np.diff(hum)).max()


@given(st.sets(st.integers(1, 6 * BLOCK), max_size=12), st.sampled_from(["fltp", "s16"]))
@settings(max_examples=25, deadline=None)
def test_however_it_is_cut_the_same_samples_come_out(cuts: set[int], form: str) -> None:
    stereo = np.stack([MUSIC, -MUSIC])
    stereo[1, 3 * BLOCK :] *= -1
    whole = written(stereo, form)
    assert np.array_equal(mended(whole, *cuts, form=form), mended(whole, form=form))


def test_there_is_nothing_to_mind_in_mono_and_surround() -> None:
    for layout, channels in (("mono", 1), ("5.1", 6)):
        frame = AudioFrame.from_ndarray(np.zeros((channels, 64), np.float32), format="fltp", layout=layout)
        frame.sample_rate = RATE_HZ
        assert polarity_of(frame) is None
