"""What each second of the last day of a stream sounded like, and what was told of it: a byte a second, and no more for a stream that never ends."""

import math
from collections.abc import Iterable
from enum import IntEnum, IntFlag
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from earmark.fingerprint.musicness import BEGINS, GOES_ON

#: Seconds that are remembered.
KEPT_S: Final = 86_400
#: Verdicts are of the last seconds, eleven of them about music and five about speech: what they say began so much earlier.
#: Of music little is enough, so it has begun only just; and has ended some time ago, where there is none.
_SPEECH_BACK_S, _MUSIC_BACK_S, _NO_MUSIC_BACK_S = 2, 2, 6

Kinds: TypeAlias = npt.NDArray[np.uint8]


class Kind(IntEnum):
    """What a second is."""

    UNKNOWN = 0
    GAP = 1
    PLAY = 2
    SILENCE = 3
    MUSIC = 4
    SPEECH = 5
    OTHER = 6


class _Sounds(IntFlag):
    HEARD = 1
    SILENT = 2
    MUSIC = 4
    SPEECH = 8


class Timeline:
    """Of one stream; seconds are stream time. What is older than a day is forgotten."""

    def __init__(self) -> None:
        self._sounds = np.zeros(KEPT_S, np.uint8)
        #: The second after the newest that was heard; and whether the newest that were judged were music.
        self._end = 0
        self._music = False

    def sounded(self, second: int, *, silent: bool, speech: bool) -> None:
        """A second was heard, and by it what the last five were."""
        self._forget_until(second + 1)
        self._sounds[second % KEPT_S] |= _Sounds.HEARD | (_Sounds.SILENT if silent else 0)
        self._mark(second - _SPEECH_BACK_S, second + 1, _Sounds.SPEECH, on=speech)
        self._mark(second, second + 1, _Sounds.MUSIC, on=self._music)

    def musical(self, begin_s: float, end_s: float, *, odds: float) -> None:
        """What was heard from `begin_s` to `end_s` was judged, by log odds of music in the last eleven seconds; what comes is taken for the same as yet."""
        self._music = odds > (GOES_ON if self._music else BEGINS)
        back_s = _MUSIC_BACK_S if self._music else _NO_MUSIC_BACK_S
        self._mark(math.floor(begin_s) - back_s, max(math.ceil(end_s), self._end), _Sounds.MUSIC, on=self._music)

    def kinds(self, begin_s: int, end_s: int, *, plays: Iterable[tuple[float, float]] = (), gaps: Iterable[tuple[float, float]] = ()) -> Kinds:
        """uint8 [end_s - begin_s], of `Kind`: each second. Gaps go before plays, which may go on over them, and plays before what it sounded like."""
        seconds = np.arange(begin_s, end_s)
        known = (seconds >= max(0, self._end - KEPT_S)) & (seconds < self._end)
        sounds = np.where(known, self._sounds[seconds % KEPT_S], 0)
        kinds = np.full(len(seconds), Kind.UNKNOWN, np.uint8)
        for flag, kind in ((_Sounds.HEARD, Kind.OTHER), (_Sounds.SPEECH, Kind.SPEECH), (_Sounds.MUSIC, Kind.MUSIC), (_Sounds.SILENT, Kind.SILENCE)):
            kinds[(sounds & flag != 0) & (sounds & _Sounds.HEARD != 0)] = kind
        for told, kind in ((plays, Kind.PLAY), (gaps, Kind.GAP)):
            for first_s, last_s in told:
                kinds[max(0, round(first_s) - begin_s) : max(0, round(last_s) - begin_s)] = kind
        return kinds

    def _mark(self, begin: int, end: int, flag: _Sounds, *, on: bool) -> None:
        """Of seconds that were heard; others are not marked."""
        at = np.arange(max(0, begin, self._end - KEPT_S), min(end, self._end)) % KEPT_S
        self._sounds[at] = self._sounds[at] | flag if on else self._sounds[at] & ~np.uint8(flag)

    def _forget_until(self, end: int) -> None:
        """Seconds up to `end` are new: what is there is of a day before."""
        self._sounds[np.arange(max(self._end, end - KEPT_S), end) % KEPT_S] = 0
        self._end = max(self._end, end)


def shares(kinds: Kinds) -> dict[Kind, float]:
    """Of the seconds that are known, how much is what, the most first."""
    known = kinds[kinds != Kind.UNKNOWN]
    counts = np.bincount(known, minlength=len(Kind)) if len(known) else np.zeros(len(Kind), np.int64)
    return {Kind(k): float(counts[k] / len(known)) for k in np.argsort(-counts, kind="stable").tolist() if counts[k]}


def cells(kinds: Kinds, cell_s: int) -> list[Kind]:
    """The same in cells of so many seconds: what most of a cell is, and a play or a gap if it holds any. The last one may be shorter."""
    return [_most(kinds[at : at + cell_s]) for at in range(0, len(kinds), cell_s)]


def _most(kinds: Kinds) -> Kind:
    counts = np.bincount(kinds, minlength=len(Kind))
    told = [kind for kind in (Kind.GAP, Kind.PLAY) if counts[kind]]
    return max(told, key=lambda kind: counts[kind]) if told else Kind(int(counts.argmax()))
