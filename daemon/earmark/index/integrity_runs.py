"""Runs, merges and the rows of `block`, as `integrity` checks them: damage, and what does not fit, in sentences."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from earmark.index import blocks
from earmark.index.blocks import DIGEST, HASH_BITS, LOW_BITS_MAX, SPAN, Int64

#: Answers a statement, with named parameters, from one snapshot.
Ask = Callable[..., list[tuple[Any, ...]]]
#: What has been read, of what, and how much of it there is, about.
Advance = Callable[[str, int, int], None]

#: Bytes of postings that one statement reads, about: a tenth of a second, from a slow disk half a second.
_RANGE_BYTES: Final = 8 << 20
#: Rows of a run in which it is seen whether its `low_bits` fit.
_SAMPLE: Final = 64

#: Hashes are counted in grains: no bucket is split by one, and merges move whole ones.
_GRAIN_BITS: Final = LOW_BITS_MAX
_GRAINS: Final = 1 << (HASH_BITS - _GRAIN_BITS)

BACKUP: Final = "restore a backup, or fill a new database (`earmark db migrate`, `earmark catalogue add`)"
_UNTIL: Final = "until they are removed and added again, or a backup is restored"


# ------------------------------------------------------------------------------------------------ merges and runs

_MERGES: Final = """
select run_id, array(select s from unnest(run_id || source_ids) s where not exists (select from run r where r.run_id = s) order by s) from merge
"""
# Where a merge is, is a border of all buckets.
_BORDER: Final = f"next_hash between 0 and {(1 << HASH_BITS) - 1} and mod(next_hash, {1 << _GRAIN_BITS}) = 0"
_SANE: Final = f"low_bits between 0 and {LOW_BITS_MAX} and doc_base >= 0 and mod(doc_base, {SPAN}) = 0 and postings >= 0"
_NEXT_RUN: Final = f"""
select min(run_id) from run r where run_id > %(run_id)s and {_SANE}
and not exists (select from merge m where not ({_BORDER}) and r.run_id = any(m.run_id || m.source_ids))
"""
# From one run_id to the next, each by the primary key.
_UNKNOWN_RUNS: Final = """
with recursive stored (run_id) as (
  select min(run_id) from block union all select (select min(run_id) from block where run_id > s.run_id) from stored s where s.run_id is not null)
select run_id from stored where run_id is not null and not exists (select from run r where r.run_id = stored.run_id)
"""


def merges(asked: Ask) -> Iterator[str]:
    for run_id, missing in asked(_MERGES):
        if missing:
            gone = " and ".join(str(number) for number in missing)
            yield f"the merge into run {run_id} cannot go on, since the table run has no {gone} any more, and postings are lost with it: {BACKUP}"
    for run_id, next_hash in asked(f"select run_id, next_hash from merge where not ({_BORDER})"):
        yield f"the merge into run {run_id} cannot have come as far as merge.next_hash says, {next_hash}, which was edited by hand: {BACKUP}"


def strange(asked: Ask) -> Iterator[str]:
    for run_id, low_bits, doc_base, postings in asked(f"select run_id, low_bits, doc_base, postings from run where not ({_SANE}) order by run_id"):
        yield (
            f"run {run_id} cannot be read: its low_bits, {low_bits}, doc_base, {doc_base}, and postings, {postings}, are not all possible; "
            f"put its row of the table run back as a backup has it, or {BACKUP}"
        )
    for (run_id,) in asked(_UNKNOWN_RUNS):
        yield (
            f"the table block has rows of run {run_id} that nobody finds, because the table run has no such run: "
            f"put its row back as a backup has it, or {BACKUP}"
        )


# ------------------------------------------------------------------------------------------------ rows of `block`

# Of a run that is being merged the lower hashes have left, of the one that is being written the upper ones are not there yet.
_STATE: Final = f"""
select r.run_id, r.low_bits::int as low_bits, r.postings,
       coalesce((select max(next_hash) from merge where r.run_id = any(source_ids)), 0) as low,
       coalesce((select min(next_hash) from merge where run_id = r.run_id), {1 << HASH_BITS}) as high
from run r where r.run_id = %(run_id)s
"""
_RANGE: Final = f"""
select s.low, s.high, s.postings, b.* from ({_STATE}) s
cross join lateral (
  select coalesce(sum(bytes), 0)::bigint, coalesce(array_agg(grain::int), '{{}}'), coalesce(array_agg(held::bigint), '{{}}'),
         jsonb_agg(odd) filter (where odd is not null)
  from (
    select bucket::bigint << s.low_bits >> {_GRAIN_BITS} as grain, sum(bytes) as bytes, sum(held) as held,
           jsonb_agg(jsonb_build_array(bucket, damaged, lacking)) filter (where damaged is not null or lacking > 0) as odd
    from (
      select bucket, sum(length(head) + length(posting)) as bytes, sum(length(posting) / 4) as held,
             array_agg(part order by part) filter (where digest <> {DIGEST.format("head || posting")}) as damaged, max(part) + 1 - count(*) as lacking
      from block where run_id = s.run_id and bucket >= greatest(%(begin)s, s.low) >> s.low_bits and bucket < least(%(end)s, s.high) >> s.low_bits
      group by bucket) buckets
    group by 1) grains
) b
"""
_MISPLACED: Final = f"""
select from ({_STATE}) s, lateral (select min(bucket) as first, max(bucket) as last from block where run_id = s.run_id) b
where b.first < s.low >> s.low_bits or b.last >= s.high >> s.low_bits
"""
_FIRST_ROWS: Final = (
    f"select low_bits, head, posting, digest from run join block using (run_id) where run_id = %(run_id)s order by bucket, part limit {_SAMPLE}"
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Range:
    """Of a run, a range of grains, of which those count that lie within [low, high) now."""

    low: int
    high: int
    #: Of the whole run, as the table run has it.
    postings: int
    bytes: int
    #: Which grains, and the postings of each.
    grains: Int64
    held: Int64
    #: Per bucket the parts that are damaged, and how many are lacking before the last.
    odd: list[tuple[int, list[int] | None, int]]


def rows(asked: Ask, advance: Advance) -> Iterator[str]:
    ((of,),) = asked("select coalesce(sum(postings), 0)::bigint from run")
    run_id, done = 0, 0
    # A merge's successor has a higher number than its runs: what leaves one while we read is met again.
    while (run_id := asked(_NEXT_RUN, run_id=run_id)[0][0]) is not None:
        reading = _Reading(asked, run_id)
        for found in reading.ranges():
            done += int(found.held.sum())
            advance("postings", done, max(of, done))
            yield from _odd_rows(run_id, found)
        yield from reading.rest()


class _Reading:
    """The rows of a run, a range after the other, while merges write them or take them away.

    Within [low, high) nothing changes; what was counted below what has become low does not count any more. So at the end,
    when all is read that a snapshot has, that snapshot's `postings` can be compared with what was counted before.
    """

    def __init__(self, asked: Ask, run_id: int) -> None:
        self._asked = asked
        self._run_id = run_id
        self._held = np.zeros(_GRAINS, np.int64)
        self._last: _Range | None = None

    def ranges(self) -> Iterator[_Range]:
        begin, grains = 0, 1
        while (found := self._range(begin, min(_GRAINS, begin + grains))) is not None:
            self._held[found.grains] += found.held
            yield found
            begin = max(found.low, min(begin + grains, found.high))
            if begin >= found.high:
                self._last = found
                return
            grains = _wider(grains, found.bytes)

    def _range(self, begin: int, end: int) -> _Range | None:
        """None: the run has been merged away."""
        rows = self._asked(_RANGE, run_id=self._run_id, begin=begin << _GRAIN_BITS, end=end << _GRAIN_BITS)
        if not rows:
            return None
        low, high, postings, size, grains, held, odd = rows[0]
        return _Range(
            low=low >> _GRAIN_BITS,
            high=high >> _GRAIN_BITS,
            postings=postings,
            bytes=size,
            grains=np.array(grains, np.int64),
            held=np.array(held, np.int64),
            odd=[tuple(bucket) for of_grain in odd or () for bucket in of_grain],
        )

    def rest(self) -> Iterator[str]:
        """What shows when all ranges have been read."""
        if self._last is None:
            return
        run_id, written, held = self._run_id, self._last.postings, int(self._held[self._last.low : self._last.high].sum())
        if held < written:
            yield (
                f"run {run_id} has {written - held} postings fewer than were written ({_percent((written - held) / written)}): rows of the table block were "
                f"lost, or run.postings was edited; its recordings are heard with that much less evidence, {_UNTIL}"
            )
        if held > written:
            yield (
                f"run {run_id} has {held - written} postings more than were written: rows were put into the table block, or run.postings was edited; "
                f"if it was that, `update run set postings = {held} where run_id = {run_id}` puts it right, else restore a backup"
            )
        if self._asked(_MISPLACED, run_id=run_id):
            yield (
                f"run {run_id} has rows in the table block where it cannot have any: run.low_bits or merge.next_hash was edited; "
                f"put the rows of run and merge back as a backup has them, or {BACKUP}"
            )
        if not _fits(self._asked(_FIRST_ROWS, run_id=run_id)):
            yield f"run {run_id} is read wrongly: its low_bits do not fit its rows, and were edited; put its row back as a backup has it, or {BACKUP}"


def _percent(share: float) -> str:
    return f"{share:.2%}" if share >= 1e-4 else "less than 0.01%"


def _wider(grains: int, size_bytes: int) -> int:
    """How many grains the next range should have: as many as make a statement of the right size, and not many more than the last."""
    return max(1, min(8 * grains, _GRAINS, grains * _RANGE_BYTES // max(1, size_bytes)))


def _odd_rows(run_id: int, found: _Range) -> Iterator[str]:
    for bucket, damaged, lacking in found.odd:
        for part in damaged or ():
            row = f"run_id = {run_id} and bucket = {bucket} and part = {part}"
            yield (
                "a row of the table block is not what was written: edited by hand, or the disk fails; the next merge leaves it out, and until then "
                f"`delete from block where {row}` does; some recordings lack a few of their landmarks, {_UNTIL}"
            )
        if lacking:
            yield f"the table block lacks {lacking} of the rows with run_id {run_id}, bucket {bucket}: some recordings lack a few of their landmarks, {_UNTIL}"


def _fits(rows: list[tuple[Any, ...]]) -> bool:
    """Whether heads say of each posting what its hash is, of the rows that are what was written."""
    for low_bits, head, posting, written in rows:
        entry = blocks.entry_type(low_bits)
        if blocks.digest(head, posting) != written:
            continue
        if len(head) % entry.itemsize:
            return False
        entries = np.frombuffer(head, entry)
        if 4 * int(entries["count"].sum()) != len(posting) or np.any(entries["low"] >> low_bits) or np.any(np.diff(entries["low"].astype(np.int64)) < 0):
            return False
    return True
