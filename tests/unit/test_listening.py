"""Which source a lease is listened to through, and what is said when there is none."""

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from earmark.audio.archive import ArchiveSource
from earmark.audio.hls import HlsSource
from earmark.audio.remainder import Remainder
from earmark.errors import AwsUnavailable, SourceUnsupported
from earmark.listening import Listening, why_unheard
from earmark.model import Checkpoint, Gap, Lease, Stream
from earmark.session import Signals, Source
from earmark.settings import Settings
from earmark.telemetry import Metrics

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
CHANNEL = "arn:aws:ivs:us-east-1:123456789012:channel/abcd"


class Ivs:
    """`Channels`, with one stream live or none."""

    def __init__(self, live=None):
        self._live = live

    def live_stream_id(self, _channel_arn):
        if isinstance(self._live, Exception):
            raise self._live
        return self._live


def source_of(lease: Lease, *, live=None) -> Source:
    listening = Listening(
        settings=Settings(),
        worker="one",
        pool=SimpleNamespace(),
        index=SimpleNamespace(),
        compute=SimpleNamespace(background=None),
        channels=Ivs(live),
        clients=SimpleNamespace(s3=SimpleNamespace()),
        metrics=Metrics.build(),
        nudge=threading.Event().set,
    )
    try:
        return listening._source(lease, Signals())
    finally:
        listening.close()


def lease(source="ivs", *, checkpoint=Checkpoint(), **changes):
    of = {"channel_arn": CHANNEL if source == "ivs" else None, **{name: changes.pop(name) for name in ("url", "channel_arn", "started_at") if name in changes}}
    return Lease(stream=Stream(stream_id="st-1", source=source, **of), owner="one", fencing=1, checkpoint=checkpoint, **changes)


@pytest.mark.parametrize(
    "of, kind",
    [
        (lease(checkpoint=Checkpoint(source_position="{}")), HlsSource),
        (lease("hls", url="https://radio.example/live.m3u8"), HlsSource),
        (lease("medialive", url="s3://archive/show"), ArchiveSource),
        (lease(stop_wanted=True), Remainder),
        (lease(stop_wanted=True, checkpoint=Checkpoint(source_position="{}")), Remainder),
    ],
    ids=["ivs", "hls", "medialive", "over", "over and half heard"],
)
def test_each_kind_of_stream_has_its_source(of, kind):
    assert isinstance(source_of(of), kind)


@pytest.mark.parametrize(
    "of, says",
    [
        (lease(channel_arn=None), "without its channel's ARN"),
        (lease("hls"), "has no URL"),
        (lease("medialive"), r"medialive\.archives"),
        (lease("file"), "kind 'file'"),
    ],
    ids=["ivs", "hls", "medialive", "file"],
)
def test_what_cannot_be_asked_for_is_said(of, says):
    with pytest.raises(SourceUnsupported, match=f"st-1.*{says}"):
        source_of(of)


def test_what_is_over_and_keeps_failing_is_given_up_by_a_session_that_closes_its_record():
    tries = Settings().leases.attempts_max
    over = {"stop_wanted": True, "checkpoint": Checkpoint(source_position="{}", clock=NOON), "over_at": NOON + timedelta(seconds=90)}
    for live in ("st-1", AwsUnavailable("IVS is away")):
        assert [(piece.duration_s, piece.reason) for piece in source_of(lease(failures=tries, **over), live=live).pieces()] == [(90, "worker_lost")]
    with pytest.raises(AwsUnavailable):
        source_of(lease(failures=tries - 1, **over), live=AwsUnavailable("IVS is away"))
    assert isinstance(source_of(lease("medialive", url="s3://archive/show", stop_wanted=True, failures=tries)), ArchiveSource)  # its files can wait
    assert isinstance(source_of(lease(failures=tries), live="st-1"), HlsSource)  # it goes on, and so do we


def test_of_a_stream_that_is_over_nothing_is_read_once_the_channels_next_one_is_on():
    half_heard = lease(stop_wanted=True, checkpoint=Checkpoint(source_position="{}", clock=NOON), over_at=NOON + timedelta(seconds=90))
    assert source_of(half_heard, live=None)._listed is not None
    assert [(piece.duration_s, piece.reason) for piece in source_of(half_heard, live="st-2").pieces()] == [(90, "worker_lost")]


def test_a_rest_that_was_given_up_before_is_not_looked_for_again():
    told = Gap(begin_s=10, end_s=100, reason="worker_lost")
    given_up = Checkpoint(source_position="{}", clock=NOON, position_s=100, gaps=(told,))
    source = source_of(lease(stop_wanted=True, checkpoint=given_up, over_at=NOON))
    assert (source._listed, list(source.pieces())) == (None, [])
    one_gap_of_many = source_of(lease(stop_wanted=True, checkpoint=given_up, over_at=NOON + timedelta(seconds=90)))
    assert one_gap_of_many._listed is not None


def test_a_stream_that_was_never_heard_is_a_gap_from_its_start_to_its_end():
    whole = {"stop_wanted": True, "started_at": NOON, "over_at": NOON + timedelta(seconds=90)}
    assert [piece.duration_s for piece in source_of(lease(**whole), live="st-2").pieces()] == [90]
    half = Checkpoint(position_s=60, gaps=(Gap(begin_s=0, end_s=60, reason="worker_lost"),))
    assert [piece.duration_s for piece in source_of(lease(**whole, checkpoint=half), live="st-2").pieces()] == [30]


@pytest.mark.parametrize(
    "checkpoint, reason",
    [
        (Checkpoint(state="listening"), "worker_lost"),
        (Checkpoint(state="listening", last_error="the origin answered 503"), "origin_down"),
        (Checkpoint(state="ended", end_reason="silent_origin"), "origin_down"),
    ],
)
def test_what_was_not_heard_between_two_runs_has_its_reason(checkpoint, reason):
    assert why_unheard(checkpoint) == reason
