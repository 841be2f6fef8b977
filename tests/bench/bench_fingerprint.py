"""What the front end costs: processor time per second of audio, pushed a second at a time.

    python -m bench.bench_fingerprint          (from tests/; prints a table)

CPU, not wall time; the least of a few rounds, because a shared machine only ever adds. Milliseconds belong to the
machine and the hour; the ratio to a plain NumPy spectrogram, whose rounds alternate with the front end's, travels.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from earmark.fingerprint.landmarks import LOOKAHEAD_FRAMES, landmarks, questions
from earmark.fingerprint.spectrogram import BINS, FRAME_SAMPLES
from earmark.fingerprint.window import Scratch, Window, fingerprint
from earmark.model import FRAMES_PER_S, HOP_SAMPLES, RATE_HZ, Float32
from fingerprint_audio import music

COMMAND: Final = "make bench"
_SECONDS: Final = 60
_ROUNDS: Final = 5


def figures() -> list[dict[str, Any]]:
    """Measures for a few seconds. Rows of figure, value, unit, bar, met, against, command."""
    samples = music(51, _SECONDS)
    scratch = Scratch()
    peaks = fingerprint(samples, scratch=scratch)
    ms = _least_ms(
        {
            "plain": lambda: _plain_spectrogram(samples),
            "peaks, 1 s": lambda: _push(samples, RATE_HZ, scratch),
            "peaks, 2 s": lambda: _push(samples, 2 * RATE_HZ, scratch),
            "questions": lambda: [
                questions(peaks, begin_frame=k * FRAMES_PER_S - LOOKAHEAD_FRAMES, end_frame=(k + 1) * FRAMES_PER_S - LOOKAHEAD_FRAMES) for k in range(_SECONDS)
            ],
            "reference": lambda: landmarks(peaks),
        }
    )
    plain = "a plain NumPy spectrogram: rfft of the same frames, log power, 1 s at a time, same run"
    return [
        _row("front end, 1 s pushes: CPU per audio second", ms["peaks, 1 s"], "ms", bar=1.2, against="1.2 ms, the bar"),
        _row("front end, 2 s pushes: CPU per audio second", ms["peaks, 2 s"], "ms", bar=1.2, against="1.2 ms, the bar"),
        _row("plain NumPy spectrogram: CPU per audio second", ms["plain"], "ms"),
        _row("front end, 1 s pushes, over the plain spectrogram", ms["peaks, 1 s"] / ms["plain"], "ratio", against=plain),
        _row("questions, once a second: CPU per audio second", ms["questions"], "ms"),
        _row("landmarks of a whole recording: CPU per audio second", ms["reference"], "ms"),
        _row("peaks per second of music", len(peaks) / _SECONDS, "1/s"),
        _row("sparse peaks per second of music", np.count_nonzero(peaks.hashed) / _SECONDS, "1/s"),
    ]


def _row(figure: str, value: float, unit: str, *, bar: float | None = None, against: str = "") -> dict[str, Any]:
    return {
        "figure": figure,
        "value": round(value, 3),
        "unit": unit,
        "bar": bar,
        "met": None if bar is None else value <= bar,
        "against": against,
        "command": COMMAND,
    }


def _least_ms(work: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds of CPU per audio second: the least of rounds in which all take turns."""
    least = dict.fromkeys(work, float("inf"))
    for _ in range(_ROUNDS):
        for name, call in work.items():
            begin = time.process_time()
            call()
            least[name] = min(least[name], (time.process_time() - begin) / _SECONDS * 1e3)
    return least


def _push(samples: Float32, push_samples: int, scratch: Scratch) -> None:
    window = Window(scratch)
    for begin in range(0, len(samples), push_samples):
        window.push(samples[begin : begin + push_samples])


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


def main() -> None:
    print(f"{'figure':<56}{'value':>10}  {'unit':<6}{'bar':>6}  met")
    for row in figures():
        bar, met = ("", "") if row["bar"] is None else (f"{row['bar']:g}", "yes" if row["met"] else "NO")
        print(f"{row['figure']:<56}{row['value']:>10.3f}  {row['unit']:<6}{bar:>6}  {met}")


if __name__ == "__main__":
    main()
