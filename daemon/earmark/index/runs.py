"""Runs: immutable sorted batches of postings, written by binary COPY, read back a range of hashes at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from earmark.index import stops
from earmark.index.blocks import COPY_BEGIN, COPY_END, LOW_BITS_MAX, SPAN, Keys, Rows, array, digest, low_bits_for, rows
from earmark.model import FRAMES_PER_S, CatalogueSize, Int32
from earmark.postgres import Connection

#: Written at once, about.
_SLICE_POSTINGS: Final = 1_000_000
#: Of rows of `block`, sent at once.
_COPY_BYTES: Final = 1 << 20

Kind = Literal["bulk", "pack", "merge"]


@dataclass(frozen=True, slots=True)
class Run:
    """A row of `run`."""

    run_id: int
    low_bits: int
    doc_base: int
    postings: int


def begin_run(connection: Connection, *, kind: Kind, span: int, postings_about: int) -> Run:
    """A run without postings.

    Args:
        kind: what it is made of: many recordings at once, what was fresh, other runs.
        span: which 2^19 doc_ids.
        postings_about: how many there will be at most; decides the buckets.
    """
    low_bits = low_bits_for(postings_about)
    row = connection.execute(
        "insert into run (kind, low_bits, doc_base, postings) values (%s, %s, %s, 0) returning run_id", [kind, low_bits, span * SPAN]
    ).fetchone()
    assert row is not None
    return Run(int(row[0]), low_bits, span * SPAN, 0)


def write(connection: Connection, run: Run, sorted_keys: Keys, *, stopped: Int32, above: int) -> None:
    """Add the postings of a range of hashes to a run that has none of it; those of hashes that are on the stop list, or have to be, are left out.

    Args:
        sorted_keys: of all docs of the run, of a range that does not split a bucket.
        stopped: the stop list as it is.
        above: the most postings of a hash that is not put on it.
    """
    postings, on_list = 0, []
    with connection.cursor() as cursor, cursor.copy("copy block (run_id, bucket, part, digest, head, posting) from stdin (format binary)") as copy:
        copy.write(COPY_BEGIN)
        for keys in _slices(sorted_keys):
            kept, full = stops.sift(keys, stopped, above)
            postings += len(kept)
            on_list.append(full)
            for some in _batched(rows(kept, run.run_id, run.low_bits)):
                copy.write(some)
        copy.write(COPY_END)
    stops.put(connection, np.concatenate([np.zeros(0, np.int32), *on_list]))
    connection.execute("update run set postings = postings + %s where run_id = %s", [postings, run.run_id])


def _batched(pieces: Iterable[bytes]) -> Iterator[bytes]:
    some, size = [], 0
    for piece in pieces:
        some.append(piece)
        size += len(piece)
        if size > _COPY_BYTES:
            yield b"".join(some)
            some, size = [], 0
    yield b"".join(some)


def _slices(sorted_keys: Keys) -> Iterator[Keys]:
    """Pieces that fit into a processor's cache, at borders that split no bucket."""
    begin = 0
    while begin < len(sorted_keys):
        last = int(sorted_keys[min(begin + _SLICE_POSTINGS, len(sorted_keys)) - 1]) >> 32
        border = np.uint64(((last >> LOW_BITS_MAX) + 1) << LOW_BITS_MAX << 32)
        end = int(np.searchsorted(sorted_keys, border))
        yield sorted_keys[begin:end]
        begin = end


def write_run(connection: Connection, *, kind: Kind, span: int, sorted_keys: Keys) -> None:
    """A whole run at once."""
    run = begin_run(connection, kind=kind, span=span, postings_about=len(sorted_keys))
    write(connection, run, sorted_keys, stopped=stops.joined(stops.read(connection)), above=stops.stop_above(catalogue_size(connection)))


def catalogue_size(connection: Connection) -> CatalogueSize:
    """As the table of docs has it now."""
    row = connection.execute(
        "select count(*) filter (where part = 0), coalesce(sum(frames), 0), coalesce(sum(postings), 0) from doc where retired_at is null"
    ).fetchone()
    assert row is not None
    return CatalogueSize(tracks=row[0], seconds=float(row[1]) / FRAMES_PER_S, postings=int(row[2]))


# ------------------------------------------------------------------------------------------------ reading

_READ: Final = """
select array_send(array_agg(bucket)), array_send(array_agg(digest)), array_send(array_agg(length(head))), array_send(array_agg(length(posting))),
       string_agg(head, ''::bytea), string_agg(posting, ''::bytea)
from (select * from block where run_id = %s and bucket between %s and %s order by bucket, part) b
"""


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A range of a run's postings."""

    keys: Keys
    #: Buckets of rows that are not what was written; their postings are left out.
    damaged: tuple[int, ...]


def read(connection: Connection, run: Run, begin_hash: int, end_hash: int) -> Read:
    """The postings of hashes in a range, whose ends do not split a bucket."""
    found = connection.execute(_READ, [run.run_id, begin_hash >> run.low_bits, (end_hash - 1) >> run.low_bits], binary=True).fetchone()
    assert found is not None
    if found[0] is None:
        return Read(np.zeros(0, np.uint64), ())
    bucket, digests, *columns = found
    rows_ = Rows.of(run.low_bits, bucket, *columns)
    written = array(digests).tolist()
    whole = [n for n, piece in enumerate(rows_.pieces()) if digest(*piece) == written[n]]
    damaged = set(range(len(written))) - set(whole)
    return Read((rows_.only(whole) if damaged else rows_).keys(), tuple(sorted({int(rows_.bucket[n]) for n in damaged})))
