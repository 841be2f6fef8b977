"""Small catalogues with everything in them that a catalogue can have, what one knows as rows that say no number, and files of them."""

import hashlib
import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from earmark import transfer
from earmark.index import aliases, portable_out, profiles, stops, upkeep
from earmark.index.answers import Index
from earmark.index.blocks import unpack_fresh
from earmark.index.catalogue import Recording, Tracks, postings_of, prepare
from earmark.index.constellations import sha256
from earmark.index.portable import About, Carried
from earmark.index.portable_file import Head, Reading, Writing
from earmark.index.stretches import SharedPassages
from earmark.local.database import create_database, drop_database
from earmark.matching.overlaps import Compared, Overlap, Span
from earmark.model import Int32, Landmarks, Lookup, Peaks, Postings, Relation, Shared, Track
from earmark.postgres import Pool, statement, transaction
from earmark.track_profile import TrackProfile
from index_catalogue import open_pool, peaks

_serial = itertools.count(1)


@contextmanager
def another(server: str, template: str = "template_earmark") -> Iterator[Pool]:
    """A pool on one more empty, migrated database."""
    name = f"portable_{next(_serial)}"
    dsn = create_database(server, name, template=template)
    try:
        with open_pool(dsn) as pool:
            yield pool
    finally:
        drop_database(server, name)


@cache
def sounding(seed: int, duration_s: float) -> tuple[Peaks, Landmarks]:
    """A constellation, and its postings."""
    constellation = peaks(seed, duration_s)
    return constellation, postings_of(constellation)


def recording(track_id: str, seed: int, duration_s: float = 8, **described: Any) -> Recording:
    constellation, postings = sounding(seed, duration_s)
    track = Track(**{"track_id": track_id, "title": f"Title of {track_id}", "duration_s": duration_s, **described})
    content = hashlib.sha256(track_id.encode() + seed.to_bytes(8)).digest()
    return Recording(track=track, peaks=constellation, postings=postings, content_sha256=content)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A recording of an invented catalogue, and what is between it and the one before it."""

    track_id: str
    seed: int
    duration_s: float = 8
    described: Mapping[str, Any] | None = None
    #: What the one before it is to it.
    beside: str = "nothing"
    profile: TrackProfile | None = None
    #: Pack and merge after it.
    tidy: bool = False


def fill(pool: Pool, pieces: Sequence[Piece], *, stopped: int = 0) -> None:
    """A catalogue of these, some hashes of which are on its stop list."""
    tracks, passages = Tracks(pool=pool), SharedPassages(pool=pool)
    before: str | None = None
    for piece in pieces:
        made = recording(piece.track_id, piece.seed, piece.duration_s, **(piece.described or {}))
        with transaction(pool) as connection:
            tracks.put(connection, [prepare(made)])
            numbers = numbers_of(pool, connection=connection)
            own, other = numbers[piece.track_id], numbers.get(before or "")
            if other is not None and piece.beside in ("alias", "within"):
                primary = aliases.primaries(connection, [other]).get(other, other)
                aliases.link(connection, own, primary, in_no=primary if piece.beside == "within" else None)
            if piece.profile is not None:
                profiles.write(connection, piece.track_id, piece.profile, content_sha256=made.content_sha256)
        if piece.beside != "uncompared":
            passages.put(own, [] if other is None or piece.beside == "nothing" else [relation(other, laid=piece.beside != "passage")])
        if piece.tidy:
            upkeep.upkeep(pool, extent="everything")
        before = piece.track_id
    if stopped:
        with transaction(pool) as connection:
            stops.put(connection, hashes(pieces)[:: max(1, len(hashes(pieces)) // stopped)][:stopped])


def relation(other_no: int, *, laid: bool = True) -> Relation:
    said: dict[str, Any] = {
        "other_no": other_no,
        "version": laid,
        "evidence_nats": 12.5,
        "own": (Shared(begin_frame=3, end_frame=90, eighth_frames=(24, 30, 700)), Shared(begin_frame=100, end_frame=120, eighth_frames=())),
        "others": (Shared(begin_frame=10, end_frame=97, eighth_frames=(80, 90)),),
    }
    if not laid:
        return Relation(**said)
    span = Span(begin_s=0.1, end_s=2.9, other_begin_s=0.3, other_end_s=3.1)
    overlap = Overlap(kind="same", speed=1.25, share=0.9, other_share=0.8, rest_s=0.5, other_rest_s=1.5, spans=(span,))
    return Compared(**said, overlap=overlap)


def hashes(pieces: Sequence[Piece]) -> Int32:
    """All of theirs, ascending."""
    return np.unique(np.concatenate([sounding(piece.seed, piece.duration_s)[1].hash for piece in pieces] or [np.zeros(0, np.int32)]))


def numbers_of(pool: Pool, *, connection: Any = None) -> dict[str, int]:
    if connection is not None:
        return dict(connection.execute("select track_id, track_no from track").fetchall())
    with statement(pool) as own:
        return numbers_of(pool, connection=own)


# ---------------------------------------------------------------------------------------------- what a catalogue knows


def looked_up(pool: Pool, asked: Int32) -> list[tuple[int, str, int]]:
    """What a reader that begins now is told of hashes: (place among them, track_id, frame), sorted."""
    answer = Index(pool=pool).open().answer(Lookup(hashes=asked, postings_max=1 << 20))
    assert isinstance(answer, Postings)
    names = {number: track_id for track_id, number in numbers_of(pool).items()}
    return sorted((query, names[no], frame) for query, no, frame in zip(answer.query.tolist(), answer.track_no.tolist(), answer.frame.tolist(), strict=True))


_KNOWN = {
    "recordings": """
select to_jsonb(t) - 'track_no' - 'compared_no' - 'aligned_no', compared_no is not distinct from track_no, aligned_no is not distinct from track_no,
       (select array_agg(sha256(peaks) || int4send(frames) || slice_starts::text::bytea order by part)
        from doc where doc.track_no = t.track_no and retired_at is null)
from track t order by track_id""",
    "passages": """
select o.track_id, b.track_id, begin_frame, end_frame, eighth_frames, version, evidence_nats
from shared_passage s join track o using (track_no) join track b on b.track_no = s.other_no order by 1, 2, 3""",
    "aliases": """
select t.track_id, p.track_id, i.track_id from track_alias a join track t on t.track_no = a.track_no join track p on p.track_no = a.of_no
left join track i on i.track_no = a.in_no order by 1""",
    "profiles": "select t.track_id, to_jsonb(p) - 'track_no' - 'profiled_at' from track_profile p join track t using (track_no) order by 1",
    "aside": "select t.track_id, d.part, p.postings from put_aside p join doc d using (doc_id) join track t using (track_no) order by 1, 2",
    "stopped": "select part, hashes from stop_list where hashes <> '' order by 1",
}
_OVERLAPS = """
select t.track_id, o.track_id, kind, speed, one_share, other_share, one_rest_s, other_rest_s, evidence_nats, spans
from overlap join track t on t.track_no = one_no join track o on o.track_no = other_no"""


def known(pool: Pool, *, but: Sequence[str] = ()) -> dict[str, list[Any]]:
    """All that is on record, but for numbers, and for how it lies in runs."""
    with statement(pool) as connection:
        found = {name: connection.execute(query).fetchall() for name, query in _KNOWN.items() if name not in but}
        found["overlaps"] = sorted(_one_way(row) for row in connection.execute(_OVERLAPS).fetchall())
        stopped = stops.joined(stops.read(connection))
    if "aside" in found:  # nobody asks for what is on the stop list
        found["aside"] = [(*names, unpack_fresh(packed)[0][~stops.among(unpack_fresh(packed)[0], stopped)].tolist()) for *names, packed in found["aside"]]
    return found


def _one_way(row: Sequence[Any]) -> tuple[Any, ...]:
    """A pair, as the one sees it whose name comes first."""
    one, other, kind, speed, share, other_share, rest_s, other_rest_s, nats, spans = row
    if one < other:
        return one, other, kind, round(speed, 9), share, other_share, rest_s, other_rest_s, nats, tuple(spans)
    turned = [edge for n in range(0, len(spans), 4) for edge in (*spans[n + 2 : n + 4], *spans[n : n + 2])]
    return other, one, kind, round(1 / speed, 9), other_share, share, other_rest_s, rest_s, nats, tuple(turned)


def rows_and_their_writers(pool: Pool) -> list[Any]:
    """Of each row which transaction wrote it: whoever writes nothing changes nothing of this."""
    tables = ("track", "doc", "fresh", "run", "block", "shared_passage", "overlap", "track_alias", "put_aside", "track_profile", "stop_list")
    with statement(pool) as connection:
        return [connection.execute(f"select '{table}', xmin::text, ctid::text from {table} order by ctid").fetchall() for table in tables]


# ---------------------------------------------------------------------------------------------- files


def exported(pool: Pool, path: Path) -> transfer.Left:
    with path.open("wb") as out, tempfile.TemporaryFile() as aside:
        return transfer.leave(pool, out, aside=aside)


def carried(path: Path) -> list[Carried]:
    """All that a file holds."""
    reading = Reading(path, name=path.name)
    made: list[Carried] = []
    for group in reading.groups:
        abouts = reading.abouts(group)
        made += reading.carried(group, abouts, range(len(abouts)))
    return made


def by_hand(path: Path, rows: Sequence[Carried], **said: Any) -> Path:
    """A file that its writer says is whole, whatever is in it."""
    head = Head(fingerprint_version=portable_out.FINGERPRINT_VERSION, hash_bits=31, frame_bits=13, stopped=np.zeros(0, np.int32))
    with path.open("wb") as out:
        writing = Writing(out, replace(head, **said))
        if rows:
            writing.write(rows)
        writing.finish()
    return path


def of(made: Recording, **about: Any) -> Carried:
    """A recording as a file holds it."""
    then = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    order = np.lexsort((np.floor(made.postings.frame), made.postings.hash))
    kept = replace(made.postings, hash=made.postings.hash[order], frame=np.floor(made.postings.frame[order]))
    usual: dict[str, Any] = {
        "added_at": then,
        "changed_at": then,
        "compared": True,
        "aligned": True,
        "alias_of": None,
        "all_in": None,
        "profile": None,
        "stocked": None,
        "ties": (),
    }
    said = About(**{"track": made.track, "content_sha256": made.content_sha256, "peaks_sha256": sha256(made.peaks), **usual, **about})
    return Carried(about=said, peaks=made.peaks, postings=kept)
