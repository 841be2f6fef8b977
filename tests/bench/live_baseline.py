"""What the bench's baseline would take of the same sounds: a plain matcher that is asked about the last twelve seconds, each second.

So are landmark matchers listened to live streams with: whatever is asked is fingerprinted anew. It gets what a decoder has made of
the programmes' segments, and knows the recordings that they play and no others, in memory: fewer than ours, and no database.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

import numpy as np

from bench.live_media import Programme
from bench.live_programme import Part
from bench.plain_matcher import Answer, PlainMatcher
from earmark.audio.decode import StreamDecoder
from earmark.model import RATE_HZ, Float32, Segment, Track
from hearing_sounds import at_8_khz

WINDOW_S: Final = 12
#: Each programme is measured so often; the least counts, for noise only adds.
ROUNDS: Final = 3
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """Of a plain matcher."""

    #: Processor time of a question, which is asked each second: of a second of a stream.
    ms: float
    recordings: int
    #: Windows it was asked about; those in which nothing but a recording of the catalogue sounds, and of them those that it knew.
    windows: int
    clean: int
    known: int
    #: Windows it took for a recording that was not on air in them.
    wrong: int


def baseline(media: Sequence[Programme], played: Iterable[tuple[Track, Float32, int]], *, every_s: int = 1) -> Baseline:
    """All programmes from end to end; with `every_s`, of so many windows one: none is cheaper for what was asked before.

    Args:
        media: encoded.
        played: the recordings in them, with their samples, mono, and their rate in Hz.
        every_s: between two windows.
    """
    matcher = PlainMatcher((track.track_id, at_8_khz(samples, rate_hz)) for track, samples, rate_hz in played)
    spent_s, judged = 0.0, list[tuple[bool, bool, bool]]()
    for programme in media:
        samples = heard(programme)
        ends_s = range(WINDOW_S, len(samples) // RATE_HZ + 1, every_s)
        answers, rounds_s = list[Answer | None](), list[float]()
        for _ in range(ROUNDS):
            begin = time.thread_time()
            answers = [matcher.ask(samples[(end_s - WINDOW_S) * RATE_HZ : end_s * RATE_HZ]) for end_s in ends_s]
            rounds_s.append(time.thread_time() - begin)
        spent_s += min(rounds_s)
        judged += [judge(programme.parts, end_s, answer) for end_s, answer in zip(ends_s, answers, strict=True)]
    clean, known, wrong = (sum(column) for column in zip(*judged, strict=True))
    return Baseline(ms=1e3 * spent_s / len(judged), recordings=len(matcher.names), windows=len(judged), clean=clean, known=known, wrong=wrong)


def judge(parts: Sequence[Part], end_s: float, answer: Answer | None) -> tuple[bool, bool, bool]:
    """Of the window that ends then: is a recording all of it, and was it known; was there an answer, and it was not on air?"""
    begin_s = end_s - WINDOW_S
    name = answer.name if answer else ""
    whole = next((part.track_id for part in parts if part.kind == "music" and part.begin_s <= begin_s and end_s <= part.end_s), "")
    on_air = {part.track_id for part in parts if part.track_id and part.begin_s < end_s and begin_s < part.end_s}
    return bool(whole), bool(whole) and name == whole, bool(name) and name not in on_air


def heard(programme: Programme) -> Float32:
    """A programme once round, as the daemon decodes it: mono, at RATE_HZ."""
    decoder = StreamDecoder(segment_s_max=60)
    chunks = [chunk for segment in _segments(programme) for chunk in decoder.push(segment)] + decoder.flush()
    return np.concatenate([chunk.samples for chunk in chunks])


def _segments(programme: Programme) -> Iterator[Segment]:
    durations_s = (end_s - begin_s for begin_s, end_s in pairwise(programme.cut.at_s))
    with programme.media.open("rb") as file:
        header = file.read(programme.offsets[0])
        for (begin, end), duration_s in zip(pairwise(programme.offsets), durations_s, strict=True):
            data = file.read(end - begin)
            yield Segment(data=data, init=header, container="mp4" if header else "mpegts", duration_s=duration_s, fetched_at=_EPOCH)
