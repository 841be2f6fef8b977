"""The catalogue as it leaves a database: every recording with all that is known of it, from one snapshot.

Writers go on meanwhile, and nothing of what they do is seen. As long as it is read, vacuum gives back nothing that was
deleted since it began, and the tables cannot be exchanged for those of another version of the fingerprint.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, BinaryIO, Final

import numpy as np

from earmark.index import profiles
from earmark.index.blocks import HASH_BITS
from earmark.index.by_recording import ByRecording, Order, Portion
from earmark.index.catalogue import COLUMNS, track_of
from earmark.index.constellations import FRAME_BITS, sha256, unpack
from earmark.index.portable import About, Carried, Stocked, Tie
from earmark.index.portable_file import Head
from earmark.matching.overlaps import Overlap, Span
from earmark.model import FINGERPRINT_VERSION, Int32, Landmarks, Peaks, Shared
from earmark.postgres import Connection, Pool, limit, transaction

#: Of a row group, about: 15 MB in memory. Whoever imports writes them in one transaction, and takes a lock for each recording.
GROUP_POSTINGS, GROUP_RECORDINGS = 2_000_000, 256
_STATEMENT_S: Final = 600
#: Whoever reads what we write may be slow.
_IDLE_S: Final = 3_600
_SPAN: Final = 4


@contextmanager
def snapshot(pool: Pool) -> Iterator[Connection]:
    """A transaction in which the catalogue stays as it is now. Works on a standby, which may end it (`max_standby_streaming_delay`)."""
    with transaction(pool) as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        connection.execute("select set_config('idle_in_transaction_session_timeout', %s, true)", [f"{_IDLE_S * 1000}"])
        limit(connection, _STATEMENT_S)
        yield connection


@dataclass(kw_only=True, eq=False)
class Leaving:
    """Reads the catalogue, some recordings at a time, in an order in which each comes after those that it names.

    Args:
        connection: a `snapshot`.
        file: a temporary one for reading and writing, which grows to eight bytes a posting.
        progress: called with what is being read, how much of it has been, and how much there is.
    """

    connection: Connection
    file: BinaryIO
    progress: Callable[[str, int, int], None] = lambda *_: None
    #: What was left out, and why: a sentence each.
    wrong: list[str] = field(default_factory=list)
    _order: Order = field(init=False)
    _postings: ByRecording = field(init=False)
    #: By track_no: in which order they leave; -1: not at all.
    _rank: Int32 = field(init=False)
    #: Ids of those that do not.
    _left_out: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self._order = Order.read(self.connection)
        self._postings = ByRecording(
            connection=self.connection, order=self._order, file=self.file, progress=lambda done, of: self.progress("postings", done, of)
        )
        without = self.connection.execute(_WITHOUT_DOCS).fetchall()
        self._left_out = {track_id for _, track_id in without}
        numbers = self._order.track_no
        self._rank = np.full(max(int(numbers.max(initial=0)), *(number for number, _ in without), 0) + 1, -1, np.int32)
        self._rank[numbers] = np.arange(len(numbers), dtype=np.int32)

    def head(self) -> Head:
        return Head(fingerprint_version=FINGERPRINT_VERSION, hash_bits=HASH_BITS, frame_bits=FRAME_BITS, stopped=self._postings.stopped)

    def groups(self) -> Iterator[list[Carried]]:
        """Row groups; those of aliases that nobody looks up hold nothing else."""
        done, of = 0, len(np.unique(self._order.track_no))
        for portion in self._postings.portions():
            for begin, end in _cuts(portion):
                for _, rows in groupby(self._read(portion, begin, end), key=lambda row: row.about.all_in is not None):
                    yield list(rows)
                done += end - begin
                self.progress("recordings", done, of)
        self._say_what_is_missing()

    def _say_what_is_missing(self) -> None:
        if self._left_out:
            named = ", ".join(sorted(self._left_out)[:_NAMED_MAX]) + (
                f" and {len(self._left_out) - _NAMED_MAX} more" if len(self._left_out) > _NAMED_MAX else ""
            )
            self.wrong.append(f"{named}: left out, because damaged in the catalogue; `earmark db check` says how")
        if self._postings.damaged:
            self.wrong.append(
                f"{self._postings.damaged} rows of postings are not what was written and are left out, so that some recordings lack a few landmarks: "
                "`earmark db check` says where"
            )

    def _read(self, portion: Portion, begin: int, end: int) -> Iterator[Carried]:
        numbers = portion.track_nos[begin:end].tolist()
        described = _abouts(self.connection, numbers)
        kept = profiles.read(self.connection, [described[number][0].track_id for number in numbers])
        stored, ties = _constellations(self.connection, numbers), self._ties(numbers)
        for number, first, last in zip(numbers, portion.begins[begin:end].tolist(), portion.begins[begin + 1 : end + 1].tolist(), strict=True):
            track, columns = described[number]
            peaks = stored[number]
            if columns.pop("fingerprint_version") != FINGERPRINT_VERSION or sha256(peaks) != columns["peaks_sha256"]:
                self._left_out.add(track.track_id)
                continue
            if self._left_out & {columns["alias_of"], columns["all_in"]}:  # then it is a recording of its own
                columns["alias_of"] = columns["all_in"] = None
            profile = kept.get(track.track_id)
            postings = _by_hash(portion.hashes[first:last], portion.frames[first:last])
            about = About(track=track, profile=json.dumps(asdict(profile)) if profile else None, ties=tuple(ties[number]), **columns)
            yield Carried(about=about, peaks=peaks, postings=postings)

    # -------------------------------------------------------------------------------------------- what they share

    def _ties(self, numbers: Sequence[int]) -> dict[int, list[Tie]]:
        """What each of the recordings shares with those before it."""
        mine = set(numbers)
        names: dict[int, str] = {}
        facts: dict[tuple[int, int], tuple[bool, float]] = {}
        stretches: dict[tuple[int, int], list[Shared]] = defaultdict(list)
        laid: dict[tuple[int, int], Overlap] = {}
        for one, other, one_id, other_id, begin, end, eighths, version, nats in self.connection.execute(_PASSAGES, [numbers, numbers]).fetchall():
            names[one], names[other] = one_id, other_id
            facts[one, other] = facts[other, one] = version, nats
            stretches[one, other].append(Shared(begin_frame=begin, end_frame=end, eighth_frames=tuple(eighths)))
        for one, other, one_id, other_id, kind, speed, *measures, nats, spans in self.connection.execute(_OVERLAPS, [numbers, numbers]).fetchall():
            names[one], names[other] = one_id, other_id
            facts.setdefault((one, other), (False, nats))
            facts.setdefault((other, one), (False, nats))
            share, other_share, rest_s, other_rest_s = measures
            edges = [Span(**dict(zip(_EDGES, spans[n : n + _SPAN], strict=True))) for n in range(0, len(spans), _SPAN)]
            seen = Overlap(kind=kind, speed=speed, share=share, other_share=other_share, rest_s=rest_s, other_rest_s=other_rest_s, spans=tuple(edges))
            laid[one, other], laid[other, one] = seen, seen.turned()
        found: dict[int, list[Tie]] = {number: [] for number in numbers}
        for (one, other), (version, nats) in sorted(facts.items()):
            if one in mine and self._rank[one] > self._rank[other] >= 0:
                own, others = tuple(stretches.get((one, other), ())), tuple(stretches.get((other, one), ()))
                if names[other] in self._left_out:
                    continue
                tie = Tie(other=names[other], version=version, evidence_nats=nats, own=own, others=others, overlap=laid.get((one, other)))
                found[one].append(tie)
        return found


_NAMED_MAX: Final = 5
_WITHOUT_DOCS: Final = """
select track_no, track_id from track t where not exists (select from doc d where d.track_no = t.track_no and d.retired_at is null) order by 1
"""
_EDGES: Final = ("begin_s", "end_s", "other_begin_s", "other_end_s")
_PASSAGES: Final = """
select s.track_no, s.other_no, t.track_id, o.track_id, begin_frame, end_frame, eighth_frames, version, evidence_nats
from shared_passage s join track t on t.track_no = s.track_no join track o on o.track_no = s.other_no
where s.track_no = any(%s) or s.other_no = any(%s) order by s.track_no, s.other_no, begin_frame
"""
_OVERLAPS: Final = """
select one_no, other_no, t.track_id, o.track_id, kind, speed, one_share, other_share, one_rest_s, other_rest_s, evidence_nats, spans
from overlap join track t on t.track_no = one_no join track o on o.track_no = other_no
where one_no = any(%s) or other_no = any(%s) order by one_no, other_no
"""
_ABOUT: Final = f"""
select {", ".join(f"t.{column}" for column in COLUMNS)}, t.track_no, t.fingerprint_version, t.content_sha256, t.peaks_sha256, t.added_at, t.changed_at,
       t.compared_no is not distinct from t.track_no as compared, t.aligned_no is not distinct from t.track_no as aligned,
       p.track_id as alias_of, i.track_id as all_in,
       case when o.key is not null
            then json_build_object('bucket', o.bucket, 'key', o.key, 'etag', o.etag, 'size', o.size, 'tags', coalesce(o.tags, '{{}}')::text) end as stocked
from track t left join track_alias a on a.track_no = t.track_no left join track p on p.track_no = a.of_no left join track i on i.track_no = a.in_no
left join catalogue_object o on o.track_id = t.track_id and o.state = 'kept' and o.content_sha256 = t.content_sha256
where t.track_no = any(%s)
"""


def _abouts(connection: Connection, numbers: Sequence[int]) -> dict[int, tuple[Any, dict[str, Any]]]:
    """By number: the recording as it is described, and what else `About` says of it."""
    cursor = connection.execute(_ABOUT, [numbers])
    names = [column.name for column in cursor.description or ()][len(COLUMNS) :]
    found = {}
    for row in cursor.fetchall():
        columns = dict(zip(names, row[len(COLUMNS) :], strict=True))
        columns["stocked"] = None if columns["stocked"] is None else Stocked(**columns["stocked"])
        found[columns.pop("track_no")] = track_of(row), columns
    return found


def _constellations(connection: Connection, numbers: Sequence[int]) -> dict[int, Peaks]:
    rows = connection.execute(
        "select track_no, first_frame, peaks from doc where track_no = any(%s) and retired_at is null order by track_no, part", [numbers], binary=True
    ).fetchall()
    return {
        number: Peaks.join(*(unpack(np.frombuffer(packed, "<u4", count=len(packed) // 4), first_frame) for _, first_frame, packed in parts))
        for number, parts in groupby(rows, key=itemgetter(0))
    }


def _cuts(portion: Portion) -> Iterator[tuple[int, int]]:
    """Recordings of a portion that make a row group."""
    begin = 0
    for n in range(1, len(portion.track_nos) + 1):
        full = n == len(portion.track_nos) or n - begin >= GROUP_RECORDINGS or portion.begins[n + 1] - portion.begins[begin] > GROUP_POSTINGS
        if full:
            yield begin, n
            begin = n


def _by_hash(hashes: Int32, frames: Int32) -> Landmarks:
    """In one order, however many parts the recording has."""
    if np.all(hashes[1:] >= hashes[:-1]):  # one
        return Landmarks(hash=hashes, frame=frames.astype(np.float64))
    keys = hashes.astype(np.int64) << 32 | frames
    keys.sort()
    return Landmarks(hash=(keys >> 32).astype(np.int32), frame=(keys & 0xFFFF_FFFF).astype(np.float64))
