"""A process that adds its issue of some recordings, each at the same moment as another process adds its own."""

from pathlib import Path
from typing import Any

import numpy as np

from earmark.ingest import ingest
from earmark.model import RATE_HZ
from earmark.reference import Source
from hearing_sounds import noise, tune
from index_audio import write_wav
from index_catalogue import open_pool

TWINS = 6


def twin(path: Path, dsn: str, number: int, start: Any, told: Any) -> None:
    """`start` is a barrier, `told` a queue for (recording, track_id, outcome)."""
    with open_pool(dsn) as pool:
        for seed in range(TWINS):
            sound = tune(100 + seed, 15) + (noise(seed, 15, 0.002) if number else 0)
            name = f"{seed}-{number}"
            file = write_wav(path / f"{name}.wav", 0.5 * np.asarray(sound, np.float32), rate_hz=RATE_HZ)
            start.wait(60)
            (result,) = ingest([Source(path=file, track_id=name)], pool=pool, jobs=1, duplicates="link")
            told.put((seed, name, result.outcome))
