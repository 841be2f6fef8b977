"""Is what a catalogue has already found when it is added again, at another bitrate, cut, or a little faster? And is nothing else?

More than a hundred generated pieces that share keys, tempi, chords and drums, and the hearing bench's recordings where it has
any, are added; then each of them again as each of the variants, and what it is linked to is looked up.
"""

import operator
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from bench.added_sound import REAL, VARIANTS, encode, read
from bench.rows import row
from earmark.index.catalogue import Tracks
from earmark.index.overlaps import all_pairs
from earmark.ingest import ingest
from earmark.local import music
from earmark.local.database import create_database, temporary_server
from earmark.model import Float32
from earmark.postgres import Pool, migrate, open_pool
from earmark.reference import Source
from earmark.settings import Database

_row: Final = partial(row, command="make bench-sources")
#: Of the real ones so much is used, since each is coded eight times.
_REAL_S: Final = 120


def rows(pieces: int = 104) -> list[dict[str, Any]]:
    """Measures for a quarter of an hour; QUICK=1: with a tenth of the pieces."""
    pieces = pieces // 10 if os.environ.get("QUICK") else pieces
    linked: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, temporary_server() as server:
        dsn = create_database(server, "duplicates")
        migrate(dsn)
        with open_pool(Database(dsn=SecretStr(dsn)), application_name="bench") as pool:
            names = [_add(pool, name, encode(Path(folder) / f"{name}.flac", sound)) for name, sound in _sounds(pieces)]
            false = [pair for pair in all_pairs(pool) if pair.alike]
            passages = sum(1 for _ in all_pairs(pool)) - len(false)
            for name in names:
                sound = read(Path(folder) / f"{name}.flac")
                for variant, (ending, kbit_s, change) in VARIANTS.items():
                    path = encode(Path(folder) / f"again.{ending}", change(sound), kbit_s=kbit_s)
                    again = _add(pool, f"{name} {variant}", path)
                    entry = Tracks(pool=pool).show(again)
                    linked[variant] += entry is not None and entry.alias_of == name
            wrong = [pair for pair in all_pairs(pool) if pair.alike and pair.one.split()[0] != pair.other.split()[0]]
    n = f"{len(names)} different recordings, {len(names) - pieces} of them of the hearing bench"
    shares = [_row(f"found again: {variant}", linked[variant] / len(names), "share", against=n) for variant in VARIANTS]
    return [
        _row("duplicates found when they are added", sum(linked.values()) / len(VARIANTS) / len(names), "share", bar=0.99, met=operator.ge, against=n),
        *shares,
        _row("false pairs among different recordings", len(false) + len(wrong), "pairs", bar=0, against=n),
        _row("passages that different recordings share", passages, "pairs", against="samples that an album reuses are true"),
    ]


def _sounds(pieces: int) -> Iterator[tuple[str, Float32]]:
    for number, piece in enumerate(music.catalogue(pieces)):
        yield f"piece-{number:03d}", music.render(piece)
    for path in sorted(REAL.glob("*.wav")) if REAL.is_dir() and not os.environ.get("QUICK") else []:
        yield path.stem, read(path)[: _REAL_S * music.RATE_HZ]


def _add(pool: Pool, name: str, path: Path) -> str:
    (result,) = ingest([Source(path=path, track_id=name)], pool=pool, jobs=1, duplicates="link")
    if result.track_id is None:
        raise RuntimeError(result.sentence)
    return result.track_id
