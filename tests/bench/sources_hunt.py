"""What it costs to keep what was heard, and to find a recording in it that was added later.

    ONLY=hunt make bench-sources

Sound: the hearing bench's under $EARBENCH_HOME if it is there, else generated (`bench.cost_streams`). The thousand
stream-hours that are searched lie in a PostgreSQL of this run's own: talk, and streams with other music, again and again,
and among them streams in which the recording is played. CPU is that of this process and of the server's process that
answers it, by /proc; milliseconds belong to the machine and the hour.
"""

import operator
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import SecretStr

from bench.cost_streams import _coded as coded
from bench.cost_streams import sounds
from bench.rows import row
from earmark.audio.decode import StreamDecoder
from earmark.fingerprint.kept import BLOCK_FRAMES, Block, Keeper, compress, pack, unpack
from earmark.fingerprint.sketch import sketch
from earmark.fingerprint.window import Scratch, Window, fingerprint
from earmark.hearing import Hearing, drive
from earmark.hits import kept
from earmark.hunting import Hunt, Played
from earmark.local import music, sound
from earmark.local.database import create_database, temporary_server
from earmark.local.hunt import _plays
from earmark.local.speech import speech
from earmark.matching.verification import Constellation
from earmark.model import FRAMES_PER_S, RATE_HZ, AudioChunk, Float32, MatchParams, Peaks, Reference, Track
from earmark.postgres import Pool, limit, migrate, open_pool, statement, transaction
from earmark.settings import Database, Settings
from fakes import MemoryIndex
from hearing_sounds import at_8_khz, faster

COMMAND: Final = "ONLY=hunt make bench-sources"
_row: Final = partial(row, command=COMMAND)
_SCRATCH: Final = Scratch()
_HOURS: Final = 1_000
_PLANTED: Final = 10
#: What a second of a stream comes in.
_SEGMENT: Final = 2 * RATE_HZ
_EXCERPTS, _EXCERPT_S, _AROUND_S = 8, 30.0, 8.0
_TALK_S: Final = BLOCK_FRAMES / FRAMES_PER_S


def rows() -> list[dict[str, Any]]:
    """Measures for some minutes."""
    return [*_bytes(), *_keeping(), *_recall(), *_searching()]


@cache
def _talk() -> Float32:
    return at_8_khz(speech(_TALK_S, seed=5), music.RATE_HZ)


@cache
def _streams() -> list[Float32]:
    """The development streams, or a generated one, as they are decoded."""
    heard = []
    for programme in sounds().streams:
        decoder = StreamDecoder(segment_s_max=60)
        chunks = [chunk.samples for segment in programme.segments for chunk in decoder.push(segment)]
        heard.append(np.concatenate([*chunks, *(chunk.samples for chunk in decoder.flush())]))
    return heard


def _even(peaks: Peaks, track: Track) -> Reference:
    even = Peaks(eighth_frames=peaks.eighth_frames, eighth_hz=peaks.eighth_hz, hashed=peaks.hashed, salience=np.zeros(len(peaks), np.float32))
    return Reference(track_no=1, track_id=track.track_id, duration_s=track.duration_s, peaks=even)


def _blocks(samples: Float32) -> list[Block]:
    keeper = Keeper()
    front = keeper.run(0.0, Window(_SCRATCH))
    for begin in range(0, len(samples), _SEGMENT):
        front.push(samples[begin : begin + _SEGMENT])
    front.flush()
    keeper.groups(1e9)
    return keeper.complete()


# ---------------------------------------------------------------------------------------------------- keeping


def _bytes() -> list[dict[str, Any]]:
    """As PostgreSQL stores them, indexes and TOAST included."""
    kinds = {
        "music": [
            Block(begin_s=n * 300.0, frames=BLOCK_FRAMES, packed=pack(r.peaks.between(0, BLOCK_FRAMES)))
            for n, r in enumerate(_salient())
            if r.duration_s > _TALK_S
        ][:12],
        "talk": _blocks(_talk()),
        "streams, music and talk": [block for samples in _streams() for block in _blocks(samples)],
    }
    made = []
    with temporary_server() as server:
        for kind, blocks in kinds.items():
            dsn = create_database(server, f"bytes_{len(made)}")
            migrate(dsn)
            with open_pool(Database(dsn=SecretStr(dsn))) as pool:
                # Many, so that what a table takes when it is empty does not count.
                _store(pool, blocks, copies=max(1, 200 // max(1, len(blocks))), streams=1)
                with statement(pool) as connection:
                    ((size, seconds),) = connection.execute(
                        "select pg_total_relation_size('kept_block'), (select sum(frames) from kept_block) / 31.25"
                    ).fetchall()
            megabytes = float(size) / float(seconds) * 3_600 / 1e6
            made.append(_row(f"kept of a stream-hour: {kind}", megabytes, "MB", bar=1.5, against="the table kept_block, its indexes and TOAST", digits=2))
    return made


def _salient() -> list[Reference]:
    """Of the catalogue, with their salience."""
    return [Reference(track_no=1, track_id=r.track.track_id, duration_s=r.track.duration_s, peaks=r.peaks) for r in sounds().index._recordings.values()]


def _keeping() -> list[dict[str, Any]]:
    """A session's additional work for a second of stream, without its database."""
    samples = _streams()[0]
    seconds = len(samples) / RATE_HZ
    plain, keeping, sealing = float("inf"), float("inf"), float("inf")
    for _ in range(5):
        ready, window = _Ready(), Window(_SCRATCH)
        plain = min(plain, _clocked(lambda window=window, ready=ready: ready.note(window, samples)))  # type: ignore[misc]
        keeper = Keeper()
        keeping = min(keeping, _clocked(lambda keeper=keeper, ready=ready: _kept(keeper, ready, samples)))  # type: ignore[misc]
        blocks = keeper.complete()
        sealing = min(sealing, _clocked(lambda blocks=blocks: [(sketch(unpack(b.packed), b.frames), compress(b.packed)) for b in blocks]))  # type: ignore[misc]
    ms = 1e3 / seconds
    against = f"{seconds:.0f} s of a stream in pieces of 2 s, least of 5 rounds, CPU of the thread"
    return [
        _row("keeping what was heard, CPU added", (keeping + sealing) * ms, "ms/s", bar=0.05, against=against, digits=4),
        _row("  groups with each position", keeping * ms, "ms/s", against=against, digits=4),
        _row("  a block: its sketch, and its peaks deflated", sealing * ms, "ms/s", against=against, digits=4),
        _row("  beside it: peaks of the same", plain * ms, "ms/s", against=against, digits=4),
    ]


class _Ready:
    """A front end that has heard it all before: what it takes is nothing."""

    def __init__(self) -> None:
        self._found: list[tuple[Peaks, float]] = []
        self.final_frame = 0.0

    def note(self, window: Window, samples: Float32) -> None:
        for begin in range(0, len(samples), _SEGMENT):
            self._found.append((window.push(samples[begin : begin + _SEGMENT]), window.final_frame))

    def push(self, _samples: Float32) -> Peaks:
        peaks, self.final_frame = self._found.pop(0)
        return peaks

    def flush(self) -> Peaks:
        return Peaks.none()


def _kept(keeper: Keeper, ready: _Ready, samples: Float32) -> None:
    front = keeper.run(0.0, ready)
    for begin in range(0, len(samples), _SEGMENT):
        front.push(samples[begin : begin + _SEGMENT])
        position_s = (begin + _SEGMENT) / RATE_HZ
        kept.columns({"stream": keeper.groups(position_s)})
        keeper.recorded(position_s)
    front.flush()
    keeper.groups(1e9)


def _clocked(call: Callable[[], object]) -> float:
    began = time.thread_time()
    call()
    return time.thread_time() - began


# ---------------------------------------------------------------------------------------------------- finding


def _recall() -> list[dict[str, Any]]:
    """Plays of half a minute, by what was done to them: found by hunts, told by a session that knew the recording; and what is not there."""
    pieces = music.catalogue(_EXCERPTS)
    rendered = [music.render(piece) for piece in pieces]
    index, hunts = MemoryIndex(), []
    for piece, samples in zip(pieces, rendered, strict=True):
        heard = at_8_khz(samples, music.RATE_HZ)
        track = Track(track_id=piece.track.track_id, duration_s=len(heard) / RATE_HZ)
        index.add(track, fingerprint(heard, scratch=_SCRATCH))
        hunts.append(Hunt(_even(fingerprint(heard, scratch=_SCRATCH), track), params=MatchParams()))
    made, false, searched_s = [], 0, 0.0
    for name, spoil in _SPOILT.items():
        found, told = 0, 0
        for n, samples in enumerate(rendered):
            excerpt = samples[int(20 * music.RATE_HZ) : int((20 + _EXCERPT_S) * music.RATE_HZ)]
            before, after = (speech(_AROUND_S, seed=90 + 2 * n + k) for k in range(2))
            heard = at_8_khz(np.concatenate([before, spoil(excerpt, n), after]).astype(np.float32), music.RATE_HZ)
            blocks = _blocks(heard)
            matches = [_hunted(hunt, blocks) for hunt in hunts]
            found += any(abs(played.match.reference_begin_s - 20) < 8 for played in matches[n])
            false += sum(len(some) for k, some in enumerate(matches) if k != n)
            searched_s += (len(hunts) - 1) * len(heard) / RATE_HZ
            told += _told(heard, index, pieces[n].track.track_id)
        against = f"{_EXCERPTS} excerpts of {_EXCERPT_S:.0f} s; a session that knew the recording told {told / _EXCERPTS:.2f}"
        made.append(_row(f"plays found: {name}", found / _EXCERPTS, "share", bar=told / _EXCERPTS - 0.1, met=operator.ge, against=against, digits=2))
    made.append(_row("plays found that were none", false, "plays", bar=0, against=f"{searched_s / 3_600:.1f} h, each for one recording that is not in it"))
    return made


def _coded(samples: Float32, _n: int) -> Float32:
    decoder = StreamDecoder(segment_s_max=60)
    chunks = [chunk.samples for segment in coded(samples, music.RATE_HZ) for chunk in decoder.push(segment)]
    heard = np.concatenate([*chunks, *(chunk.samples for chunk in decoder.flush())])
    return np.interp(np.arange(int(len(heard) * music.RATE_HZ / RATE_HZ)) * RATE_HZ / music.RATE_HZ, np.arange(len(heard)), heard).astype(np.float32)


_SPOILT: Final[dict[str, Callable[[Float32, int], Float32]]] = {
    "clean": lambda samples, _n: samples,
    "6 dB under a talker": lambda samples, n: sound.under_speech(samples, -6, seed=n),
    "AAC 64k": _coded,
    "2 % fast": lambda samples, _n: faster(samples, 1.02),
}


def _hunted(hunt: Hunt, blocks: Sequence[Block]) -> list[Played]:
    proposals = [p for b in blocks for p in hunt.search(sketch(unpack(b.packed), b.frames), b.frames, b.begin_s)]
    parts = [Constellation.of(unpack(b.packed), b.begin_s * FRAMES_PER_S) for b in blocks]
    return hunt.follow(proposals, Constellation.join(Constellation.none(), *parts))


def _told(heard: Float32, index: MemoryIndex, track_id: str) -> bool:
    hearing = Hearing(params=MatchParams(), size=index.size(), stream_id="s", source="file", scratch=_SCRATCH)
    plays = [
        play
        for begin in range(0, len(heard), _SEGMENT)
        for play in drive(hearing.push(AudioChunk(samples=heard[begin : begin + _SEGMENT], start_s=begin / RATE_HZ)), index.answer)
    ]
    plays += drive(hearing.flush(), index.answer)
    return any(play.track_id == track_id and play.state != "provisional" and not play.quotation for play in plays)


# ---------------------------------------------------------------------------------------------------- a thousand hours


def _searching() -> list[dict[str, Any]]:
    """One recording in all that is kept, as the command does it."""
    piece = music.catalogue(1)[0]
    samples = at_8_khz(music.render(piece), music.RATE_HZ)
    reference = _even(fingerprint(samples, scratch=_SCRATCH), Track(track_id="sought", duration_s=len(samples) / RATE_HZ))
    others = [*_blocks(_talk()), *(block for stream in _streams() for block in _blocks(stream))]
    planted = _blocks(np.concatenate([_talk()[: 60 * RATE_HZ], samples[10 * RATE_HZ : 70 * RATE_HZ], _talk()[: 60 * RATE_HZ]]))
    block_s = sum(block.frames for block in others) / FRAMES_PER_S
    copies = round(_HOURS * 3_600 / block_s)
    with temporary_server() as server:
        dsn = create_database(server, "hunted")
        migrate(dsn)
        with open_pool(Database(dsn=SecretStr(dsn), pool_max=2)) as pool:
            _store(pool, others, copies=copies, streams=50)
            _store(pool, planted, copies=_PLANTED, streams=_PLANTED, name="planted")
            period = kept.Period(since=_EPOCH, until=_LATER)
            with statement(pool) as connection:
                holdings = kept.held(connection, period)
            track = Track(track_id="sought", duration_s=reference.duration_s)
            began, server_began = time.process_time(), _server_s(pool)
            found = list(_plays(pool, track, reference, holdings, period, Settings()))
            took_s, server_s = time.process_time() - began, _server_s(pool) - server_began
    hours = sum(held.kept_s for held in holdings) / 3_600
    right = [one for one in found if one.stream.stream_id.startswith("planted")]
    against = f"{hours:,.0f} stream-hours, {copies} copies of {block_s / 60:.0f} min, and {_PLANTED} streams with a minute of it; {sounds().source}"
    scale = _HOURS / hours
    return [
        _row("searching 1,000 stream-hours for one recording, CPU", (took_s + server_s) * scale, "s", bar=10, against=against, digits=2),
        _row("  of that, the database's", server_s * scale, "s", against=against, digits=2),
        _row("  plays found of those in it", len(right) / _PLANTED, "share", bar=1, met=operator.ge, against=against),
        _row("  plays found that were none", len(found) - len(right), "plays", bar=0, against=against),
    ]


_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATER: Final = _EPOCH.replace(year=2100)


def _store(pool: Pool, blocks: Sequence[Block], *, copies: int, streams: int, name: str = "other") -> None:
    """So many copies of some blocks, spread over streams that are over."""
    length_s = sum(block.frames for block in blocks) / FRAMES_PER_S + len(blocks)
    with transaction(pool) as connection:
        limit(connection, 0)
        connection.execute("create temp table base (n int, begin_s float8, frames int, sketch bytea, peaks bytea) on commit drop")
        at_s = 0.0
        for n, block in enumerate(blocks):
            drawn, peaks = sketch(unpack(block.packed), block.frames), compress(block.packed)
            connection.execute("insert into base values (%s, %s, %s, %b, %b)", [n, at_s, block.frames, drawn, peaks])
            at_s += block.frames / FRAMES_PER_S + 1
        connection.execute(
            "insert into stream (stream_id, source, wanted_at, state, ended_at, checkpoint) "
            "select %s || n, 'hls', now(), 'ended', now(), '{}' from generate_series(0, %s) n",
            [name, streams - 1],
        )
        connection.execute(
            "insert into kept_block (stream_id, begin_s, frames, fingerprint_version, sketch, peaks) "
            "select %s || c %% %s, begin_s + c * %s, frames, 2, sketch, peaks from generate_series(0, %s) c, base order by 1, 2",
            [name, streams, length_s, copies - 1],
        )


def _server_s(pool: Pool) -> float:
    """CPU of the server's processes that serve this pool."""
    with statement(pool) as connection:
        pids = connection.execute("select pid from pg_stat_activity where datname = current_database()").fetchall()
    ticks = 0
    for (pid,) in pids:
        fields = Path("/proc", str(pid), "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
