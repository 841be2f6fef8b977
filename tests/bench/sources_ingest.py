"""How many seconds of sound a second of CPU adds to a catalogue, decode included: FLAC, MP3 and AAC, with and without comparing.

Beside it, in the same minutes, a plain landmark matcher that is given the same files: it decodes them with the same decoder,
resamples, and makes its landmarks; it writes nothing, and compares nothing. CPU is this process's; the server's is apart.
"""

import operator
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any, Final

import numpy as np
from pydantic import SecretStr

from bench import plain_matcher
from bench.added_sound import encode
from bench.catalogue_server import backends, cpu_s
from bench.rows import row
from earmark.audio.file import read_samples
from earmark.index.answers import Index
from earmark.ingest import Result, ingest
from earmark.local import music
from earmark.local.database import create_database, temporary_server
from earmark.postgres import Pool, migrate, open_pool
from earmark.profiles.file import profile_file
from earmark.profiles.loudness import Loudness
from earmark.profiles.musical import available
from earmark.reference import fingerprint_file
from earmark.settings import Database

BAR: Final = 450.0
_row: Final = partial(row, command="make bench-sources", digits=1)
_FORMATS: Final = {"FLAC": ("flac", None), "MP3, 192 kbit/s": ("mp3", 192), "AAC, 128 kbit/s": ("m4a", 128)}


def rows(pieces: int = 16) -> list[dict[str, Any]]:
    """Measures for some two minutes."""
    made: list[dict[str, Any]] = []
    sounds = [music.render(piece) for piece in music.catalogue(pieces)]
    with tempfile.TemporaryDirectory() as folder, temporary_server() as server:
        for number, (name, (ending, kbit_s)) in enumerate(_FORMATS.items()):
            paths = [encode(Path(folder) / f"{n:02d}.{ending}", sound, kbit_s=kbit_s) for n, sound in enumerate(sounds)]
            made += _of_format(name, paths, server, f"{number}")
    return made


def _of_format(name: str, paths: Sequence[Path], server: str, database: str) -> list[dict[str, Any]]:
    fingerprint_file(paths[0]), profile_file(paths[0])  # what is built once is not counted
    seconds, plain_s = _plain(paths)
    fingerprint_s = _cpu(lambda: [fingerprint_file(path) for path in paths])
    loudness_s, profile_s = _loudness(paths), _cpu(lambda: [profile_file(path) for path in paths])
    apart_s, _ = _ingest(create_database(server, f"apart_{database}"), paths, shared_passages=False)
    together_s, server_s = _ingest(create_database(server, f"together_{database}"), paths, shared_passages=True)
    n = f"{len(paths)} recordings, {seconds / 60:.0f} minutes of {name}, stereo at 44.1 kHz, one core"
    return [
        _row(f"{name}: sound added in a second of CPU", seconds / together_s, "s/s", bar=BAR, met=operator.ge, against=n),
        _row(f"{name}: without comparing it with the others", seconds / apart_s, "s/s", against=n),
        _row(f"{name}: decoded and fingerprinted", seconds / fingerprint_s, "s/s", against=n),
        _row(f"{name}: decoded, and landmarks of a plain matcher", seconds / plain_s, "s/s", against="the same files, in the same minutes"),
        _row(f"{name}: sound added, if its loudness were measured in the same pass", seconds / (together_s + loudness_s), "s/s", against=n),
        _row(f"{name}: what it is like, measured afterwards", seconds / profile_s, "s/s", against=f"{n}; tempo and key: {available() or 'without'}"),
        _row(f"{name}: comparing, of a second of sound", 1e3 * (together_s - apart_s) / seconds, "ms", against=n),
        _row(f"{name}: the server's CPU, of a second of sound", 1e3 * server_s / seconds, "ms", against=n),
    ]


def _plain(paths: Sequence[Path]) -> tuple[float, float]:
    """Seconds of sound, and of CPU."""
    samples_n, begun = 0, process_time()
    for path in paths:
        samples = np.concatenate([chunk.samples for chunk in read_samples(path)])
        plain_matcher.landmarks(samples)
        samples_n += len(samples)
    return samples_n / plain_matcher.RATE_HZ, process_time() - begun


def _loudness(paths: Sequence[Path]) -> float:
    """CPU of measuring how loud they are, beyond that of decoding them."""

    def measure() -> None:
        for path in paths:
            loudness = Loudness()
            for _ in read_samples(path, tap=loudness.push):
                pass
            loudness.finish()

    return _cpu(measure) - _cpu(lambda: [sum(1 for _ in read_samples(path)) for path in paths])


def _cpu(work: Callable[[], object]) -> float:
    begun = process_time()
    work()
    return process_time() - begun


def _ingest(dsn: str, paths: Sequence[Path], *, shared_passages: bool) -> tuple[float, float]:
    """CPU of all that was added, here and in the server."""
    migrate(dsn)
    with _pool(dsn) as pool:
        Index(pool=pool).open()
        pids = backends(pool)
        begun = cpu_s(pids)
        results: list[Result] = []
        spent_s = _cpu(lambda: results.extend(ingest(paths, pool=pool, jobs=1, shared_passages=shared_passages)))
        server_s = cpu_s(pids) - begun
    if failed := [result.sentence for result in results if result.outcome != "added"]:
        raise RuntimeError(failed[0])
    return spent_s, server_s


def _pool(dsn: str) -> Pool:
    return open_pool(Database(dsn=SecretStr(dsn)), application_name="bench")
