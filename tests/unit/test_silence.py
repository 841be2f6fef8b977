"""Where a stream was silent: the same however it was cut into pieces, and across a hand-over; never in a gap."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import hits_samples as samples
from earmark.coverage import LOUD, SILENCE_S_MIN, STRETCHES_MAX, Coverage
from earmark.model import RATE_HZ, AudioChunk, Checkpoint, Stretch


def sound(*parts):
    """Seconds of noise, and (negative) of what is too quiet to be heard."""
    random = np.random.default_rng(1)
    pieces = [(1.0 if seconds > 0 else 0.9 * LOUD) * random.choice([-1.0, 0.1, 1.0], round(abs(seconds) * RATE_HZ)) for seconds in parts]
    return np.concatenate([np.zeros(0), *pieces]).astype(np.float32)


def heard(coverage, heard_sound, *sizes, gap_s=0.0):
    """In chunks of these sizes in turn; the first after a gap."""
    begin, n = 0, 0
    while begin < len(heard_sound):
        piece = heard_sound[begin : begin + sizes[n % len(sizes)]]
        start_s = coverage.position_s + gap_s
        coverage.add(AudioChunk(samples=piece, start_s=start_s, gap_before_s=gap_s, gap_reason="late" if gap_s else None))
        begin, n, gap_s = begin + len(piece), n + 1, 0.0
    return coverage


def spans(coverage):
    return [(round(one.begin_s, 2), round(one.end_s, 2)) for one in coverage.silence]


def test_pauses_of_three_seconds_and_more_are_silences_also_at_either_end():
    coverage = heard(Coverage(Checkpoint()), sound(-4, 2, -2.9, 1, -3.5, 1, -10), RATE_HZ)
    assert spans(coverage) == [(0.0, 4.0), (9.9, 13.4), (14.4, 24.4)]
    assert spans(heard(Coverage(Checkpoint()), sound(5, 5), RATE_HZ)) == []


@given(
    st.lists(st.tuples(st.floats(0.05, 3.0), st.floats(0.05, 9.0)), min_size=1, max_size=5),
    st.lists(st.integers(1, 5 * RATE_HZ), min_size=1, max_size=4),
    st.floats(0.0, 1.0),
)
def test_however_a_stream_is_cut_and_handed_over_it_was_silent_in_the_same_places(parts, sizes, where):
    whole = sound(*(seconds for loud_s, quiet_s in parts for seconds in (loud_s, -quiet_s)))
    at_once = heard(Coverage(Checkpoint()), whole, max(1, len(whole)))

    in_pieces = heard(Coverage(Checkpoint()), whole, *(max(size, len(whole) // 200 + 1) for size in sizes))
    assert np.allclose(np.ravel(spans(in_pieces)), np.ravel(spans(at_once)), atol=0.011)  # of what is shown, a digit

    here_s, expected = 0.0, []
    for loud_s, quiet_s in parts:
        loud_end_s = here_s + round(loud_s * RATE_HZ) / RATE_HZ
        here_s = loud_end_s + round(quiet_s * RATE_HZ) / RATE_HZ
        if here_s - loud_end_s >= SILENCE_S_MIN - 1e-6:
            expected.append((loud_end_s, here_s))
    assert len(expected) == len(at_once.silence)
    assert np.allclose(np.ravel([(one.begin_s, one.end_s) for one in at_once.silence]), np.ravel(expected), atol=0.001)

    cut = round(where * len(whole))
    first = heard(Coverage(Checkpoint()), whole[:cut], RATE_HZ)
    second = heard(Coverage(first.onto(Checkpoint())), whole[cut:], RATE_HZ)
    # What had lasted less than three seconds when it was handed over is not known any more.
    assert all(any(a - 0.01 <= c and d <= b + 0.01 for a, b in spans(at_once)) for c, d in spans(second))
    assert len(spans(at_once)) - 1 <= len(spans(second)) <= len(spans(at_once))


def test_what_is_not_heard_is_not_silent_and_parts_silences():
    coverage = heard(Coverage(Checkpoint()), sound(1, -4), RATE_HZ)
    heard(coverage, sound(-4, 1), RATE_HZ, gap_s=6.0)
    assert spans(coverage) == [(1.0, 5.0), (11.0, 15.0)]
    assert [(gap.begin_s, gap.end_s) for gap in coverage.gaps] == [(5.0, 11.0)]


def test_a_checkpoint_from_before_knows_of_no_silence_and_one_of_today_goes_there_and_back():
    coverage = heard(Coverage(Checkpoint()), sound(1, -4, 1), RATE_HZ)
    kept = coverage.onto(samples.checkpoint())
    assert Checkpoint.from_json(kept.to_json()).silence == kept.silence == (Stretch(begin_s=1.0, end_s=5.0),)
    assert Checkpoint.from_json('{"state": "listening", "position_s": 5.0}').silence == ()


def test_of_too_many_silences_the_shortest_go():
    coverage = Coverage(Checkpoint(silence=tuple(Stretch(begin_s=10.0 * n, end_s=10.0 * n + 4) for n in range(STRETCHES_MAX)), position_s=9_000.0))
    heard(coverage, sound(1, -5, 1), RATE_HZ)
    assert len(coverage.silence) == STRETCHES_MAX
    assert spans(coverage)[-1] == (9_001.0, 9_006.0)
