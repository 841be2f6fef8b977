"""Archive files of any length: read a part at a time, without their picture, and gone on with in the middle."""

import tracemalloc
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from archive_files import Archive, Long, decoded, item, listening
from audio_media import coded, shift_pts
from audio_origin import EPOCH, Hand
from earmark.audio import archive as module
from earmark.audio.decode import StreamDecoder
from earmark.audio.order import Position
from earmark.errors import AwsUnavailable
from earmark.model import Missing, Segment

MINUTE = {"duration_s": 60.0, "segment_s": 60.0}


def ended(archive, *, at_s=10.0, **more):
    hand = Hand()
    hand.at(at_s, hand.end)
    return listening(archive, hand, **more)


def one_file(data, **more):
    archive = Archive()
    archive.put(item(0, **more), data)
    return archive


def at_once(data):
    decoder = StreamDecoder(segment_s_max=900)
    chunks = decoder.push(Segment(data=data, container="mpegts", duration_s=0, fetched_at=EPOCH)) + decoder.flush()
    return np.concatenate([chunk.samples for chunk in chunks])


def test_a_long_file_is_never_in_memory_whole():
    """A minute whose picture takes a hundred times the bytes of its sound."""
    sound = coded(**MINUTE).segments[0]
    long = Long(sound, pictures=100)
    source = ended(one_file(long))
    list(ended(one_file(Long(sound, pictures=0))).pieces())  # what is imported and kept for good
    tracemalloc.start()
    try:
        pieces = list(source.pieces())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * module.PART_BYTES < len(long) / 3
    assert sum(len(piece.data) for piece in pieces) < 1.1 * len(sound)
    assert source.fetched_bytes == len(long)
    samples, gaps = decoded(pieces)
    assert np.array_equal(samples, at_once(sound)) and gaps == []


@pytest.mark.parametrize("heard", [1, 4])
def test_a_killed_owner_is_followed_by_one_that_reads_on_from_there(heard):
    sound = coded(**MINUTE).segments[0]
    long = Long(sound, pictures=60)
    store = one_file(long)
    first = listening(store, Hand()).pieces()
    pieces = [next(first) for _ in range(heard)]
    first.close()  # killed: nothing is reported as heard
    assert not store.done
    later = ended(store, resume=pieces[-1].position)
    rest = list(later.pieces())
    assert np.array_equal(decoded(pieces + rest)[0], at_once(sound))
    assert later.fetched_bytes <= len(long) * (1 - heard / 6) + module.HEAD_BYTES + 200_000, "no more than the tables and the rest"
    assert len(store.done) == 1


def test_a_place_that_an_older_daemon_left_is_gone_on_with():
    """It counted stretches, and knew nothing of bytes."""
    sound = coded(**MINUTE).segments[0]
    pieces = list(ended(one_file(sound)).pieces())
    before = Position.from_json('{"base": "channel/show-20260304T050607", "counter": 0, "stretches": 2}')
    rest = list(ended(one_file(sound), resume=before.to_json()).pieces())
    assert [piece.data for piece in rest] == [piece.data for piece in pieces[2:]]


def test_what_was_lost_between_two_owners_is_a_gap():
    made = coded(duration_s=40.0, segment_s=10.0)
    store = Archive(made.segments)
    first = listening(store, Hand()).pieces()
    pieces = [next(first)]
    first.close()
    del store.inbox[1]  # and its event never came
    rest = list(ended(store, resume=pieces[-1].position).pieces())
    decoder = StreamDecoder(segment_s_max=900, start_s=10.0)  # another process's
    gaps = [(round(c.gap_before_s, 1), c.gap_reason) for piece in rest for c in decoder.push(piece) if c.gap_before_s]
    assert gaps == [(10.0, "segment_missing")]


def test_a_clock_that_jumps_inside_a_file_is_a_gap_there_and_nothing_else():
    made = coded(duration_s=24.0, segment_s=6.0)
    jumping = made.segments[0] + shift_pts(made.segments[1], 7 * 90_000) + shift_pts(made.segments[2], 7 * 90_000)
    samples, gaps = decoded(ended(one_file(jumping)).pieces())
    assert gaps == [(7.0, "discontinuity")]
    assert len(samples) / 8000 == pytest.approx(18.0, abs=0.1)


def test_a_file_that_is_written_over_while_it_is_read_keeps_what_was_heard():
    sound = coded(**MINUTE).segments[0]
    store = one_file(Long(sound, pictures=60))
    pieces = []
    for piece in ended(store).pieces():
        pieces.append(piece)
        store.objects.clear()  # another object lies there now: what was asked for with its tag is gone
    samples, _ = decoded(pieces)
    assert 10 < len(samples) / 8000 < 45
    assert [piece.reason for piece in pieces if isinstance(piece, Missing)] == ["segment_missing"]
    assert len(store.done) == 1


def test_an_object_that_is_another_by_now_is_not_heard_in_its_place(monkeypatch):
    """Without $dt$ in its names, a channel that starts anew writes over files that were not heard yet."""
    made = coded(duration_s=20.0, segment_s=10.0)
    store = Archive()
    for n in range(2):
        store.put(item(n, made_at=EPOCH + timedelta(seconds=10 * n)), made.segments[n])
    read = store.read
    written = {item(0).key: EPOCH + timedelta(seconds=30), item(1).key: EPOCH + timedelta(seconds=10)}
    monkeypatch.setattr(store, "read", lambda **asked: replace(read(**asked), written_at=written[asked["key"]]))
    pieces = list(ended(store).pieces())
    assert [type(piece).__name__ for piece in pieces] == ["Missing", "Segment"]


def test_a_file_larger_than_any_is_refused_and_costs_that_file():
    made = coded(duration_s=30.0, segment_s=10.0)
    store = Archive(made.segments)
    store.objects[item(1).key] = Long(made.segments[1], pictures=20)
    samples, gaps = decoded(ended(store, file_bytes_max=2_000_000).pieces())
    assert gaps == [(10.0, "segment_refused")]
    assert len(samples) / 8000 == pytest.approx(20, abs=0.1)


def test_s3_that_fails_within_a_file_is_asked_again_from_there():
    sound = coded(**MINUTE).segments[0]
    long = Long(sound, pictures=60)
    store = one_file(long)
    source = ended(store, at_s=100.0)
    pieces = source.pieces()
    first = next(pieces)
    store.fails = [AwsUnavailable("slow down")] * 2
    assert np.array_equal(decoded([first, *pieces])[0], at_once(sound))
    assert source.fetched_bytes == len(long)


@pytest.mark.parametrize("seconds", [2.0, 6.0])
def test_files_of_some_seconds_are_one_get_each(seconds):
    made = coded(duration_s=12.0, segment_s=seconds)
    store = Archive(made.segments)
    samples, gaps = decoded(ended(store).pieces())
    assert (store.gets, gaps) == (len(made.segments), [])
    assert len(samples) / 8000 == pytest.approx(12, abs=0.1)
