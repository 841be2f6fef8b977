"""Recordings in and out of the catalogue; each change is one transaction, whole or not there.

A recording is known by its `track_id`. Adding the same content again changes nothing, other metadata are taken over,
other content replaces the old: its docs are retired and the new ones take their place in the same instant.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal, Protocol

import numpy as np

from earmark.errors import CatalogueMismatch
from earmark.fingerprint.landmarks import first_postings, landmarks
from earmark.index import profiles, version
from earmark.index.aliases import mark
from earmark.index.blocks import HASH_BITS, SPAN, digest, keys, pack_fresh
from earmark.index.constellations import FRAME_BITS, PART_FRAMES, SLICES_PER_PART, Part, parts, sha256
from earmark.index.formats import TrackFormat, formats_of
from earmark.index.overlaps import Beside, kin
from earmark.index.runs import write_run
from earmark.index.stretches import SharedWith, forget, lock, shared_with
from earmark.model import FRAMES_PER_S, Int32, Landmarks, Peaks, Track
from earmark.postgres import Connection, Pool, statement, transaction, where
from earmark.reserved import is_canary
from earmark.track_profile import TrackProfile, not_yet

#: So many postings at once (some sixty recordings) go straight into a run; and so do fewer, if so many are in no run yet:
#: readers hold those in memory.
BULK_POSTINGS: Final = 1_500_000
FRESH_POSTINGS_MAX: Final = 6_000_000

#: How an addition ended.
Added = Literal["added", "unchanged", "updated", "replaced"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recording:
    """What goes into the catalogue."""

    track: Track
    peaks: Peaks
    #: See `postings_of`; whoever fingerprints makes them, so that whoever writes only writes.
    postings: Landmarks
    #: SHA-256 of the file it comes from: by it a repeated addition is recognised without decoding.
    content_sha256: bytes


def postings_of(peaks: Peaks) -> Landmarks:
    """What the catalogue keeps of a recording's landmarks: of one hash the first few."""
    return first_postings(landmarks(peaks))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the catalogue holds about a recording, for people."""

    track: Track
    peaks: int
    postings: int
    content_sha256: str
    fingerprint_version: int
    added_at: datetime
    changed_at: datetime
    #: What it shares with others in the catalogue.
    shares: tuple[SharedWith, ...]
    #: The recording that it is another issue of, and told as; and those that are told as it.
    alias_of: str | None = None
    aliases: tuple[str, ...] = ()
    #: How it lies on others that it has something in common with; and what is wrong with its ISRCs, beside those of others.
    overlaps: tuple[Beside, ...] = ()
    isrc_clashes: tuple[str, ...] = ()
    #: Copies in other formats; and, if there are none, why.
    formats: tuple[TrackFormat, ...] = ()
    formats_note: str = ""
    profile: TrackProfile = field(default_factory=not_yet)


_COLUMNS: Final = "track_id, title, artists, album, label, isrc, iswc, upc, rights_holder, policy, territories, valid_from, valid_to, copies, tags, duration_s"
COLUMNS: Final = tuple(_COLUMNS.split(", "))
_PAGE: Final = 1_000


class Tracks:
    """The catalogue's recordings."""

    def __init__(self, *, pool: Pool) -> None:
        self._pool = pool

    def check_version(self) -> None:
        """Raises FingerprintMismatch if the catalogue was made by another version of the fingerprint."""
        with statement(self._pool) as connection:
            _check_version(connection, self._pool)

    def add(self, recordings: Sequence[Recording]) -> list[Added]:
        """Add or replace, all in one transaction; the outcomes are in the recordings' order.

        Raises FingerprintMismatch, DatabaseUnavailable, ValueError if a track_id is there twice.
        """
        prepared = [prepare(recording) for recording in recordings]  # takes the longest, so before anything is locked
        with transaction(self._pool) as connection:
            return self.put(connection, prepared)

    def put(self, connection: Connection, prepared: Sequence["Prepared"], *, into_run: bool = True) -> list[Added]:
        """As `add`, in the transaction of a caller who has more to write. Not `into_run`: however many there are, they may be put aside yet."""
        track_ids = [p.track.track_id for p in prepared]
        if len(set(track_ids)) < len(track_ids):
            raise ValueError("a track_id occurs twice among the recordings to add")
        lock(connection, track_ids)
        _claim_version(connection, self._pool)
        outcomes = foreseen(connection, prepared)
        chosen = list(zip(prepared, outcomes, strict=True))
        _retire(connection, [p.track.track_id for p, outcome in chosen if outcome == "replaced"])
        _write_tracks(connection, [p for p, outcome in chosen if outcome != "unchanged"])
        fresh = [p for p, outcome in chosen if outcome in ("added", "replaced")]
        numbers = _numbers(connection, [p.track.track_id for p in fresh])
        _write_docs(connection, [(numbers[p.track.track_id], doc) for p in fresh for doc in p.docs], into_run=into_run)
        return outcomes

    def describe(self, track: Track, *, content_sha256: bytes) -> Added | None:
        """Take over metadata of a recording whose content is already there; None if it is not, or is other content."""
        with transaction(self._pool) as connection:
            _check_version(connection, self._pool)
            return redescribe(connection, track.track_id, track, content_sha256=content_sha256)

    def remove(self, track_id: str) -> bool:
        """False if it was not there. It is not heard any more once the readers have looked, within a second."""
        with transaction(self._pool) as connection:
            return take_out(connection, track_id)

    def get(self, track_ids: Sequence[str]) -> dict[str, Track]:
        """Those that exist."""
        with statement(self._pool) as connection:
            rows = connection.execute(f"select {_COLUMNS} from track where track_id = any(%s)", [list(track_ids)])
            return {track.track_id: track for track in map(track_of, rows)}

    def show(self, track_id: str) -> Entry | None:
        with statement(self._pool) as connection:
            row = connection.execute(
                f"""select {_COLUMNS}, track_no, d.peaks, d.postings, content_sha256, fingerprint_version, added_at, changed_at
                    from track t, lateral (select sum(slice_starts[{SLICES_PER_PART + 1}]) as peaks, sum(postings) as postings
                                           from doc where doc.track_no = t.track_no and retired_at is null) d
                    where track_id = %s""",
                [track_id],
            ).fetchone()
            if row is None:
                return None
            track_no, peaks, postings, content_sha256, of_version, added_at, changed_at = row[len(COLUMNS) :]
            shares, beside = shared_with(connection, track_no), kin(connection, track_no)
            profile = profiles.shown(connection, track_id)
            formats, formats_note = formats_of(connection, track_id)
        return Entry(
            track=track_of(row),
            peaks=peaks,
            postings=postings,
            content_sha256=content_sha256.hex(),
            fingerprint_version=of_version,
            added_at=added_at,
            changed_at=changed_at,
            shares=shares,
            alias_of=beside.alias_of,
            aliases=beside.aliases,
            overlaps=beside.overlaps,
            isrc_clashes=beside.isrc_clashes,
            formats=formats,
            formats_note=formats_note,
            profile=profile,
        )

    def all(self) -> Iterator[Track]:
        """Every recording but the canary's, by track_id; read a page at a time, as it is consumed."""
        after = ""
        while True:
            with statement(self._pool) as connection:
                rows = connection.execute(f"select {_COLUMNS} from track where track_id > %s order by track_id limit {_PAGE}", [after]).fetchall()
            yield from (track_of(row) for row in rows if not is_canary(row[0]))
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def same_content(self, content_sha256: bytes) -> list[str]:
        """track_ids of the recordings that came from this very file."""
        return self._ids("content_sha256", content_sha256)

    def same_peaks(self, peaks: Peaks) -> list[str]:
        """track_ids of the recordings with this very constellation: the same audio, whatever its container and tags."""
        return self._ids("peaks_sha256", sha256(peaks))

    def _ids(self, column: Literal["content_sha256", "peaks_sha256"], value: bytes) -> list[str]:
        with statement(self._pool) as connection:
            rows = connection.execute(f"select track_id from track where {column} = %s order by added_at, track_id", [value]).fetchall()
        return [track_id for (track_id,) in rows]


def take_out(connection: Connection, track_id: str) -> bool:
    """As `Tracks.remove`, in the caller's transaction."""
    lock(connection, [track_id])
    _retire(connection, [track_id])
    return connection.execute("delete from track where track_id = %s", [track_id]).rowcount > 0


def redescribe(connection: Connection, track_id: str, track: Track, *, content_sha256: bytes) -> Added | None:
    """As `Tracks.describe`, in the caller's transaction; and the recording may get another `track_id`, if that is free."""
    lock(connection, [track_id, track.track_id])
    stored = _stored(connection, [track_id]).get(track_id)
    if stored is None or stored.content_sha256 != content_sha256:
        return None
    described = replace(track, duration_s=stored.track.duration_s)
    if described == stored.track:
        return "unchanged"
    if track.track_id != track_id:
        renamed = connection.execute("update track set track_id = %s where track_id = %s returning track_no", [track.track_id, track_id])
        mark(connection, [track_no for (track_no,) in renamed.fetchall()])
    _update(connection, described)
    return "updated"


def track_of(row: Sequence[Any]) -> Track:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in zip(COLUMNS, row, strict=False)}
    return Track(**fields)


# ------------------------------------------------------------------------------------------------ version

_BITS: Final = (HASH_BITS, FRAME_BITS)


def _check_version(connection: Connection, pool: Pool) -> bool:
    """False if none is written down yet."""
    row = connection.execute("select fingerprint_version, hash_bits, frame_bits from catalogue_version").fetchone()
    if row is None:
        return False
    version.expect(row[0], pool)
    if row[1:] != _BITS:
        raise CatalogueMismatch(
            f"the catalogue in {where(pool)} has {row[1]}-bit hashes, and this Earmark's have {HASH_BITS}: it is damaged, or of a private build"
        )
    return True


def _claim_version(connection: Connection, pool: Pool) -> None:
    """Who adds first says which version the catalogue is of."""
    if not _check_version(connection, pool):
        ours = (version.OURS, *_BITS)
        connection.execute("insert into catalogue_version (fingerprint_version, hash_bits, frame_bits) values (%s, %s, %s) on conflict do nothing", ours)
        _check_version(connection, pool)


# ------------------------------------------------------------------------------------------------ the transaction of an addition


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Doc:
    part: Part
    hashes: Int32
    #: Within the part.
    frames: Int32


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prepared:
    """A recording as it is written."""

    track: Track
    content_sha256: bytes
    peaks_sha256: bytes
    docs: list[_Doc]


def prepare(recording: Recording) -> Prepared:
    """A recording's rows of `doc`, each with its postings: what takes the longest, and needs no database."""
    track, kept = recording.track, recording.postings
    frame = np.floor(kept.frame).astype(np.int32)
    of_part = frame // PART_FRAMES
    rows = parts(recording.peaks, int(np.ceil(track.duration_s * FRAMES_PER_S)))
    docs = [_Doc(part=row, hashes=kept.hash[of_part == row.part], frames=frame[of_part == row.part] % PART_FRAMES) for row in rows]
    return Prepared(track=track, content_sha256=recording.content_sha256, peaks_sha256=sha256(recording.peaks), docs=docs)


class Known(Protocol):
    """What has to be known of a recording to tell whether it is there."""

    @property
    def track(self) -> Track: ...
    @property
    def content_sha256(self) -> bytes: ...
    @property
    def peaks_sha256(self) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class _Stored:
    track: Track
    content_sha256: bytes
    peaks_sha256: bytes


def _stored(connection: Connection, track_ids: Sequence[str]) -> dict[str, _Stored]:
    rows = connection.execute(f"select {_COLUMNS}, content_sha256, peaks_sha256 from track where track_id = any(%s)", [list(track_ids)])
    return {row[0]: _Stored(track=track_of(row), content_sha256=row[-2], peaks_sha256=row[-1]) for row in rows}


def foreseen(connection: Connection, recordings: Sequence[Known]) -> list[Added]:
    """What becomes of recordings that are put now; it may be something else a moment later, unless the caller holds their `lock`."""
    stored = _stored(connection, [recording.track.track_id for recording in recordings])
    return [_outcome(recording, stored.get(recording.track.track_id)) for recording in recordings]


def _outcome(prepared: Known, stored: _Stored | None) -> Added:
    if stored is None:
        return "added"
    same_content = stored.content_sha256 == prepared.content_sha256
    if not same_content and stored.peaks_sha256 != prepared.peaks_sha256:
        return "replaced"
    return "unchanged" if same_content and stored.track == prepared.track else "updated"


def _write_tracks(connection: Connection, prepared: Sequence[Prepared]) -> None:
    columns = (*COLUMNS, "fingerprint_version", "content_sha256", "peaks_sha256")
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
    rows = [{**_columns(p.track), "fingerprint_version": version.OURS, "content_sha256": p.content_sha256, "peaks_sha256": p.peaks_sha256} for p in prepared]
    with connection.cursor() as cursor:
        cursor.executemany(
            f"insert into track ({', '.join(columns)}) values ({', '.join(f'%({column})s' for column in columns)}) "
            f"on conflict (track_id) do update set {changes}, changed_at = now()",
            rows,
        )


def _update(connection: Connection, track: Track) -> None:
    changes = ", ".join(f"{column} = %({column})s" for column in COLUMNS[1:])
    connection.execute(f"update track set {changes}, changed_at = now() where track_id = %(track_id)s", _columns(track))


def _columns(track: Track) -> Mapping[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(track).items()}


def _numbers(connection: Connection, track_ids: Sequence[str]) -> dict[str, int]:
    return dict(connection.execute("select track_id, track_no from track where track_id = any(%s)", [list(track_ids)]).fetchall())


def _retire(connection: Connection, track_ids: Sequence[str]) -> None:
    """Their docs count no more, and the recordings get new numbers: whoever still follows an old number finds nothing there."""
    forget(connection, track_ids)
    numbers = _numbers(connection, track_ids)
    if retire_docs(connection, list(numbers.values())):
        connection.execute("update track set track_no = default where track_id = any(%s)", [list(track_ids)])


def retire_docs(connection: Connection, track_nos: Sequence[int]) -> bool:
    """The docs of these recordings count no more; False if there were none."""
    old = connection.execute("select doc_id from doc where track_no = any(%s) and retired_at is null order by doc_id for update", [list(track_nos)]).fetchall()
    if old:
        connection.execute("update doc set retired_at = now(), changed_xid = pg_current_xact_id() where doc_id = any(%s)", [[doc_id for (doc_id,) in old]])
    return bool(old)


def write_sound(connection: Connection, pool: Pool, track_no: int, prepared: "Prepared") -> None:
    """The docs and postings of a recording whose row of `track` is there already; see `index.beside`."""
    _claim_version(connection, pool)
    _write_docs(connection, [(track_no, doc) for doc in prepared.docs])


def _write_docs(connection: Connection, docs: Sequence[tuple[int, _Doc]], *, into_run: bool = True) -> None:
    """Docs of their track_nos, with their postings."""
    bulk = into_run and _is_bulk(connection, sum(len(doc.hashes) for _, doc in docs))
    numbered = list(zip(_insert_docs(connection, docs, packed=bulk), (doc for _, doc in docs), strict=True))
    if not bulk:
        with connection.cursor() as cursor:
            rows = [(doc_id, digest(packed), packed) for doc_id, doc in numbered for packed in [pack_fresh(doc.hashes, doc.frames)]]
            cursor.executemany("insert into fresh (doc_id, digest, postings) values (%s, %s, %s)", rows)
        return
    for span in sorted({doc_id // SPAN for doc_id, _ in numbered}):
        joined = np.concatenate([keys(doc.hashes, doc_id, doc.frames) for doc_id, doc in numbered if doc_id // SPAN == span])
        joined.sort()
        write_run(connection, kind="bulk", span=span, sorted_keys=joined)


def _is_bulk(connection: Connection, postings: int) -> bool:
    row = connection.execute("select coalesce(sum(postings), 0) from doc where not packed").fetchone()
    assert row is not None
    return postings >= BULK_POSTINGS or (postings > 0 and postings + int(row[0]) > FRESH_POSTINGS_MAX)


def _insert_docs(connection: Connection, docs: Sequence[tuple[int, _Doc]], *, packed: bool) -> list[int]:
    if not docs:
        return []
    rows = [
        (track_no, doc.part.part, doc.part.part * PART_FRAMES, doc.part.frames, len(doc.hashes), doc.part.slice_starts, doc.part.packed, packed)
        for track_no, doc in docs
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into doc (track_no, part, first_frame, frames, postings, slice_starts, peaks, packed) "
            "values (%s, %s, %s, %s, %s, %s, %s, %s) returning doc_id",
            rows,
            returning=True,
        )
        return [int(doc_id) for result in cursor.results() for (doc_id,) in result.fetchall()]
