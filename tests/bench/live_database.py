"""A PostgreSQL with a catalogue of any size, which is made once and kept, and a fresh copy of it for each run."""

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, count, islice, starmap
from pathlib import Path
from typing import Final

import numpy as np
import psycopg
from psycopg import sql
from pydantic import SecretStr

import earmark
from bench.catalogue import POPULARITY, Generator
from bench.catalogue_server import needs, server
from bench.live_media import MATERIALS
from bench.rows import ROOT
from earmark import postgres
from earmark.fingerprint.window import fingerprint
from earmark.index.catalogue import Recording, Tracks, postings_of
from earmark.index.upkeep import upkeep
from earmark.local.database import create_database, drop_database, ensure_database
from earmark.model import FINGERPRINT_VERSION, Float32, Landmarks, Track
from earmark.settings import Database
from hearing_sounds import at_8_khz

#: Recordings that are written together: 1.2 GB of work.
_LOADED_AT_ONCE: Final = 2_500
#: GB of a recording, and of what it takes to make it, twice: the copy that a run works on.
_GB_EACH: Final = 2 * 260e-6
_RUN: Final = "run"


@contextmanager
def catalogued(tracks: int, material: str, programmes: int) -> Iterator[str]:
    """The DSN of a database with what so many programmes play, and others that are drawn; it is gone afterwards, and its server stopped."""
    folder = _folder()
    needs(folder.parent, tracks * _GB_EACH)
    with server(folder) as dsn:
        kind = f"catalogue_{material}"
        name = f"{kind}_{tracks}_{_key(material, programmes)}"
        if not _exists(dsn, name):
            _forget(dsn, kind)
            _make(dsn, name, tracks, MATERIALS[material].played(programmes))
        drop_database(dsn, _RUN)
        try:
            run = create_database(dsn, _RUN, template=name)
            _warm(run)
            yield run
        finally:
            drop_database(dsn, _RUN)


def _warm(dsn: str) -> None:
    """Read everything once: a server that has run for a while has it in memory. (A table of up to a quarter of that stays there.)"""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("set enable_indexonlyscan = off")  # it would count the rows without reading the table
        tables = connection.execute("select oid::regclass::text from pg_class where relkind in ('r', 't') and relpages > 100").fetchall()
        for (table,) in tables:
            connection.execute(sql.SQL("select count(*) from {}").format(sql.SQL(table)))


def _folder() -> Path:
    """Below build, if the server's user may enter it (as root, that is `nobody`) and a socket's path may be so long."""
    folder = ROOT / "build" / "bench" / "streams-postgresql"
    folder.parent.mkdir(parents=True, exist_ok=True)
    enterable = os.geteuid() != 0 or all(place.stat().st_mode & 0o001 for place in folder.parents)
    return folder if enterable and len(str(folder)) < 80 else Path("/var/tmp/earmark-bench-streams")


def _key(material: str, programmes: int) -> str:
    """Of everything that a catalogue depends on."""
    migrations = sorted((Path(earmark.__file__).parent / "migrations").glob("*.sql"))
    files = [*migrations, POPULARITY, Path(__file__).with_name("catalogue.py")]
    told = f"{FINGERPRINT_VERSION} {programmes}".encode()
    return hashlib.sha256(b"".join([told, *MATERIALS[material].sources(), *(path.read_bytes() for path in files)])).hexdigest()[:10]


def _exists(dsn: str, name: str) -> bool:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute("select from pg_database where datname = %s", [name]).fetchone() is not None


def _forget(dsn: str, kind: str) -> None:
    """Those of an earlier version, which nobody needs any more."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for (old,) in connection.execute("select datname from pg_database where starts_with(datname, %s)", [kind]).fetchall():
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(old)))


def _make(dsn: str, name: str, tracks: int, played: Iterable[tuple[Track, Float32, int]]) -> None:
    """Under another name until it is whole."""
    print(f"  making a catalogue of {tracks:,} recordings: about {tracks / 75:.0f} s, once", file=sys.stderr, flush=True)
    begun, unfinished = time.monotonic(), f"{name}_unfinished"
    made = ensure_database(dsn, unfinished)
    postgres.migrate(made)
    settings = Database(dsn=SecretStr(made), pool_max=4, statement_timeout_s=1_800)
    with postgres.open_pool(settings, application_name="bench", reading=True) as pool:
        kept = Tracks(pool=pool)
        recordings = chain(starmap(_played, played), _drawn())
        left = tracks
        while left and (batch := list(islice(recordings, min(left, _LOADED_AT_ONCE)))):
            left -= len(batch)
            kept.add(batch)
            upkeep(pool)
            print(f"  {batch[-1].track.track_id} after {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        upkeep(pool, extent="everything")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("alter database {} rename to {}").format(sql.Identifier(unfinished), sql.Identifier(name)))


def _played(track: Track, samples: Float32, rate_hz: int) -> Recording:
    peaks = fingerprint(at_8_khz(samples, rate_hz))
    return Recording(track=track, peaks=peaks, postings=postings_of(peaks), content_sha256=track.track_id.encode())


def _drawn() -> Iterator[Recording]:
    """Without end."""
    generator = Generator()
    for number in count():
        hashes, frames = generator.postings(number)
        track = Track(track_id=f"drawn {number}", title=f"Recording {number} of nobody", duration_s=generator.duration_s(number))
        postings = Landmarks(hash=hashes, frame=frames.astype(np.float64))
        yield Recording(track=track, peaks=generator.peaks(number), postings=postings, content_sha256=f"drawn {number}".encode())
