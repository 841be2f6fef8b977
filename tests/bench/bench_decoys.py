"""What decoys say, and what they cost: streams heard backwards beside the same sound heard as it is.

    [REAL=1] PYTHONPATH=tests python -m bench decoys          prints the table, and writes build/bench/decoys.json

**Do they tell the truth?** Other music is heard against a catalogue that has none of it, as it is and backwards; as much should be
found. Generated music by default, whose pieces share keys, tempi, chords and drums, so that what they have in common is more
than chance; with REAL=1 the calibration's (`bench.calibration_sound`), which shares nothing.

**What do they cost?** The streams of `bench.cost_streams` go the way they go in a worker, fetching left out, and then
backwards. Both are CPU of this thread in one run; a worker spends `decoys.share` of the second beside the first.
"""

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from bench import calibration_sound as sound
from bench.asked import one_of
from bench.cost_streams import Programme, Sounds, sounds
from bench.rows import row
from earmark.audio.decode import StreamDecoder
from earmark.decoys import Beside, Block, by_chance
from earmark.fingerprint.mirror import mirrored
from earmark.fingerprint.window import Scratch, fingerprint
from earmark.hearing import Hearing, drive
from earmark.local import music
from earmark.matching.tail import TAIL_NATS
from earmark.model import FRAMES_PER_S, RATE_HZ, Answer, MatchParams, Peaks, Play, Question, Track
from earmark.settings import Decoys
from fakes import MemoryIndex
from hearing_sounds import at_8_khz

_row: Final = partial(row, command="make bench ARGS=decoys")
_PIECES: Final = 16
_PARAMS: Final = MatchParams()
_clock = time.thread_time


def figures() -> list[dict[str, Any]]:
    """Measures for a minute. Rows of figure, value, unit, bar, met, against, command."""
    if one_of("REAL", "0", ("0", "1")) == "1":
        return _real()
    return [*_truth(), *_cost(sounds())]


# ---------------------------------------------------------------------------------------------------- what they say


def _truth() -> list[dict[str, Any]]:
    index = _index(_fingerprinted(seed=1))
    others = [_block(peaks, seconds) for _, peaks, seconds in _fingerprinted(seed=7)]
    return _compared([(index, others)], f"{_PIECES} generated pieces against {_PIECES} others of their keys, tempi and drums")


def _real() -> list[dict[str, Any]]:
    """Each of the calibration's two packages against the other; what is not fingerprinted yet is, for ten minutes."""
    for recording in sound.recordings():
        sound.prepare(recording)
    heard = {package: [sound.heard(r) for r in sound.recordings() if r.package == package] for package in sound.packages()}
    one, other = heard
    index = {package: _index([(each.name, each.peaks, each.seconds) for each in some]) for package, some in heard.items()}
    blocks = {package: [_block(each.peaks, each.seconds) for each in some] for package, some in heard.items()}
    return _compared([(index[one], blocks[other]), (index[other], blocks[one])], "two packages of game music, each against the other, as it is")


def _compared(heard: Sequence[tuple[MemoryIndex, Sequence[Block]]], against: str) -> list[dict[str, Any]]:
    """What is found by chance, as it is and backwards."""
    hours = sum(block.seconds for _, blocks in heard for block in blocks) / 3_600
    backwards = [nats for index, blocks in heard for block in blocks for nats in _heard(block, index)]
    # Backwards twice is as it is.
    as_it_is = [nats for index, blocks in heard for block in blocks for nats in _heard(replace(block, peaks=mirrored(block.peaks, block.frames)), index)]
    found = []
    for least in (8.0, TAIL_NATS, 15.0):
        ours, true = (sum(nats > least for nats in some) for some in (backwards, as_it_is))
        found += [
            _row(f"by chance above {least:g} nats, as it is", true / hours, "1/h", against=f"{against}, {hours:.1f} h"),
            _row("  backwards over that", ours / true if true else None, "ratio", against=f"{ours} and {true} of them"),
        ]
    return found


def _index(recordings: Iterable[tuple[str, Peaks, float]]) -> MemoryIndex:
    index = MemoryIndex()
    for name, peaks, seconds in recordings:
        index.add(Track(track_id=name, duration_s=seconds), peaks)
    return index


def _block(peaks: Peaks, seconds: float) -> Block:
    return Block(begin_s=0.0, frames=int(seconds * FRAMES_PER_S), peaks=peaks)


def _fingerprinted(*, seed: int) -> list[tuple[str, Peaks, float]]:
    scratch, made = Scratch(), []
    for piece in music.catalogue(_PIECES, seed=seed):
        samples = at_8_khz(music.render(piece), music.RATE_HZ)
        made.append((piece.track.track_id, fingerprint(samples, scratch=scratch), len(samples) / RATE_HZ))
    return made


def _heard(block: Block, index: MemoryIndex) -> list[float]:
    return drive(by_chance(block, params=_PARAMS, size=index.size()), _Answering(index))


# ---------------------------------------------------------------------------------------------------- what they cost


def _cost(heard: Sounds) -> list[dict[str, Any]]:
    share = Decoys().share
    stream_s = decoy_s = stream_cpu = decoy_cpu = 0.0
    differ = 0
    for programme in heard.streams:
        blocks: list[Block] = []
        with_decoys, took = _listen(programme, heard.index, blocks)
        without, took_without = _listen(programme, heard.index, None)
        differ += with_decoys != without
        stream_cpu, stream_s = stream_cpu + min(took, took_without), stream_s + programme.seconds
        for block in blocks:
            decoy_cpu += _backwards(block, heard.index)
            decoy_s += block.seconds
    each = decoy_cpu / decoy_s / (stream_cpu / stream_s)
    against = f"{heard.source}, {stream_s / 60:.0f} min of streams, {decoy_s / 60:.0f} min backwards, one run; the catalogue's own answers left out"
    return [
        _row("a second backwards over a second of a stream", each, "ratio", against=against),
        _row(f"a worker with decoys.share = {share:g} over one without", 1 + share * each, "ratio", bar=1.03, against=against),
        _row("streams whose plays are others with decoys", differ, "", bar=0, against=f"of {len(heard.streams)}, all of them chosen"),
    ]


class _Answering:
    """A catalogue that clocks itself."""

    def __init__(self, index: MemoryIndex) -> None:
        self._index = index
        self.took_s = 0.0

    def __call__(self, question: Question) -> Answer:
        begin = _clock()
        self._index.asked.clear()
        answer = self._index.answer(question)
        self.took_s += _clock() - begin
        return answer


def _listen(programme: Programme, index: MemoryIndex, blocks: list[Block] | None) -> tuple[list[Play], float]:
    """The whole path of a stream, segments to plays, its blocks handed on or not: the plays, and CPU seconds."""
    chosen = [] if blocks is None else blocks
    beside = Beside(chosen=lambda _: blocks is not None, offer=chosen.append, keep=None, plays=())
    hearing = Hearing(params=_PARAMS, size=index.size(), stream_id="stream", source="file", keep=beside.run, told=beside.told)
    decoder, answer, plays = StreamDecoder(segment_s_max=60), _Answering(index), []
    begin = _clock()
    for segment in programme.segments:
        for chunk in decoder.push(segment):
            plays += drive(hearing.push(chunk), answer)
    for chunk in decoder.flush():
        plays += drive(hearing.push(chunk), answer)
    plays += drive(hearing.flush(), answer)
    return plays, _clock() - begin - answer.took_s


def _backwards(block: Block, index: MemoryIndex) -> float:
    """CPU seconds."""
    begin, answer = _clock(), _Answering(index)
    drive(by_chance(block, params=_PARAMS, size=index.size()), answer)
    return _clock() - begin - answer.took_s


if __name__ == "__main__":
    sys.exit("make bench ARGS=decoys")
