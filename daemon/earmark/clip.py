"""One clip: its constellation, as JSON that can be carried elsewhere; what the catalogue knows of it, as JSON that can be told.

The document is `config/schema/fingerprint.v1.json`: the peaks of a clip, and no sound, which nobody can make of them again.
What makes it is of one version of the fingerprint, and what reads it refuses any other.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from earmark.errors import FingerprintMismatch, UnreadableAudio
from earmark.fingerprint.constellation import BAND_HZ, DENSE_PER_FRAME_MAX, SPARSE_PER_FRAME_MAX
from earmark.hearing import drive
from earmark.hits.text import false_alarms
from earmark.identification import Match, default_threshold_nats, identify
from earmark.model import EIGHTHS, FINGERPRINT_VERSION, FRAMES_PER_S, Answer, CatalogueSize, MatchParams, Peaks, Question, Track

#: Of the document, not of the fingerprint: raised when an older reader could not make sense of it any more.
FORMAT: Final = "earmark-fingerprint"
FORMAT_VERSION: Final = 1
#: More peaks than music and noise can have are somebody's invention, made to be dear: counted in stretches of so many frames.
_STRETCH_FRAMES: Final = 60
#: A peak is dated up to half a frame off, and so may lie in the next stretch.
_STRETCH_ROOM: Final = 2
#: Nepers; the loudest of 16-bit sound over its own silence is 23.
_SALIENCE_MAX: Final = 100.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Clip:
    """What was heard of a clip."""

    peaks: Peaks
    duration_s: float


class Catalogue(Protocol):
    """What is asked: `index.answers`."""

    def answer(self, question: Question) -> Answer: ...
    def size(self) -> CatalogueSize: ...


# ------------------------------------------------------------------------------------------------ which recordings are in it


def matches(
    clip: Clip,
    catalogue: Catalogue,
    params: MatchParams,
    *,
    asking: Callable[[], None] = lambda: None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Match]:
    """Those that pass the threshold of the settings, best first. `asking` is called before each question, and may raise; `progress` as in `identify`."""
    size = catalogue.size()

    def answer(question: Question) -> Answer:
        asking()
        return catalogue.answer(question)

    threshold_nats = default_threshold_nats(params, size)
    return drive(identify(clip.peaks, clip.duration_s, params=params, size=size, threshold_nats=threshold_nats, progress=progress), answer)


def as_row(match: Match, track: Track | None) -> dict[str, Any]:
    """A match as JSON, with as much of its false alarms as a hit tells."""
    return {**asdict(match), "false_alarms_per_hour": false_alarms(match.false_alarms_per_hour), "track": asdict(track) if track else None}


# ------------------------------------------------------------------------------------------------ the document


def to_json(clip: Clip) -> str:
    """One line. Some 25 bytes a peak: 50 kB for a minute of music."""
    peaks = clip.peaks
    columns = {
        "eighth_frames": peaks.eighth_frames.tolist(),
        "eighth_hz": peaks.eighth_hz.tolist(),
        "hashed": peaks.hashed.astype(np.int8).tolist(),
        # The shortest digits that are read as the same float32 again.
        "salience": [float(str(nepers)) for nepers in peaks.salience],
    }
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "fingerprint_version": FINGERPRINT_VERSION, "duration_s": clip.duration_s}
    return json.dumps({**head, "peaks": columns}, separators=(",", ":"))


class _Columns(BaseModel):
    eighth_frames: list[int]
    eighth_hz: list[int]
    hashed: list[int]
    salience: list[float]


class _Document(BaseModel):
    duration_s: float
    peaks: _Columns


def from_text(text: bytes, *, longest_s: float) -> Clip:
    """The clip of a document.

    Raises FingerprintMismatch for another version of the fingerprint, UnreadableAudio, with a sentence, for what is no such
    document, or holds what no sound has.
    """
    try:
        said = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise UnreadableAudio(f"the fingerprint cannot be read: it is not JSON ({_line(error)})") from None
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise UnreadableAudio('the fingerprint cannot be read: it is not what `earmark fingerprint FILE --json` writes, whose format is "earmark-fingerprint"')
    for name, ours in (("format_version", FORMAT_VERSION), ("fingerprint_version", FINGERPRINT_VERSION)):
        if said.get(name) != ours:
            raise FingerprintMismatch(
                f"the fingerprint is of {name} {_shown(said.get(name))}, and this Earmark hears {ours}: make it anew with this version's `earmark fingerprint`"
            )
    try:
        document = _Document.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnreadableAudio(f"the fingerprint cannot be read: its {where} is wrong, {_line(first['msg'])}") from None
    return Clip(peaks=_peaks(document, longest_s), duration_s=document.duration_s)


def _peaks(document: _Document, longest_s: float) -> Peaks:
    columns, duration_s = document.peaks, document.duration_s
    if not 0 <= duration_s <= longest_s:
        raise UnreadableAudio(f"the fingerprint cannot be used: it is of {duration_s:.0f} s, and {longest_s:.0f} s are the most that is identified at once")
    if len({len(columns.eighth_frames), len(columns.eighth_hz), len(columns.hashed), len(columns.salience)}) > 1:
        raise UnreadableAudio("the fingerprint cannot be used: its columns are not of one length")
    if not _within(columns.eighth_frames, -EIGHTHS, (duration_s * FRAMES_PER_S + 1) * EIGHTHS):
        raise UnreadableAudio("the fingerprint cannot be used: it has peaks outside of its duration")
    # A hertz more on both sides: rounding.
    if not _within(columns.eighth_hz, (BAND_HZ[0] - 1) * EIGHTHS, (BAND_HZ[1] + 1) * EIGHTHS):
        raise UnreadableAudio(f"the fingerprint cannot be used: it has peaks outside of {BAND_HZ[0]} to {BAND_HZ[1]} Hz")
    if not _within(columns.hashed, 0, 1) or not _within(columns.salience, 0, _SALIENCE_MAX):
        raise UnreadableAudio("the fingerprint cannot be used: hashed is 0 or 1, and salience a number of nepers")
    peaks = Peaks(
        eighth_frames=np.array(columns.eighth_frames, np.int32),
        eighth_hz=np.array(columns.eighth_hz, np.int32),
        hashed=np.array(columns.hashed, np.bool_),
        salience=np.array(columns.salience, np.float32),
    )
    places = peaks.eighth_frames.astype(np.int64) << 32 | peaks.eighth_hz
    if np.any(places[1:] <= places[:-1]):
        raise UnreadableAudio("the fingerprint cannot be used: its peaks are not in order of time and frequency")
    if _crowded(peaks, DENSE_PER_FRAME_MAX) or _crowded(peaks.take(peaks.hashed), SPARSE_PER_FRAME_MAX):
        raise UnreadableAudio("the fingerprint cannot be used: it has more peaks than sound can have")
    return peaks


def _within(numbers: Sequence[float], least: float, most: float) -> bool:
    return not numbers or (min(numbers) >= least and max(numbers) <= most)


def _crowded(peaks: Peaks, per_frame_max: float) -> bool:
    stretches = np.bincount(np.maximum(peaks.eighth_frames, 0) // (_STRETCH_FRAMES * EIGHTHS))
    return bool(len(stretches)) and int(stretches.max()) > math.ceil(per_frame_max * (_STRETCH_FRAMES + _STRETCH_ROOM))


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, int) and abs(value) < 1_000_000 else "unknown"


def _line(said: object) -> str:
    return " ".join(str(said).split()).rstrip(".")[:200].lower()
