"""What landmarks are by definition, worked out anchor by anchor in plain Python, and constellations to try it on."""

import math
from itertools import combinations, product

import numpy as np
from hypothesis import strategies as st

from earmark.fingerprint.landmarks import Depth
from earmark.model import Landmarks, Peaks

GOLDEN = 0x9E37_79B9_7F4A_7C15
#: What a reference holds of each anchor.
STORED = Depth(triple_targets=3, pair_targets=2, neighbours=False)

#: One peak: frame, hertz, salience; and what is found: anchor frame and hash.
Peak = tuple[float, float, float]
Asked = set[tuple[float, int]]


def constellation(seed: int, peaks_n: int, frames_n: int, saliences_n: int = 1_000) -> Peaks:
    """Peaks anywhere, in order; `saliences_n` tells how many different saliences there are, so that few make ties."""
    rng = np.random.default_rng(seed)
    cells = np.unique(np.stack([rng.integers(0, 8 * frames_n, peaks_n), rng.integers(1_440, 30_401, peaks_n)], axis=1), axis=0).astype(np.int32)
    return Peaks(
        eighth_frames=cells[:, 0].copy(),
        eighth_hz=cells[:, 1].copy(),
        hashed=rng.random(len(cells)) < 0.8,
        salience=(1 + rng.integers(0, saliences_n, len(cells)) * (7 / saliences_n)).astype(np.float32),
    )


CONSTELLATIONS = st.builds(constellation, st.integers(0, 2**32 - 1), st.integers(0, 160), st.integers(1, 120), st.sampled_from([1, 3, 1_000]))


def asked(found: Landmarks) -> Asked:
    return set(zip(found.frame.tolist(), found.hash.tolist(), strict=True))


def hashed(code: int) -> int:
    return (code * GOLDEN % 2**64) >> 33


def rows(peaks: Peaks) -> list[Peak]:
    return list(zip(peaks.frames.tolist(), peaks.hz.tolist(), peaks.salience.tolist(), strict=True))


def chosen(peaks: list[Peak], anchor: Peak, targets: int) -> list[Peak]:
    """The targets of an anchor, in order of (time, frequency)."""
    zone = [peak for peak in peaks if 1 <= peak[0] - anchor[0] <= 16 and abs(math.log2(peak[1] / anchor[1])) <= 1.5]
    salient_first = sorted(zone, key=lambda peak: (-peak[2], peak[0], peak[1]))
    return sorted(salient_first[:targets])


def defined_triples(peaks: Peaks, depth: Depth = STORED, *, speed: float = 1.0) -> Asked:
    """(anchor frame, hash) of all triples of the sparse peaks."""
    sparse = rows(peaks.take(peaks.hashed))
    found = set()
    for anchor in sparse:
        for first, second in combinations(chosen(sparse, anchor, depth.triple_targets), 2):
            octaves = [math.log2(target[1] / anchor[1]) for target in (first, second)]
            intervals = [(target[0] - anchor[0]) * speed / 2 + 0.5 for target in (first, second)]
            for cells in _one_at_a_time(intervals) if depth.neighbours else [[math.floor(i) for i in intervals]]:
                code = triple_code(math.log2(anchor[1] / 100) - math.log2(speed), octaves, cells)
                if code is not None:
                    found.add((anchor[0], hashed(code)))
    return found


def triple_code(anchor_octave: float, octaves: list[float], intervals: list[int]) -> int | None:
    """35 bits; none where no reference can hold such a triple."""
    anchor = math.floor(6 * anchor_octave)
    per_octave = 100 * 2 ** ((anchor + 0.5) / 6) * math.log(2) / 4
    if not 5 <= anchor <= 31 or not 1 <= intervals[0] <= intervals[1] <= 8:
        return None
    code = anchor
    for ratio in octaves:
        code = code << 11 | math.floor(ratio * per_octave + 0.5) + 1_024
    for interval in intervals:
        code = code << 4 | interval
    return code


def defined_pairs(peaks: Peaks, depth: Depth = STORED, *, speed: float = 1.0) -> Asked:
    """(anchor frame, hash) of all pairs of all the peaks."""
    dense = rows(peaks)
    found = set()
    for anchor in dense:
        for target in chosen(dense, anchor, depth.pair_targets):
            fields = [anchor[1] / speed / 4, target[1] / speed / 4, (target[0] - anchor[0]) * speed + 0.5]
            for cells in product(*[_with_neighbour(field) if depth.neighbours else [math.floor(field)] for field in fields]):
                found.add((anchor[0], hashed(pair_code(*cells))))
    return found


def pair_code(anchor: int, target: int, interval: int) -> int:
    """41 bits, of which the highest is set."""
    return 1 << 40 | anchor << 15 | target << 5 | interval


def defined(peaks: Peaks) -> Asked:
    """All that a reference holds."""
    return defined_triples(peaks) | defined_pairs(peaks)


def side(field: float) -> int:
    """Where the border of its cell is nearer than a quarter of the cell: above, below, nowhere."""
    return 1 if field % 1 > 0.75 else -1 if field % 1 < 0.25 else 0


def _with_neighbour(field: float) -> list[int]:
    return [math.floor(field)] + [math.floor(field) + side(field)] * (side(field) != 0)


def _one_at_a_time(fields: list[float]) -> list[list[int]]:
    first, second = (math.floor(field) for field in fields)
    return [[first, second], [first + side(fields[0]), second], [first, second + side(fields[1])]]
