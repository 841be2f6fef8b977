"""Archive files of one pipeline in any order in, in the order of their numbers out. Pure: the time is told.

MediaLive writes `base.000000.ts`, `base.000001.ts`, … and each appears when it is closed. S3 tells of them in any
order, now and then twice, now and then not at all. So they are put in order by their number, a missing number is
waited for and then given up, and a number that starts anew at 000000 is another run of the channel.
"""

import json
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from earmark.model import GapReason

#: Six digits, until a million files are written.
_KEY = re.compile(r"(?P<base>.+)\.(?P<counter>[0-9]{6,9})\.(?:ts|m2ts)")
#: Files taken before, by which a notification that comes again is known.
REMEMBERED = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveItem:
    """An object that arrived."""

    bucket: str
    key: str
    version: str = ""
    #: Orders the writes of one key, where the bucket keeps no versions.
    sequencer: str = ""
    size: int = field(default=0, compare=False)
    #: When S3 had it.
    made_at: datetime | None = field(default=None, compare=False)
    #: Written by the other pipeline of the channel.
    spare: bool = field(default=False, compare=False)


Taken: TypeAlias = deque[ArchiveItem]


def archive_name(key: str) -> tuple[str, int] | None:
    """What an archive file's name begins with, and its number; None when it is no archive file."""
    found = _KEY.fullmatch(key)
    return (found["base"], int(found["counter"])) if found else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """The last file of which something was heard, and how much of it; travels in the checkpoint as JSON."""

    base: str
    counter: int
    #: Stretches heard of that file; -1: all of it.
    stretches: int = -1
    #: Where in that file the next one begins, bytes; 0: not known (a daemon that read files whole wrote this).
    offset: int = 0
    #: Behind what was heard, 90 kHz, 33 bits; None: the files have no time stamps, or this is such a daemon's.
    pts: int | None = None
    #: When the last file of which all was heard was made, and whether the other pipeline's files are heard now.
    made_at: datetime | None = None
    spare: bool = False

    def to_json(self) -> str:
        said = {"base": self.base, "counter": self.counter, "stretches": self.stretches, "offset": self.offset, "pts": self.pts, "spare": self.spare}
        return json.dumps({**said, "made_at": self.made_at.isoformat() if self.made_at else None})

    @staticmethod
    def from_json(text: str) -> "Position | None":
        """None for an empty text, and for one of another source."""
        try:
            said = json.loads(text) if text else {}
            made_at = said.get("made_at")
            return Position(
                base=str(said["base"]),
                counter=int(said["counter"]),
                stretches=int(said["stretches"]),
                offset=int(said.get("offset", 0)),
                pts=None if said.get("pts") is None else int(said["pts"]),
                made_at=datetime.fromisoformat(made_at) if made_at else None,
                spare=bool(said.get("spare", False)),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """Numbers that never came, or could not be used."""

    base: str
    last: int
    reason: GapReason = "segment_missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Next:
    """The file whose turn it is."""

    item: ArchiveItem
    base: str
    counter: int
    #: It begins another run: nothing before it belongs to it.
    begins_run: bool
    #: It is another pipeline's than the file before, and what was heard ends here (90 kHz, 33 bits): it is heard from there on.
    from_pts: int | None = None


class Order:
    """`offer` all that waits, then take `next` until it is None. `taken` is shared by the orders of a session."""

    def __init__(self, *, gap_wait_s: float, resume: Position | None = None, taken: Taken | None = None) -> None:
        self._gap_wait_s = gap_wait_s
        self._base = resume.base if resume else ""
        self._expected: int | None = None
        if resume:
            self._expected = resume.counter + 1 if resume.stretches < 0 else resume.counter
        #: What the previous owner had heard and perhaps not reported: the last files before its position.
        self._reported_late = range(max(0, (self._expected or 0) - 2), self._expected or 0)
        self._waiting: dict[ArchiveItem, float] = {}
        self._taken: Taken = deque(maxlen=REMEMBERED) if taken is None else taken
        self._given_up: set[int] = set()
        self._past: set[str] = set()
        self._useless: list[ArchiveItem] = []

    @property
    def waiting(self) -> Mapping[ArchiveItem, float]:
        """And since when."""
        return self._waiting

    @property
    def upcoming(self) -> tuple[int, ArchiveItem] | None:
        """The lowest number of the present run that waits behind a missing one, and its file."""
        here = self._of_run()
        return here[0] if here else None

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

    def take(self, item: ArchiveItem) -> Next:
        """This one, whatever else waits: a file of the pipeline that is heard from now on."""
        base, counter = archive_name(item.key) or ("", 0)
        self._base = base
        self._waiting.setdefault(item, 0.0)
        return self._take(item, counter, begins_run=False)

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
