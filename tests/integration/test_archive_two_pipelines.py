"""What is heard of a channel with two pipelines: real sound, joined where one pipeline's files stand in for the other's."""

import itertools
from datetime import timedelta

import numpy as np
import pytest

from archive_files import Archive, decoded, item, listening
from audio_media import coded, shift_pts
from audio_origin import EPOCH, Hand
from earmark.audio.order import Position
from earmark.audio.timeline import Joined
from earmark.model import Missing

SOUND = {"duration_s": 36.0, "video": True}
OTHER = "other/show-20260304T050607"
#: Around a join of two encoders' signals: a frame of the one that begins anew.
JOIN_SAMPLES = round(0.05 * 8_000)


def put(store, made, *, spare=False, but_not=(), cut=0, base=""):
    """Files as they come, made when they end; `cut`: the first ones belong to the past."""
    end_s = 0.0
    for counter, data in enumerate(made.segments):
        end_s += made.durations_s[counter]
        if counter in but_not or counter < cut:
            continue
        base = base or (OTHER if spare else item(0).key.rpartition(".0")[0])
        store.put(item(counter, base=base, made_at=EPOCH + timedelta(seconds=int(end_s)), spare=spare), data)


def heard(store, *, until_s=40.0, **more):
    hand = Hand()
    hand.at(until_s, hand.end)
    return list(listening(store, hand, gap_wait_s=5, end_grace_s=10, **more).pieces())


def whole():
    return decoded(heard(_only(coded(**SOUND, segment_s=6.0))))[0]


def _only(made):
    store = Archive()
    put(store, made)
    return store


def same_but_at(samples, expected, *joins_s):
    """Every stretch between two joins lies where it belongs, to the sample: an eighth of a millisecond, to which each signal's length is rounded."""
    assert abs(len(samples) - len(expected)) <= len(joins_s)
    edges = [0.0, *joins_s, len(expected) / 8_000]
    for joins, (begin_s, end_s) in enumerate(itertools.pairwise(edges)):
        begin, end = round(begin_s * 8_000) + JOIN_SAMPLES, round(end_s * 8_000) - JOIN_SAMPLES
        wanted = expected[begin:end]
        lags = {lag: float(np.corrcoef(samples[begin + lag : end + lag], wanted)[0, 1]) for lag in range(-3, 4)}
        lag = max(lags, key=lambda lag: lags[lag])
        assert abs(lag) <= joins and lags[lag] > 0.85, f"from {begin_s:g} to {end_s:g} s: {lags}"


def test_a_standard_channels_two_pipelines_sound_like_one():
    made = coded(**SOUND, segment_s=6.0)
    store = _only(made)
    put(store, made, spare=True)
    samples, gaps = decoded(heard(store))
    assert np.array_equal(samples, whole()) and gaps == []
    assert not store.inbox and store.gets == len(made.segments), "and none of the other's files is read"


def test_a_file_that_one_pipeline_lost_is_joined_in_to_the_sample():
    made = coded(**SOUND, segment_s=6.0)
    store = Archive()
    put(store, made, but_not=[2])
    put(store, made, spare=True, but_not=[4])
    pieces = heard(store)
    samples, gaps = decoded(pieces)
    assert gaps == [] and not [piece for piece in pieces if isinstance(piece, Missing)]
    same_but_at(samples, whole(), sum(made.durations_s[:2]), sum(made.durations_s[:4]))
    assert sum(isinstance(piece, Joined) for piece in pieces) == 2
    assert not store.inbox


@pytest.mark.parametrize("segment_s", [4.0, 10.0])
def test_files_that_end_elsewhere_are_joined_in_the_middle(segment_s):
    """What of the other's file was heard before is left out, and what was missing is there."""
    made, other = coded(**SOUND, segment_s=6.0), coded(**SOUND, segment_s=segment_s)
    store = Archive()
    put(store, made, but_not=[3, 4, 5])
    put(store, other, spare=True)
    pieces = heard(store)
    samples, gaps = decoded(pieces)
    assert gaps == []
    same_but_at(samples, whole(), sum(made.durations_s[:3]))


def test_a_file_that_cannot_be_read_is_heard_from_the_other_pipeline():
    made = coded(**SOUND, segment_s=6.0)
    store = _only(made)
    put(store, made, spare=True)
    store.objects[item(1).key] = b"<html>" * 1_000
    samples, gaps = decoded(heard(store))
    assert gaps == []
    same_but_at(samples, whole(), made.durations_s[0])


def test_without_the_other_pipeline_it_is_a_gap():
    made = coded(**SOUND, segment_s=6.0)
    store = Archive()
    put(store, made, but_not=[2])
    put(store, made, spare=True, but_not=[2])
    assert decoded(heard(store))[1] == [(pytest.approx(made.durations_s[2], abs=0.1), "segment_missing")]


def test_pipelines_of_different_clocks_are_joined_by_number_as_a_break():
    made = coded(**SOUND, segment_s=6.0)
    store = Archive()
    put(store, made, but_not=[2])
    put(store, made, spare=True)
    for counter in range(len(made.segments)):
        key = item(counter, base=OTHER).key
        store.objects[key] = shift_pts(store.objects[key], 9 * 3_600 * 90_000)
    samples, gaps = decoded(heard(store))
    assert gaps == []
    assert len(samples) / 8000 == pytest.approx(36, abs=0.3)


def test_the_next_owner_goes_on_with_the_other_pipeline_too():
    made = coded(**SOUND, segment_s=6.0)
    store = Archive()
    put(store, made, but_not=[1])
    put(store, made, spare=True)
    hand = Hand()
    pieces = []
    for piece in listening(store, hand, gap_wait_s=5).pieces():
        pieces.append(piece)
        if len(pieces) == 3:
            hand.hand_over()
    position = Position.from_json(pieces[-1].position)
    assert (position.spare, position.counter) == (True, 2)
    rest = heard(store, resume=pieces[-1].position)
    samples, gaps = decoded(pieces + rest)
    assert gaps == []
    same_but_at(samples, whole(), made.durations_s[0])
    assert not store.inbox
