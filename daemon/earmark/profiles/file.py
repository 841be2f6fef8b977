"""One file, to what it is like: decoded once, a piece at a time, and measured by each part as it comes."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from earmark.audio.file import read_samples
from earmark.errors import SourceUnsupported, UnreadableAudio
from earmark.fingerprint.talk import Talk
from earmark.fingerprint.window import Scratch, Window
from earmark.model import RATE_HZ, Float32, Peaks
from earmark.profiles import musical
from earmark.profiles.loudness import SILENCE_LUFS, STEP_S, Loudness, Measured
from earmark.profiles.shares import music_steps, share
from earmark.track_profile import MEASURES, PROFILE_VERSION, TrackProfile

#: Of its seconds with sound, so much has to be music: what librosa tells of speech and noise means nothing.
MUSIC_SHARE_MIN: Final = 0.2
_LEVEL: Final = ("loudness_lufs", "loudness_range_lu", "true_peak_dbtp")
_MUSICAL: Final = ("tempo_bpm", "key", "mode", "key_fit")
_NO_EXTRA: Final = "the extra `features` (librosa) was not installed where it was measured: install earmark[features], and run `earmark catalogue profile`"


def profile_file(path: Path, *, longest_s: float | None = None) -> TrackProfile:
    """What a file is like; tempo and key, too, if the extra `features` is installed. Raises UnreadableAudio with a sentence that begins with the path."""
    heard = _Heard(path, longest_s)
    try:
        for chunk in read_samples(path, tap=heard.loudness.push):
            heard.take(chunk.samples)
    except (UnreadableAudio, SourceUnsupported) as error:
        raise UnreadableAudio(str(error)) from None  # as it survives the way between processes
    return heard.profile(musical.available())


class _Heard:
    """What is kept of a file while it is decoded: of ten minutes the samples, of the rest some kilobytes a minute."""

    def __init__(self, path: Path, longest_s: float | None) -> None:
        self._path, self._longest_s = path, longest_s
        self.loudness = Loudness()
        self._window = Window(Scratch())
        self._talk = Talk()
        self._peaks = [Peaks.none()]
        self._kept: list[Float32] = []
        self._samples_n = 0

    @property
    def duration_s(self) -> float:
        return self._samples_n / RATE_HZ

    def take(self, samples: Float32) -> None:
        """Raises UnreadableAudio when it is too long."""
        if self.duration_s < musical.KEPT_S:
            self._kept.append(samples)
        self._peaks.append(self._window.push(samples))
        self._talk.push(samples)
        self._samples_n += len(samples)
        if self._longest_s is not None and self.duration_s > self._longest_s:
            raise UnreadableAudio(f"{self._path} is not measured: it is longer than {self._longest_s:,.0f} s")

    def _all_peaks(self) -> Peaks:
        self._peaks = [Peaks.join(*self._peaks, self._window.flush())]
        return self._peaks[0]

    def profile(self, features: str) -> TrackProfile:
        level = self.loudness.finish()
        values: dict[str, Any] = {name: _rounded(getattr(level, name), 1) for name in _LEVEL}
        why = {name: level.why.get(name, level.flaw) for name in _LEVEL if values[name] is None}
        self._measure_shares(level, values, why)
        self._measure_music(features, values, why)
        assert set(why) == {name for name in MEASURES if values.get(name) is None}
        return TrackProfile(**values, not_computed=why, version=PROFILE_VERSION, features=features)

    def _measure_shares(self, level: Measured, values: dict[str, Any], why: dict[str, str]) -> None:
        if level.sounding is None:
            why.update(dict.fromkeys(("sound_s", "music_share", "speech_share"), level.flaw))
            return
        values["sound_s"] = round(float(np.count_nonzero(level.sounding)) * STEP_S, 1)
        if not values["sound_s"]:
            why.update(dict.fromkeys(("music_share", "speech_share"), f"nothing in it sounds: no 0.4 s of it are above {SILENCE_LUFS:.0f} LUFS"))
            return
        music = music_steps(self._all_peaks(), self.duration_s)
        self._talk.flush()
        talk = np.array([self._talk.speaks(step) for step in range(len(music))], np.bool_) & ~music
        values["music_share"], values["speech_share"] = (round(share(steps, level.sounding), 3) for steps in (music, talk))

    def _measure_music(self, features: str, values: dict[str, Any], why: dict[str, str]) -> None:
        samples = musical.excerpt(np.concatenate(self._kept)) if self._kept else np.zeros(0, np.float32)
        reason = ""
        if not features:
            reason = _NO_EXTRA
        elif "music_share" in why:
            reason = why["music_share"]
        elif values["music_share"] < MUSIC_SHARE_MIN:
            reason = f"there is hardly any music in it: less than {MUSIC_SHARE_MIN:.0%} of what sounds"
        elif len(samples) < musical.LEAST_S * RATE_HZ:
            reason = f"it is too short: {musical.LEAST_S:.0f} s are the least that have a tempo and a key"
        if reason:
            why.update(dict.fromkeys(_MUSICAL, reason))
            return
        try:
            tempo, key = musical.tempo_bpm(samples), musical.key_of(samples, tuning=musical.tuning_of(self._all_peaks()))
        except Exception as error:  # noqa: BLE001 -- whatever librosa comes upon, the rest is measured
            why.update(dict.fromkeys(_MUSICAL, f"librosa failed: {type(error).__name__}: {error}"))
            return
        values["tempo_bpm"] = _rounded(tempo, 1)
        if tempo is None:
            why["tempo_bpm"] = "no beat stands out"
        if key is None:
            why.update(dict.fromkeys(("key", "mode", "key_fit"), "its notes fit no key"))
        else:
            values.update({"key": key.key, "mode": key.mode, "key_fit": round(key.fit, 3)})


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
