"""What recordings share, found out when they are added and put on record: `earmark.relatives`, asked of the catalogue in PostgreSQL.

A recording that may be a duplicate is compared before it is written, so that it is never heard as a recording of its own,
not even for a second. Any number of processes compare at once; they write one after the other, and who finds that
another has come first since it compared compares with that one too, before it tries again. So of two additions at once
the second sees the first, whatever their order.

    add         compare it with what is there, decide whether it is a duplicate, and write it: as often as others come first
    first       in the transaction that writes it, first: nobody else comes before it is over
    link        last: if it is a duplicate, make it an alias
    settle      when it is written: put on record what it shares
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np

from earmark import duplicates
from earmark.duplicates import Duplicate, Policy
from earmark.fingerprint.landmarks import unranked
from earmark.hearing import drive
from earmark.index import aliases, overlaps
from earmark.index.answers import Index
from earmark.index.catalogue import Recording
from earmark.index.docs import came_since
from earmark.index.stretches import Owed, SharedPassages
from earmark.matching.overlaps import Compared, Overlap
from earmark.matching.proposals import passage
from earmark.model import FRAMES_PER_S, Fetch, Int32, Landmarks, Peaks
from earmark.postgres import Connection, Pool, statement
from earmark.relatives import COMPARED_S, Related, related_to, relatives

T = TypeVar("T")

#: The number of a recording that has none yet.
_NONE: Final = -1
_ADDING_LOCK: Final = 0x656172_61646473
#: Others may come first so often; then it is written all the same, and `settle` compares it with them.
_TRIES_MAX: Final = 20
#: What was added is waited for, where the catalogue is read from a replica; so long, so often looked for.
_BEHIND_S, _LOOK_S = 5.0, 0.1


class CameFirst(Exception):
    """Others were added since a recording was judged: these numbers."""

    def __init__(self, track_nos: Collection[int]) -> None:
        super().__init__()
        self.track_nos = track_nos


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A recording that is about to be added, beside those that are there."""

    recording: Recording
    relations: list[Compared]
    #: Numbers of those that it was compared with; and a transaction before which no others came.
    seen: Int32
    since: str
    duplicate: Duplicate | None = None
    #: It is not to be added, because of that.
    rejected: bool = False
    #: It does not sound like the recording that has its id.
    unlike: bool = False
    #: What is wrong with its ISRCs, a sentence each.
    clashes: tuple[str, ...] = ()
    #: Aliases of what it replaces, and how each lies on it: those stay its aliases.
    heirs: tuple[tuple[int, Overlap], ...] = ()
    #: It is written whoever came since.
    last_try: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Sound:
    """A recording, as it is compared."""

    peaks: Peaks
    asked: Landmarks
    duration_s: float

    @classmethod
    def of(cls, recording: Recording) -> "_Sound":
        return cls(peaks=recording.peaks, asked=recording.postings, duration_s=recording.track.duration_s)


class Relating:
    """Finds out what recordings share with others in the catalogue.

    Args:
        index: of a process that has one; else one is opened when it is needed.
        duplicates: what becomes of a recording that is there already.
    """

    def __init__(self, *, pool: Pool, index: Index | None = None, duplicates: Policy = "keep") -> None:
        self._pool = pool
        self._passages = SharedPassages(pool=pool)
        self._index = index
        self._policy = duplicates

    def owes(self, track_id: str) -> bool:
        return bool(self._passages.owed([track_id]))

    # -------------------------------------------------------------------------------------------- new ones

    def add(self, recording: Recording, write: Callable[[Judged], T]) -> tuple[Judged, T]:
        """Judge a recording, and write it by what it was judged to be; `write` calls `first`, if it writes at all, and may be called again."""
        judged = self.judge(recording)
        for tries in range(_TRIES_MAX):
            try:
                return judged, write(judged)
            except CameFirst as news:
                judged = replace(self.judge(recording, judged, by=news.track_nos), last_try=tries + 2 >= _TRIES_MAX)
        raise AssertionError  # the last try overtakes nobody

    def first(self, connection: Connection, judged: Judged) -> None:
        """First in the transaction that writes it, before any other lock. Raises CameFirst if it was not compared with all that are there."""
        if self._policy == "keep":  # nothing follows from it
            return
        connection.execute("select pg_advisory_xact_lock(%s)", [_ADDING_LOCK])
        if not judged.last_try and (news := came_since(connection, judged.since) - set(judged.seen.tolist())):
            raise CameFirst(news)

    def judge(self, recording: Recording, earlier: Judged | None = None, *, by: Collection[int] = ()) -> Judged:
        """Compare a recording with those that are there, before it is written; or with those that came since it was judged before.

        `by`: came in any case, and are waited for if they are not seen yet.
        """
        track, index = recording.track, self._now()
        self._await(index, by)
        since, seen = index.since, index.track_nos
        if earlier is None:
            relations = self._ask(_Sound.of(recording), index, track_no=_NONE)
        else:
            came = set(np.setdiff1d(seen, earlier.seen).tolist())
            relations = earlier.relations + self._ask(_Sound.of(recording), index, track_no=_NONE, beside=earlier.relations, among=came)
        with statement(self._pool) as connection:
            before = overlaps.number(connection, track.track_id)
            known = overlaps.described(connection, [relation.other_no for relation in relations])
            same_isrc = overlaps.with_isrc(connection, track.isrc, but=track.track_id)
        # What it replaces is nothing that it is a duplicate of, and neither are that one's aliases.
        others = [r for r in relations if before is None or before not in (r.other_no, known[r.other_no].of_no if r.other_no in known else None)]
        found = duplicates.duplicate(track, others, known)
        clashes = duplicates.clashes(track, relations, known, same_isrc)
        unlike = before is not None and before not in _alike(relations)
        if unlike and track.track_id in map("isrc:{}".format, track.isrc):
            clashes += (duplicates.replaces(track.track_id),)
        return Judged(
            recording=recording,
            relations=relations,
            seen=seen,
            since=since,
            duplicate=found,
            rejected=found is not None and self._policy == "reject",
            unlike=unlike,
            clashes=clashes,
            heirs=tuple((no, laid.turned()) for no, laid in _alike(relations).items() if before is not None and no in known and known[no].of_no == before),
        )

    def link(self, connection: Connection, judged: Judged) -> bool:
        """In the transaction that has just written it as new: make it an alias, if it is to be one. The aliases of what it replaces stay its own."""
        track_no = overlaps.number(connection, judged.recording.track.track_id)
        assert track_no is not None
        for no, laid in judged.heirs:
            aliases.link(connection, no, track_no, in_no=track_no if laid.whole else None)
        found = judged.duplicate
        return found is not None and self._policy == "link" and aliases.link(connection, track_no, found.of.track_no, in_no=found.in_no)

    def settle(self, judged: Judged) -> None:
        """It is written: put on record what it shares; with what came meanwhile, too, if nobody has looked for that (`first`)."""
        recording, index = judged.recording, self._now()
        owed = self._passages.owed([recording.track.track_id]).get(recording.track.track_id)
        if owed is None:
            return
        relations = list(judged.relations)
        newcomers = set(np.setdiff1d(index.track_nos, judged.seen).tolist()) - {owed.track_no}
        if newcomers and (judged.last_try or self._policy == "keep"):  # else who came later has seen this one
            relations += self._ask(_Sound.of(recording), index, track_no=owed.track_no, known=owed.known, beside=relations, among=newcomers)
        self._passages.put(owed.track_no, relations)

    # -------------------------------------------------------------------------------------------- those that are there

    def relate(self, recordings: Sequence[Recording]) -> None:
        """Compare those that were not yet, now that they are in the catalogue."""
        owed = self._passages.owed([recording.track.track_id for recording in recordings])
        if owed:
            index = self._now()
            for recording in recordings:
                # Again, because the recordings before it may have been compared with it.
                still = self._passages.owed([recording.track.track_id]).get(recording.track.track_id) if recording.track.track_id in owed else None
                if still is not None:
                    self._passages.put(still.track_no, self._ask(_Sound.of(recording), index, track_no=still.track_no, known=still.known))

    def again(self) -> Iterator[tuple[int, int]]:
        """Lay those over the others that were not yet, by what is stored of them: how many are done, of how many."""
        owed = self._passages.unaligned()
        for done, (_, one) in enumerate(owed.items(), 1):
            self._lay(one, self._now())
            yield done, len(owed)

    def _lay(self, one: Owed, index: Index) -> None:
        found = index.answer(Fetch(passages=(passage(one.track_no, 0, COMPARED_S * FRAMES_PER_S),)))
        assert isinstance(found, list)
        if found:
            stored = found[0]
            among = one.known if one.compared else None
            sound = _Sound(peaks=stored.peaks, asked=unranked(stored.peaks), duration_s=stored.duration_s)
            self._passages.put(one.track_no, self._ask(sound, index, track_no=one.track_no, known=(), among=among))

    def _ask(
        self,
        sound: "_Sound",
        index: Index,
        *,
        track_no: int,
        known: Collection[int] = (),
        beside: Sequence[Compared] = (),
        among: Collection[int] | None = None,
    ) -> list[Compared]:
        """What a recording shares with others, and with aliases of theirs that no look-up finds; but for what is `beside` already."""
        size, peaks, duration_s = index.size(), sound.peaks, sound.duration_s
        known = {*known, *(relation.other_no for relation in beside)}
        asking = relatives(peaks, duration_s, track_no=track_no, known=known, size=size, asked=sound.asked, among=among)
        relations = drive(asking, index.answer)
        alike = _alike([*beside, *relations])
        with statement(self._pool) as connection:
            hidden = aliases.without_postings(connection, alike) if alike else {}
        left_out = {track_no, *known, *(relation.other_no for relation in relations)}
        for of_no, numbers in hidden.items():
            speed = alike[of_no].speed
            for number in numbers:
                if number not in left_out and (among is None or number in among):
                    relations += drive(related_to(peaks, duration_s, Related(other_no=number, pitch=speed, slope=speed), size), index.answer)
        return relations

    @staticmethod
    def _await(index: Index, track_nos: Collection[int]) -> None:
        """Until they are seen, or were taken out again, or are not to be seen any time soon."""
        until = time.monotonic() + _BEHIND_S
        while not set(track_nos) <= set(index.track_nos.tolist()) and time.monotonic() < until:
            time.sleep(_LOOK_S)
            index.refresh()

    def _now(self) -> Index:
        if self._index is None:
            self._index = Index(pool=self._pool).open()
        else:
            self._index.refresh()
        return self._index


def _alike(relations: Sequence[Compared]) -> dict[int, Overlap]:
    """Those that are the same recording, or an excerpt of one another, by number."""
    return {relation.other_no: relation.overlap for relation in relations if relation.overlap.kind != "passage"}
