"""Streams that are always wanted, and their sessions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_rows import leases_of, pass_time, row, rows, run
from earmark.control.leases import Ended
from earmark.control.static import CARRIED_ON_S, REFUSED_RETRY_S, StaticStreams, cut_at, period_begin
from earmark.model import Checkpoint, EndReason, Stream
from earmark.postgres import Pool
from earmark.settings import StaticStream

EVENING = datetime(2026, 11, 20, 23, 59, 50, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
RADIO = StaticStream(name="radio", url="https://radio.example/live.m3u8", tags={"city": "Graz"})


def _ids(pool: Pool) -> list[str]:
    return [r["stream_id"] for r in rows(pool, "select stream_id from stream order by created_at, stream_id")]


def test_each_static_stream_has_a_session_named_for_the_day(pool: Pool) -> None:
    static = StaticStreams(pool=pool, streams=[RADIO, StaticStream(name="tv", url="https://tv.example/a.m3u8")], retry_s=60)
    assert static.ensure(EVENING) == ["radio-2026-11-20", "tv-2026-11-20"]
    assert static.ensure(EVENING) == []
    (lease, _) = leases_of(pool, "one").claim(2)
    assert lease.stream.trace_id
    assert replace(lease.stream, trace_id="") == Stream(
        stream_id="radio-2026-11-20", source="hls", channel_name="radio", session_id="2026-11-20", url=RADIO.url, tags={"city": "Graz"}, started_at=EVENING
    )


def test_the_next_session_is_opened_when_the_last_was_cut(pool: Pool) -> None:
    static, one = StaticStreams(pool=pool, streams=[RADIO], retry_s=60), leases_of(pool, "one")
    static.ensure(EVENING)
    (lease,) = one.claim(1)
    assert static.ensure(MIDNIGHT + timedelta(seconds=3)) == []  # still on: its media are some seconds behind the clock
    one.release(lease, Ended("cut"))
    assert static.ensure(MIDNIGHT + timedelta(seconds=8)) == ["radio-2026-11-21"]
    assert static.ensure(MIDNIGHT + timedelta(seconds=9)) == []


def _cut_at_position(pool: Pool, static: StaticStreams, position: str) -> None:
    one = leases_of(pool, "one")
    static.ensure(EVENING)
    (lease,) = one.claim(1)
    run(pool, "update stream set checkpoint = %s", Checkpoint(position_s=86_400.0, heard_s=86_400.0, source_position=position).to_json())
    one.release(lease, Ended("cut"))


def test_the_next_session_begins_behind_the_last_segment_of_the_one_that_was_cut(pool: Pool) -> None:
    static = StaticStreams(pool=pool, streams=[RADIO], retry_s=60)
    _cut_at_position(pool, static, '{"sequence": 7}')
    static.ensure(MIDNIGHT)
    (lease,) = leases_of(pool, "two").claim(1)
    assert (lease.stream.stream_id, lease.checkpoint) == ("radio-2026-11-21", Checkpoint(source_position='{"sequence": 7}'))


def test_what_was_cut_long_ago_or_at_another_address_is_not_gone_on_with(pool: Pool) -> None:
    static = StaticStreams(pool=pool, streams=[RADIO], retry_s=60)
    _cut_at_position(pool, static, '{"sequence": 7}')
    pass_time(pool, CARRIED_ON_S + 1)
    static.ensure(MIDNIGHT)
    (late,) = leases_of(pool, "two").claim(1)
    assert late.checkpoint == Checkpoint()
    run(pool, "delete from stream where stream_id = 'radio-2026-11-21'")
    pass_time(pool, -CARRIED_ON_S)
    moved = StaticStreams(pool=pool, streams=[RADIO.model_copy(update={"url": "https://other.example/live.m3u8"})], retry_s=60)
    moved.ensure(MIDNIGHT)
    (elsewhere,) = leases_of(pool, "three").claim(1)
    assert elsewhere.checkpoint == Checkpoint()


@pytest.mark.parametrize("reason, again", [("silent_origin", True), ("not_live", True), ("endlist", False), ("failed", False)])
def test_a_session_whose_origin_was_silent_is_tried_again(pool: Pool, reason: EndReason, again: bool) -> None:
    static, one = StaticStreams(pool=pool, streams=[RADIO], retry_s=60), leases_of(pool, "one")
    static.ensure(EVENING)
    one.release(one.claim(1)[0], Ended(reason))
    assert static.ensure(EVENING) == []
    pass_time(pool, 61)
    assert static.ensure(EVENING) == (["radio-2026-11-20"] if again else [])
    assert len(one.claim(1)) == again


def test_a_session_that_could_not_be_listened_to_is_tried_again_some_time(pool: Pool) -> None:
    """A playlist that was a maintenance page for a minute: nobody would listen for the rest of the day."""
    static, one = StaticStreams(pool=pool, streams=[RADIO], retry_s=60), leases_of(pool, "one")
    static.ensure(EVENING)
    one.release(one.claim(1)[0], Ended("failed"))
    pass_time(pool, REFUSED_RETRY_S + 1)
    assert static.ensure(EVENING) == ["radio-2026-11-20"]


def test_a_session_that_somebody_stopped_stays_stopped(pool: Pool) -> None:
    static, one = StaticStreams(pool=pool, streams=[RADIO], retry_s=60), leases_of(pool, "one")
    static.ensure(EVENING)
    run(pool, "update stream set stop_at = now()")
    one.release(one.claim(1)[0], Ended("silent_origin"))
    pass_time(pool, 61)
    assert static.ensure(EVENING) == []


def test_several_sessions_a_day_are_named_for_their_hour(pool: Pool) -> None:
    static = StaticStreams(pool=pool, streams=[RADIO], max_s=21_600, retry_s=60)
    static.ensure(EVENING)
    assert _ids(pool) == ["radio-20261120T180000Z"]
    run(pool, "update stream set state = 'ended', ended_at = now(), end_reason = 'cut'")
    static.ensure(MIDNIGHT)
    assert _ids(pool)[1:] == ["radio-2026-11-21"]


def test_a_medialive_session_that_is_cut_goes_on_in_another_with_what_was_not_heard(pool: Pool) -> None:
    run(
        pool,
        """
        insert into stream (stream_id, source, channel_arn, url, started_at, wanted_at)
        values ('7-20261120T180000Z', 'medialive', 'arn', 's3://b/p', %s, now())""",
        EVENING,
    )
    run(pool, "insert into inbox (stream_id, bucket, key, heard_at) values ('7-20261120T180000Z', 'b', 'p.000000.ts', now())")
    run(pool, "insert into inbox (stream_id, bucket, key) values ('7-20261120T180000Z', 'b', 'p.000001.ts')")
    run(pool, "update stream set checkpoint = %s", Checkpoint(position_s=60.0, heard_s=60.0, source_position='{"counter": 1}').to_json())
    one = leases_of(pool, "one")
    one.release(one.claim(1)[0], Ended("cut"))
    (lease,) = one.claim(1)
    following = lease.stream
    assert lease.checkpoint == Checkpoint(source_position='{"counter": 1}')  # a file that was heard in part is not heard again from its beginning
    assert following.stream_id.startswith("7-2")
    assert following.stream_id != "7-20261120T180000Z"
    assert (following.source, following.channel_arn, following.url) == ("medialive", "arn", "s3://b/p")
    assert following.started_at == row(pool, "7-20261120T180000Z")["ended_at"]
    moved = {r["key"]: r["stream_id"] for r in rows(pool, "select * from inbox")}
    assert moved == {"p.000000.ts": "7-20261120T180000Z", "p.000001.ts": following.stream_id}


@given(at=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)), max_s=st.floats(60, 200_000))  # noqa: DTZ001
def test_a_cut_is_a_multiple_of_its_length_since_midnight_and_never_beyond_the_day(at: datetime, max_s: float) -> None:
    cut = cut_at(Stream(stream_id="x", source="hls", started_at=at), max_s)
    assert cut is not None
    assert at < cut <= at + timedelta(seconds=max_s)
    assert cut <= datetime(at.year, at.month, at.day, tzinfo=UTC) + timedelta(days=1)
    assert period_begin(at, max_s) <= at
    assert cut_at(Stream(stream_id="x", source="hls", started_at=period_begin(at, max_s)), max_s) == cut


def test_what_has_an_end_of_its_own_is_not_cut() -> None:
    assert cut_at(Stream(stream_id="x", source="ivs", started_at=EVENING)) is None
    assert cut_at(Stream(stream_id="x", source="file", started_at=EVENING)) is None
    assert cut_at(Stream(stream_id="x", source="medialive", started_at=EVENING)) == MIDNIGHT
    assert cut_at(Stream(stream_id="x", source="radio", started_at=EVENING)) == MIDNIGHT
