"""Streams that are too much for anybody, and days on which everything is slow: what is done is bounded, and what was not heard is said.

Real AAC over real HTTP, through a whole session; time is moved by hand (`overload_streams`).
"""

import resource
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from earmark.audio.decode import StreamDecoder
from earmark.hearing import Hearing, drive
from earmark.listening import Listening
from earmark.model import RATE_HZ, Lookup, MatchParams, Segment
from earmark.settings import Settings
from hearing_sounds import catalogue, chunks, faster, silence, tune
from overload_streams import STREAM_RATE_HZ, Clocked, Running, accounted, listen, packed, seven_one, upsampled

TUNE = tune(1, 30)
#: A segment of 2.005 s, and one of 1.003 s.
TWO_S, ONE_S = 94, 47
SEGMENT_S = TWO_S * 1_024 / STREAM_RATE_HZ


@pytest.fixture
def hand():
    return Clocked()


def programme(*parts):
    return upsampled(np.concatenate(parts), STREAM_RATE_HZ)


# ------------------------------------------------------------------------------------------------ streams that are too much


@pytest.mark.parametrize("window", [6, 400])
def test_of_a_stream_at_a_hundred_times_real_time_the_live_edge_is_heard(origin, hand, window):
    made = packed(programme(silence(20)), frames=TWO_S, repeated=120)
    live = Running(origin, made, hand, speed=100, window=window)
    hand.at(21.0, hand.hand_over)
    record, _ = listen(origin, hand, live.url, late_s=20)
    checkpoint = record.checkpoint
    assert accounted(checkpoint)
    assert set(record.missed_s) <= {"late", "skipped"}
    # All of it is on record, as far as the last reading of the playlist went.
    assert live.on_air_s - 300 < checkpoint.position_s <= live.on_air_s
    # However fast it runs, no more is fetched and heard at each of eleven readings than a session may be behind.
    fetched = sum(asked.path.endswith(".aac") for asked in origin.asked)
    assert fetched * 2 <= 20 * len(live.polls_at)
    assert checkpoint.heard_s == pytest.approx(fetched * TWO_S * 1_024 / STREAM_RATE_HZ, abs=0.1)


def test_a_thousand_segments_of_a_second_are_all_heard_and_each_is_fetched_once(origin, hand):
    made = packed(programme(TUNE[: 20 * RATE_HZ]), frames=ONE_S, repeated=50)
    live = Running(origin, made, hand, head_s=2_000, window=1_000, ends=True)
    record, source = listen(origin, hand, live.url, index=catalogue(other=tune(2, 30)))
    media_s = sum(made.durations_s)
    assert len(made.segments) >= 950
    assert source.end_reason == "endlist"
    assert (record.checkpoint.heard_s, record.checkpoint.gaps) == (pytest.approx(media_s, abs=0.3), ())
    paths = [asked.path for asked in origin.asked]
    assert sorted(set(paths)) == sorted([live.path + "/list.m3u8", *map(live.segment_path, range(len(made.segments)))])
    assert len(paths) - len(made.segments) <= 3  # of the list no more than its opening and two readings
    assert record.plays == {}


def test_a_live_list_of_a_thousand_segments_is_joined_near_its_end_and_each_reading_costs_what_is_new(origin, hand):
    made = packed(programme(silence(20)), frames=ONE_S, repeated=60)
    live = Running(origin, made, hand, head_s=1_050, window=1_000)
    hand.at(30.0, hand.hand_over)
    record, source = listen(origin, hand, live.url, late_s=20)
    fetched = sum(asked.path.endswith(".aac") for asked in origin.asked)
    assert fetched * ONE_S * 1_024 / STREAM_RATE_HZ == pytest.approx(20 + 30, abs=3)
    assert accounted(record.checkpoint)
    assert record.missed_s == {}
    assert len(source._follower._known) <= 512


@pytest.mark.parametrize("target", ["2", "1", "0.01", "0", "-1", "nan"])
def test_a_playlist_that_changes_twenty_times_a_second_is_read_at_its_target_and_no_more(origin, hand, target):
    made = packed(programme(silence(20)), frames=2, repeated=1)
    live = Running(origin, made, hand, window=400, target=target, head_s=2.0, ends=True)
    live.restless = True
    record, _ = listen(origin, hand, live.url)
    assert (record.checkpoint.heard_s, record.checkpoint.gaps) == (pytest.approx(sum(made.durations_s), abs=0.1), ())
    apart_s = np.diff(live.polls_at[2:])
    assert apart_s.min() >= 0.25  # half of the least target that is believed
    assert all(origin.count(live.segment_path(n)) == 1 for n in range(len(made.segments)))


@pytest.mark.parametrize("codec, rate_hz", [("flac", 192_000), ("aac", 96_000)])
def test_eight_channels_at_the_highest_rate_are_heard_as_any_other_stream(origin, hand, codec, rate_hz):
    made = seven_one(upsampled(np.concatenate([silence(2), TUNE[4 * RATE_HZ : 18 * RATE_HZ]]), rate_hz), codec=codec, rate_hz=rate_hz)
    live = Running(origin, made, hand, head_s=8.5, window=6, ends=True)
    record, _ = listen(origin, hand, live.url, index=catalogue(it=TUNE, other=tune(2, 30)))
    assert (record.checkpoint.heard_s, record.checkpoint.gaps) == (pytest.approx(16, abs=0.1), ())
    (play,) = record.plays.values()
    assert (play.track_id, play.begin_s, play.end_s) == ("it", pytest.approx(2, abs=0.5), pytest.approx(16, abs=1))
    # Of a segment, up to twelve megabytes as samples, nothing is left behind.
    decoder, before = StreamDecoder(segment_s_max=60), 0
    for _ in range(4):
        for data in made.segments:
            decoder.push(Segment(data=data, container="mp4", init=made.init, duration_s=2, discontinuity=True, fetched_at=hand.now()))
        before = before or resident_bytes()
    assert resident_bytes() - before < 25e6


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


# ------------------------------------------------------------------------------------------------ slow days


#: On air when a stream is joined.
HEAD_S = 8.5


def caught_up(record, since_s):
    """Whether from then on each piece was heard as soon as it was listed."""
    return all(lag_s + HEAD_S < 2 * SEGMENT_S for at_s, lag_s in record.lags if at_s > since_s)


@pytest.mark.parametrize("answer_s", [2.0, 4.0])
def test_a_database_that_takes_seconds_for_each_answer_for_a_minute(origin, hand, answer_s):
    made = packed(programme(tune(9, 90), TUNE, tune(7, 20)), frames=TWO_S)
    live = Running(origin, made, hand, head_s=HEAD_S, ends=True)
    slow = {"answer_s": lambda: answer_s if 10 < hand.time_s < 70 else 0.0}
    record, _ = listen(origin, hand, live.url, index=catalogue(it=TUNE), late_s=20, **slow)
    checkpoint = record.checkpoint
    assert accounted(checkpoint)
    assert checkpoint.position_s == pytest.approx(sum(made.durations_s), abs=0.1)
    assert record.missed_s == {}
    assert max(lag_s for _, lag_s in record.lags) + HEAD_S < 20 + 2 * SEGMENT_S
    assert caught_up(record, 80)
    (play,) = record.plays.values()
    assert (play.track_id, play.begin_s, play.end_s) == ("it", pytest.approx(90, abs=1), pytest.approx(120, abs=1))


def test_who_cannot_keep_up_drops_to_the_live_edge_again_and_again_and_catches_up_when_there_is_time(origin, hand):
    made = packed(programme(silence(20)), frames=TWO_S, repeated=12)
    live = Running(origin, made, hand, head_s=HEAD_S, window=30, ends=True)
    record, _ = listen(origin, hand, live.url, piece_s=lambda: 3.0 if 20 < hand.time_s < 120 else 0.0, late_s=20)
    checkpoint = record.checkpoint
    assert accounted(checkpoint)
    assert checkpoint.position_s == pytest.approx(sum(made.durations_s), abs=0.1)
    assert set(record.missed_s) == {"late"}
    # Of a hundred seconds two thirds could be heard.
    assert 20 <= record.missed_s["late"] <= 45
    assert len(checkpoint.gaps) >= 2
    assert max(lag_s for _, lag_s in record.lags) + HEAD_S < 20 + 3 + SEGMENT_S
    assert caught_up(record, 130)


# ------------------------------------------------------------------------------------------------ what is left out first


def test_another_speed_is_not_tried_where_there_is_no_time_for_it_and_what_plays_as_recorded_is_found_all_the_same():
    played = np.concatenate([faster(TUNE, 1.05), tune(2, 12)])
    found = {}
    for spare in (True, False):
        index = catalogue(one=TUNE, two=tune(2, 30))
        hearing = Hearing(params=MatchParams(), size=index.size(), stream_id="stream", source="test", spare=lambda spare=spare: spare)
        plays = [play for chunk in chunks(played, RATE_HZ) for play in drive(hearing.push(chunk), index.answer)] + drive(hearing.flush(), index.answer)
        hashes = sum(len(asked.hashes) for asked in index.asked if isinstance(asked, Lookup))
        found[spare] = {play.track_id for play in plays}, hashes
    assert found[True][0] == {"one", "two"}
    assert found[False][0] == {"two"}
    assert found[False][1] < found[True][1]


def test_other_speeds_are_left_out_before_a_stream_is_turned_away_and_long_before_one_is_late():
    settings = Settings()
    assert settings.matching.transform_busy_max <= settings.leases.busy_share_max < 1
    tried = []
    listening = SimpleNamespace(_compute=SimpleNamespace(), _settings=settings, _metrics=SimpleNamespace(transform=lambda *, tried: None))
    for share in (0.0, 0.69, 0.7, 1.0):
        listening._compute.busy_share = share
        tried.append(Listening._spare(listening))
    assert tried == [True, True, False, False]
