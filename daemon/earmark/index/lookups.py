"""Look-ups of many sessions, put together.

Whoever asks while others' questions are being answered waits for the next turn, and then all who wait are answered at
once, as commits are grouped. Where many ask, turns are also spread: a tenth of a second apart, which costs a session a
tenth of a second and halves what a question costs. So one session is answered at once, and with hundreds a process asks
the database ten times a second: a hash that several ask is asked once, and many in order are found faster than few.
There is no thread: who comes to turn first asks for all.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from earmark.index.blocks import ranges
from earmark.index.docs import Known
from earmark.index.postings import Found, look_up
from earmark.index.stops import among
from earmark.model import Int32, Lookup, Postings
from earmark.postgres import Pool, statement

#: Two at a time: while the server answers one, the answer to the other is taken apart.
_TURNS: Final = 2
#: Hashes of one turn, if there are several questions: what an answer to them takes (0.2 s) is what the next one waits.
_HASHES_MAX: Final = 40_000
#: Turns begin so far apart where `_CROWD` sessions or more ask in a second, and less far where there are fewer: one alone waits for nobody.
_APART_S, _CROWD, _COUNTED_S = 0.1, 32, 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What one turn did, for metrics."""

    questions: int
    #: Different ones that were asked of the database, after the stop list.
    hashes: int
    #: On the stop list.
    stopped: int
    postings: int
    seconds: float


@dataclass(slots=True, eq=False)
class _Question:
    lookup: Lookup
    #: Set when it is answered, or when it is to ask for all who wait.
    woken: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    answer: Postings | None = None
    error: BaseException | None = None


class LookUps:
    """Asks the database for all who ask.

    Args:
        pool: connections; two of them are used at most.
        known: see `earmark.index.docs.Docs.known`.
        observe: told of each turn, on the thread of whoever's turn it was.
    """

    def __init__(self, *, pool: Pool, known: Callable[[], Known], observe: Callable[[Turn], None], clock: Callable[[], float]) -> None:
        self._pool = pool
        self._known = known
        self._observe = observe
        self._clock = clock
        self._lock = threading.Lock()
        self._turns = 0
        self._waiting: deque[_Question] = deque()
        #: The first of those who wait has been told to lead, and has not begun its turn.
        self._led = False
        self._begun_at = -math.inf
        #: Who asks, in this second, and how many it were in the one before.
        self._askers: set[int] = set()
        self._crowd, self._counted_until = 0, -math.inf

    def answer(self, lookup: Lookup) -> Postings:
        """Raises DatabaseUnavailable; the question may then be asked again. May be called by many threads."""
        mine = _Question(lookup)
        with self._lock:
            self._count()
            self._waiting.append(mine)
            self._appoint()
        mine.woken.wait()  # as long as two turns take, each of which the database's time-outs bound
        if mine.leads:
            time.sleep(self._pause_s())
            self._take_turn(self._begin_turn())
        if mine.answer is None:
            raise mine.error or RuntimeError("a look-up was neither answered nor refused")
        return mine.answer

    def _count(self) -> None:
        """Who asks. The lock is held."""
        now = self._clock()
        if now >= self._counted_until:
            self._crowd = len(self._askers) if now < self._counted_until + _COUNTED_S else 0
            self._askers, self._counted_until = set(), now + _COUNTED_S
        self._askers.add(threading.get_ident())

    def _pause_s(self) -> float:
        apart_s = _APART_S * min(1.0, self._crowd / _CROWD) if self._crowd > 1 else 0.0
        return max(0.0, self._begun_at + apart_s - self._clock()) if apart_s else 0.0

    def _appoint(self) -> None:
        """The first who waits is to lead, if there is a turn to be had. The lock is held."""
        if self._waiting and not self._led and self._turns < _TURNS:
            self._led = self._waiting[0].leads = True
            self._waiting[0].woken.set()

    def _begin_turn(self) -> "list[_Question]":
        """Of whoever leads, and of as many who wait as fit."""
        with self._lock:
            taken = [self._waiting.popleft()]
            hashes = len(taken[0].lookup.hashes)
            while self._waiting and hashes + len(self._waiting[0].lookup.hashes) <= _HASHES_MAX:
                taken.append(self._waiting.popleft())
                hashes += len(taken[-1].lookup.hashes)
            self._led, self._turns, self._begun_at = False, self._turns + 1, self._clock()
            self._appoint()
        return taken

    def _take_turn(self, questions: Sequence[_Question]) -> None:
        begun = self._clock()
        try:
            hashes, stopped, postings = self._answer_all(questions)
        except BaseException as error:  # noqa: BLE001 -- handed to everybody who asked
            for question in questions:
                question.error = error
        else:
            self._observe(Turn(questions=len(questions), hashes=hashes, stopped=stopped, postings=postings, seconds=self._clock() - begun))
        finally:
            for question in questions:
                question.woken.set()
            with self._lock:
                self._turns -= 1
                self._appoint()

    def _answer_all(self, questions: Sequence[_Question]) -> tuple[int, int, int]:
        known = self._known()
        distinct = np.unique(np.concatenate([question.lookup.hashes for question in questions]))
        asked = distinct[~among(distinct, known.stopped)]
        with statement(self._pool) as connection:
            found = _Sorted.of(asked, look_up(connection, known, asked))
        for question in questions:
            question.answer = found.answer(question.lookup)
        return len(asked), len(distinct) - len(asked), len(found.frame)


@dataclass(frozen=True, slots=True, eq=False)
class _Sorted:
    """Postings in order of their hashes."""

    hashes: Int32
    begin: Int32
    count: Int32
    track_no: Int32
    frame: Int32

    @classmethod
    def of(cls, hashes: Int32, found: Sequence[Found]) -> "_Sorted":
        count = np.zeros(len(hashes), np.int32)
        for part in found:
            count[part.first : part.first + len(part.count)] += part.count
        begin = np.cumsum(count, dtype=np.int32) - count
        if found and [*(part.first for part in found), len(hashes)] == np.cumsum([0, *(len(part.count) for part in found)]).tolist():
            # There is one run and nothing fresh: they are in order.
            return cls(hashes, begin, count, np.concatenate([part.track_no for part in found]), np.concatenate([part.frame for part in found]))
        track_no, frame = (np.empty(int(count.sum()), np.int32) for _ in range(2))
        filled = begin.copy()
        for part in found:
            upto = filled[part.first : part.first + len(part.count)]
            place = ranges(upto, part.count)
            track_no[place], frame[place] = part.track_no, part.frame
            upto += part.count
        return cls(hashes, begin, count, track_no, frame)

    def answer(self, lookup: Lookup) -> Postings:
        """Each place of a repeated hash has postings of its own; a hash with too many has none."""
        if not len(self.hashes):
            return Postings.none()
        place = np.searchsorted(self.hashes, lookup.hashes)
        count = self.count.take(place, mode="clip")
        count[(self.hashes.take(place, mode="clip") != lookup.hashes) | (count > lookup.postings_max)] = 0
        which = ranges(self.begin.take(place, mode="clip"), count)
        query = np.repeat(np.arange(len(lookup.hashes), dtype=np.int32), count)
        return Postings(query=query, track_no=self.track_no[which], frame=self.frame[which])
