"""A live HLS stream as encoded pieces, in order, with everything that went missing said so.

    url_provider -> multivariant playlist -> one rendition -> its segments
                          ^                       |
                          +---- 403, 404: anew ---+

FFmpeg's own HLS reader is not used: to it the end of a stream, a hiccup of the network and a hung server are all the
same normal end. What to fetch next is decided by `audio.follow`, what may be fetched by `audio.guard`.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Protocol

import structlog

from earmark.audio.fetch import Reply
from earmark.audio.follow import Follower, Hole, Position
from earmark.audio.pace import Pace
from earmark.audio.playlist import Listed, Master, parse
from earmark.audio.renditions import choose
from earmark.audio.segments import Segments
from earmark.errors import AwsRefused, SourceUnavailable, SourceUnsupported, Transient, UnreadableAudio
from earmark.model import EndReason, GapReason, Missing, Piece, Segment
from earmark.settings import Hls, SessionSettings
from earmark.web.addresses import host_of

#: A stream that was never heard gets so many tries before whoever started it is told.
OPEN_TRIES = 3
#: Between two readings of the multivariant playlist; for IVS each is a call to an API of five calls a second.
REOPEN_S = 5.0
#: Segments refused one after the other, before any was heard, that make a stream one that is not listened to.
REFUSED_MAX = 3
#: A rendition whose address is forbidden or gone: IVS's expire after about an hour.
EXPIRED = frozenset({401, 403, 404, 410})
#: Between two tries of a segment.
RETRY_S = 1.0


class Signals(Protocol):
    """`session.Signals`, as far as a source needs it."""

    @property
    def stop(self) -> object | None: ...
    @property
    def leaving(self) -> bool: ...
    def wait(self, timeout_s: float) -> bool: ...


class Gets(Protocol):
    """`audio.fetch.Http`."""

    def get(self, url: str, *, bytes_max: int, named_host: str = "", headers: Mapping[str, str] | None = None, once: bool = False) -> Reply: ...


class HlsSource:
    """Implements `session.Source`.

    `url_provider` is asked for the playlist's address at the start, and again when a rendition's address has expired;
    it raises StreamNotFound when the channel is not live. What it gives is asked for once: there may be a token in it that
    is spent by then. `if_forbidden` says what to do where it is refused. `operator_named`: that address was given by the operator,
    so its host may be fetched from although it is not in hls.allow_hosts. `still_live` is asked when nothing new has
    come for long, and before an expired address is looked up: while it says yes, the stream is only stalled. `resume` is where an earlier run stopped, and
    `resume_reason` why nothing was heard since.
    """

    def __init__(
        self,
        *,
        url_provider: Callable[[], str],
        http: Gets,
        signals: Signals,
        settings: Hls,
        session: SessionSettings,
        operator_named: bool = False,
        if_forbidden: str = "",
        still_live: Callable[[], bool] | None = None,
        resume: str = "",
        resume_reason: GapReason = "worker_lost",
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._url_provider = url_provider
        self._http = http
        self._signals = signals
        self._settings = settings
        self._session = session
        self._operator_named = operator_named
        self._if_forbidden = if_forbidden
        self._still_live = still_live
        self._clock = clock
        self._now = now
        self._log = structlog.get_logger()
        self._segments = Segments(get=self._get, settings=settings)
        self._resume = Position.from_json(resume)
        self._position = self._resume or Position(sequence=-1)
        self._follower = Follower(late_s=session.late_s, resume=self._resume, resume_reason=resume_reason)
        self._pace = Pace()

        self.lasting = False
        self.end_reason: EndReason = "failed"
        self.rendition = ""
        self.fetched_bytes = 0

        self._named_host = ""
        self._media_url = ""
        self._rendition_key = ""
        self._etag = ""
        self._body = b""
        self._moved = False
        #: The stream is over, by `still_live`: what its address lists from now on is not its own.
        self._gone = False
        self._opened_at = float("-inf")
        self._poll_at = float("-inf")
        self._news_at = 0.0
        self._stop_at: float | None = None
        self._failures = 0
        self._trouble: SourceUnsupported | Transient | None = None
        self._playlists = 0
        self._heard = False
        self._refused = 0

    def pieces(self) -> Iterator[Piece]:
        """Raises what `session.Source` says; what `url_provider` and `still_live` raise for good ends the stream."""
        self._news_at = self._clock()
        while not self._signals.leaving:
            self._poll_if_due()
            item = self._follower.next()
            if item is not None:
                piece = self._piece(item)
                if piece is not None:
                    yield piece
                    del piece  # not to be held while we wait for the next
            elif self._is_over():
                return
            else:
                self._wait()
            if self._grace_is_over():
                yield from self._rest()
                return

    # ------------------------------------------------------------------------------------------ when it ends

    @property
    def read_to_its_end(self) -> bool:
        """All that was listed was had, and the last look at the list succeeded: asked for after `pieces`, nothing is behind it."""
        return self._playlists > 0 and self._trouble is None and not self._gone

    def _is_over(self) -> bool:
        """Everything listed has been taken: is that all?"""
        if self._gone:
            self.end_reason = "not_live" if self._signals.stop is None else "stream_end"
            return True
        if self._follower.ended:
            self.end_reason = "endlist" if self._signals.stop is None else "stream_end"
            return True
        if self._clock() - self._news_at < self._session.silent_origin_s:
            return False
        if self._still_live is not None and self._is_dead(self._still_live):
            self.end_reason = "not_live"
            return True
        if self._trouble is not None:
            raise self._trouble
        if self._still_live is not None:
            # Stalled, by the channel's own word; or our rendition's playlist is frozen, so it is looked up again.
            self._news_at, self._media_url = self._clock(), ""
            return False
        if not self._heard:
            raise SourceUnavailable(f"{host_of(self._media_url)} has listed no segment for {self._session.silent_origin_s:g} s: is the stream on?")
        self.end_reason = "silent_origin"
        return True

    def _is_dead(self, still_live: Callable[[], bool]) -> bool:
        try:
            return not still_live()
        except (Transient, AwsRefused) as error:
            self._log.warning("stream.state_unknown", why=str(error))
            return False

    def _grace_is_over(self) -> bool:
        """After the stream's end was announced, the last segments may still be listed."""
        if self._signals.stop is None:
            return False
        now = self._clock()
        if self._stop_at is None:
            self._stop_at, self._poll_at = now, now
        if now - self._stop_at < self._session.end_grace_s:
            return False
        self.end_reason = "stream_end"
        return True

    def _rest(self) -> Iterator[Piece]:
        """What was listed when the time was up."""
        while (item := self._follower.next()) is not None:
            yield self._missing(item, "skipped" if isinstance(item, Listed) else item.reason)

    def _wait(self) -> None:
        wait_s = self._poll_at - self._clock()
        if self._stop_at is not None:
            wait_s = min(wait_s, self._stop_at + self._session.end_grace_s - self._clock())
        if wait_s > 0:
            self._signals.wait(wait_s)

    # ------------------------------------------------------------------------------------------ playlists

    def _poll_if_due(self) -> None:
        began = self._clock()
        if began < self._poll_at or self._gone:
            return
        listed_s = self._follower.listed_s
        try:
            news = self._poll()
        except (SourceUnsupported, Transient) as error:
            self._failed(error)
            news = False
            self._pace.forget()
        else:
            self._failures, self._trouble = 0, None
        if news:
            self._news_at = self._clock()
        self._poll_at = self._next_poll(began, new_s=self._follower.listed_s - listed_s if news else 0.0)

    def _next_poll(self, began: float, *, new_s: float) -> float:
        target_s = self._follower.target_s or 2 * RETRY_S
        wait_s, now = target_s if new_s else target_s / 2, self._clock()
        if now - max(self._poll_at, self._opened_at) <= wait_s:
            return self._pace.next(began, new_s=new_s, segment_s=self._follower.segment_s, target_s=target_s)
        # Held up by an origin or a machine, as all its streams were, until the same moment: they go apart again.
        self._pace.forget()
        return max(began, now - wait_s) + wait_s * random.uniform(1, 2)  # noqa: S311 -- jitter

    def _failed(self, error: SourceUnsupported | Transient) -> None:
        """A hiccup of a stream that was there is sat out, for `silent_origin_s`; one that never was is given up soon."""
        if not self._failures:
            self._log.warning("playlist.failed", why=str(error))
        self._failures += 1
        if isinstance(error, SourceUnsupported) and (self._playlists or self._resume):
            error = SourceUnavailable(str(error))  # an error's page, where there was a playlist before
        self._trouble = error
        if not self._playlists and (isinstance(error, SourceUnsupported) or self._failures >= OPEN_TRIES):
            raise error

    def _poll(self) -> bool:
        """Read the rendition's playlist; True if it lists something new."""
        if not self._media_url:
            self._open()
        conditional = {"If-None-Match": self._etag} if self._etag else {}
        reply = self._get(self._media_url, self._settings.playlist_bytes_max, conditional)
        if reply.status in EXPIRED and self._clock() - self._opened_at >= REOPEN_S:
            if self._still_live is not None and self._is_dead(self._still_live):
                self._gone = True
                return False
            self._log.info("playlist.expired", host=host_of(self._media_url), status=reply.status)
            self._open()
            reply = self._get(self._media_url, self._settings.playlist_bytes_max, {})
        if reply.status == 304:
            return False
        if reply.status != 200:
            raise SourceUnavailable(f"{host_of(self._media_url)} answered {reply.status} for the stream's playlist")
        return self._read(reply)

    def _read(self, reply: Reply) -> bool:
        if reply.body == self._body:
            return False
        try:
            news = self._follower.read(
                _text(reply.body),
                reply.url,
                moved=self._moved,
                rendition=self._rendition_key,
                cause="origin_down" if self._failures else "skipped",
            )
        except SourceUnsupported as error:
            raise SourceUnsupported(f"what {host_of(reply.url)} serves {error}") from None
        self._etag, self._body, self._moved = reply.headers.get("etag", ""), reply.body, False
        self._playlists += 1
        return news

    def _open(self) -> None:
        """Ask for the stream's address, and choose what to listen to."""
        self._opened_at = self._clock()
        url = self._url_provider()
        self._named_host = host_of(url) if self._operator_named else ""
        reply = self._get(url, self._settings.playlist_bytes_max, {}, once=True)
        if reply.status != 200:
            remedy = self._if_forbidden if reply.status in (401, 403) else ""
            raise SourceUnavailable(f"{host_of(url)} answered {reply.status} for the stream's playlist{'; ' if remedy else ''}{remedy}")
        try:
            playlist = parse(_text(reply.body), reply.url)
            languages, kbps = self._settings.languages, self._settings.audio_kbps_min
            chosen = choose(playlist, audio_kbps_min=kbps, languages=languages) if isinstance(playlist, Master) else None
        except SourceUnsupported as error:
            raise SourceUnsupported(f"what {host_of(reply.url)} serves {error}") from None
        media_url = chosen.url if chosen else url
        self._rendition_key = str(chosen) if chosen else ""
        rendition = f"{chosen}; {chosen.why}" if chosen and chosen.why else self._rendition_key or "the only one"
        if rendition != self.rendition:
            self._log.info("rendition.chosen", rendition=rendition, host=host_of(media_url))
        self.rendition = rendition
        self._moved = media_url != self._media_url
        if self._moved:
            self._pace.forget()
        self._media_url, self._etag, self._body = media_url, "", b""

    def _get(self, url: str, bytes_max: int, headers: Mapping[str, str], *, once: bool = False) -> Reply:
        reply = self._http.get(url, bytes_max=bytes_max, named_host=self._named_host, headers=headers, once=once)
        self.fetched_bytes += len(reply.body)
        return reply

    # ------------------------------------------------------------------------------------------ segments

    def _piece(self, item: Listed | Hole) -> Piece | None:
        """None: we are leaving, and the next owner fetches it."""
        if isinstance(item, Hole):
            self._log.warning("media.missed", reason=item.reason, duration_s=round(item.duration_s, 3))
            return self._missing(item, item.reason)
        if item.gap:
            return self._missing(item, "segment_missing")
        return self._fetch(item)

    def _fetch(self, segment: Listed) -> Piece | None:
        """Try again while it is listed, but not for so long that the ones behind it are gone too."""
        give_up_at = self._clock() + self._session.late_s / 2
        while True:
            try:
                found = self._segments.fetch(segment)
            except SourceUnavailable as error:
                again = self._again(segment, give_up_at)
                if self._signals.leaving:
                    return None
                if again is None:
                    return self._lost(segment, "segment_missing", error)
                segment = again
            except SourceUnsupported as error:
                return self._lost(segment, "segment_refused", error)
            except UnreadableAudio as error:
                return self._lost(segment, "segment_undecodable", error)
            else:
                self._heard = True
                return Segment(
                    data=found.data,
                    container=found.container,
                    init=found.init,
                    duration_s=segment.duration_s,
                    clock=segment.clock,
                    discontinuity=segment.discontinuity,
                    position=self._passed(segment),
                    fetched_at=self._now(),
                )

    def _again(self, segment: Listed, give_up_at: float) -> Listed | None:
        """The segment as it is listed now, after a short wait; None when it is not worth another try."""
        if self._clock() >= give_up_at or self._follower.still_listed(segment) is None:
            return None
        self._signals.wait(min(RETRY_S, (self._follower.target_s or RETRY_S) / 2))
        if self._signals.leaving:
            return None
        self._poll_if_due()
        listed = self._follower.still_listed(segment)
        return None if listed is None or self._clock() >= give_up_at else listed

    def _lost(self, segment: Listed, reason: GapReason, error: Exception) -> Missing:
        self._log.warning("segment.missed", reason=reason, sequence=segment.sequence, why=str(error))
        if reason != "segment_missing":
            self._refused += 1
            if not self._heard and self._refused >= REFUSED_MAX:
                raise SourceUnsupported(f"none of the stream's first {self._refused} segments can be used; of the last one: {error}")
        return self._missing(segment, reason)

    def _missing(self, item: Listed | Hole, reason: GapReason) -> Missing:
        duration_s = item.duration_s if isinstance(item, Hole) else min(item.duration_s, self._settings.segment_s_max)
        return Missing(duration_s=duration_s, reason=reason, position=self._passed(item))

    def _passed(self, item: Listed | Hole) -> str:
        """The place behind this item, for the checkpoint."""
        self._position = self._follower.behind(item, self._position)
        return self._position.to_json()


def _text(body: bytes) -> str:
    """RFC 8216 wants UTF-8; bytes that are none cannot be a tag or an address that we understand."""
    return body.decode("utf-8", errors="replace")
