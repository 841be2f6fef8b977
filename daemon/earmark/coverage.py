"""The ledger of a session: every media second is heard, or a gap with a reason. Pure."""

from dataclasses import replace
from typing import Final

import numpy as np

from earmark.model import RATE_HZ, AudioChunk, Checkpoint, Float32, Gap, Music, Stretch

#: Stretches of music, or of speech, nearer than this are one: the last six seconds before a hand-over are never judged.
APART_S = 7.0
#: So many of a kind are kept, because the checkpoint is written every few seconds.
STRETCHES_MAX = 500
#: Shorter speech is what a pause, a cheer or a game sounded like for a moment.
SPEECH_S_MIN = 3.0
#: A sample that is louder than this (-50 dB against full scale) is heard: a room without a voice is mostly below, and what a
#: codec makes of nothing always is.
LOUD: Final = 10 ** (-50 / 20)
#: Shorter pauses are part of what is said and played.
SILENCE_S_MIN: Final = 3.0
#: Less half a sample, since seconds are added up.
_LASTING_S: Final = SILENCE_S_MIN - 0.5 / RATE_HZ


class Coverage:
    """Every media second of the session, as heard or as a gap with a reason; the sum is the position.

    Neighbouring gaps of one reason are one gap, so that an origin that is down for an hour is one line. Where it
    sounded like music, where somebody spoke and where it was silent are kept as well, and bounded: of too many stretches the shortest
    goes, but never the newest.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.position_s = checkpoint.position_s
        self.heard_s = checkpoint.heard_s
        self.gaps = list(checkpoint.gaps)
        self._music = list(checkpoint.music.stretches)
        self._speech = list(checkpoint.speech)
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
        self._music_dropped += _lengthen(self._music, stretch)

    def add_speech(self, stretch: Stretch) -> None:
        if self._speech and _brief(self._speech[-1]) and stretch.begin_s - self._speech[-1].end_s >= APART_S:
            self._speech.pop()
        _lengthen(self._speech, stretch)

    @property
    def speech(self) -> tuple[Stretch, ...]:
        return tuple(self._speech[:-1] if self._speech and _brief(self._speech[-1]) else self._speech)

    @property
    def silence(self) -> tuple[Stretch, ...]:
        """With the one that lasts, if one does."""
        lasting = self.position_s - self._quiet_from_s >= _LASTING_S
        return (*self._silences, _rounded(self._quiet_from_s, self.position_s)) if lasting else tuple(self._silences)

    def onto(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint as far as it is of coverage."""
        return replace(
            checkpoint,
            position_s=self.position_s,
            heard_s=self.heard_s,
            gaps=tuple(self.gaps),
            music=self.music,
            speech=self.speech,
            silence=self.silence,
        )

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
            self._silences.append(_rounded(self._quiet_from_s, loud_s))
            _bound(self._silences)
        self._quiet_from_s = quiet_from_s


def _lengthen(stretches: list[Stretch], stretch: Stretch) -> int:
    """The newest goes on, or another one begins; how many went for it."""
    begin_s = stretch.begin_s
    if stretches and begin_s - stretches[-1].end_s < APART_S:
        begin_s = stretches.pop().begin_s
    stretches.append(_rounded(begin_s, stretch.end_s))
    return _bound(stretches)


def _bound(stretches: list[Stretch]) -> int:
    if len(stretches) <= STRETCHES_MAX:
        return 0
    stretches.remove(min(stretches[:-1], key=lambda kept: kept.end_s - kept.begin_s))
    return 1


def _rounded(begin_s: float, end_s: float) -> Stretch:
    return Stretch(begin_s=round(begin_s, 3), end_s=round(end_s, 3))


def _brief(stretch: Stretch) -> bool:
    return stretch.end_s - stretch.begin_s < SPEECH_S_MIN
