"""What Amazon IVS has recorded, heard: in place of a stream's playback, where a stream's session had gaps, a whole archive.

    a live stream      audio.landing ─▶ the stream's own session (`earmark.listening`)
    its gaps           audio.missed  ─▶ session, in the background ─▶ hits.recovered ─▶ the record of the stream
    a whole recording  audio.landing ─▶ session, in the background ─▶ hits.ledger

What has been recorded has no hurry: it is computed in the time that live streams leave, and stays where it is meanwhile.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Literal, Protocol

import structlog

from earmark.audio.landing import LandingSource
from earmark.audio.missed import EARLIER_S, MissedSource
from earmark.audio.recording import Recording
from earmark.audio.refused import RefusedSource
from earmark.audio.shelves import recordings as shelved
from earmark.control import recordings
from earmark.control.channels import Channels
from earmark.control.recordings import Parent
from earmark.errors import AwsRefused, AwsUnavailable, EarmarkError, LeaseLost, SourceUnsupported, StreamNotFound
from earmark.fingerprint.kept import Keeper
from earmark.hits.audit import nothing
from earmark.hits.kept import KeptRows
from earmark.hits.ledger import Ledger
from earmark.hits.proof.clips import Clips
from earmark.hits.recovered import RecoveredLedger
from earmark.model import EndReason, GapReason, Lease, Play, Stream
from earmark.postgres import statement, transaction
from earmark.session import Session, Signals, Source
from earmark.settings import Alerts
from earmark.unhurried import Unhurried, now

#: Between two looks whether a recording has turned up: at the database, and (a listing or more) into the bucket.
LOOK_S, LIST_S = 2.0, 15.0
#: A recording may have begun a little before its stream, by IVS's clocks.
BEGAN_BEFORE = timedelta(minutes=2)
#: Runs in a row that failed, with a minute between the last ones: what was refused so long is given up, and said to be.
GIVEN_UP = 10


class Meter(Protocol):
    """What is counted of recordings: `telemetry`."""

    def recorded(self, of: Literal["stream", "gap", "archive"], *, media_s: float) -> None: ...
    def recording_asked(self, operation: Literal["get", "list"]) -> None: ...
    def recording_absent(self) -> None: ...
    def heard(self, *, media_s: float, lag_s: float | None, clock_lag_s: float | None) -> None: ...
    def missed(self, *, media_s: float, reason: GapReason) -> None: ...
    def asked_database(self, *, media_s: float) -> None: ...
    def told(self, play: Play, *, latency_s: float) -> None: ...
    def music(self, *, media_s: float, identified: bool) -> None: ...


class Recorded:
    """What the sessions of a worker that hear recordings share."""

    def __init__(self, unhurried: Unhurried, *, channels: Channels, meter: Meter, clock: Callable[[], float] = time.monotonic) -> None:
        self._unhurried, self._settings, self._pool = unhurried, unhurried.settings, unhurried.pool
        self._channels, self._meter, self._clock = channels, meter, clock
        self._log = structlog.get_logger()

    # -------------------------------------------------------------------------------------------- in place of a stream

    def instead(self, lease: Lease, signals: Signals) -> Lease:
        """The lease of a stream that is to be heard from its recording as one of that recording, once it has turned up; else as it is.

        Raises LeaseLost, DatabaseUnavailable.
        """
        stream = lease.stream
        if stream.source != "ivs" or not stream.channel_arn or lease.checkpoint.source_position or self._way(stream.channel_arn) == "playback":
            return lease
        place = self._turned_up(lease, stream.channel_arn, signals)
        if place is None:
            if not signals.leaving:
                self._meter.recording_absent()
                self._log.warning("recording.absent", channel_arn=stream.channel_arn, waited_s=self._settings.auto_record.wait_s, instead="playback")
            return lease
        changed = replace(stream, source="recording", url=place)
        with transaction(self._pool) as connection:
            if not recordings.hear_instead(connection, changed, fencing=lease.fencing):
                raise LeaseLost(f"the stream {stream.stream_id} is another worker's by now")
        self._log.info("recording.chosen", place=place)
        return replace(lease, stream=changed)

    def source(self, lease: Lease, signals: Signals) -> LandingSource:
        """Of a stream that is heard from its recording as it lands."""
        stream, channel_arn = lease.stream, lease.stream.channel_arn or ""
        return self._landing(lease, signals, has_ended=lambda: self._ended(stream.url or ""), live=lambda: self._channels.live_stream_id(channel_arn))

    def meter(self, stream: Stream) -> "Meter | RecordingMeter":
        """Of a live stream, whatever it is heard from."""
        return RecordingMeter(self._meter, "stream") if stream.source == "recording" else self._meter

    def _way(self, channel_arn: str) -> Literal["playback", "recording"]:
        """As the settings say of the channel, or its tag, or the settings of all."""
        settings = self._settings.auto_record
        named = settings.channels.get(channel_arn) or settings.channels.get(channel_arn.rpartition("/")[2])
        if named:
            return named
        try:
            tag = self._channels.channel(channel_arn).tags.get("earmark:source")
        except (AwsRefused, AwsUnavailable, StreamNotFound):
            tag = None  # playing it will fail for the same reason, in sight of everybody
        return "recording" if tag == "recording" else "playback" if tag == "playback" else settings.source

    def _turned_up(self, lease: Lease, channel_arn: str, signals: Signals) -> str | None:
        """Where segments of the stream have landed; None: nowhere, so far."""
        until = self._clock() + (0.0 if lease.stop_wanted else self._settings.auto_record.wait_s)
        list_at, place, recorded = self._clock(), None, True
        while not signals.leaving:
            with statement(self._pool) as connection:
                told = recordings.told(connection, lease.stream.stream_id)
            place = told.place if told else place
            if place is None and self._clock() >= list_at:
                list_at = self._clock() + LIST_S
                recorded, place = self._listed(channel_arn, lease.stream.started_at)
            if place and self._has_landed(place):
                return place
            if self._clock() >= until or not (recorded or place) or signals.stop is not None:
                return None
            signals.wait(min(LOOK_S, max(0.05, until - self._clock())))
        return None

    def _listed(self, channel_arn: str, started_at: datetime | None) -> tuple[bool, str | None]:
        """Whether the channel is recorded, as far as is known; and the first recording in its bucket since the stream began."""
        try:
            bucket = self._channels.recording_bucket(channel_arn)
            if bucket is None or started_at is None:
                return bucket is not None, None
            account, channel_id = channel_arn.split(":")[4], channel_arn.rpartition("/")[2]
            root = self._recording(f"s3://{bucket}/ivs/v1/{account}/{channel_id}")
            return True, next(shelved(root, since=started_at - BEGAN_BEFORE, until=None), None)
        except (AwsRefused, AwsUnavailable, StreamNotFound, SourceUnsupported) as error:
            self._log.warning("recording.not_looked_for", channel_arn=channel_arn, why=str(error))
            return True, None

    def _has_landed(self, place: str) -> bool:
        recording = self._recording(place)
        try:
            rendition = recording.rendition(recording.about(), audio_kbps_min=self._settings.hls.audio_kbps_min)
            return rendition is not None and recording.naming(rendition) is not None
        except (AwsRefused, AwsUnavailable, SourceUnsupported) as error:
            self._log.warning("recording.not_looked_for", place=place, why=str(error))
            return False

    def _ended(self, place: str) -> bool:
        with statement(self._pool) as connection:
            return recordings.ended(connection, place)

    # -------------------------------------------------------------------------------------------- in the background

    def is_background(self, lease: Lease) -> bool:
        if lease.stream.source != "recording":
            return False
        with statement(self._pool) as connection:
            return recordings.is_background(connection, lease.stream.stream_id)

    def listen(self, lease: Lease, signals: Signals) -> EndReason | None:
        """A session in the background: why it is over, or None when it is handed over. Raises as `Session.run`."""
        with statement(self._pool) as connection:
            parent = recordings.parent_of(connection, lease.stream.stream_id)
        if parent is not None and not parent.ended:
            self._log.info("recording.put_off", parent=parent.stream.stream_id)
            return "not_live"  # opened again when its parent has ended
        try:
            return self._session(lease, parent, self._source(lease, parent, signals), signals).run()
        except EarmarkError as error:
            self._log.info("recording.interrupted", place=lease.stream.url, why=str(error))
            raise

    def _source(self, lease: Lease, parent: Parent | None, signals: Signals) -> Source:
        if lease.failures >= GIVEN_UP:
            why = lease.checkpoint.last_error or "nobody said why"
            return RefusedSource(
                SourceUnsupported(f"the recording {lease.stream.url} could not be heard in {lease.failures} tries, the last time because: {why}")
            )
        if parent is None:
            return self._landing(lease, signals, finished=True)
        if parent.clock is None:
            return RefusedSource(SourceUnsupported(f"nothing says when the media of {parent.stream.stream_id} were: its gaps cannot be found in a recording"))
        clock, position_s = parent.clock, parent.position_s
        return MissedSource(
            recording=self._recording(lease.stream.url or ""),
            gaps=parent.gaps,
            at_s=lambda at: position_s - (clock - at).total_seconds(),
            lead_in_s=self._settings.auto_record.lead_in_s,
            audio_kbps_min=self._settings.hls.audio_kbps_min,
            signals=signals,
            now=now,
            resume_s=lease.checkpoint.position_s,
        )

    def _session(self, lease: Lease, parent: Parent | None, source: Source, signals: Signals) -> Session:
        meter = RecordingMeter(self._meter, "gap" if parent else "archive")
        keeper = self._unhurried.keeper(lease, wanted=parent is not None or self._settings.hunt.keep_archives)
        clips = self._unhurried.clips(lease, signals, keeper, earlier_s=EARLIER_S if parent else 0.0)
        recorder = self._ledger(lease, parent, signals, keeper, clips)
        return self._unhurried.session(lease, source=source, recorder=recorder, signals=signals, meter=meter, hurry=True, keeper=keeper, clips=clips)

    def _ledger(self, lease: Lease, parent: Parent | None, signals: Signals, keeper: Keeper | None, clips: Clips | None) -> Ledger:
        settings, shared = self._settings, self._unhurried
        ledger: Callable[..., Ledger] = Ledger
        if parent:
            ledger = partial(
                RecoveredLedger,
                parent=parent.stream,
                gaps=parent.gaps,
                earlier_s=EARLIER_S,
                confirm_s=settings.matching.confirm_s,
                leaving=lambda: signals.leaving,
            )
        return ledger(
            pool=shared.pool,
            lease=lease,
            tracks=shared.tracks,
            results=settings.results,
            alerts=settings.alerts if parent or settings.auto_record.archive_alerts else Alerts(),
            nudge=shared.nudge,
            now=now,
            kept=_kept(lease, parent, keeper) if keeper else None,
            decide=shared.decide,
            act=shared.act if parent or settings.auto_record.archive_alerts else nothing,
            cuts=settings.cuts,
            evidence=settings.evidence,
            clips=clips,
        )

    # -------------------------------------------------------------------------------------------- parts

    def _landing(
        self,
        lease: Lease,
        signals: Signals,
        *,
        finished: bool = False,
        has_ended: Callable[[], bool] = lambda: False,
        live: Callable[[], str | None] | None = None,
    ) -> LandingSource:
        stream_id = lease.stream.stream_id
        return LandingSource(
            recording=self._recording(lease.stream.url or ""),
            signals=signals,
            settings=self._settings.auto_record,
            audio_kbps_min=self._settings.hls.audio_kbps_min,
            finished=finished,
            has_ended=has_ended,
            still_live=None if live is None else lambda: live() == stream_id,
            silent_s=self._settings.session.silent_origin_s,
            resume=lease.checkpoint.source_position,
        )

    def _recording(self, place: str) -> Recording:
        return Recording(s3=self._unhurried.s3(), place=place, bytes_max=self._settings.hls.segment_bytes_max, asked=self._meter.recording_asked)


def _kept(lease: Lease, parent: Parent | None, keeper: Keeper) -> KeptRows:
    """What fills gaps is kept as the stream's own."""
    if parent is None:
        return KeptRows(stream_id=lease.stream.stream_id, keeper=keeper)
    return KeptRows(stream_id=parent.stream.stream_id, keeper=keeper, earlier_s=EARLIER_S)


class RecordingMeter:
    """A session that hears a recording counts: what of it is no live stream's, is not late, and is nobody's outage."""

    def __init__(self, meter: Meter, of: Literal["stream", "gap", "archive"]) -> None:
        self._meter, self._of = meter, of

    def heard(self, *, media_s: float, lag_s: float | None, clock_lag_s: float | None) -> None:
        self._meter.recorded(self._of, media_s=media_s)
        if self._of == "stream":
            self._meter.heard(media_s=media_s, lag_s=lag_s, clock_lag_s=clock_lag_s)
        else:
            self._meter.asked_database(media_s=media_s)

    def missed(self, *, media_s: float, reason: GapReason) -> None:
        if self._of == "stream":
            self._meter.missed(media_s=media_s, reason=reason)

    def told(self, play: Play, *, latency_s: float) -> None:
        self._meter.told(play, latency_s=latency_s)

    def music(self, *, media_s: float, identified: bool) -> None:
        if self._of == "stream":
            self._meter.music(media_s=media_s, identified=identified)
