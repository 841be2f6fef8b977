"""What a session heard goes on record with its position, and from there to whoever hunts.

Everything here is part of somebody's transaction: what is kept and how far the stream is are on record together or not at
all. A row of `kept_group` may be written again with the same content, because whoever wrote it may not know that it did.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

import numpy as np

from earmark.fingerprint.kept import PACKED, Block, Group, Keeper, compress, expand, unpack
from earmark.fingerprint.sketch import sketch
from earmark.hits.record import Timebase
from earmark.matching.verification import Constellation
from earmark.model import EIGHTHS, FINGERPRINT_VERSION, FRAMES_PER_S, SourceKind
from earmark.postgres import Connection, Pool, statement

#: Blocks read at once: a megabyte or two.
_PAGE: Final = 32
_INSERT_GROUP: Final = """
insert into kept_group (stream_id, block_s, begin_eighth, end_eighth, fingerprint_version, peaks) values (%s, %s, %s, %s, %s, %b) on conflict do nothing"""
_INSERT_BLOCK: Final = """
insert into kept_block (stream_id, begin_s, frames, begin_at, fingerprint_version, sketch, peaks) values (%s, %s, %s, %s, %s, %b, %b) on conflict do nothing"""
_GROUPED: Final = """
select block_s, max(end_eighth), max(fingerprint_version), string_agg(peaks, ''::bytea order by begin_eighth)
  from kept_group where stream_id = %s group by block_s order by block_s"""


#: In the statement that notes positions, after `written`, the streams that it did note.
WITH_POSITIONS: Final = """kept as (
  insert into kept_group (stream_id, block_s, begin_eighth, end_eighth, fingerprint_version, peaks)
  select stream_id, block_s, begin_eighth, end_eighth, %(version)s, peaks
    from unnest(%(kept_ids)s::text[], %(kept_blocks)s::float8[], %(kept_begins)s::int4[], %(kept_ends)s::int4[], %(kept_peaks)b::bytea[])
           as heard (stream_id, block_s, begin_eighth, end_eighth, peaks) join written using (stream_id)
  on conflict do nothing)"""


def columns(groups: Mapping[str, Sequence[Group]]) -> dict[str, Any]:
    """Groups of several streams, by stream_id, as parameters of one statement."""
    rows = [(stream_id, group) for stream_id, some in groups.items() for group in some]
    return {
        "kept_ids": [stream_id for stream_id, _ in rows],
        "kept_blocks": [group.block_s for _, group in rows],
        "kept_begins": [group.begin_eighth for _, group in rows],
        "kept_ends": [group.end_eighth for _, group in rows],
        "version": FINGERPRINT_VERSION,
        "kept_peaks": [group.packed.tobytes() for _, group in rows],
    }


class KeptRows:
    """What one session keeps, on record. Used by one thread.

    `earlier_s`: the stream's own time, if the session fills gaps of it, is that of the session without so many seconds.
    """

    def __init__(self, *, stream_id: str, keeper: Keeper, earlier_s: float = 0.0) -> None:
        self._stream_id = stream_id
        self._keeper = keeper
        self._earlier_s = earlier_s
        #: What the transaction under way puts together.
        self._sealing: list[Block] = []

    @property
    def due(self) -> bool:
        """It is time for a transaction, in which blocks are put together."""
        return self._keeper.due

    def groups(self, position_s: float) -> list[Group]:
        """What goes on record with this position."""
        return self._keeper.groups(position_s)

    def write(self, connection: Connection, position_s: float, timebase: Timebase, *, first: bool) -> None:
        """All up to a position, in a transaction that puts that on record. May be repeated.

        `first`: this session has not written before, as far as it knows; what another left in groups is put together.
        """
        groups = self._keeper.groups(position_s)
        self._sealing = self._keeper.complete()
        if first:
            self._take_up(connection, timebase)
        whole = {block.begin_s for block in self._sealing}
        at_s = self._stream_s
        rows = [
            (self._stream_id, at_s(g.block_s), g.begin_eighth, g.end_eighth, FINGERPRINT_VERSION, g.packed.tobytes()) for g in groups if g.block_s not in whole
        ]
        if rows:
            with connection.cursor() as cursor:
                cursor.executemany(_INSERT_GROUP, rows)
        for block in self._sealing:
            self._seal(connection, replace(block, begin_s=self._stream_s(block.begin_s)), timebase, FINGERPRINT_VERSION)

    def recorded(self, position_s: float) -> None:
        """This position is on record, by a note of it."""
        self._keeper.recorded(position_s)

    def written(self, position_s: float) -> None:
        """The transaction of `write` is on record."""
        self._keeper.sealed(self._sealing)
        self._keeper.recorded(position_s)
        self._sealing = []

    def _stream_s(self, session_s: float) -> float:
        return session_s - self._earlier_s

    def _take_up(self, connection: Connection, timebase: Timebase) -> None:
        held = [self._stream_s(block_s) for block_s in self._keeper.blocks_s]
        for block, version in _grouped(connection, self._stream_id):
            if block.begin_s not in held:
                self._seal(connection, block, timebase, version)

    def _seal(self, connection: Connection, block: Block, timebase: Timebase, version: int) -> None:
        drawn, peaks = sketch(unpack(block.packed), block.frames), compress(block.packed)
        at = timebase.at(block.begin_s + self._earlier_s)
        connection.execute(_INSERT_BLOCK, [self._stream_id, block.begin_s, block.frames, at, version, drawn, peaks])
        connection.execute("delete from kept_group where stream_id = %s and block_s = %s", [self._stream_id, block.begin_s])


def _grouped(connection: Connection, stream_id: str) -> Iterator[tuple[Block, int]]:
    """Blocks that are on record in groups, with the fingerprint's version."""
    for begin_s, end_eighth, version, peaks in connection.execute(_GROUPED, [stream_id], binary=True).fetchall():
        yield Block(begin_s=begin_s, frames=-(-end_eighth // EIGHTHS), packed=np.frombuffer(peaks, PACKED)), version


# ---------------------------------------------------------------------------------------------- for hunts


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """What is searched: streams, and from when to when by the wall clock."""

    since: datetime
    until: datetime
    #: One stream, or those of a channel, by its name or ARN.
    stream_id: str | None = None
    channel: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """A block as a hunt sees it first."""

    begin_s: float
    frames: int
    sketch: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What is kept of one stream in a period."""

    stream_id: str
    source: SourceKind
    kept_s: float
    #: Of that, what another version of the fingerprint kept: it cannot be compared.
    other_s: float


_WITHIN: Final = """
 and coalesce(begin_at + make_interval(secs => frames / %(fps)s), kept_at) >= %(since)s
 and coalesce(begin_at, kept_at - make_interval(secs => frames / %(fps)s)) <= %(until)s"""
_HELD: Final = f"""
select stream_id, source, sum(frames)::float8 / %(fps)s, coalesce(sum(frames) filter (where version <> %(version)s), 0)::float8 / %(fps)s
  from (select stream_id, frames, begin_at, kept_at, fingerprint_version as version from kept_block
        union all
        select stream_id, (max(end_eighth) - min(begin_eighth)) / {EIGHTHS}, null, max(kept_at), max(fingerprint_version)
          from kept_group group by stream_id, block_s) kept
  join stream using (stream_id)
 where (%(stream_id)s::text is null or stream_id = %(stream_id)s) and (%(channel)s::text is null or channel_name = %(channel)s or channel_arn = %(channel)s)
 {_WITHIN}
 group by stream_id, source order by stream_id"""  # noqa: S608 -- our own words
_DRAWN: Final = f"""
select begin_s, frames, sketch from kept_block
 where stream_id = %(stream_id)s and begin_s > %(after_s)s and fingerprint_version = %(version)s {_WITHIN}
 order by begin_s limit {_PAGE}"""  # noqa: S608
_HEARD: Final = """
select begin_s, peaks from kept_block
 where stream_id = %(stream_id)s and begin_s < %(end_s)s and begin_s + frames / %(fps)s > %(begin_s)s and fingerprint_version = %(version)s order by begin_s"""
_CONSTANTS: Final = {"fps": FRAMES_PER_S, "version": FINGERPRINT_VERSION}


def held(connection: Connection, period: Period) -> list[Held]:
    """What is kept of which streams."""
    rows = connection.execute(_HELD, {**_CONSTANTS, **asdict(period)}).fetchall()
    return [Held(stream_id=stream_id, source=source, kept_s=kept_s, other_s=other_s) for stream_id, source, kept_s, other_s in rows]


def drawn(pool: Pool, stream_id: str, period: Period) -> Iterator[Drawn]:
    """The blocks of a stream in a period, in order; read some at a time, as they are consumed."""
    after_s = -math.inf  # what fills gaps may begin before the stream's first second
    while True:
        with statement(pool) as connection:
            wanted = {**_CONSTANTS, **asdict(period), "stream_id": stream_id, "after_s": after_s}
            rows = connection.execute(_DRAWN, wanted, binary=True).fetchall()
        for begin_s, frames, sketched in rows:
            yield Drawn(begin_s=begin_s, frames=frames, sketch=sketched)
        if len(rows) < _PAGE:
            break
        after_s = rows[-1][0]
    with statement(pool) as connection:  # what was heard a moment ago, or by a worker that died
        blocks = [block for block, version in _grouped(connection, stream_id) if version == FINGERPRINT_VERSION]
    for block in blocks:
        yield Drawn(begin_s=block.begin_s, frames=block.frames, sketch=sketch(unpack(block.packed), block.frames))


def heard(connection: Connection, stream_id: str, begin_s: float, end_s: float) -> Constellation:
    """What was heard of a stream around some seconds of it, in stream frames. Raises ValueError for a block that is damaged."""
    wanted = {**_CONSTANTS, "stream_id": stream_id, "begin_s": begin_s, "end_s": end_s}
    rows = connection.execute(_HEARD, wanted, binary=True).fetchall()
    blocks = [(block_s, expand(kept)) for block_s, kept in rows]
    blocks += [(block.begin_s, block.packed) for block, version in _grouped(connection, stream_id) if version == FINGERPRINT_VERSION]
    parts = [Constellation.of(unpack(packed), block_s * FRAMES_PER_S) for block_s, packed in sorted(blocks, key=lambda block: block[0])]
    return Constellation.join(Constellation.none(), *parts).between(begin_s * FRAMES_PER_S, end_s * FRAMES_PER_S)
