"""How many hits hold when their match is computed again from their evidence: a figure, over generated music on generated streams.

    PYTHONPATH=tests python -m evidence_verified [RECORDINGS]      prints the table

Each recording is on air four times, through AAC at 64 kbit/s: as it is, under speech as loud, 3 % fast, and as a quote of nine
seconds; speech and music that is not in the catalogue are between. A worker hears it with `evidence.clip` on, as each codec writes
it, and what lies in the bucket is all that is judged by, with the catalogue.
"""

import io
import operator
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import numpy as np

from bench.rows import row, show
from control_rows import pool_of
from earmark.audio.encode import Encoding, encode_samples
from earmark.audio.file import read_samples
from earmark.local import music, sound
from earmark.local.database import create_database, temporary_server
from earmark.local.speech import speech
from earmark.model import RATE_HZ, Float32, Stream
from earmark.postgres import Pool, migrate
from earmark.settings import Evidence
from evidence_world import Worker, hits, stock, verdict_of, waiting_objects
from hearing_sounds import at_8_khz

COMMAND: Final = "make bench-report"
RECORDINGS: Final = 8
_RATE_HZ: Final = music.RATE_HZ
#: Of a recording, from here on and so long.
_FROM_S, _LENGTH_S, _QUOTE_S, _SPEECH_S = 20.0, 40.0, 9.0, 10.0
_row = partial(row, command=COMMAND)


def verified_figures(recordings: int = RECORDINGS) -> list[dict[str, Any]]:
    """Rows of figure, value, unit, bar, met, against, command. Takes half a minute."""
    counts: Counter[str] = Counter()
    bytes_n: Counter[str] = Counter()
    seconds: list[float] = []
    with temporary_server() as server:
        database = create_database(server, "evidence")
        migrate(database)
        with pool_of(database) as pool:
            rendered = [(piece.track.track_id, music.render(piece)) for piece in music.catalogue(recordings)]
            stock(pool, {track_id: at_8_khz(samples, _RATE_HZ) for track_id, samples in rendered})
            for codec in ("flac", "opus"):
                for number, (_, samples) in enumerate(rendered):
                    _hear(pool, f"{codec}-{number}", on_air(samples, number), Evidence(clip=True, clip_codec=codec))
            objects = waiting_objects(pool)
            for hit in hits(pool):
                codec = hit["stream"]["id"].partition("-")[0]
                began = time.thread_time()
                verdict = verdict_of(pool, hit["hit_id"], objects.get)
                seconds.append(time.thread_time() - began)
                counts["hits"] += 1
                counts["hold"] += verdict.holds
                counts[f"{codec} hits"] += 1
                for score in verdict.scores:
                    counts[f"{codec} {score.by}"] += score.nats >= (verdict.threshold_nats or 0.0)
                clip = hit["evidence"]["clip"]
                bytes_n[codec] += clip["bytes"]
                counts[f"{codec} clip seconds"] += round(clip["end_s"] - clip["begin_s"])
    return list(_rows(counts, bytes_n, sum(seconds) / max(1, len(seconds))))


def _rows(counts: Counter[str], bytes_n: Counter[str], verify_s: float) -> Iterator[dict[str, Any]]:
    n = counts["hits"]
    yield _row("hits whose evidence verifies again", 100 * counts["hold"] / max(1, n), "%", bar=100.0, met=operator.ge, against=f"n = {n} hits")
    for codec in ("flac", "opus"):
        of = counts[f"{codec} hits"]
        for by in ("clip", "peaks"):
            share = 100 * counts[f"{codec} {by}"] / max(1, of)
            yield _row(f"of them by the {by} alone, {codec}", share, "%", against=f"n = {of} hits")
        yield _row(f"a second of a clip, {codec}", bytes_n[codec] / max(1, counts[f"{codec} clip seconds"]) / 1_000, "kB", against=f"n = {of} clips")
    yield _row("verifying a hit", 1_000 * verify_s, "ms", against=f"processor time, n = {n} hits")


def on_air(samples: Float32, seed: int) -> Float32:
    """A stream that plays a recording four times, at 8 kHz, as a decoder gives it."""
    begin = round(_FROM_S * _RATE_HZ)
    part = samples[begin : begin + round(_LENGTH_S * _RATE_HZ)]
    quote = part[: round(_QUOTE_S * _RATE_HZ)]
    stranger = music.render(music.stranger(seed, like=music.catalogue(1)[0]))[: round(_SPEECH_S * _RATE_HZ)]
    spoken = [speech(_SPEECH_S, seed=10 * seed + n) for n in range(4)]
    programme = [spoken[0], part, stranger, sound.under_speech(part, 0, seed=seed), spoken[1], sound.faster(part, 3), spoken[2], quote, spoken[3]]
    coded = encode_samples(_int16(np.concatenate(programme)), rate_hz=_RATE_HZ, how=Encoding(codec="aac", kbps=64, channels_max=1))
    return np.concatenate([chunk.samples for chunk in read_samples(io.BytesIO(coded))])


def _int16(samples: Float32) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    return np.rint(np.clip(samples, -1, 1) * 32_767).astype(np.int16)


def _hear(pool: Pool, stream_id: str, heard: Float32, evidence: Evidence) -> None:
    Worker(pool, evidence, stream=Stream(stream_id=stream_id, source="hls")).hear(heard, 4 * RATE_HZ).end()


if __name__ == "__main__":
    figures = verified_figures(*map(int, sys.argv[1:2]))
    show("evidence", [{**figure, "figure": f"{figure['figure']} ({figure['against']})"} for figure in figures])
