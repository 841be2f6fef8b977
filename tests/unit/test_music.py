"""Generated music is music to a fingerprint, never the same twice, and the same always; speech is speech."""

import itertools

import numpy as np
import pytest
from scipy.signal import resample_poly

from earmark.fingerprint.landmarks import landmarks
from earmark.fingerprint.window import fingerprint
from earmark.local.music import RATE_HZ, catalogue, render, stranger
from earmark.local.sound import faded, faster, silence, under_speech
from earmark.local.speech import speech
from earmark.model import Float32


@pytest.fixture(scope="module")
def rendered() -> list[Float32]:
    return [render(piece) for piece in catalogue()[:2]]


def _heard(samples: Float32) -> Float32:
    return np.asarray(resample_poly(samples, 80, 441), np.float32)


def _level_db(samples: Float32) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


def test_the_catalogue_is_twelve_recordings_with_their_own_names() -> None:
    pieces = catalogue()
    assert len(pieces) == 12
    for field in ("track_id", "title", "isrc"):
        assert len({getattr(piece.track, field) for piece in pieces}) == 12
    assert len({piece.seed for piece in pieces}) == 12


def test_pieces_share_what_makes_them_hard_to_tell_apart() -> None:
    pieces = catalogue()
    pairs = list(itertools.combinations(pieces, 2))
    assert any(a.bpm == b.bpm and a.progression == b.progression and a.drums == b.drums for a, b in pairs)
    assert any(a.root == b.root and a.bpm == b.bpm for a, b in pairs)


def test_a_stranger_plays_in_key_tempo_chords_and_drums_of_a_piece_and_is_another() -> None:
    piece = catalogue()[3]
    other = stranger(like=piece)
    assert (other.root, other.mode, other.bpm, other.progression, other.drums) == (piece.root, piece.mode, piece.bpm, piece.progression, piece.drums)
    assert other.seed != piece.seed
    assert other.track.track_id not in {known.track.track_id for known in catalogue(100)}


def test_the_same_piece_is_the_same_samples(rendered: list[Float32]) -> None:
    assert np.array_equal(render(catalogue()[0]), rendered[0])


def test_a_recording_lasts_about_a_minute_and_a_half_and_does_not_clip(rendered: list[Float32]) -> None:
    for samples in rendered:
        assert samples.dtype == np.float32
        assert 60 <= len(samples) / RATE_HZ <= 120
        assert np.max(np.abs(samples)) < 0.99
        assert abs(_level_db(samples) + 20) < 1


def test_music_is_as_dense_with_landmarks_as_real_music(rendered: list[Float32]) -> None:
    for samples in rendered:
        peaks = fingerprint(_heard(samples))
        seconds = len(samples) / RATE_HZ
        assert 15 < len(peaks) / seconds < 45
        marks = landmarks(peaks)
        assert len(marks) / seconds > 30
        # It repeats itself, but not note for note: most hashes occur once.
        assert len(np.unique(marks.hash)) / len(marks) > 0.8


def test_two_pieces_in_one_tempo_share_few_landmarks(rendered: list[Float32]) -> None:
    first, second = (landmarks(fingerprint(_heard(samples))).hash for samples in rendered)
    assert 0 < np.isin(first, second).mean() < 0.15


def test_speech_has_pauses_and_syllables_and_no_music() -> None:
    talk = speech(12, seed=3)
    assert len(talk) == 12 * RATE_HZ
    assert np.max(np.abs(talk)) < 1
    envelope = np.sqrt(np.mean(talk[: len(talk) // 441 * 441].reshape(-1, 441) ** 2, axis=1))  # every 10 ms
    assert 0.03 < np.mean(envelope < 0.003) < 0.4  # pauses
    loud = envelope > 0.3 * np.percentile(envelope, 95)
    syllables = np.count_nonzero(loud[1:] & ~loud[:-1]) / 12
    assert 2 < syllables < 8


def test_speakers_differ_and_each_says_the_same_again() -> None:
    assert np.array_equal(speech(2, seed=1), speech(2, seed=1))
    assert not np.array_equal(speech(2, seed=1), speech(2, seed=2))


@pytest.mark.parametrize("snr_db", [10, 0, -10])
def test_talk_over_has_the_level_asked_for(rendered: list[Float32], snr_db: float) -> None:
    part = rendered[0][20 * RATE_HZ : 26 * RATE_HZ]
    mixed = under_speech(part, snr_db)
    assert len(mixed) == len(part)
    assert np.max(np.abs(mixed)) <= 0.981
    scale = float(np.dot(mixed, part) / np.dot(part, part))  # what was turned down so as not to clip
    assert abs(_level_db(scale * part) - _level_db(mixed - scale * part) - snr_db) < 1.5


def test_faster_is_shorter_and_higher() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    quick = faster(tone, 3)
    assert len(quick) == pytest.approx(RATE_HZ / 1.03, abs=2)
    spectrum = np.abs(np.fft.rfft(quick * np.hanning(len(quick))))
    assert np.argmax(spectrum) * RATE_HZ / len(quick) == pytest.approx(1030, abs=2)


def test_fades_and_silence() -> None:
    cut = faded(np.ones(RATE_HZ, np.float32), 0.1)
    assert cut[0] == cut[-1] == 0
    assert cut[RATE_HZ // 2] == 1
    assert not silence(1.5).any()
    assert len(silence(1.5)) == 1.5 * RATE_HZ
