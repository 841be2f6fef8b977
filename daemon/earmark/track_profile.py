"""The noun of what a recording is like: measured once from its sound, kept beside what its owner says of it. Frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final, Literal

#: Of how it is measured; raised by any change that measures something else in the same bytes: then all are measured again.
PROFILE_VERSION: Final = 1

Mode = Literal["major", "minor"]

_ESSENTIA: Final = "of free software only Essentia tells it, whose licence (AGPL) keeps it out"
#: What others tell of recordings and Earmark does not, each with the reason.
NEVER: Final[Mapping[str, str]] = {
    "danceability": _ESSENTIA,
    "energy": "it has no definition that two programs share; see loudness_lufs, loudness_range_lu and tempo_bpm",
    "valence": f"it is a judgement of listeners, told by models that were trained on theirs: {_ESSENTIA}",
    "acousticness": f"it is told by trained models alone: {_ESSENTIA}",
    "instrumentalness": "whether somebody sings over music is told by trained models alone, and none comes with a library that may be used here",
    "liveness": "an audience is told by trained models alone, and none comes with a library that may be used here",
    "time_signature": "librosa tells beats and not bars; what tells bars (madmom) has models that may not be used commercially",
}


@dataclass(frozen=True, kw_only=True)
class TrackProfile:
    """What a recording is like; what is None was not computed, and `not_computed` says why."""

    #: Integrated loudness (EBU R 128), and loudness range (EBU Tech 3342).
    loudness_lufs: float | None = None
    loudness_range_lu: float | None = None
    #: The highest sample of the four times oversampled signal (ITU-R BS.1770), against full scale.
    true_peak_dbtp: float | None = None
    #: Seconds that are not silent: silence is 0.4 s and more below -60 LUFS.
    sound_s: float | None = None
    #: Of these seconds, those with music, sung or under speech too; and those with speech and no music.
    music_share: float | None = None
    speech_share: float | None = None
    tempo_bpm: float | None = None
    #: C, C#, D, ... B: of equal temperament, so that C# is D flat, too.
    key: str | None = None
    mode: Mode | None = None
    #: How well its notes fit that key: a correlation, of 1 at most.
    key_fit: float | None = None
    #: By field, and by what is never told: why.
    not_computed: Mapping[str, str] = field(default_factory=dict)
    #: PROFILE_VERSION when it was measured; 0: it was not yet.
    version: int = 0
    #: What measured tempo and key, and its version; empty: nothing did.
    features: str = ""


MEASURES: Final = tuple(f.name for f in fields(TrackProfile) if f.name not in ("not_computed", "version", "features"))

_NOT_YET: Final = (
    "not yet: workers with the role catalogue measure what lies in the bucket when nothing waits there, `earmark catalogue profile` does so at once, "
    "and for a file `earmark catalogue add`"
)


def without(reason: str, *, version: int = PROFILE_VERSION, features: str = "") -> TrackProfile:
    """Of a recording that could not be measured, with the reason; in the place of one that could: it is not tried again."""
    return TrackProfile(not_computed=dict.fromkeys(MEASURES, reason), version=version, features=features)


def not_yet() -> TrackProfile:
    return without(_NOT_YET, version=0)


def told(profile: TrackProfile) -> TrackProfile:
    """With what is never told, for people and programs."""
    return replace(profile, not_computed={**profile.not_computed, **NEVER})
