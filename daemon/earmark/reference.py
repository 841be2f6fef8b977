"""One file as a reference recording: its fingerprint, its content, its description. Or why it cannot be one."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from earmark.audio.file import Truncated, read_samples
from earmark.audio.remote import RemoteFile
from earmark.errors import BadSettings, SourceUnsupported, UnreadableAudio
from earmark.fingerprint.window import Scratch, Window
from earmark.hits.text import is_storable, unstorable
from earmark.index.catalogue import postings_of
from earmark.model import RATE_HZ, Float32, Landmarks, Peaks, Track
from earmark.reserved import CANARY, is_canary

#: Shorter ones are not told from chance; longer ones are not recordings.
DURATION_S: Final = (3.0, 36_000.0)
#: Different ones, in all: clean music has some 120 a second, a metronome 82 in 3 s, a minute of one tone no more than 20.
LANDMARKS_MIN: Final = 40
_TAG_CHARS_MAX: Final = 500
#: Of a track_id, and of the ISRC that one may be made of: PostgreSQL indexes no more than 2,704 bytes, and a character takes up to four.
_ID_CHARS_MAX: Final = 500
_ISRC: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{3}\d{7}")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file to add, and what its owner says about it; what is not said is taken from the file's tags."""

    path: Path
    track_id: str | None = None
    #: Fields of `Track`, without track_id and duration_s.
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.metadata) - METADATA
        if unknown:
            raise BadSettings(f"a recording has no {', '.join(sorted(unknown))}; known are {', '.join(sorted(METADATA))}")


METADATA: Final = frozenset(f.name for f in fields(Track)) - {"track_id", "duration_s"}
_LISTS: Final = frozenset(f.name for f in fields(Track) if f.default == ())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fingerprinted:
    """A file's constellation, and what the catalogue keeps of its landmarks if it is to be a reference."""

    peaks: Peaks
    duration_s: float
    postings: Landmarks


def fingerprint_file(
    path: Path | RemoteFile, *, least: bool = True, longest_s: float | None = None, heard: Callable[[float], None] = lambda _: None
) -> Fingerprinted:
    """Decode and fingerprint one file, a piece at a time: memory does not grow with its length but for the peaks.

    `least`: it is to be a reference; what is truncated, too short or too silent for one is refused. Raises UnreadableAudio
    with a sentence that begins with the path. `heard` is told how far it is, in seconds, now and then.
    """
    window, found, samples_n = Window(Scratch()), [Peaks.none()], 0
    most_s = DURATION_S[1] if longest_s is None else longest_s
    for samples in _samples(path, whole=least):
        samples_n += len(samples)
        if samples_n > most_s * RATE_HZ:
            raise UnreadableAudio(f"{path} cannot be fingerprinted: it is longer than {_in_words(most_s)}; cut it into recordings")
        found.append(window.push(samples))
        heard(samples_n / RATE_HZ)
    peaks = Peaks.join(*found, window.flush())
    made = Fingerprinted(peaks=peaks, duration_s=samples_n / RATE_HZ, postings=postings_of(peaks if least else Peaks.none()))
    if least:
        _refuse_the_least(path, made)
    return made


def _in_words(seconds: float) -> str:
    return f"{seconds / 3_600:.3g} hours" if seconds >= 3_600 else f"{seconds / 60:.3g} minutes"


def _samples(path: Path | RemoteFile, *, whole: bool) -> Iterator[Float32]:
    """Raises errors that survive the way between processes."""
    try:
        for chunk in read_samples(path):
            yield chunk.samples
    except Truncated as error:
        if whole:
            raise UnreadableAudio(str(error)) from None
    except (UnreadableAudio, SourceUnsupported) as error:
        raise UnreadableAudio(str(error)) from None


def _refuse_the_least(path: Path | RemoteFile, fingerprinted: Fingerprinted) -> None:
    duration_s, found = fingerprinted.duration_s, len(np.unique(fingerprinted.postings.hash))
    if duration_s < DURATION_S[0]:
        raise UnreadableAudio(f"{path} cannot be fingerprinted: it is {duration_s:.1f} s long, and {DURATION_S[0]:.0f} s are the least that can be recognised")
    if not len(fingerprinted.peaks):
        raise UnreadableAudio(f"{path} cannot be fingerprinted: it is silent, or nothing in it stands out")
    if found < LANDMARKS_MIN:
        raise UnreadableAudio(
            f"{path} cannot be fingerprinted: there is hardly anything to recognise in it "
            f"({found} different landmarks in {duration_s:.0f} s, at least {LANDMARKS_MIN} are needed)"
        )


def content_sha256(path: Path) -> bytes:
    """Of a file's bytes. Raises UnreadableAudio, with a sentence, for what is not a readable, regular, non-empty file."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise UnreadableAudio(f"{path} cannot be fingerprinted: it is not a file")
            if not about.st_size:
                raise UnreadableAudio(f"{path} cannot be fingerprinted: the file is empty")
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise UnreadableAudio(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a named pipe would be waited for


def describe(source: Source, tags: Mapping[str, str], content: bytes, duration_s: float) -> Track:
    """The recording as its owner, else its tags, else its file's name describe it."""
    isrc = re.sub(r"[\s-]", "", tags.get("isrc", "")).upper()
    tagged: dict[str, Any] = {
        "title": _clean(tags.get("title", "")) or source.path.stem,
        "artists": tuple(filter(None, (_clean(artist) for artist in re.split(r"[;\x00]", tags.get("artist", ""))))),
        "album": _clean(tags.get("album", "")),
        "label": _clean(tags.get("label", "")),
        "isrc": (isrc,) if _ISRC.fullmatch(isrc) else (),
    }
    said = {name: _as_field(name, value) for name, value in source.metadata.items()}
    isrcs = said.get("isrc") or tagged["isrc"]
    track_id = source.track_id or (f"isrc:{isrcs[0]}" if isrcs else f"sha256:{content.hex()[:16]}")
    return Track(**{**tagged, **said, "track_id": track_id, "duration_s": duration_s})


def refuse_unstorable(source: Source) -> None:
    """Raises UnreadableAudio, with a sentence, for a name or a description that PostgreSQL could not hold."""
    if is_canary(source.track_id or ""):
        raise UnreadableAudio(f"{source.path} is not added: its track_id begins with {CANARY!r}, as the canary's alone does; give it another one")
    if not is_storable(source.path.name):
        raise UnreadableAudio(f"{str(source.path).encode(errors='backslashreplace').decode()} is not added: its name is not UTF-8; rename it")
    for name, value in {**source.metadata, "track_id": source.track_id or ""}.items():
        if flaw := unstorable(value, several=name in _LISTS, characters_max=_ID_CHARS_MAX if name in ("track_id", "isrc") else None):
            raise UnreadableAudio(f"{source.path} is not added: its {name} {flaw}")


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()[:_TAG_CHARS_MAX]


def _as_field(name: str, value: Any) -> Any:
    if name not in _LISTS:
        return str(value)
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)
