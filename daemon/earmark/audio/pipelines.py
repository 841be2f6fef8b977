"""The two pipelines of a standard MediaLive channel as one run of files: each second from one of them, none twice.

Both write the same programme to places of their own. One is followed; the other's files wait beside it, are passed over
once what they hold was heard, and are heard instead where the followed one lacks a file, or has none any more. From then
on the other is the one that is followed: what stopped once may stop again, and nothing is waited for twice.

Which of the other's files goes on where something is missing? The one of the same number, while both count alike, that
is, while they make files of one number at one time. Else the one whose time stamps begin before the place and end behind
it; encoders of one channel that were locked to each other have the same. Where neither is so, the other is heard from its
next file on, and what was missed cannot be told.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from earmark.audio.mpegts import PTS_HZ, ticks_between
from earmark.audio.order import REMEMBERED, ArchiveItem, Lost, Next, Order, Position, Taken, archive_name

#: Time stamps further apart than this are of different clocks.
_COMPARABLE_S: Final = 3_600.0
#: A frame or two: what begins within it of the place begins there.
_SAME_S: Final = 0.2
#: By how much S3's times of two files may be off against their media: uploads take their time, and events tell whole seconds.
_SLACK_S: Final = 10.0
#: Files of the other pipeline whose time stamps are looked at for one place.
_LOOKED_AT_MAX: Final = 4
#: Files whose length is remembered: the last of a run is short.
_LENGTHS: Final = 4


class Pipelines:
    """As `Order`, of files of both. `begins`: the first time stamp of a file (90 kHz, 33 bits), None if it has none; may be asked twice."""

    def __init__(self, *, gap_wait_s: float, begins: Callable[[ArchiveItem], int | None], now_s: float, resume: Position | None = None) -> None:
        self._gap_wait_s = gap_wait_s
        self._begins = begins
        self._taken: Taken = deque(maxlen=2 * REMEMBERED)
        #: Whether the other pipeline, that of the spare place, is followed.
        self.spare = resume.spare if resume else False
        self._order = Order(gap_wait_s=gap_wait_s, resume=resume, taken=self._taken)
        self._others: dict[ArchiveItem, float] = {}
        self._counts = (_Count(), _Count())
        #: Of the other's files those that lie before the one that was chosen.
        self._passed: set[ArchiveItem] = set()
        #: Of what was heard: the last file, where it ends, when it was made, and how long its files were.
        self._done: tuple[str, int] | None = None
        self._until: int | None = None
        self._made_at: datetime | None = None
        self._lengths_s: deque[float] = deque(maxlen=_LENGTHS)
        #: When the followed pipeline last brought something; and what of it could not be used.
        self._news_s = now_s
        self._failed: Lost | None = None
        if resume:
            self._done = resume.base, resume.counter if resume.stretches < 0 else resume.counter - 1
            self._until, self._made_at = resume.pts, resume.made_at

    # ------------------------------------------------------------------------------------------ what was heard

    def heard(self, until: int | None) -> None:
        """Media up to this time stamp."""
        self._until = until if until is not None else self._until

    def finished(self, found: Next, *, media_s: float) -> None:
        """All of this file, which held so many seconds."""
        self._done = found.base, found.counter
        if media_s > 0:
            self._lengths_s.append(media_s)
        made_at = found.item.made_at
        self._made_at = max(filter(None, (self._made_at, made_at)), default=None)

    def failed(self, found: Next, lost: Lost) -> None:
        """This file, or the rest of it, cannot be had."""
        self._failed = lost
        self._done = found.base, found.counter - 1

    # ------------------------------------------------------------------------------------------ what comes next

    def offer(self, items: Sequence[ArchiveItem], now_s: float) -> list[ArchiveItem]:
        """All that waits, of both; returns what need not be heard."""
        useless = [item for item in items if item in self._passed]
        self._passed.clear()
        items = [item for item in items if item not in useless]
        for item in items:
            self._counts[item.spare].note(item)
        mine = [item for item in items if item.spare == self.spare]
        if any(item not in self._order.waiting and item not in self._taken for item in mine):
            self._news_s = now_s
        useless += self._order.offer(mine, now_s)
        self._others = {item: self._others.get(item, now_s) for item in items if item.spare != self.spare and item not in self._taken}
        for item in [item for item in self._others if self._covered(item)]:
            del self._others[item]
            useless.append(item)
        return useless

    def next(self, now_s: float, *, closing: bool = False) -> Next | Lost | None:
        """Asks `begins`, and raises what that does."""
        if self._failed:
            lost, self._failed = self._failed, None
            return self._instead(self._order.upcoming) or lost
        found = self._order.next(now_s, closing=closing)
        match found:
            case Lost():
                return self._instead(self._order.upcoming) or found
            case Next(begins_run=True) if instead := self._instead((None, found.item)):
                self._taken.remove(found.item)  # it is the other's from now on
                return instead
            case None if self._overdue(now_s, closing=closing):
                return self._instead() or (None if closing and self._done else self._anew())
        return found

    def wake_in_s(self, now_s: float) -> float | None:
        """When waiting for something ends; None: nothing is waited for."""
        ends = [since + self._gap_wait_s for since in self._others.values()]
        if self._others:
            ends.append(self._news_s + self._file_s + self._gap_wait_s)
        waits = [end - now_s for end in ends if end > now_s]
        own = self._order.wake_in_s(now_s)
        return min([*waits, own] if own is not None else waits, default=None)

    @property
    def _file_s(self) -> float:
        return max(self._lengths_s, default=0.0)

    def _overdue(self, now_s: float, *, closing: bool) -> bool:
        """Whether the other has something by now that the followed one should have brought."""
        if not self._others or self._order.waiting:
            return False
        waited = now_s - min(self._others.values()) >= self._gap_wait_s
        if closing or (waited and self._alike()):
            return True
        # Files that are cut at other moments are not made at the same time.
        return waited and now_s - self._news_s >= self._file_s + self._gap_wait_s

    def _covered(self, item: ArchiveItem) -> bool:
        """Whether what it holds was heard: by its number, or because it was made well before what was heard."""
        name = archive_name(item.key)
        if name is None:
            return True
        if not (self._made_at and item.made_at):
            return False
        after_s = (item.made_at - self._made_at).total_seconds()
        numbered = self._done is not None and self._alike() and name[0] == self._counts[item.spare].base and name[1] <= self._done[1]
        return after_s <= -_SLACK_S or (numbered and after_s <= _SLACK_S)

    # ------------------------------------------------------------------------------------------ the other one

    def _instead(self, rival: tuple[int | None, ArchiveItem] | None = None) -> Next | None:
        """The other's file that goes on where what was heard ends, and with it that pipeline; None: there is none.

        `rival`: what the followed one goes on with, and its number in the same run.
        """
        before, item = rival or (None, None)
        chosen = self._by_number(before) or self._by_time_stamps(item)
        return self._change(chosen) if chosen else None

    def _by_number(self, before: int | None) -> ArchiveItem | None:
        if self._done is None or not self._alike():
            return None
        base = self._counts[not self.spare].base
        done = self._done[1]
        ahead = [(name[1], item) for item in self._others if (name := archive_name(item.key)) and name[0] == base and name[1] > done]
        counter, item = min(ahead, key=lambda pair: pair[0], default=(0, None))
        return item if item and (before is None or counter < before) else None

    def _by_time_stamps(self, rival: ArchiveItem | None) -> ArchiveItem | None:
        covers: ArchiveItem | None = None
        for item in self._ahead(-1.0):  # events tell whole seconds
            jump_s = self._jump_s(item)
            if jump_s is None or not self._in_time(item, jump_s):
                continue
            if jump_s > _SAME_S:
                rivals_s = self._jump_s(rival) if rival and not covers else None
                return covers or (item if rivals_s is None or jump_s < rivals_s - _SAME_S else None)
            covers = item
        return covers

    def _jump_s(self, item: ArchiveItem) -> float | None:
        """Seconds from where what was heard ends to where this begins; None where that cannot be told."""
        begins = self._begins(item) if self._until is not None else None
        if self._until is None or begins is None:
            return None
        jump_s = ticks_between(self._until, begins) / PTS_HZ
        return jump_s if abs(jump_s) <= _COMPARABLE_S else None

    def _ahead(self, after_s: float) -> Iterator[ArchiveItem]:
        """Of the other's files the first that were made so long after all that was heard: run after run, by their numbers."""
        least = self._made_at + timedelta(seconds=after_s) if self._made_at else None
        named = [(item.made_at, *name, item) for item in self._others if item.made_at and (name := archive_name(item.key))]
        begins: dict[str, datetime] = {}
        for made_at, base, _, _ in named:
            begins[base] = min(made_at, begins.get(base, made_at))
        later = [(begins[base], base, counter, item.sequencer, item) for made_at, base, counter, item in named if least is None or made_at > least]
        later.sort(key=lambda file: file[:4])
        return iter([item for *_, item in later[:_LOOKED_AT_MAX]])

    def _in_time(self, item: ArchiveItem, jump_s: float) -> bool:
        """Whether it was made when such media would be: an encoder that starts anew gives the same time stamps again."""
        if not (item.made_at and self._made_at and self._file_s):
            return True
        made_s = (item.made_at - self._made_at).total_seconds()
        return abs(jump_s + self._file_s - made_s) <= _SLACK_S + self._file_s

    def _anew(self) -> Next | None:
        """The other from its next file on that holds nothing of what was heard: time stamps tell nothing of that."""
        item = next(self._ahead(self._file_s - 1.0), None)
        return self._change(item) if item else None

    def _change(self, item: ArchiveItem) -> Next:
        number, was = archive_name(item.key) or ("", 0), dict(self._order.waiting)
        self.spare = not self.spare
        self._order = Order(gap_wait_s=self._gap_wait_s, taken=self._taken)
        for other in self._others.keys() - {item}:
            base, counter = archive_name(other.key) or ("", 0)
            if (base == number[0] and counter < number[1]) or (base != number[0] and other.made_at and item.made_at and other.made_at < item.made_at):
                self._passed.add(other)
        self._others = was
        found = self._order.take(item)
        comparable = self._jump_s(item) is not None
        return replace(found, from_pts=self._until if comparable else None, begins_run=self._done is not None and not comparable)

    def _alike(self) -> bool:
        """Whether both make files of one number at one time, now."""
        one, other = self._counts
        if self._done and self._done[0] != self._counts[self.spare].base:
            return False  # the followed one has begun another run
        apart_s = [abs((one.made_at[n] - other.made_at[n]).total_seconds()) for n in one.made_at.keys() & other.made_at.keys()]
        spacing_s = one.spacing_s or other.spacing_s or self._file_s or _SLACK_S
        return bool(apart_s) and sum(apart_s) / len(apart_s) <= min(0.75 * spacing_s, max(1.5, min(_SLACK_S, spacing_s / 4)))


class _Count:
    """When one pipeline made its last files, by their numbers."""

    def __init__(self) -> None:
        self.base = ""
        self.made_at: dict[int, datetime] = {}

    def note(self, item: ArchiveItem) -> None:
        name = archive_name(item.key)
        if name is None or item.made_at is None:
            return
        if name[0] != self.base:
            if self.made_at and item.made_at < max(self.made_at.values()):
                return  # a file of an earlier run
            self.base, self.made_at = name[0], {}
        if self.made_at and name[1] < max(self.made_at) and item.made_at > self.made_at[max(self.made_at)] + timedelta(seconds=_SLACK_S):
            self.made_at = {}  # it counts from 000000 again
        self.made_at[name[1]] = item.made_at
        while len(self.made_at) > REMEMBERED:
            del self.made_at[min(self.made_at)]

    @property
    def spacing_s(self) -> float:
        """Seconds from one number to the next; 0: not known."""
        if len(self.made_at) < 2:
            return 0.0
        first, last = min(self.made_at), max(self.made_at)
        return max(0.0, (self.made_at[last] - self.made_at[first]).total_seconds() / (last - first))
