"""How far do the coincidences on a line stand out of those beside it? Eight histograms of one alignment, and their worth in nats.

Each pair of a heard and a stored peak lies some frames off the line. Counted in cells of four widths, once with all of
the tolerance in frequency and once with a third of it, the cell on the line is the *main lobe*; the cells well beside it,
the *sidelobes*, are what chance and the music's likeness to itself give.
"""

import math

import numpy as np
import numpy.typing as npt

from earmark.model import Bool, Float64

Index = npt.NDArray[np.intp]

#: Half cells of the coincidence histograms, in frames: sharp recordings win in the first, reverberant ones in the last.
HALF_CELLS = np.array([0.25, 0.5, 1.0, 1.5])
#: Fractions of the frequency tolerance; each is combined with each half cell.
NARROW, WIDE = 0.35, 1.0
EDGE_FRAMES, GUARD_FRAMES = 38.0, 5.0
#: The best of eight histograms is taken: what that is worth by chance, in nats.
_CHOICE_NATS = 1.5
#: The null's mean is never taken to be less than this many coincidences.
_MEAN_LEAST = 0.25
# More peaks than are ever compared at once: tells heard ones from stored ones.
_HEARD_MAX = 1 << 24


def where(mask: Bool) -> Index:
    """The numbers of those that are; taking several columns by number is four times as fast as by mask."""
    return mask.nonzero()[0]


class Histograms:
    """The layout of four histograms, one per half cell, side by side in one row of cells."""

    half = (EDGE_FRAMES / (2 * HALF_CELLS)).astype(np.intp)  # cells on either side of the main lobe
    base = np.concatenate([[0], np.cumsum(2 * half + 1)[:-1]])
    cells = int(np.sum(2 * half + 1))
    main = base + half
    guard = np.ceil(GUARD_FRAMES / (2 * HALF_CELLS)).astype(np.intp)
    # The sidelobes of all four, cell by cell, and how many each has.
    side = np.concatenate([np.r_[b : m - g + 1, m + g : m + h + 1] for b, m, g, h in zip(base, main, guard, half, strict=True)])
    side_count = 2 * (half - guard + 1)
    side_begin = np.cumsum(side_count) - side_count
    # A coincidence that the sidelobes lack may still be chance: half of one in the widest cell, in proportion in others,
    # and half of that where frequencies have to agree closely. [narrow, wide] x 4
    floor = np.array([[0.5], [1.0]]) * (0.5 * HALF_CELLS / HALF_CELLS[-1])
    # As columns, for what is computed of all four at once; and where rows of cells begin that lie side by side.
    width, half_column, main_column = 2 * HALF_CELLS[:, None], half[:, None].astype(np.int16), main[:, None].astype(np.int16)
    which = np.arange(0, 4 * cells, cells).astype(np.int16)


def against_sidelobes(query: Index, reference: Index, off: Float64, miss: Float64) -> float:
    """Nats by which the main lobe of the best of eight histograms stands out of its sidelobes; 0 if none does.

    A main lobe of m coincidences is as unlikely as m or more of a Poisson variable with the sidelobes' mean; where they
    vary more than a Poisson variable would, the nats are scaled down accordingly.
    """
    main, mean, spread = _lobes(coincidences(query, reference, off, miss), Histograms.floor)
    lobes = zip(main.ravel().tolist(), mean.ravel().tolist(), spread.ravel().tolist(), strict=True)
    # Exactly m is less likely still than m or more: the best first, and none that cannot be better.
    most = sorted(((_poisson_nats(m, mu) / wide, m, mu, wide) for m, mu, wide in lobes if m > mu), reverse=True)
    best = 0.0
    for nats, m, mu, wide in most:
        if nats - _CHOICE_NATS <= best:
            break
        best = max(best, _poisson_tail_nats(m, mu) / wide - _CHOICE_NATS)
    return best


def nats_by_width(count: Index, fraction: float) -> list[float]:
    """What the main lobe of each of the four histograms, of `coincidences` within this fraction of the tolerance, is worth."""
    lobes = zip(*(lobe.tolist() for lobe in _lobes(count, Histograms.floor[int(fraction == WIDE)])), strict=True)
    return [(_poisson_tail_nats(main, mu) / wide if main > mu else 0.0) - _CHOICE_NATS for main, mu, wide in lobes]


def _lobes(count: Index, floor: Float64) -> tuple[Index, Float64, Float64]:
    """Of histograms [..., cells] each width's main lobe, and its sidelobes' mean and excess variance, [..., 4]."""
    layout = Histograms
    side = count.take(layout.side, axis=-1)
    mean = np.add.reduceat(side, layout.side_begin, axis=-1) / layout.side_count
    variance = np.add.reduceat(side * side, layout.side_begin, axis=-1) / layout.side_count - mean * mean
    mean = np.maximum(mean + floor, _MEAN_LEAST)
    return count.take(layout.main, axis=-1), mean, np.maximum(variance / mean, 1.0)


def coincidences(query: Index, reference: Index, off: Float64, miss: Float64) -> Index:
    """Coincidences per cell, intp [narrow and wide, Histograms.cells]; each peak counts once per cell.

    A cell holds as many coincidences as it has distinct heard, or distinct stored, peaks, whichever is less.
    """
    layout = Histograms
    # Heard peaks, then stored ones. Pairs in order of (peak, off) have the repeats of a peak in a cell side by side.
    heard_n = len(query)
    peak = np.concatenate([query, reference + _HEARD_MAX])
    order = (peak * 128.0 + np.concatenate([off, off])).argsort()  # |off| < 64
    pair = order - heard_n * (order >= heard_n)
    narrow = where(miss.take(pair) <= NARROW)
    # All of them, then those that agree closely: four histograms of each width. Small numbers are added up faster.
    both = np.concatenate([np.arange(len(pair)), narrow])
    peak = peak.take(order.take(both))
    cell = np.floor(off.take(pair) / layout.width + 0.5).astype(np.int16).take(both, axis=1)
    counted = np.abs(cell) <= layout.half_column
    counted[:, 1:] &= (cell[:, 1:] != cell[:, :-1]) | (peak[1:] != peak[:-1])
    close_n = int(narrow.searchsorted(heard_n))
    cell += layout.main_column
    cell += layout.which.repeat((heard_n, heard_n, close_n, len(narrow) - close_n))
    count = np.bincount(cell.ravel().compress(counted.ravel()), minlength=4 * layout.cells).reshape(4, -1)
    return np.minimum(count[2::-2], count[3::-2])


def _poisson_nats(count: int, mean: float) -> float:
    """-ln P(Poisson(mean) = count)."""
    return mean - count * math.log(mean) + math.lgamma(count + 1)


def _poisson_tail_nats(count: int, mean: float) -> float:
    """-ln P(Poisson(mean) >= count) for count > mean.

    By its series, because library tails underflow to infinity at 745 nats, before the variance divides them.
    """
    total = term = 1.0
    k = count
    while term > 1e-9:
        k += 1
        term *= mean / k
        total += term
    return _poisson_nats(count, mean) - math.log(total)
