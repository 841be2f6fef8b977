"""How often hashes occur, and how often they are asked for: measures what `bench.catalogue` draws from.

    PYTHONPATH=tests python -m bench.popularity        prints a table, and writes popularity.json beside this file

The music is that of the hearing bench under $EARBENCH_HOME (default ~/.cache/earbench): 42 recordings, three streams of
twenty minutes. Takes three minutes and 2 GB.

**Classes.** Some hashes are in every fourth recording; half of a recording's triples are in none of six thousand others.
Hashes of the same probability are a class: so many different values, each of the same probability *among a recording's
different hashes*. In how many other recordings a hash is follows a mixture of Poisson laws, one for each class; the mixture's
shares are found by expectation and maximisation, a little smoothed in each round (without it, the classes that are too rare
to be seen become spikes). The same of the hashes that streams ask for says which classes those are of: what is asked is less
popular than what is stored.

**Counted in what.** 42 recordings are too few to see what is rare. So hashes are counted in decoys of them
(`bench.scale_catalogue`): one of each group, so that all have another tempo, and none that is made of the recording itself.
Classes rarer than one hash in all decoys (2^-26) are an extrapolation. And decoys repeat 42 recordings: a triple that is in
one of them is in many of its decoys, so that somewhat too many triples seem to be in none of thousands of recordings.

**Collision entropy**, -log2 of the probability that postings of two different recordings have the same hash, is told of the
first minutes of the real recordings, of the decoys, and of the classes.

Source: B. Silverman et al., "A smoothed EM approach to indirect estimation problems", JRSS B 52 (1990).
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench.bench_scale import sound
from bench.calibration_sound import HOME, decode
from bench.catalogue import FAMILIES, POPULARITY
from bench.scale_catalogue import Decoys, Real
from earmark.fingerprint import pairs, triples
from earmark.fingerprint.landmarks import KEEP, key
from earmark.fingerprint.targets import LOOKAHEAD_FRAMES
from earmark.hearing import LOOK_FRAMES, Hearing, drive
from earmark.model import FINGERPRINT_VERSION, FRAMES_PER_S, RATE_HZ, AudioChunk, Float64, Int32, Landmarks, MatchParams, Peaks
from fakes import MemoryIndex

#: Decoys in which hashes are counted, and decoys in a group, of which one is taken.
_DECOYS: Final = 6_000
_GROUP: Final = 12
_STREAMS: Final = 3
#: What is measured of a recording: its first four minutes.
_MEASURED_S: Final = 240.0
#: Share of the decoys' hashes of which it is counted how often others have them.
_SAMPLED: Final = 1 / 128
#: Probabilities of the classes: from one in as many as there are keys to more than any hash has.
_PROBABILITIES: Final = 2.0 ** np.arange(-31, -10, 0.5)
#: What each round gives to either neighbour, and how many there are.
_SMOOTHED, _ROUNDS = 0.1, 500
#: Seconds in which the same hash may be asked again.
_AGAIN_S: Final = 12
_STEP_S: Final = LOOK_FRAMES / FRAMES_PER_S
_STEPS_TOLD: Final = 24
# A key: 31 bits of hash, 6 of source, 3 of repeats.
_SOURCE_BITS, _REPEAT_BITS = 6, 3

_Int64 = npt.NDArray[np.int64]


def main() -> int:
    needed = [HOME / "queries.json", *(HOME / f"stream{n}.{kind}" for n in range(_STREAMS) for kind in ("wav", "json"))]
    if missing := [str(path) for path in needed if not path.exists()]:
        print(f"popularity: the development music is not there: {missing[0]} is missing; set EARBENCH_HOME to where the hearing bench put it", file=sys.stderr)
        return 1
    found = measured()
    POPULARITY.write_text(_written(found), encoding="utf-8")
    _show(found)
    return 0


def measured() -> dict[str, Any]:
    real, _ = sound()
    first_minutes = [Real(r.track_id, min(r.duration_s, _MEASURED_S), r.peaks.between(0, _MEASURED_S * FRAMES_PER_S)) for r in real]
    steps = [step for number in range(_STREAMS) for step in _asked(number, [r.track_id for r in real])]
    decoys = Decoys(real)
    postings = _Postings(first_minutes, decoys)
    return {
        "fingerprint": FINGERPRINT_VERSION,
        "measured": {
            "recordings": len(real),
            "recordings_h": round(sum(r.duration_s for r in first_minutes) / 3_600, 2),
            "decoys": _DECOYS,
            "decoys_h": round(sum(decoys.duration_s(_GROUP * n) for n in range(_DECOYS)) / 3_600, 1),
            "asked_s": round(sum(step.music for step in steps) * _STEP_S),
        },
        "recordings_per_s": _recordings_per_s(first_minutes),
        "asked_per_s": _asked_per_s(steps),
        "peaks": _peaks(first_minutes),
        **{name: _family(postings, f, steps) for f, name in enumerate(FAMILIES)},
    }


# --------------------------------------------------------------------------------------------------- stored


def _hashes(peaks: Peaks) -> list[Int32]:
    """A reference's hashes by family, before `first_postings`."""
    sparse = peaks.take(peaks.hashed)
    return [
        key(triples.triples(sparse, slice(0, len(sparse)), triples.TARGETS)[0]),
        key(pairs.pairs(peaks, slice(0, len(peaks)), pairs.TARGETS)[0]),
    ]


def _kept(hashes: Int32) -> tuple[Int32, _Int64]:
    """Different hashes, and how many postings of each a recording keeps."""
    different, count = np.unique(hashes, return_counts=True)
    return different, np.minimum(count, KEEP).astype(np.int64)


class _Postings:
    """By family, which hashes recordings have, and how often: sorted keys of the decoys, and of the real ones."""

    def __init__(self, real: Sequence[Real], decoys: Decoys) -> None:
        source = decoys.sources(_DECOYS * _GROUP)[::_GROUP]
        self.real = self._sorted((n, r.peaks) for n, r in enumerate(real))
        self.decoys = self._sorted((int(source[n]), decoys.peaks(_GROUP * n + self._which(n))) for n in range(_DECOYS))

    @staticmethod
    def _which(number: int) -> int:
        """Which of its group: any, so that all pitches are there."""
        return int(np.random.default_rng([41, number]).integers(_GROUP))

    @staticmethod
    def _sorted(recordings: Iterator[tuple[int, Peaks]]) -> list[_Int64]:
        parts: list[list[_Int64]] = [[] for _ in FAMILIES]
        for source, peaks in recordings:
            for part, hashes in zip(parts, _hashes(peaks), strict=True):
                different, repeats = _kept(hashes)
                part.append((different.astype(np.int64) << _SOURCE_BITS | source) << _REPEAT_BITS | repeats)
        return [np.sort(np.concatenate(part)) for part in parts]

    def elsewhere(self, family: int, hashes: Int32, source: _Int64) -> _Int64:
        """In how many decoys a hash is, those that are made of its own source left out; source -1: none is."""
        keys = self.decoys[family]
        first = hashes.astype(np.int64) << (_SOURCE_BITS + _REPEAT_BITS)
        own = first + (source << _REPEAT_BITS)
        everywhere = _between(keys, first, first + (1 << (_SOURCE_BITS + _REPEAT_BITS)))
        return everywhere - np.where(source < 0, 0, _between(keys, own, own + (1 << _REPEAT_BITS)))

    def sampled(self, family: int) -> tuple[Int32, _Int64, _Int64]:
        """Hash, source and repeats of some of the decoys' hashes."""
        keys = self.decoys[family]
        some = keys[np.random.default_rng([42, family]).random(len(keys)) < _SAMPLED]
        hash_, source = some >> (_SOURCE_BITS + _REPEAT_BITS), some >> _REPEAT_BITS & ((1 << _SOURCE_BITS) - 1)
        return hash_.astype(np.int32), source, some & ((1 << _REPEAT_BITS) - 1)


def _between(keys: _Int64, low: _Int64, high: _Int64) -> _Int64:
    return np.searchsorted(keys, high) - np.searchsorted(keys, low)


def _collision_bits(keys: _Int64) -> float:
    """Collision entropy of postings of different sources."""
    repeats = (keys & ((1 << _REPEAT_BITS) - 1)).astype(np.float64)
    by_source = np.bincount(keys >> _REPEAT_BITS & ((1 << _SOURCE_BITS) - 1), weights=repeats)
    met, possible = np.sum(by_source) ** 2, np.sum(by_source**2)
    same_hash, same_source = (_squares(keys >> bits, repeats) for bits in (_SOURCE_BITS + _REPEAT_BITS, _REPEAT_BITS))
    return -math.log2((same_hash - same_source) / (met - possible))


def _squares(groups: _Int64, repeats: Float64) -> float:
    """Sum of the squared numbers of postings, by groups that lie together."""
    begin = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))
    return float(np.sum(np.add.reduceat(repeats, begin) ** 2))


def _recordings_per_s(real: Sequence[Real]) -> list[list[float]]:
    """Of each recording, those with few postings first: postings of triples, of pairs, and peaks."""
    rows = []
    for r in real:
        counts = [*(int(_kept(hashes)[1].sum()) for hashes in _hashes(r.peaks)), len(r.peaks)]
        rows.append([round(count / r.duration_s, 1) for count in counts])
    return sorted(rows, key=lambda row: row[0] + row[1])


def _peaks(real: Sequence[Real]) -> dict[str, Any]:
    everything = Peaks.join(*(r.peaks for r in real))
    return {
        "hashed": round(float(np.mean(everything.hashed)), 3),
        "eighth_hz": np.quantile(everything.eighth_hz, np.linspace(0, 1, 17)).astype(int).tolist(),
    }


# ---------------------------------------------------------------------------------------------------- asked


@dataclass(frozen=True)
class _Step:
    """What one step of hearing asks: different hashes by family, and how many questions that were."""

    hashes: list[Int32]
    questions: list[int]
    #: Whether music plays, and of which recording it is: -1 for one that is not in the catalogue.
    music: bool
    source: int


class _Noting(Hearing):
    """A hearing that notes what it asks under speed 1."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.noted: list[tuple[float, list[Landmarks]]] = []

    def _questions(self, run: Any, step: Any, anchors_end: float) -> Any:
        asked = super()._questions(run, step, anchors_end)
        self.noted.append((step.end_frame, [landmarks for _, landmarks in asked]))
        return asked


def _asked(number: int, known: Sequence[str]) -> Iterator[_Step]:
    """The steps of a stream, when nothing is in the catalogue."""
    plays = json.loads((HOME / f"stream{number}.json").read_text(encoding="utf-8"))
    heard, index = decode(HOME / f"stream{number}.wav"), MemoryIndex()
    hearing = _Noting(params=MatchParams(), size=index.size(), stream_id="popularity", source="file", spare=lambda: False)
    for begin in range(0, len(heard), RATE_HZ):
        drive(hearing.push(AudioChunk(samples=heard[begin : begin + RATE_HZ], start_s=begin / RATE_HZ)), index.answer)
    drive(hearing.flush(), index.answer)
    for end_frame, asked in hearing.noted:
        end_s = (end_frame - LOOKAHEAD_FRAMES) / FRAMES_PER_S
        play = next((p for p in plays if p["start_s"] + _STEP_S <= end_s < p["end_s"]), None)
        source = known.index(play["track"]) if play and play["track"] in known else -1
        yield _Step([np.unique(landmarks.hash) for landmarks in asked], [len(landmarks) for landmarks in asked], play is not None, source)


def _asked_per_s(steps: Sequence[_Step]) -> list[list[float]]:
    """Different triples and pairs a second of music asks: some steps, from few to many."""
    counts = np.array(sorted(([len(hashes) for hashes in step.hashes] for step in steps if step.music), key=sum)) / _STEP_S
    return [part.mean(axis=0).round(1).tolist() for part in np.array_split(counts, _STEPS_TOLD)]


def _asked_again(steps: Sequence[_Step], family: int) -> dict[str, float]:
    """Share of questions whose hash was asked before: in the same second, and in the last seconds."""
    recent: list[Int32] = []
    questions = different = again = 0
    for step in steps:
        hashes = step.hashes[family]
        if step.music and recent:
            questions, different = questions + step.questions[family], different + len(hashes)
            again += int(np.isin(hashes, np.concatenate(recent)).sum())
        recent = [*recent[1 - _AGAIN_S :], hashes]
    return {"same_second": round(1 - different / questions, 4), f"last_{_AGAIN_S}_s": round(again / different, 4)}


# -------------------------------------------------------------------------------------------------- classes


def _family(postings: _Postings, family: int, steps: Sequence[_Step]) -> dict[str, Any]:
    hashes, source, repeats = postings.sampled(family)
    stored = postings.elsewhere(family, hashes, source)
    music = [step for step in steps if step.music]
    asked_source = np.repeat([step.source for step in music], [len(step.hashes[family]) for step in music])
    asked = postings.elsewhere(family, np.concatenate([step.hashes[family] for step in music]), asked_source)
    # A source's own decoys are left out: as many hashes as those of the others, on average.
    everything, sources = len(postings.decoys[family]), postings.real[family] >> _REPEAT_BITS & ((1 << _SOURCE_BITS) - 1)
    hashes_n = everything * (1 - 1 / (int(sources.max()) + 1))
    share, _ = _mixture(stored, hashes_n * _PROBABILITIES)
    values = np.rint(share / _PROBABILITIES)
    kept = values > 0
    expected = hashes_n * _PROBABILITIES[kept]
    share, of_class = _mixture(stored, expected)
    asked_share, _ = _mixture(asked, expected)
    again = np.stack([of_class[repeats == n].sum(axis=0) for n in range(1, KEEP + 1)], axis=1)
    again /= again.sum(axis=1, keepdims=True)
    columns = zip(values[kept].astype(int).tolist(), _rounded(share), _rounded(asked_share), again.tolist(), strict=True)
    return {
        "collision_bits": {
            "real": round(_collision_bits(postings.real[family]), 2),
            "decoys": round(_collision_bits(postings.decoys[family]), 2),
        },
        "repeats": _rounded(np.bincount(repeats, weights=repeats)[1:] / np.sum(repeats)),
        "asked_again": _asked_again(steps, family),
        "classes": [{"values": v, "share": s, "asked": a, "repeats": _rounded(np.array(r), 3)} for v, s, a, r in columns],
    }


def _mixture(counts: _Int64, expected: Float64) -> tuple[Float64, Float64]:
    """The shares of Poisson laws that such counts are of, [laws], and of each count the probabilities of the laws, [n, laws]."""
    different, inverse, n = np.unique(counts, return_inverse=True, return_counts=True)
    log = different[:, None] * np.log(expected) - expected
    likelihood = np.exp(log - log.max(axis=1, keepdims=True))
    share = of_law = np.full(len(expected), 1 / len(expected))
    for _ in range(_ROUNDS):
        padded = np.concatenate([share[:1], share, share[-1:]])
        share = _SMOOTHED * (padded[:-2] + padded[2:]) + (1 - 2 * _SMOOTHED) * share
        of_law = likelihood * share
        of_law /= of_law.sum(axis=1, keepdims=True)
        share = n @ of_law / np.sum(n)
    return share, of_law[inverse]


def _rounded(shares: Float64, digits: int = 6) -> list[float]:
    """Shares that still sum to 1: the largest takes up the difference."""
    cut = np.round(shares, digits)
    cut[np.argmax(cut)] += 1 - cut.sum()
    return [round(float(share), digits) for share in cut]


# -------------------------------------------------------------------------------------------------- telling


def _written(found: Mapping[str, Any]) -> str:
    """JSON with a line for each entry of a family, and for each class."""
    lines = []
    for name, value in found.items():
        if name in FAMILIES:
            inner = [f'  "{key_}": {json.dumps(entry)}' for key_, entry in value.items() if key_ != "classes"]
            classes = ",\n".join(f"   {json.dumps(c)}" for c in value["classes"])
            lines.append(f' "{name}": {{\n' + ",\n".join([*inner, f'  "classes": [\n{classes}\n  ]']) + "\n }")
        else:
            lines.append(f' "{name}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _show(found: Mapping[str, Any]) -> None:
    print(found["measured"])
    for column, name in enumerate(("postings of triples", "postings of pairs", "peaks")):
        rates = np.array(found["recordings_per_s"])[:, column]
        print(f"{name}, of a recording: {rates.mean():.1f} a second, from {rates.min():.1f} to {rates.max():.1f}, standard deviation {rates.std():.1f}")
    print("asked a second:", dict(zip(FAMILIES, np.mean(found["asked_per_s"], axis=0).round(1).tolist(), strict=True)))
    for name in FAMILIES:
        family = found[name]
        print(f"\n{name}: collision entropy {family['collision_bits']}, of these classes {_class_bits(family['classes']):.2f}")
        print(f"postings by how often their hash is in the recording: {family['repeats']}; asked again: {family['asked_again']}")
        print(f"{'log2 p':>8}{'values':>14}{'share %':>9}{'asked %':>9}{'repeats':>9}")
        for c in family["classes"]:
            mean = sum(n * share for n, share in enumerate(c["repeats"], 1))
            print(f"{math.log2(c['share'] / c['values']):>8.1f}{c['values']:>14,}{100 * c['share']:>9.3f}{100 * c['asked']:>9.3f}{mean:>9.2f}")


def _class_bits(classes: Sequence[Mapping[str, Any]]) -> float:
    """Collision entropy of postings that are drawn from classes."""
    share = np.array([c["share"] * np.dot(c["repeats"], range(1, KEEP + 1)) for c in classes])
    return -math.log2(np.sum((share / share.sum()) ** 2 / [c["values"] for c in classes]))


if __name__ == "__main__":
    sys.exit(main())
