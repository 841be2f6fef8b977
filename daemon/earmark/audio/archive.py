"""MediaLive archive files in S3 as encoded pieces.

MediaLive writes `base.000000.ts`, `base.000001.ts`, … and each appears when it is closed. S3 tells of them in any
order, now and then twice, now and then not at all. So they are put in order by their number, a missing number is
waited for and then given up, and a number that starts anew at 000000 is another run of the channel.
"""

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog

from earmark.audio import mpegts
from earmark.audio.hls import Signals
from earmark.errors import AwsRefused, AwsUnavailable, SourceUnsupported
from earmark.model import EndReason, Missing, Piece, Segment
from earmark.settings import MediaLive

#: Six digits, until a million files are written.
_KEY = re.compile(r"(?P<base>.+)\.(?P<counter>[0-9]{6,9})\.(?:ts|m2ts)")
#: Files are handed on in stretches of this length: the decoder is shared with other streams.
STRETCH_S = 10.0
#: How often the inbox is looked at when nobody woke us.
LOOK_S = 5.0
#: Files taken before, by which a notification that comes again is known.
REMEMBERED = 64
#: First wait after S3 did not answer; doubles.
RETRY_S = 1.0
#: Between two looks whether we are leaving, while other streams' files are in memory.
TURN_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveItem:
    """An object that arrived; identified by all of its fields but the size."""

    bucket: str
    key: str
    version: str = ""
    #: Orders the writes of one key, where the bucket keeps no versions.
    sequencer: str = ""
    size: int = 0


class Inbox(Protocol):
    """What has arrived for this stream, whoever got the message."""

    def waiting(self) -> Sequence[ArchiveItem]:
        """Everything not reported as heard yet, in any order."""
        ...

    def heard(self, items: Sequence[ArchiveItem]) -> None: ...


class Objects(Protocol):
    """S3."""

    def get(self, *, bucket: str, key: str, version: str, bytes_max: int) -> bytes:
        """Raises AwsUnavailable, AwsRefused (gone, or denied), SourceUnsupported (larger than `bytes_max`)."""
        ...


# ---------------------------------------------------------------------------------------------- names and order, pure


def archive_name(key: str) -> tuple[str, int] | None:
    """What an archive file's name begins with, and its number; None when it is no archive file."""
    found = _KEY.fullmatch(key)
    return (found["base"], int(found["counter"])) if found else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """The last file of which something was heard, and how many stretches of it; travels in the checkpoint as JSON."""

    base: str
    counter: int
    #: Stretches heard of that file; -1: all of it.
    stretches: int = -1

    def to_json(self) -> str:
        return json.dumps({"base": self.base, "counter": self.counter, "stretches": self.stretches})

    @staticmethod
    def from_json(text: str) -> "Position | None":
        try:
            said = json.loads(text) if text else {}
            return Position(base=str(said["base"]), counter=int(said["counter"]), stretches=int(said["stretches"]))
        except (ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """Numbers that never came."""

    base: str
    last: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Next:
    """The file whose turn it is."""

    item: ArchiveItem
    base: str
    counter: int
    #: It begins another run: nothing before it belongs to it.
    begins_run: bool


class Order:
    """Files in any order in, in the order of their numbers out. Pure: the time is told."""

    def __init__(self, *, gap_wait_s: float, resume: Position | None = None) -> None:
        self._gap_wait_s = gap_wait_s
        self._base = resume.base if resume else ""
        self._expected: int | None = None
        if resume:
            self._expected = resume.counter + 1 if resume.stretches < 0 else resume.counter
        #: What the previous owner had heard and perhaps not reported: the last files before its position.
        self._reported_late = range(max(0, (self._expected or 0) - 2), self._expected or 0)
        self._waiting: dict[ArchiveItem, float] = {}
        self._taken: deque[ArchiveItem] = deque(maxlen=REMEMBERED)
        self._given_up: set[int] = set()
        self._past: set[str] = set()
        self._useless: list[ArchiveItem] = []

    def offer(self, items: Sequence[ArchiveItem], now_s: float) -> list[ArchiveItem]:
        """All that waits; returns what need not be heard: no archive files, repeats, what came after it was given up."""
        useless, self._useless = self._useless, []
        self._waiting = {item: self._waiting.get(item, now_s) for item in items if item not in self._taken}
        for item in list(self._waiting):
            name = archive_name(item.key)
            if name is None or name[0] in self._past or (name[0] == self._base and name[1] in (*self._reported_late, *self._given_up)):
                del self._waiting[item]
                useless.append(item)
        self._reported_late = range(0)
        return useless

    def next(self, now_s: float, *, closing: bool = False) -> Next | Lost | None:
        """`closing`: nothing is waited for any more."""
        here = self._of_run()
        if here:
            counter, item = here[0]
            if counter == self._expected:
                return self._take(item, counter, begins_run=False)
            if closing or now_s - min(self._waiting[i] for _, i in here) >= self._gap_wait_s:
                missing = range(self._expected or 0, counter)
                self._given_up.update(missing[-REMEMBERED:])
                self._expected = counter
                return Lost(base=self._base, last=counter - 1)
            return None
        return self._next_run(now_s, closing=closing)

    def wake_in_s(self, now_s: float) -> float | None:
        """When waiting for a missing number ends; None: nothing is waited for."""
        return min((since + self._gap_wait_s for since in self._waiting.values()), default=now_s - 1) - now_s if self._waiting else None

    def _of_run(self) -> list[tuple[int, ArchiveItem]]:
        if self._expected is None:
            return []
        named = ((archive_name(item.key), item) for item in self._waiting)
        return sorted(((n[1], item) for n, item in named if n and n[0] == self._base and n[1] >= (self._expected or 0)), key=lambda pair: pair[0])

    def _next_run(self, now_s: float, *, closing: bool) -> Next | None:
        """What waits does not go on with the present run: it begins one, unless the present one's rest is only late."""
        runs: dict[str, list[tuple[int, ArchiveItem]]] = {}
        for item in self._waiting:
            name = archive_name(item.key)
            if name:
                runs.setdefault(name[0], []).append((name[1], item))
        for base in sorted(runs):  # `$dt$` in the name sorts by time
            files = sorted(runs[base], key=lambda pair: (pair[0], pair[1].sequencer))
            counter, item = files[0]
            patient = now_s - min(self._waiting[i] for _, i in files) < self._gap_wait_s and not closing
            # The very first file of the very first run has nothing to wait for.
            if patient and not (self._expected is None and counter == 0):
                continue
            if self._expected is not None and base == self._base and counter and len({n for n, _ in files}) == 1:
                # One lower number alone is a file that was written once more, not a channel that started anew.
                self._drop(item for _, item in files)
                continue
            if self._expected is not None and base != self._base:
                self._past.add(self._base)
            begins_run = self._expected is not None
            self._base = base
            self._given_up.clear()
            return self._take(item, counter, begins_run=begins_run)
        return None

    def _drop(self, items: Iterable[ArchiveItem]) -> None:
        for item in items:
            del self._waiting[item]
            self._taken.append(item)
            self._useless.append(item)

    def _take(self, item: ArchiveItem, counter: int, *, begins_run: bool) -> Next:
        del self._waiting[item]
        self._taken.append(item)
        self._expected = counter + 1
        return Next(item=item, base=self._base, counter=counter, begins_run=begins_run)


# ---------------------------------------------------------------------------------------------- the source


class ArchiveSource:
    """Implements `session.Source`. An item is reported as heard when the piece after it is asked for.

    A whole file, which may be most of `file_bytes_max`, is in memory only while `turns`, shared by all streams, allow it.
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
        self._resume = Position.from_json(resume)
        self._order = Order(gap_wait_s=settings.gap_wait_s, resume=self._resume)
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
            useless = self._order.offer(self._inbox.waiting(), self._clock())
            if useless:
                self._log.info("archive.passed_over", files=len(useless))
                self._inbox.heard(useless)
            found = self._order.next(self._clock(), closing=closing)
            match found:
                case Lost():
                    self._log.warning("archive.missing", base=found.base, last=found.last)
                    # How long they were only the next file's time stamps will tell.
                    yield Missing(duration_s=0.0, reason="segment_missing", position=Position(base=found.base, counter=found.last).to_json())
                case Next():
                    self._news_at = self._clock()
                    yield from self._file(found)
                case None if self._is_over(closing=closing):
                    return
                case None:
                    self._wait()

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
        wake_in_s = self._order.wake_in_s(now)
        if wake_in_s is not None:
            ends.append(now + wake_in_s)
        if self._stop_at is not None:
            ends.append(self._stop_at + self._settings.end_grace_s)
        # What is overdue was just looked at; a short wait keeps a clock that does not move from spinning.
        self._signals.wait(max(min(ends) - now, 0.01))

    def _file(self, found: Next) -> Iterator[Piece]:
        """A file in stretches; the position after each says how many of it were heard."""
        whole = Position(base=found.base, counter=found.counter)
        try:
            stretches = self._stretches(found.item)
        except (AwsRefused, SourceUnsupported) as error:
            refused = isinstance(error, SourceUnsupported)
            self._log.warning("archive.unreadable", key=found.item.key, why=str(error))
            yield Missing(duration_s=0.0, reason="segment_refused" if refused else "segment_missing", position=whole.to_json())
            self._inbox.heard([found.item])
            return
        if stretches is None:
            return
        heard = self._heard_of(found)
        for index, stretch in enumerate(stretches):
            if index < heard:
                continue
            last = index == len(stretches) - 1
            position = whole if last else Position(base=found.base, counter=found.counter, stretches=index + 1)
            yield Segment(
                data=stretch,
                container="mpegts",
                duration_s=0.0,
                discontinuity=found.begins_run and index == 0,
                position=position.to_json(),
                fetched_at=self._now(),
            )
            if self._signals.leaving and not last:
                return
        self._inbox.heard([found.item])

    def _heard_of(self, found: Next) -> int:
        """Stretches that a previous owner heard of this file."""
        resume, self._resume = self._resume, None
        same = resume is not None and resume.base == found.base and resume.counter == found.counter
        return max(0, resume.stretches) if resume is not None and same else 0

    def _stretches(self, item: ArchiveItem) -> list[bytes] | None:
        """The sound of a file; None: we are leaving."""
        while not self._turns.acquire(timeout=TURN_S):
            if self._signals.leaving:
                return None
        try:
            data = self._get(item)
            return None if data is None else mpegts.cut(data, seconds=STRETCH_S)
        finally:
            self._turns.release()

    def _get(self, item: ArchiveItem) -> bytes | None:
        """None: we are leaving. S3 is asked again for as long as a missing file would be waited for."""
        give_up_at = self._clock() + self._settings.gap_wait_s
        wait_s = RETRY_S
        while True:
            try:
                data = self._objects.get(bucket=item.bucket, key=item.key, version=item.version, bytes_max=self._settings.file_bytes_max)
            except AwsUnavailable:
                if self._clock() + wait_s > give_up_at:
                    raise
                self._signals.wait(wait_s)
                if self._signals.leaving:
                    return None
                wait_s *= 2
            else:
                self.fetched_bytes += len(data)
                return data
