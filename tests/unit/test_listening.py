"""Which source a lease is listened to through, and what is said when there is none."""

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from earmark.audio.archive import ArchiveSource
from earmark.audio.hls import HlsSource
from earmark.audio.remainder import Remainder
from earmark.errors import AwsUnavailable, SourceUnsupported
from earmark.listening import Listening, Over, why_unheard
from earmark.model import Checkpoint, Lease, Stream
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
        compute=SimpleNamespace(),
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
    of = {"channel_arn": CHANNEL if source == "ivs" else None, **{name: changes.pop(name) for name in ("url", "channel_arn") if name in changes}}
    return Lease(stream=Stream(stream_id="st-1", source=source, **of), owner="one", fencing=1, checkpoint=checkpoint, **changes)


@pytest.mark.parametrize(
    "of, kind",
    [
        (lease(checkpoint=Checkpoint(source_position="{}")), HlsSource),
        (lease("hls", url="https://radio.example/live.m3u8"), HlsSource),
        (lease("medialive", url="s3://archive/show"), ArchiveSource),
        (lease(stop_wanted=True), Over),
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
    for live in ("st-1", AwsUnavailable("IVS is away")):
        with pytest.raises(SourceUnsupported, match=f"st-1 is over, and {tries} tries"):
            source_of(lease(stop_wanted=True, failures=tries), live=live)
    with pytest.raises(AwsUnavailable):
        source_of(lease(stop_wanted=True, failures=tries - 1), live=AwsUnavailable("IVS is away"))
    assert isinstance(source_of(lease(stop_wanted=True, failures=tries)), Over)  # nothing is left to be heard
    assert isinstance(source_of(lease("medialive", url="s3://archive/show", stop_wanted=True, failures=tries)), ArchiveSource)  # its files can wait
    assert isinstance(source_of(lease(failures=tries), live="st-1"), HlsSource)  # it goes on, and so do we


def test_of_a_stream_that_is_over_nothing_is_read_once_the_channels_next_one_is_on():
    half_heard = lease(stop_wanted=True, checkpoint=Checkpoint(source_position="{}", clock=NOON), over_at=NOON + timedelta(seconds=90))
    assert source_of(half_heard, live=None)._listed is not None
    assert [(piece.duration_s, piece.reason) for piece in source_of(half_heard, live="st-2").pieces()] == [(90, "worker_lost")]


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
