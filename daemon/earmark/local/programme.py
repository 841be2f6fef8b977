"""What goes on air in the demo, and the truth about it, which only the demo knows.

A programme is cut from recordings that are in the catalogue, one that is not, speech and silence, each changed as
streamers change it. Everything that must be heard lasts longer than a play takes to be confirmed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np

from earmark.errors import BadSettings
from earmark.ingest import files
from earmark.local import music, sound
from earmark.local.music import RATE_HZ
from earmark.local.speech import speech
from earmark.model import Float32, Track

#: Of a visitor's folder: so many files are catalogued, and so many of them played; for that no more of each is read.
OWN_FILES_MAX = 30
OWN_PLAYS_MAX = 3
OWN_FILE_S_MAX = 600.0
#: A cut of a visitor's file: shorter files cannot be played.
_OWN_CUT_S = 18.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some seconds of the programme."""

    what: str
    begin_s: float
    end_s: float
    #: What must be heard here; None: nothing.
    track: Track | None = None
    #: Where in the recording the part begins, and how many of its seconds go by in one of the stream's.
    reference_begin_s: float = 0.0
    speed: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Recording:
    track: Track
    file: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class Programme:
    #: float32 [n], mono, RATE_HZ.
    samples: Float32
    parts: tuple[Part, ...]
    #: What belongs into the catalogue.
    recordings: tuple[Recording, ...]

    @property
    def plays(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.track is not None)

    def known_as(self, track_ids: Mapping[str, str]) -> "Programme":
        """The same, with the names that the catalogue gave the recordings."""

        def rename(part: Part) -> Part:
            if part.track is None:
                return part
            return replace(part, track=replace(part.track, track_id=track_ids.get(part.track.track_id, part.track.track_id)))

        return replace(self, parts=tuple(rename(part) for part in self.parts))

    def at(self, stream_s: float) -> Part | None:
        """What is on air then."""
        return next((part for part in self.parts if part.begin_s <= stream_s < part.end_s), None)


class _Desk:
    """Puts one part after the other."""

    def __init__(self) -> None:
        self._sounds: list[Float32] = []
        self._parts: list[Part] = []
        self._end_s = 0.0

    def play(self, what: str, samples: Float32, *, track: Track | None = None, reference_begin_s: float = 0.0, speed: float = 1.0) -> None:
        begin_s, self._end_s = self._end_s, self._end_s + len(samples) / RATE_HZ
        self._sounds.append(sound.faded(samples))
        self._parts.append(Part(what=what, begin_s=begin_s, end_s=self._end_s, track=track, reference_begin_s=reference_begin_s, speed=speed))

    def programme(self, recordings: Sequence[Recording]) -> Programme:
        return Programme(samples=np.concatenate(self._sounds), parts=tuple(self._parts), recordings=tuple(recordings))


def generated(folder: Path, *, count: int = 12) -> Programme:
    """Generated music: `count` recordings written to `folder` as FLAC, three of them on air, 79 s in all."""
    pieces = music.catalogue(count)
    rendered = [music.render(piece) for piece in pieces]
    recordings = []
    for piece, samples in zip(pieces, rendered, strict=True):
        file = folder / f"{piece.track.title.lower().replace(' ', '-')}.flac"
        sound.write_flac(file, samples, piece.track)
        recordings.append(Recording(track=piece.track, file=file))

    def cut(number: int, begin_s: float, seconds: float) -> Float32:
        return rendered[number][int(begin_s * RATE_HZ) : int((begin_s + seconds) * RATE_HZ)]

    clean, talked_over, quick, near = 1, 6, 4, 5
    desk = _Desk()
    desk.play("silence", sound.silence(3))
    desk.play("as it is", cut(clean, 22, 16), track=pieces[clean].track, reference_begin_s=22)
    desk.play("speech alone", speech(5, seed=11))
    desk.play("under speech as loud as itself", sound.under_speech(cut(talked_over, 31, 20), 0, seed=12), track=pieces[talked_over].track, reference_begin_s=31)
    stranger = music.stranger(like=pieces[near])
    what = f"music that is not in the catalogue, in key, tempo, chords and drums of {pieces[near].track.title}"
    desk.play(what, music.render(stranger)[20 * RATE_HZ : 34 * RATE_HZ])
    desk.play("silence", sound.silence(2))
    desk.play("3 % fast", sound.faster(cut(quick, 40, 17 * 1.03), 3), track=pieces[quick].track, reference_begin_s=40, speed=1.03)
    desk.play("silence", sound.silence(2))
    return desk.programme(recordings)


def from_files(source: Path) -> Programme:
    """A visitor's own recordings: up to three on air, 3 % fast and under speech.

    Raises BadSettings when the folder has nothing that can be played.
    """
    if not source.expanduser().exists():
        raise BadSettings(f"there is no folder {source}: name one with some music files")
    found = files([source.expanduser()])[:OWN_FILES_MAX] if source.expanduser().is_dir() else []
    recordings = [Recording(track=Track(track_id=f"file:{path}", title=path.stem), file=path) for path in found]
    on_air: list[tuple[Float32, Recording]] = []
    for recording in recordings:
        samples = _read(recording.file)
        if len(samples) > 2 * _OWN_CUT_S * RATE_HZ:
            on_air.append((samples, recording))
        if len(on_air) == OWN_PLAYS_MAX:
            break
    if not on_air:
        raise BadSettings(f"{source} holds no recording longer than {2 * _OWN_CUT_S:.0f} s that can be read: name a folder with some music files")
    desk = _Desk()
    desk.play("silence", sound.silence(3))
    for number, (samples, recording) in enumerate(on_air):
        begin_s = round(len(samples) / RATE_HZ / 2 - _OWN_CUT_S / 2, 3)
        piece = samples[int(begin_s * RATE_HZ) : int((begin_s + _OWN_CUT_S * 1.03) * RATE_HZ)]
        piece = piece * np.float32(music.LEVEL / max(float(np.sqrt(np.mean(piece**2))), 1e-4))
        changed = sound.under_speech(sound.faster(piece, 3), 0, seed=20 + number)
        desk.play("3 % fast, under speech as loud as itself", changed, track=recording.track, reference_begin_s=begin_s, speed=1.03)
        desk.play("silence", sound.silence(3))
    desk.play("generated music that is not in the catalogue", music.render(music.catalogue()[0])[20 * RATE_HZ : 32 * RATE_HZ])
    return desk.programme(recordings)


def _read(path: Path) -> Float32:
    """A file's first minutes at RATE_HZ; nothing if it is no audio after all."""
    parts: list[Float32] = []
    try:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
            for frame in container.decode(audio=0) if container.streams.audio else ():
                parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
                if frame.time is not None and frame.time > OWN_FILE_S_MAX:
                    break
    except av.error.FFmpegError:
        return np.zeros(0, np.float32)
    return np.concatenate([np.zeros(0, np.float32), *parts])
