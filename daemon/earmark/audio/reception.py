"""One connection to a radio station: bytes as they come, sound and words told apart, frames and titles out."""

from earmark.audio.elementary import Frame, Framer
from earmark.audio.icy import Deinterleaver
from earmark.audio.station import Tuned
from earmark.errors import SourceUnsupported

#: Bytes that may come without a frame in them; and, words included, for each second of sound: five times 320 kbit/s.
STRANGE_BYTES_MAX, BYTES_PER_S_MAX = 131_072, 200_000


class Reception:
    def __init__(self, tuned: Tuned) -> None:
        self.station = tuned.station
        self.host = tuned.body.host
        self._body = tuned.body
        self._words = Deinterleaver(tuned.station.metaint)
        self._framer = Framer()
        #: All that came, and how long its sound plays.
        self.bytes, self.sound_s = 0, 0.0

    def receive(self, timeout_s: float) -> list[Frame | str] | None:
        """Frames, and titles where they stand between them; None: nothing has come within that time.

        Raises SourceUnavailable when nothing more will come, SourceUnsupported when it is no sound.
        """
        data = self._body.read(timeout_s)
        if not data:
            return None
        self.bytes += len(data)
        parts = list[Frame | str]()
        for part in self._words.push(data):
            if isinstance(part, str):
                parts.append(part)
            else:
                frames = self._framer.push(part)
                self.sound_s += sum(frame.duration_s for frame in frames)
                parts += frames
        if self.bytes > STRANGE_BYTES_MAX + BYTES_PER_S_MAX * self.sound_s:
            raise SourceUnsupported(f"what {self.host} sends is hardly sound: of radio stations only MP3 and AAC (in ADTS) are heard")
        return parts

    def close(self) -> None:
        self._body.close()
