"""The ledger of a session: every media second is heard, or a gap with a reason. Pure."""

from dataclasses import replace
from typing import Final

import numpy as np

from earmark.model import RATE_HZ, AudioChunk, Checkpoint, Float32, Gap, Music, Stretch

#: Stretches of music nearer than this are one: the last six seconds before a hand-over are never judged.
MUSIC_APART_S = 7.0
#: So many are kept, because the checkpoint is written every few seconds.
MUSIC_STRETCHES_MAX = 500
#: A sample that is louder than this (-50 dB against full scale) is heard: a room without a voice is mostly below, and what a
#: codec makes of nothing always is.
LOUD: Final = 10 ** (-50 / 20)
#: Shorter pauses are part of what is said and played.
SILENCE_S_MIN: Final = 3.0
#: Less half a sample, since seconds are added up.
_LASTING_S: Final = SILENCE_S_MIN - 0.5 / RATE_HZ
#: So many silences are kept; of more the shortest goes.
SILENCES_MAX: Final = 500


class Coverage:
    """Every media second of the session, as heard or as a gap with a reason; the sum is the position.

    Neighbouring gaps of one reason are one gap, so that an origin that is down for an hour is one line. Where it
    sounded like music is kept as well, and bounded: of too many stretches the shortest goes, but never the newest. And where it was silent.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.position_s = checkpoint.position_s
        self.heard_s = checkpoint.heard_s
        self.gaps = list(checkpoint.gaps)
        self._music = list(checkpoint.music.stretches)
        self._music_s = checkpoint.music.heard_s
        self._music_dropped = checkpoint.music.dropped
        self._silences = list(checkpoint.silence)
        # It may go on: a silence that lasts until here was noted so far.
        lasting = bool(self._silences) and self._silences[-1].end_s >= self.position_s - 0.01
        self._quiet_from_s = self._silences.pop().begin_s if lasting else self.position_s

    @property
    def music(self) -> Music:
        return Music(stretches=tuple(self._music), heard_s=round(self._music_s, 3), dropped=self._music_dropped)

    def add(self, chunk: AudioChunk) -> None:
        if chunk.gap_before_s > 0:
            begin_s, end_s = self.position_s, self.position_s + chunk.gap_before_s
            reason = chunk.gap_reason or "skipped"
            if self.gaps and self.gaps[-1].reason == reason and abs(self.gaps[-1].end_s - begin_s) < 1e-6:
                begin_s = self.gaps.pop().begin_s
            self.gaps.append(Gap(begin_s=begin_s, end_s=end_s, reason=reason))
            self.position_s = end_s
            self._end_silence(begin_s, end_s)
        self._listen(chunk.samples)
        self.heard_s += chunk.end_s - chunk.start_s
        self.position_s += chunk.end_s - chunk.start_s

    def add_music(self, stretch: Stretch) -> None:
        self._music_s += stretch.end_s - stretch.begin_s
        begin_s = stretch.begin_s
        if self._music and begin_s - self._music[-1].end_s < MUSIC_APART_S:
            begin_s = self._music.pop().begin_s
        self._music.append(Stretch(begin_s=round(begin_s, 3), end_s=round(stretch.end_s, 3)))
        if len(self._music) > MUSIC_STRETCHES_MAX:
            self._music.remove(min(self._music[:-1], key=lambda kept: kept.end_s - kept.begin_s))
            self._music_dropped += 1

    @property
    def silence(self) -> tuple[Stretch, ...]:
        """With the one that lasts, if one does."""
        lasting = self.position_s - self._quiet_from_s >= _LASTING_S
        return (*self._silences, Stretch(begin_s=round(self._quiet_from_s, 3), end_s=round(self.position_s, 3))) if lasting else tuple(self._silences)

    def onto(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint as far as it is of coverage."""
        return replace(checkpoint, position_s=self.position_s, heard_s=self.heard_s, gaps=tuple(self.gaps), music=self.music, silence=self.silence)

    def _listen(self, samples: Float32) -> None:
        """Whatever the chunks, the same silences: within a second none begins and ends."""
        for begin in range(0, len(samples), RATE_HZ):
            loud = np.abs(samples[begin : begin + RATE_HZ]) >= LOUD
            first = int(loud.argmax())
            if loud[first]:
                last = len(loud) - int(loud[::-1].argmax())
                here_s = self.position_s + begin / RATE_HZ
                self._end_silence(here_s + first / RATE_HZ, here_s + last / RATE_HZ)

    def _end_silence(self, loud_s: float, quiet_from_s: float) -> None:
        if loud_s - self._quiet_from_s >= _LASTING_S:
            self._silences.append(Stretch(begin_s=round(self._quiet_from_s, 3), end_s=round(loud_s, 3)))
            if len(self._silences) > SILENCES_MAX:
                self._silences.remove(min(self._silences, key=lambda kept: kept.end_s - kept.begin_s))
        self._quiet_from_s = quiet_from_s
