"""What an earlier owner of a session heard is heard once more, and counted once."""

import numpy as np
import pytest

from earmark.model import RATE_HZ, AudioChunk, Piece
from earmark.unhurried import LeadIn


class Plain:
    """A decoder of what is decoded already."""

    def push(self, piece: Piece) -> list[AudioChunk]:
        assert isinstance(piece, AudioChunk)
        return [piece]

    def flush(self) -> list[AudioChunk]:
        return []


class Listener:
    def __init__(self) -> None:
        self.taken: list[AudioChunk] = []

    def take(self, chunk: AudioChunk) -> None:
        self.taken.append(chunk)


def chunk(begin_s: float, end_s: float) -> AudioChunk:
    """Each sample is its own place."""
    return AudioChunk(samples=np.arange(round(begin_s * RATE_HZ), round(end_s * RATE_HZ), dtype=np.float32), start_s=begin_s)


@pytest.mark.parametrize("until_s", [0.0, 8.0, 20.0, 20.37])
def test_every_sample_is_heard_in_order_and_counted_from_the_place_of_the_session_on(until_s: float) -> None:
    listener, counted = Listener(), []
    led = LeadIn(Plain(), listener, until_s=until_s)  # type: ignore[arg-type]
    for begin_s in (8, 18, 28):
        for new in led.push(chunk(begin_s, begin_s + 10)):
            counted.append(new)
            listener.take(new)  # as a session does
    assert led.flush() == []
    heard = np.concatenate([one.samples for one in listener.taken])
    assert np.array_equal(heard, chunk(8, 38).samples)
    assert [round(one.start_s * RATE_HZ) for one in listener.taken] == [int(one.samples[0]) for one in listener.taken]
    assert sum(len(one.samples) for one in counted) == round((38 - max(8.0, until_s)) * RATE_HZ)


def test_a_gap_is_counted_where_it_is() -> None:
    gap = AudioChunk(samples=np.zeros(0, np.float32), start_s=30.0, gap_before_s=10.0, gap_reason="segment_missing")
    listener = Listener()
    assert LeadIn(Plain(), listener, until_s=20.0).push(gap) == [gap]  # type: ignore[arg-type]
    assert listener.taken == []
