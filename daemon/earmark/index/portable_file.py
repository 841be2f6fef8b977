"""The portable file: Apache Parquet, with a head that says of which fingerprint it is, and a checksum of every byte.

    PAR1 | row groups of recordings (`portable.SCHEMA`) | footer: earmark.format, earmark.head, earmark.sha256 | its length | PAR1

Any program that reads Parquet reads it. The checksum is the SHA-256 of the whole file in which its own 64 digits are zeros;
what it is of, and where it stands, is the same in all formats to come, so that "altered" and "newer" are told apart.

Sources: Apache Parquet, "File Format"; Apache Thrift, "Thrift Compact protocol encoding" (how the footer holds a text).
"""

import base64
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from earmark.errors import UnreadableCatalogue
from earmark.index.portable import DISTANCES, LIGHT, SCHEMA, About, Carried, abouts, heavy_columns, sounds, table
from earmark.model import Int32

#: Raised by whatever an Earmark of today would read wrongly; columns that it would pass over do not raise it.
FORMAT: Final = 1
_MAGIC: Final = b"PAR1"
_EMPTY: Final = "0" * 64
#: Of a key and its text of 64 characters in the footer: field 2, a string, of that length.
_MARK: Final = b"earmark.sha256\x18\x40"
#: After the row groups come the footer, its length (u32 LE) and the magic once more.
_TAIL_BYTES: Final = 8
#: No footer is longer: a gigabyte of recordings has some 100 kB.
_FOOTER_BYTES_MAX: Final = 1 << 28
_READ_BYTES: Final = 1 << 22
#: Decoded, of one row group: we write 20 MB, and 40 with a recording of ten hours.
_GROUP_BYTES_MAX: Final = 1 << 28


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """What a file says of itself."""

    fingerprint_version: int
    hash_bits: int
    frame_bits: int
    recordings: int = 0
    postings: int = 0
    #: Of sound.
    seconds: float = 0.0
    #: The catalogue's stop list, ascending: none of its hashes is among the postings.
    stopped: Int32
    exported_at: str = ""
    #: Which Earmark wrote it.
    software: str = ""

    def text(self) -> str:
        said = {name: getattr(self, name) for name in _HEAD_FIELDS}
        return json.dumps({**said, "stop_list": base64.b64encode(self.stopped.astype("<i4").tobytes()).decode()})

    @classmethod
    def of(cls, text: str) -> "Head":
        """Raises ValueError, KeyError, TypeError for what is none."""
        said = json.loads(text)
        stopped = np.frombuffer(base64.b64decode(said["stop_list"], validate=True), "<i4").astype(np.int32)
        if not isinstance(said["recordings"], int) or np.any(np.diff(stopped) <= 0) or np.any(stopped < 0):
            raise ValueError("numbers that cannot be")
        return cls(stopped=stopped, **{name: said[name] for name in _HEAD_FIELDS})


_HEAD_FIELDS: Final = ("fingerprint_version", "hash_bits", "frame_bits", "recordings", "postings", "seconds", "exported_at", "software")


# ------------------------------------------------------------------------------------------------ writing


class _Sink(io.RawIOBase):
    """Passes on what is written, and sums it up; from `hold` on it keeps it instead."""

    def __init__(self, out: BinaryIO) -> None:
        super().__init__()
        self._out = out
        self._bytes = 0
        self.sum = hashlib.sha256()
        self.held: list[bytes] | None = None

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._bytes

    def write(self, piece: Any) -> int:
        given = bytes(piece)
        self._bytes += len(given)
        if self.held is not None:
            self.held.append(given)
        else:
            self.sum.update(given)
            self._out.write(given)
        return len(given)

    def hold(self) -> None:
        self.held = []


class Writing:
    """A file that is being written, a row group at a time; it is none before `finish`. `out` need not be seekable."""

    def __init__(self, out: BinaryIO, head: Head) -> None:
        self._out = out
        self._sink = _Sink(out)
        self._head = head
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            SCHEMA,
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
            column_encoding=dict.fromkeys(DISTANCES, "DELTA_BINARY_PACKED"),
        )

    def write(self, rows: Sequence[Carried]) -> None:
        """One row group."""
        self._writer.write_table(table(rows), row_group_size=len(rows))
        self._head = replace(
            self._head,
            recordings=self._head.recordings + len(rows),
            postings=self._head.postings + sum(len(row.postings) for row in rows),
            seconds=self._head.seconds + sum(row.about.track.duration_s for row in rows),
        )

    def finish(self) -> Head:
        """The footer, with the checksum."""
        head = replace(self._head, exported_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        self._writer.add_key_value_metadata({"earmark.format": str(FORMAT), "earmark.head": head.text(), "earmark.sha256": _EMPTY})
        self._sink.hold()
        self._writer.close()
        end = b"".join(self._sink.held or ())
        place = end.rindex(_MARK + _EMPTY.encode()) + len(_MARK)
        self._sink.sum.update(end)
        self._out.write(end[:place] + self._sink.sum.hexdigest().encode() + end[place + len(_EMPTY) :])
        self._out.flush()
        return head

    def abandon(self) -> None:
        """Nothing more comes; what was written has no footer, and so is no file."""
        self._sink.hold()
        self._writer.close()


# ------------------------------------------------------------------------------------------------ reading


class Reading:
    """A file that was exported, once it is known to be whole.

    Raises UnreadableCatalogue, with a sentence that begins with the name, for what is none, cut, altered, or of another format.
    """

    def __init__(self, path: Path, *, name: str, progress: Callable[[int, int], None] = lambda *_: None) -> None:
        self._name = name
        with path.open("rb") as file:
            _check(file, name, progress)
        try:
            self._file = pq.ParquetFile(path, memory_map=False)
            said = {key.decode(): value.decode() for key, value in (self._file.metadata.metadata or {}).items() if key.startswith(b"earmark.")}
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise UnreadableCatalogue(f"{name} cannot be read: {_first_line(error)}") from None
        if said.get("earmark.format") != str(FORMAT):
            raise UnreadableCatalogue(
                f"{name} is of format {said.get('earmark.format', '?')}, and this Earmark reads format {FORMAT}: "
                "import it with the Earmark that exported it, or export it with this one"
            )
        try:
            self.head = Head.of(said["earmark.head"])
        except (ValueError, KeyError, TypeError):
            raise self._wrong("its head cannot be read") from None
        self._check_columns()

    @property
    def groups(self) -> range:
        return range(int(self._file.metadata.num_row_groups))

    def rows(self, group: int) -> int:
        return int(self._file.metadata.row_group(group).num_rows)

    def abouts(self, group: int) -> list[About]:
        """What the recordings of a row group are."""
        try:
            return abouts(self._read(group, LIGHT))
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise self._wrong(_first_line(error)) from None

    def carried(self, group: int, about: Sequence[About], chosen: Sequence[int]) -> Iterator[Carried]:
        """Some of the recordings of a row group, with their sound."""
        try:
            heavy = sounds(self._read(group, heavy_columns()))
        except ValueError as error:
            raise self._wrong(_first_line(error)) from None
        for n in chosen:
            peaks, postings = heavy[n]
            yield Carried(about=about[n], peaks=peaks, postings=postings)

    def _read(self, group: int, columns: Sequence[str]) -> pa.Table:
        if self._file.metadata.row_group(group).total_byte_size > _GROUP_BYTES_MAX:
            raise self._wrong(f"its row group {group} is larger than any that `earmark catalogue export` writes")
        try:
            read = self._file.read_row_group(group, columns=list(columns), use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise self._wrong(_first_line(error)) from None
        required = [name for name in columns if not SCHEMA.field(name).nullable]
        if any(_has_nulls(chunk) for name in required for chunk in read.column(name).chunks):
            raise self._wrong("it has nulls where something has to be")
        return read

    def _check_columns(self) -> None:
        found = self._file.schema_arrow
        for column in SCHEMA:
            if found.get_field_index(column.name) < 0:
                raise self._wrong(f"it has no column {column.name}")
            if not _alike(found.field(column.name).type, column.type):
                raise self._wrong(f"its column {column.name} holds {found.field(column.name).type}, and should hold {column.type}")

    def _wrong(self, what: str) -> UnreadableCatalogue:
        return UnreadableCatalogue(f"{self._name} was not written by `earmark catalogue export`, or by another program since: {what}; export it anew")


def _check(file: BinaryIO, name: str, progress: Callable[[int, int], None]) -> None:
    """Every byte of it is what was written. Raises UnreadableCatalogue."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size == 0:
        raise UnreadableCatalogue(f"{name} is empty: export it anew")
    if file.read(len(_MAGIC)) != _MAGIC[:size]:
        raise UnreadableCatalogue(f"{name} is not a file of `earmark catalogue export`: that writes Parquet, which begins with PAR1")
    cut = UnreadableCatalogue(f"{name} is cut off: its end is missing; copy it again, or export it anew")
    if size < len(_MAGIC) + _TAIL_BYTES:
        raise cut
    file.seek(size - _TAIL_BYTES)
    tail = file.read(_TAIL_BYTES)
    footer_bytes = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC:
        raise cut
    if footer_bytes > min(_FOOTER_BYTES_MAX, size - len(_MAGIC) - _TAIL_BYTES):
        raise UnreadableCatalogue(f"{name} was altered since it was exported, or is damaged: copy it again, or export it anew")
    end_at = size - _TAIL_BYTES - footer_bytes
    file.seek(end_at)
    end = file.read()
    marked = end.rfind(_MARK)
    if marked < 0:
        raise UnreadableCatalogue(f"{name} is a Parquet file, and not one of `earmark catalogue export`: it has no checksum of ours")
    place = marked + len(_MARK)
    written = end[place : place + len(_EMPTY)]
    if _sum(file, end_at, end[:place] + _EMPTY.encode() + end[place + len(_EMPTY) :], progress) != written:
        raise UnreadableCatalogue(f"{name} was altered since it was exported, or is damaged: copy it again, or export it anew")


def _sum(file: BinaryIO, end_at: int, end: bytes, progress: Callable[[int, int], None]) -> bytes:
    made, read = hashlib.sha256(), 0
    file.seek(0)
    while read < end_at:
        piece = file.read(min(_READ_BYTES, end_at - read))
        if not piece:
            break
        made.update(piece)
        read += len(piece)
        progress(read, end_at)
    made.update(end)
    return made.hexdigest().encode()


def _alike(found: pa.DataType, wanted: pa.DataType) -> bool:
    """The same but for what its parts are called, and whether they may be null."""
    if pa.types.is_list(wanted):
        return pa.types.is_list(found) and _alike(found.value_type, wanted.value_type)
    if pa.types.is_struct(wanted):
        return pa.types.is_struct(found) and all(
            found.get_field_index(part.name) >= 0 and _alike(found.field(part.name).type, part.type) for part in _parts(wanted)
        )
    return bool(found == wanted)


def _parts(of: pa.DataType) -> list[pa.Field]:
    return [of.field(n) for n in range(of.num_fields)]


def _has_nulls(column: pa.Array) -> bool:
    """Anywhere in it but in a tie's `overlap`, which may be null."""
    if column.null_count:
        return True
    if pa.types.is_list(column.type):
        return _has_nulls(column.flatten())
    if pa.types.is_struct(column.type):
        return any(_has_nulls(column.field(n)) for n, part in enumerate(_parts(column.type)) if part.name != "overlap")
    return False


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
