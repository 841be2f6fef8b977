"""Archive files in any order, late, twice, or not at all."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_files import Archive, decoded, item, listening
from audio_media import coded
from audio_origin import Hand
from earmark.audio.archive import ArchiveSource
from earmark.audio.decode import StreamDecoder
from earmark.audio.order import ArchiveItem, Order, Position, archive_name
from earmark.errors import AwsRefused, AwsUnavailable, SourceUnsupported
from earmark.model import Missing, Segment
from earmark.session import Signals, Source
from earmark.settings import MediaLive

# ------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "key, expected",
    [
        ("channel59/delivery/curling-20171012T033162.000000.m2ts", ("channel59/delivery/curling-20171012T033162", 0)),
        ("a.b.000123.ts", ("a.b", 123)),
        ("a.999999.ts", ("a", 999_999)),
        ("a.12345.ts", None),
        ("a.1000000.ts", ("a", 1_000_000)),  # ten-second files for four months; the inbox takes them too
        ("a.1234567890.ts", None),
        ("a.000001.mp4", None),
        (".000001.ts", None),
        ("a.000001.ts.bak", None),
        ("a.000001.ts\n", None),
        ("a.٠٠٠٠٠١.ts", None),
    ],
)
def test_names(key, expected):
    assert archive_name(key) == expected


def test_positions_travel_as_text():
    position = Position(base="a", counter=7, stretches=3)
    assert Position.from_json(position.to_json()) == position
    for text in ("", "{", "[]", '{"base": "a"}', '{"sequence": 3}', "null"):
        assert Position.from_json(text) is None


# ------------------------------------------------------------------------------------------------ order


def run(arrivals, *, resume=None, until_s=200.0, gap_wait_s=30.0):
    """`arrivals`: (time, item). Each is waiting until it was given out; numbers, or "lost" and the last number, as they come out."""
    order = Order(gap_wait_s=gap_wait_s, resume=resume)
    waiting, out, useless = [], [], []
    arrivals = sorted(arrivals, key=lambda pair: pair[0])
    time_s = 0.0
    while time_s <= until_s:
        while arrivals and arrivals[0][0] <= time_s:
            waiting.append(arrivals.pop(0)[1])
        for passed in order.offer(waiting, time_s):
            waiting.remove(passed)
            useless.append(passed)
        while (found := order.next(time_s)) is not None:
            if hasattr(found, "item"):
                out.append((found.counter, round(time_s), *(["run"] if found.begins_run else [])))
                waiting.remove(found.item)
            else:
                out.append(("lost", found.last, round(time_s)))
        time_s += 1.0
    return out, useless, waiting


def test_files_in_order_are_taken_as_they_come():
    out, useless, waiting = run([(n * 10.0, item(n)) for n in range(4)])
    assert out == [(0, 0), (1, 10), (2, 20), (3, 30)]
    assert not useless and not waiting


def test_files_out_of_order_are_put_in_order():
    out, _, _ = run([(0, item(0)), (12, item(2)), (14, item(3)), (25, item(1))])
    assert out == [(0, 0), (1, 25), (2, 25), (3, 25)]


def test_a_missing_number_is_waited_for_and_then_given_up():
    out, useless, _ = run([(0, item(0)), (10, item(2)), (15, item(3)), (90, item(1))])
    assert out == [(0, 0), ("lost", 1, 40), (2, 40), (3, 40)]
    assert useless == [item(1)], "what comes after that is too late"


def test_several_missing_numbers_are_one_loss():
    out, _, _ = run([(0, item(0)), (10, item(5))])
    assert out == [(0, 0), ("lost", 4, 40), (5, 40)]


def test_a_run_that_is_joined_late_begins_with_what_is_there():
    out, _, _ = run([(0, item(7)), (1, item(6))])
    assert out == [(6, 30), (7, 30)]


def test_a_repeat_changes_nothing():
    order = Order(gap_wait_s=30)
    assert order.offer([item(0)], 0) == []
    assert order.next(0).counter == 0
    assert order.offer([item(0)], 1) == []
    assert order.next(100) is None


def test_a_file_that_is_written_once_more_is_passed_over():
    out, useless, waiting = run([(0, item(0)), (10, item(1)), (20, item(2)), (30, item(1, sequencer="FFFF")), (40, item(3))])
    assert [o[0] for o in out] == [0, 1, 2, 3]
    assert useless == [item(1, sequencer="FFFF")]
    assert not waiting


def test_what_is_no_archive_file_is_passed_over():
    other = ArchiveItem(bucket="archive", key="channel/readme.txt")
    assert run([(0, other), (1, item(0))])[1] == [other]


@pytest.mark.parametrize("base", ["channel/show-20260304T050607", "channel/show-20260305T000000"])
def test_a_channel_that_starts_anew_is_another_run(base):
    again = [(60 + n, item(n, base=base, version="v2")) for n in range(3)]
    out, useless, waiting = run([(n * 10, item(n, version="v1")) for n in range(4)] + again)
    assert [o[0] for o in out] == [0, 1, 2, 3, 0, 1, 2]
    assert out[4][2:] == ("run",)
    assert not useless and not waiting


def test_the_rest_of_the_old_run_is_taken_first():
    new = "channel/show-20260305T000000"
    out, useless, _ = run([(0, item(0)), (5, item(0, base=new)), (20, item(1)), (100, item(2))])
    assert [o[:2] for o in out] == [(0, 0), (1, 20), (0, 35)]
    assert useless == [item(2)], "what belongs to a run that is past is passed over"


def test_the_next_owner_goes_on():
    whole = Position(base="channel/show-20260304T050607", counter=4)
    out, useless, _ = run([(0, item(4)), (0, item(5))], resume=whole)
    assert [o[0] for o in out] == [5]
    assert useless == [item(4)], "heard, and not reported before the last owner died"
    partly = replace(whole, stretches=2)
    out, useless, _ = run([(0, item(4)), (0, item(5))], resume=partly)
    assert [o[0] for o in out] == [4, 5]


@given(st.permutations(range(12)), st.lists(st.floats(0, 100), min_size=12, max_size=12), st.sets(st.integers(1, 11), max_size=4))
def test_each_number_comes_out_once_in_order_or_is_lost(numbers, delays, never):
    arrivals = [(0.0, item(0))] + [(delay, item(n)) for n, delay in zip(numbers, delays, strict=True) if n and n not in never]
    out, useless, waiting = run(arrivals, until_s=400)
    taken = [o[0] for o in out if o[0] != "lost"]
    assert taken == sorted(set(taken))
    assert not waiting
    assert len(taken) + len(useless) == len(arrivals)
    reach = 0
    for o in out:
        last = o[1] if o[0] == "lost" else o[0]
        assert o[0] == "lost" or last == reach
        reach = last + 1


# ------------------------------------------------------------------------------------------------ the source


LONG = {"duration_s": 60.0, "segment_s": 25.0}


def stamped(data):
    """192-byte packets."""
    return b"".join(b"\x00\x00\x00\x00" + data[at : at + 188] for at in range(0, len(data), 188))


def test_it_is_a_session_source():
    def takes(_: Source) -> None: ...

    takes(ArchiveSource(inbox=Archive(), objects=Archive(), signals=Signals(), settings=MediaLive()))


@pytest.mark.parametrize("video", [False, True])
@pytest.mark.parametrize("form", [bytes, stamped])
def test_files_are_heard_in_stretches_without_losing_a_sample(video, form):
    made = coded(video=video, **LONG)
    hand = Hand()
    hand.at(50.0, hand.end)
    archive = Archive(form(data) for data in made.segments)
    source = listening(archive, hand)
    pieces = list(source.pieces())
    samples, gaps = decoded(pieces)
    decoder = StreamDecoder(segment_s_max=900)
    files = [Segment(data=data, container="mpegts", duration_s=0, fetched_at=hand.now()) for data in made.segments]
    at_once = [c for file in files for c in decoder.push(file)] + decoder.flush()
    assert np.array_equal(samples, np.concatenate([c.samples for c in at_once]))
    assert gaps == []
    assert len(pieces) >= 3 + 3 + 1, "25 s in stretches of 10"
    if video:
        audio_bytes = sum(map(len, coded(**LONG).segments))
        assert sum(len(p.data) for p in pieces) < 1.1 * audio_bytes < sum(map(len, made.segments)), "and without the video"
    assert source.end_reason == "stream_end"
    assert len(archive.done) == len(made.segments) and not archive.inbox
    assert source.fetched_bytes == sum(map(len, archive.objects.values()))


class Turns(threading.BoundedSemaphore):
    """One turn, which somebody else has; and a bell for each who asks for it."""

    def __init__(self):
        super().__init__(1)
        self.asked = threading.Event()
        super().acquire()

    def acquire(self, *args, **kwargs):
        self.asked.set()
        return super().acquire(*args, **kwargs)


def test_a_whole_file_waits_for_its_turn():
    hand, archive, turns = Hand(), Archive(coded(**LONG).segments[:1]), Turns()
    hand.at(10.0, hand.end)
    with ThreadPoolExecutor(1) as thread:
        pieces = thread.submit(lambda: list(listening(archive, hand, turns=turns).pieces()))
        assert turns.asked.wait(10)
        assert archive.gets == 0
        turns.release()
        assert len(pieces.result(10)) == 3
    assert turns.acquire(timeout=0), "and was given back"


def test_waiting_for_a_turn_ends_when_we_leave(monkeypatch):
    monkeypatch.setattr("earmark.audio.archive.TURN_S", 0.01)
    hand, archive, turns = Hand(), Archive(coded(**LONG).segments[:1]), Turns()
    with ThreadPoolExecutor(1) as thread:
        pieces = thread.submit(lambda: list(listening(archive, hand, turns=turns).pieces()))
        assert turns.asked.wait(10)
        hand.hand_over()
        assert pieces.result(10) == []
    assert (archive.gets, len(archive.inbox)) == (0, 1)


def test_after_the_channel_is_idle_the_last_file_may_still_arrive():
    made = coded(**LONG)
    hand, archive = Hand(), Archive(made.segments[:2])
    hand.at(10.0, hand.end)
    hand.at(50.0, lambda: archive.put(item(2), made.segments[2]))
    source = listening(archive, hand)
    assert decoded(source.pieces())[1] == []
    assert len(archive.done) == 3
    assert source.end_reason == "stream_end"
    assert 70 <= hand.time_s < 80


def test_a_run_whose_end_nobody_announces_ends_when_nothing_comes():
    hand, archive = Hand(), Archive(coded(**LONG).segments)
    source = listening(archive, hand, idle_end_s=300)
    list(source.pieces())
    assert source.end_reason == "silent_origin"
    assert hand.time_s == pytest.approx(300, abs=6)


def test_a_file_that_never_came_is_a_gap_whose_length_the_time_stamps_tell():
    made = coded(**LONG)
    hand, archive = Hand(), Archive()
    archive.put(item(0), made.segments[0])
    archive.put(item(2), made.segments[2])
    hand.at(10.0, hand.end)
    pieces = list(listening(archive, hand).pieces())
    assert [p.reason for p in pieces if isinstance(p, Missing)] == ["segment_missing"]
    assert decoded(pieces)[1] == [(25.0, "segment_missing")]
    assert hand.time_s >= 30


def test_what_is_still_missing_at_the_end_is_not_waited_for_longer():
    made = coded(**LONG)
    hand, archive = Hand(), Archive()
    archive.put(item(0), made.segments[0])
    hand.at(5.0, hand.end)
    hand.at(60.0, lambda: archive.put(item(2), made.segments[2]))
    pieces = list(listening(archive, hand, end_grace_s=60).pieces())
    assert decoded(pieces)[1] == [(25.0, "segment_missing")]
    assert hand.time_s <= 72


def test_a_channel_that_starts_anew_is_a_discontinuity():
    made, again = coded(**LONG), coded(seed=2, **LONG)
    hand, archive = Hand(), Archive(made.segments[:1])
    for counter in (0, 1):
        archive.put(item(counter, base="channel/show-20260305T000000"), again.segments[counter])
    hand.at(100.0, hand.end)
    pieces = [p for p in listening(archive, hand).pieces() if isinstance(p, Segment)]
    assert [p.discontinuity for p in pieces] == [False] * 3 + [True] + [False] * 5
    samples, gaps = decoded(pieces)
    assert gaps == []
    assert len(samples) / 8000 == pytest.approx(75, abs=0.2)


def test_a_file_that_is_no_transport_stream_costs_that_file():
    made = coded(**LONG)
    hand, archive = Hand(), Archive([made.segments[0], b"<html>" * 1000, made.segments[2]])
    hand.at(10.0, hand.end)
    assert decoded(listening(archive, hand).pieces())[1] == [(25.0, "segment_undecodable")]


@pytest.mark.parametrize(
    "error, reason", [(AwsRefused("there is no such object"), "segment_missing"), (SourceUnsupported("it is larger than allowed"), "segment_refused")]
)
def test_a_file_that_cannot_be_had_costs_that_file(error, reason):
    made = coded(**LONG)
    hand, archive = Hand(), Archive(made.segments)
    archive.fails = [error]
    hand.at(10.0, hand.end)
    pieces = list(listening(archive, hand).pieces())
    assert isinstance(pieces[0], Missing) and pieces[0].reason == reason
    assert len(archive.done) == 3


def test_s3_is_asked_again_for_a_while():
    made = coded(**LONG)
    hand, archive = Hand(), Archive(made.segments[:1])
    archive.fails = [AwsUnavailable("slow down")] * 3
    hand.at(100.0, hand.end)
    assert len(list(listening(archive, hand).pieces())) == 3
    archive = Archive(made.segments[:1])
    archive.fails = [AwsUnavailable("slow down")] * 30
    with pytest.raises(AwsUnavailable, match="slow down"):
        list(listening(archive, Hand()).pieces())
    assert archive.gets == 5, "after 0, 1, 3, 7 and 15 seconds; the next would be beyond 30"
    assert archive.inbox, "what was not heard stays for the next try"


def test_the_next_owner_goes_on_inside_a_file():
    made = coded(**LONG)
    whole, _ = decoded(_all(made))
    hand, archive = Hand(), Archive(made.segments)
    pieces = []
    for piece in listening(archive, hand).pieces():
        pieces.append(piece)
        if len(pieces) == 2:
            hand.hand_over()
    assert len(pieces) == 2 and not archive.done
    later = Hand()
    later.at(10.0, later.end)
    rest = list(listening(archive, later, resume=pieces[-1].position).pieces())
    samples, gaps = decoded(pieces + rest)
    assert np.array_equal(samples, whole)
    assert gaps == []


def test_what_was_heard_and_not_reported_is_not_heard_again():
    made = coded(**LONG)
    hand, archive = Hand(), Archive(made.segments)
    source = listening(archive, hand).pieces()
    pieces = [next(source) for _ in range(3)]
    source.close()  # the worker dies before it asks for the next piece
    assert not archive.done
    later = Hand()
    later.at(10.0, later.end)
    rest = list(listening(archive, later, resume=pieces[-1].position).pieces())
    assert np.array_equal(decoded(pieces + rest)[0], decoded(_all(made))[0])
    assert len(archive.done) == 3


def _all(made):
    hand = Hand()
    hand.at(10.0, hand.end)
    return listening(Archive(made.segments), hand).pieces()
