"""The canary without a world around it: its recording, what is on air, and which hits pass for the right one."""

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import av
import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hits_samples as samples
from earmark.audio.playlist import MediaPlaylist, parse
from earmark.canary.broadcast import HEARD_S, LEAD_S, TAIL_S, Broadcast, Coded, broadcast
from earmark.canary.judgement import EDGE_S, PLACE_S, SCORE_NATS_MIN, Expected, wrong_with
from earmark.canary.recording import DURATION_S, RATE_HZ, TRACK, made, other_samples, recording_samples
from earmark.fingerprint.window import fingerprint
from earmark.hearing import Hearing, drive
from earmark.hits.record import Opening, Place, Timebase, hit_document, stream_document
from earmark.hits.rights import Circumstances, by_owner
from earmark.identification import Match, default_threshold_nats, identify
from earmark.model import AudioChunk, Float32, MatchParams, Stream
from earmark.reserved import CANARY, is_canary
from hearing_sounds import at_8_khz, catalogue

BEGAN_AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ON_AIR = Broadcast(begin_s=LEAD_S, end_s=LEAD_S + HEARD_S, reference_begin_s=7.5, segments=(Coded(name="0.ts", data=b"", begin_s=0, end_s=2),))


@pytest.fixture(scope="module")
def on_air() -> Broadcast:
    return broadcast("20261122T120000Z-abc123")


def sound_of(on_air: Broadcast) -> Float32:
    heard = []
    for segment in on_air.segments:
        with av.open(BytesIO(segment.data), format="mpegts") as container:
            heard += [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(heard)


def test_what_is_on_air_is_the_recording_from_where_it_is_said_to_begin(on_air: Broadcast) -> None:
    decoded = sound_of(on_air)
    assert len(decoded) / RATE_HZ == pytest.approx(on_air.duration_s, abs=0.05)
    assert on_air.duration_s == pytest.approx(LEAD_S + HEARD_S + TAIL_S, abs=0.1)
    part, begin = decoded[round((LEAD_S + 2) * RATE_HZ) :][:RATE_HZ], round((on_air.reference_begin_s + 2) * RATE_HZ)
    lags = range(-4_096, 4_097, 32)
    likeness = [np.corrcoef(part, recording_samples()[begin - lag :][: len(part)])[0, 1] for lag in lags]
    assert max(likeness) > 0.95
    assert abs(lags[int(np.argmax(likeness))]) <= 2 * 1_024  # the encoder's delay


def test_each_round_plays_another_part_of_it_which_is_heard_from_its_begin_to_its_end(on_air: Broadcast) -> None:
    assert broadcast("20261122T120000Z-abc123") == on_air
    index, begins = catalogue(canary=at_8_khz(recording_samples(), RATE_HZ)), set()
    for played in (on_air, broadcast("one"), broadcast("two"), broadcast("three")):
        begins.add(played.reference_begin_s)
        hearing, samples, plays = Hearing(params=MatchParams(), size=index.size(), stream_id="x", source="hls"), at_8_khz(sound_of(played), RATE_HZ), {}
        for begin in range(0, len(samples), 8_000):
            plays |= {
                play.hit_id: play for play in drive(hearing.push(AudioChunk(samples=samples[begin : begin + 8_000], start_s=begin / 8_000)), index.answer)
            }
        plays |= {play.hit_id: play for play in drive(hearing.flush(), index.answer)}
        (play,) = plays.values()
        assert play.begin_s == pytest.approx(played.begin_s, abs=EDGE_S)
        assert play.end_s == pytest.approx(played.end_s, abs=EDGE_S)
        assert play.reference_begin_s - (play.begin_s - played.begin_s) == pytest.approx(played.reference_begin_s, abs=0.1)
        assert play.evidence_nats > 2 * SCORE_NATS_MIN
    assert len(begins) == 4
    assert all(0 <= begin_s <= DURATION_S - HEARD_S for begin_s in begins)


def test_its_playlist_grows_as_time_goes_and_ends(on_air: Broadcast) -> None:
    assert on_air.due(0.0) == 0
    assert on_air.due(on_air.segments[0].end_s) == 1
    listed = parse(on_air.playlist(2, began_at=BEGAN_AT), "s3://bucket/live.m3u8")
    assert isinstance(listed, MediaPlaylist)
    assert [segment.url.rpartition("/")[2] for segment in listed.segments] == ["00000.ts", "00001.ts"]
    assert not listed.ended
    assert listed.segments[1].clock == BEGAN_AT + timedelta(milliseconds=round(1_000 * on_air.segments[1].begin_s))
    everything = parse(on_air.playlist(on_air.due(1_000.0), began_at=BEGAN_AT), "s3://bucket/live.m3u8")
    assert isinstance(everything, MediaPlaylist)
    assert everything.ended
    assert len(everything.segments) == len(on_air.segments)


def test_its_recording_is_recognised_and_what_is_around_it_is_not() -> None:
    recording = made()
    assert recording.track == TRACK
    assert recording.content_sha256 == made().content_sha256
    assert len(recording.postings) > 1_000
    index, params = catalogue(canary=at_8_khz(recording_samples(), RATE_HZ)), MatchParams()
    nats = default_threshold_nats(params, index.size())

    def found(sound: Float32) -> list[Match]:
        heard = at_8_khz(sound, RATE_HZ)
        return drive(identify(fingerprint(heard), len(heard) / 8_000, params=params, size=index.size(), threshold_nats=nats), index.answer)

    assert found(other_samples(LEAD_S + TAIL_S)) == []
    (match,) = found(recording_samples()[: 5 * RATE_HZ])
    assert match.reference_begin_s - match.begin_s == pytest.approx(0, abs=0.1)


# ------------------------------------------------------------------------------------------------ judging


def hit(*, late_s: float = 0.0, over_s: float = 0.0, off_s: float = 0.0, **changed: Any) -> dict[str, Any]:
    """Of ON_AIR, as far as it is judged."""
    began_at = BEGAN_AT + timedelta(seconds=ON_AIR.begin_s + late_s)
    return {
        "state": "closed",
        "stream": {"canary": True},
        "reference": {"track_id": TRACK.track_id, "begin_s": ON_AIR.reference_begin_s + late_s + off_s},
        "score": {"evidence_nats": 2 * SCORE_NATS_MIN},
        "started_at": began_at.isoformat(),
        "ended_at": (BEGAN_AT + timedelta(seconds=ON_AIR.end_s + over_s)).isoformat(),
        **changed,
    }


def wrong(*hits: dict[str, Any], claimed_s: float = 0.5) -> str:
    return wrong_with({str(n): one for n, one in enumerate(hits)}, Expected(broadcast=ON_AIR, began_at=BEGAN_AT, claimed_s=claimed_s))


@given(late_s=st.floats(-3, 3), over_s=st.floats(-3, 3), off_s=st.floats(-3, 3))
def test_edges_count_as_right_within_two_seconds_and_the_place_within_one(late_s: float, over_s: float, off_s: float) -> None:
    off = [abs(late_s) - EDGE_S, abs(over_s) - EDGE_S, abs(off_s) - PLACE_S]
    right = max(off) <= 0
    assert min(map(abs, off)) < 1e-3 or (wrong(hit(late_s=late_s, over_s=over_s, off_s=off_s)) == "") is right


def test_a_stream_that_was_claimed_late_may_be_heard_late_and_in_the_right_place() -> None:
    assert wrong(hit(late_s=5.0), claimed_s=LEAD_S + 5) == ""
    assert "beside where it began" in wrong(hit(late_s=5.0), claimed_s=LEAD_S)
    assert "beside that of the recording" in wrong(hit(late_s=5.0, off_s=4.0), claimed_s=LEAD_S + 5)


@pytest.mark.parametrize(
    "hits, says",
    [
        ([], "there are 0 hits"),
        ([hit(), hit()], "there are 2 hits where one was to be: canary:recording, canary:recording"),
        ([hit(reference={"track_id": "isrc:X", "begin_s": 0.0})], "isrc:X was heard, and canary:recording was on air"),
        ([hit(stream={})], "does not say that it is a canary's"),
        ([hit(started_at=None)], "its hit has no times"),
        ([hit(score={"evidence_nats": 12.0})], "its evidence is 12 nats, less than"),
    ],
)
def test_what_is_wrong_with_a_hit_is_one_sentence(hits: list[dict[str, Any]], says: str) -> None:
    assert says in wrong(*hits)


# ------------------------------------------------------------------------------------------------ marked


def test_hits_and_summaries_of_a_canary_say_so_and_lie_apart() -> None:
    stream, place = (
        Stream(stream_id=f"{CANARY}20261122T120000Z-abc123", source="hls"),
        Place(bucket="b", prefix="eu/", stream_id=f"{CANARY}20261122T120000Z-abc123"),
    )
    play, timebase = samples.play(), Timebase.of(samples.checkpoint())
    document = hit_document(
        stream=stream,
        play=play,
        track=None,
        policy=by_owner(None, Circumstances.of(stream, play, samples.NOON)),
        opening=Opening.now(play, timebase, samples.NOON),
        worker="one",
        fingerprint_version=2,
        now=samples.NOON,
        place=place,
    )
    samples.validator("hit").validate(document)
    assert document["stream"]["canary"] is True
    assert place.hit_key("H") == "eu/canary/20261122T120000Z-abc123/hits/H.json"
    summary = stream_document(
        stream=stream, checkpoint=samples.checkpoint(), plays=[], worker="one", fingerprint_version=2, updated_at=samples.NOON, place=place
    )
    samples.validator("stream").validate(summary)
    assert summary["stream"]["canary"] is True
    with pytest.raises(jsonschema.ValidationError):
        samples.validator("hit").validate({**document, "stream": {**document["stream"], "canary": False}})
    assert not is_canary(samples.STREAM.stream_id)
