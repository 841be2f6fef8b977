"""A clip's fingerprint as JSON: the same peaks again, and one sentence for what is none."""

import json
from functools import cache
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.clip import Clip, from_text, to_json
from earmark.errors import FingerprintMismatch, UnreadableAudio
from earmark.fingerprint.window import fingerprint
from earmark.model import FINGERPRINT_VERSION, RATE_HZ, Peaks
from hits_samples import validator
from index_audio import notes

LONGEST_S = 600.0


@cache
def clip_of(seconds: float, seed: int = 1) -> Clip:
    return Clip(peaks=fingerprint(notes(seed, seconds, rate_hz=RATE_HZ)), duration_s=seconds)


@cache
def whole() -> str:
    return to_json(clip_of(2))


def told(**changes: Any) -> bytes:
    return json.dumps({**json.loads(whole()), **changes}).encode()


def columns(peaks: Peaks) -> list[list[float]]:
    return [column.tolist() for column in (peaks.eighth_frames, peaks.eighth_hz, peaks.hashed, peaks.salience)]


def test_what_is_read_is_what_was_written_to_the_last_bit():
    clip = clip_of(20)
    again = from_text(to_json(clip).encode(), longest_s=LONGEST_S)
    assert columns(again.peaks) == columns(clip.peaks)
    assert [again.peaks.salience.dtype, again.peaks.eighth_hz.dtype, again.peaks.hashed.dtype] == [np.float32, np.int32, np.bool_]
    assert again.duration_s == clip.duration_s
    assert len(clip.peaks) > 300


def test_it_is_what_its_schema_says():
    validator("fingerprint").validate(json.loads(to_json(clip_of(2))))


def test_silence_has_no_peaks_and_can_be_carried_too():
    empty = Clip(peaks=Peaks.none(), duration_s=10.0)
    assert len(from_text(to_json(empty).encode(), longest_s=LONGEST_S).peaks) == 0


@pytest.mark.parametrize("sound", ["noise", "clicks", "loud"])
def test_the_hardest_sounds_are_not_taken_for_inventions(sound: str):
    random = np.random.default_rng(7)
    samples = random.normal(0, 0.3, 30 * RATE_HZ).astype(np.float32)
    if sound == "clicks":
        samples = np.where(random.random(len(samples)) < 0.004, 1.0, 0.0).astype(np.float32)
    if sound == "loud":
        samples = np.sign(samples).astype(np.float32)
    clip = Clip(peaks=fingerprint(samples), duration_s=30.0)
    assert columns(from_text(to_json(clip).encode(), longest_s=LONGEST_S).peaks) == columns(clip.peaks)


def test_another_version_of_the_fingerprint_is_refused_in_one_sentence():
    other = FINGERPRINT_VERSION + 1
    with pytest.raises(FingerprintMismatch, match=f"of fingerprint_version {other}, and this Earmark hears {FINGERPRINT_VERSION}: make it anew"):
        from_text(told(fingerprint_version=other), longest_s=LONGEST_S)
    with pytest.raises(FingerprintMismatch, match="of format_version 2"):
        from_text(told(format_version=2), longest_s=LONGEST_S)


@pytest.mark.parametrize(
    "text,why",
    [
        (b"", "it is not JSON"),
        (b"{", "it is not JSON"),
        (b"[" * 10_000, "it is not JSON"),
        (b'{"format":' * 10_000, "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[]", "it is not what `earmark fingerprint FILE --json` writes"),
        (b'{"format": "mp3"}', "it is not what `earmark fingerprint FILE --json` writes"),
        (told(peaks=None), "its peaks is wrong"),
        (told(duration_s="long"), "its duration_s is wrong"),
        (told(duration_s=601), "it is of 601 s, and 600 s are the most"),
        (told(duration_s=-1), "it is of -1 s"),
        (told(duration_s=0.5), "peaks outside of its duration"),
    ],
)
def test_what_is_no_fingerprint_is_refused_in_one_sentence(text: bytes, why: str):
    with pytest.raises(UnreadableAudio) as refused:
        from_text(text, longest_s=LONGEST_S)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "column,value,why",
    [
        ("eighth_hz", 100, "peaks outside of 180 to 3800 Hz"),
        ("eighth_hz", 10**30, "outside of 180 to 3800 Hz|is wrong"),
        ("hashed", 2, "hashed is 0 or 1"),
        ("salience", -1, "salience a number of nepers"),
        ("salience", 1e300, "salience a number of nepers"),
        ("eighth_frames", -100, "outside of its duration"),
        ("eighth_frames", 400, "not in order"),
        ("eighth_frames", "x", "is wrong"),
    ],
)
def test_a_peak_that_no_sound_has_is_refused(column: str, value: Any, why: str):
    said = json.loads(told())
    said["peaks"][column][3] = value
    with pytest.raises(UnreadableAudio, match=why):
        from_text(json.dumps(said).encode(), longest_s=LONGEST_S)


def test_columns_of_different_lengths_are_refused():
    said = json.loads(told())
    said["peaks"]["salience"].pop()
    with pytest.raises(UnreadableAudio, match="not of one length"):
        from_text(json.dumps(said).encode(), longest_s=LONGEST_S)


def test_more_peaks_than_sound_can_have_are_refused_because_each_would_be_looked_up():
    frames, hz = np.meshgrid(np.arange(0, 2_000, 1), np.arange(1_500, 30_000, 1_000), indexing="ij")
    size = frames.size
    said = json.loads(told(duration_s=10))
    said["peaks"] = {"eighth_frames": frames.ravel().tolist(), "eighth_hz": hz.ravel().tolist(), "hashed": [0] * size, "salience": [2.0] * size}
    with pytest.raises(UnreadableAudio, match="more peaks than sound can have"):
        from_text(json.dumps(said).encode(), longest_s=LONGEST_S)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_is_put_in_place_of_the_peaks_is_refused_or_read(value: Any):
    text = json.dumps({**json.loads(told()), "peaks": value}).encode()
    with pytest.raises(UnreadableAudio):
        from_text(text, longest_s=LONGEST_S)


def test_the_schema_refuses_what_the_reader_refuses():
    with pytest.raises(jsonschema.ValidationError):
        validator("fingerprint").validate(json.loads(told(format="mp3")))
