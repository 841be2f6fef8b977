"""A recording as it travels from one catalogue to another, and as rows of an Arrow table: all that is known of it, and no audio.

What depends on one database stays there: numbers of recordings and docs, runs, who is told of changes. Other recordings are
named by their ids. A row that is an alias, or shares something, comes after those that it names, so that a file is taken in
from its first row to its last.

**Postings are carried, not made again.** Landmarks are made by the salience of peaks, and that is not kept: of a stored
constellation at most half of them could be had. They lie by hash, which takes least room when each is told by its
distance from the one before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from earmark.matching.overlaps import Kind, Overlap, Span
from earmark.model import Landmarks, Peaks, Shared
from earmark.track import Track


@dataclass(frozen=True, kw_only=True, slots=True)
class Tie:
    """What a recording shares with one that came before it; see `model.Relation`."""

    #: A track_id.
    other: str
    version: bool
    evidence_nats: float
    #: Of the one, and of the other.
    own: tuple[Shared, ...]
    others: tuple[Shared, ...]
    #: None: it was compared by an Earmark that did not put that on record.
    overlap: Overlap | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stocked:
    """The object of the catalogue's bucket that a recording is; see the table `catalogue_object`."""

    bucket: str
    key: str
    etag: str
    size: int
    #: What the file says of itself, as JSON.
    tags: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class About:
    """What a recording is, without its sound."""

    track: Track
    content_sha256: bytes
    #: Of its constellation.
    peaks_sha256: bytes
    added_at: datetime
    changed_at: datetime
    #: It was compared with the others of its catalogue, and laid over them.
    compared: bool
    aligned: bool
    #: The recording that it is told as, and the one that all of it is in, so that it is not looked up by itself.
    alias_of: str | None
    all_in: str | None
    #: What was measured of it, as JSON.
    profile: str | None
    #: Whoever keeps the catalogue of the same bucket then knows it as that object, and needs not fetch it.
    stocked: Stocked | None
    ties: tuple[Tie, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Carried:
    """A recording, whole."""

    about: About
    #: Without salience.
    peaks: Peaks
    #: By hash, then frame; those of hashes on the stop list are left out.
    postings: Landmarks


# ------------------------------------------------------------------------------------------------ columns


def _several(of: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", of, nullable=False))


def _struct(**columns: pa.DataType) -> pa.DataType:
    return pa.struct([pa.field(name, of, nullable=False) for name, of in columns.items()])


_STRETCHES: Final = _several(_struct(begin_frame=pa.int32(), end_frame=pa.int32(), eighth_frames=_several(pa.int32())))
_OVERLAP: Final = _struct(
    kind=pa.string(),
    speed=pa.float64(),
    share=pa.float32(),
    other_share=pa.float32(),
    rest_s=pa.float32(),
    other_rest_s=pa.float32(),
    spans=_several(pa.float32()),
)
_TIE: Final = pa.struct(
    [
        pa.field("other", pa.string(), nullable=False),
        pa.field("version", pa.bool_(), nullable=False),
        pa.field("evidence_nats", pa.float32(), nullable=False),
        pa.field("own", _STRETCHES, nullable=False),
        pa.field("others", _STRETCHES, nullable=False),
        pa.field("overlap", _OVERLAP),
    ]
)
#: As the fields of `Track` are told; those of one release are those of its format version.
_DESCRIPTION: Final[Mapping[str, pa.DataType]] = {
    f.name: pa.float64() if f.name == "duration_s" else _several(pa.string()) if f.default == () else pa.string() for f in fields(Track)
}
_TIME: Final = pa.timestamp("us", tz="UTC")
_ABOUT: Final[Mapping[str, pa.DataType]] = {
    **_DESCRIPTION,
    "content_sha256": pa.binary(),
    "peaks_sha256": pa.binary(),
    "added_at": _TIME,
    "changed_at": _TIME,
    "compared": pa.bool_(),
    "aligned": pa.bool_(),
    "ties": _several(_TIE),
}
#: May be null.
_STOCKED: Final = _struct(bucket=pa.string(), key=pa.string(), etag=pa.string(), size=pa.int64(), tags=pa.string())
_PERHAPS: Final[Mapping[str, pa.DataType]] = {"alias_of": pa.string(), "all_in": pa.string(), "profile": pa.string(), "stocked": _STOCKED}
_SOUND: Final[Mapping[str, pa.DataType]] = {
    "peak_eighth_frame": _several(pa.int32()),
    "peak_eighth_hz": _several(pa.int32()),
    "peak_hashed": _several(pa.bool_()),
    "posting_hash": _several(pa.int32()),
    "posting_frame": _several(pa.int32()),
}
SCHEMA: Final = pa.schema(
    [
        *(pa.field(name, of, nullable=False) for name, of in _ABOUT.items()),
        *(pa.field(name, of) for name, of in _PERHAPS.items()),
        *(pa.field(name, of, nullable=False) for name, of in _SOUND.items()),
    ]
)
#: Columns of an `About`: a few hundred bytes a recording, where a `Carried` has some 100 kB.
LIGHT: Final = [*_ABOUT, *_PERHAPS]
#: Leaves whose numbers are told by their distances.
DISTANCES: Final = [f"{name}.list.element" for name, of in _SOUND.items() if of.value_type == pa.int32()]

_Int32: TypeAlias = npt.NDArray[np.int32]


# ------------------------------------------------------------------------------------------------ to a table


def table(rows: Sequence[Carried]) -> pa.Table:
    """Recordings as a table with the columns of `SCHEMA`."""
    columns: dict[str, pa.Array] = {}
    for name, of in _DESCRIPTION.items():
        columns[name] = pa.array([getattr(row.about.track, name) for row in rows], of)
    for name in ("content_sha256", "peaks_sha256", "added_at", "changed_at", "compared", "aligned"):
        columns[name] = pa.array([getattr(row.about, name) for row in rows], _ABOUT[name])
    columns["ties"] = pa.array([[_of_tie(tie) for tie in row.about.ties] for row in rows], _ABOUT["ties"])
    for name in ("alias_of", "all_in", "profile"):
        columns[name] = pa.array([getattr(row.about, name) for row in rows], pa.string())
    columns["stocked"] = pa.array([None if row.about.stocked is None else asdict(row.about.stocked) for row in rows], _STOCKED)
    sound: dict[str, list[npt.NDArray[Any]]] = {
        "peak_eighth_frame": [row.peaks.eighth_frames for row in rows],
        "peak_eighth_hz": [row.peaks.eighth_hz for row in rows],
        "peak_hashed": [row.peaks.hashed for row in rows],
        "posting_hash": [row.postings.hash for row in rows],
        "posting_frame": [row.postings.frame.astype(np.int32) for row in rows],
    }
    for name, pieces in sound.items():
        columns[name] = _lists(pieces, _SOUND[name])
    return pa.Table.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _lists(pieces: Sequence[npt.NDArray[Any]], of: pa.DataType) -> pa.Array:
    offsets = np.zeros(len(pieces) + 1, np.int32)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    values = np.concatenate([np.zeros(0, pieces[0].dtype), *pieces])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, of.value_type), type=of)


def _of_tie(tie: Tie) -> dict[str, Any]:
    def stretches(shared: tuple[Shared, ...]) -> list[dict[str, Any]]:
        return [{"begin_frame": s.begin_frame, "end_frame": s.end_frame, "eighth_frames": s.eighth_frames} for s in shared]

    laid = tie.overlap
    return {
        "other": tie.other,
        "version": tie.version,
        "evidence_nats": tie.evidence_nats,
        "own": stretches(tie.own),
        "others": stretches(tie.others),
        "overlap": None
        if laid is None
        else {
            **{name: getattr(laid, name) for name in ("kind", "speed", "share", "other_share", "rest_s", "other_rest_s")},
            "spans": [edge for s in laid.spans for edge in (s.begin_s, s.end_s, s.other_begin_s, s.other_end_s)],
        },
    }


# ------------------------------------------------------------------------------------------------ from a table


def abouts(light: pa.Table) -> list[About]:
    """The rows of a table with the columns `LIGHT`. Raises ValueError for what cannot be: the rest is `transfer`'s to judge."""
    columns = {name: light.column(name).to_pylist() for name in LIGHT}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [_about(row) for row in rows]


def sounds(heavy: pa.Table) -> list[tuple[Peaks, Landmarks]]:
    """Constellation and postings of the rows of a table with the columns of `SCHEMA`. Raises ValueError for columns of different length."""
    pieces = {name: _pieces(heavy.column(name).combine_chunks()) for name in _SOUND}
    return [_sound(*row) for row in zip(*(pieces[name] for name in _SOUND), strict=True)]


def heavy_columns() -> list[str]:
    return list(_SOUND)


def _pieces(column: pa.ListArray) -> list[npt.NDArray[Any]]:
    values = column.values.to_numpy(zero_copy_only=False)
    offsets = column.offsets.to_numpy().tolist()
    return [values[begin:end] for begin, end in pairwise(offsets)]


def _sound(time: _Int32, hz: _Int32, hashed: npt.NDArray[np.bool_], hash_: _Int32, frame: _Int32) -> tuple[Peaks, Landmarks]:
    if not len(time) == len(hz) == len(hashed) or len(hash_) != len(frame):
        raise ValueError("it has more of one column than of another")
    peaks = Peaks(eighth_frames=time, eighth_hz=hz, hashed=hashed.astype(np.bool_), salience=np.zeros(len(time), np.float32))
    return peaks, Landmarks(hash=hash_, frame=frame.astype(np.float64))


def _about(row: Mapping[str, Any]) -> About:
    described: dict[str, Any] = {name: tuple(row[name]) if isinstance(row[name], list) else row[name] for name in _DESCRIPTION}
    return About(
        track=Track(**described),
        content_sha256=row["content_sha256"],
        peaks_sha256=row["peaks_sha256"],
        added_at=row["added_at"].astimezone(UTC),
        changed_at=row["changed_at"].astimezone(UTC),
        compared=row["compared"],
        aligned=row["aligned"],
        ties=tuple(_tie(tie) for tie in row["ties"]),
        stocked=None if row["stocked"] is None else Stocked(**row["stocked"]),
        **{name: row[name] for name in ("alias_of", "all_in", "profile")},
    )


def _tie(row: Mapping[str, Any]) -> Tie:
    def stretches(shared: Sequence[Mapping[str, Any]]) -> tuple[Shared, ...]:
        return tuple(Shared(begin_frame=s["begin_frame"], end_frame=s["end_frame"], eighth_frames=tuple(s["eighth_frames"])) for s in shared)

    return Tie(
        other=row["other"],
        version=row["version"],
        evidence_nats=row["evidence_nats"],
        own=stretches(row["own"]),
        others=stretches(row["others"]),
        overlap=None if row["overlap"] is None else _overlap(**row["overlap"]),
    )


def _overlap(*, kind: Kind, spans: Sequence[float], **measures: float) -> Overlap:
    edges = iter(spans)
    laid = tuple(
        Span(begin_s=begin_s, end_s=end_s, other_begin_s=other_begin_s, other_end_s=other_end_s)
        for begin_s, end_s, other_begin_s, other_end_s in zip(edges, edges, edges, edges, strict=True)
    )
    return Overlap(kind=kind, spans=laid, **measures)
