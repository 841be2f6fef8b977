"""Where one connection to a radio station goes on from another: by the frames that both brought. Pure.

A server hands every listener the same frames, and a new one gets some seconds of the past at once. So behind the last
frames that were heard before a connection broke, what comes first over the next one may be found; then nothing is heard
twice, and what is in between was not missed. Frames are compared by their checksums, of which a run that is unique tells;
of digital silence, whose frames are all alike, nothing can be told.
"""

import json
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from earmark.titles import Title

#: Frames whose checksums are kept: a second of MP3; and so many have to agree.
KEPT, LEAST = 40, 8


class Tail:
    """The checksums of the last frames that were handed on."""

    def __init__(self, checksums: Iterable[int] = ()) -> None:
        self._checksums = deque(checksums, KEPT)

    def add(self, frames: Iterable[bytes]) -> None:
        self._checksums.extend(zlib.crc32(frame) for frame in frames)

    def clear(self) -> None:
        self._checksums.clear()

    @property
    def checksums(self) -> tuple[int, ...]:
        return tuple(self._checksums)

    def continued_in(self, frames: Sequence[bytes]) -> int | None:
        """Which of the frames is the first behind these; None: that cannot be told."""
        kept, new = list(self._checksums), [zlib.crc32(frame) for frame in frames]
        if len(kept) < LEAST:
            return None
        found = [end for end in range(LEAST, len(new) + 1) if new[max(0, end - len(kept)) : end] == kept[-min(end, len(kept)) :]]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a station's sound was left; travels in the checkpoint as JSON."""

    #: When the last of it came.
    at: datetime
    checksums: tuple[int, ...] = ()
    #: What was on air, `begin_s` counted from here: those of before are negative.
    titles: tuple[Title, ...] = ()

    def to_json(self) -> str:
        return json.dumps({
            "at": self.at.isoformat(),
            "frames": "".join(f"{checksum:08x}" for checksum in self.checksums),
            "titles": [[round(title.begin_s, 3), title.text] for title in self.titles],
        }, ensure_ascii=False)  # fmt: skip

    @staticmethod
    def from_json(text: str) -> "Place | None":
        """None for an empty text, and for one of another source or version: then the station is joined anew."""
        try:
            said = json.loads(text)
            digits, moment = str(said["frames"]), datetime.fromisoformat(said["at"])
            return Place(
                at=moment if moment.tzinfo else moment.replace(tzinfo=UTC),
                checksums=tuple(int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)),
                titles=tuple(Title(float(begin_s), str(title)) for begin_s, title in said["titles"]),
            )
        except (ValueError, TypeError, KeyError):
            return None
