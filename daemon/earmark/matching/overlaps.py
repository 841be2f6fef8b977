"""Two recordings laid over one another: which seconds of the one are which of the other, at what speed, and what that makes of them.

Where they agree is known in straight *pieces*. Of those the chain counts that goes forward in both: a loop that is found
again at a dozen places of another piece does not make the one the other. What share of each one's *sound* (silence left
out) lies on the chain says what the two are:

    same       most of either is in the other: another bitrate, another intro, a few seconds cut off, a little faster
    excerpt    most of the shorter is in the longer
    passage    less: a sample, a quotation, a bar in common; or a remix that keeps some of it

Only pieces in which the two have a good part of their peaks in common count for the first two. A sample that another
music was laid over is there with fewer, whatever its length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from earmark.alias import Span as Span  # noqa: PLC0414 -- a noun like those below, in a module below `model`
from earmark.matching.verification import Constellation
from earmark.model import FRAMES_PER_S, Float64, Relation

Kind: TypeAlias = Literal["same", "excerpt", "passage"]

#: Of the peaks of one recording another never explained more than .24 (`matching.verification`), the same one in AAC at 32 kbit/s no less than .26.
SAME_PEAKS: Final = 0.25
#: So much of a recording's sound, in the other, makes it the same or an excerpt of it.
SAME_SHARE: Final = 0.75
#: What is not in another recording for so long, at most, cannot be recognised by itself; and a speed that is off by no more
#: is the same to pairs of peaks (`fingerprint.pairs`).
WHOLE_REST_S, WHOLE_SPEED = 3.0, 0.002
#: Peaks farther apart than this have silence between them.
_SILENCE_FRAMES: Final = 2 * FRAMES_PER_S
#: Pieces on one line with less between them are one: a line is lost for a moment in a quiet bar, and nothing shorter can be recognised.
_JOINED_FRAMES, _SAME_LINE_FRAMES = 3 * FRAMES_PER_S, 8.0
#: Of so many pieces the longest are looked at.
_PIECES_MAX: Final = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A straight piece, in frames of either recording."""

    begin: float
    end: float
    other_begin: float
    other_end: float
    #: Of the peaks of the one there, how many the other has too.
    density: float

    @property
    def slope(self) -> float:
        return (self.other_end - self.other_begin) / (self.end - self.begin)

    def other(self, frame: float) -> float:
        """Where the other is when the one is at a frame."""
        return self.other_begin + self.slope * (frame - self.begin)

    def turned(self) -> "Piece":
        """As the other one sees it."""
        return replace(self, begin=self.other_begin, end=self.other_end, other_begin=self.begin, other_end=self.end)


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """How two recordings lie on one another."""

    kind: Kind
    #: Seconds of the other for a second of the one: 1.02, if the one is the other played 2 % fast.
    speed: float
    #: Of each one's sound, what is in the other; and the longest stretch that is not.
    share: float
    other_share: float
    rest_s: float
    other_rest_s: float
    #: In order, apart in both.
    spans: tuple[Span, ...]

    @property
    def overlap_s(self) -> float:
        """Of the one."""
        return sum(span.end_s - span.begin_s for span in self.spans)

    @property
    def whole(self) -> bool:
        """All of the one is in the other, as it is: its landmarks would find nothing that the other's do not."""
        return self.rest_s <= WHOLE_REST_S and abs(self.speed - 1) <= WHOLE_SPEED

    def turned(self) -> "Overlap":
        """As the other one sees it."""
        return Overlap(
            kind=self.kind,
            speed=1 / self.speed,
            share=self.other_share,
            other_share=self.share,
            rest_s=self.other_rest_s,
            other_rest_s=self.rest_s,
            spans=tuple(span.turned() for span in self.spans),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared(Relation):
    """What two recordings share, with how they lie on one another."""

    overlap: Overlap


def overlap(one: Constellation, other: Constellation, pieces: Sequence[Piece]) -> Overlap | None:
    """What pieces make of two recordings; None if there are none.

    Args:
        one, other: whole constellations.
        pieces: where they agree, in any order, overlapping or not.
    """
    sounds = _Sound(one.frame), _Sound(other.frame)
    dense = _laid(sounds, [piece for piece in pieces if piece.density >= SAME_PEAKS])
    if dense is not None and dense.kind != "passage":
        return dense
    found = _laid(sounds, pieces)
    return None if found is None else replace(found, kind="passage")


class _Sound:
    """How much of a recording's sound lies between two frames."""

    def __init__(self, frames: Float64) -> None:
        self._frames = frames
        steps = np.diff(frames)
        self._sum = np.concatenate([[0.0], np.cumsum(np.where(steps > _SILENCE_FRAMES, 0.0, steps))]) if len(frames) else np.zeros(1)
        self.whole = float(self._sum[-1])

    def between(self, begin: float, end: float) -> float:
        if end <= begin or not len(self._frames):
            return 0.0
        low, high = np.interp([begin, end], self._frames, self._sum).tolist()
        return float(high - low)


def _laid(sounds: tuple[_Sound, _Sound], pieces: Sequence[Piece]) -> Overlap | None:
    chain = _joined(_chain(pieces))
    if not chain:
        return None
    sides = [[(piece.begin, piece.end) for piece in chain], [(piece.other_begin, piece.other_end) for piece in chain]]
    share, other_share = (_share(sound, side) for sound, side in zip(sounds, sides, strict=True))
    rest, other_rest = (_rest(sound, side) for sound, side in zip(sounds, sides, strict=True))
    if min(share, other_share) >= SAME_SHARE:
        kind: Kind = "same"
    else:
        # Of two of one length neither is the shorter: most of one is then most of the other, up to rounding.
        shorter = share if sounds[0].whole <= sounds[1].whole else other_share
        kind = "excerpt" if shorter >= SAME_SHARE else "passage"
    longest = max(chain, key=lambda piece: piece.end - piece.begin)
    return Overlap(
        kind=kind,
        speed=longest.slope,
        share=share,
        other_share=other_share,
        rest_s=rest / FRAMES_PER_S,
        other_rest_s=other_rest / FRAMES_PER_S,
        spans=tuple(_span(piece) for piece in chain),
    )


def _span(piece: Piece) -> Span:
    begin, end, other_begin, other_end = (round(max(0.0, frame) / FRAMES_PER_S, 2) for frame in (piece.begin, piece.end, piece.other_begin, piece.other_end))
    return Span(begin_s=begin, end_s=end, other_begin_s=other_begin, other_end_s=other_end)


def _share(sound: _Sound, side: Sequence[tuple[float, float]]) -> float:
    return min(1.0, sum(sound.between(begin, end) for begin, end in side) / max(sound.whole, 1.0))


def _rest(sound: _Sound, side: Sequence[tuple[float, float]]) -> float:
    """The longest stretch of sound between, before and after."""
    edges = [-np.inf, *(edge for span in side for edge in span), np.inf]
    return max(sound.between(begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=True))


def _chain(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces that go forward in both recordings and are longest together, cut where they overlap."""
    ordered = sorted(sorted(pieces, key=lambda p: p.begin - p.end)[:_PIECES_MAX], key=lambda p: (p.begin, p.other_begin, p.end))
    best: list[tuple[float, int, Piece]] = []
    for piece in ordered:
        reached, before, cut = piece.end - piece.begin, -1, piece
        for number, (length, _, earlier) in enumerate(best):
            rest = _after(piece, earlier)
            if rest is not None and length + rest.end - rest.begin > reached:
                reached, before, cut = length + rest.end - rest.begin, number, rest
        best.append((reached, before, cut))
    chain = []
    number = max(range(len(best)), key=lambda n: best[n][0]) if best else -1
    while number >= 0:
        _, before, piece = best[number]
        chain.append(piece)
        number = before
    return chain[::-1]


def _after(piece: Piece, earlier: Piece) -> Piece | None:
    """What of a piece comes after another one in both recordings."""
    begin = max(piece.begin, earlier.end, piece.begin + (earlier.other_end - piece.other_begin) / piece.slope)
    return replace(piece, begin=begin, other_begin=piece.other(begin)) if begin < piece.end - 1 else None


def _joined(chain: Sequence[Piece]) -> list[Piece]:
    joined: list[Piece] = []
    for piece in chain:
        last = joined[-1] if joined else None
        if last is not None and piece.begin - last.end < _JOINED_FRAMES and abs(last.other(piece.begin) - piece.other_begin) < _SAME_LINE_FRAMES:
            joined[-1] = replace(last, end=piece.end, other_end=piece.other_end)
        else:
            joined.append(piece)
    return joined
