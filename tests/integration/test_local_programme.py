"""Recordings in files: those that are made for the catalogue, and those that a visitor brings."""

import wave
from pathlib import Path

import av
import numpy as np
import pytest

from earmark.errors import BadSettings
from earmark.local import music, sound
from earmark.local.programme import from_files


def test_files_hold_the_samples_and_flac_the_tags(tmp_path: Path) -> None:
    piece = music.catalogue()[1]
    part, track = music.render(piece)[: 3 * music.RATE_HZ], piece.track
    sound.write_wav(tmp_path / "a.wav", part)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, music.RATE_HZ, len(part))
        written = np.frombuffer(file.readframes(len(part)), np.int16)
    assert np.max(np.abs(written / 32_767 - part)) < 1e-4
    sound.write_flac(tmp_path / "a.flac", part, track)
    with av.open(str(tmp_path / "a.flac")) as container:
        assert container.metadata["title"] == track.title
        assert container.metadata["artist"] == track.artists[0]
        assert container.metadata["ISRC"] == track.isrc[0]
        decoded = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert np.array_equal(decoded, written)


def test_a_folder_without_music_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.mp3").write_bytes(b"this is no audio")
    with pytest.raises(BadSettings, match="holds no recording"):
        from_files(tmp_path)


def test_a_visitors_recordings_are_played_fast_and_under_speech(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "album").mkdir(parents=True)
    piece = music.catalogue()[8]
    sound.write_flac(own / "album" / "one.flac", music.render(piece)[: 40 * music.RATE_HZ], piece.track)
    programme = from_files(own)
    (play,) = programme.plays
    assert play.track is not None
    assert play.track.title == "one"
    assert play.speed == 1.03
    assert play.reference_begin_s == 11.0
    assert len(programme.samples) == pytest.approx(programme.parts[-1].end_s * music.RATE_HZ, abs=2)
    assert [recording.track for recording in programme.recordings] == [play.track]
    assert programme.recordings[0].file == own / "album" / "one.flac"
    (renamed,) = programme.known_as({play.track.track_id: "isrc:of-its-twin"}).plays
    assert renamed.track is not None
    assert renamed.track.track_id == "isrc:of-its-twin"
