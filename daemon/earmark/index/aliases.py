"""Recordings that are another one: heard as that one, told as that one, and known by their own ids all the same.

An alias is of a recording that is none itself, so that there are no chains. Where all of it is in another recording its
postings are put aside: what would find it finds the other. Where it has seconds of its own, or another speed, it keeps
them, and what they find is told as the other. Either way its constellation stays.

When a recording goes, or gets another content, its first alias takes its place and the others become aliases of that, as
far as they are known to be the same; the rest are recordings of their own. Nothing has to be decoded for that.
"""

from collections.abc import Collection, Sequence
from typing import Final

from earmark.index.overlaps import pairs_of
from earmark.postgres import Connection

_PAIRS_LOCK: Final = 0x656172_70616972


def primaries(connection: Connection, track_nos: Collection[int]) -> dict[int, int]:
    """Of those that are aliases: whose."""
    return dict(connection.execute("select track_no, of_no from track_alias where track_no = any(%s)", [list(track_nos)]).fetchall())


def without_postings(connection: Connection, track_nos: Collection[int]) -> dict[int, list[int]]:
    """Aliases that no look-up finds, by the number of the recording that they are all in, which is one of these."""
    rows = connection.execute("select in_no, array_agg(track_no order by track_no) from track_alias where in_no = any(%s) group by 1", [list(track_nos)])
    return dict(rows.fetchall())


def link(connection: Connection, track_no: int, of_no: int, *, in_no: int | None) -> bool:
    """Make a recording the alias of another, which is none; its own aliases, if it has any, become the other's, too.

    Args:
        in_no: all of it is in this recording, which has postings; None: not so.

    Returns:
        False if one of them is gone meanwhile, or has become an alias: then nothing has changed.
    """
    others = {of_no, of_no if in_no is None else in_no}
    lock_pairs(connection)
    there = connection.execute("select track_no from track where track_no = any(%s)", [sorted(others)]).fetchall()
    if len(there) < len(others) or primaries(connection, [of_no]):
        return False
    connection.execute("update track_alias set of_no = %s where of_no = %s", [of_no, track_no])
    aside = in_no is not None and _put_aside(connection, track_no)
    if aside:
        connection.execute("update track_alias set in_no = %s where in_no = %s", [in_no, track_no])
    connection.execute(
        """insert into track_alias (track_no, of_no, in_no) values (%s, %s, %s)
           on conflict (track_no) do update set of_no = excluded.of_no, in_no = excluded.in_no""",
        [track_no, of_no, in_no if aside else None],
    )
    mark(connection, [track_no, *_family(connection, of_no)])
    return True


def unlink(connection: Connection, track_no: int) -> None:
    """A recording of its own again. Under the lock of pairs."""
    connection.execute("delete from track_alias where track_no = %s", [track_no])
    _bring_back(connection, track_no)
    mark(connection, [track_no])


def release(connection: Connection, track_nos: Sequence[int]) -> list[int]:
    """These recordings are about to go, or to get another content: their aliases go on without them.

    Returns:
        Those that are recordings of their own now.
    """
    rows = connection.execute(
        "select track_no, of_no from track_alias where (of_no = any(%(no)s) or in_no = any(%(no)s)) and track_no <> all(%(no)s) order by track_no",
        {"no": list(track_nos)},
    ).fetchall()
    heirs: dict[int, int] = {}
    promoted = []
    for track_no, of_no in rows:
        of = heirs.get(of_no) if of_no in track_nos else of_no
        pair = None if of is None else next((pair for pair in pairs_of(connection, track_no) if pair.other_no == of), None)
        if of is None or (of_no in track_nos and (pair is None or not pair.alike)):
            heirs.setdefault(of_no, track_no)
            promoted.append(track_no)
            connection.execute("delete from track_alias where track_no = %s", [track_no])
            _bring_back(connection, track_no)
        elif pair is not None and pair.overlap.whole:
            connection.execute("update track_alias set of_no = %s, in_no = %s where track_no = %s", [of, of, track_no])
            if not _put_aside(connection, track_no):
                connection.execute("update track_alias set in_no = null where track_no = %s", [track_no])
        else:
            connection.execute("update track_alias set of_no = %s, in_no = null where track_no = %s", [of, track_no])
            _bring_back(connection, track_no)
    connection.execute("delete from track_alias where track_no = any(%s)", [list(track_nos)])
    mark(connection, sorted({track_no for track_no, _ in rows}))
    return promoted


def _family(connection: Connection, of_no: int) -> list[int]:
    return [of_no, *(no for (no,) in connection.execute("select track_no from track_alias where of_no = %s", [of_no]).fetchall())]


def _put_aside(connection: Connection, track_no: int) -> bool:
    """Take a recording's postings out of what is looked up; False if some are in a run already, from which none is taken."""
    rows = connection.execute(
        """select d.doc_id, packed and not exists (select from put_aside p where p.doc_id = d.doc_id)
           from doc d where track_no = %s and retired_at is null order by doc_id for update""",
        [track_no],
    ).fetchall()
    if any(in_run for _, in_run in rows):
        return False
    doc_ids = [doc_id for doc_id, _ in rows]
    connection.execute("insert into put_aside select doc_id, digest, postings from fresh where doc_id = any(%s) on conflict do nothing", [doc_ids])
    connection.execute("delete from fresh where doc_id = any(%s)", [doc_ids])
    connection.execute("update doc set packed = true, postings = 0, changed_xid = pg_current_xact_id() where doc_id = any(%s)", [doc_ids])
    return True


def _bring_back(connection: Connection, track_no: int) -> None:
    """Look a recording's postings up again, if they were put aside."""
    doc_ids = [
        doc_id
        for (doc_id,) in connection.execute(
            "select doc_id from doc join put_aside using (doc_id) where track_no = %s and retired_at is null order by doc_id for update of doc", [track_no]
        ).fetchall()
    ]
    connection.execute("insert into fresh (doc_id, digest, postings) select doc_id, digest, postings from put_aside where doc_id = any(%s)", [doc_ids])
    connection.execute(
        """update doc set packed = false, postings = length(p.postings) / 6, changed_xid = pg_current_xact_id()
           from put_aside p where p.doc_id = doc.doc_id and doc.doc_id = any(%s)""",
        [doc_ids],
    )
    connection.execute("delete from put_aside where doc_id = any(%s)", [doc_ids])


def lock_pairs(connection: Connection) -> None:
    """What is between recordings is the business of several: one transaction at a time, or two removals wait for one another.

    Comes after the locks of the recordings themselves, and before any of their rows is locked.
    """
    connection.execute("select pg_advisory_xact_lock(%s)", [_PAIRS_LOCK])


def mark(connection: Connection, track_nos: Sequence[int]) -> None:
    """Tell readers to read what is known about these recordings anew."""
    if not track_nos:
        return
    rows = connection.execute(
        "select doc_id from doc where track_no = any(%s) and part = 0 and retired_at is null order by doc_id for update", [list(track_nos)]
    ).fetchall()
    connection.execute("update doc set changed_xid = pg_current_xact_id() where doc_id = any(%s)", [[doc_id for (doc_id,) in rows]])
