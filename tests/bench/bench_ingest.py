"""What adding recordings costs: CPU per second of sound, from a file to the transaction, and what comparing them with the others takes.

Generated music in FLAC, added as `earmark catalogue add` adds it, to a catalogue in a server of its own. CPU is this
process's and its workers', children included; what the server spends is apart.
"""

import resource
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from bench.catalogue_server import backends, cpu_s
from bench.rows import row
from earmark.index.answers import Index
from earmark.ingest import Result, ingest
from earmark.local import music, sound
from earmark.local.database import create_database, temporary_server
from earmark.postgres import Pool, migrate, open_pool
from earmark.settings import Database

_row: Final = partial(row, command="make bench ARGS=ingest")
_PIECES: Final = 24


def figures() -> list[dict[str, Any]]:
    """Measures for a minute. Rows of figure, value, unit, bar, met, against, command."""
    with tempfile.TemporaryDirectory() as folder, temporary_server() as server:
        paths = _files(Path(folder))
        seconds, alone, server_s = _ingest(create_database(server, "alone"), paths, shared_passages=False)
        _, both, _ = _ingest(create_database(server, "shared"), paths, shared_passages=True)
        wall_s = _wall_s(create_database(server, "wall"), paths)
    n = f"{_PIECES} recordings, {seconds / 60:.0f} minutes, FLAC"
    return [
        _row("add recordings: CPU per second of sound", 1e3 * alone / seconds, "ms/s", against=n),
        _row("of the server", 1e3 * server_s / seconds, "ms/s", against=n),
        _row("compare them with the others: CPU per second of sound", 1e3 * (both - alone) / seconds, "ms/s", against="while these are all there are"),
        _row("add a recording of four minutes: CPU", both / seconds * 240, "s", against=n),
        _row("seconds of sound added in a second, one process a core", seconds / wall_s, "s/s", against=n),
    ]


def _files(folder: Path) -> list[Path]:
    for number, piece in enumerate(music.catalogue(_PIECES)):
        sound.write_flac(folder / f"{number:02d}.flac", music.render(piece), piece.track)
    return sorted(folder.iterdir())


def _ingest(dsn: str, paths: Sequence[Path], *, shared_passages: bool) -> tuple[float, float, float]:
    """Seconds of sound, and CPU of all that was added, here and in the server."""
    with _pool(dsn) as pool:
        Index(pool=pool).open()
        pids, before = backends(pool), _cpu_s()
        begun = cpu_s(pids)
        results = list(ingest(paths, pool=pool, jobs=1, shared_passages=shared_passages))
        return _seconds(results), _cpu_s() - before, cpu_s(pids) - begun


def _wall_s(dsn: str, paths: Sequence[Path]) -> float:
    with _pool(dsn) as pool:
        begun = time.monotonic()
        _seconds(list(ingest(paths, pool=pool)))
        return time.monotonic() - begun


def _pool(dsn: str) -> Pool:
    migrate(dsn)
    return open_pool(Database(dsn=SecretStr(dsn)), application_name="bench")


def _seconds(results: Sequence[Result]) -> float:
    if failed := [result.sentence for result in results if result.outcome != "added"]:
        raise RuntimeError(failed[0])
    return sum(result.duration_s for result in results)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
