"""A radio station: AAC or MP3 over one HTTP answer that does not end, as pieces of a second or two.

    tune -> head -> some seconds of the past at once -> sound, words, sound, ...  -> frames -> pieces
      ^                                                    |
      +------------- broke off, fell silent ---------------+

A server sends some seconds of the past, and then sound as it plays. Whatever sends more is read no faster than it plays:
the rest waits in the socket. When a connection breaks off, what the next one brings is joined to it by its frames
(`audio.joins`). Where that cannot be told, the clock has to do: the time without a connection, less what the next one brought
of the past, is a gap; if it brought more than that, the rest was heard before and is left out, give or take a second.

A station has no clock: when its sound came is all that is known, and the timeline reckons with that.
"""

import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from earmark.audio.elementary import Frame
from earmark.audio.hls import OPEN_TRIES, Signals
from earmark.audio.joins import Place, Tail
from earmark.audio.reception import Reception
from earmark.audio.station import Tuned
from earmark.errors import SourceUnavailable, SourceUnsupported
from earmark.model import EndReason, GapReason, Missing, Piece, Segment
from earmark.settings import SessionSettings
from earmark.titles import Title, Titles

#: Sound that is handed on at once.
PIECE_S = 1.5
#: So far may sound be ahead of the moment: servers send less of the past (64 kB mostly, 512 kB at most), and what sends more is no live stream.
AHEAD_S_MAX = 90.0
#: The past is here when nothing comes for so long, or after so long in any case; what was heard of it already is looked for a little longer.
QUIET_S, PAST_WAIT_S, OVERLAP_WAIT_S = 0.25, 1.0, 3.0
#: Sound comes several times a second: a connection over which nothing comes for so long is dead, and another may not be.
STALLED_S = 10.0
#: Between two tries: doubled while nothing new is heard, with jitter.
RETRY_S, RETRY_S_MAX = 0.5, 15.0
#: A connection that brought so much was worth it.
WORTH_S = 1.0
#: What has come is taken without waiting for more.
AT_ONCE_S = 0.001
#: No gap is believed to be longer; and shorter ones are the network's: sound is not here at the moment at which it was sent.
GAP_S_MAX, GAP_S_LEAST = 86_400.0, 0.5
#: What comes behind an overlap went on air meanwhile, so it plays as long, or nearly; or there is nothing, of a station that stands still.
OVERLAP_SLACK_S = 10.0
#: Between two lines of the log about the same.
TOLD_EVERY_S = 60.0
#: Titles that travel in the checkpoint.
TITLES_KEPT = 4


class RadioSource:
    """Implements `session.Source`.

    Args:
        tune: opens the station; raises SourceUnsupported and SourceUnavailable.
        start_s: stream time at which this run begins.
        resume: where an earlier run stopped, and `resume_reason` why nothing was heard since.
        received: is told how many bytes came.
    """

    def __init__(
        self,
        *,
        tune: Callable[[], Tuned],
        signals: Signals,
        session: SessionSettings,
        start_s: float = 0.0,
        resume: str = "",
        resume_reason: GapReason = "worker_lost",
        received: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._tune = tune
        self._signals = signals
        self._session = session
        self._received = received
        self._clock = clock
        self._now = now
        self._log = structlog.get_logger()

        place = Place.from_json(resume)
        self._reason = resume_reason
        self._tail = Tail(place.checksums if place else ())
        #: When the last of the sound came; None: there was none. And whether any was handed on, by an earlier run, too.
        self._came_at = place.at if place else None
        self._heard = place is not None
        #: What is on air, in stream time.
        self.titles = Titles(Title(start_s + title.begin_s, title.text) for title in (place.titles if place else ()))
        #: Stream time up to which pieces were handed on; and what is here behind it.
        self._position_s = start_s
        self._frames = deque[Frame]()
        self._pending_s = 0.0

        self.lasting = False
        self.end_reason: EndReason = "failed"
        self.rendition = ""
        self.fetched_bytes = 0

        self._reception: Reception | None = None
        #: Stream time at which the connection began, until it has said what is on air.
        self._untitled_s: float | None = None
        self._discontinuity = False
        #: When all that was taken will have been played, if it began when it came.
        self._played_at = self._news_at = clock()
        self._new_s = 0.0
        self._failures = 0
        self._told_at: dict[str, float] = {}

    def pieces(self) -> Iterator[Piece]:
        """Raises what `session.Source` says."""
        self._news_at = self._clock()
        try:
            while not self._signals.leaving:
                if self._signals.stop is not None:
                    self.end_reason = "stream_end"
                    yield from self._cut(0.0)
                    return
                if (early_s := self._played_at - self._clock() - AHEAD_S_MAX) > 0:
                    self._signals.wait(min(early_s, PIECE_S))
                elif self._reception is None:
                    yield from self._join()
                else:
                    goes_on = self._listen(self._reception)
                    yield from self._cut(PIECE_S if goes_on else 0.0)
        finally:
            self._leave()

    # ------------------------------------------------------------------------------------------ a connection

    def _join(self) -> Iterator[Piece]:
        """Connect, and find out what was missed; after a failure, wait."""
        came_at = self._came_at
        try:
            reception = self._reception = Reception(self._tune())
            past = self._past(reception, came_at)
        except (SourceUnavailable, SourceUnsupported) as error:
            self._failed(error)
            return
        frames = [part for part in past if isinstance(part, Frame)]
        if not frames:  # we are asked to go
            return
        self._describe(reception, frames)
        heard = 0
        if came_at is not None:
            away_s = (self._now() - came_at).total_seconds()
            known = self._known(frames, away_s)
            if known is None:
                self._tail.clear()
            gap_s = away_s - _sound_s(frames) if known is None else 0.0
            self._discontinuity, heard = known is None, _before(frames, away_s) if known is None else known
            self._tell("radio.rejoined", host=reception.host, away_s=round(away_s, 3), missed_s=round(max(0.0, gap_s), 3), overlap_known=known is not None)
            yield from self._missed(gap_s)
        self._reason = "origin_down"
        self._new_s, self._untitled_s = 0.0, self._position_s
        self._take(_behind(past, heard))
        yield from self._cut(PIECE_S)

    def _known(self, frames: Sequence[Frame], away_s: float) -> int | None:
        """How many of the frames were heard before; None: that cannot be known. A jingle that comes again is no overlap."""
        known = self._tail.continued_in([frame.data for frame in frames])
        if known is not None and (known == len(frames) or _sound_s(frames[known:]) >= away_s - OVERLAP_SLACK_S):
            return known
        return None

    def _past(self, reception: Reception, before: datetime | None) -> list[Frame | str]:
        """What comes at once, a frame at least unless we are asked to go. Raises SourceUnavailable, SourceUnsupported."""
        past, began = list[Frame | str](), self._clock()
        while not self._signals.leaving and self._signals.stop is None:
            try:
                came = self._receive(reception, QUIET_S)
            except SourceUnavailable:
                if not reception.sound_s:
                    raise
                return past  # it has closed already: what it sent is heard
            past += came or ()
            if _sound_s(came or ()):
                self._came_at = self._now()
            waited_s = self._clock() - began
            settled = waited_s >= PAST_WAIT_S if came else True
            if reception.sound_s >= AHEAD_S_MAX or (reception.sound_s and settled and (waited_s >= OVERLAP_WAIT_S or self._is_joined(past, before))):
                return past
            if waited_s >= STALLED_S:
                raise SourceUnavailable(f"{reception.host} sends no sound")
        return past

    def _is_joined(self, past: Sequence[Frame | str], before: datetime | None) -> bool:
        """It is known where what was heard before goes on; or there was nothing."""
        if before is None:
            return True
        frames = [part for part in past if isinstance(part, Frame)]
        known = self._known(frames, (self._now() - before).total_seconds())
        return known is not None and known < len(frames)

    def _missed(self, gap_s: float) -> Iterator[Missing]:
        if gap_s >= GAP_S_LEAST:
            gap_s = min(gap_s, GAP_S_MAX)
            self._position_s += gap_s
            yield Missing(duration_s=gap_s, reason=self._reason, position=self._place())

    def _listen(self, reception: Reception) -> bool:
        """What is lacking of a piece is waited for, and then all that has come is taken; False: the connection is over."""
        if (lacking_s := PIECE_S - self._pending_s) > 0:
            self._signals.wait(lacking_s)
        try:
            while self._pending_s < 2 * PIECE_S and (came := self._receive(reception, AT_ONCE_S)) is not None:
                # It came while a piece was waited for, as it plays.
                now, before = self._now(), self._came_at or self._now()
                self._came_at = min(now, max(before + timedelta(seconds=_sound_s(came)), now - timedelta(seconds=PIECE_S)))
                self._take(came)
        except (SourceUnavailable, SourceUnsupported) as error:
            self._failed(error)
            return False
        if self._clock() - self._news_at < STALLED_S:
            return True
        self._failed(SourceUnavailable(f"{reception.host} has sent no sound for {STALLED_S:g} s"))
        return False

    def _receive(self, reception: Reception, timeout_s: float) -> list[Frame | str] | None:
        before = reception.bytes
        try:
            came = reception.receive(timeout_s)
        finally:
            self.fetched_bytes += reception.bytes - before
            self._received(reception.bytes - before)
        return came

    def _take(self, parts: Sequence[Frame | str]) -> None:
        """Frames, and what is on air behind them. What a connection says first was on air before."""
        for part in parts:
            if isinstance(part, str):
                begin_s = self._position_s + self._pending_s if self._untitled_s is None else self._untitled_s
                self.titles.say(begin_s, part)
                self._untitled_s = None
            else:
                self._frames.append(part)
                self._pending_s += part.duration_s
                self._new_s += part.duration_s
                self._news_at = self._clock()
                self._played_at = max(self._played_at, self._news_at) + part.duration_s
        if self._new_s >= WORTH_S:
            self._failures = 0

    def _failed(self, error: SourceUnavailable | SourceUnsupported) -> None:
        """A hiccup of a station that was there is sat out, for `silent_origin_s`; one that never was is given up soon."""
        self._leave()
        self._failures += 1
        if isinstance(error, SourceUnsupported) and not self._heard:
            raise error
        if (not self._heard and self._failures >= OPEN_TRIES) or self._clock() - self._news_at >= self._session.silent_origin_s:
            raise SourceUnavailable(str(error))  # also of a page of an error's, where there was sound before
        self._tell("radio.failed", why=str(error))
        self._signals.wait(min(RETRY_S * 2 ** (self._failures - 1), RETRY_S_MAX) * random.uniform(0.5, 1))  # noqa: S311 -- jitter

    def _tell(self, event: str, **of: object) -> None:
        """Of a station that comes and goes, not more than this once in a while; the record has every gap."""
        if self._clock() >= self._told_at.get(event, -math.inf) + TOLD_EVERY_S:
            self._told_at[event] = self._clock()
            self._log.warning(event, **of)

    def _leave(self) -> None:
        reception, self._reception = self._reception, None
        if reception is not None:
            reception.close()

    def _describe(self, reception: Reception, frames: Sequence[Frame]) -> None:
        """What it is, as a rendition of a playlist is called."""
        if self.rendition:
            return
        kbps = reception.station.kbps or round(sum(len(frame.data) for frame in frames) * 8 / 1_000 / _sound_s(frames))
        self.rendition = ", ".join(filter(None, ["audio only", f"{kbps} kbit/s", frames[0].codec, reception.station.name[:100]]))
        self._log.info("radio.joined", rendition=self.rendition, host=reception.host, words=bool(reception.station.metaint))

    # ------------------------------------------------------------------------------------------ pieces

    def _cut(self, least_s: float) -> Iterator[Segment]:
        """Pieces of what is here, if it is as much as that."""
        while self._frames and self._pending_s >= least_s:
            frames, lasts_s = [self._frames.popleft()], 0.0
            lasts_s = frames[0].duration_s
            while self._frames and lasts_s < PIECE_S and self._frames[0].codec == frames[0].codec:
                frames.append(self._frames.popleft())
                lasts_s += frames[-1].duration_s
            self._pending_s = self._pending_s - lasts_s if self._frames else 0.0
            self._position_s += lasts_s
            data = [frame.data for frame in frames]
            self._tail.add(data)
            discontinuity, self._discontinuity, self._heard = self._discontinuity, False, True
            yield Segment(
                data=b"".join(data),
                container=frames[0].codec,
                duration_s=lasts_s,
                discontinuity=discontinuity,
                position=self._place(),
                fetched_at=self._now(),
            )

    def _place(self) -> str:
        """Behind what was handed on, for the checkpoint."""
        came_at = (self._came_at or self._now()) - timedelta(seconds=self._pending_s)
        titles = tuple(Title(title.begin_s - self._position_s, title.text) for title in self.titles.newest(TITLES_KEPT) if title.begin_s <= self._position_s)
        return Place(at=came_at, checksums=self._tail.checksums, titles=titles).to_json()


def _sound_s(parts: Sequence[Frame | str]) -> float:
    return sum(part.duration_s for part in parts if isinstance(part, Frame))


def _before(frames: Sequence[Frame], away_s: float) -> int:
    """How many of the frames went on air before that time, by the clock alone."""
    left_s, count = _sound_s(frames), 0
    while count < len(frames) and left_s - frames[count].duration_s >= away_s:
        left_s -= frames[count].duration_s
        count += 1
    return count


def _behind(parts: Sequence[Frame | str], heard: int) -> list[Frame | str]:
    """Without the first so many frames."""
    left = list[Frame | str]()
    for part in parts:
        if isinstance(part, Frame) and heard:
            heard -= 1
        else:
            left.append(part)
    return left
