"""What to fetch next of a window that slides, and what is lost."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.follow import KNOWN_MAX, Follower, Hole, Position
from earmark.audio.playlist import Listed
from earmark.errors import SourceUnsupported

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
URL = "https://cdn.example/live/list.m3u8"


def window(first, count, *, clock_s=None, name="s", seconds=2.0, ended=False, discontinuity_sequence=0):
    """Segments `first` .. `first + count`; `clock_s` is the wall clock of number 0."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{first}", f"#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity_sequence}"]
    for n in range(first, first + count):
        if clock_s is not None:
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{(T0 + timedelta(seconds=clock_s + n * seconds)).isoformat()}")
        lines += [f"#EXTINF:{seconds},", f"{name}{n}.ts"]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""])


def take(follower):
    """Numbers of segments, negative where marked as a discontinuity; holes as (seconds, reason)."""
    taken = []
    while (item := follower.next()) is not None:
        taken.append((item.duration_s, item.reason) if isinstance(item, Hole) else -item.sequence if item.discontinuity else item.sequence)
    return taken


def follower(**kwargs):
    return Follower(**{"late_s": 20.0, **kwargs})


def test_a_stream_is_heard_from_the_oldest_listed_segment_on():
    live = follower()
    assert live.read(window(7, 5), URL)
    assert take(live) == [7, 8, 9, 10, 11]
    assert not live.read(window(7, 5), URL)
    assert live.read(window(9, 5), URL)
    assert take(live) == [12, 13]


def test_a_long_list_is_joined_at_its_live_edge_and_a_finished_one_at_its_beginning():
    live = follower()
    live.read(window(0, 100), URL)
    assert take(live) == list(range(90, 100))
    finished = follower()
    finished.read(window(0, 100, ended=True), URL)
    assert take(finished) == list(range(100))
    assert finished.ended


def test_of_a_playlist_that_only_grows_not_everything_is_remembered():
    live = follower()
    for count in range(10, 3_000, 10):
        live.read(window(0, count), URL)
        take(live)
    assert len(live._known) <= KNOWN_MAX
    late = follower(resume=left_at(9))
    late.read(window(0, 2_000), URL)
    assert late.still_listed(late.next()).sequence == 10, "what is still to be fetched can be tried again"


def test_a_playlist_without_segments_is_waited_on():
    live = follower()
    assert not live.read(window(0, 0), URL)
    assert live.next() is None
    assert live.read(window(3, 1), URL)
    assert take(live) == [3]


@pytest.mark.parametrize("clock_s, lost_s", [(0.0, 10.0), (None, 10.0)])
def test_a_window_that_slid_past_is_a_hole(clock_s, lost_s):
    live = follower()
    live.read(window(0, 3, clock_s=clock_s), URL)
    take(live)
    live.read(window(8, 3, clock_s=clock_s), URL)
    assert take(live) == [(lost_s, "skipped"), 8, 9, 10]


def test_a_hole_is_as_long_as_the_clocks_say():
    live = follower()
    live.read(window(0, 3, clock_s=0), URL)
    take(live)
    live.read(window(8, 3, clock_s=4.5), URL, cause="origin_down")
    assert take(live) == [(14.5, "origin_down"), 8, 9, 10]


def test_numbers_and_clocks_that_jump_absurdly_far_are_not_believed():
    live = follower()
    live.read(window(0, 3), URL)
    take(live)
    live.read(window(10**9, 2), URL)
    assert take(live) == [(0.0, "skipped"), 10**9, 10**9 + 1]


def test_what_is_behind_the_live_edge_by_too_much_is_given_up_and_counted():
    live = follower(late_s=20.0)
    live.read(window(0, 6), URL)
    assert live.next().sequence == 0
    live.read(window(6, 6), URL)
    live.read(window(12, 6), URL)
    taken = take(live)
    lost_s = sum(item[0] for item in taken if isinstance(item, tuple))
    heard = [item for item in taken if isinstance(item, int)]
    assert {item[1] for item in taken if isinstance(item, tuple)} == {"late"}
    assert heard == [13, 14, 15, 16, 17]
    assert lost_s == 2 * 12, "1 to 12"


def test_a_hole_inside_what_is_given_up_keeps_its_reason():
    live = follower(late_s=10.0)
    live.read(window(0, 4), URL)
    live.read(window(8, 6), URL)
    assert take(live) == [(8.0, "late"), (8.0, "skipped"), (8.0, "late"), 12, 13]


def test_a_finished_playlist_is_never_late():
    live = follower(late_s=10.0)
    live.read(window(0, 4), URL)
    live.read(window(0, 50, ended=True), URL)
    assert take(live) == list(range(50))


def test_an_older_playlist_from_a_cache_changes_nothing():
    for clock_s in (0.0, None):
        live = follower()
        live.read(window(10, 6, clock_s=clock_s), URL)
        take(live)
        assert not live.read(window(8, 6, clock_s=clock_s), URL)
        assert not live.read(window(9, 6, clock_s=clock_s), URL)
        assert live.read(window(11, 6, clock_s=clock_s), URL)
        assert take(live) == [16]


def test_an_encoder_that_counts_from_0_again_is_told_by_its_clock():
    live = follower()
    live.read(window(500, 6, clock_s=0), URL)
    take(live)
    live.read(window(0, 2, clock_s=506 * 2 + 20, name="t"), URL)
    assert take(live) == [0, 1]
    live.read(window(0, 3, clock_s=506 * 2 + 20, name="t"), URL)
    assert take(live) == [2]


def test_the_first_segment_after_a_restart_is_a_discontinuity():
    live = follower()
    live.read(window(500, 6, clock_s=0), URL)
    take(live)
    live.read(window(3, 2, clock_s=506 * 2 + 20, name="t"), URL)
    assert take(live) == [-3, 4]


def test_without_clocks_a_restart_is_believed_at_the_second_sight():
    live = follower()
    live.read(window(500, 6), URL)
    take(live)
    assert not live.read(window(1, 1, name="t"), URL)
    assert live.read(window(1, 2, name="t"), URL)
    assert take(live) == [-1, 2]


def test_a_restart_into_numbers_that_are_known_is_told_by_other_addresses():
    live = follower()
    live.read(window(2, 6), URL)
    take(live)
    live.read(window(4, 6, name="t"), URL)
    assert take(live) == [-4, 5, 6, 7, 8, 9]


def test_clocks_that_are_stamped_anew_at_each_reading_are_no_restart():
    live = follower()
    live.read(window(2, 6, clock_s=0), URL)
    take(live)
    for reading in range(1, 5):
        live.read(window(2 + reading, 6, clock_s=1.9 * reading), URL)
        assert take(live) == [7 + reading]


def test_an_encoder_that_starts_anew_with_the_same_file_names_is_told_by_its_clock():
    live = follower()
    live.read(window(0, 5, clock_s=0), URL)
    take(live)
    live.read(window(0, 3, clock_s=60), URL)
    assert take(live) == [0, 1, 2]


def test_other_addresses_in_a_playlist_from_elsewhere_are_no_restart():
    live = follower()
    live.read(window(2, 6), URL)
    take(live)
    live.read(window(4, 6, name="other-token-"), "https://elsewhere.example/x.m3u8", moved=True)
    assert take(live) == [8, 9]


def test_a_restart_is_seen_in_a_long_playlist_too():
    live = follower(late_s=1000)
    live.read(window(1000, 60, clock_s=0), URL)
    assert len(take(live)) == 60
    live.read(window(0, 3, clock_s=5000), URL)
    assert take(live) == [0, 1, 2]


def test_what_was_still_to_be_fetched_at_a_restart_is_not_mistaken_for_the_new_numbers():
    live = follower()
    live.read(window(0, 3, clock_s=0, name="old"), URL)
    first = live.next()
    live.read(window(0, 3, clock_s=100, name="new"), URL)
    assert live.still_listed(first) is None
    left = [live.next() for _ in range(5)]
    assert [s.url.rpartition("/")[2] for s in left] == ["old1.ts", "old2.ts", "new0.ts", "new1.ts", "new2.ts"]


def test_a_segment_is_listed_until_the_window_leaves_it_and_its_address_may_change():
    live = follower()
    live.read(window(0, 3, clock_s=0), URL)
    first = live.next()
    assert live.still_listed(first) == first
    live.read(window(0, 4, clock_s=0, name="token"), "https://elsewhere.example/", moved=True)
    assert live.still_listed(first).url.endswith("token0.ts")
    live.read(window(1, 4, clock_s=0, name="token"), "https://elsewhere.example/")
    assert live.still_listed(first) is None


def test_it_is_no_media_playlist():
    with pytest.raises(SourceUnsupported, match="list of renditions"):
        follower().read("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nx.m3u8\n", URL)


# ------------------------------------------------------------------------------------------------ the next owner


def left_at(sequence, *, clock_s=0.0, rendition="", discontinuity_sequence=0):
    """Where an owner left that heard `sequence`; as text and back, as in the checkpoint."""
    clock = None if clock_s is None else T0 + timedelta(seconds=clock_s + 2.0 * (sequence + 1))
    position = Position(sequence=sequence, clock=clock, rendition=rendition, discontinuity_sequence=discontinuity_sequence)
    assert Position.from_json(position.to_json()) == position
    return position


@pytest.mark.parametrize("clock_s", [0.0, None])
def test_the_next_owner_goes_on_at_the_next_segment(clock_s):
    live = follower(resume=left_at(9, clock_s=clock_s))
    live.read(window(7, 6, clock_s=clock_s), URL)
    assert take(live) == [-10, 11, 12]


@pytest.mark.parametrize("clock_s", [0.0, None])
def test_what_is_no_longer_listed_was_lost_with_the_worker(clock_s):
    live = follower(resume=left_at(9, clock_s=clock_s))
    live.read(window(20, 3, clock_s=clock_s), URL)
    assert take(live) == [(20.0, "worker_lost"), -20, 21, 22]
    away = follower(resume=left_at(9, clock_s=clock_s), resume_reason="origin_down")
    away.read(window(20, 3, clock_s=clock_s), URL)
    assert take(away)[0] == (20.0, "origin_down")


def test_all_that_is_still_listed_is_caught_up_with_however_late():
    live = follower(resume=left_at(9), late_s=20)
    live.read(window(0, 60, clock_s=0), URL)
    for expected in range(10, 40):
        assert live.next().sequence == expected
    live.read(window(5, 60, clock_s=0), URL)
    assert take(live) == list(range(40, 65))


def test_an_owner_that_is_ahead_of_the_list_waits():
    live = follower(resume=left_at(12))
    live.read(window(7, 6, clock_s=0), URL)
    assert take(live) == []
    live.read(window(8, 6, clock_s=0), URL)
    assert take(live) == [13]


def test_numbers_that_started_anew_meanwhile_are_told_by_the_clock():
    live = follower(resume=left_at(500))
    live.read(window(3, 4, clock_s=501 * 2 + 30 - 6), URL)
    assert take(live) == [(30.0, "worker_lost"), -3, 4, 5, 6]
    caught_up = follower(resume=left_at(5))
    caught_up.read(window(3, 6, clock_s=500), URL)
    assert take(caught_up) == [(494.0, "worker_lost"), -3, 4, 5, 6, 7, 8]


def test_another_rendition_is_joined_by_the_clock():
    live = follower(resume=left_at(9, rendition="360p"))
    live.read(window(107, 6, clock_s=-200), URL, rendition="audio only")
    assert take(live) == [-110, 111, 112]


def test_a_rendition_that_changes_under_way_is_too():
    live = follower()
    live.read(window(7, 3, clock_s=0), URL, rendition="360p")
    take(live)
    live.read(window(108, 6, clock_s=-200), URL, rendition="audio only", moved=True)
    assert take(live) == [-110, 111, 112, 113]


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"sequence": "many"}', '{"sequence": 1, "clock": "soon"}', "null"])
def test_a_position_of_another_kind_means_joining_anew(text):
    assert Position.from_json(text) is None


# ------------------------------------------------------------------------------------------------ whatever comes


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 8), st.booleans()), min_size=1, max_size=30))
def test_no_number_is_given_twice_and_none_is_left_out_unsaid(moves):
    """A window that slides by any steps, read or not: every number from the first on is a segment or lies in a hole."""
    live = follower(late_s=9)
    first = 50
    accounted: list[int] = []
    lost_s = 0.0
    for slide, count, drains in moves:
        first += slide
        live.read(window(first, count, clock_s=0), URL)
        while drains and (item := live.next()) is not None:
            if isinstance(item, Listed):
                accounted.append(item.sequence)
            else:
                lost_s += item.duration_s
                accounted.append(-item.sequence)
    numbers = [abs(n) for n in accounted]
    assert numbers == sorted(set(numbers)), "in order, each once"
    heard = sum(n > 0 for n in accounted)
    if accounted and live.next() is None and accounted[0] > 0:
        assert heard * 2 + lost_s == (numbers[-1] - numbers[0] + 1) * 2
