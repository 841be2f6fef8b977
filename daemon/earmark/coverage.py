"""The ledger of a session: every media second is heard, or a gap with a reason. Pure."""

from earmark.model import AudioChunk, Checkpoint, Gap, Music, Stretch

#: Stretches of music nearer than this are one: the last six seconds before a hand-over are never judged.
MUSIC_APART_S = 7.0
#: So many are kept, because the checkpoint is written every few seconds.
MUSIC_STRETCHES_MAX = 500


class Coverage:
    """Every media second of the session, as heard or as a gap with a reason; the sum is the position.

    Neighbouring gaps of one reason are one gap, so that an origin that is down for an hour is one line. Where it
    sounded like music is kept as well, and bounded: of too many stretches the shortest goes, but never the newest.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.position_s = checkpoint.position_s
        self.heard_s = checkpoint.heard_s
        self.gaps = list(checkpoint.gaps)
        self._music = list(checkpoint.music.stretches)
        self._music_s = checkpoint.music.heard_s
        self._music_dropped = checkpoint.music.dropped

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
