"""A catalogue of short files, and what look-ups find of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import SecretStr

from control_rows import rows
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.ingest import ingest
from earmark.model import Lookup, Postings, Resolve
from earmark.postgres import Pool, open_pool
from earmark.reference import Source, fingerprint_file
from earmark.settings import Database
from index_audio import notes, write_wav

ANY = 1_000_000


class Shelf:
    """Files in a folder, and the recordings that they are."""

    def __init__(self, pool: Pool, folder: Path) -> None:
        self.pool, self.folder = pool, folder
        self.tracks = Tracks(pool=pool)
        self.files: dict[str, Path] = {}

    def add(self, **seeds: int) -> "Shelf":
        """Recordings by their ids; another seed is another sound."""
        for name, seed in seeds.items():
            # Files of sounds that are replaced stay where they are.
            self.files[name] = write_wav(self.folder / f"{name}-{seed}.wav", notes(seed, 5.0))
            (result,) = ingest([Source(path=self.files[name], track_id=name)], pool=self.pool, jobs=1, duplicates="link")
            assert result.outcome in ("added", "replaced", "linked"), result.sentence
        return self

    def remove(self, name: str) -> None:
        assert self.tracks.remove(name)
        del self.files[name]

    def numbers(self) -> dict[str, int]:
        return {row["track_id"]: row["track_no"] for row in rows(self.pool, "select track_id, track_no from track")}


@contextmanager
def shelf(dsn: str, folder: Path) -> Iterator[Shelf]:
    with open_pool(Database(dsn=SecretStr(dsn))) as pool:
        yield Shelf(pool, folder)


def shares(dsn: str, files: dict[str, Path]) -> dict[str, float]:
    """Of each file's postings, as this process makes them, the share that a look-up finds in the recording of that name."""
    with open_pool(Database(dsn=SecretStr(dsn))) as pool:
        index = Index(pool=pool).open()
        numbers: Any = index.answer(Resolve(track_ids=tuple(files)))
        found = {}
        for name, path in files.items():
            asked = fingerprint_file(path).postings
            postings = index.answer(Lookup(hashes=np.unique(asked.hash), postings_max=ANY))
            assert isinstance(postings, Postings)
            found[name] = float(np.count_nonzero(postings.track_no == numbers.get(name, -1))) / len(asked.hash)
        return found
