"""What is kept of a stream that was heard, so that it can be searched for a recording that is added later.

All of its peaks are kept, with how far they stand out, in five bytes each, and in the end in some three and a half: what
is known of a past stream is what was known when it was heard. A run of samples is cut into blocks of 8,192 frames (262 s),
counted from its first sample. So the same blocks come of the same runs, however the samples came.

A `Keeper` stands behind a session's front end and holds what is not on record yet: `groups` of peaks, which go on record
with each position of the session, and whole blocks, which take the place of their groups.
"""

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from earmark.fingerprint.constellation import DENSE_PER_FRAME_MAX
from earmark.fingerprint.spectrogram import frames_in
from earmark.model import EIGHTHS, FRAMES_PER_S, RATE_HZ, Float32, Peaks

#: Times in a block, in eighths of a frame, fill 16 bits.
BLOCK_FRAMES: Final = 1 << 13
_BLOCK_EIGHTHS: Final = BLOCK_FRAMES * EIGHTHS
#: Salience is kept in sixteenths of a neper, up to 15.9: what stands out more than that is a test tone.
_SALIENCE_STEPS: Final = 16
#: A packed peak: time within its block, frequency with the bit "hashed" below it, salience.
PACKED: Final = np.dtype([("time", "<u2"), ("hz", "<u2"), ("salience", "u1")])
Packed: TypeAlias = npt.NDArray[np.void]
#: No sound has more peaks in a block.
_PEAKS_MAX: Final = int(DENSE_PER_FRAME_MAX * (BLOCK_FRAMES + 2))
#: Of a position on record and the end of the samples that led to it, rounding may be this far apart.
_SAME_S: Final = 0.02
#: Complete blocks wait for others, or for news of the stream, until there is so much of them: where a stream breaks off
#: every other second, each second would be a transaction.
_DUE_FRAMES, _DUE_BLOCKS = BLOCK_FRAMES, 64


def pack(peaks: Peaks, first_frame: int = 0) -> Packed:
    """Five bytes a peak; `first_frame`: of their block."""
    packed = np.empty(len(peaks), PACKED)
    packed["time"] = peaks.eighth_frames - first_frame * EIGHTHS
    packed["hz"] = peaks.eighth_hz * 2 + peaks.hashed
    packed["salience"] = np.minimum(np.rint(peaks.salience * _SALIENCE_STEPS), 255)
    return packed


def unpack(packed: Packed) -> Peaks:
    """The peaks again, in frames since their block's first; salience is as it was kept."""
    return Peaks(
        eighth_frames=packed["time"].astype(np.int32),
        eighth_hz=(packed["hz"] >> 1).astype(np.int32),
        hashed=(packed["hz"] & 1).astype(np.bool_),
        salience=packed["salience"].astype(np.float32) / np.float32(_SALIENCE_STEPS),
    )


def compress(packed: Packed) -> bytes:
    """A block for good: times as steps from one peak to the next, byte by byte in columns, and that deflated."""
    steps = np.diff(packed["time"], prepend=np.uint16(0)).astype("<u2")
    columns = [steps & 0xFF, steps >> 8, packed["hz"] & 0xFF, packed["hz"] >> 8, packed["salience"]]
    return zlib.compress(b"".join(column.astype(np.uint8).tobytes() for column in columns), 1)


def expand(kept: bytes) -> Packed:
    """Raises ValueError for what `compress` cannot have made."""
    size, inflating = PACKED.itemsize, zlib.decompressobj()
    try:
        columns = inflating.decompress(kept, _PEAKS_MAX * size + 1)
    except zlib.error as error:
        raise ValueError(f"a kept block is damaged: {error}") from None
    if not inflating.eof or len(columns) % size or len(columns) > _PEAKS_MAX * size:
        raise ValueError(f"a kept block is damaged: it holds {len(columns)} bytes, which are no peaks")
    low, high, hz_low, hz_high, salience = np.frombuffer(columns, np.uint8).reshape(size, -1).astype(np.uint16)
    packed = np.empty(len(low), PACKED)
    packed["time"] = np.cumsum(low | high << 8, dtype=np.uint16)
    packed["hz"] = hz_low | hz_high << 8
    packed["salience"] = salience
    return packed


# ---------------------------------------------------------------------------------------------- keeping


class FrontEnd(Protocol):
    """What turns one run of samples into peaks: `fingerprint.window.Window`."""

    @property
    def final_frame(self) -> float: ...
    def push(self, samples: Float32) -> Peaks: ...
    def flush(self) -> Peaks: ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Group:
    """Some peaks of a block, in order: what became final between two positions of a session."""

    #: Stream time at which its block begins.
    block_s: float
    #: Of the block, in eighths of a frame: from here on, and before here.
    begin_eighth: int
    end_eighth: int
    packed: Packed
    #: It is on record once this position of the session is.
    position_s: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Block:
    """All peaks of a block, or of the last, shorter one of a run."""

    begin_s: float
    frames: int
    packed: Packed


@dataclass(kw_only=True, slots=True, eq=False)
class _Open:
    """A block that is not on record as a whole."""

    begin_s: float
    #: Known so far; and whether no more comes.
    end_eighth: int = 0
    complete: bool = False
    #: What came with each push: with the stream time up to which there were samples then, and the end of what was known.
    pushed: list[tuple[float, int, Packed]] = field(default_factory=list)
    #: What has been put into groups, of which the last ones may not be on record.
    packed: list[Packed] = field(default_factory=list)
    grouped_eighth: int = 0
    groups: list[Group] = field(default_factory=list)

    @property
    def frames(self) -> int:
        return -(-self.end_eighth // EIGHTHS)

    def group(self, position_s: float) -> None:
        """What is known by a position and in no group yet."""
        count = sum(upto_s <= position_s + _SAME_S for upto_s, _, _ in self.pushed)
        if not count:
            return
        taken, self.pushed = self.pushed[:count], self.pushed[count:]
        packed = taken[0][2] if count == 1 else np.concatenate([some for _, _, some in taken])
        begin, self.grouped_eighth = self.grouped_eighth, taken[-1][1]
        if len(packed):
            self.packed.append(packed)
            self.groups.append(Group(block_s=self.begin_s, begin_eighth=begin, end_eighth=self.grouped_eighth, packed=packed, position_s=position_s))

    def block(self) -> Block:
        return Block(begin_s=self.begin_s, frames=self.frames, packed=np.concatenate([np.empty(0, PACKED), *self.packed]))


class Keeper:
    """Holds what a session's front end found until it is on record. Used by one thread at a time.

    A position stands for all samples before it: nothing of what lies beyond goes on record with it, or whoever takes the
    stream up there would keep it a second time.
    """

    def __init__(self, from_s: float = 0.0) -> None:
        """`from_s`: what is heard before this second of the stream was kept when it was heard the first time."""
        self._from_s = from_s
        #: In order; runs hold the same list.
        self._open: list[_Open] = []

    def run(self, start_s: float, window: FrontEnd) -> FrontEnd:
        """The front end of a run that begins at this second of the stream, its peaks kept."""
        return _KeptRun(self._open, start_s, window, skipped_s=max(0.0, self._from_s - start_s))

    def groups(self, position_s: float) -> list[Group]:
        """All that has to be on record with this position and may not be yet; none with no peaks."""
        for block in self._open:
            block.group(position_s)
        return [group for block in self._open for group in block.groups]

    def recorded(self, position_s: float) -> None:
        """This position is on record, with the groups that went with it."""
        for block in self._open:
            block.groups = [group for group in block.groups if group.position_s > position_s]
        self._open[:] = [block for block in self._open if block.pushed or block.packed or not block.complete]

    def complete(self) -> list[Block]:
        """Blocks that no more comes to and all of which is in groups, those of silence left out."""
        return [block.block() for block in self._open if block.complete and not block.pushed and block.packed]

    def sealed(self, blocks: Sequence[Block]) -> None:
        """These are on record as a whole."""
        done = {block.begin_s for block in blocks}
        self._open[:] = [block for block in self._open if block.begin_s not in done]

    @property
    def due(self) -> bool:
        """It is time to put complete blocks on record."""
        complete = [block.frames for block in self._open if block.complete]
        return sum(complete) >= _DUE_FRAMES or len(complete) >= _DUE_BLOCKS

    @property
    def blocks_s(self) -> list[float]:
        """Where the blocks begin that are held here."""
        return [block.begin_s for block in self._open]


class _KeptRun:
    """A front end whose peaks are kept."""

    def __init__(self, blocks: list[_Open], start_s: float, window: FrontEnd, *, skipped_s: float) -> None:
        self._blocks, self._start_s, self._window = blocks, start_s, window
        self._skipped_frames = skipped_s * FRAMES_PER_S
        self._samples_n = self._block_n = 0
        self._begin()

    @property
    def final_frame(self) -> float:
        return self._window.final_frame

    def push(self, samples: Float32) -> Peaks:
        self._samples_n += len(samples)
        peaks = self._window.push(samples)
        self._take(peaks, int(self._window.final_frame * EIGHTHS))
        return peaks

    def flush(self) -> Peaks:
        peaks = self._window.flush()
        self._take(peaks, frames_in(self._samples_n) * EIGHTHS)
        self._block.complete = True
        return peaks

    def _begin(self) -> None:
        self._block = _Open(begin_s=self._start_s + self._block_n * BLOCK_FRAMES / FRAMES_PER_S)
        self._blocks.append(self._block)

    def _take(self, peaks: Peaks, end_eighth: int) -> None:
        """Peaks before `end_eighth` of the run, none of which will come again."""
        if self._skipped_frames and len(peaks):
            peaks = peaks.between(self._skipped_frames, math.inf)
        for some, end in self._cut(peaks, end_eighth):
            if end > self._block.end_eighth:
                self._block.end_eighth = end
                self._block.pushed.append((self._start_s + self._samples_n / RATE_HZ, end, pack(some, self._block_n * BLOCK_FRAMES)))
            if end == _BLOCK_EIGHTHS:
                self._block.complete = True
                self._block_n += 1
                self._begin()

    def _cut(self, peaks: Peaks, end_eighth: int) -> Iterator[tuple[Peaks, int]]:
        """By blocks: the peaks in each, and up to where in it they are known."""
        first, last = self._block_n, end_eighth // _BLOCK_EIGHTHS
        if first == last:  # nearly always: slices of a few peaks cost more than what is done with them
            yield peaks, end_eighth - first * _BLOCK_EIGHTHS
            return
        for n in range(first, last + 1):
            yield peaks.between(n * BLOCK_FRAMES, (n + 1) * BLOCK_FRAMES), min(end_eighth - n * _BLOCK_EIGHTHS, _BLOCK_EIGHTHS)
