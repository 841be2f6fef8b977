"""Documents: valid against the published schemas whatever strangers write into their metadata, and stable."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hits_samples as samples
from earmark.hits import record
from earmark.hits.record import Line, Opening, Place, Timebase, safe_name
from earmark.hits.rights import Circumstances, by_owner
from earmark.hits.text import ascii_line, cleaned, clock_time, dumps, one_line, rfc3339, writable
from earmark.model import Gap, Stream, Track

HIT = samples.validator("hit")
STREAM = samples.validator("stream")

#: All of Unicode, lone surrogates and control characters included, and what people are known to try.
NASTY = st.one_of(
    st.text(st.characters(), max_size=60),
    st.sampled_from(
        [
            "🎵🔥👩‍👩‍👧‍👦",
            "\u202eمرحبا بالعالم",
            "two\nlines\r\nand\ttabs\x00and\x1bescapes",
            '<script>alert("x")</script>',
            "=HYPERLINK(1)",
            "\ud800 lone",
            "x" * 2_000,
            "\U0001f3b5" * 3_000,
            '"\\' * 1_000,
            "",
            "\uffff\ufffe",
        ]
    ),
)
TRACKS = st.builds(
    Track,
    track_id=NASTY.filter(bool),
    title=NASTY,
    artists=st.lists(NASTY, max_size=4).map(tuple) | st.just(("a" * 2_000,) * 150),
    album=NASTY,
    label=NASTY,
    isrc=st.lists(NASTY, max_size=2).map(tuple),
    iswc=st.lists(NASTY, max_size=2).map(tuple),
    upc=st.lists(NASTY, max_size=2).map(tuple),
    rights_holder=NASTY,
)
STREAMS = st.builds(
    Stream,
    stream_id=NASTY.filter(bool),
    source=st.sampled_from(["ivs", "medialive", "hls", "file"]),
    channel_arn=st.none() | NASTY,
    channel_name=NASTY,
    session_id=st.none() | NASTY,
    tags=st.dictionaries(NASTY, NASTY, max_size=60),
    started_at=st.none() | st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
)
SECONDS = st.floats(0, 200_000)
PLAYS = st.builds(
    samples.play,
    track_id=st.just("t"),
    begin_s=SECONDS,
    length_s=SECONDS,
    revision=st.integers(0, 2**31),
    state=st.sampled_from(["provisional", "open", "closed"]),
    reference_duration_s=st.just(0.0) | SECONDS,
    speed=st.floats(0.5, 2),
    pitch_cents=st.floats(-2400, 2400),
    evidence_nats=st.floats(-10, 1e6),
    false_alarms_per_hour=st.floats(0) | st.just(math.nan),
    votes=st.integers(0, 10**6),
    gap_s=SECONDS,
    also_matching=st.lists(NASTY, max_size=3).map(tuple),
    quotation=st.booleans(),
    continues=st.booleans(),
)


def hit_of(play, track, stream, clock=samples.NOON):
    timebase = Timebase(position_s=play.end_s, clock=clock, source="arrival")
    return record.hit_document(
        stream=stream,
        play=play,
        track=track,
        policy=by_owner(track, Circumstances.of(stream, play, samples.NOON)),
        opening=Opening.now(play, timebase, samples.NOON),
        worker="worker-1",
        fingerprint_version=1,
        now=samples.NOON,
        place=Place(bucket="results", prefix="", stream_id=stream.stream_id),
    )


@settings(deadline=None, max_examples=150)
@given(PLAYS, st.none() | TRACKS, STREAMS, st.sampled_from([None, samples.NOON]))
def test_every_hit_is_valid_and_can_be_stored(play, track, stream, clock):
    play = replace(play, track_id=track.track_id if track else "t")

    text = dumps(hit_of(play, track, stream, clock))

    document = json.loads(text)
    HIT.validate(document)
    assert b"\x00" not in text.encode()  # nor lone surrogates: PostgreSQL takes neither
    assert "\\u0000" not in text
    assert dumps(hit_of(play, track, stream, clock)) == text
    assert Line.of(document).hit_id == play.hit_id
    if clock:
        assert Opening.of(document).started_at is not None


@pytest.mark.parametrize(
    "per_hour, written",
    [(1.23456e-9, 1.23e-9), (0.0, 1e-12), (1e300, 1e300), (1.797e308, None), (math.inf, None), (math.nan, None)],
)
def test_a_rate_that_is_no_number_once_it_is_rounded_is_left_out(per_hour, written):
    document = samples.hit(samples.play(false_alarms_per_hour=per_hour))
    assert document["score"]["false_alarms_per_hour"] == written
    HIT.validate(json.loads(dumps(document)))


@settings(deadline=None, max_examples=100)
@given(TRACKS, STREAMS, NASTY, st.sampled_from([None, samples.NOON]), st.sampled_from(["starting", "listening", "ended"]))
def test_every_summary_is_valid_and_can_be_stored(track, stream, error, clock, state):
    play = replace(samples.play(), track_id=track.track_id)
    checkpoint = samples.checkpoint(
        gaps=[Gap(begin_s=10.0, end_s=12.5, reason="late")],
        state=state,
        clock=clock,
        last_error=error,
        rendition=error,
        end_reason="endlist" if state == "ended" else None,
    )

    document = summary(checkpoint, stream=stream, plays=[Line.of(hit_of(play, track, stream, clock))])

    STREAM.validate(json.loads(dumps(document)))


def summary(checkpoint, *, stream=samples.STREAM, plays=(), place=samples.PLACE):
    return record.stream_document(
        stream=stream, checkpoint=checkpoint, plays=plays, worker="worker-1", fingerprint_version=1, updated_at=samples.NOON, place=place
    )


def test_the_schemas_require_what_is_promised():
    document = samples.hit()
    for name in list(document):
        broken = {key: value for key, value in document.items() if key != name}
        assert not HIT.is_valid(broken), f"a hit without {name} passes"
    assert not HIT.is_valid(document | {"started_at": "2026-11-21 12:00:00"})
    assert not HIT.is_valid(document | {"state": "over"})
    assert HIT.is_valid(document | {"something_new": {"of": "a later version"}})
    whole = json.loads(dumps(summary(samples.checkpoint())))
    for name in list(whole):
        assert not STREAM.is_valid({key: value for key, value in whole.items() if key != name}), f"a summary without {name} passes"


def test_a_hit_says_when_where_what_and_how_sure():
    document = samples.hit(samples.play(speed=1.03, matched_s=28.0, false_alarms_per_hour=1.23456e-9))

    assert document["started_at"] == "2026-11-21T12:01:40.000Z"
    assert document["ended_at"] is None
    assert document["query"] == {"begin_s": 100.0, "end_s": 130.0}
    assert document["reference"] == {"track_id": "isrc:GBAYE0601498", "begin_s": 10.0, "end_s": 40.0, "duration_s": 240.0}
    assert document["coverage"] == {"matched_s": 28.0, "gap_s": 0.0, "fraction_of_track": 0.1202, "foreground_share": None}
    assert document["score"]["false_alarms_per_hour"] == 1.23e-9
    assert document["track"]["artists"] == ["The Example Five", "Ada Sample"]
    assert document["policy"]["action"] == "track"
    assert document["policy"]["dry_run"] is True
    assert document["detection"] == {
        "first_heard_at": "2026-11-21T12:01:46.000Z",
        "published_at": "2026-11-21T12:01:52.000Z",
        "latency_s": 12.0,
        "clock": "program_date_time",
        "worker": "worker-1",
        "fingerprint_version": 1,
    }
    assert document["links"]["hit"] == f"s3://results/eu/st-1A2B3C/hits/{document['hit_id']}.json"


def test_a_closed_hit_lasts_as_long_by_the_wall_clock_as_in_the_stream():
    document = samples.hit(samples.play(state="closed", length_s=61.5))

    begin, end = (datetime.fromisoformat(document[name]) for name in ("started_at", "ended_at"))
    assert (end - begin).total_seconds() == document["query"]["end_s"] - document["query"]["begin_s"] == 61.5


@pytest.mark.parametrize("rate", [math.inf, math.nan])
def test_a_rate_that_is_no_number_is_null(rate):
    assert samples.hit(samples.play(false_alarms_per_hour=rate))["score"]["false_alarms_per_hour"] is None


def test_a_rate_is_never_smaller_than_the_model_can_know():
    assert samples.hit(samples.play(false_alarms_per_hour=1e-200))["score"]["false_alarms_per_hour"] == 1e-12


def test_the_summary_adds_up_and_lists_what_was_not_heard():
    gaps = [
        Gap(begin_s=20.0, end_s=24.0, reason="segment_missing"),
        Gap(begin_s=50.0, end_s=60.0, reason="origin_down"),
        Gap(begin_s=90.0, end_s=91.0, reason="segment_missing"),
    ]
    line = Line.of(samples.hit())

    document = json.loads(dumps(summary(samples.checkpoint(130.0, gaps=gaps), plays=[line])))

    assert document["coverage"] == {
        "heard_s": 115.0,
        "gap_s": 15.0,
        "total_s": 130.0,
        "unaccounted_s": 0.0,
        "fraction": 0.88462,
        "gaps": 3,
        "gap_s_by_reason": {"origin_down": 10.0, "segment_missing": 5.0},
    }
    assert document["gaps"][1] == {"begin_s": 50.0, "end_s": 60.0, "duration_s": 10.0, "started_at": "2026-11-21T12:00:50.000Z", "reason": "origin_down"}
    assert document["playing"] == [line.hit_id]
    assert document["plays"][0]["title"] == "Blue Sky Morning"
    assert document["started_at"] == "2026-11-21T11:59:55.000Z"
    assert document["heard_from_at"] == "2026-11-21T12:00:00.000Z"
    assert document["ended_at"] is None
    assert "report" not in document["links"]


def test_an_ended_summary_links_to_its_cue_sheet_and_report():
    document = summary(samples.checkpoint(state="ended", end_reason="stream_end"))

    assert document["ended_at"] == "2026-11-21T12:02:10.000Z"
    assert document["links"]["cue_sheet"] == "s3://results/eu/st-1A2B3C/cue-sheet.csv"
    assert document["links"]["cut_list"] == "s3://results/eu/st-1A2B3C/cut-list.json"
    assert document["links"]["report"] == "s3://results/eu/st-1A2B3C/report.html"


def test_a_summary_stays_small_whatever_the_origin_does():
    gaps = [Gap(begin_s=float(n), end_s=n + 0.5, reason="segment_undecodable") for n in range(5_000)]

    document = summary(samples.checkpoint(6_000.0, gaps=gaps))

    STREAM.validate(json.loads(dumps(document)))
    assert len(document["gaps"]) == record.GAPS_LISTED_MAX
    assert document["gaps"][-1]["begin_s"] == 4_999.0
    assert document["coverage"]["gaps"] == 5_000
    assert document["coverage"]["gap_s_by_reason"] == {"segment_undecodable": 2_500.0}


def test_without_a_bucket_there_are_no_links():
    assert summary(samples.checkpoint(), place=Place(bucket="", prefix="", stream_id="st"))["links"] == {}
    assert samples.hit(place=Place(bucket="", prefix="", stream_id="st"))["links"] == {}


@pytest.mark.parametrize("name", ["st-1A2B3C", "radio-one-2026-11-21", "_x", "a.b.c", "9" * 128])
def test_a_harmless_name_stays_as_it_is(name):
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..", ".", "", "a/b", "a b", "a\\b", "1234-2026-11-21T12:00:00Z", "ünï", "x" * 129, "a~b", "a\n", "%2e%2e", "\ud800"]
)
def test_any_other_name_is_folded(name):
    folded = safe_name(name)

    assert folded == safe_name(name)
    assert "~" in folded
    assert not folded.startswith((".", "/"))
    assert all(c.isascii() and (c.isalnum() or c in "._-~") for c in folded)
    assert len(folded) <= 128


@settings(max_examples=300)
@given(st.lists(NASTY | st.sampled_from(["a/b", "a-b", "a b", "a--b", "a~b"]), min_size=2, max_size=20, unique=True))
def test_different_names_never_meet(names):
    assert len({safe_name(name) for name in names}) == len(names)


def test_keys_are_those_of_the_contract():
    place = Place(bucket="b", prefix="p/", stream_id="st-1")

    assert place.stream_key == "p/st-1/stream.json"
    assert place.hit_key("abc") == "p/st-1/hits/abc.json"
    assert place.cue_sheet_key == "p/st-1/cue-sheet.csv"
    assert place.report_key == "p/st-1/report.html"
    assert Place(bucket="b", prefix="p/", stream_id="../x").stream_key.startswith("p/x~")


def test_moments_are_utc_with_z():
    moment = datetime(2026, 11, 21, 14, 0, 0, 123_456, tzinfo=timezone(timedelta(hours=2)))

    assert rfc3339(moment) == "2026-11-21T12:00:00.123Z"


@pytest.mark.parametrize("seconds, shown", [(0, "0:00"), (59.6, "1:00"), (3599.4, "59:59"), (3_600, "1:00:00"), (90_061, "25:01:01"), (-1, "0:00")])
def test_clock_time(seconds, shown):
    assert clock_time(seconds) == shown


def test_texts():
    assert one_line("  a\n\tb\u2028c \u202ed\x00e ") == "a b c d e"
    assert one_line("x" * 30, 10) == "x" * 9 + "…"
    assert ascii_line("Café “Müller” 東京 🎵") == "Cafe Muller"
    assert writable("a\x00b\ud800c\n") == "a\ufffdb\ufffdc\n"
    assert cleaned({"k\x00": ["a" * 30] * 30}, text_max=10, items_max=2) == {"k\ufffd": ["aaaaaaaaa…"] * 2}
