"""Stream time is counted: heard + gaps == position, to the sample, whatever the clocks say."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.mpegts import PTS_HZ, PTS_MODULUS
from earmark.audio.timeline import CHUNK_SAMPLES_MAX, JUMP_S_MAX, Stamps, Timeline
from earmark.model import RATE_HZ, AudioChunk

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def stamps(pts_s=None, clock_s=None, fetched_s=0.0, duration_s=2.0, *, discontinuity=False):
    return Stamps(
        pts=None if pts_s is None else round(pts_s * PTS_HZ) % PTS_MODULUS,
        clock=None if clock_s is None else T0 + timedelta(seconds=clock_s),
        fetched_at=T0 + timedelta(seconds=fetched_s),
        duration_s=duration_s,
        discontinuity=discontinuity,
    )


def push(timeline: Timeline, what: Stamps, media_s: float = 2.0) -> list[AudioChunk]:
    """As the decoder does it."""
    gap_s, reason = timeline.gap_before(what)
    chunks = timeline.lose(gap_s, reason)
    timeline.begin(what)
    chunks += timeline.hear(np.zeros(round(media_s * RATE_HZ), np.float32))
    timeline.passed(media_s)
    return chunks


def gaps(chunks):
    return [(round(c.gap_before_s, 3), c.gap_reason) for c in chunks if c.gap_before_s]


def test_contiguous_media_has_no_gaps():
    timeline = Timeline()
    chunks = [c for n in range(5) for c in push(timeline, stamps(pts_s=10 + 2 * n, clock_s=2 * n))]
    assert gaps(chunks) == []
    assert [c.start_s for c in chunks] == [0, 2, 4, 6, 8]
    assert timeline.position_s == 10


def test_time_stamps_that_jump_forward_are_a_gap_of_that_length():
    timeline = Timeline()
    push(timeline, stamps(pts_s=10))
    chunks = push(timeline, stamps(pts_s=17.5))
    assert gaps(chunks) == [(5.5, "discontinuity")]
    assert chunks[-1].start_s == 7.5


@pytest.mark.parametrize("jump_s", [0.1, -0.1, -30.0, 2 * JUMP_S_MAX])
def test_jitter_a_clock_that_runs_backwards_and_absurd_jumps_are_no_gap(jump_s):
    timeline = Timeline()
    push(timeline, stamps(pts_s=50))
    assert gaps(push(timeline, stamps(pts_s=52 + jump_s))) == []
    assert gaps(push(timeline, stamps(pts_s=54 + jump_s))) == [], "and what follows is contiguous again"
    assert timeline.position_s == 6


def test_time_stamps_wrap_after_33_bits():
    timeline = Timeline()
    almost_s = PTS_MODULUS / PTS_HZ - 1
    push(timeline, stamps(pts_s=almost_s))
    assert gaps(push(timeline, stamps(pts_s=almost_s + 2))) == []
    assert gaps(push(timeline, stamps(pts_s=almost_s + 7))) == [(3.0, "discontinuity")]


def test_a_wall_clock_that_jumps_over_a_discontinuity_is_a_gap():
    timeline = Timeline()
    push(timeline, stamps(pts_s=10, clock_s=0))
    chunks = push(timeline, stamps(pts_s=0, clock_s=9, discontinuity=True))
    assert gaps(chunks) == [(7.0, "discontinuity")]
    assert chunks[-1].clock == T0 + timedelta(seconds=9)


def test_time_stamps_go_before_a_wall_clock_that_jumps():
    timeline = Timeline()
    push(timeline, stamps(pts_s=10, clock_s=0))
    assert gaps(push(timeline, stamps(pts_s=12, clock_s=60))) == []


def test_an_unannounced_restart_is_told_by_the_wall_clock():
    timeline = Timeline()
    push(timeline, stamps(pts_s=1000, clock_s=0))
    assert gaps(push(timeline, stamps(pts_s=0, clock_s=12))) == [(10.0, "discontinuity")]


def test_what_the_claimed_length_of_a_loss_missed_is_put_down_to_it():
    timeline = Timeline()
    push(timeline, stamps(pts_s=0))
    assert gaps(timeline.lose(2.0, "segment_missing")) == [(2.0, "segment_missing")]
    assert gaps(push(timeline, stamps(pts_s=5.0))) == [(1.0, "segment_missing")]
    assert timeline.position_s == 7.0


def test_a_loss_that_claimed_too_much_does_not_move_stream_time_back():
    timeline = Timeline()
    push(timeline, stamps(pts_s=0))
    timeline.lose(2.0, "segment_missing")
    chunks = push(timeline, stamps(pts_s=3.4))
    assert gaps(chunks) == []
    assert chunks[-1].start_s == 4.0


def test_what_is_owed_is_believed_unless_time_stamps_know_better():
    timeline = Timeline()
    push(timeline, stamps(pts_s=0), media_s=1.0)
    timeline.owe(1.0, "segment_undecodable")
    assert gaps(push(timeline, stamps(pts_s=2.5))) == [(1.5, "segment_undecodable")]
    timeline.owe(1.0, "segment_undecodable")
    assert gaps(timeline.settle()) == [(1.0, "segment_undecodable")]
    assert timeline.settle() == []


def test_without_any_clock_what_is_owed_is_lost():
    timeline = Timeline()
    push(timeline, stamps(), media_s=0.5)
    timeline.owe(1.5, "segment_undecodable")
    assert gaps(push(timeline, stamps())) == [(1.5, "segment_undecodable")]


def test_chunks_carry_the_playlists_clock_and_continue_it():
    timeline = Timeline(start_s=100)
    (first,) = push(timeline, stamps(clock_s=5))
    (second,) = push(timeline, stamps())
    assert (first.clock, first.clock_source) == (T0 + timedelta(seconds=5), "program_date_time")
    assert (second.clock, second.clock_source) == (T0 + timedelta(seconds=7), "program_date_time")
    assert first.start_s == 100


def test_without_a_clock_the_earliest_arrival_is_one():
    timeline = Timeline()
    # Three segments at once, as on joining, then one on time, then one that was slow to arrive.
    clocks = [push(timeline, stamps(fetched_s=t))[0].clock for t in (0, 0, 0, 2, 7)]
    assert [(c - T0).total_seconds() for c in clocks] == [-2, -2, -2, 0, 2]
    assert clocks == sorted(clocks)


def test_an_arrival_clock_that_was_overtaken_is_set_anew():
    timeline = Timeline()
    push(timeline, stamps(fetched_s=0))
    (chunk,) = push(timeline, stamps(fetched_s=60))
    assert chunk.clock == T0 + timedelta(seconds=58)
    assert chunk.clock_source == "arrival"


def test_long_media_is_handed_on_in_pieces():
    timeline = Timeline()
    chunks = push(timeline, stamps(pts_s=0), media_s=25.0)
    assert [len(c.samples) for c in chunks] == [CHUNK_SAMPLES_MAX, CHUNK_SAMPLES_MAX, CHUNK_SAMPLES_MAX // 2]
    assert [c.start_s for c in chunks] == [0, 10, 20]


seconds = st.floats(-5e4, 5e4, allow_nan=False).map(lambda s: round(s, 4))
step = st.one_of(
    st.tuples(st.just("hear"), st.none() | seconds, st.none() | seconds, st.booleans(), st.floats(0, 12), st.floats(0, 3)),
    st.tuples(st.just("lose"), st.floats(-10, 1e4), st.sampled_from(["late", "skipped", "segment_missing"])),
    st.tuples(st.just("owe"), st.floats(-10, 1e3)),
    st.tuples(st.just("settle")),
)


@given(st.floats(0, 1e6), st.lists(step, max_size=25))
def test_heard_and_gaps_add_up_whatever_the_clocks_say(start_s, steps):
    timeline = Timeline(start_s=start_s)
    begin = round(start_s * RATE_HZ)
    chunks = []
    for what, *values in steps:
        if what == "hear":
            pts_s, clock_s, discontinuity, media_s, off_s = values
            chunks += push(timeline, stamps(pts_s=pts_s, clock_s=clock_s, fetched_s=off_s, discontinuity=discontinuity), media_s)
        elif what == "lose":
            chunks += timeline.lose(*values)
        elif what == "owe":
            timeline.owe(values[0], "segment_undecodable")
        else:
            chunks += timeline.settle()
    position = begin
    for chunk in chunks:
        assert chunk.gap_before_s >= 0
        assert (chunk.gap_reason is None) == (chunk.gap_before_s == 0)
        position += round(chunk.gap_before_s * RATE_HZ)
        assert round(chunk.start_s * RATE_HZ) == position, "each chunk starts where the last one ended, behind its gap"
        position += len(chunk.samples)
        assert len(chunk.samples) <= CHUNK_SAMPLES_MAX
    assert round(timeline.position_s * RATE_HZ) == position
