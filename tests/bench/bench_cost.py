"""What hearing costs: processor time per second of audio by stage, and what is asked of the catalogue meanwhile.

    PYTHONPATH=tests python -m bench cost          prints the table, and writes build/bench/cost.json

The first ten minutes of each of the development streams (see `bench.cost_streams`), as segments of AAC, go the way they go in
a worker, fetching left out: decoded, resampled, fingerprinted, asked about, matched. Figures of streams are their median.
The catalogue is 42 tracks in memory, and what it takes to answer is kept apart: `bench_index` measures the real one.

CPU of the thread, not wall time; the least of a few rounds, because a shared machine only ever adds. Milliseconds belong to
the machine and the hour; the ratio to a plain NumPy spectrogram, whose rounds alternate with the front end's, travels.
"""

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np

from bench.cost_streams import Programme, Sounds, Spans, sounds
from bench.rows import row
from earmark.audio.decode import StreamDecoder
from earmark.fingerprint.landmarks import landmarks
from earmark.fingerprint.spectrogram import BINS, FRAME_SAMPLES
from earmark.fingerprint.targets import LOOKAHEAD_FRAMES
from earmark.fingerprint.window import Scratch, Window, fingerprint
from earmark.hearing import Hearing, drive
from earmark.model import FRAMES_PER_S, HOP_SAMPLES, RATE_HZ, Answer, AudioChunk, Float32, MatchParams, Peaks, Question
from fakes import MemoryIndex
from fingerprint_audio import music

T = TypeVar("T")
COMMAND: Final = "make bench ARGS=cost"
_row: Final = partial(row, command=COMMAND)
_ROUNDS: Final = 3
_TUNE_S: Final = 60
_PLAIN: Final = "a plain NumPy spectrogram: rfft of the same frames, log power, 1 s at a time, same run"
_clock = time.thread_time


def figures() -> list[dict[str, Any]]:
    """Measures for a minute or two. Rows of figure, value, unit, bar, met, against, command."""
    heard = sounds()
    return [*_front_end(), *_streams(heard), *_references(heard.index)]


# ---------------------------------------------------------------------------------------------------- streams


class _Clocked(Hearing):
    """A hearing that notes what its stages take, and how many hashes it asks for in which state.

    Nested stages are clocked with what is around them and taken off by `_by_stage`.
    """

    def __init__(self, programme: Programme, index: MemoryIndex, scratch: Scratch) -> None:
        self.took: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self._programme = programme
        super().__init__(params=MatchParams(), size=index.size(), stream_id="stream", source="file", window=lambda: _ClockedWindow(self.took, scratch))

    def _hear(self, *arguments: Any) -> None:
        _clocked(self.took, "hear", super()._hear, *arguments)

    def _questions(self, run: Any, step: Any, anchors_end: float) -> Any:
        asked = _clocked(self.took, "questions", super()._questions, run, step, anchors_end)
        state = self._state(step.end_frame - LOOKAHEAD_FRAMES)
        self.seconds[state] += step.new_frames / FRAMES_PER_S
        for votes, questions in asked:
            scheduled = votes not in (self._triples, self._pairs, self._shifted)
            self.asked[f"{state}, another speed" if scheduled else state] += len(questions)
        return asked

    def _state(self, frame: float) -> str:
        second = frame / FRAMES_PER_S
        if not self.plays:
            return "nothing open"
        if not _in(second, self._programme.music):
            return "open, and over"  # a play is closed some seconds after its music ended
        return "open, talked over" if _in(second, self._programme.talk) else "open, clean"

    def _follow(self, *arguments: Any, **named: Any) -> Any:
        return (yield from _clocked_steps(self.took, "follow", super()._follow(*arguments, **named)))

    def _propose(self, *arguments: Any) -> Any:
        return (yield from _clocked_steps(self.took, "propose", super()._propose(*arguments)))

    def _look(self, *arguments: Any) -> Any:
        return (yield from _clocked_steps(self.took, "look", super()._look(*arguments)))


def _in(second: float, spans: Spans) -> bool:
    return any(begin <= second < end for begin, end in spans)


class _ClockedWindow(Window):
    def __init__(self, took: Counter[str], scratch: Scratch) -> None:
        super().__init__(scratch)
        self._took = took

    def push(self, samples: Float32) -> Peaks:
        return _clocked(self._took, "front end", super().push, samples)


def _clocked(took: Counter[str], stage: str, call: Callable[..., T], *arguments: Any) -> T:
    begin = _clock()
    result = call(*arguments)
    took[stage] += _clock() - begin
    return result


def _clocked_steps(took: Counter[str], stage: str, steps: Generator[Question, Answer, T]) -> Generator[Question, Answer, T]:
    """What a generator takes, and not what whoever answers it takes."""
    reply: Any = None
    while True:
        begin = _clock()
        try:
            question = steps.send(reply)
        except StopIteration as end:
            return end.value
        finally:
            took[stage] += _clock() - begin
        reply = yield question


def _listen(programme: Programme, index: MemoryIndex, scratch: Scratch) -> _Clocked:
    """The whole path of a stream, segments to plays."""
    hearing, decoder = _Clocked(programme, index, scratch), StreamDecoder(segment_s_max=60)

    def answer(question: Question) -> Answer:
        index.asked.clear()
        return _clocked(hearing.took, "index", index.answer, question)

    def hear(chunks: list[AudioChunk]) -> None:
        for chunk in chunks:
            drive(hearing.push(chunk), answer)

    begin = _clock()
    for segment in programme.segments:
        hear(_clocked(hearing.took, "decode", decoder.push, segment))
    hear(decoder.flush())
    drive(hearing.flush(), answer)
    hearing.took["all"] = _clock() - begin
    return hearing


def _by_stage(took: Counter[str], seconds: float) -> dict[str, float]:
    """Milliseconds per second of audio."""
    ms = {
        "decoding and resampling": took["decode"],
        "peaks": took["front end"],
        "landmarks to ask about": took["questions"],
        "music or not": took["hear"],
        "voting": took["propose"] - took["questions"],
        "verification": took["look"] - took["follow"] - took["propose"],
        "following": took["follow"],
        "the catalogue, in memory": took["index"],
        "all": took["all"] - took["index"],
    }
    ms["matching"] = ms["voting"] + ms["verification"] + ms["following"]
    ms["fingerprint"] = ms["peaks"] + ms["landmarks to ask about"]
    return {stage: 1e3 * took_s / seconds for stage, took_s in ms.items()}


def _streams(heard: Sounds) -> list[dict[str, Any]]:
    scratch = Scratch()
    samples, plain_ms, rounds = music(51, _TUNE_S), float("inf"), []
    for _ in range(_ROUNDS):
        rounds.append([_listen(programme, heard.index, scratch) for programme in heard.streams])
        plain_ms = min(plain_ms, _least_ms({"plain": lambda: _plain_spectrogram(samples)})["plain"])
    least: list[dict[str, float]] = []
    for n, programme in enumerate(heard.streams):
        took = [_by_stage(each[n].took, programme.seconds) for each in rounds]
        least.append({stage: min(ms[stage] for ms in took) for stage in took[0]})
    ms = {stage: statistics.median(each[stage] for each in least) for stage in least[0]}
    minutes = "+".join(f"{programme.seconds / 60:.0f}" for programme in heard.streams)
    source = f"{heard.source}, {minutes} min in AAC 64k; {heard.index.size().tracks} tracks; least of {_ROUNDS} rounds"
    return [
        _row("fingerprint of a stream: peaks, landmarks to ask about", ms["fingerprint"], "ms/s", bar=1.2, against=source),
        _row("voting, verification, following together", ms["matching"], "ms/s", bar=1.2, against=source),
        *(_row(f"  {stage}", ms[stage], "ms/s", against=source) for stage in ("voting", "verification", "following")),
        _row("whole path of a stream, fetching left out", ms["all"], "ms/s", bar=3.5, against=source),
        *(_row(f"  {stage}", ms[stage], "ms/s", against=source) for stage in ("decoding and resampling", "peaks", "landmarks to ask about", "music or not")),
        _row("beside it: the catalogue, in memory", ms["the catalogue, in memory"], "ms/s", against=source),
        _row("to compare machines: a plain spectrogram", plain_ms, "ms/s", against=_PLAIN),
        _row("  voting, verification, following over it", ms["matching"] / plain_ms, "ratio", against=_PLAIN),
        _row("  whole path over it", ms["all"] / plain_ms, "ratio", against=_PLAIN),
        *_asked(rounds[0], heard.source),
    ]


def _asked(streams: list[_Clocked], source: str) -> list[dict[str, Any]]:
    """Hashes per second of a state; "nothing open" is asked about at two speeds. A state that no stream was in is not run."""
    rows = []
    for figure, state, bar in (
        ("nothing open", "nothing open", 160),
        ("nothing open, another speed", "nothing open", 160),
        ("open, clean", "open, clean", 20),
        ("open, talked over", "open, talked over", 80),
        ("open, and over", "open, and over", None),
    ):
        rates = [each.asked[figure] / each.seconds[state] for each in streams if each.seconds[state]]
        seconds = sum(each.seconds[state] for each in streams)
        value = statistics.median(rates) if rates else None
        rows.append(_row(f"hashes asked for: {figure}", value, "1/s", bar=bar, against=f"{source}, {seconds:.0f} s of them"))
    return rows


# ------------------------------------------------------------------------------------------------- recordings


def _front_end() -> list[dict[str, Any]]:
    samples = music(51, _TUNE_S)
    scratch = Scratch()
    peaks = fingerprint(samples, scratch=scratch)
    ms = _least_ms(
        {
            "plain": lambda: _plain_spectrogram(samples),
            "peaks": lambda: _push(samples, scratch),
            "landmarks": lambda: landmarks(peaks),
        }
    )
    return [
        _row("peaks of generated music, a second at a time", ms["peaks"], "ms/s", bar=1.2, against="the bar is for the whole fingerprint"),
        _row("  over a plain spectrogram", ms["peaks"] / ms["plain"], "ratio", against=_PLAIN),
        _row("  landmarks of a whole recording", ms["landmarks"], "ms/s"),
        _row("  peaks found", len(peaks) / _TUNE_S, "1/s"),
        _row("  of them sparse", np.count_nonzero(peaks.hashed) / _TUNE_S, "1/s"),
    ]


def _references(index: MemoryIndex) -> list[dict[str, Any]]:
    size = index.size()
    return [_row("postings kept of a recording", size.postings / size.seconds, "1/s", bar=140, against=f"{size.tracks} tracks, {size.seconds / 3600:.1f} h")]


def _least_ms(work: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds of CPU per audio second: the least of rounds in which all take turns."""
    least = dict.fromkeys(work, float("inf"))
    for _ in range(5):
        for name, call in work.items():
            begin = _clock()
            call()
            least[name] = min(least[name], (_clock() - begin) / _TUNE_S * 1e3)
    return least


def _push(samples: Float32, scratch: Scratch) -> None:
    window = Window(scratch)
    for begin in range(0, len(samples), RATE_HZ):
        window.push(samples[begin : begin + RATE_HZ])


def _plain_spectrogram(samples: Float32) -> None:
    """What anyone would write: no peaks, no blocks, no scratch."""
    hann = np.hanning(FRAME_SAMPLES + 1)[:-1].astype(np.float32)
    begin = 0
    while begin + FRAME_SAMPLES <= len(samples):
        second = samples[begin : begin + RATE_HZ + FRAME_SAMPLES - HOP_SAMPLES]
        frames = np.lib.stride_tricks.sliding_window_view(second, FRAME_SAMPLES)[::HOP_SAMPLES]
        spectrum = np.fft.rfft(frames * hann, axis=1)[:, :BINS]
        np.log(spectrum.real**2 + spectrum.imag**2 + np.float32(1e-6))
        begin += len(frames) * HOP_SAMPLES


if __name__ == "__main__":
    sys.exit("make bench ARGS=cost")
