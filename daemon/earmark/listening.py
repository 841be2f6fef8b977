"""One lease to one session: which source, from where, with which decoder, onto which record."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from earmark.actions import composing
from earmark.actions.acting import Acting
from earmark.actions.wanted import carried_out
from earmark.audio import station
from earmark.audio.archive import ArchiveSource
from earmark.audio.bucket import Bucket, address_of
from earmark.audio.decode import Failure, Fifos, StreamDecoder
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard
from earmark.audio.hls import Gets, HlsSource
from earmark.audio.objects import S3Objects
from earmark.audio.order import ArchiveItem
from earmark.audio.radio import RadioSource
from earmark.audio.refused import RefusedSource
from earmark.audio.remainder import GAP_LEAST, Remainder
from earmark.aws import Clients
from earmark.check import Checking
from earmark.compute import Compute
from earmark.control.channels import Channels
from earmark.control.inbox import Inbox
from earmark.control.leases import Ended, HandedOver, Outcome
from earmark.control.playback import IF_FORBIDDEN
from earmark.control.static import cut_at
from earmark.decoys import Decoys
from earmark.errors import Permanent, SourceUnsupported, StreamNotFound
from earmark.excerpts import excerpts
from earmark.fingerprint.kept import Keeper
from earmark.fingerprint.window import Scratch
from earmark.hearing import Hearing
from earmark.hits.kept import KeptRows
from earmark.hits.ledger import Ledger
from earmark.hits.positions import Positions
from earmark.hits.reconsidering import reconsidering
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.model import Checkpoint, EndReason, GapReason, Lease, Stream
from earmark.policies.file import deciding, moments
from earmark.postgres import Pool
from earmark.recorded import Recorded
from earmark.reserved import is_canary
from earmark.session import Meter, Session, Signals, Source
from earmark.settings import Settings
from earmark.telemetry import CanaryMeter, CountedCatalogue, Metrics, ViewingMeter
from earmark.unhurried import Unhurried
from earmark.web.addresses import host_of

#: A MediaLive archive file's longest rollover; the HLS limit is for segments of a live stream.
ARCHIVE_S_MAX = 3_600.0
#: Parts of archive files that are in memory at once with their video, of up to archive.PART_BYTES each.
PARTS_MAX = 6
#: So often the origin of a stream that is over is asked for what it may list still.
REMAINDER_TRIES = 3


class Listening:
    """What all sessions of a worker share; `listen` is one session, on the thread that calls it."""

    def __init__(
        self,
        *,
        settings: Settings,
        worker: str,
        pool: Pool,
        index: Index,
        compute: Compute,
        channels: Channels,
        clients: Clients,
        metrics: Metrics,
        nudge: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._pool = pool
        self._index = index
        self._compute = compute
        self._channels = channels
        self._clients = clients
        self._metrics = metrics
        self._nudge = nudge
        self._tracks = Tracks(pool=pool)
        self._positions = Positions(pool=pool, worker=worker)
        self._counted = CountedCatalogue(index, metrics=metrics)
        self._http = Http(settings=settings.hls, guard=Guard(settings=settings.hls), streams_max=settings.leases.streams_max, fetched=metrics.fetched)
        # Work arrays of the compute thread, which alone touches them.
        self._scratch = Scratch()
        offers = composing.offers(settings)
        decide = deciding(settings.policy.file, s3=lambda: clients.s3)
        self._decide, self._act, self._moments = carried_out(decide, offers), Acting(offers, meter=metrics), moments(decide)
        unhurried = Unhurried(
            settings=settings,
            pool=pool,
            s3=lambda: clients.s3,
            catalogue=self._counted,
            tracks=self._tracks,
            compute=compute.background,
            scratch=self._scratch,
            nudge=nudge,
            decide=self._decide,
            act=self._act,
            meter=metrics,
        )
        self._decoys = Decoys(
            share=settings.decoys.share,
            params=settings.matching.params(),
            catalogue=self._counted,
            compute=compute.background,
            meter=metrics,
        )
        self._checking = Checking(unhurried, meter=metrics)
        self._recorded = Recorded(unhurried, channels=channels, meter=metrics)
        self._fifos = Fifos()
        self._turns = threading.BoundedSemaphore(PARTS_MAX)
        self._log = structlog.get_logger()

    def open(self) -> "Listening":
        self._positions.start()
        return self

    def close(self) -> None:
        self._decoys.close()
        self._positions.close()
        self._http.close()

    def listen(self, lease: Lease, signals: Signals) -> Outcome:
        """Raises what ends the session early; see `earmark.session.Session`."""
        if lease.stream.source == "file":
            reason = self._checking.listen(lease, signals)
        elif self._recorded.is_background(lease):
            reason = self._recorded.listen(lease, signals)
        else:
            reason = self._live(self._recorded.instead(lease, signals), signals)
        return HandedOver() if reason is None else Ended(reason=reason)

    def _live(self, lease: Lease, signals: Signals) -> EndReason | None:
        try:
            source = self._source(lease, signals)
        except Permanent as error:
            source = RefusedSource(error)
        return self._session(lease, signals, source).run()

    def _session(self, lease: Lease, signals: Signals, source: Source) -> Session:
        settings, stream = self._settings, lease.stream
        canary = is_canary(stream.stream_id)
        keeper = Keeper() if settings.hunt.keep_days and not canary else None
        beside = self._decoys.beside(stream.stream_id, keep=keeper.run if keeper else None, plays=lease.checkpoint.plays, wanted=not canary)
        clips = excerpts(settings, lease, keep=beside.run, told=beside.told, leaving=lambda: signals.leaving, meter=self._metrics)
        return Session(
            checkpoint=lease.checkpoint,
            source=source,
            decoder=StreamDecoder(
                segment_s_max=ARCHIVE_S_MAX if stream.source == "medialive" else settings.hls.segment_s_max,
                start_s=lease.checkpoint.position_s,
                fifos=self._fifos,
                failed=self._not_decoded(stream),
            ),
            hearing=Hearing(
                params=settings.matching.params(),
                size=self._index.size(),
                stream_id=stream.stream_id,
                source=stream.source,
                plays=lease.checkpoint.plays,
                scratch=self._scratch,
                spare=self._spare,
                keep=(clips or beside).run,
                told=(clips or beside).told,
            ),
            catalogue=self._counted,
            recorder=reconsidering(
                Ledger(
                    pool=self._pool,
                    lease=lease,
                    tracks=self._tracks,
                    results=settings.results,
                    alerts=settings.alerts,
                    nudge=self._nudge,
                    now=_now,
                    positions=self._positions,
                    kept=KeptRows(stream_id=stream.stream_id, keeper=keeper) if keeper else None,
                    titles=source.titles if isinstance(source, RadioSource) else None,
                    decide=self._decide,
                    act=self._act,
                    cuts=settings.cuts,
                    evidence=settings.evidence,
                    clips=clips,
                ),
                self._moments,
                pool=self._pool,
            ),
            compute=self._compute,
            signals=signals,
            meter=CanaryMeter(self._metrics) if canary else self._meter(stream, source),
            now=_now,
            buffer_s=settings.session.buffer_s,
            cut_at=cut_at(stream, settings.session.max_s),
        )

    def _meter(self, stream: Stream, source: Source) -> Meter:
        return ViewingMeter(self._metrics, rendition=lambda: source.rendition) if stream.source == "ivs" else self._recorded.meter(stream)

    def _spare(self) -> bool:
        """Whether there is time to try another speed; counted either way."""
        spare = self._compute.busy_share < self._settings.matching.transform_busy_max
        self._metrics.transform(tried=spare)
        return spare

    def _not_decoded(self, stream: Stream) -> Callable[[Failure, str], None]:
        """The compute thread serves all streams and knows none: it is told here whose segment that was."""

        def tell(failure: Failure, why: str) -> None:
            self._metrics.decode_failed(failure)
            self._log.warning("segment.not_decoded", **stream.in_logs, failure=failure, why=why)

        return tell

    def _source(self, lease: Lease, signals: Signals) -> Source:
        """Raises Permanent when there is none, or none any more, Transient when it cannot be asked for now."""
        # A stream that is over and keeps failing is given up by a session, which closes its record. Archive files can wait.
        if lease.stop_wanted and lease.failures >= self._settings.leases.attempts_max and lease.stream.source != "medialive":
            self._log.warning("stream.given_up", failures=lease.failures)
            return self._remainder(lease, None)
        match lease.stream.source:
            case "ivs":
                return self._ivs(lease, signals)
            case "recording":
                return self._recorded.source(lease, signals)
            case "hls":
                return self._hls(lease, signals)
            case "radio":
                return self._radio(lease, signals)
            case "medialive":
                return self._archive(lease, signals)
            case other:
                raise SourceUnsupported(f"the stream {lease.stream.stream_id} is of kind {other!r}, which the daemon does not listen to")

    def _ivs(self, lease: Lease, signals: Signals) -> Source:
        """Events may be late, and an ended stream's channel may carry the next one by now: when in doubt, IVS is asked first."""
        channel_arn = lease.stream.channel_arn
        if not channel_arn:
            raise SourceUnsupported(f"the stream {lease.stream.stream_id} came without its channel's ARN")
        if self._doubtful(lease) and (live_now := self._channels.live_stream_id(channel_arn)) != lease.stream.stream_id:
            if lease.stop_wanted:
                # Once the channel's next stream is on, its address lists nothing of this one.
                gone, address = live_now is not None, lambda: self._channels.playback_url(channel_arn)
                return self._remainder(lease, None if gone else self._playlist(lease, signals, url_provider=address, still_live=lambda: False))
            raise StreamNotFound(
                f"the stream {lease.stream.stream_id} is not live on {channel_arn}: its start is longer ago than queue.stale_event_s, so IVS was asked first"
            )
        return self._playlist(
            lease,
            signals,
            url_provider=lambda: self._channels.playback_url(channel_arn),
            still_live=lambda: self._channels.live_stream_id(channel_arn) == lease.stream.stream_id,
        )

    def _remainder(self, lease: Lease, listed: HlsSource | None) -> Source:
        """Of a stream that is over."""
        checkpoint, over_at = lease.checkpoint, lease.over_at
        unheard = not checkpoint.source_position
        known_until = checkpoint.clock
        if unheard and lease.stream.started_at:
            known_until = lease.stream.started_at + timedelta(seconds=checkpoint.position_s)
        if known_until and over_at and known_until > over_at - GAP_LEAST and checkpoint.ends_in_a_gap:
            listed = None  # it was given up before, and whoever did so died
        return Remainder(
            listed=listed,
            unheard=unheard,
            known_until=known_until,
            over_at=over_at,
            reason=why_unheard(lease.checkpoint),
            longest_s=self._settings.session.max_s,
            last_try=lease.failures >= REMAINDER_TRIES - 1,
        )

    def _doubtful(self, lease: Lease) -> bool:
        started_at = lease.stream.started_at
        stale = started_at is None or _now() - started_at > timedelta(seconds=self._settings.queue.stale_event_s)
        return lease.stop_wanted or (stale and not lease.checkpoint.source_position)

    def _hls(self, lease: Lease, signals: Signals) -> Source:
        url = _address(lease)
        if not url.startswith("s3://"):
            return self._playlist(lease, signals, url_provider=lambda: url, operator_named=True)
        address = address_of(url)
        bucket = Bucket(address=address, s3=self._clients.s3, http=self._http, fetched=self._metrics.fetched)
        return self._playlist(lease, signals, url_provider=lambda: address, http=bucket)

    def _radio(self, lease: Lease, signals: Signals) -> Source:
        url = _address(lease)
        return RadioSource(
            tune=lambda: station.tune(url, self._http, named_host=host_of(url)),
            signals=signals,
            session=self._settings.session,
            start_s=lease.checkpoint.position_s,
            resume=lease.checkpoint.source_position,
            resume_reason=why_unheard(lease.checkpoint),
            received=self._metrics.received,
        )

    def _archive(self, lease: Lease, signals: Signals) -> Source:
        if not lease.stream.url:
            raise SourceUnsupported(
                f"nobody knows where the archive files of {lease.stream.stream_id} lie: give its channel an archive output group and the daemon's role "
                "medialive:DescribeChannel, or name their prefix in medialive.archives"
            )
        return ArchiveSource(
            inbox=Inbox(pool=self._pool, stream_id=lease.stream.stream_id, item=ArchiveItem),
            objects=S3Objects(s3=self._clients.s3),
            signals=signals,
            settings=self._settings.medialive,
            resume=lease.checkpoint.source_position,
            turns=self._turns,
        )

    def _playlist(
        self,
        lease: Lease,
        signals: Signals,
        *,
        url_provider: Callable[[], str],
        still_live: Callable[[], bool] | None = None,
        operator_named: bool = False,
        http: Gets | None = None,
    ) -> HlsSource:
        signed = lease.stream.source == "ivs" and self._settings.ivs.playback_key.get_secret_value()
        return HlsSource(
            url_provider=url_provider,
            if_forbidden=IF_FORBIDDEN if signed else "",
            still_live=still_live,
            operator_named=operator_named,
            http=http or self._http,
            signals=signals,
            settings=self._settings.hls,
            session=self._settings.session,
            resume=lease.checkpoint.source_position,
            resume_reason=why_unheard(lease.checkpoint),
        )


def _address(lease: Lease) -> str:
    if not lease.stream.url:
        raise SourceUnsupported(f"the stream {lease.stream.stream_id} has no URL")
    return lease.stream.url


def why_unheard(checkpoint: Checkpoint) -> GapReason:
    """Why nothing was heard since the last run: it said what it failed of, or that the origin had fallen silent; else its worker was lost."""
    return "origin_down" if checkpoint.last_error or checkpoint.end_reason else "worker_lost"


def _now() -> datetime:
    return datetime.now(UTC)
