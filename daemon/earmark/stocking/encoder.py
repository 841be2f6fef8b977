"""Encoding strangers' files in a process of its own, behind everybody else; see `child`."""

from collections.abc import Callable
from pathlib import Path

from earmark.audio.encode import Encoded, Encoding, NoRoom, encode
from earmark.stocking.child import Child

#: A copy takes no longer than this and half the recording's length: fifty times as long as a core of its own needs, as it has none.
_LEAST_S, _PACE = 60.0, 2.0


class Encoder(Child):
    """The child that encodes; used by one thread."""

    def __init__(self) -> None:
        super().__init__(_encoded, name="formats", last=True)

    def encode(self, file: Path, into: Path, how: Encoding, *, duration_s: float, beat: Callable[[], object]) -> Encoded:
        """As `audio.encode.encode`; `beat` as in `answer`.

        Raises UnreadableAudio with a sentence that begins with the path, also when the child died over it; NoRoom.
        """
        cannot = f"{file} cannot be written as {how.codec}"
        made: Encoded | NoRoom = self.answer(file, into, how, duration_s, limit_s=_LEAST_S + duration_s / _PACE, beat=beat, cannot=cannot)
        if isinstance(made, NoRoom):
            raise made
        return made


def _encoded(file: Path, into: Path, how: Encoding, duration_s: float) -> Encoded | NoRoom:
    try:
        return encode(file, into, how, duration_s=duration_s)
    except NoRoom as error:
        return error
