"""A folder of segments, as a recorder or an archive left it, for `earmark replay`: one coded signal that was cut into files."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from earmark.audio.segments import container_of
from earmark.errors import BadSettings, UnreadableAudio
from earmark.model import EndReason, Piece, Segment

#: What segments are called; in fragmented MP4 one file, called init, holds what must precede all others.
SUFFIXES = frozenset({".ts", ".m2ts", ".mts", ".aac", ".mp3", ".mp4", ".m4a", ".m4s", ".cmfa"})
_INIT = re.compile(r"init\b|init[-_.]", re.IGNORECASE)


class Signals(Protocol):
    """`session.Signals`, as far as a folder needs it."""

    @property
    def leaving(self) -> bool: ...


class FolderSource:
    """Implements `session.Source`: the segments of a folder in the order of the numbers in their names."""

    def __init__(self, *, folder: Path, signals: Signals, bytes_max: int) -> None:
        self._folder = folder
        self._signals = signals
        self._bytes_max = bytes_max
        self.lasting = True
        self.end_reason: EndReason = "failed"
        self.rendition = "folder"
        self.fetched_bytes = 0

    def pieces(self) -> Iterator[Piece]:
        """Raises BadSettings when there are no segments, UnreadableAudio when one cannot be read."""
        files = segments(self._folder)
        init = b"".join(self._bytes(path) for path in files if _INIT.match(path.name))
        media = [path for path in files if not _INIT.match(path.name)]
        if not media:
            raise BadSettings(f"the folder {self._folder} holds no segments ({', '.join(sorted(SUFFIXES))}): name a folder that does, or a file")
        for path in media:
            if self._signals.leaving:
                return
            yield self._segment(path, init)
        self.end_reason = "endlist"

    def _segment(self, path: Path, init: bytes) -> Segment:
        data = self._bytes(path)
        whole = data[4:8] == b"ftyp"  # it brings its own header
        container = container_of(data, fragmented=bool(init))
        return Segment(data=data, container=container, init=b"" if whole else init, duration_s=0.0, position=path.name, fetched_at=datetime.now(UTC))

    def _bytes(self, path: Path) -> bytes:
        try:
            size = path.stat().st_size
            if size > self._bytes_max:
                raise UnreadableAudio(f"{path} has {size:,} bytes, and of a file more than {self._bytes_max:,} are not read at once: cut it into shorter ones")
            data = path.read_bytes()
        except OSError as error:
            raise UnreadableAudio(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
        self.fetched_bytes += len(data)
        return data


def others(folder: Path) -> list[Path]:
    """What else is in the folder, hidden files aside: subfolders, and files whose names are not those of segments."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and (path.suffix.lower() not in SUFFIXES or not path.is_file()))


def segments(folder: Path) -> list[Path]:
    """The folder's segments, 9 before 10."""
    return sorted((path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()), key=_in_order)


def _in_order(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", path.name)]
