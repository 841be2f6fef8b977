"""MediaLive archive files in S3 as encoded pieces.

    inbox -> Pipelines -> the file whose turn it is -> its bytes, a part at a time -> its sound, a stretch at a time
             (which?)                                  (Objects)                      (Stretches)

A file may hold an hour, of gigabytes that are video: no more than a part of it and a stretch of its sound are in memory
at once. The position after each stretch is where in the file the next one begins.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from earmark.audio.asking_again import patiently
from earmark.audio.hls import Signals
from earmark.audio.mpegts import PTS_HZ, Unexpected, ticks_between
from earmark.audio.objects import Part
from earmark.audio.order import ArchiveItem, Lost, Next, Position
from earmark.audio.pipelines import Pipelines
from earmark.audio.stretches import Stretch, Stretches, begins_at, tables_of
from earmark.audio.timeline import PTS_TOLERANCE_S, Joined
from earmark.errors import AwsRefused, AwsUnavailable, SourceUnsupported, UnreadableAudio
from earmark.model import EndReason, GapReason, Missing, Piece, Segment
from earmark.settings import MediaLive

#: Files are handed on in stretches of this length: the decoder is shared with other streams.
STRETCH_S: Final = 10.0
#: Read of a file at once: seven seconds of a picture of 5 Mbit/s.
PART_BYTES: Final = 4_000_000
#: In which a file's first time stamp is looked for: two seconds of such a picture.
HEAD_BYTES: Final = 1_000_000
#: Of what is no transport stream, for the decoder to say so.
SAMPLE_BYTES: Final = 65_536
#: How often the inbox is looked at when nobody woke us.
LOOK_S: Final = 5.0
#: Between two looks whether we are leaving, while other streams' files are in memory.
TURN_S = 1.0
#: An object that was written later than its event by more than this is another one under the same key.
WRITTEN_OVER: Final = timedelta(seconds=5)
#: First time stamps that are remembered.
BEGINS_MAX: Final = 64
_REASONS: Final[Mapping[type[Exception], GapReason]] = {
    AwsRefused: "segment_missing",
    SourceUnsupported: "segment_refused",
    UnreadableAudio: "segment_undecodable",
}


class Inbox(Protocol):
    """What has arrived for this stream, whoever got the message."""

    def waiting(self) -> Sequence[ArchiveItem]:
        """Everything not reported as heard yet, in any order."""
        ...

    def heard(self, items: Sequence[ArchiveItem]) -> None: ...


class Objects(Protocol):
    """S3."""

    def read(self, *, bucket: str, key: str, version: str, begin: int, bytes_max: int, tag: str = "") -> Part:
        """Raises AwsUnavailable, AwsRefused (gone, written over, or denied)."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """Of a part of a file: its sound as far as it makes whole stretches, and where what is behind it begins."""

    found: tuple[Stretch, ...]
    end: int
    #: Of the file.
    size: int
    tag: str


class ArchiveSource:
    """Implements `session.Source`. An item is reported as heard when the piece after it is asked for.

    Parts of files are in memory with their video only while `turns`, shared by all streams, allow it.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        objects: Objects,
        signals: Signals,
        settings: MediaLive,
        resume: str = "",
        turns: threading.Semaphore | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._inbox = inbox
        self._objects = objects
        self._signals = signals
        self._settings = settings
        self._turns = turns or threading.Semaphore()
        self._clock = clock
        self._now = now
        self._log = structlog.get_logger()
        #: The previous owner's place, until something is heard.
        self._resume = Position.from_json(resume)
        #: Of the last file that was heard whole, and behind all that was heard.
        self._position = self._resume or Position(base="", counter=-1)
        self._begins: dict[ArchiveItem, int | None] = {}
        self._pipelines = Pipelines(gap_wait_s=settings.gap_wait_s, begins=self._begins_at, now_s=clock(), resume=self._resume)
        self._news_at = 0.0
        self._stop_at: float | None = None

        self.lasting = True
        self.end_reason: EndReason = "failed"
        self.rendition = "archive"
        self.fetched_bytes = 0

    def pieces(self) -> Iterator[Piece]:
        self._news_at = self._clock()
        while not self._signals.leaving:
            if self._signals.stop is not None and self._stop_at is None:
                self._stop_at = self._clock()
            closing = self._stop_at is not None and self._clock() - self._stop_at >= self._settings.end_grace_s
            self._look()
            found = self._pipelines.next(self._clock(), closing=closing)
            match found:
                case Lost():
                    self._log.warning("archive.missing", base=found.base, last=found.last)
                    self._position = replace(self._position, base=found.base, counter=found.last, stretches=-1, offset=0)
                    # How long they were only the next file's time stamps will tell.
                    yield Missing(duration_s=0.0, reason=found.reason, position=self._position.to_json())
                case Next():
                    self._news_at = self._clock()
                    yield from self._file(found)
                case None if self._is_over(closing=closing):
                    return
                case None:
                    self._wait()

    def _look(self) -> None:
        useless = self._pipelines.offer(self._inbox.waiting(), self._clock())
        if useless:
            passed = [item for item in useless if item.spare == self._pipelines.spare]
            if passed:
                self._log.info("archive.passed_over", files=len(passed))
            self._inbox.heard(useless)

    def _is_over(self, *, closing: bool) -> bool:
        if closing:
            self.end_reason = "stream_end"
            return True
        if self._clock() - self._news_at >= self._settings.idle_end_s:
            self.end_reason = "silent_origin"
            return True
        return False

    def _wait(self) -> None:
        now = self._clock()
        ends = [now + LOOK_S, self._news_at + self._settings.idle_end_s]
        wake_in_s = self._pipelines.wake_in_s(now)
        if wake_in_s is not None:
            ends.append(now + wake_in_s)
        if self._stop_at is not None:
            ends.append(self._stop_at + self._settings.end_grace_s)
        # What is overdue was just looked at; a short wait keeps a clock that does not move from spinning.
        self._signals.wait(max(min(ends) - now, 0.01))

    # ------------------------------------------------------------------------------------------ one file

    def _file(self, found: Next) -> Iterator[Piece]:
        """What cannot be had of it is asked of the other pipeline next, or is missing."""
        if found.from_pts is not None or (found.begins_run and found.item.spare != self._position.spare):
            self._log.warning("archive.pipeline_changed", key=found.item.key)
        try:
            yield from self._heard_of(found)
        except (AwsRefused, SourceUnsupported, UnreadableAudio) as error:
            self._log.warning("archive.unreadable", key=found.item.key, why=str(error))
            self._inbox.heard([found.item])
            self._pipelines.failed(found, Lost(base=found.base, last=found.counter, reason=_REASONS[type(error)]))

    def _heard_of(self, found: Next) -> Iterator[Piece]:
        resume, self._resume = self._resume, None
        here = found.base, found.counter, found.item.spare
        same = resume is not None and resume.stretches > 0 and (resume.base, resume.counter, resume.spare) == here
        place = replace(resume if resume and same else Position(base=found.base, counter=found.counter, stretches=0), spare=found.item.spare)
        held: Stretch | None = None
        media_s, first = 0.0, True
        try:
            for stretch in self._stretches(found.item, place):
                if _is_before(stretch, found.from_pts):
                    continue
                if held is not None:
                    media_s += _length_s(held)
                    place = self._behind(place, held)
                    yield self._segment(held, place, found, resume, first=first)
                    first = False
                    if self._signals.leaving:
                        return
                held = stretch
        except (AwsRefused, SourceUnsupported):
            if held is not None:
                yield self._segment(held, self._behind(place, held), found, resume, first=first)
            raise
        except Unexpected:
            yield self._sample(found)
            raise UnreadableAudio(f"s3://{found.item.bucket}/{found.item.key} is no transport stream") from None
        if self._signals.leaving:
            return
        self._pipelines.finished(found, media_s=media_s + (_length_s(held) if held else 0.0))
        if held is not None:
            self._position = replace(self._behind(place, held), stretches=-1, offset=0, made_at=found.item.made_at or place.made_at)
            yield self._segment(held, self._position, found, resume, first=first)
        self._inbox.heard([found.item])

    def _behind(self, place: Position, stretch: Stretch) -> Position:
        self._pipelines.heard(stretch.end_pts)
        pts = self._position.pts if stretch.end_pts is None else stretch.end_pts
        self._position = replace(self._position, pts=pts, spare=place.spare)
        return replace(place, stretches=place.stretches + 1, offset=stretch.end, pts=pts, made_at=self._position.made_at)

    def _segment(self, stretch: Stretch, place: Position, found: Next, resume: Position | None, *, first: bool) -> Segment:
        """The first of a file may have to be joined to what was heard of others: of the other pipeline's, or by a previous owner."""
        said = Segment(
            data=stretch.data,
            container="mpegts",
            duration_s=0.0,
            discontinuity=found.begins_run and first,
            position=place.to_json(),
            fetched_at=self._now(),
        )
        if first and found.from_pts is not None:
            return Joined.to(said, at_pts=found.from_pts)
        if first and resume and resume.pts is not None and stretch.begin_pts is not None and not found.begins_run:
            jump_s = ticks_between(resume.pts, stretch.begin_pts) / PTS_HZ
            return Joined.to(said, at_pts=resume.pts) if jump_s > PTS_TOLERANCE_S else replace(said, discontinuity=jump_s < -PTS_TOLERANCE_S)
        return said

    def _sample(self, found: Next) -> Segment:
        """Of a file that is no transport stream, for the decoder to say so."""
        part = self._get(found.item, begin=0, bytes_max=SAMPLE_BYTES)
        data = part.data if part else b""
        position = self._position.to_json() if self._position.base else ""
        return Segment(data=data, container="mpegts", duration_s=0.0, position=position, fetched_at=self._now())

    # ------------------------------------------------------------------------------------------ its bytes

    def _stretches(self, item: ArchiveItem, place: Position) -> Iterator[Stretch]:
        """The sound of a file behind this place; it breaks off when we are leaving. Raises Unexpected."""
        stretches, begin, tag = Stretches(seconds=STRETCH_S), 0, ""
        skipped = place.stretches
        if place.offset:
            head = self._get(item, begin=0, bytes_max=HEAD_BYTES)
            if head is None:
                return
            stretches = Stretches(seconds=STRETCH_S, begin=place.offset, tables=tables_of(head.data))
            begin, tag, skipped = place.offset, head.tag, 0
        size = begin + 1
        while begin < size and not stretches.mute:
            read = self._part(item, begin, tag, stretches)
            if read is None:
                return
            begin, size, tag = read.end, read.size, read.tag
            for stretch in read.found:
                skipped -= 1
                if skipped < 0:
                    yield stretch
        yield from stretches.flush()

    def _part(self, item: ArchiveItem, begin: int, tag: str, stretches: Stretches) -> "_Read | None":
        """The sound of a part; None: we are leaving."""
        while not self._turns.acquire(timeout=TURN_S):
            if self._signals.leaving:
                return None
        try:
            part = self._get(item, begin=begin, bytes_max=PART_BYTES, tag=tag)
            if part is None:
                return None
            end = begin + len(part.data)
            return _Read(found=tuple(stretches.push(part.data)), end=end, size=part.size if part.data else end, tag=part.tag)
        finally:
            self._turns.release()

    def _get(self, item: ArchiveItem, *, begin: int, bytes_max: int, tag: str = "") -> Part | None:
        """None: we are leaving. S3 is asked again for as long as a missing file would be waited for."""
        part = patiently(
            lambda: self._objects.read(bucket=item.bucket, key=item.key, version=item.version, begin=begin, bytes_max=bytes_max, tag=tag),
            signals=self._signals,
            patience_s=self._settings.gap_wait_s,
            clock=self._clock,
        )
        if part is None:
            return None
        self.fetched_bytes += len(part.data)
        return self._checked(item, part)

    def _checked(self, item: ArchiveItem, part: Part) -> Part:
        what = f"s3://{item.bucket}/{item.key}"
        if part.size > self._settings.file_bytes_max:
            raise SourceUnsupported(f"{what} has {part.size:,} bytes, more than medialive.file_bytes_max ({self._settings.file_bytes_max:,}): it is not heard")
        if item.made_at and part.written_at and part.written_at > item.made_at + WRITTEN_OVER:
            raise AwsRefused(f"{what} was written over before it was heard: give its name modifier $dt$, so that a channel that starts anew writes other files")
        return part

    def _begins_at(self, item: ArchiveItem) -> int | None:
        """The first time stamp of a file; None where it has none, or cannot be had."""
        if item not in self._begins:
            while len(self._begins) >= BEGINS_MAX:
                del self._begins[next(iter(self._begins))]
            try:
                part = self._get(item, begin=0, bytes_max=HEAD_BYTES)
                self._begins[item] = begins_at(part.data) if part else None
            except (AwsRefused, AwsUnavailable, SourceUnsupported, Unexpected) as error:
                self._log.info("archive.not_compared", key=item.key, why=str(error))
                self._begins[item] = None
        return self._begins[item]


def _is_before(stretch: Stretch, pts: int | None) -> bool:
    """Whether all of it was heard, of another file."""
    return pts is not None and stretch.end_pts is not None and ticks_between(pts, stretch.end_pts) <= 0


def _length_s(stretch: Stretch) -> float:
    if stretch.begin_pts is None or stretch.end_pts is None:
        return 0.0
    return max(0.0, ticks_between(stretch.begin_pts, stretch.end_pts) / PTS_HZ)
