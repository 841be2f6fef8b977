"""Mono at a rate that sound is recorded at, down to RATE_HZ: one low-pass filter, as matrix products.

An output is the sum of some 200 inputs (at 48 kHz), weighted by a windowed sinc around its own instant. Thirty-two
outputs in a row look at 384 inputs between them; so a matrix [384, 32] with the weights makes 32 outputs of 384 inputs,
and rows of inputs that lie beside each other in memory go through it together, where they lie. That takes twice the
multiplications that there are weights, and still two thirds of libswresample's time, and half a megabyte less for each
stream.

The filter is libswresample's own (32 zero crossings, a Kaiser window with beta 9, cut off at 0.97 of the new Nyquist
rate: flat to 3.3 kHz, -1 dB at 3.6, -6 dB at 3.88, -40 dB at 4.4 kHz, below -90 dB from 4.6 kHz on). It delays nothing,
and at both ends of a signal it sees the signal mirrored. What comes out is libswresample's to within rounding, so that
recordings and streams that went through the one and through the other are comparable to the last landmark.

**The same bits however the signal was cut.** A product of matrices may be rounded otherwise when it has other shapes, or
in other rows. So it always has the same ones: rows are counted from the beginning of the signal, each is computed in its
place in a block, and the places of a block's other rows are filled up with silence where those are not here yet, or were
computed before. Between processors the last bit may differ; within one machine it does not.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import ceil, lcm
from typing import Final

import numpy as np

from earmark.model import RATE_HZ, Float32, Float64

#: Rates in whole multiples of RATE_HZ, and such as have a ratio to it in numbers that make small matrices.
RATES_HZ: Final = frozenset({11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000, 176_400, 192_000})
#: Of one product: whole registers of every width in use. With 64 it takes a third longer, with 16 no less.
OUTPUTS: Final = 32
#: Of one product, where `_MULTIPLICATIONS_MAX` lets it: 64 ms of sound at 48 kHz. With 4 rows it takes a third longer, with 16 no less.
ROWS: Final = 8
#: From so many on, OpenBLAS wakes other threads for a product, and they spin.
_MULTIPLICATIONS_MAX: Final = 262_144

_NONE: Final = np.zeros(0, np.float32)
_ZERO_CROSSINGS, _CUT_OFF, _KAISER_BETA = 32, 0.97, 9.0


@dataclass(frozen=True, slots=True)
class _Bank:
    """The filter at one rate. A row is the inputs and outputs after which the instants of both coincide, or some multiples of that."""

    #: Inputs for each output.
    step: Fraction
    #: Before an output's instant, its filter sees so many inputs.
    before: int
    #: From the beginning of one row to that of the next; a row sees `reach` inputs from its own beginning on.
    row_inputs: int
    row_outputs: int
    reach: int
    #: Rows of a block.
    rows: int
    #: Of a row's outputs, `OUTPUTS` after `OUTPUTS`: the first input they see, and float32 [inputs, `OUTPUTS`].
    weights: tuple[tuple[int, Float32], ...]

    @property
    def block_inputs(self) -> int:
        """From the beginning of one block to that of the next."""
        return self.rows * self.row_inputs

    def blocks(self, inputs: Float32, n: int) -> Float32:
        """float32 [as many as n blocks see], contiguous -> float32 [n, rows, row_outputs]."""
        outputs = np.empty((n, self.rows, self.row_outputs), np.float32)
        size = inputs.itemsize
        strides = (self.block_inputs * size, self.row_inputs * size, size)
        for column, (first, weights) in enumerate(self.weights):
            seen: Float32 = np.ndarray((n, self.rows, len(weights)), np.float32, inputs, first * size, strides)
            np.matmul(seen, weights, out=outputs[:, :, column * OUTPUTS : (column + 1) * OUTPUTS])
        return outputs


@cache
def _bank(rate_hz: int) -> _Bank:
    """12 to 900 kB, the same for all signals of a rate."""
    step = Fraction(rate_hz, RATE_HZ)
    bandwidth = _CUT_OFF / float(step)
    taps = 2 * ceil(_ZERO_CROSSINGS / bandwidth / 2)
    before = (taps - 1) // 2
    inputs_max = ceil((OUTPUTS - 1) * step) + taps
    # Rows must not overlap in memory within one product: BLAS takes no such matrices.
    period = lcm(step.denominator, OUTPUTS)
    row_outputs = period * ceil(inputs_max / (period * step))
    of_period = [_weights(step, first, taps, bandwidth) for first in range(0, period, OUTPUTS)]
    weights = tuple((int(first * step), of_period[first % period // OUTPUTS]) for first in range(0, row_outputs, OUTPUTS))
    return _Bank(
        step=step,
        before=before,
        row_inputs=int(row_outputs * step),
        row_outputs=row_outputs,
        reach=max(first + len(matrix) for first, matrix in weights),
        rows=min(ROWS, _MULTIPLICATIONS_MAX // (OUTPUTS * inputs_max)),
        weights=weights,
    )


def _weights(step: Fraction, first: int, taps: int, bandwidth: float) -> Float32:
    """float32 [inputs, `OUTPUTS`] for outputs `first` and after, of the inputs that these see."""
    begin = int(first * step)
    begins = [int((first + output) * step) - begin for output in range(OUTPUTS)]
    weights = np.zeros((begins[-1] + taps, OUTPUTS), np.float32)
    for output, at in enumerate(begins):
        late = (first + output) * step % 1
        weights[at : at + taps, output] = _windowed_sinc(np.arange(taps, dtype=np.float64) - (taps - 1) // 2 - float(late), taps, bandwidth)
    weights.setflags(write=False)
    return weights


def _windowed_sinc(inputs: Float64, taps: int, bandwidth: float) -> Float64:
    """The filter at some distances from its middle; a constant stays what it is."""
    inside = np.maximum(0.0, 1 - (2 * inputs / taps) ** 2)
    weights: Float64 = np.sinc(inputs * bandwidth) * np.i0(_KAISER_BETA * np.sqrt(inside))
    weights /= weights.sum()
    return weights


class Decimator:
    """One signal, float32 mono at one of `RATES_HZ`, to RATE_HZ.

    Between two calls it keeps less than `_Bank.reach` inputs: 12 ms at 48 kHz, 24 ms at 44.1 kHz, 44 ms at 11.025 kHz at most.
    """

    def __init__(self, *, rate_hz: int) -> None:
        self._bank = _bank(rate_hz)
        self._begin()

    def _begin(self) -> None:
        #: Inputs from the present row's beginning on; before the signal has begun, all that there are.
        self._held = _NONE
        self._begun = False
        #: The present row's place in its block.
        self._row = 0
        self._inputs = self._outputs = 0

    def lacking(self, least: int) -> int:
        """How many inputs, `least` or a few more, end a block: what is cheapest to push next."""
        bank = self._bank
        lacking = (bank.rows - self._row - 1) * bank.row_inputs + bank.reach - len(self._held) - (0 if self._begun else bank.before)
        return lacking + max(0, -(-(least - lacking) // bank.block_inputs)) * bank.block_inputs

    @np.errstate(invalid="ignore", over="ignore")  # inputs that are no numbers make outputs that are none
    def push(self, samples: Float32) -> Float32:
        """float32 [n] -> float32 [m], in whole rows, as far as the filter sees."""
        self._inputs += len(samples)
        held = np.concatenate([self._held, samples])
        before = self._bank.before
        if not self._begun:
            if len(held) <= before:
                self._held = held
                return _NONE
            held = np.concatenate([held[before:0:-1], held])
            self._begun = True
        return self._filter(held)

    @np.errstate(invalid="ignore", over="ignore")
    def flush(self) -> Float32:
        """What is left; the signal ends here, and another may begin."""
        bank = self._bank
        if not self._inputs:
            return _NONE
        held = self._held if self._begun else np.pad(self._held, (bank.before, 0), "reflect")
        left = ceil(self._inputs / bank.step) - self._outputs
        rows = ceil(left / bank.row_outputs)
        lacking = max(0, (rows - 1) * bank.row_inputs + bank.reach - len(held))
        mirrored = min(lacking, bank.before + 1, len(held))
        ended = np.concatenate([held, held[len(held) - mirrored :][::-1], np.zeros(lacking - mirrored, np.float32)])
        rest = self._filter(ended)[:left]
        self._begin()
        return rest

    def _filter(self, inputs: Float32) -> Float32:
        """Inputs from the present row's beginning on; keeps those of which there is no whole row."""
        bank = self._bank
        rows = max(0, (len(inputs) - bank.reach) // bank.row_inputs + 1)
        parts, done = list[Float32](), 0
        while done < rows:
            blocks = 0 if self._row else (rows - done) // bank.rows
            now = blocks * bank.rows or min(rows - done, bank.rows - self._row)
            seen = inputs[done * bank.row_inputs :]
            parts.append((bank.blocks(seen, blocks) if blocks else self._part(seen, now)).reshape(-1))
            self._row = (self._row + now) % bank.rows
            done += now
        self._held = inputs[rows * bank.row_inputs :].copy()
        outputs = parts[0] if len(parts) == 1 else np.concatenate([_NONE, *parts])
        self._outputs += len(outputs)
        return outputs

    def _part(self, inputs: Float32, rows: int) -> Float32:
        """The next rows, fewer than a block has, in their places in one."""
        bank = self._bank
        block = np.zeros(bank.block_inputs - bank.row_inputs + bank.reach, np.float32)
        begin, seen = self._row * bank.row_inputs, (rows - 1) * bank.row_inputs + bank.reach
        block[begin : begin + seen] = inputs[:seen]
        return bank.blocks(block, 1)[0, self._row : self._row + rows]
