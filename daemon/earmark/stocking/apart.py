"""Fingerprinting strangers' files in a process of its own; see `child`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from earmark.audio.file import length_s, read_tags
from earmark.errors import UnreadableAudio
from earmark.hits.text import clock_time
from earmark.reference import Fingerprinted, fingerprint_file
from earmark.stocking.child import Child

#: A file takes no longer than this and a fiftieth of the longest recording: nine times as long as one core needs.
_LEAST_S, _PACE = 60.0, 50.0
#: A header that says so many times more than is allowed is believed; what it says is often a guess, but not that wrong.
_GROSSLY: Final = 2.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sound:
    """What is in a file: its fingerprint, and what it says of itself."""

    fingerprinted: Fingerprinted
    tags: dict[str, str]


class Apart(Child):
    """The child that fingerprints."""

    def __init__(self) -> None:
        super().__init__(_sound, name="fingerprints")

    def fingerprint(self, path: Path, *, longest_s: float, beat: Callable[[], object]) -> Sound:
        """`beat` as in `answer`. Raises UnreadableAudio with a sentence that begins with the path, also when the child died over it."""
        sound: Sound = self.answer(path, longest_s, limit_s=_LEAST_S + longest_s / _PACE, beat=beat, cannot=f"{path} cannot be fingerprinted")
        return sound


def _sound(path: Path, longest_s: float) -> Sound:
    announced_s = length_s(path)
    if announced_s > _GROSSLY * longest_s:
        by_header = f"by its header it lasts {clock_time(announced_s)}, and {clock_time(longest_s)} is the most"
        raise UnreadableAudio(f"{path} cannot be fingerprinted: {by_header}; cut it into recordings")
    return Sound(fingerprinted=fingerprint_file(path, longest_s=longest_s), tags=read_tags(path))
