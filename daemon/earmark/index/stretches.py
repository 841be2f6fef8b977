"""Which stretches recordings share, on record: each pair as rows of both, written in one transaction.

Readers keep what they have read of a recording (`Constellations`). They learn that this part of it has changed the way
they learn of everything: its first doc is marked as changed in the same transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from earmark.index import aliases, overlaps, version
from earmark.index.aliases import lock_pairs, mark
from earmark.matching.overlaps import Compared
from earmark.model import FRAMES_PER_S, Relation, Shared
from earmark.postgres import Connection, Pool, statement, transaction


@dataclass(frozen=True, kw_only=True)
class SharedWith:
    """A stretch that a recording shares, for people."""

    begin_s: float
    end_s: float
    #: track_id of the other one.
    other: str
    #: The other one is another issue of the same recording.
    version: bool
    evidence_nats: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Owed:
    """A recording that was not compared with the others yet."""

    track_no: int
    #: Numbers of those that were compared with it.
    known: frozenset[int]
    #: It was compared with the others, by an Earmark that did not put on record how they lie on one another.
    compared: bool = False


class SharedPassages:
    """What is on record about stretches that recordings share."""

    def __init__(self, *, pool: Pool) -> None:
        self._pool = pool

    def owed(self, track_ids: Sequence[str]) -> dict[str, Owed]:
        """Those of the recordings that were not compared yet."""
        with statement(self._pool) as connection:
            rows = connection.execute(
                """select track_id, track_no, array(select distinct other_no from shared_passage s where s.track_no = t.track_no)
                   from track t where track_id = any(%s) and compared_no is distinct from track_no""",
                [list(track_ids)],
            )
            return {track_id: Owed(track_no=track_no, known=frozenset(known)) for track_id, track_no, known in rows.fetchall()}

    def unaligned(self) -> dict[str, Owed]:
        """Recordings that were not laid over the others yet; `Owed.known` are those that they are known to share something with."""
        with statement(self._pool) as connection:
            rows = connection.execute(
                """select track_id, track_no, compared_no is not distinct from track_no,
                          array(select distinct other_no from shared_passage s where s.track_no = t.track_no)
                   from track t where aligned_no is distinct from track_no order by track_no"""
            )
            return {track_id: Owed(track_no=no, known=frozenset(known), compared=compared) for track_id, no, compared, known in rows.fetchall()}

    def put(self, track_no: int, relations: Iterable[Relation], *, compared: bool = True) -> None:
        """What a recording was found to share, in place of what was known of those pairs; it is compared now, unless not `compared` with all.

        Nothing happens for recordings that were replaced or removed meanwhile.
        """
        found = {relation.other_no: relation for relation in relations}
        with transaction(self._pool) as connection:
            _lock_numbers(connection, [track_no, *found])
            version.expect(version.read(connection), self._pool)
            living = {no for (no,) in connection.execute("select track_no from track where track_no = any(%s)", [[track_no, *found]]).fetchall()}
            if track_no not in living:
                return
            others = sorted(living & set(found))
            if others:
                lock_pairs(connection)
                mark(connection, [track_no, *others])
                connection.execute(
                    """delete from shared_passage where (track_no = %(no)s and other_no = any(%(others)s))
                       or (other_no = %(no)s and track_no = any(%(others)s))""",
                    {"no": track_no, "others": others},
                )
                with connection.cursor() as cursor:
                    cursor.executemany(_INSERT, [row for other_no in others for row in _rows(track_no, found[other_no])])
                laid = [(no, relation.overlap, relation.evidence_nats) for no in others if isinstance(relation := found[no], Compared)]
                overlaps.put(connection, track_no, laid)
            if compared:
                connection.execute("update track set compared_no = track_no, aligned_no = track_no where track_no = %s", [track_no])


_THEIRS: Final = "(track_no = any(%(numbers)s) or other_no = any(%(numbers)s))"
_INSERT: Final = (
    "insert into shared_passage (track_no, other_no, begin_frame, end_frame, eighth_frames, version, evidence_nats) values (%s, %s, %s, %s, %s, %s, %s)"
)
_Row = tuple[int, int, int, int, list[int], bool, float]


def _rows(track_no: int, relation: Relation) -> list[_Row]:
    def row(one: int, other: int, s: Shared) -> _Row:
        return one, other, s.begin_frame, s.end_frame, list(s.eighth_frames), relation.version, relation.evidence_nats

    own = [row(track_no, relation.other_no, s) for s in relation.own]
    return own + [row(relation.other_no, track_no, s) for s in relation.others]


def shared_with(connection: Connection, track_no: int) -> tuple[SharedWith, ...]:
    """All stretches of a recording, in order."""
    rows = connection.execute(
        """select begin_frame, end_frame, o.track_id, version, evidence_nats
           from shared_passage s join track o on o.track_no = s.other_no where s.track_no = %s order by 1, 2, 3""",
        [track_no],
    )
    return tuple(
        SharedWith(begin_s=round(begin / FRAMES_PER_S, 1), end_s=round(end / FRAMES_PER_S, 1), other=other, version=version, evidence_nats=round(nats, 1))
        for begin, end, other, version, nats in rows.fetchall()
    )


def forget(connection: Connection, track_ids: Sequence[str]) -> None:
    """These recordings share nothing any more, nor others with them; and their aliases go on without them.

    Comes first in the transaction that replaces or removes them, which holds their `lock`: no pair of theirs can be added.
    """
    if not track_ids:
        return
    lock_pairs(connection)  # so that nobody becomes an alias of one of them meanwhile
    forget_numbers(connection, [no for (no,) in connection.execute("select track_no from track where track_id = any(%s)", [list(track_ids)]).fetchall()])


def forget_numbers(connection: Connection, numbers: Sequence[int]) -> None:
    """The same, under the lock of pairs."""
    pairs = connection.execute(f"delete from shared_passage where {_THEIRS} returning track_no, other_no", {"numbers": numbers}).fetchall()
    mark(connection, sorted({track_no for pair in pairs for track_no in pair}))
    aliases.release(connection, numbers)
    connection.execute("delete from overlap where one_no = any(%(numbers)s) or other_no = any(%(numbers)s)", {"numbers": numbers})


def lock(connection: Connection, track_ids: Sequence[str]) -> None:
    """One writer at a time per track_id, and none while tables are exchanged; in order, so that nobody waits in a circle."""
    version.enter(connection)
    connection.execute(
        "select pg_advisory_xact_lock(h) from (select distinct hashtextextended('earmark track ' || id, 0) h from unnest(%s::text[]) id order by 1) locks",
        [list(track_ids)],
    )


def _lock_numbers(connection: Connection, track_nos: Sequence[int]) -> None:
    rows = connection.execute("select track_id from track where track_no = any(%s)", [list(track_nos)])
    lock(connection, [track_id for (track_id,) in rows.fetchall()])
