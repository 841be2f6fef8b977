"""A recording is muted by its cut list, by FFmpeg, and what can still be heard of the catalogue is measured.

A programme is generated of catalogued pieces (most of them to go, one that may stay), music that nobody knows, speech and
silence. Encoded as AAC it is heard and put on record as a stream's session is; then it is muted by the filter that
`earmark report --format ffmpeg --offset` prints, in the FFmpeg that PyAV is made of: as of a recording that begins before the
stream was listened to. What is where, only the programme knows.
"""

import re
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.filter import Graph

from control_rows import pool_of, run
from earmark.audio.file import read_samples
from earmark.coverage import Coverage
from earmark.hearing import Hearing, drive
from earmark.hits.ledger import Ledger
from earmark.hits.reports import cut_forms, cuts, report
from earmark.hits.reports.cuts import CutList
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.ingest import ingest
from earmark.library import Catalogue
from earmark.local import music, sound
from earmark.local.database import create_database, drop_database, temporary_server
from earmark.local.music import RATE_HZ
from earmark.local.programme import Programme, Recording, _Desk
from earmark.local.speech import speech
from earmark.model import RATE_HZ as HEARD_HZ
from earmark.model import AudioChunk, Checkpoint, Float32, MatchParams, Play, Stream
from earmark.postgres import Pool, migrate, transaction
from earmark.reference import Source
from earmark.settings import Alerts, Cuts, Results
from hits_samples import insert_stream
from stored_objects import written

STREAM: Final = Stream(stream_id="st-muted", source="file", channel_name="late-night")
#: Softer than this is silence: a thousandth of the loudest.
_SILENT: Final = 1e-3
#: In so long pieces it is decided whether something is to be heard.
_BLOCK_S: Final = 0.01
#: What is muted nearer to a cut's cause is its edge.
EDGE_S: Final = 1.0
_ALLOWED: Final = 2
#: The recording begins so much earlier than the stream was listened to.
_EARLIER_S: Final = 1.5
#: When its first second was.
_RECORDED_FROM: Final = datetime(2026, 11, 21, 20, tzinfo=UTC)
#: One of a chain: apart by commas that are in no quotes.
_FILTER: Final = re.compile(r"(?:[^,']|'[^']*')+")


@dataclass(frozen=True, kw_only=True)
class Muted:
    """One programme, and what became of it."""

    #: Seconds of pieces that are to go in which something is to be heard; and how many such seconds there were.
    audible_s: float
    unwanted_s: float
    #: Seconds of all else, farther than a second from those, that were to be heard and are not; and how many there were.
    lost_s: float
    others_s: float
    #: Pieces that are to go and are recognised in what is left; and whether the piece that may stay is.
    recognised: tuple[str, ...]
    allowed_stays: bool
    #: By how much plays began and ended later than their pieces.
    begins_s: tuple[float, ...]
    ends_s: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class MutedFigures:
    """Of several programmes together."""

    audible_s: float
    lost_share: float
    recognised: int
    programmes: tuple[Muted, ...] = field(repr=False)


def muted_figures(*, programmes: int = 6, edge_s: float | None = None) -> MutedFigures:
    """Generates, hears and mutes so many programmes of three and a half minutes, on a database of its own: 9 s of a core each."""
    with temporary_server() as server, tempfile.TemporaryDirectory(prefix="earmark-muting-") as folder:
        each = []
        for seed in range(1, programmes + 1):
            dsn = create_database(server, f"muting_{seed}")
            migrate(dsn)
            place = Path(folder) / str(seed)
            place.mkdir()
            with pool_of(dsn) as pool:
                each.append(muted(pool, dsn, place, seed=seed, edge_s=edge_s))
            drop_database(server, f"muting_{seed}")
    lost_s, others_s = sum(one.lost_s for one in each), sum(one.others_s for one in each)
    return MutedFigures(
        audible_s=sum(one.audible_s for one in each),
        lost_share=lost_s / others_s,
        recognised=sum(len(one.recognised) for one in each),
        programmes=tuple(each),
    )


def muted(pool: Pool, dsn: str, folder: Path, *, seed: int = 1, edge_s: float | None = None) -> Muted:
    """One programme: into an empty catalogue, heard, muted, measured."""
    programme = broadcast(folder, seed)
    allowed = programme.recordings[_ALLOWED].track.track_id
    for recording in programme.recordings:
        policy = "allow" if recording.track.track_id == allowed else "block"
        source = Source(path=recording.file, track_id=recording.track.track_id, metadata={"policy": policy})
        assert [result.outcome for result in ingest([source], pool=pool, jobs=1)] == ["added"]
    file = written(folder / "programme.m4a", programme.samples, rate_hz=RATE_HZ, container="mp4", codec="aac")
    plays = [replace(play, begin_s=play.begin_s + _EARLIER_S, end_s=play.end_s + _EARLIER_S) for play in heard(pool, file)]
    made = on_record(pool, edge_s=Cuts().edge_s if edge_s is None else edge_s)
    before, after = samples_of(file), filtered(file, cut_forms.ffmpeg(made))
    with closing(Catalogue.open(dsn)) as catalogue:
        left = {match.track_id for match in catalogue.identify(after, rate_hz=RATE_HZ)}
    return _measured(programme, before, after, plays, left, allowed)


# ------------------------------------------------------------------------------------------------ what is on air


def broadcast(folder: Path, seed: int) -> Programme:
    """Pieces from their begin, to their end, from their midst; one after the other without a pause; under speech, and 3 % fast."""
    random = np.random.default_rng(seed)
    pieces = music.catalogue(6, seed=seed)
    rendered = [_trimmed(music.render(piece)) for piece in pieces]
    recordings = []
    for number, (piece, samples) in enumerate(zip(pieces, rendered, strict=True)):
        sound.write_flac(folder / f"{number}.flac", samples, piece.track)
        recordings.append(Recording(track=piece.track, file=folder / f"{number}.flac"))

    def cut(number: int, seconds: float, *, begin_s: float | None = None) -> Float32:
        at_s = float(random.uniform(12, 40)) if begin_s is None else begin_s
        return rendered[number][round(at_s * RATE_HZ) : round((at_s + seconds) * RATE_HZ)]

    length_s = len(rendered[0]) / RATE_HZ
    unknown = music.render(music.catalogue(8, seed=1_000 + seed)[7])
    desk = _Desk()
    desk.play("silence", sound.silence(2))
    desk.play("from its begin", cut(0, 24, begin_s=0), track=pieces[0].track)
    desk.play("speech", speech(14, seed=seed))
    desk.play("from its midst", cut(1, 17), track=pieces[1].track)
    desk.play("nobody's", unknown[20 * RATE_HZ : 40 * RATE_HZ])
    desk.play("from its midst", cut(3, 19), track=pieces[3].track)
    desk.play("may stay, right behind it", cut(_ALLOWED, 18), track=pieces[_ALLOWED].track)
    desk.play("under speech, right behind that", sound.under_speech(cut(4, 22), 0, seed=seed + 100), track=pieces[4].track)
    desk.play("speech", speech(14, seed=seed + 200))
    desk.play("3 % fast", sound.faster(cut(5, 18), 3), track=pieces[5].track)
    desk.play("speech", speech(12, seed=seed + 300))
    desk.play("to its end", cut(0, 20, begin_s=length_s - 20), track=pieces[0].track)
    desk.play("nobody's", unknown[45 * RATE_HZ : 63 * RATE_HZ])
    return desk.programme(recordings)


def _trimmed(samples: Float32) -> Float32:
    """Without the silence behind it."""
    loud = np.flatnonzero(np.abs(samples) > _SILENT)
    return samples[: int(loud[-1]) + 1]


# ------------------------------------------------------------------------------------------------ what is done with it


def heard(pool: Pool, file: Path) -> list[Play]:
    """The file, but for its first moments, as a stream's session that has ended, on record; its plays."""
    with transaction(pool) as connection:
        lease = insert_stream(connection, stream=STREAM)
    index = Index(pool=pool).open()
    hearing = Hearing(params=MatchParams(), size=index.size(), stream_id=STREAM.stream_id, source=STREAM.source)
    coverage, plays = Coverage(Checkpoint()), dict[str, Play]()
    for whole in read_samples(file):
        chunk = _later(whole)
        coverage.add(chunk)
        plays |= {play.hit_id: play for play in drive(hearing.push(chunk), index.answer)}
    plays |= {play.hit_id: play for play in drive(hearing.flush(), index.answer)}
    ledger = Ledger(
        pool=pool,
        lease=lease,
        tracks=Tracks(pool=pool),
        results=Results(bucket="results"),
        alerts=Alerts(),
        nudge=lambda: None,
        now=lambda: datetime.now(UTC),
    )
    ended_at = _RECORDED_FROM + timedelta(seconds=_EARLIER_S + coverage.position_s)
    checkpoint = Checkpoint(state="ended", end_reason="endlist", position_s=coverage.position_s, heard_s=coverage.heard_s, clock=ended_at)
    ledger.commit(checkpoint, list(plays.values()))
    run(pool, "update stream set state = 'ended', owner = null, lease_until = null, ended_at = now() where stream_id = %s", STREAM.stream_id)
    return list(plays.values())


def _later(chunk: AudioChunk) -> AudioChunk:
    begin = max(0, round((_EARLIER_S - chunk.start_s) * HEARD_HZ))
    return replace(chunk, samples=chunk.samples[begin:], start_s=max(0.0, chunk.start_s - _EARLIER_S))


def on_record(pool: Pool, *, edge_s: float) -> CutList:
    """In seconds of the recording, as `--offset MOMENT` has it."""
    with transaction(pool) as connection:
        whole, unwanted = report.load(connection, STREAM.stream_id), cuts.load(connection, STREAM.stream_id, Cuts().actions)
    offset_s = cuts.offset_of(_RECORDED_FROM, whole.timebase)
    assert offset_s == -_EARLIER_S
    return cuts.listed(whole, unwanted, actions=Cuts().actions, edge_s=edge_s, offset_s=offset_s)


def samples_of(file: Path) -> Float32:
    """float32 mono [n], at the file's own rate."""
    return filtered(file, "anull")


def filtered(file: Path, filtergraph: str) -> Float32:
    """The file's sound through a chain of filters, as `ffmpeg -i FILE -af CHAIN` has it: float32 mono [n] at the file's own rate."""
    graph, parts = Graph(), list[Float32]()
    with av.open(str(file)) as container:
        nodes = [graph.add_abuffer(template=container.streams.audio[0])]
        for one in _FILTER.findall(filtergraph.strip()):
            name, _, options = one.partition("=")
            nodes.append(graph.add(name, options))
        nodes += [graph.add("aformat", "sample_fmts=flt:channel_layouts=mono"), graph.add("abuffersink")]
        graph.link_nodes(*nodes).configure()
        for frame in (*container.decode(audio=0), None):
            graph.push(frame)
            with suppress(av.error.BlockingIOError, av.error.EOFError):
                while True:
                    parts.append(graph.pull().to_ndarray()[0])
    return np.concatenate(parts).astype(np.float32)


# ------------------------------------------------------------------------------------------------ what came of it


def _measured(programme: Programme, before: Float32, after: Float32, plays: list[Play], left: set[str], allowed: str) -> Muted:
    parts = [part for part in programme.plays if part.track and part.track.track_id != allowed]
    was, still = _sounding(before), _sounding(after)
    at_s = (np.arange(len(was)) + 0.5) * _BLOCK_S
    here, near = (np.zeros(len(was), np.bool_) for _ in range(2))
    for part in parts:
        here |= (at_s >= part.begin_s) & (at_s < part.end_s)
        near |= (at_s >= part.begin_s - EDGE_S) & (at_s < part.end_s + EDGE_S)
    told = [(part, play) for part in parts for play in plays if part.track and _is_of(play, part.track.track_id, part.begin_s, part.end_s)]
    return Muted(
        audible_s=float(np.sum(still & here)) * _BLOCK_S,
        unwanted_s=float(np.sum(was & here)) * _BLOCK_S,
        lost_s=float(np.sum(was & ~still & ~near)) * _BLOCK_S,
        others_s=float(np.sum(was & ~near)) * _BLOCK_S,
        recognised=tuple(sorted(left - {allowed})),
        allowed_stays=allowed in left,
        begins_s=tuple(round(play.begin_s - part.begin_s, 3) for part, play in told),
        ends_s=tuple(round(play.end_s - part.end_s, 3) for part, play in told),
    )


def _is_of(play: Play, track_id: str, begin_s: float, end_s: float) -> bool:
    return play.track_id == track_id and play.begin_s < end_s and play.end_s > begin_s


def _sounding(samples: Float32) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Of each block, whether something is to be heard in it."""
    block = round(_BLOCK_S * RATE_HZ)
    whole = np.abs(samples[: len(samples) // block * block]).reshape(-1, block).max(axis=1)
    return np.asarray(whole > _SILENT, np.bool_)
