"""Catalogues of any size that nobody has, as postings and peaks, drawn at random: 100,000 recordings in minutes.

**What is right.** How many postings a hash has. Hashes are drawn by classes of popularity that were measured in music
(`bench.popularity`, whose figures are in popularity.json, so that no music is needed here): how many different values there are,
how often each of them is stored, how often it is repeated in one recording, how often streams ask for it; and how many
postings and peaks recordings have. So bytes, rows, blocks, the stop list and what it costs to look a second up are those of a
catalogue of that size.

**What is missing.** Each posting is drawn alone. In music neighbouring hashes come together (a held chord, a beat), so that votes
meet by chance far more often than here: what counting, verification and thresholds do must be measured with real
recordings or decoys of them (`bench.scale_catalogue`), and so must recall, with some planted among these. Postings have
nothing to do with the peaks of the same recording: no verification can find anything. Seconds of a stream are independent of each
other, although music asks for one pair in forty again within twelve seconds. Values in classes rarer than 2^-26
were extrapolated.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.fingerprint.landmarks import KEEP, key
from earmark.model import EIGHTHS, FRAMES_PER_S, Int32, Peaks

FAMILIES: Final = ("triples", "pairs")
POPULARITY: Final = Path(__file__).with_name("popularity.json")
_DURATION_S: Final = 240.0
#: Random bits that choose a class, a number of repeats, and a value: 64 in all.
_CLASS_BITS, _REPEAT_BITS, _VALUE_BITS = 18, 14, 32
_HASH_BITS: Final = 31
_HZ_BITS: Final = 15
#: Intervals of frequencies that have as many peaks each.
_INTERVAL_BITS: Final = 4
#: What is drawn is independent of all else: a stream of random numbers for each purpose.
_RATES, _POSTINGS, _PEAKS, _ASKED = range(4)

_UInt64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Family:
    """Classes of hashes of one family of landmarks, the rarest first: columns of equal length, as in popularity.json."""

    #: int64, different hashes of the class.
    values: npt.NDArray[np.int64]
    #: Shares of a recording's different hashes, and of those that a stream asks for, that are of the class.
    share: npt.NDArray[np.float64]
    asked: npt.NDArray[np.float64]
    #: [classes, 4]: of the hashes that a recording has, how many of the class it has once, twice, ... in its postings.
    repeats: npt.NDArray[np.float64]

    @property
    def probability(self) -> npt.NDArray[np.float64]:
        """Of each hash of the class, among a recording's different hashes."""
        return self.share / self.values

    @property
    def repeats_mean(self) -> float:
        """Postings of a hash in a recording that has it."""
        return float(self.share @ self.repeats @ np.arange(1, KEEP + 1))


def families() -> dict[str, Family]:
    """The classes of each family, as they were measured."""
    found = json.loads(POPULARITY.read_text(encoding="utf-8"))
    columns = [column.name for column in fields(Family)]
    return {name: Family(**{column: np.array([c[column] for c in found[name]["classes"]]) for column in columns}) for name in FAMILIES}


class _Drawing:
    """Tables to draw hashes of a family with: each from 64 random bits, for its class, its repeats and its value."""

    def __init__(self, number: int, family: Family) -> None:
        self._packed = (number << 7 | np.arange(len(family.values))).astype(np.uint64) << np.uint64(_VALUE_BITS)
        self._values = family.values.astype(np.uint64)
        self._stored, self._asked = _table(family.share), _table(family.asked)
        # Numbers from which on a hash is there twice, three times, four times.
        self._often = np.rint(np.cumsum(family.repeats, axis=1)[:, :-1].T * (1 << _REPEAT_BITS)).astype(np.uint16)

    def stored(self, bits: _UInt64) -> Int32:
        """Hashes of a recording, each as often as it is repeated; of [n] random bits, n or more."""
        of_class = self._stored.take(_top(bits, _CLASS_BITS))
        hashes = self._hashes(of_class, bits)
        chance = (bits >> np.uint64(_VALUE_BITS)).astype(np.uint16) & np.uint16((1 << _REPEAT_BITS) - 1)
        parts = [hashes]
        for often in self._often:
            # Some of those that are there twice are there three times.
            more = np.flatnonzero(chance >= often.take(of_class))
            hashes, of_class, chance = hashes.take(more), of_class.take(more), chance.take(more)
            parts.append(hashes)
        return np.concatenate(parts)

    def asked(self, bits: _UInt64) -> Int32:
        """Hashes of questions: of [n] random bits, n."""
        return self._hashes(self._asked.take(_top(bits, _CLASS_BITS)), bits)

    def _hashes(self, of_class: npt.NDArray[np.uint8], bits: _UInt64) -> Int32:
        value = _below(self._values.take(of_class), bits, 0, _VALUE_BITS)
        return key((self._packed.take(of_class) | value).view(np.int64))


def _table(share: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Classes in proportion to their shares: uint8 [2^18]."""
    edges = np.rint(np.cumsum(share) / share.sum() * (1 << _CLASS_BITS)).astype(np.int64)
    return np.repeat(np.arange(len(share), dtype=np.uint8), np.diff(edges, prepend=0))


class Generator:
    """Recordings and seconds of unknown music by number, each the same whatever was drawn before.

    Args:
        seed: of the catalogue; another one has other recordings, of the same hashes.
        duration_s: of a recording.
    """

    def __init__(self, seed: int = 0, *, duration_s: float = _DURATION_S) -> None:
        found = json.loads(POPULARITY.read_text(encoding="utf-8"))
        classes = families().values()
        self._seed, self._duration_s = seed, duration_s
        self._drawings = [_Drawing(number, family) for number, family in enumerate(classes)]
        #: By recording that was measured: different triples, different pairs and peaks a second.
        self._per_s = np.array(found["recordings_per_s"]) / [*(family.repeats_mean for family in classes), 1]
        self._asked_per_s = np.array(found["asked_per_s"])
        self._hashed_permille = round(1_000 * found["peaks"]["hashed"])
        borders = np.array(found["peaks"]["eighth_hz"], np.uint64)
        self._eighth_hz, self._widths = borders[:-1], np.diff(borders)

    def duration_s(self, number: int) -> float:
        """Of all the same."""
        del number
        return self._duration_s

    def postings(self, number: int) -> tuple[Int32, Int32]:
        """Hashes, and frames in ascending order, of a recording: [n] each, at most 4 of one hash."""
        random = self._random(_POSTINGS, number)
        counts = np.rint(self._rates(number)[:2] * self._duration_s).astype(int)
        drawn = [drawing.stored(_bits(random, count)) for drawing, count in zip(self._drawings, counts, strict=True)]
        hashes = np.sort(np.concatenate(drawn))
        # Popular ones are drawn more than once, and so may be there too often.
        too_many = np.flatnonzero(hashes[KEEP:] == hashes[:-KEEP]) + KEEP
        hashes = np.delete(hashes, too_many).astype(np.uint64)
        frame = random.integers(0, max(1, int(self._duration_s * FRAMES_PER_S)), len(hashes), np.uint32)
        packed = frame.astype(np.uint64) << np.uint64(_HASH_BITS) | hashes
        packed.sort()
        return (packed & np.uint64((1 << _HASH_BITS) - 1)).astype(np.int32), (packed >> np.uint64(_HASH_BITS)).astype(np.int32)

    def peaks(self, number: int) -> Peaks:
        """As many as music has, where music has them; without salience, as peaks are stored."""
        bits = _bits(self._random(_PEAKS, number), round(self._rates(number)[2] * self._duration_s))
        time = _below(int(self._duration_s * FRAMES_PER_S * EIGHTHS), bits, 0, 32)
        # As many in each interval of frequencies, and anywhere in it.
        interval = _top(bits, _INTERVAL_BITS)
        hz = self._eighth_hz.take(interval) + _below(self._widths.take(interval), bits, 32, 14)
        hashed = _below(1_000, bits, 46, 14) < self._hashed_permille
        packed = np.sort(time << np.uint64(_HZ_BITS + 1) | hz << np.uint64(1) | hashed)
        packed = packed[np.flatnonzero(np.diff(packed >> np.uint64(1), prepend=np.uint64(1 << 63)))]
        return Peaks(
            eighth_frames=(packed >> np.uint64(_HZ_BITS + 1)).astype(np.int32),
            eighth_hz=(packed >> np.uint64(1) & np.uint64((1 << _HZ_BITS) - 1)).astype(np.int32),
            hashed=(packed & np.uint64(1)).astype(np.bool_),
            salience=np.zeros(len(packed), np.float32),
        )

    def second(self, number: int) -> Int32:
        """Different hashes in ascending order that a second of unknown music asks for."""
        random = self._random(_ASKED, number)
        counts = np.rint(self._asked_per_s[random.integers(len(self._asked_per_s))]).astype(int)
        drawn = [drawing.asked(_bits(random, count)) for drawing, count in zip(self._drawings, counts, strict=True)]
        return np.unique(np.concatenate(drawn))

    def seconds(self, count: int) -> list[Int32]:
        """The first so many."""
        return [self.second(number) for number in range(count)]

    def _rates(self, number: int) -> npt.NDArray[np.float64]:
        """Of one of the recordings that were measured."""
        rates: npt.NDArray[np.float64] = self._per_s[self._random(_RATES, number).integers(len(self._per_s))]
        return rates

    def _random(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, purpose, number])


def _bits(random: np.random.Generator, count: int) -> _UInt64:
    return random.integers(0, 1 << 64, count, np.uint64)


def _top(bits: _UInt64, count: int) -> npt.NDArray[np.int64]:
    """The first so many bits, as something to index with."""
    return (bits >> np.uint64(64 - count)).view(np.int64)


def _below(limit: int | _UInt64, bits: _UInt64, begin: int, count: int) -> _UInt64:
    """Numbers from 0 to before a limit, in proportion to so many of the bits."""
    chosen = bits >> np.uint64(begin) & np.uint64((1 << count) - 1)
    return chosen * np.asarray(limit, np.uint64) >> np.uint64(count)
