"""Is every row of the catalogue what was written, and does one fit the other? `earmark db check`.

Read-only, also on a standby, and beside writers: every statement is one snapshot, so that it sees each transaction whole
or not at all, and what is compared over several statements says of itself what still counts. No statement runs for long,
or brings much: digests are computed by the server.
"""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from earmark.errors import DatabaseUnavailable
from earmark.index import integrity_runs
from earmark.index.blocks import DIGEST
from earmark.index.catalogue import Tracks
from earmark.index.constellations import PART_FRAMES, SLICES_PER_PART
from earmark.index.integrity_runs import Advance, Ask
from earmark.model import FINGERPRINT_VERSION
from earmark.postgres import Pool, limit, transaction

#: Recordings whose constellations one statement reads, at 32 kB each.
_TRACKS: Final = 200
_FRESH_DOCS: Final = 200
_DOCS: Final = 50_000
#: So many peaks have postings, whatever music they are of.
_PEAKS_HEARD: Final = 200
#: Whoever checks waits rather longer than whoever hears.
_STATEMENT_S: Final = 120
#: A standby ends statements that keep it from following.
_TRIES: Final = 4

_AGAIN: Final = "remove it (`earmark catalogue remove {}`), then add it again"


def check(pool: Pool, *, quick: bool = False, advance: Advance = lambda *_: None) -> Iterator[str]:
    """What is wrong, in a sentence each: which thing, why, what to do.

    Args:
        quick: without the rows of `block`, which are nearly all there is to read.
        advance: told of each page, what it was of, and how much of that has been read.

    Raises FingerprintMismatch if the catalogue was made by another version of the fingerprint, DatabaseUnavailable.
    """
    Tracks(pool=pool).check_version()
    asked = _Asked(pool)
    yield from integrity_runs.merges(asked)
    yield from integrity_runs.strange(asked)
    if not quick:
        yield from integrity_runs.rows(asked, advance)
    yield from _stop_list(asked)
    yield from _fresh(asked)
    yield from _recordings(asked, advance)
    yield from _strays(asked)


class _Asked:
    """Statements, each a read-only transaction of its own; one that fails for a reason that may pass is asked again."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __call__(self, query: str, **parameters: object) -> list[tuple[Any, ...]]:
        again = Retrying(stop=stop_after_attempt(_TRIES), wait=wait_random_exponential(max=5), retry=retry_if_exception_type(DatabaseUnavailable), reraise=True)
        return again(self._ask, query, parameters)

    def _ask(self, query: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        with transaction(self._pool) as connection:
            connection.execute("set transaction read only")
            limit(connection, _STATEMENT_S)
            return connection.execute(query, parameters).fetchall()


# ------------------------------------------------------------------------------------------------ stop list, fresh


def _stop_list(asked: Ask) -> Iterator[str]:
    for part, packed in asked("select part, hashes from stop_list order by part"):
        hashes = np.frombuffer(packed[: len(packed) // 4 * 4], ">i4").astype(np.int64)
        if len(packed) % 4 or np.any(hashes >> 24 != part) or np.any(np.diff(hashes) <= 0):
            yield (
                f"part {part} of the stop list is not what was written: edited by hand, or the disk fails; empty it, merges fill it again: "
                f"`update stop_list set hashes = '', changed_xid = pg_current_xact_id() where part = {part}`"
            )


_NOT_FRESH: Final = """
select t.track_id, d.part from doc d join track t using (track_no)
where not d.packed and d.retired_at is null and not exists (select from fresh f where f.doc_id = d.doc_id) order by 1, 2
"""
_NO_DOC: Final = "select doc_id from fresh f where not exists (select from doc d where d.doc_id = f.doc_id and not d.packed) order by 1"
_FRESH: Final = f"""
select max(doc_id), jsonb_agg(jsonb_build_array(track_id, part, damaged) order by doc_id) filter (where damaged or miscounted)
from (select f.doc_id, t.track_id, d.part, t.track_id is not null and f.digest <> {DIGEST.format("f.postings")} as damaged,
             t.track_id is not null and length(f.postings) <> 6 * d.postings as miscounted
      from (select * from fresh where doc_id > %(doc_id)s order by doc_id limit {_FRESH_DOCS}) f
      left join doc d on d.doc_id = f.doc_id and not d.packed left join track t on t.track_no = d.track_no and d.retired_at is null) each
"""


def _fresh(asked: Ask) -> Iterator[str]:
    for track_id, part in asked(_NOT_FRESH):
        yield f"the recording {_shown(track_id)} is not heard in part {part}: its row of the table fresh is gone; {_AGAIN.format(_word(track_id))}"
    for (doc_id,) in asked(_NO_DOC):
        yield f"the table fresh has a row of doc {doc_id}, which is in a run or gone: nobody reads it; `delete from fresh where doc_id = {doc_id}`"
    doc_id = 0
    while (page := asked(_FRESH, doc_id=doc_id)[0])[0] is not None:
        doc_id = page[0]
        for track_id, part, damaged in page[1] or ():
            what = "not heard" if damaged else "counted wrongly"
            yield (
                f"the recording {_shown(track_id)} is {what} in part {part}: its row of the table {'fresh' if damaged else 'doc'} is not what was written, "
                f"edited by hand, or the disk fails; {_AGAIN.format(_word(track_id))}"
            )


# ------------------------------------------------------------------------------------------------ recordings

# A slice begins at the first peak whose time is in it or later; a peak's slice is the upper five bits of its time. The
# peaks are read once: `|| ''` makes a value of them that is at hand for every `get_byte`.
_SLICES_FIT: Final = f"""
coalesce(mod(length(peaks), 4) = 0 and first_frame = part * {PART_FRAMES} and frames between 1 and {PART_FRAMES}
  and array_length(slice_starts, 1) = {SLICES_PER_PART + 1} and slice_starts[1] = 0 and slice_starts[{SLICES_PER_PART + 1}] = length(peaks) / 4
  and (select bool_and(coalesce(case when start < 0 or start > length(peaks) / 4 then false
                                     else (start = 0 or get_byte(peaks, 4 * start - 1) >> 3 < slice)
                                          and (start >= length(peaks) / 4 or get_byte(peaks, 4 * start + 3) >> 3 >= slice) end, false))
       from unnest(slice_starts) with ordinality u (start, n), lateral (select n - 1 as slice) s), false)
"""
_RECORDINGS: Final = f"""
select max(track_no), count(*), jsonb_agg(jsonb_build_array(track_id, fingerprint_version, parts, last, same, unfit, deaf))
         filter (where fingerprint_version <> {FINGERPRINT_VERSION} or not same or unfit is not null or deaf is not null)
from (select * from track where track_no > %(track_no)s order by track_no limit {_TRACKS}) t
cross join lateral (
  select count(*) as parts, max(part) as last, array_agg(part order by part) filter (where not fit) as unfit,
         array_agg(part order by part) filter (where packed and postings = 0 and not aside and length(peaks) > {4 * _PEAKS_HEARD}) as deaf,
         sha256(coalesce(string_agg(peaks, ''::bytea order by part), '')) = t.peaks_sha256 and count(*) > 0 as same
  from (select part, peaks, packed, postings, aside, {_SLICES_FIT} as fit
        from (select part, first_frame, frames, packed, postings, slice_starts, peaks || ''::bytea as peaks,
                     exists (select from put_aside where put_aside.doc_id = doc.doc_id) as aside
              from doc where track_no = t.track_no and retired_at is null offset 0) d) e
) of_docs
"""
_STRAYS: Final = f"""
select max(doc_id), array_agg(doc_id) filter (where retired_at is null and not exists (select from track t where t.track_no = d.track_no))
from (select doc_id, track_no, retired_at from doc where doc_id > %(doc_id)s order by doc_id limit {_DOCS}) d
"""


def _recordings(asked: Ask, advance: Advance) -> Iterator[str]:
    """Every recording that has the highest number in its turn: whoever is replaced meanwhile gets a higher one, and is met again."""
    ((of,),) = asked("select count(*) from track")
    track_no, done = 0, 0
    while (page := asked(_RECORDINGS, track_no=track_no)[0])[0] is not None:
        track_no, done = page[0], done + page[1]
        advance("recordings", done, max(of, done))
        for track_id, *found in page[2] or ():
            yield f"the recording {_shown(track_id)} is damaged: {', '.join(_reasons(*found))}; {_AGAIN.format(_word(track_id))}"


def _reasons(version: int, parts: int, last: int | None, same: bool, unfit: list[int] | None, deaf: list[int] | None) -> Iterator[str]:  # noqa: FBT001 -- a row
    if version != FINGERPRINT_VERSION:
        yield f"it is said to be of version {version} of the fingerprint, and the catalogue is of version {FINGERPRINT_VERSION}"
    if last is None:
        yield "it has no row in the table doc"
    elif last >= parts:
        yield f"{last + 1 - parts} of its {last + 1} rows in the table doc are gone"
    elif not same:
        yield "its constellation is not what was written"
    if unfit:
        yield f"part {' and '.join(map(str, unfit))} of it cannot be read, since its slices do not fit its peaks"
    if deaf:
        yield f"part {' and '.join(map(str, deaf))} of it is not heard, since its postings were damaged before they were packed"


def _strays(asked: Ask) -> Iterator[str]:
    doc_id = 0
    while (page := asked(_STRAYS, doc_id=doc_id)[0])[0] is not None:
        doc_id = page[0]
        for stray in sorted(page[1] or ()):
            yield (
                f"doc {stray} is of a recording that the table track does not have, so that what is found in it is nothing: take it out, "
                f"`update doc set retired_at = now(), changed_xid = pg_current_xact_id() where doc_id = {stray}`"
            )


def _shown(track_id: str) -> str:
    return track_id if track_id.isprintable() else repr(track_id)


def _word(track_id: str) -> str:
    """As a word of the shell's."""
    return shlex.quote(track_id) if track_id.isprintable() else "ID"
