"""How others keep postings: a plain table with a B-tree, and the schema that dejavu makes."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.index.blocks import COPY_BEGIN, COPY_END
from earmark.model import Int32
from earmark.postgres import Connection, Pool, maintenance, statement, transaction

#: (hashes, frames) of each recording.
Postings = Iterator[tuple[Int32, Int32]]

_NAIVE_ROW: Final = np.dtype([("columns", ">i2"), ("n1", ">i4"), ("hash", ">i4"), ("n2", ">i4"), ("track_no", ">i4"), ("n3", ">i4"), ("frame", ">i4")])
_DEJAVU_ROW: Final = np.dtype([("columns", ">i2"), ("n1", ">i4"), ("hash", "S10"), ("n2", ">i4"), ("song_id", ">i4"), ("n3", ">i4"), ("offset", ">i4")])


def make_naive(pool: Pool, postings: Postings) -> None:
    """(hash, track_no, frame), copied in, then indexed."""

    def rows(number: int, hashes: Int32, frames: Int32) -> npt.NDArray[np.void]:
        made = np.zeros(len(hashes), _NAIVE_ROW)
        made["columns"], made["n1"], made["n2"], made["n3"] = 3, 4, 4, 4
        made["hash"], made["track_no"], made["frame"] = hashes, number, frames
        return made

    with maintenance(pool) as connection:
        connection.execute("create table naive (hash int4 not null, track_no int4 not null, frame int4 not null)")
        _copy(connection, "copy naive from stdin (format binary)", postings, rows)
        connection.execute("create index naive_hash on naive (hash)")
        connection.execute("vacuum analyze naive")


def ask_naive(pool: Pool, hashes: Int32) -> int:
    with statement(pool) as connection:
        return len(connection.execute("select hash, track_no, frame from naive where hash = any(%s)", [hashes], prepare=True, binary=True).fetchall())


def make_dejavu(pool: Pool, postings: Postings) -> None:
    """Twenty hexadecimal digits as ten bytes, a serial song, times of creation and change, one index and one constraint, filled with both there."""

    def rows(number: int, hashes: Int32, frames: Int32) -> npt.NDArray[np.void]:
        distinct = np.unique(hashes.astype(np.int64) << 32 | frames)
        made = np.zeros(len(distinct), _DEJAVU_ROW)
        made["columns"], made["n1"], made["n2"], made["n3"] = 3, 10, 4, 4
        made["hash"] = wide(distinct >> 32)
        made["song_id"], made["offset"] = number + 1, distinct & 0xFFFF_FFFF
        return made

    with transaction(pool) as connection:
        connection.execute("create table dejavu_songs (song_id serial primary key, song_name varchar(250) not null)")
        connection.execute(
            'create table dejavu (hash bytea not null, song_id int not null references dejavu_songs on delete cascade, "offset" int not null, '
            'date_created timestamp not null default now(), date_modified timestamp not null default now(), unique (song_id, "offset", hash))'
        )
        connection.execute("create index dejavu_hash on dejavu using btree (hash)")
        connection.execute("insert into dejavu_songs (song_name) select 'song ' || n from generate_series(1, 100000) n")
    with maintenance(pool) as connection:
        _copy(connection, 'copy dejavu (hash, song_id, "offset") from stdin (format binary)', postings, rows)
        connection.execute("vacuum analyze dejavu")


def ask_dejavu(pool: Pool, hashes: Int32) -> int:
    asked = [digest.ljust(10, b"\0") for digest in wide(hashes.astype(np.int64)).tolist()]
    with statement(pool) as connection:
        return len(connection.execute('select hash, song_id, "offset" from dejavu where hash = any(%s)', [asked], prepare=True, binary=True).fetchall())


def wide(hashes: npt.NDArray[np.int64]) -> npt.NDArray[np.bytes_]:
    """Ten bytes for each hash, none of them zero, that tell it from any other."""
    digits = (hashes[:, None] >> (4 * np.arange(10))) & 15
    return np.ascontiguousarray((digits + 65).astype(np.uint8)).view("S10")[:, 0]


def _copy(connection: Connection, command: str, postings: Postings, rows: Callable[[int, Int32, Int32], npt.NDArray[np.void]]) -> None:
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        copy.write(COPY_BEGIN)
        for number, (hashes, frames) in enumerate(postings):
            copy.write(rows(number, hashes, frames).tobytes())
        copy.write(COPY_END)
